"""What the server prints: coordinates as they arrive, running figures, the table at the end.

live    a panel with the newest coordinates and the running figures; where stdout is a terminal
second  one line a second; where it is a pipe or a container's log
every   one line for each coordinate

The table is for a terminal; elsewhere it is one line too.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from scoring.ledger import Frame, State, Tally

MODES = ("auto", "live", "second", "every")
REFRESH_S = {"live": 0.25, "second": 1.0}
NEWEST = 8  # coordinates that the panel shows, where there is room for them
PANEL_LINES = 22  # of the panel, besides the coordinates; rich cuts off what does not fit

FIGURES = (
    ("error", "error_px", "px"),
    ("latency", "latency_ms", "ms"),
    ("live error", "live_error_px", "px"),
    ("predicted", "predicted_error_px", "px"),
    ("with walls", "predicted_walls_error_px", "px"),
)


class Terminal:
    """Prints one run of the server.

    Args:
        mode: one of MODES; auto chooses by what stdout is.
        total: returns the counts and figures of all clients together, as of now.
    """

    def __init__(self, mode: str, total: Callable[[], Tally]) -> None:
        self._console = Console(highlight=False, soft_wrap=True)
        self._mode = mode if mode != "auto" else "live" if self._console.is_terminal else "second"
        self._total = total
        self._newest: deque[tuple[int, Frame]] = deque(maxlen=NEWEST)
        self._arrived = asyncio.Event()  # a coordinate, since it was last cleared
        self._live: Live | None = None

    def say(self, text: str) -> None:
        """Print a line of plain text."""
        self._console.print(Text(text))

    def coordinate(self, client: int, frame: Frame) -> None:
        """Take note of a frame that was scored."""
        self._newest.append((client, frame))
        self._arrived.set()
        if self._mode == "every":
            self._console.print(Text(coordinate_line(client, frame)))

    async def run(self) -> None:
        """Keep printing until cancelled."""
        if self._mode not in REFRESH_S:
            return
        if self._mode == "live":
            # refreshed from here, not from rich's own thread: the thread would take the GIL in mid-frame
            self._live = Live(console=self._console, auto_refresh=False)
            self._live.start()
        try:
            while True:
                await asyncio.sleep(REFRESH_S[self._mode])
                # the panel takes 10 ms of the event loop: the pause behind a coordinate is the time for it
                self._arrived.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(REFRESH_S[self._mode]):
                        await self._arrived.wait()
                self._refresh()
        finally:
            if self._live is not None:
                self._refresh()
                self._live.stop()
                self._live = None

    def _refresh(self) -> None:
        tally = self._total()
        if self._live is not None:
            self._live.update(Group(self._newest_table(), *summary_tables(tally.summary())), refresh=True)
        elif tally.frames["sent"]:
            last = coordinate_line(*self._newest[-1]) if self._newest else "no coordinate yet"
            self._console.print(Text(f"{counts(tally)} | {last}"))

    def _newest_table(self) -> Table:
        table = Table(title="newest coordinates", title_justify="left")
        for heading in ("client", "k", "x", "y", "true x", "true y", "error px", "latency ms"):
            table.add_column(heading, justify="right", min_width=7)
        rows = max(1, min(NEWEST, self._console.height - PANEL_LINES))
        for client, frame in list(self._newest)[-rows:]:
            assert frame.found is not None
            numbers = (*frame.found, *(frame.truth or (None, None)), frame.error_px, frame.latency_ms)
            table.add_row(str(client), str(frame.k), *(format_number(number) for number in numbers))
        return table

    def summary(self, title: str, summary: dict[str, Any]) -> None:
        """Print what came of the frames: a table in a terminal, else one line."""
        if not self._console.is_terminal:
            self._console.print(Text(f"{title} | {summary_line(summary)}"))
            return
        self._console.print(Text(f"\n{title}"))
        self._console.print(*summary_tables(summary))


def coordinate_line(client: int, frame: Frame) -> str:
    """Return a scored frame as one line."""
    assert frame.found is not None
    true_x, true_y = frame.truth or (None, None)
    return (
        f"client {client}  k {frame.k}  x {frame.found.x:.3f}  y {frame.found.y:.3f}"
        f"  true x {format_number(true_x)}  true y {format_number(true_y)}"
        f"  error {format_number(frame.error_px)} px  latency {format_number(frame.latency_ms)} ms"
    )


def counts(tally: Tally) -> str:
    """Return the counts of frames as one line."""
    names = ("sent", State.SCORED, State.MISSED, State.SKIPPED, State.LOST)
    judged = bool(tally.error_px.count) or not tally.frames[State.SCORED]
    return "  ".join([*(f"{state_name(name, judged)} {tally.frames[name]}" for name in names), f"late {tally.late}"])


def state_name(state: str, judged: bool) -> str:
    """Return what a state is called: where no truth is known to judge by, scored frames are just found."""
    return "found" if state == State.SCORED and not judged else state


def format_number(number: float | None) -> str:
    """Return a number for reading; a dash for one that is not known."""
    return "-" if number is None else f"{number:.3f}"


def summary_line(summary: dict[str, Any]) -> str:
    """Return a summary as one line: what became of the frames, and the figures that are known."""
    frames = summary["frames"]
    judged = summary["error_px"] is not None or not frames[State.SCORED]
    states = [str(state) for state in State if state is not State.OPEN]
    told = [f"{state_name(name, judged)} {frames[name]}" for name in ("sent", *states, "unmatched")]
    parts = ["  ".join([*told, f"late {summary['late']}"])]
    if not judged:
        parts.append("no truth is known, so no error")
    for name, key, unit in FIGURES:
        if values := summary[key]:
            quantiles = "  ".join(f"{quantile} {format_number(values[quantile])}" for quantile in ("p50", "p99"))
            parts.append(f"{name} {unit}  {quantiles}")
    return " | ".join(parts)


def summary_tables(summary: dict[str, Any]) -> tuple[Table, Table]:
    """Return a summary as tables: what became of the frames, and the figures."""
    frames = summary["frames"]
    states = [str(state) for state in State if state is not State.OPEN]
    judged = summary["error_px"] is not None or not frames[State.SCORED]
    names = [state_name(state, judged) for state in states]
    title = "frames sent = " + " + ".join(names)
    became = Table(title=title if judged else f"{title}; no truth is known, so no error", title_justify="left")
    others = {"unmatched": frames["unmatched"], "rejected": summary["rejected"], "late": summary["late"]}
    for name in ("sent", *names, *others):
        became.add_column(name, justify="right")
    became.add_row(str(frames["sent"]), *(str(frames[state]) for state in states), *map(str, others.values()))
    figures = Table(title=f"{summary['duration_s']:.1f} s, {summary['fps']:.2f} frames a second", title_justify="left")
    figures.add_column("")
    for name in ("mean", "p50", "p95", "p99", "max"):
        figures.add_column(name, justify="right", min_width=7)
    for name, key, unit in FIGURES:
        values = summary[key] or {}
        figures.add_row(
            f"{name}, {unit}", *(format_number(values.get(q)) for q in ("mean", "p50", "p95", "p99", "max"))
        )
    return became, figures
