"""bench/finders.py and bench/prediction.py: what they show, and what they make of answers and of a server's rows."""

import itertools
import math

import pytest

from ball_track import Scene
from bench import finders
from bench.finders import SCENERIES, Outcome, Scenery, figures_of, pictures, try_out
from bench.prediction import aged_figures, turns

PLAIN = Scenery("vp8", "white", 40)


def test_sceneries_are_those_that_the_table_names() -> None:
    """Two codecs, two colours and two radii on black, and a texture: each once."""
    assert len(set(map(str, SCENERIES))) == len(SCENERIES) == 10
    assert {each.codec for each in SCENERIES} == {"vp8", "h264"}


@pytest.mark.parametrize("scenery", [PLAIN, Scenery("h264", "blue", 20, textured=True)])
def test_pictures_hide_the_ball_for_a_while(scenery: Scenery) -> None:
    """Each clip has its first second, the frames that count, and among these some without a ball."""
    truths = [truth for _, truth in pictures(scenery, 1, 40)]
    assert len(truths) == finders.FPS + 40
    assert truths[: finders.FPS].count(None) == 0
    assert truths.count(None) == 10


def test_try_out_counts_found_false_and_missed() -> None:
    """A right answer is found; one elsewhere, or where there is no ball, is false; None is neither."""
    frames = 40
    shown = 30
    truths = iter([truth for _, truth in pictures(PLAIN, 1, frames)])
    right = try_out(lambda _: next(truths), PLAIN, 1, frames)
    assert (right.shown, right.false, len(right.errors)) == (shown, 0, shown)
    assert max(right.errors) == 0
    wrong = try_out(lambda _: (-500, -500), PLAIN, 1, frames)
    assert (wrong.shown, wrong.false, wrong.errors) == (shown, frames, [])
    blind = try_out(lambda _: None, PLAIN, 1, frames)
    assert (blind.shown, blind.false, blind.errors) == (shown, 0, [])
    assert len(blind.took) == frames


def test_figures_of_what_found_nothing_have_no_error() -> None:
    """Shares are of what was shown; where nothing was found there is no error, rather than one of 0."""
    assert figures_of("a", [Outcome(8, 2, [], [1.0] * 10)]) == {"a found": 0, "a false": 20, "a ms": 1}
    figures = figures_of("a", [Outcome(8, 0, [1.0, 3.0], [1.0] * 10), Outcome(2, 0, [2.0], [2.0] * 5)])
    assert figures["a found"] == pytest.approx(30)
    assert figures["a error mean"] == pytest.approx(2)


def test_every_way_finds_most_of_its_discs() -> None:
    """On decoded frames each way has a ball that it finds: the comparison is with their best."""
    for name, make in finders.WAYS.items():
        if name != "conversion alone: I420 to BGR":
            outcome = try_out(make(PLAIN), PLAIN, 1, 20)
            assert len(outcome.errors) > outcome.shown * 0.7, name


def test_turns_knows_a_bounce() -> None:
    """Between two times there is a bounce where the direction changes, as stepping through them shows."""
    scene = Scene(seed=3)
    for k in range(300):
        steps = [scene.position(k + n / 100) for n in range(101)]
        signs = {
            tuple(math.copysign(1, b - a) for a, b in zip(before, after, strict=True))
            for before, after in itertools.pairwise(steps)
        }
        if turns(scene, k, k + 1) != (len(signs) > 1):  # at the very edge of an interval
            assert turns(scene, k - 0.05, k + 1.05)


def row(k: int, latency_ms: float, straight: float, walls: float) -> dict[str, str]:
    """Return a row of a server's CSV."""
    return {
        "k": str(k),
        "state": "scored",
        "latency_ms": str(latency_ms),
        "live_error_px": "25.0",
        "predicted_error_px": str(straight),
        "predicted_walls_error_px": str(walls),
    }


def test_aged_figures_leave_out_the_first_second_and_the_bounces() -> None:
    """What counts begins a second after the first score; between bounces are those that met no wall on the way."""
    scene = Scene(seed=3)
    rows = [row(k, 100, 50.0 if turns(scene, k - 1, k + 3) else 0.5, 0.25) for k in range(32, 300)]
    figures = aged_figures([row(1, 9, 999, 999), {"k": "2", "state": "lost"}, *rows], scene)
    assert figures["latency p50"] == 100
    assert figures["raw mean"] == 25
    assert figures["straight mean"] > 1
    assert figures["between p99"] == 0.5
    assert figures["walls mean"] == 0.25


def test_aged_figures_of_nothing_are_none() -> None:
    """Where nothing was scored there is no figure."""
    assert aged_figures([], Scene()) == {}
