"""A hint at --color, for who lets a ball be looked for on black in a scene that is not black."""

from collections.abc import Callable

from ball_track import Image

FRAMES = 90  # so many are looked at before the hint
MISSED = 0.5  # the share of them without a ball, at least
BLACK = 40  # of 255: a black film's background is 16 and what a codec adds
NOT_BLACK = 0.3  # the share of a picture that is brighter, at least
STEP = 16  # px; every so many are looked at


class Hint:
    """Notices that much is missed where --color would help, and says so, once.

    Args:
        say: says a line to the person who looks.
    """

    def __init__(self, say: Callable[[str], object]) -> None:
        self._say = say
        self._seen = self._missed = 0
        self._given = False

    def note(self, luma: Image, found: bool) -> None:
        """Take note of whether there was a ball in a frame.

        Args:
            luma: (H, W) uint8, the Y plane of a frame of the same scene.
            found: whether a ball was found.
        """
        self._seen += 1
        self._missed += not found
        if self._given or self._seen < FRAMES:
            return
        seen, missed, self._seen, self._missed = self._seen, self._missed, 0, 0
        if missed >= MISSED * seen and (luma[::STEP, ::STEP] > BLACK).mean() >= NOT_BLACK:
            self._given = True
            self._say(f"hint: {missed} of {seen} frames without a ball, in a scene that is not black: try --color red")
