"""Which frames are skipped: pure, with a process_a in closed form."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finding.backlog import MAX_WAITING, STALE, Backlog
from protocol.matching import CLOCK_RATE

FPS = 30
TICKS = CLOCK_RATE // FPS


class Loop:
    """A process_a that takes `find` seconds for each frame, and the backlog in front of it."""

    def __init__(self, find: float) -> None:
        self.latency: dict[int, float] = {}  # of each frame that was found, s from its arrival
        self.skipped: list[int] = []
        self.backlog: Backlog[float] = Backlog()
        self._find = find
        self._current: tuple[int, float] | None = None
        self._done = 0.0

    def arrive(self, k: int, now: float) -> None:
        """Let frame k arrive at time `now`, s."""
        self.work(now)
        self.skipped += self.backlog.add(k * TICKS, now, busy=self._current is not None)
        self._begin(now)

    def work(self, until: float) -> None:
        """Find what can be found by then."""
        while self._current is not None and self._done <= until:
            pts, arrived = self._current
            self.latency[pts // TICKS] = self._done - arrived
            self.backlog.on_found(self._find)
            self._current = None
            self._begin(self._done)

    def _begin(self, now: float) -> None:
        if self._current is None:
            self._current = self.backlog.pop()
            self._done = now + self._find


def test_frames_from_before_a_time_without_network_are_skipped():
    """What comes at last, with a frame beside it that is newer by more than STALE, is passed over but for the first."""
    loop = Loop(0.002)
    for k in range(20):
        loop.arrive(k, k / FPS)
    back = 20 + round((STALE + 4) * FPS)
    for k in (*range(20, 30), back):
        loop.arrive(k, back / FPS)
    loop.work(100)
    assert loop.skipped == list(range(21 * TICKS, 30 * TICKS, TICKS))
    assert loop.latency[back] == pytest.approx(0.002, abs=0.003)


@pytest.mark.parametrize("burst", range(2, 10))
def test_quick_process_a_skips_nothing_of_a_burst(burst: int):
    """Frames that waited for a lost packet arrive at once; all of them are found before the next one is due."""
    loop = Loop(0.002)
    for k in range(20):
        loop.arrive(k, k / FPS)
    for k in range(20, 20 + burst):
        loop.arrive(k, (20 + burst) / FPS)
    loop.arrive(20 + burst, (21 + burst) / FPS)
    loop.work(10)
    assert loop.skipped == []
    assert loop.latency[20 + burst] == pytest.approx(0.002)  # the next one finds nobody before it


@pytest.mark.parametrize("find", [0.001, 0.01, 0.016, 0.03, 0.034, 0.05, 0.1, 0.4])
def test_latency_stays_below_one_frame_and_two_finds(find: float):
    """However slow process_a is, a frame that is found waited for one that was begun, and no longer than it had to."""
    loop, dice = Loop(find), random.Random(1)
    arrives = 0.0
    for k in range(500):
        arrives = max(arrives, k / FPS + (0.1 if dice.random() < 0.05 else 0))  # some late, and those behind with it
        loop.arrive(k, arrives)
    loop.work(1000)
    assert max(loop.latency.values()) <= 1 / FPS + 2 * find + 1e-9
    assert len(loop.latency) + len(loop.skipped) == 500


def test_slow_process_a_gets_the_newest():
    """At 100 ms a frame, one frame waits, and what is found is no older than three frames and one find."""
    loop = Loop(0.1)
    for k in range(300):
        loop.arrive(k, k / FPS)
    loop.work(100)
    assert max(loop.latency.values()) < 3 / FPS + 0.1
    assert len(loop.latency) == pytest.approx(100, abs=3)


def waiting(backlog: Backlog[None], count: int, first: int = 0, *, busy: bool = False) -> int:
    """Let so many frames arrive, one upon the other; return how many of them wait then."""
    return count - sum(len(backlog.add((first + k) * TICKS, None, busy=busy)) for k in range(count))


def quick(took: float = 0.001) -> Backlog[None]:
    """Return the backlog of a process_a that needs `took` seconds, which has had some frames."""
    backlog: Backlog[None] = Backlog()
    for k in range(-20, 0):
        backlog.add(k * TICKS, None, busy=False)
        backlog.pop()
        backlog.on_found(took)
    return backlog


@pytest.mark.parametrize(("seconds", "skipped"), [(0.8, 0), (1.5, 5)])
def test_frames_older_than_a_second_are_of_no_use(seconds: float, skipped: int):
    """What lies behind the newest frame by more is skipped though there is room; what lies behind by less is found."""
    backlog = quick()
    assert waiting(backlog, 5) == 5
    assert len(backlog.add(5 * TICKS + round(seconds * CLOCK_RATE), None, busy=False)) == skipped


def test_frame_that_is_being_found_takes_a_place():
    """Of three frames that can be found in time, two wait behind one that was begun."""
    assert waiting(quick(1 / FPS / 3.5), 10) == 3
    assert waiting(quick(1 / FPS / 3.5), 10, busy=True) == 2


def test_frames_that_were_lost_or_overtaken_do_not_change_how_long_one_lasts():
    """A gap is no long frame, and a time stamp that goes back is no short one."""
    for pts in (-10 * TICKS, 20 * TICKS):
        backlog = quick(1 / FPS / 3.5)
        backlog.add(pts, None, busy=False)
        backlog.pop()
        assert backlog.room() == 3


def test_nothing_is_known_of_a_process_a_that_is_back():
    """After a restart the newest frame waits alone until it is known anew how long one takes."""
    backlog = quick()
    backlog.on_restart()
    assert waiting(backlog, 5, busy=True) == 1
    backlog.clear()
    assert backlog.pop() is None


def test_first_frames_wait_alone():
    """Before it is known how long a frame takes, only the newest waits."""
    backlog: Backlog[None] = Backlog()
    assert backlog.add(0, None, busy=False) == []
    assert backlog.add(TICKS, None, busy=True) == [0]
    assert backlog.pop() == (TICKS, None)
    assert backlog.pop() is None


def test_waiting_frames_are_bounded():
    """Where many more could be found before the next one is due, they are not kept."""
    backlog: Backlog[None] = Backlog()
    backlog.on_found(0.0005)
    skipped = [pts for k in range(100) for pts in backlog.add(k * TICKS, None, busy=False)]
    assert len(skipped) == 100 - MAX_WAITING


def test_one_slow_find_does_not_empty_the_backlog():
    """A hiccup of process_a counts for what it adds to the mean."""
    backlog: Backlog[None] = Backlog()
    for took in (0.001, 0.001, 0.02, 0.001, 0.001):
        backlog.on_found(took)
    assert [backlog.add(k * TICKS, None, busy=True) for k in range(5)] == [[]] * 5


@given(st.lists(st.tuples(st.integers(-(2**40), 2**40), st.booleans(), st.floats(0, 10)), max_size=60))
def test_each_frame_is_found_or_skipped_once(events: list[tuple[int, bool, float]]):
    """Whatever the time stamps: every frame leaves the backlog once, and never more than its bound wait."""
    backlog: Backlog[int] = Backlog()
    left: list[int] = []
    for number, (pts, takes, took) in enumerate(events):
        before = len(left)
        left += backlog.add(pts, number, busy=takes)
        if takes and (item := backlog.pop()) is not None:
            left.append(item[0])
            backlog.on_found(took)
        assert number + 1 - len(left) <= MAX_WAITING
        assert len(left) >= before
    while (item := backlog.pop()) is not None:
        left.append(item[0])
    assert sorted(left) == sorted(pts for pts, _, _ in events)
