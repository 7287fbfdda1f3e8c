"""What a client tells of itself over HTTP: counts, as Prometheus reads them."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from prometheus_client import CollectorRegistry, Metric, ProcessCollector
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector


class ClientMetrics(Collector):
    """What a client tells.

    Args:
        counts: returns its counts by the keys of COUNTS.
        pair: returns the kinds of the candidates in use: ours, the server's, and how our relay is talked to, if any.
    """

    COUNTS = {  # noqa: RUF012  # a constant
        "received": ("ball_frames_received", "Frames that arrived"),
        "sent": ("ball_coordinates_sent", "Coordinates sent to the server"),
        "scored": ("ball_coordinates_scored", "Coordinates that the server says it has scored"),
        "skipped": ("ball_frames_skipped", "Frames passed over to stay current"),
        "faults": ("ball_finder_faults", "Faults of a person's own finder"),
        "restarts": ("ball_process_a_restarts", "Deaths of process_a"),
        "view_restarts": ("ball_view_restarts", "Deaths of the process that makes the page's picture"),
    }

    def __init__(
        self, counts: Callable[[], Mapping[str, int]], pair: Callable[[], Sequence[str | None] | None] = lambda: None
    ) -> None:
        self._counts = counts
        self._pair = pair
        self.registry = CollectorRegistry()
        self.registry.register(self)
        ProcessCollector(registry=self.registry)

    def collect(self) -> Iterable[Metric]:
        """Return the counts as of now."""
        counts = self._counts()
        for key, (name, meaning) in self.COUNTS.items():
            yield CounterMetricFamily(name, meaning, counts[key])
        labels = ["local", "remote", "relay_protocol"]
        way = GaugeMetricFamily("ball_connections", "Connections, by the kinds of their candidates", labels=labels)
        if (pair := self._pair()) is not None:
            way.add_metric([each or "" for each in pair], 1)
        yield way
