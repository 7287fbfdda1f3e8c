"""The strip below a film: the figures, and the ball's centre twenty times as large, as it was and as it was found.

It lies outside the film, always: figures over the film would lie on the ball's path, and on whatever stands at the
film's edges, such as a code that is to be read there. Sizes follow the film's, so that all can be read from 320x240 on.
Points have the origin at the film's top left and pixel centres on integers, as everywhere.
"""

import math
from typing import NamedTuple

import cv2
import numpy as np

from ball_track import Image, Point
from views.sightings import Figures

ZOOM = 20
GROUND = (24, 18, 16)  # BGR
LABEL = (200, 188, 178)
VALUE = (255, 255, 255)
ALARM = (90, 130, 255)  # of the number of lost frames, unless it is 0
GRID = 150  # grey, between two pixels of the film
TRUTH = (40, 150, 255)  # amber
FOUND = (255, 60, 150)  # violet
SMALLEST_TEXT, LARGEST_TEXT = 13, 28  # px of a value that can be read; more takes more of the screen than it gives
HIGHEST_LENS = 7  # pixels of the film
SUBPIXEL = 4  # bits of a coordinate behind the point, for cv2.line

_sans = cv2.FontFace("sans")  # OpenCV's own; it needs no file


class Layout(NamedTuple):
    """How a strip is divided.

    height: px; text: px of a value; columns, rows: of figures; lens: how many pixels of the film each of the two
    lenses shows, across and down, (0, 0) where there is no room for them.
    """

    height: int
    text: int
    columns: int
    rows: int
    lens: tuple[int, int]


def lay_out(width: int, height: int, cells: int) -> Layout:
    """Return how to divide the strip below a film of this size (px) with so many figures; 0 are written elsewhere."""
    text = min(max(SMALLEST_TEXT, round(min(width, height) / 30)), LARGEST_TEXT)
    gap = text // 2
    down = min(_odd(height / 4.6 / ZOOM, 3), HIGHEST_LENS)
    across = down if cells else _odd((width - 3 * gap) / 2 / ZOOM, 3)
    lenses = 2 * (across * ZOOM + gap) + gap
    narrowest = round(4.5 * text)  # of a figure's column
    if lenses + (2 * narrowest if cells else 0) > width:
        across = down = lenses = 0
    columns = max(1, min(cells, (width - lenses) // narrowest))
    rows = math.ceil(cells / columns)
    high = max(rows * _row(text), down * ZOOM + _title(text) if across else 0) + 2 * gap
    return Layout(high + high % 2, text, math.ceil(cells / rows) if rows else 0, rows, (across, down))


def draw_strip(strip: Image, film: Image, figures: Figures, written: bool) -> None:
    """Draw the strip.

    Args:
        strip: (h, W, 3) uint8, BGR: where to draw; h is the height of its layout.
        film: (H, W, 3) uint8, BGR: what the lenses look at, nothing drawn on it yet.
        figures: what is known of it.
        written: whether the figures are to be written; where they stand elsewhere there are the lenses alone.
    """
    cells = panel_text(figures) if written else ()
    layout = lay_out(film.shape[1], film.shape[0], len(cells))
    cv2.rectangle(strip, (0, 0), strip.shape[1::-1], GROUND, cv2.FILLED)  # ten times as fast as numpy
    gap = layout.text // 2
    across = layout.lens[0]
    taken = 2 * (across * ZOOM + gap) + gap if across else 0
    top = (strip.shape[0] - layout.rows * _row(layout.text)) // 2
    width = (film.shape[1] - taken) / max(1, layout.columns)
    for number, (label, value) in enumerate(cells):
        left = round(number % layout.columns * width + gap)
        bottom = top + _row(layout.text) * (number // layout.columns + 1)
        color = ALARM if label == "lost" and figures.lost else VALUE
        _write(strip, label, (left, bottom - round(1.5 * layout.text)), round(0.75 * layout.text), LABEL)
        _write(strip, value, (left, bottom - round(0.4 * layout.text)), layout.text, color)
    if across:
        _draw_lenses(strip, film, figures, layout)


def panel_text(figures: Figures) -> tuple[tuple[str, str], ...]:
    """Return labels and values as they are written, a dash for what is not known.

    >>> panel_text(Figures(newest=Point(12.345, 6), error_px=0.0049))[:3]
    (('x px', '12.35'), ('y px', '6.00'), ('error px', '0.005'))
    >>> panel_text(Figures())[-1]
    ('lost', '-')
    """
    x, y = figures.newest or (None, None)
    return (
        ("x px", _number(x, 2)),
        ("y px", _number(y, 2)),
        ("error px", _number(figures.error_px, 3)),
        ("latency ms", _number(figures.latency_ms, 1)),
        ("fps", _number(figures.fps, 1)),
        ("scored", _number(figures.scored, 0)),
        ("lost", _number(figures.lost, 0)),
    )


def _draw_lenses(strip: Image, film: Image, figures: Figures, layout: Layout) -> None:
    """Draw both lenses at the right end: the same pixels, with the truth in one, what was found in the other."""
    gap, (across, down) = layout.text // 2, layout.lens
    middle = figures.truth or figures.found or figures.newest
    top = (strip.shape[0] - down * ZOOM - _title(layout.text)) // 2 + _title(layout.text)
    for number, (name, marks) in enumerate(
        (("truth", ((figures.truth, TRUTH),)), ("found", ((figures.truth, None), (figures.found, FOUND))))
    ):
        left = strip.shape[1] - (2 - number) * (across * ZOOM + gap)
        title = f"{name}, {ZOOM} times: a square is a pixel" if across > 13 else f"{name} x {ZOOM}"
        _write(strip, title, (left, top - round(0.45 * layout.text)), round(0.75 * layout.text), LABEL)
        lens = strip[top : top + down * ZOOM, left : left + across * ZOOM]
        if middle is None or not max(map(abs, middle)) < 2**15:
            continue
        corner = Point(round(middle.x) - across // 2, round(middle.y) - down // 2)
        lens[:] = _magnify(film, corner, across, down)
        for point, color in marks:
            if point is not None:
                _mark(
                    lens,
                    Point(*(ZOOM * (at - low) + (ZOOM - 1) / 2 for at, low in zip(point, corner, strict=True))),
                    color,
                )


def _magnify(film: Image, corner: Point, across: int, down: int) -> Image:
    """Return so many pixels of a film, each as a square with a line around it; GROUND where the film has ended."""
    shift = (ZOOM - 1) / 2
    scale = np.array([[ZOOM, 0, shift - ZOOM * corner.x], [0, ZOOM, shift - ZOOM * corner.y]])
    size = (across * ZOOM, down * ZOOM)
    lens = cv2.warpAffine(
        film, scale, size, flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=GROUND
    )
    lens[::ZOOM] = lens[:, ::ZOOM] = GRID
    return lens.astype(np.uint8, copy=False)


def _mark(lens: Image, point: Point, color: tuple[int, int, int] | None) -> None:
    """Mark a point of a lens: by a cross as large as the lens; None: by a small ring in the truth's colour."""
    x, y = (round(at * 2**SUBPIXEL) for at in point)
    if color is None:
        cv2.circle(lens, (x, y), round(0.3 * ZOOM * 2**SUBPIXEL), TRUTH, 2, cv2.LINE_AA, SUBPIXEL)
        return
    far = 2**SUBPIXEL * max(lens.shape)
    for dx, dy in ((far, 0), (0, far)):
        cv2.line(lens, (x - dx, y - dy), (x + dx, y + dy), color, 2, cv2.LINE_AA, SUBPIXEL)


def _write(strip: Image, text: str, place: tuple[int, int], size: int, color: tuple[int, int, int]) -> None:
    cv2.putText(strip, text, place, color, _sans, size, 500)


def _row(text: int) -> int:
    """Return the height of a label and its value, px."""
    return round(2.5 * text)


def _title(text: int) -> int:
    """Return the height of a lens's title, px."""
    return round(1.4 * text)


def _odd(number: float, least: int) -> int:
    """Return the largest odd whole number that is not above; `least` at least."""
    return max(least, math.floor((number - 1) / 2) * 2 + 1)


def _number(value: float | None, decimals: int) -> str:
    return "-" if value is None else f"{value:.{decimals}f}"
