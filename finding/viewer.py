"""Looks at a picture that shows the film somewhere, and gives the film's own frame, with the number that is in it.

A picture of the film's own size is the film, as long as number and outline are where they belong. Else the film is
searched for in the picture (outline.py), and where it was found it is looked for from then on, at the cost of a look
alone. What cannot be read for half a second is searched for again: a tripod was bumped, a window was moved.

A number is also read where the film is a few px aside, and the ball would be off by as much. So the outline is measured
in every picture: one in which it is not where it was names no frame, and tells where it is. One of which a part is
covered, cut off or bent is followed by its other parts only: such a picture names its frame, and is worth no error.

A picture out of focus shows a ball without a rim that a finder knows. What is soft is sharpened: by that the ball's
middle stays where it is, and the black around it black.

This module knows no clock, no camera and no network.
"""

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np

from ball_track import BLACK_YUV, Image, planes
from finding.outline import (
    Mapping,
    Maps,
    candidates,
    grid_of,
    mapping_of,
    maps_of,
    place_of,
    read_through,
    refine,
    sample,
)
from protocol.picture_code import DARK, LIGHT, CodeLayout, Legibility, Reading, read

HEAL_AFTER = 0.5  # s that the number, or a part of the outline, is missing, after which the film is searched for
MOVED = 0.25  # px of the film by which a corner of it has to be elsewhere to have moved
EXACT = 3  # levels by which a screen's own picture may be off; more is a camera's, and is stretched to the film's
SOFT = 1.25  # px of the film, of a blur from which on a picture is sharpened; find() misses the ball from 1.6 on
SHARPENING, AROUND = 2.0, 4.0  # times what a picture differs from one that is blurred by so many px
BLANK = 20  # levels that the lightest and the darkest of a picture are apart, below which it shows nothing


class Look(NamedTuple):
    """What one picture shows.

    reading: the number; shown: the film's own frame with it, as Y, U and V planes, None where there is no number of it;
    blank: the picture is of one colour; moved: there is a number, and the film is not where it was, so that it is
    taken for unread; whole: all of the film's outline is there, so that a coordinate is worth an error.
    """

    reading: Reading
    shown: tuple[Image, ...] | None = None
    blank: bool = False
    moved: bool = False
    whole: bool = False


class Viewer:
    """Looks at one picture after the other.

    Args:
        layout: where the code is in the film.
        accept: whether a number can be one of the film that is meant: another film may be in the picture.
    """

    def __init__(self, layout: CodeLayout, accept: Callable[[Reading], bool]) -> None:
        self.searches = 0  # how often the film was searched for
        self._layout, self._accept = layout, accept
        self._mapping: Mapping | None = None  # None: the picture is the film
        size = layout.width, layout.height
        self._corners = np.array([(0, 0), (size[0], 0), size, (0, size[1])], np.float64)
        self._itself = mapping_of(size, size, self._corners, self._corners)
        self._places: tuple[Maps, Maps] | None = None  # where its samples are in the picture's planes
        self._size = (0, 0)  # of the pictures
        self._last_known = self._last_search = -np.inf  # s, when it was known where the film is

    def look(self, image: Image, now: float) -> Look:
        """Look at a picture at time `now` (s).

        Args:
            image: (H * 3 / 2, W) uint8, I420; it stays as it is.
        """
        seen = planes(image)
        height, width = seen[0].shape
        if (width, height) != self._size:
            self._size, self._mapping, self._last_known = (width, height), None, -np.inf
        look = self._look(seen)
        known = look.whole or look.moved
        if not known and now - max(self._last_known, self._last_search) >= HEAL_AFTER:
            self._last_search = now
            if self._search(seen[0]):
                look = self._look(seen)
                known = look.whole
        if known:
            self._last_known = now
        return look

    def _look(self, seen: tuple[Image, Image, Image]) -> Look:
        """Return what a picture shows where the film is looked for, and follow one that has moved."""
        luma = seen[0]
        reading, levels = self._read(luma, self._mapping)
        if reading.legibility is not Legibility.READ:
            few = luma[::16, ::16]
            return Look(reading, blank=int(few.max()) - int(few.min()) < BLANK)
        if not self._accept(reading):
            return Look(reading)
        place = place_of(luma, self._layout, self._mapping or self._itself)
        if place is None or place.moved >= MOVED:
            return Look(Reading(Legibility.UNREAD), moved=self._follow(luma))
        return Look(reading, self._rectify(seen, levels, place.blur), whole=place.whole)

    def _read(self, luma: Image, mapping: Mapping | None) -> tuple[Reading, tuple[float, float]]:
        """Return what is read in a picture, and its levels of dark and light."""
        if mapping is not None:
            reading, dark, light = read_through(luma, self._layout, mapping)
            return reading, (dark, light)
        if luma.shape != (self._layout.height, self._layout.width):
            return Reading(Legibility.UNREAD), (DARK, LIGHT)
        return read(luma, self._layout), (DARK, LIGHT)

    def _search(self, luma: Image) -> bool:
        """Search for the film in a picture; return whether it was found."""
        self.searches += 1
        if self._mapping is not None and self._is_film(luma, None) and self._is_itself(luma):
            self._mapping = None
            return True
        for mapping in candidates(luma, self._layout):
            if read_through(luma, self._layout, mapping).reading.legibility is Legibility.UNREAD:
                continue
            if self._take(luma, mapping):
                return True
        return False

    def _take(self, luma: Image, mapping: Mapping) -> bool:
        """Look for the film where its outline is, near a mapping, if it is there; return whether it is."""
        refined = refine(luma, self._layout, mapping)
        if refined is None or not self._is_film(luma, refined):
            return False
        self._see_through(refined)
        return True

    def _follow(self, luma: Image) -> bool:
        """Follow a film that has moved; a picture of the film's size that is not the film is to be searched."""
        return self._mapping is not None and self._take(luma, self._mapping)

    def _is_itself(self, luma: Image) -> bool:
        """Return whether a picture of the film's size has the outline where the film has it."""
        place = place_of(luma, self._layout, self._itself)
        return place is not None and place.moved < MOVED

    def _see_through(self, mapping: Mapping) -> None:
        """Look for the film there from now on."""
        self._mapping = mapping
        size = self._layout.width, self._layout.height
        chroma = (mapping.project(grid_of(size, 2)) - 0.5) / 2
        self._places = maps_of(mapping.project(grid_of(size))), maps_of(chroma)

    def _is_film(self, luma: Image, mapping: Mapping | None) -> bool:
        reading, _ = self._read(luma, mapping)
        return reading.legibility is Legibility.READ and self._accept(reading)

    def _rectify(
        self, seen: tuple[Image, Image, Image], levels: tuple[float, float], blur: float = 0.0
    ) -> tuple[Image, ...]:
        """Return the film's frame as if it had been sent; blur: of the picture, px of the film."""
        if self._mapping is None:
            return seen
        assert self._places is not None
        at, at_chroma = self._places
        rectified = [sample(plane, places) for plane, places in zip(seen, (at, at_chroma, at_chroma), strict=True)]
        dark, light = levels
        if abs(dark - DARK) > EXACT or abs(light - LIGHT) > EXACT:
            ramp = (np.arange(256) - dark) * ((LIGHT - DARK) / (light - dark)) + DARK
            stretch = np.clip(np.rint(ramp), DARK, 255).astype(np.uint8)
            rectified[0] = np.asarray(cv2.LUT(rectified[0], stretch), np.uint8)
            rectified[1:] = [self._without_cast(plane) for plane in rectified[1:]]
        if blur >= SOFT:  # half as much in U and V, which do without
            rectified[0] = _sharpen(rectified[0])
        return tuple(rectified)

    def _without_cast(self, plane: Image) -> Image:
        """Return a U or V plane in which the cells, which are grey, have no colour."""
        layout = self._layout
        rows = plane[layout.top // 2 : (layout.top + layout.cell) // 2, layout.left // 2 : layout.right // 2]
        cast = float(rows.mean()) - BLACK_YUV[1]
        return np.asarray(np.clip(plane - cast, 0, 255), np.uint8)


def _sharpen(luma: Image) -> Image:
    """Return a Y plane with steeper edges, each where it was: an unsharp mask, within what the film has of levels."""
    soft = cv2.GaussianBlur(luma, (0, 0), AROUND)
    return np.clip(cv2.addWeighted(luma, 1 + SHARPENING, soft, -SHARPENING, 0), DARK, LIGHT).astype(np.uint8)
