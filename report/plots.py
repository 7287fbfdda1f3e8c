"""Plots as SVG that stand in a page: its own font and colours, in the light and in the dark.

Whatever the length of the run, a plot has a bounded number of points: time is cut into at most MAX_BINS parts.
"""

import io
import itertools
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from report.runs import STATES, Column, Frames

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_BINS = 200
TAIL_POINTS = 120  # of a distribution
CELLS = (8, 6)  # of the film's frame, across and down, one arrow each
INK = "#010203"  # stands for the page's own colour
COLORS = {"scored": "#2a9d5c", "missed": "#d98a1f", "skipped": "#7a86d6", "lost": "#d6453d"}
QUANTILES = {"p50": (0.5, "#3b82d0"), "p95": (0.95, "#d98a1f"), "p99": (0.99, "#d6453d")}
LINES = ("#3b82d0", "#d98a1f", "#2a9d5c", "#b05fc4", "#d6453d", "#7f8a95")
STYLE: Any = {
    "svg.fonttype": "none", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False,
    "text.color": INK, "axes.edgecolor": INK, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK,
    "legend.frameon": False, "savefig.transparent": True, "svg.hashsalt": "report",
}  # fmt: skip


def drawn(draw: "Callable[[Figure], None]", size: tuple[float, float], style: Any = STYLE) -> str:
    """Return what `draw` draws, as an SVG file; the same each time. size: width and height, inches."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with mpl.rc_context(style):
        figure = Figure(figsize=size)
        FigureCanvasSVG(figure)
        draw(figure)
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    return file.getvalue()


class Plots:
    """Draws the plots of a page; their ids differ.

    Args:
        parts: how many share the page; they get fewer points each.
    """

    def __init__(self, parts: int = 1) -> None:
        self._count = 0
        self._bins = MAX_BINS if parts == 1 else MAX_BINS // 3

    def _svg(self, draw: Any, title: str, height: float = 2.3) -> str:
        """Return what `draw` draws on axes, as an SVG element."""

        def draw_figure(figure: "Figure") -> None:
            figure.subplots_adjust(left=0.14, right=0.97, bottom=0.45 / height, top=1 - 0.3 / height)
            draw(figure.subplots())

        self._count += 1
        return _embedded(drawn(draw_figure, (5.0, height)), f"p{self._count}-", title)

    def states(self, frames: Frames) -> str:
        """Draw what became of the frames over time, frames a second."""
        bins, place = _bins(frames, self._bins)
        counts = [np.bincount(place[frames.states == code], minlength=len(bins) - 1) for code in range(len(STATES))]
        rates = np.array(counts) / np.diff(bins)

        def draw(axes: "Axes") -> None:
            axes.stackplot(
                bins, np.column_stack([rates, rates[:, -1]]), labels=STATES, colors=list(COLORS.values()), step="post"
            )
            axes.set(xlabel="s", ylabel="frames a second", xlim=(0, bins[-1]))
            axes.legend(ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0))

        return self._svg(draw, "what became of the frames over time")

    def over_time(self, frames: Frames, figure: str, label: str) -> str:
        """Draw a figure's percentiles over time."""
        bins, place = _bins(frames, self._bins)
        values, starts = frames[figure], bins[:-1]
        known = np.isfinite(values)
        order = np.argsort(place[known], kind="stable")
        sorted_place, sorted_values = place[known][order], values[known][order]
        edges = np.searchsorted(sorted_place, np.arange(len(bins)))
        shares = [share for share, _ in QUANTILES.values()]
        quantiles = np.full((len(shares), len(starts)), np.nan)
        for i, (low, high) in enumerate(itertools.pairwise(edges)):
            if high > low:
                quantiles[:, i] = np.quantile(sorted_values[low:high], shares)

        def draw(axes: "Axes") -> None:
            for (name, (_, color)), line in zip(QUANTILES.items(), quantiles, strict=True):
                axes.plot(starts, line, color=color, label=name, linewidth=1.2, marker="." if len(starts) < 5 else None)
            axes.set(xlabel="s", ylabel=label, xlim=(0, bins[-1]))
            axes.set_ylim(bottom=0)
            axes.legend(ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0))

        return self._svg(draw, f"{label} over time")

    def tails(self, series: Mapping[str, Column], label: str) -> str:
        """Draw the share of frames that is above each value, on a logarithmic scale: 0.01 is where p99 is read off."""

        def draw(axes: "Axes") -> None:
            for (name, values), color in zip(series.items(), LINES * len(series), strict=False):
                x, above = tail(values)
                axes.plot(x, above, color=color, label=name, linewidth=1.2, marker="." if len(x) < 2 else None)
            axes.set(xlabel=label, ylabel="share of frames above", yscale="log")
            axes.minorticks_off()
            for share in (0.5, 0.05, 0.01):
                axes.axhline(share, color=INK, linewidth=0.4, alpha=0.5)
            if len(series) > 1:
                axes.legend()

        return self._svg(draw, f"distribution of {label}")

    def vectors(self, frames: Frames, size: tuple[int, int]) -> str:
        """Draw the mean error in each part of the film's frame as an arrow; all one way are a bias."""
        at, error = frames_error(frames)
        cell = np.minimum((at / size * CELLS).astype(int), np.array(CELLS) - 1).clip(0)
        place = cell[:, 0] * CELLS[1] + cell[:, 1]
        count = np.bincount(place, minlength=CELLS[0] * CELLS[1])
        here = count > 0
        means = [np.bincount(place, each, len(count))[here] / count[here] for each in (*at.T, *error.T)]
        x, y, dx, dy = means
        longest = float(np.hypot(dx, dy).max(initial=0)) or 1.0

        def draw(axes: "Axes") -> None:
            reach = size[0] / CELLS[0] / longest
            axes.quiver(
                x, y, dx * reach, dy * reach, angles="xy", scale_units="xy", scale=1, color=LINES[0], width=0.006
            )
            axes.set(xlim=(0, size[0]), ylim=(size[1], 0), aspect="equal", xlabel="px")
            axes.set_title(f"longest arrow: {longest:.3g} px", fontsize=9)

        return self._svg(draw, "error in the film's frame", height=3.2)


def frames_error(frames: Frames) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return where the ball was, and the found place less that: each (N, 2), px, of frames where both are known."""
    truth = np.stack([frames["true_x"], frames["true_y"]], axis=1)
    error = np.stack([frames["x"], frames["y"]], axis=1) - truth
    known = np.isfinite(error).all(axis=1)
    return truth[known], error[known]


def tail(values: Column) -> tuple[Column, Column]:
    """Return values, rising, and the share that is at or above each; at most TAIL_POINTS, denser towards the end."""
    values = np.sort(values[np.isfinite(values)])
    n = len(values)
    above = np.unique(np.geomspace(1, n, TAIL_POINTS).round().astype(int))[::-1] if n else np.empty(0, int)
    return values[n - above], above / n if n else np.empty(0)


def _bins(frames: Frames, most: int) -> tuple[Column, NDArray[np.int64]]:
    """Return the edges of at most so many parts of time, each a second or more, s; and in which each frame is."""
    seconds = frames.seconds
    last = max(1.0, float(seconds.max(initial=0)) + 1e-9)
    bins = np.linspace(0, last, max(1, min(most, int(last))) + 1)
    return bins, np.minimum(np.searchsorted(bins, seconds, side="right") - 1, len(bins) - 2)


def _embedded(text: str, prefix: str, title: str) -> str:
    """Return an SVG file as an element of a page: ids of its own, the page's ink, no more digits than are seen."""
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->|<style.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r'(?<=<g) id="[^"]*"|font-family: [^;"]*;? ?', "", text)  # the page has a font, and no use for those
    text = re.sub(r' (id="|xlink:href="#)', rf" \1{prefix}", text).replace("url(#", f"url(#{prefix}")
    text = re.sub(r"<[^>]*>", lambda tag: re.sub(r"(\d+\.\d)\d+", r"\1", tag[0]), text).replace(INK, "currentColor")
    text = re.sub(r"\n\s*", "\n", text)
    head, _, body = text.partition(">")
    head = re.sub(r' (?:width|height)="[^"]*"', "", head)
    return f'{head} role="img" aria-label="{title}">{body}'
