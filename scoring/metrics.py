"""Watching a program over HTTP: whether it lives, whether it is of use, and how it is doing.

    /healthz   200 as long as the event loop turns
    /readyz    200 while the program can do what it is for, 503 before and after
    /metrics   counts and figures, as Prometheus reads them

Counts are read from where the program keeps them anyway, at the moment when somebody asks. Figures are counted
in fixed buckets as they come, a microsecond each: buckets of several servers can be added up, quantiles
cannot. No label names a client: whoever dials in a loop would make the server's memory grow.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, Histogram, Metric, ProcessCollector
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from protocol.messages import Watched
from scoring.tally import Frame, State, Tally

ERROR_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200)  # px
LATENCY_BUCKETS = (0.002, 0.004, 0.006, 0.008, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1, 2, 5, 10)  # s
ENCODE_BUCKETS = (0.0005, 0.001, 0.0015, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.02, 0.03, 0.05, 0.1)  # s

END_STATES = tuple(state for state in State if state is not State.OPEN)


# --- What is told --------------------------------------------------------------------------------


class ServerMetrics(Collector):
    """What a server tells.

    Args:
        tallies: returns one tally for each client that is connected, and those of all that have left.
        clients: returns how many are connected.
        rungs: returns how many of them are on each rung, 0 is the best.
        viewers: returns how many are shown the film and not scored.
        pairs: returns how many connections go by which kinds of candidates: ours, the peer's, and how our relay is
            talked to if there is one.
    """

    def __init__(
        self,
        tallies: Callable[[], Iterable[Tally]],
        clients: Callable[[], int],
        rungs: Callable[[], Mapping[int, int]] = dict,
        viewers: Callable[[], int] = lambda: 0,
        pairs: Callable[[], Mapping[tuple[str, str, str | None], int]] = dict,
    ) -> None:
        self._tallies = tallies
        self._clients = clients
        self._rungs = rungs
        self._viewers = viewers
        self._pairs = pairs
        self.registry = CollectorRegistry()
        self.registry.register(self)
        ProcessCollector(registry=self.registry)
        self._error = self._histogram("ball_error_pixels", "Coordinate against the truth of its frame", ERROR_BUCKETS)
        self._live_error = self._histogram(
            "ball_live_error_pixels", "Coordinate against where the ball is when it arrives", ERROR_BUCKETS
        )
        self._predicted = self._histogram(
            "ball_predicted_error_pixels",
            "Prediction for a coordinate's arrival against where the ball is",
            ERROR_BUCKETS,
        )
        self._predicted_walls = self._histogram(
            "ball_predicted_walls_error_pixels", "The same, with the walls known", ERROR_BUCKETS
        )
        self._latency = self._histogram(
            "ball_latency_seconds", "From a frame's being drawn to its coordinate's arrival", LATENCY_BUCKETS
        )
        self._encode = self._histogram("ball_encode_seconds", "Encoding of one frame for all clients", ENCODE_BUCKETS)

    def _histogram(self, name: str, meaning: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(name, meaning, buckets=buckets, registry=self.registry)

    def on_scored(self, frame: Frame) -> None:
        """Count the figures of a frame that was scored."""
        if frame.error_px is not None:
            self._error.observe(frame.error_px)
        if frame.live_error_px is not None:
            self._live_error.observe(frame.live_error_px)
        if frame.predicted_error_px is not None:
            self._predicted.observe(frame.predicted_error_px)
        if frame.predicted_walls_error_px is not None:
            self._predicted_walls.observe(frame.predicted_walls_error_px)
        if frame.latency_ms is not None:
            self._latency.observe(frame.latency_ms / 1000)

    def on_encoded(self, seconds: float) -> None:
        """Count how long it took to encode a frame."""
        self._encode.observe(seconds)

    def collect(self) -> Iterable[Metric]:
        """Return the counts as of now."""
        frames: Counter[str] = Counter()
        network: Counter[str] = Counter()
        watched: Counter[str] = Counter()
        rejected = repeated = restarts = late = 0
        for tally in self._tallies():
            frames.update(tally.frames)
            network.update(tally.network)
            watched.update(tally.watched)
            rejected += tally.rejected
            repeated += tally.repeated
            restarts += tally.restarts
            late += tally.late
        yield GaugeMetricFamily("ball_clients", "Clients connected", self._clients())
        yield GaugeMetricFamily("ball_viewers", "Viewers connected, who are not scored", self._viewers())
        yield CounterMetricFamily("ball_frames_sent", "Frames sent to clients", frames["sent"])
        became = CounterMetricFamily("ball_frames", "Frames, by what became of them", labels=["state"])
        for state in END_STATES:
            became.add_metric([state], frames[state])
        yield became
        yield CounterMetricFamily("ball_frames_late", "Frames of the film that clients were not sent", late)
        yield CounterMetricFamily("ball_reports_unmatched", "Reports that named no frame", frames["unmatched"])
        yield CounterMetricFamily("ball_reports_repeated", "Reports for a frame that had its state", repeated)
        yield CounterMetricFamily("ball_messages_rejected", "Messages that were none", rejected)
        yield CounterMetricFamily("ball_process_a_restarts", "Deaths of process_a that clients told of", restarts)
        labels = ["local", "remote", "relay_protocol"]
        ways = GaugeMetricFamily("ball_connections", "Connections, by the kinds of their candidates", labels=labels)
        for pair, connections in self._pairs().items():
            ways.add_metric([each or "" for each in pair], connections)
        yield ways
        yield from self._collect_network(network)
        yield _pictures(watched)

    def _collect_network(self, network: Mapping[str, int]) -> Iterable[Metric]:
        """Return what was done to get the film through."""
        on_rung = GaugeMetricFamily("ball_clients_on_rung", "Clients, by bit rate; 0 is the best", labels=["rung"])
        for rung, clients in sorted(self._rungs().items()):
            on_rung.add_metric([str(rung)], clients)
        yield on_rung
        yield CounterMetricFamily("ball_rung_changes", "Changes of a client's bit rate", network["rung_changes"])
        resent = CounterMetricFamily("ball_packets_resent", "Packets of the film sent again", labels=["asked"])
        resent.add_metric(["yes"], network["resent_asked"])
        resent.add_metric(["no"], network["resent_unasked"])
        yield resent
        yield CounterMetricFamily("ball_film_bytes_sent", "Bytes of the film sent, as RTP", network["bytes_sent"])


def _pictures(watched: Mapping[str, int]) -> Metric:
    """Return how many pictures of a camera, a screen or a URL were looked at, by what was read in them."""
    pictures = CounterMetricFamily("ball_pictures", "Pictures looked at, by what was read in them", labels=["read"])
    others = [name for name in Watched._fields if name != "pictures"]
    pictures.add_metric(["first"], max(0, watched["pictures"] - sum(watched[name] for name in others)))
    for name in others:
        pictures.add_metric([name], watched[name])
    return pictures
