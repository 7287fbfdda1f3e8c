"""finding/hint.py: one line for who looks for any ball on black, in a scene that is not black."""

import numpy as np
import pytest

from ball_track import Point, Scene, draw, planes
from finding.hint import FRAMES, Hint

WALL = np.random.default_rng(0).integers(60, 200, (480, 640), np.uint8)
BLACK = planes(draw(Scene(), Point(320, 240)))[0]


def hints(luma: np.ndarray, found: list[bool]) -> list[str]:
    """Return the hints that such answers bring."""
    said: list[str] = []
    hint = Hint(said.append)
    for each in found:
        hint.note(luma, each)
    return said


def test_hint_is_given_once_where_much_is_missed() -> None:
    """A textured scene, and no ball in most of it: one line names the option and the counts."""
    (text,) = hints(WALL, [True, False, False] * FRAMES)
    assert f"{FRAMES * 2 // 3} of {FRAMES} frames without a ball" in text
    assert "--color red" in text


@pytest.mark.parametrize(
    ("luma", "found"),
    [
        (WALL, [True] * 3 * FRAMES),
        (WALL, [True, True, False] * FRAMES),
        (WALL, [False] * (FRAMES - 1)),
        (BLACK, [False] * 3 * FRAMES),
    ],
    ids=["all is found", "most is found", "it has just begun", "the scene is black"],
)
def test_hint_is_not_given_without_need(luma: np.ndarray, found: list[bool]) -> None:
    """Where --color would not help, or it is not known yet, nothing is said."""
    assert hints(luma, found) == []


def test_hint_is_given_when_the_scene_turns_bad() -> None:
    """What was found for long does not hide what is missed now."""
    assert len(hints(WALL, [True] * 100 * FRAMES + [False] * 2 * FRAMES)) == 1
