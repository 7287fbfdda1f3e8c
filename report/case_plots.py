"""Plots of the cases of a benchmark, one below the other in their groups: files of their own, on paper of their own.

A case's group is what stands before the colon of its name. A figure is a dot at its median over the frames, and
a line to a second, hollow one at the 99th percentile; so it can be read on a logarithmic axis as on a linear one.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from report.plots import INK, LINES, STYLE, drawn
from report.tables import Results, Table, median, rows_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PAPER, DARK = "#ffffff", "#1b1f24"
SHARES = ("p50", "p99")
ROW, FRAME = 0.25, 1.1  # inches, of a case and of what is around them
LABEL = 8  # points


def save(table: Table, results: Results, path: Path, digest: str = "") -> None:
    """Draw a table's plot into an SVG file.

    Args:
        table: has the plot.
        results: of its part.
        path: of the file.
        digest: of the results, to be kept in it; see `digest_of`.
    """
    assert table.draw is not None
    rows = rows_of(table, results)
    lines = len(rows) + len(groups(rows)) if grouped(rows) else len(rows)
    height = max(3.2, FRAME + ROW * lines * table.lines)

    def draw(figure: "Figure") -> None:
        assert table.draw is not None
        figure.set_layout_engine("constrained")
        figure.suptitle(table.caption, x=0.02, ha="left", fontsize=11, fontweight="bold")
        table.draw(rows, figure)

    text = drawn(draw, (9.0, height), {**STYLE, "savefig.transparent": False, "figure.facecolor": PAPER})
    text = text[text.index("<svg") :].replace(INK, DARK)
    path.write_text(f"<!-- results {digest} -->\n{text}", encoding="utf-8")


def digest_of(path: Path) -> str:
    """Return the digest of the results that a plot was drawn from, "" where there is none."""
    words = path.read_text(encoding="utf-8").split(maxsplit=4) if path.exists() else []
    return words[2] if words[:2] == ["<!--", "results"] else ""


# --- Cases in groups -----------------------------------------------------------------------------


def group_of(case: str) -> tuple[str, str]:
    """Return a case's group, "" if it has none, and its name in it.

    >>> group_of("this project: VP8"), group_of("VP8")
    (('this project', 'VP8'), ('', 'VP8'))
    """
    group, colon, name = case.partition(": ")
    return (group, name) if colon else ("", case)


def groups(cases: Sequence[str] | Results) -> dict[str, list[str]]:
    """Return the cases by their groups, both in the order in which they come."""
    found: dict[str, list[str]] = {}
    for case in cases:
        found.setdefault(group_of(case)[0], []).append(case)
    return found


def grouped(cases: Sequence[str] | Results) -> bool:
    """Return whether any case is in a group."""
    return set(groups(cases)) != {""}


def lay_out(axes: "Axes", cases: Sequence[str] | Results) -> dict[str, float]:
    """Name the rows of a plot, groups first; return where each case is."""
    places: dict[str, float] = {}
    labels: list[tuple[str, bool]] = []
    for group, members in groups(cases).items():
        if group:
            labels.append((group, True))
        for case in members:
            places[case] = len(labels)
            labels.append((group_of(case)[1], False))
    axes.set_yticks(range(len(labels)), [label for label, _ in labels])
    for tick, (_, is_group) in zip(axes.get_yticklabels(), labels, strict=True):
        tick.set_fontweight("bold" if is_group else "normal")
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    return places


def draw_dots(axes: "Axes", rows: Mapping[float, tuple[float, float]], color: str, label: str = "") -> None:
    """Draw a dot at the first value of each row, and a line from there to a hollow one at the second."""
    known = {row: pair for row, pair in rows.items() if math.isfinite(pair[0])}
    low, high = ([pair[i] for pair in known.values()] for i in (0, 1))
    axes.hlines(list(known), low, high, color=color, linewidth=1.2)
    axes.plot(low, list(known), "o", color=color, markersize=5, label=label or None)
    axes.plot(high, list(known), "o", color=color, markersize=4, markerfacecolor=PAPER)
    for row, pair in known.items():
        text = " | ".join(f"{value:.0f}" if value >= 10 else f"{value:.2g}" for value in pair)
        where: Any = (max(pair), row)
        axes.annotate(text, where, xytext=(6, 0), textcoords="offset points", va="center", fontsize=LABEL)


def set_log(axes: "Axes") -> None:
    """Make the axis logarithmic, its powers of ten in plain digits."""
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("")


def draw_quantiles(results: Results, figure: "Figure", name: str, unit: str, log: bool = False) -> None:
    """Draw p50 and p99 of a figure for each case.

    Args:
        results: the cases.
        figure: to draw on.
        name, unit: of the figure.
        log: whether its axis is logarithmic.
    """
    axes = figure.subplots()
    places = lay_out(axes, results)
    for i, members in enumerate(groups(results).values()):
        pairs = {
            places[case]: (median(results[case], f"{name} p50"), median(results[case], f"{name} p99"))
            for case in members
        }
        draw_dots(axes, pairs, LINES[i % len(LINES)])
    if log:
        set_log(axes)
    else:
        axes.set_xlim(left=0)
    axes.margins(x=0.15)
    axes.grid(axis="x", alpha=0.25)
    axes.set_xlabel(f"{name}, {unit}: median (full) and 99th percentile (hollow)")


def draw_latency(results: Results, figure: "Figure") -> None:
    """Draw the latency of each case."""
    draw_quantiles(results, figure, "latency", "ms")


def draw_error(results: Results, figure: "Figure") -> None:
    """Draw the error of each case."""
    draw_quantiles(results, figure, "error", "px", log=True)


def draw_steps(results: Results, figure: "Figure", steps: Sequence[str]) -> None:
    """Draw the steps of each case end to end."""
    axes = figure.subplots()
    places = lay_out(axes, results)
    left = dict.fromkeys(results, 0.0)
    for i, step in enumerate(steps):
        widths = [median(figures, step) for figures in results.values()]
        axes.barh([places[case] for case in results], widths, left=list(left.values()), label=step, height=0.6,
                  color=LINES[i] if i < len(LINES) else f"C{i}")  # fmt: skip
        left = {case: start + width for (case, start), width in zip(left.items(), widths, strict=True)}
    axes.legend(ncols=len(steps), fontsize=LABEL, loc="lower center", bbox_to_anchor=(0.5, 1), frameon=False)
    axes.set_xlabel("latency, ms: the median of each step")


def draw_scale(results: Results, figure: "Figure") -> None:
    """Draw the server's processor time, and beside it the latency, over the number of clients."""
    clients = [int(name) for name in results]
    used = [median(figures, "server cpu") for figures in results.values()]
    left, right = figure.subplots(1, 2)
    left.plot(clients, used, "o-", color=LINES[0], label="measured")
    left.plot(clients, [used[0] * n for n in clients], ":", color="0.5", label="if each client cost what one costs")
    left.set(ylabel="server CPU, cores", ylim=(0, 1.5 * max((each for each in used if each > 0), default=1)))
    for share, style in zip(SHARES, ("o-", "o--"), strict=True):
        values = [median(figures, f"latency {share}") for figures in results.values()]
        right.plot(clients, values, style, color=LINES[0], label=share)
    right.set(ylabel="latency, ms")
    for axes in (left, right):
        axes.set_xscale("log", base=2)
        axes.set(xlabel="clients")
        axes.set_xticks(clients, [str(n) for n in clients])
        axes.xaxis.set_minor_formatter("")
        axes.set_ylim(bottom=0)
        axes.legend(fontsize=LABEL)
