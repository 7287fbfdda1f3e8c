"""What a frame's number takes of a picture is no place for a ball: it is painted black before anyone looks."""

from collections.abc import Sequence

from ball_track import Image
from protocol.picture_code import CodeLayout, Legibility, blacken, layout_of, read

LOOKED_AT = 60  # frames of one size, in which a number is looked for


class Margins:
    """Knows whether the pictures of a session have a code, from the first one in which it is read."""

    def __init__(self) -> None:
        self._shape: tuple[int, ...] | None = None  # of the pictures
        self._layout: CodeLayout | None = None  # of their code, if they may have one
        self._known = False  # they have one
        self._left = 0  # so many more are looked at

    def paint_out(self, seen: Sequence[Image]) -> Sequence[Image]:
        """Return a picture without outline and number: what it is made of, or a copy where there are any.

        Args:
            seen: its Y, U and V planes, (H, W), (H / 2, W / 2) and (H / 2, W / 2) uint8; they stay as they are.
        """
        if seen[0].shape != self._shape:
            self._begin(seen[0].shape)
        if self._layout is None:
            return seen
        if not self._known:
            if not self._left:
                return seen
            self._left -= 1
            self._known = read(seen[0], self._layout).legibility is Legibility.READ
            if not self._known:
                return seen
        seen = tuple(plane.copy() for plane in seen)
        blacken(seen, self._layout)
        return seen

    def _begin(self, shape: tuple[int, ...]) -> None:
        self._shape, self._known, self._left = shape, False, LOOKED_AT
        try:
            self._layout = layout_of(shape[1], shape[0])
        except ValueError:
            self._layout = None
