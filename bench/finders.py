"""The usual ways to find a ball (examples/finders.py) beside ours, on the same decoded frames.

Each clip is encoded and decoded as the loop does it, by the shared encoder's settings at the default bit rate. Every
way gets what --find would give it, in one thread as in process_a, and is told what a person would know: the ball's
colour (the HSV mask), its radius (template matching), that it is not on black (ours). The first second of a clip is
shown and not counted: background subtraction learns in it. In its middle the ball is away for a while.

    found    the answer is within one radius of the truth; of the frames that show the ball
    false    the answer is elsewhere, or there is no ball; of all frames
    error    px, of those found
    ms       of the way itself, with the conversion to what it is given; the frames follow each other at once, so that
             caches are warm: in the loop it takes half as long again
"""

import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import av
import cv2
import numpy as np

from ball_track import COLORS, Image, Point, Scene, blank, draw, find
from bench.cases import Case, Figures
from bench.clips import Clip
from examples import finders
from film.video_encoder import CODECS, DEFAULT_BITRATE, create_codec, encode
from finding import color
from report.case_plots import draw_dots, lay_out, set_log
from report.plots import LINES
from report.tables import Column, Results, Table, median
from transport.receiver import create_decoder

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FPS = 30
MAX_FRAMES = 120  # of a clip, behind its first second
AWAY = 15  # frames without a ball, in the middle
OTHER = "orange"  # the second ball's colour, before a texture

Answer = tuple[float, float] | None


class Scenery(NamedTuple):
    """What a clip shows, and how it is encoded. textured: a lit ball before a texture, instead of a disc on black."""

    codec: str
    color: str
    radius: int
    textured: bool = False

    def __str__(self) -> str:
        return f"{'textured ' if self.textured else ''}{self.codec} {self.color} {self.radius}"


SCENERIES = tuple(
    Scenery(codec, color, radius, textured)
    for textured, colors, radii in ((False, ("white", "blue"), (10, 40)), (True, ("blue",), (20,)))
    for codec in CODECS
    for color in colors
    for radius in radii
)


# --- The ways ------------------------------------------------------------------------------------


def bgr(way: Callable[[Any], Answer]) -> Callable[[Image], Answer]:
    """Return a way that wants BGR as one that takes I420."""
    return lambda image: way(cv2.cvtColor(image, cv2.COLOR_YUV2BGR_I420))


def ours(scenery: Scenery) -> Callable[[Image], Answer]:
    """Return our own, as client.py runs it: with --color where there is more to see than a ball on black."""
    return partial(color.find, hues=color.HUES[scenery.color]) if scenery.textured else find


WAYS: dict[str, Callable[[Scenery], Callable[[Image], Answer]]] = {
    "this project: ours": ours,
    "usual ways: Hough circles": lambda _: bgr(finders.hough),
    "usual ways: threshold, moments": lambda _: bgr(finders.threshold),
    "usual ways: contours, enclosing circle": lambda _: bgr(finders.contours),
    "usual ways: HSV mask": lambda scenery: bgr(finders.hsv_white if scenery.color == "white" else finders.hsv_blue),
    "usual ways: blob detector": lambda _: bgr(finders.blob),
    "usual ways: template matching": lambda scenery: bgr(partial(finders.template, radius=scenery.radius)),
    "usual ways: background subtraction": lambda _: bgr(finders.Background()),
    "conversion alone: I420 to BGR": lambda _: bgr(lambda _: None),
}


# --- The clips -----------------------------------------------------------------------------------


def pictures(scenery: Scenery, seed: int, frames: int) -> Iterator[tuple[Image, Point | None]]:
    """Return each frame before it is encoded, (H * 3 / 2, W) uint8 I420, and where the ball is in it, None: nowhere."""
    away = range((FPS + frames) // 2, (FPS + frames) // 2 + min(AWAY, frames // 4))
    radius, count = scenery.radius, FPS + frames
    if scenery.textured:
        yield from Clip(
            seed, COLORS[scenery.color], COLORS[OTHER], frames=count, radius=radius, speed=240, hidden=away
        ).render()
        return
    scene = Scene(fps=FPS, radius=radius, color=COLORS[scenery.color], seed=seed)
    for k in range(count):
        truth = scene.position(k)
        yield (blank(scene.width, scene.height), None) if k in away else (draw(scene, truth), truth)


@cache
def encoded(scenery: Scenery, seed: int, frames: int) -> Sequence[tuple[bytes, Point | None]]:
    """Return a clip's frames as they travel, and where the ball is in each."""
    codec = create_codec(scenery.codec, 640, 480, FPS, DEFAULT_BITRATE)
    shown = pictures(scenery, seed, frames)
    return [(encode(codec, k, image, k == 0), truth) for k, (image, truth) in enumerate(shown)]


def decoded(scenery: Scenery, seed: int, frames: int) -> Iterator[tuple[Image, Point | None]]:
    """Return each frame as it arrives, (H * 3 / 2, W) uint8 I420, and where the ball is in it."""
    decoder = create_decoder(scenery.codec.upper())
    for data, truth in encoded(scenery, seed, frames):
        for frame in decoder.decode(av.Packet(data)):
            image: Image = frame.to_ndarray().astype(np.uint8, copy=False)
            yield image, truth


# --- The comparison ------------------------------------------------------------------------------


class Outcome(NamedTuple):
    """What a way made of frames. errors: px, of those found; took: ms, of each."""

    shown: int  # frames with a ball
    false: int
    errors: Sequence[float]
    took: Sequence[float]


def try_out(way: Callable[[Image], Answer], scenery: Scenery, seed: int, frames: int) -> Outcome:
    """Show a clip to a way."""
    shown = false = 0
    errors: list[float] = []
    took: list[float] = []
    for k, (image, truth) in enumerate(decoded(scenery, seed, frames)):
        began = time.perf_counter()
        answer = way(image)
        if k < FPS:
            continue
        took.append((time.perf_counter() - began) * 1000)
        shown += truth is not None
        if answer is not None and truth is not None and math.dist(answer, truth) <= scenery.radius:
            errors.append(math.dist(answer, truth))
        else:
            false += answer is not None
    return Outcome(shown, false, errors, took)


def figures_of(name: str, outcomes: Sequence[Outcome]) -> Figures:
    """Return what some clips add up to, each figure's name behind `name`."""
    errors = [error for outcome in outcomes for error in outcome.errors]
    took = [each for outcome in outcomes for each in outcome.took]
    figures = {
        "found": 100 * len(errors) / sum(outcome.shown for outcome in outcomes),
        "false": 100 * sum(outcome.false for outcome in outcomes) / len(took),
        "ms": statistics.median(took),
    }
    if errors:
        figures |= {"error mean": statistics.mean(errors), "error p99": float(np.percentile(errors, 99))}
    return {f"{name} {figure}": value for figure, value in figures.items()}


@dataclass(frozen=True)
class Held(Case):
    """One way of WAYS, held against every clip; its name is the way's."""

    def measure(self, seed: int, seconds: float, keep: Path | None = None) -> Figures:  # noqa: ARG002  # no run
        """Show it all clips."""
        frames = min(MAX_FRAMES, round(seconds * FPS))
        threads = cv2.getNumThreads()
        cv2.setNumThreads(1)
        try:
            outcomes = {each: try_out(WAYS[self.name](each), each, seed, frames) for each in SCENERIES}
        finally:
            cv2.setNumThreads(threads)
        figures: Figures = {}
        for textured, name in ((False, "black"), (True, "textured")):
            figures |= figures_of(name, [outcome for each, outcome in outcomes.items() if each.textured == textured])
        for each, outcome in outcomes.items():  # for results.json
            figures |= figures_of(str(each), [outcome])
        return figures


def finders_cases() -> list[Case]:
    """Return a case for each way."""
    return [Held(name, quick=name in {"ours", "usual ways: contours, enclosing circle"}) for name in WAYS]


COLUMNS = tuple(
    Column(f"{heading}: {title}", f"{name} {figure}", digits)
    for name, heading in (("black", "on black"), ("textured", "before a texture"))
    for title, figure, digits in (
        ("ms", "ms", 2),
        ("error mean, px", "error mean", 4),
        ("p99, px", "error p99", 4),
        ("found, %", "found", 1),
        ("false, %", "false", 1),
    )
)


def draw_finders(results: Results, figure: "Figure") -> None:
    """Draw mean and p99 of each way's error, and what it found, on black and before a texture."""
    left, right = figure.subplots(1, 2)
    for axes, name, title in ((left, "black", "disc on black"), (right, "textured", "lit ball before a texture")):
        places = lay_out(axes, results)
        if axes is right:
            axes.set_yticklabels([])
        pairs = {places[way]: (median(each, f"{name} error mean"), median(each, f"{name} error p99"))
                 for way, each in results.items()}  # fmt: skip
        draw_dots(axes, pairs, LINES[0])
        for way, figures in results.items():
            found, false, took = (median(figures, f"{name} {each}") for each in ("found", "false", "ms"))
            text = f"{took:.1f} ms, found {found:.0f} %\nfalse {false:.0f} %"
            axes.annotate(
                text,
                (1.02, places[way]),
                xycoords=("axes fraction", "data"),
                va="center",
                fontsize=6.5,
                linespacing=0.9,
            )
        set_log(axes)
        axes.set(xlim=(0.001, 1000), xlabel="error, px: mean (full), p99 (hollow)")
        axes.set_title(title, fontsize=9)
        axes.grid(axis="x", alpha=0.25)


TABLE = Table(
    "The usual ways to find a ball (examples/finders.py) beside ours, on the same decoded frames: 640x480, VP8, H.264"
    " at 500 kbit/s; white and blue discs of radius 10 and 40 px on black, and a lit blue ball of radius 20 px before a"
    " texture, an orange one beside it. The times have the conversion to BGR in them, which is the last row",
    COLUMNS,
    "finders",
    draw_finders,
    "Finders on the same decoded frames",
)
