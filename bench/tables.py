"""What the benchmark shows: figures over several rounds, as tables in Markdown and as plots."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench.tracing import PARTS as STEPS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Results = dict[str, dict[str, list[float]]]  # case: figure: its values, one for each round


class Column(NamedTuple):
    """A column of a table: its heading, the figure that it shows, and with how many digits."""

    heading: str
    figure: str
    digits: int


class Table(NamedTuple):
    """A table of the cases that have the figure of its first column, and the plot of the same.

    title: what stands above it; name: of the plot's file; plot: draws it, see below.
    """

    title: str
    columns: Sequence[Column]
    name: str
    plot: "Callable[[Results, Figure], None]"


# --- Tables --------------------------------------------------------------------------------------


def markdown(table: Table, results: Results) -> str:
    """Return a table in Markdown."""
    lines = [
        f"**{table.title}**",
        "",
        "| | " + " | ".join(column.heading for column in table.columns) + " |",
        "|---|" + "---:|" * len(table.columns),
    ]
    for case, figures in rows_of(table, results).items():
        cells = (format_spread(figures.get(column.figure, []), column.digits) for column in table.columns)
        lines.append(f"| {case} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def rows_of(table: Table, results: Results) -> Results:
    """Return the cases that have the figure of a table's first column, or none because they failed."""
    first = table.columns[0].figure
    return {case: figures for case, figures in results.items() if not figures or first in figures}


def format_spread(values: Sequence[float], digits: int) -> str:
    """Return a figure over the rounds as a table shows it: its median, and the lowest and the highest if they differ.

    >>> format_spread([4, 1, 2], 0)
    '2 (1–4)'
    """  # noqa: RUF002  # the dash is meant
    if not values:
        return "–"
    median, low, high = (f"{value:.{digits}f}" for value in (statistics.median(values), min(values), max(values)))
    return median if low == high else f"{median} ({low}–{high})"


# --- Plots ---------------------------------------------------------------------------------------


def median(figures: Mapping[str, Sequence[float]], name: str) -> float:
    """Return a figure's median over the rounds, nan where there is none."""
    return statistics.median(figures.get(name, [])) if figures.get(name) else float("nan")


def plot_quantiles(results: Results, axes: "Axes", figure: str, unit: str) -> None:
    """Draw p50 to p99 of a figure for each case: a bar, and a line up to p99."""
    names = list(results)
    low, high = ([median(results[name], f"{figure} {share}") for name in names] for share in ("p50", "p99"))
    colors = {"floor": "0.7", "plain": "C1"}
    axes.barh(names, low, color=[colors.get(name.partition(":")[0], "C0") for name in names])
    axes.hlines(names, low, high, color="0.3")
    axes.plot(high, names, "|", color="0.3", markersize=8)
    for name, p50, p99 in zip(names, low, high, strict=True):
        text = " | ".join(f"{value:.0f}" if value >= 10 else f"{value:.2g}" for value in (p50, p99))
        axes.annotate(text, (p99, name), xytext=(5, 0), textcoords="offset points", va="center", fontsize=8)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlabel(f"{figure}, {unit}: median | 99th percentile")


def plot_latency(results: Results, figure: "Figure") -> None:
    """Draw the latency of each case."""
    plot_quantiles(results, figure.subplots(), "latency", "ms")


def plot_accuracy(results: Results, figure: "Figure") -> None:
    """Draw the error of each case, on a scale that goes by tens."""
    axes = figure.subplots()
    plot_quantiles(results, axes, "error", "px")
    axes.set_xscale("log")
    axes.set_xlim(left=0.0005)


def plot_steps(results: Results, figure: "Figure", steps: Sequence[str] = STEPS) -> None:
    """Draw the steps of each case end to end."""
    axes = figure.subplots()
    names = [name.removeprefix("traced: ") for name in results]
    left = [0.0] * len(names)
    for i, step in enumerate(steps):
        widths = [median(figures, step) for figures in results.values()]
        axes.barh(names, widths, left=left, label=step, color=f"C{i}")
        left = [start + width for start, width in zip(left, widths, strict=True)]
    axes.invert_yaxis()
    axes.legend(ncols=len(steps), fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1), frameon=False)
    axes.set_xlabel("latency, ms: the median of each step")


def plot_scale(results: Results, figure: "Figure") -> None:
    """Draw the server's processor time, and beside it the latency, over the number of clients."""
    clients = [int(name) for name in results]
    used = [median(figures, "server cpu") for figures in results.values()]
    left, right = figure.subplots(1, 2)
    left.plot(clients, used, "o-", color="C0", label="measured")
    left.plot(clients, [used[0] * n for n in clients], ":", color="0.6", label="if each client cost what one costs")
    left.set(ylabel="server CPU, cores", ylim=(0, 1.5 * max(used)))
    for share, style in (("p50", "o-"), ("p99", "o--")):
        values = [median(figures, f"latency {share}") for figures in results.values()]
        right.plot(clients, values, style, color="C0", label=share)
    right.set(ylabel="latency, ms")
    for axes in (left, right):
        axes.set(xlabel="clients", xticks=clients)
        axes.set_ylim(bottom=0)
        axes.legend(fontsize=8)


def save_plot(table: Table, results: Results, path: Path) -> None:
    """Draw a table's plot into a PNG file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = rows_of(table, results)
    figure = Figure(figsize=(9, 4 if table.plot is plot_scale else 1.5 + 0.3 * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)  # draws without a window
    table.plot(rows, figure)
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
