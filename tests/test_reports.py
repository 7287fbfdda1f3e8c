"""What a client's messages say: pure, with a server that hears some of them."""

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.messages import MAX_REPORTS, Found, Missed, Reports, Score, encode, parse
from transport.reports import AGAIN, FIRST, HOLD, QUEUE_DELAY, REMEMBERED_REPORTS, ROUTE_WINDOW, Least, Reporting

INTERVAL = 1 / 30  # s


def found(k: int) -> Found:
    """Return the report of frame k."""
    return Found(3000 * k, 1.0, 2.0)


class Way:
    """A client that reports each frame, and a server that hears what is not lost and answers after `delay` s."""

    def __init__(self, delay: float = 0.02) -> None:
        self.reporting = Reporting()
        self.heard: set[int] = set()
        self.said = 0  # reports in all messages
        self.delay = delay
        self._k = 0

    def run(self, frames: int, loss: float, seed: int = 1) -> None:
        """Report so many frames."""
        dice = random.Random(seed)
        for _ in range(frames):
            self._k += 1
            now = self._k * INTERVAL
            message = self.reporting.message(found(self._k), now)
            again = [self.reporting.newest(count) for _, count in AGAIN]
            messages = [message, *again] if isinstance(message, Reports) else [message]
            for each in messages:
                self._say(each.reports if isinstance(each, Reports) else (each,), now, lost=dice.random() < loss)

    def _say(self, reports: tuple[Any, ...], now: float, *, lost: bool) -> None:
        """Send one message."""
        self.said += len(reports)
        if not lost:
            self.heard |= {each.pts for each in reports}
            score = Score(3000 * self._k, 0.0, 0.0, len(self.heard), 0)
            self.reporting.on_score(score, now + self.delay)

    @property
    def now(self) -> float:
        """Return the time, in s."""
        return self._k * INTERVAL


def test_each_report_is_said_once_without_loss():
    """Nothing is added to the bytes of a network that loses nothing."""
    way = Way()
    way.run(1000, loss=0)
    assert way.said == 1000


def test_reports_are_repeated_while_they_get_lost_and_once_they_do_not_no_more():
    """The server's own counts tell of the loss; from then on hardly any report is lost."""
    way = Way()
    way.run(300, loss=0.2)
    assert way.reporting.lossy(way.now)
    lost_before = 300 - len(way.heard)
    way.run(300, loss=0.2)
    assert 600 - len(way.heard) <= lost_before + 1
    way.run(round((HOLD + 1) / INTERVAL), loss=0)
    said = way.said
    way.run(100, loss=0)
    assert way.said == said + 100


def test_message_has_the_last_reports_the_newest_last():
    """A few, in the order in which they were made; its repetition has some more, and never too many for a message."""
    reporting = Reporting()
    for _ in range(2):
        reporting.on_loss(0)
    for k in range(20):
        message = reporting.message(found(k), k * INTERVAL)
        assert isinstance(message, Reports)
        assert [each.pts // 3000 for each in message.reports] == list(range(max(0, k - FIRST + 1), k + 1))
        for _, count in AGAIN:
            again = reporting.newest(count)
            assert [each.pts // 3000 for each in again.reports] == list(range(max(0, k - count + 1), k + 1))
            assert parse(encode(again)) == again


def test_one_sign_of_loss_is_none():
    """A packet now and then costs nothing; two within some seconds do, for as long as it takes."""
    reporting = Reporting()
    for now in (0.0, 11.0, 22.0):
        reporting.on_loss(now)
        assert not reporting.lossy(now)
    reporting.on_loss(25.0)
    assert reporting.lossy(25.0)
    assert reporting.lossy(25.0 + HOLD - 0.1)
    assert not reporting.lossy(25.0 + HOLD)


def test_report_that_overtakes_another_is_no_loss():
    """A score may count fewer than were sent before it was asked for; only what stays away was lost."""
    reporting = Reporting()
    for k in range(0, 100, 2):
        for each in (k, k + 1):
            reporting.message(found(each), each * INTERVAL)
        for scored, each in ((k + 1, k + 1), (k + 2, k)):
            reporting.on_score(Score(3000 * each, 0.0, 0.0, scored, 0), k * INTERVAL + 0.05)
    assert not reporting.lossy(100 * INTERVAL)


def test_report_that_overtakes_several_is_no_loss():
    """At 100 frames a second, one that comes before the two that were sent just before it says nothing of them."""
    reporting = Reporting()
    for k in range(0, 99, 3):
        for each in (k, k + 1, k + 2):
            reporting.message(found(each), each / 100)
        for scored, each in ((k + 1, k + 2), (k + 2, k), (k + 3, k + 1)):
            reporting.on_score(Score(3000 * each, 0.0, 0.0, scored, 0), (k + 2.5) / 100)
    assert not reporting.lossy(1.0)


def test_reports_are_not_repeated_into_a_queue():
    """Where scores come late, loss is that of a queue that is full: more bytes would make it worse."""
    way = Way()
    way.run(20, loss=0)
    way.delay += QUEUE_DELAY + 0.05
    for _ in range(2):
        way.reporting.on_loss(way.now)
    way.run(10, loss=0)
    said = way.said
    way.run(10, loss=0)
    assert way.reporting.lossy(way.now)
    assert way.said == said + 10


def test_longer_route_is_no_queue_for_ever():
    """Where each score comes later from some time on, that is the way now, and what gets lost is said again."""
    way = Way()
    way.run(20, loss=0)
    way.delay += QUEUE_DELAY + 0.05
    way.run(round(2.1 * ROUTE_WINDOW / INTERVAL), loss=0)
    way.run(300, loss=0.2)
    said = way.said
    way.run(100, loss=0.2)
    assert way.said > said + 300


def test_nothing_is_repeated_while_frames_come_late():
    """A queue on the way to the client is one on the way back, as likely as not; what is over is forgotten."""
    reporting = Reporting()

    def repeats(k: int, late: float) -> bool:
        """Take a frame that is so late (s), and return whether its report comes with those before it."""
        now = k * INTERVAL + late
        for _ in range(2):
            reporting.on_loss(now)
        reporting.on_frame(3000 * k - 2**31, now)
        return isinstance(reporting.message(found(k), now), Reports)

    assert all(repeats(k, 0.01 * (k % 3)) for k in range(30))
    assert not any(repeats(k, 0.15) for k in range(30, 60))
    assert all(repeats(k, 0.02) for k in range(60, 90))
    for k in range(90, 1500):
        repeats(k, 0.3)  # another route, or a clock that drifts
    assert repeats(1500, 0.32)


def test_what_is_remembered_is_bounded():
    """A server that never scores costs no memory."""
    reporting = Reporting()
    for k in range(10 * REMEMBERED_REPORTS):
        reporting.message(found(k), k * INTERVAL)
    assert len(reporting._sent) == REMEMBERED_REPORTS


def test_least_reaches_back_into_the_window_before():
    """A value is remembered for one window at least and two at most."""
    least = Least(10)
    assert [least.add(value, now) for value, now in ((1, 0.5), (5, 9), (5, 11), (5, 20), (5, 22))] == [1, 1, 1, 1, 5]


@pytest.mark.parametrize(("late", "repeats"), [([0.3], True), ([0.3, 0.3], False), ([0.3, 0.02], True)])
def test_one_late_score_is_no_queue(late: list[float], repeats: bool):
    """A score may be late for itself; two in a row come out of a queue, and the same one twice is one."""
    reporting = Reporting()
    for k in range(10):
        reporting.message(found(k), k * INTERVAL)
        reporting.on_score(Score(3000 * k, 0.0, 0.0, k + 1, 0), k * INTERVAL + 0.02)
    now = 10 * INTERVAL
    for k, delay in enumerate(late, 10):
        reporting.message(found(k), now)
        for _ in range(2):
            reporting.on_score(Score(3000 * k, 0.0, 0.0, k + 1, 0), now + delay)
    for _ in range(2):
        reporting.on_loss(now)
    assert isinstance(reporting.message(found(20), now), Reports) is repeats


def test_round_trip_grows_with_the_queue():
    """While frames come late, what is asked for comes late as well."""
    way = Way(delay=0.05)
    way.run(5, loss=0)
    way.reporting.on_frame(0, 100.0)
    way.reporting.on_frame(3000, 100.3 + INTERVAL)
    assert way.reporting.round_trip == pytest.approx(0.35)


def test_round_trip_is_the_least_of_the_last():
    """A score may wait for others, and never comes before its report is there."""
    way = Way(delay=0.05)
    assert way.reporting.round_trip is None
    way.run(5, loss=0)
    way.delay = 0.2
    way.run(5, loss=0)
    assert way.reporting.round_trip == pytest.approx(0.05)
    way.run(5, loss=0)
    assert way.reporting.round_trip == pytest.approx(0.2)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1)), max_size=80))
def test_whatever_the_server_says_is_taken(events: list[tuple[int, int, int]]):
    """Scores for what was never reported, absurd counts, any order: messages stay within their bound."""
    reporting = Reporting()
    for number, (kind, pts, scored) in enumerate(events):
        if kind == 0:
            reporting.on_score(Score(pts % 20, 0.0, 0.0, scored, 0), number / 10)
        elif kind == 1:
            reporting.on_loss(number / 10)
        else:
            report = Missed(pts % 20) if kind == 2 else Found(pts % 20, 1.0, 2.0)
            message = reporting.message(report, number / 10)
            said = message.reports if isinstance(message, Reports) else (message,)
            assert said[-1] == report
            assert len(said) <= MAX_REPORTS
