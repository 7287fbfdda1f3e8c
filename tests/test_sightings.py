"""What is known of a frame is shown with that frame, in order, and nothing waits for ever."""

import numpy as np
import pytest

from ball_track import Point
from protocol.messages import Score, Truth
from views.sightings import HELD_TICKS, MAX_WAITING, PATIENCE, Sight, Sightings

PLANES = (np.zeros((64, 64), np.uint8), np.zeros((32, 32), np.uint8), np.zeros((32, 32), np.uint8))


class Notes:
    """Sightings, and what they have shown."""

    def __init__(self) -> None:
        self.shown: list[Sight] = []
        self.sightings = Sightings(self.shown.append)

    @property
    def pts(self) -> list[int]:
        """Return the frames shown so far."""
        return [sight.pts for sight in self.shown]


def test_on_score_shows_the_frame_with_what_belongs_to_it() -> None:
    """Place, error and latency are those of the frame that is shown, though a later one is found already."""
    notes = Notes()
    for pts in (0, 3000):
        notes.sightings.on_frame(pts, PLANES, pts / 90_000)
        notes.sightings.on_found(pts, Point(pts, 7))
    assert notes.pts == []
    notes.sightings.on_score(Score(0, 0.25, 8.0, 1, 0))
    assert notes.pts == [0]
    figures = notes.shown[0].figures
    assert figures[:3] == (Point(0, 7), 0.25, 8.0)
    assert (figures.scored, figures.lost) == (1, 0)
    notes.sightings.on_score(Score(3000, 0.5, 9.0, 2, 1))
    assert notes.shown[1].figures[:3] == (Point(3000, 7), 0.5, 9.0)
    assert (notes.shown[1].figures.scored, notes.shown[1].figures.lost) == (2, 1)
    assert all(sight.seen is PLANES for sight in notes.shown)


def test_on_score_of_a_later_frame_shows_those_before_it() -> None:
    """A score that was lost on its way holds nothing up: frames come in their order, it without a score."""
    notes = Notes()
    for pts in (0, 3000, 6000):
        notes.sightings.on_frame(pts, PLANES, 0.0)
        notes.sightings.on_found(pts, Point(1, 1))
    notes.sightings.on_score(Score(3000, 0.5, 9.0, 1, 0))
    assert notes.pts == [0, 3000]
    assert [sight.figures.error_px for sight in notes.shown] == [None, 0.5]


def test_a_frame_without_ball_or_passed_over_waits_for_no_score() -> None:
    """Nothing more will be known of it; but those before it come first."""
    notes = Notes()
    for pts in (0, 3000, 6000):
        notes.sightings.on_frame(pts, PLANES, 0.0)
    notes.sightings.on_skipped(3000)
    assert notes.pts == []
    notes.sightings.on_found(0, None)
    assert notes.pts == [0, 3000]
    assert notes.shown[0].figures.found is None


def test_on_frame_shows_what_has_waited_too_long() -> None:
    """Where no score ever comes, frames are shown a moment later."""
    notes = Notes()
    notes.sightings.on_frame(0, PLANES, 0.0)
    notes.sightings.on_found(0, Point(3, 4))
    notes.sightings.on_frame(3000, PLANES, PATIENCE - 0.01)
    assert notes.pts == []
    notes.sightings.on_frame(6000, PLANES, PATIENCE + 0.01)
    assert notes.pts == [0]
    assert notes.shown[0].figures.found == Point(3, 4)


def test_on_frame_holds_a_bounded_number_of_frames() -> None:
    """A burst of frames that nothing is known of is shown, not kept."""
    notes = Notes()
    for pts in range(100):
        notes.sightings.on_frame(pts, PLANES, 0.0)
    assert notes.pts == list(range(100 - MAX_WAITING))


def test_flush_shows_what_is_left() -> None:
    """At the end, every frame has been shown once, in order."""
    notes = Notes()
    for pts in range(0, 30_000, 3000):
        notes.sightings.on_frame(pts, PLANES, pts / 90_000)
        notes.sightings.on_found(pts, Point(1, 1))
    notes.sightings.on_score(Score(6000, 0.0, 1.0, 1, 0))
    notes.sightings.flush()
    assert notes.pts == list(range(0, 30_000, 3000))


def test_the_trail_is_the_last_second_up_to_the_frame() -> None:
    """It ends at the frame's own place, though later frames are found already, and begins a second before."""
    notes = Notes()
    for pts in range(0, 180_000, 3000):
        notes.sightings.on_frame(pts, PLANES, 0.0 if pts < 177_000 else 1.0)
        notes.sightings.on_found(pts, Point(pts, 0))
    notes.sightings.flush()
    trail = notes.shown[-3].trail
    assert trail[-1] == (0, Point(171_000, 0))
    assert trail[0].point.x >= 171_000 - 90_000
    assert [step.age for step in trail] == pytest.approx([(171_000 - step.point.x) / 90_000 for step in trail])


def test_what_is_said_of_an_unknown_frame_is_ignored() -> None:
    """A word of a frame that was shown already, or never seen, changes nothing."""
    notes = Notes()
    notes.sightings.on_found(5, Point(1, 1))
    notes.sightings.on_skipped(5)
    notes.sightings.on_score(Score(5, 0.1, 1.0, 1, 0))
    assert notes.pts == []


def test_fps_is_the_rate_of_the_last_second() -> None:
    """25 frames a second are 25, whatever came before; one frame has no rate."""
    notes = Notes()
    notes.sightings.on_frame(0, PLANES, 0.0)
    notes.sightings.flush()
    assert notes.shown[0].figures.fps is None
    for n in range(100):
        notes.sightings.on_frame(n, PLANES, 10 + n / 25)
    notes.sightings.flush()
    assert notes.shown[-1].figures.fps == pytest.approx(25)


def test_a_frame_that_was_passed_over_shows_the_figures_of_the_one_before() -> None:
    """Nothing flickers to dashes for it, nor for one whose score was lost; its own place is not known all the same."""
    notes = Notes()
    for pts in (0, 3000, 6000, 9000):
        notes.sightings.on_frame(pts, PLANES, 0.0)
    notes.sightings.on_found(0, Point(1, 2))
    notes.sightings.on_score(Score(0, 0.25, 8.0, 1, 0))
    notes.sightings.on_skipped(3000)
    notes.sightings.on_found(6000, Point(3, 4))
    notes.sightings.on_found(9000, Point(5, 6))
    notes.sightings.on_score(Score(9000, 0.5, 9.0, 2, 1))
    told = [(figures.found, figures.newest, figures.error_px, figures.latency_ms) for _, _, figures, _ in notes.shown]
    assert told == [
        (Point(1, 2), Point(1, 2), 0.25, 8.0),
        (None, Point(1, 2), 0.25, 8.0),
        (Point(3, 4), Point(3, 4), 0.25, 8.0),
        (Point(5, 6), Point(5, 6), 0.5, 9.0),
    ]


@pytest.mark.parametrize("late", [False, True])
def test_figures_are_not_told_again_for_long_nor_of_a_frame_without_ball(late: bool) -> None:
    """Half a second later they are no news any more; and where no ball was found, that is what is told."""
    notes = Notes()
    pts = HELD_TICKS + 3000 if late else 3000
    for each in (0, pts):
        notes.sightings.on_frame(each, PLANES, 0.0)
    notes.sightings.on_found(0, Point(1, 2))
    notes.sightings.on_score(Score(0, 0.25, 8.0, 1, 0))
    if late:
        notes.sightings.on_skipped(pts)
    else:
        notes.sightings.on_found(pts, None)
    figures = notes.shown[-1].figures
    assert (figures.newest, figures.error_px, figures.latency_ms) == (None, None, None)


def test_truth_is_shown_with_the_frame_that_it_is_of() -> None:
    """It comes just before the score; one of a frame that is shown already, or unknown, is passed over."""
    notes = Notes()
    for pts in (0, 3000):
        notes.sightings.on_frame(pts, PLANES, 0.0)
        notes.sightings.on_found(pts, Point(1, 2))
    notes.sightings.on_truth(Truth(3000, 1.5, 2.5))
    notes.sightings.on_score(Score(0, 0.25, 8.0, 1, 0))
    notes.sightings.on_truth(Truth(0, 9.0, 9.0))
    notes.sightings.on_score(Score(3000, 0.5, 9.0, 2, 0))
    assert [sight.figures.truth for sight in notes.shown] == [None, Point(1.5, 2.5)]
