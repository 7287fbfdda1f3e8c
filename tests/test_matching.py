"""matching.py: a report names its frame, whatever lies between what was sent and what was received."""

import itertools
import random
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matching import CLOCK_RATE, LEAD, MAX_UNDECIDED, MODULUS, OFFSET, TOLERANCE, Matcher, stamp

WINDOW = 300  # frames that a report can mean: ten seconds at 30 fps

rates = st.sampled_from([1, 10, 15, 24, 25, 29.97, 30, 50, 60, 90, 120, 240]) | st.floats(1, 240)
rounding = st.integers(-1, 1)


def sent_pts(fps: float, count: int, first: int = 0) -> list[int]:
    """Return the pts of `count` frames from number `first` on, as the ledger keys them."""
    return [stamp(k, fps) % MODULUS for k in range(first, first + count)]


def off_by(shift: int, truth: int) -> int:
    """Return by how many ticks a shift is wrong, the shorter way round."""
    return (shift - truth + MODULUS // 2) % MODULUS - MODULUS // 2


def feed(matcher: Matcher, reports: Iterable[int], sent: list[int]) -> None:
    """Let reports vote until the shift is known, as the ledger does."""
    for reported in reports:
        if matcher.shift is None:
            matcher.vote(reported, sent)
            matcher.decide()


@pytest.mark.parametrize("fps", range(1, 241))
def test_stamp_rises_strictly(fps: int) -> None:
    """Time stamps rise by more than rounding can undo, also where the pattern of offsets starts again."""
    stamps = [stamp(k, fps) for k in range(4200)]
    assert min(after - before for before, after in itertools.pairwise(stamps)) > 2 * TOLERANCE


@given(rates, st.integers(0, 10**6))
def test_stamp_is_due_time_and_a_small_offset(fps: float, k: int) -> None:
    """A time stamp is the frame's due time, and at most 1.5 ms more, in whole offsets."""
    offset = stamp(k, fps) - round(k * CLOCK_RATE / fps)
    assert 0 <= offset <= 0.0015 * CLOCK_RATE
    assert offset % OFFSET == 0


@pytest.mark.parametrize("lost", range(51))
def test_matcher_finds_every_frame_when_the_first_are_missing(lost: int) -> None:
    """With the first 0 to 50 frames lost, and ticks lost to rounding, each later report names its frame."""
    dice = random.Random(lost)
    origin = dice.randrange(MODULUS)
    sent = sent_pts(30, WINDOW)
    # the receiver counts from the first frame that it got, itself perhaps a tick off
    received = [pts + origin + dice.randint(-1, 1) for pts in sent]
    zero = received[lost]
    reports = [pts - zero for pts in received[lost:]]
    matcher = Matcher()
    feed(matcher, reports[:20], sent)
    assert matcher.shift is not None
    frames = {pts: k for k, pts in enumerate(sent)}
    assert [matcher.find(reported, frames) for reported in reports] == list(range(lost, WINDOW))


@given(
    fps=rates,
    first=st.integers(0, 10**6),
    lost=st.integers(0, 250),
    origin=st.integers(0, MODULUS - 1),
    ticks=st.lists(rounding, min_size=50, max_size=50),
    garbage=st.lists(st.integers(-(2**63), 2**63 - 1), max_size=20),
    dice=st.randoms(use_true_random=False),
)
def test_matcher_is_never_wrong(
    fps: float, first: int, lost: int, origin: int, ticks: list[int], garbage: list[int], dice: random.Random
) -> None:
    """Duplicated, out of order, mixed with garbage, modulo 2^32: the shift is right, or not decided."""
    sent = sent_pts(fps, WINDOW, first)
    reports = [(pts + origin + tick) % MODULUS for pts, tick in zip(sent[lost:], ticks, strict=False)]
    told = [*reports, *reports[:5], *garbage]
    dice.shuffle(told)
    matcher = Matcher()
    feed(matcher, told, sent)
    assert matcher.shift is not None
    assert abs(off_by(matcher.shift, origin)) <= 1
    frames = {pts: k for k, pts in enumerate(sent)}
    assert [matcher.find(reported, frames) for reported in reports] == list(range(lost, lost + len(reports)))


@given(
    fps=rates,
    count=st.integers(1, WINDOW),
    start=st.floats(0, 1),
    stride=st.integers(1, 5),
    ticks=st.lists(rounding, min_size=1, max_size=8),
    origin=st.integers(0, MODULUS - 1),
)
def test_matcher_is_never_wrong_about_few_reports(
    fps: float, count: int, start: float, stride: int, ticks: list[int], origin: int
) -> None:
    """A handful of reports decides rightly or not at all, at every lead: at the end a lead of one has to do."""
    sent = sent_pts(fps, count)
    named = sent[int(start * (count - 1)) :: stride][: len(ticks)]
    for lead in (LEAD, 1):
        matcher = Matcher()
        for pts, tick in zip(named, ticks, strict=False):
            matcher.vote((pts + origin + tick) % MODULUS, sent)
        if matcher.decide(lead):
            assert matcher.shift is not None
            assert abs(off_by(matcher.shift, origin)) <= 1


@pytest.mark.parametrize(("trial", "fps", "count", "reports"), [(1195, 24, 300, 2), (1466, 60, 100, 3)])
def test_decide_looks_at_every_shift_at_the_end(trial: int, fps: int, count: int, reports: int) -> None:
    """A true shift whose few votes rounding has spread is not passed over for a wrong one with two in one place."""
    for seed in range(trial, trial + 50):
        dice = random.Random(seed)
        sent = sent_pts(fps, count, dice.randrange(5000))
        first = dice.randrange(count - reports)
        matcher = Matcher()
        for pts in sent[first : first + reports]:
            matcher.vote(pts + dice.randint(-1, 1), sent)
        if matcher.decide(lead=1):
            assert matcher.shift is not None
            assert abs(off_by(matcher.shift, 0)) <= 1


def test_decide_waits_while_it_is_ambiguous() -> None:
    """One report could mean any frame; so could the same one said many times."""
    sent = sent_pts(30, WINDOW)
    matcher = Matcher()
    for _ in range(10):
        matcher.vote(sent[7], sent)
        assert not matcher.decide()
        assert not matcher.decide(lead=1)
    assert matcher.shift is None


def test_decide_is_no_surer_of_what_is_said_twice() -> None:
    """Three reports that fit one way only are three, however often they come: not enough for a decision."""
    sent = sent_pts(30, WINDOW)
    for first in range(20):
        matcher = Matcher()
        feed(matcher, sent[first : first + 3] * 10, sent)
        assert matcher.shift is None


def test_decide_waits_while_there_is_nothing_to_fit() -> None:
    """Neither no reports nor reports before the first frame decide anything."""
    matcher = Matcher()
    assert not matcher.decide(lead=1)
    matcher.vote(3000, [])
    assert not matcher.decide(lead=1)


def test_decide_keeps_to_its_decision() -> None:
    """Once known the shift stays, whatever else is voted for."""
    sent = sent_pts(30, WINDOW)
    matcher = Matcher()
    feed(matcher, [pts + 5000 for pts in sent[:10]], sent)
    for pts in sent[:20]:
        matcher.vote(pts + 999, sent)
    assert matcher.decide()
    assert matcher.shift == 5000


@given(st.integers(0, 1000))
def test_decide_is_not_moved_by_garbage_alone(seed: int) -> None:
    """Reports from nowhere agree on nothing; the memory that they take is bounded, and honest ones still win."""
    dice = random.Random(seed)
    sent = sent_pts(30, 60)
    matcher = Matcher()
    for _ in range(2 * MAX_UNDECIDED):
        matcher.vote(dice.randrange(MODULUS), sent)
    assert not matcher.decide()
    assert len(matcher._votes) <= MAX_UNDECIDED * len(sent)
    feed(matcher, sent[30:50], sent)
    assert matcher.shift == 0


def test_find_names_frames_for_an_hour() -> None:
    """Over an hour at 30 fps, reported beside a window of ten seconds, no frame is named wrongly."""
    dice = random.Random(3)
    origin = MODULUS - 90_000_000  # wraps around after a thousand seconds
    matcher = Matcher()
    frames: dict[int, int] = {}
    for k in range(3600 * 30):
        pts = stamp(k, 30) % MODULUS
        frames[pts] = k
        if len(frames) > WINDOW:
            del frames[next(iter(frames))]
        reported = (pts + origin + dice.randint(-1, 1)) % MODULUS
        if matcher.shift is None:
            matcher.vote(reported, frames)
            matcher.decide()
        else:
            assert matcher.find(reported, frames) == k


@given(st.integers(-(2**63), 2**63 - 1), st.integers(0, MODULUS - 1))
def test_find_names_none_that_was_not_sent(reported: int, shift: int) -> None:
    """A report that lies beside every frame by more than rounding names none."""
    matcher = Matcher()
    matcher.shift = shift
    sent = {pts: pts for pts in sent_pts(30, WINDOW)}
    near = [pts for pts in sent if abs(off_by(reported - shift, pts)) <= TOLERANCE]
    assert matcher.find(reported, sent) == (near[0] if near else None)
