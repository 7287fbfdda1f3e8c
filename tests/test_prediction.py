"""prediction.py: each of its rules, on coordinates as a finder reports them."""

import math
import random
import statistics
from collections.abc import Iterable

import pytest

from ball_track import Point, Scene, Walls
from common.prediction import SPAN, Predictor

FPS = 30.0
LATENCY = 0.106  # s
NOISE = 0.006  # px, of each coordinate; what VP8 leaves
ROOM = Walls((0.0, 600.0), (0.0, 440.0))


def errors(predictor: Predictor, scene: Scene, frames: Iterable[int], noise: float = NOISE) -> dict[int, float]:
    """Return how far (px) each frame's prediction is off, LATENCY after the frame, once there is one."""
    dice = random.Random(1)
    off = {}
    for k in frames:
        truth = scene.position(k)
        predictor.observe(k / FPS, Point(dice.gauss(truth.x, noise), dice.gauss(truth.y, noise)))
        predicted = predictor.at(k / FPS + LATENCY)
        if predicted is not None:
            off[k] = math.dist(predicted, scene.position(k + LATENCY * FPS))
    return off


def bounces(scene: Scene, frames: int) -> list[int]:
    """Return the frames after which the ball meets a wall before the next one."""
    steps = [[b - a for a, b in zip(scene.position(k), scene.position(k + 1e-3), strict=True)] for k in range(frames)]
    return [k for k in range(frames - 1) if any(a * b < 0 for a, b in zip(steps[k], steps[k + 1], strict=True))]


def straight(predictor: Predictor, frames: Iterable[int], velocity: float = 240.0) -> None:
    """Let a predictor see a ball that flies to the right from x = 100 at a speed (px / s), exactly."""
    for k in frames:
        predictor.observe(k / FPS, Point(100 + velocity * k / FPS, 50))


@pytest.mark.parametrize("speed", [240, 960])
def test_predictor_knows_where_the_ball_is_between_known_walls(speed: float) -> None:
    """Over hundreds of frames and dozens of bounces it is right to hundredths of a pixel."""
    scene = Scene(speed=speed, seed=3)
    off = [*errors(Predictor(scene.walls), scene, range(900)).values()][5:]
    assert statistics.mean(off) < 0.02
    assert max(off) < 0.1


def test_predictor_is_as_good_between_bounces_without_walls() -> None:
    """Who does not know the walls is right as long as none is met on the way to the present."""
    scene = Scene(seed=3)
    met = bounces(scene, 900)
    off = errors(Predictor(), scene, range(900))
    between = [error for k, error in off.items() if k > 5 and not any(k - 1 <= wall <= k + 4 for wall in met)]
    assert len(between) > 600
    assert statistics.quantiles(between, n=20)[-1] < 0.03


@pytest.mark.parametrize("walls", [None, ROOM])
def test_predictor_needs_two_coordinates(walls: Walls | None) -> None:
    """One coordinate has no direction: nothing is predicted; from the second one on something is."""
    predictor = Predictor(walls)
    assert predictor.at(0) is None
    predictor.observe(0, Point(100, 50))
    assert predictor.at(1) is None
    predictor.observe(0.1, Point(110, 50))
    assert predictor.at(0.2) == pytest.approx((120, 50))


def test_predictor_does_not_mind_missed_frames() -> None:
    """With half of the frames missed, seven in a row among them, it is hardly worse."""
    scene = Scene(seed=3)
    dice = random.Random(2)
    frames = [k for k in range(900) if dice.random() < 0.5 and k % 60 > 7]
    off = [*errors(Predictor(scene.walls), scene, frames).values()][5:]
    assert statistics.mean(off) < 0.02
    assert max(off) < 0.2


def test_predictor_takes_a_burst_one_by_one() -> None:
    """Coordinates that come all at once, late, are as good as if each had come in its time."""
    steady, burst = Predictor(ROOM), Predictor(ROOM)
    straight(steady, range(10))
    straight(burst, range(4))
    assert burst.at(10 / FPS) == pytest.approx((180, 50))
    for k in range(4, 10):
        straight(burst, [k])
        assert burst.at(10 / FPS) == pytest.approx((180, 50))
    assert burst.at(11 / FPS) == steady.at(11 / FPS)


def test_predictor_passes_over_a_late_coordinate() -> None:
    """One of an earlier frame than the newest, or of the same, changes nothing."""
    predictor = Predictor()
    straight(predictor, range(5))
    before = predictor.at(1)
    predictor.observe(2 / FPS, Point(500, 400))
    predictor.observe(4 / FPS, Point(500, 400))
    assert predictor.at(1) == before


@pytest.mark.parametrize("walls", [None, ROOM])
@pytest.mark.parametrize("outlier", [Point(500, 400), Point(160, 10)])
def test_predictor_drops_an_outlier(walls: Walls | None, outlier: Point) -> None:
    """One coordinate far off the line moves nothing, neither before the next one nor after it."""
    predictor = Predictor(walls)
    straight(predictor, range(6))
    predictor.observe(6 / FPS, outlier)
    assert predictor.at(9 / FPS) == pytest.approx((172, 50))
    straight(predictor, range(7, 9))
    assert predictor.at(9 / FPS) == pytest.approx((172, 50))


def test_predictor_that_knows_the_walls_takes_no_outlier_for_a_bounce() -> None:
    """Off the line but within reach is a bounce only for who does not know where the walls are."""
    predictor = Predictor(ROOM)
    straight(predictor, range(10))
    predictor.observe(10 / FPS, Point(170, 50))
    assert predictor.at(11 / FPS) == pytest.approx((188, 50))


def test_predictor_does_not_take_outliers_for_noise() -> None:
    """One outlier far away does not make it believe the next one, nearer by."""
    predictor = Predictor(ROOM)
    straight(predictor, range(20))
    predictor.observe(20 / FPS, Point(50, 400))
    straight(predictor, range(21, 24))
    predictor.observe(24 / FPS, Point(100 + 8 * 24, 70))
    assert predictor.at(25 / FPS) == pytest.approx((300, 50))


def test_predictor_goes_on_after_a_ball_was_moved() -> None:
    """Two coordinates off the line are a new line, whatever there was before."""
    predictor = Predictor(ROOM)
    straight(predictor, range(20))
    predictor.observe(20 / FPS, Point(500, 400))
    predictor.observe(21 / FPS, Point(500, 390))
    assert predictor.at(23 / FPS) == pytest.approx((500, 370))


def test_predictor_sees_a_bounce_in_the_next_coordinate() -> None:
    """Without walls it follows the ball away from the wall as soon as one coordinate shows that there was one."""
    predictor = Predictor()
    straight(predictor, range(10))
    assert predictor.at(11 / FPS) == pytest.approx((188, 50))
    predictor.observe(10 / FPS, Point(174, 50))  # it met a wall at 177
    assert predictor.at(11 / FPS) == pytest.approx((166, 50))


def test_predictor_that_took_an_outlier_for_a_bounce_recovers() -> None:
    """An outlier within the ball's reach turns the line round, and the next coordinate turns it back."""
    predictor = Predictor()
    straight(predictor, range(10))
    predictor.observe(10 / FPS, Point(170, 50))
    assert predictor.at(11 / FPS) == pytest.approx((162, 50))
    straight(predictor, [11])
    assert predictor.at(15 / FPS) == pytest.approx((220, 50))


def test_predictor_without_walls_leads_out_of_the_picture() -> None:
    """Where nobody knows the walls nothing is folded, however far the line goes."""
    predictor = Predictor()
    straight(predictor, range(10))
    assert predictor.at(10) == pytest.approx((2500, 50))


def test_predictor_folds_as_often_as_needed() -> None:
    """Between known walls any time ahead is a place between them, bounces and all."""
    predictor = Predictor(Walls((0, 600), (0, 440)))
    straight(predictor, range(10))
    assert predictor.at(10) == pytest.approx((100, 50))  # 2500 is two times there and back, and 100


def test_predictor_of_a_ball_that_stands_averages_its_noise() -> None:
    """A ball that does not move is predicted where it is, as well as it is found."""
    scene = Scene(speed=0)
    off = [*errors(Predictor(), scene, range(300)).values()][5:]
    assert statistics.mean(off) < NOISE * 1.5
    assert max(off) < 0.05


def test_predictor_averages_what_a_coarse_finder_reports() -> None:
    """With a pixel of noise it keeps to its line, and is not much further off than the coordinates themselves."""
    scene = Scene(seed=3)
    off = [*errors(Predictor(scene.walls), scene, range(900), noise=1.0).values()][20:]
    assert statistics.mean(off) < 1.25


def test_predictor_forgets_in_a_pause() -> None:
    """After a pause longer than SPAN the coordinates from before it do not count, and two new ones are needed."""
    predictor = Predictor()
    straight(predictor, range(10))
    later = 9 / FPS + SPAN + 0.5
    predictor.observe(later, Point(300, 300))
    assert predictor.at(later) is None
    predictor.observe(later + 0.1, Point(300, 310))
    assert predictor.at(later + 0.2) == pytest.approx((300, 320))


@pytest.mark.parametrize("walls", [None, ROOM, Walls((50, 50), (20, 20)), Walls((10, 10 + 1e-9), (0, 4000))])
def test_predictor_bears_with_whatever_a_client_may_say(walls: Walls | None) -> None:
    """The wildest coordinates at the oddest times give a place or none, never an error, never a place nowhere."""
    dice = random.Random(1)
    for start in (0.0, 1e5, 1e9) * 20:
        predictor, time = Predictor(walls), start
        for _ in range(40):
            time += dice.choice([-0.1, 0, 1e-12, 1e-9, 1e-6, 1 / 240, 1 / 30, 1, 10])
            predictor.observe(time, Point(*(dice.choice([0, -65536, 65536, 300, dice.gauss(200, 1)]) for _ in "xy")))
            for ahead in (0, 1e-9, 0.1, 10, 1e6):
                assert all(math.isfinite(side) for side in predictor.at(time + ahead) or ())


def test_predictor_takes_walls_without_room_between_them() -> None:
    """A ball as wide as the picture cannot move that way: it is where it is seen."""
    predictor = Predictor(Walls((50, 50), (0, 440)))
    for k in range(5):
        predictor.observe(k / FPS, Point(50, 100 + k))
    assert predictor.at(5 / FPS) == pytest.approx((50, 105))
