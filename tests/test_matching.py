"""matching.py: a report names its frame, whatever lies between what was sent and what was received."""

import itertools
import random
from collections.abc import Callable, Iterable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.matching import (
    CLOCK_RATE,
    CONFIRMING,
    DRIFT,
    MAX_HELD,
    MAX_STRAYS,
    MODULUS,
    TOLERANCE,
    Matcher,
    MatchState,
    draw_offsets,
    find_shift,
    fits_needed,
    stamp,
)

WINDOW = 300  # frames that a report can mean: ten seconds at 30 fps
IN_FLIGHT = 3  # frames that are sent before the first is reported

rates = st.sampled_from([1, 10, 15, 24, 25, 29.97, 30, 50, 60, 90, 120, 240]) | st.floats(1, 240)
rounding = st.integers(-1, 1)


def sent_pts(fps: float, count: int, first: int = 0) -> list[int]:
    """Return the pts of `count` frames from number `first` on, as the ledger keys them."""
    return [stamp(k, fps) % MODULUS for k in range(first, first + count)]


def off_by(shift: int, truth: int) -> int:
    """Return by how many ticks a shift is wrong, the shorter way round."""
    return (shift - truth + MODULUS // 2) % MODULUS - MODULUS // 2


class Session:
    """A client that reports the newest frames of a film at 30 fps, and what a matcher makes of it.

    Attributes:
        named: the frames' numbers as they truly are, and as the matcher names them (None: it names none).
    """

    def __init__(self) -> None:
        self.matcher: Matcher[int, int] = Matcher()
        self.named: list[tuple[int, int | None]] = []
        self._frames: dict[int, int] = {}
        self._sent = itertools.count()

    def report(self, k: int, pts: int) -> None:
        """Report frame `k` by a pts; the frames up to it, and some more, have been sent by then."""
        while next(reversed(self._frames.values()), -1) < k + IN_FLIGHT:
            newest = next(self._sent)
            self._frames[stamp(newest, 30) % MODULUS] = newest
            if len(self._frames) > WINDOW:
                del self._frames[next(iter(self._frames))]
        self.named += self.matcher.match(pts, k, self._frames)

    def run(self, reports: Iterable[tuple[int, int]]) -> "Session":
        """Report all of these: frames' numbers, and the pts that the client calls them by."""
        for k, pts in reports:
            self.report(k, pts)
        return self

    @property
    def right(self) -> int:
        """Return how many reports were matched with their frame."""
        return sum(k == name for k, name in self.named)

    @property
    def wrong(self) -> int:
        """Return how many were matched with another one."""
        return sum(name is not None and k != name for k, name in self.named)


# --- stamp ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("fps", range(1, 241))
def test_stamp_rises_strictly(fps: int) -> None:
    """Time stamps rise by more than rounding can undo, also where the pattern of offsets starts again."""
    stamps = [stamp(k, fps) for k in range(4200)]
    assert min(after - before for before, after in itertools.pairwise(stamps)) > 2 * DRIFT


@given(rates, st.integers(0, 10**6))
def test_stamp_is_due_time_and_a_small_offset(fps: float, k: int) -> None:
    """A time stamp is the frame's due time, and at most 1.5 ms more, in whole offsets."""
    offset = stamp(k, fps) - round(k * CLOCK_RATE / fps)
    assert 0 <= offset <= 0.0015 * CLOCK_RATE
    assert offset % 16 == 0


# --- find_shift ----------------------------------------------------------------------------------


@settings(max_examples=50)
@given(
    fps=rates,
    first=st.integers(0, 10**6),
    start=st.integers(0, WINDOW - 12),
    origin=st.integers(0, MODULUS - 1) | st.sampled_from([0, 1, MODULUS - 1]),
    ticks=st.lists(rounding, min_size=12, max_size=12),
    garbage=st.sets(st.integers(0, MODULUS - 1), max_size=2),
)
def test_find_shift_is_right(
    fps: float, first: int, start: int, origin: int, ticks: list[int], garbage: set[int]
) -> None:
    """Twelve reports, each rounded, with some from nowhere among them, modulo 2^32: the shift is right to a tick."""
    sent = sent_pts(fps, WINDOW, first)
    reports = {(pts + origin + tick) % MODULUS for pts, tick in zip(sent[start:], ticks, strict=False)}
    shift = find_shift(reports | garbage, sent)
    assert shift is not None
    assert abs(off_by(shift, origin)) <= 1


@settings(max_examples=200)
@given(
    fps=rates,
    count=st.integers(1, WINDOW),
    start=st.floats(0, 1),
    stride=st.integers(1, 5),
    ticks=st.lists(rounding, min_size=1, max_size=14),
    origin=st.integers(0, MODULUS - 1),
)
def test_find_shift_is_never_wrong_about_few_reports(
    fps: float, count: int, start: float, stride: int, ticks: list[int], origin: int
) -> None:
    """A handful of reports decides rightly or not at all, also of a client that gets every other frame."""
    sent = sent_pts(fps, count)
    named = sent[int(start * (count - 1)) :: stride]
    reports = {(pts + origin + tick) % MODULUS for pts, tick in zip(named, ticks, strict=False)}
    shift = find_shift(reports, sent)
    assert shift is None or abs(off_by(shift, origin)) <= 1


@pytest.mark.parametrize("stride", [1, 2, 3, 4])
@pytest.mark.parametrize("count", [8, 10, 16, MAX_HELD])
def test_find_shift_finds_none_in_even_time_stamps(stride: int, count: int) -> None:
    """Of time stamps that a relay has made anew, evenly, none fits, wherever in the pattern of offsets they are."""
    for first in range(0, 4096, 61):
        sent = sent_pts(30, WINDOW, first)
        assert find_shift({3000 * stride * n for n in range(count)}, sent) is None


def test_find_shift_wants_most_of_the_reports() -> None:
    """Of two halves that fit one shift each neither is believed, however many reports there are."""
    sent = sent_pts(30, WINDOW)
    assert find_shift({*sent[:16], *(pts + 999 for pts in sent[16:32])}, sent) is None
    assert find_shift({*sent[:19], *(pts + 999 for pts in sent[19:32])}, sent) == 0


@pytest.mark.parametrize(("reports", "frames"), [(0, 0), (1, 1), (3, 0), (0, 300), (7, 300)])
def test_find_shift_finds_none_in_too_little(reports: int, frames: int) -> None:
    """No reports, no frames, or too few of either decide nothing."""
    sent = sent_pts(30, WINDOW)
    assert find_shift(sent[:reports], sent[:frames]) is None


def test_fits_needed_leaves_nothing_to_chance() -> None:
    """Always most of the reports, more of them the more frames there are, and never all of many."""
    for reports, frames in itertools.product(range(1, MAX_HELD + 1), range(1, 2401, 37)):
        fits = fits_needed(reports, frames)
        assert fits > reports / 2
        assert fits <= fits_needed(reports, frames + 37)
    assert fits_needed(MAX_HELD, 2400) < MAX_HELD * 2 / 3


# --- Matcher -------------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", range(51))
def test_match_finds_every_frame_when_the_first_are_missing(lost: int) -> None:
    """With the first 0 to 50 frames lost, and ticks lost to rounding, each later report names its frame."""
    dice = random.Random(lost)
    zero = stamp(lost, 30) + dice.randint(-1, 1)  # the receiver counts from the first frame that it got
    session = Session().run((k, stamp(k, 30) + dice.randint(-1, 1) - zero) for k in range(lost, WINDOW))
    assert session.named == [(k, k) for k in range(lost, WINDOW)]


@pytest.mark.parametrize("share", [0.05, 0.1, 0.2])
@pytest.mark.parametrize("seed", range(10))
def test_match_is_never_wrong(seed: int, share: float) -> None:
    """Lost, duplicated, out of order, mixed with garbage: a report names its frame, or none; and most name it."""
    dice = random.Random(seed)
    origin = dice.randrange(MODULUS)
    order = sorted((k for k in range(WINDOW) if dice.random() > share), key=lambda k: k + dice.uniform(0, 4))
    session = Session()
    for k in order:
        session.report(k, stamp(k, 30) + origin + dice.randint(-1, 1))
        if dice.random() < share:
            session.report(-1, dice.randrange(-(2**63), 2**63))
        if dice.random() < share:
            session.report(k, stamp(k, 30) + origin)
    assert session.wrong == 0
    assert session.right >= 0.8 * len(order)


def noise(make: Callable[[int, random.Random], float]) -> Iterator[tuple[int, int]]:
    """Return the reports of 600 frames whose time stamps did not survive."""
    dice = random.Random(5)
    for k in range(600):
        yield k, round(make(k, dice))


@pytest.mark.parametrize(
    "make",
    [
        lambda k, _: 3000 * k,
        lambda k, dice: 3000 * k + dice.gauss(0, 5),
        lambda k, dice: 3000 * k + dice.gauss(0, 90),
        lambda k, dice: stamp(k, 30) + dice.gauss(0, 20),
        lambda k, dice: stamp(k, 30) + dice.gauss(0, 300),
        lambda k, _: stamp(k, 30) // 90 * 90,
        lambda _, dice: dice.randrange(MODULUS),
        lambda k, _: stamp(7 * k, 30),
        lambda _k, _dice: 7,
        lambda k, _: stamp(k, 30, draw_offsets(2)),
    ],
    ids=[
        *("even", "jitter", "1 ms of jitter", "noise", "3 ms of noise", "whole ms", "random", "another film", "one"),
        "another run",
    ],
)
def test_match_names_nothing_where_time_stamps_do_not_survive(make: Callable[[int, random.Random], float]) -> None:
    """Behind whatever gives frames time stamps of its own, no report is matched, and each is told to name nothing."""
    session = Session().run(noise(make))
    session.named += session.matcher.close()
    assert session.named == [(k, None) for k in range(600)]
    assert session.matcher.strays == 600


def test_match_holds_a_bounded_number_of_reports() -> None:
    """A client that fits nothing waits for nothing: its reports are let go one by one."""
    session = Session()
    for k, pts in noise(lambda _, dice: dice.randrange(MODULUS)):
        session.report(k, pts)
        assert k + 1 - len(session.named) <= MAX_HELD


def test_match_searches_seldom_for_one_that_fits_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random reports cost one search in sixteen, over 32 reports at most, however long they come."""
    searched: list[int] = []

    def count(reports: set[int], _: object) -> None:
        searched.append(len(reports))

    monkeypatch.setattr("protocol.matching.find_shift", count)
    Session().run(noise(lambda _, dice: dice.randrange(MODULUS)))
    assert max(searched) <= MAX_HELD
    assert len(searched) <= (600 - MAX_HELD) / 16 + MAX_HELD


def test_match_believes_who_comes_right() -> None:
    """After any amount of garbage, twenty honest reports are matched all the same."""
    session = Session().run(noise(lambda _, dice: dice.randrange(MODULUS)))
    session.run((k, stamp(k, 30) + 5) for k in range(600, 640))
    assert session.right >= 20
    assert session.wrong == 0
    assert session.matcher.strays == 0


@pytest.mark.parametrize("step", [1, -1])
@pytest.mark.parametrize("every", [1, 2, 10])
def test_match_follows_a_shift_that_creeps(step: int, every: int) -> None:
    """One tick a report, either way, without end: once known, every report names its frame."""
    session = Session().run((k, stamp(k, 30) + 7) for k in range(10))
    session.run((k, stamp(k, 30) + 7 + step * ((k - 10) // every)) for k in range(10, 600))
    assert session.named == [(k, k) for k in range(600)]


def test_match_follows_no_further_than_rounding_allows() -> None:
    """A report that is off by more than the shift may creep names no frame."""
    for off in range(-8, 9):
        session = Session().run((k, stamp(k, 30)) for k in range(20))
        session.report(20, stamp(20, 30) + off)
        assert session.right == (21 if abs(off) <= DRIFT else 20)


@pytest.mark.parametrize("jump", [-9000, -16, 50, 123_456, MODULUS // 2])
def test_match_finds_a_shift_that_jumps(jump: int) -> None:
    """A client whose pts begin anew in mid-session is matched again, from the first frame after that."""
    session = Session().run((k, stamp(k, 30)) for k in range(100))
    session.run((k, stamp(k, 30) + jump) for k in range(100, 130))
    assert session.wrong == 0
    assert session.right >= 128  # what fits both shifts by chance is none's
    assert session.matcher.state is MatchState.KNOWN


def test_match_is_not_sure_of_what_fits_two_shifts() -> None:
    """A report of before a jump that comes after it, and by chance fits the new shift too, names no frame."""
    tried = 0
    for k in range(100, 400):
        jump = stamp(k, 30) - stamp(k - 3, 30)  # so frame k by its old name is frame k - 3 by its new one
        if abs(stamp(k + 1, 30) + jump - stamp(k + 4, 30)) <= DRIFT:
            continue  # the first report after the jump is in no doubt
        tried += 1
        session = Session().run((j, stamp(j, 30)) for j in range(50, k))
        session.report(k + 1, stamp(k + 1, 30) + jump)
        session.report(k, stamp(k, 30))
        session.run((j, stamp(j, 30) + jump) for j in range(k + 2, k + 20))
        assert session.matcher.state is MatchState.KNOWN
        assert (k, None) in session.named
    assert tried > 200


def test_match_doubts_the_shift_when_something_fits_nothing() -> None:
    """What comes after a stray report waits until some in a row fit again; then nothing of it is lost."""
    session = Session().run((k, stamp(k, 30)) for k in range(20))
    session.report(-1, 999)
    session.run((k, stamp(k, 30)) for k in range(20, 20 + CONFIRMING - 1))
    assert session.right == 20
    session.report(20 + CONFIRMING - 1, stamp(20 + CONFIRMING - 1, 30))
    assert session.right == 20 + CONFIRMING
    assert session.matcher.state is MatchState.KNOWN


def test_match_forgets_a_shift_that_fits_no_more() -> None:
    """After thirty reports in a row that fit nothing it knows nothing any more, and one that fits proves nothing."""
    session = Session().run((k, stamp(k, 30)) for k in range(20))
    session.run((k, 3000 * k + 40) for k in range(20, 20 + MAX_STRAYS))
    assert session.matcher.state is MatchState.SEARCHING
    assert session.matcher.strays == MAX_STRAYS
    session.run((k, stamp(k, 30)) for k in range(50, 50 + CONFIRMING))
    assert session.right == 20


def test_match_is_no_surer_of_what_is_said_twice() -> None:
    """Five reports that fit one way only are five, however often they come: not enough for a decision."""
    for first in range(20):
        session = Session().run((k, stamp(k, 30)) for k in [*range(first, first + 5)] * 10)
        assert session.matcher.state is MatchState.SEARCHING


def test_match_names_frames_for_an_hour() -> None:
    """Over an hour at 30 fps, reported beside a window of ten seconds, no frame is named wrongly."""
    dice = random.Random(3)
    origin = MODULUS - 90_000_000  # wraps around after a thousand seconds
    session = Session().run((k, stamp(k, 30) + origin + dice.randint(-1, 1)) for k in range(3600 * 30))
    assert session.named == [(k, k) for k in range(3600 * 30)]


@given(st.integers(-(2**63), 2**63 - 1), st.integers(0, MODULUS - 1))
def test_match_names_none_that_was_not_sent(reported: int, shift: int) -> None:
    """A report that lies beside every frame by more than the shift may creep names none."""
    sent = {pts: pts for pts in sent_pts(30, WINDOW)}
    matcher: Matcher[None, int] = Matcher()
    for pts in list(sent)[:10]:
        matcher.match(pts + shift, None, sent)
    assert matcher.shift == shift
    near = [pts for pts in sent if abs(off_by(reported - shift, pts)) <= DRIFT]
    assert matcher.match(reported, None, sent) == ([(None, near[0])] if near else [])


def test_close_returns_what_waits() -> None:
    """Too few reports to be sure of are told to name nothing, once."""
    session = Session().run((k, stamp(k, 30)) for k in range(3))
    assert session.named == []
    assert session.matcher.close() == [(0, None), (1, None), (2, None)]
    assert session.matcher.close() == []
    assert TOLERANCE < DRIFT
