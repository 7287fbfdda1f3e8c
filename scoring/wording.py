"""How the score is put into words: the lines of a log, and the tables of a terminal."""

from collections.abc import Iterable
from typing import Any

from rich.table import Table

from scoring.tally import Frame, State, Tally

FIGURES = (
    ("error", "error_px", "px"),
    ("latency", "latency_ms", "ms"),
    ("live error", "live_error_px", "px"),
    ("predicted", "predicted_error_px", "px"),
    ("with walls", "predicted_walls_error_px", "px"),
)
QUANTITIES = ("mean", "p50", "p95", "p99", "max")
STATES = tuple(str(state) for state in State if state is not State.OPEN)


# --- Lines ---------------------------------------------------------------------------------------


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
    names = ("sent", *STATES)
    judged = bool(tally.error_px.count) or not tally.frames[State.SCORED]
    return "  ".join([*(f"{state_name(name, judged)} {tally.frames[name]}" for name in names), f"late {tally.late}"])


def state_name(state: str, judged: bool) -> str:
    """Return what a state is called: where no truth is known to judge by, scored frames are just found."""
    return "found" if state == State.SCORED and not judged else state


def format_number(number: float | None) -> str:
    """Return a number for reading; a dash for one that is not known."""
    return "-" if number is None else f"{number:.3f}"


def short_number(number: float | None) -> str:
    """Return a number for a column of 8 characters: three decimals, fewer where it has many digits before them.

    >>> [short_number(number) for number in (None, 0.0042, 1234.5678, 123456.78)]
    ['-', '0.004', '1234.568', '123456.8']
    """
    if number is None:
        return "-"
    return f"{number:.3f}" if number < 9999.9995 else f"{number:.1f}" if number < 999999.95 else f"{number:.0f}"


def summary_line(summary: dict[str, Any]) -> str:
    """Return a summary as one line: what became of the frames, and the figures that are known."""
    frames = summary["frames"]
    judged = is_judged(summary)
    told = [f"{state_name(name, judged)} {frames[name]}" for name in ("sent", *STATES, "unmatched")]
    parts = ["  ".join([*told, f"late {summary['late']}"])]
    if not judged:
        parts.append("no truth is known, so no error")
    if summary["watched"]["pictures"]:
        parts.append("  ".join(f"{name} {number}" for name, number in _watched(summary).items()))
    for name, key, unit in FIGURES:
        if values := summary[key]:
            quantiles = "  ".join(f"{quantile} {format_number(values[quantile])}" for quantile in ("p50", "p99"))
            parts.append(f"{name} {unit}  {quantiles}")
    return " | ".join(parts)


def is_judged(summary: dict[str, Any]) -> bool:
    """Return whether a truth is known for what was scored, or nothing was scored."""
    return summary["error_px"] is not None or not summary["frames"][State.SCORED]


# --- Tables, 60 columns wide at most -------------------------------------------------------------


def counts_table(summary: dict[str, Any]) -> Table:
    """Return what became of the frames: `sent` is the sum of the four beside it."""
    frames, judged = summary["frames"], is_judged(summary)
    table = plain_table("sent", *(state_name(state, judged) for state in STATES), "unmatched", "rejected", "late")
    numbers = (frames["sent"], *(frames[state] for state in STATES), frames["unmatched"])
    table.add_row(*map(str, (*numbers, summary["rejected"], summary["late"])))
    return table


def watched_table(summary: dict[str, Any]) -> Table:
    """Return what was read in the pictures of a camera, a screen or a URL."""
    watched = _watched(summary)
    table = plain_table(*watched)
    table.add_row(*map(str, watched.values()))
    return table


def _watched(summary: dict[str, Any]) -> dict[str, int]:
    """Return what was read in pictures, and how many frames were scored without an error."""
    return {**summary["watched"], "unjudged": summary["unjudged"]}


def figures_table(summary: dict[str, Any]) -> Table:
    """Return the figures, a row each."""
    table = plain_table("", *QUANTITIES, min_width=8)
    table.columns[0].justify = "left"
    for name, key, unit in FIGURES:
        values = summary[key] or {}
        table.add_row(f"{name}, {unit}", *(short_number(values.get(quantity)) for quantity in QUANTITIES))
    return table


def plain_table(*headings: str, min_width: int = 0) -> Table:
    """Return an empty table without lines; its columns are `min_width` wide at least, but for the first."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="right", no_wrap=True, min_width=min_width if number else None)
    return table


def rate(parts: Iterable[tuple[float, float]]) -> float:
    """Return how many frames a second each client gets, from the rate and the duration (s) of each of them.

    >>> rate([(30.0, 10.0), (30.0, 20.0)])
    30.0
    """
    weighted = [(fps * seconds, seconds) for fps, seconds in parts]
    total = sum(seconds for _, seconds in weighted)
    return sum(frames for frames, _ in weighted) / total if total else 0.0


def headline(summary: dict[str, Any]) -> str:
    """Return how long it took, and how many frames a second each client got."""
    clients = summary.get("clients") or [summary]
    fps = rate((client["fps"], client["duration_s"]) for client in clients)
    each = " to each client" if len(clients) > 1 else ""
    unknown = "" if is_judged(summary) else "; no truth is known, so no error"
    return f"{summary['duration_s']:.1f} s, {fps:.2f} frames a second{each}{unknown}"
