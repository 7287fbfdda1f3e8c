"""When packets are sent twice: pure, fed with reports of every kind."""

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transport.copies import (
    APART,
    ASKED_WITHIN,
    BURST_DELAYS,
    BURST_HOLD,
    BURSTS_WITHIN,
    DELAYS,
    DISTRUST,
    HEAVY_DELAYS,
    MIN_BURSTS,
    PAUSE_FIRST,
    PAUSE_MAX,
    SUSPICION,
    WINDOW,
    CopyRule,
)

RATE = 40  # packets a second


def report(rule: CopyRule, losses: list[int], began: float = 0, lost: int = 0) -> float:
    """Tell of so many packets lost in each second, after `lost` before; return the time after it (s)."""
    for second in range(1, len(losses) + 1):
        rule.on_report(round(RATE * (began + second)), lost + sum(losses[:second]), began + second)
    return began + len(losses)


def ask_twice(rule: CopyRule, now: float) -> None:
    """Ask for two packets until `now` (s)."""
    rule.on_asked(now - 2 * APART)
    assert not rule.active(now)
    rule.on_asked(now)


def test_nothing_is_copied_without_loss():
    """Reports of no loss, for however long, send nothing twice."""
    rule = CopyRule()
    assert not rule.active(0)
    assert not rule.active(report(rule, [0] * 100))


def test_one_loss_is_no_loss():
    """A single packet that went astray costs nothing."""
    rule = CopyRule()
    assert not rule.active(report(rule, [0] * 5 + [1] + [0] * 5))


def test_copies_are_sent_while_there_is_loss_and_end_when_it_is_gone():
    """Two lost packets begin it; WINDOW seconds after the last one it ends."""
    rule = CopyRule()
    assert rule.active(report(rule, [0, 1, 1]))
    assert rule.active(report(rule, [0] * (int(WINDOW) - 2), 3, lost=2))
    assert not rule.active(report(rule, [0] * 5, 3 + WINDOW - 2, lost=2))


def test_one_percent_of_loss_keeps_the_copies():
    """At one packet in a hundred, reports without any loss in between do not end them."""
    rule = CopyRule()
    now = report(rule, [1, 0, 1])
    lost = 2
    for second in range(60):
        now += 1
        lost += second % 3 == 0
        rule.on_report(round(RATE * now), lost, now)
        assert rule.active(now)


def test_packet_that_was_late_and_not_lost_is_taken_back():
    """Reports may count a packet as lost that comes after them: the count falls again."""
    rule = CopyRule()
    for now, lost in enumerate([0, 3, 0, 3, 0, 3, 0]):
        rule.on_report(RATE * (now + 1), lost, now)
    assert not rule.active(6)


@pytest.mark.parametrize("ask", [ask_twice, CopyRule.on_asked_again, CopyRule.on_picture_lost])
def test_what_is_asked_for_begins_it_before_a_report_can(ask: Callable[[CopyRule, float], None]):
    """A second packet, or the same again, or a key frame that is asked for is taken for loss until reports say so."""
    rule = CopyRule()
    ask(rule, 1.5)
    assert rule.active(1.5)
    rule.on_report(60, 2, 1.9)
    rule.on_report(80, 4, 2.5)
    assert rule.active(1.5 + 2 * SUSPICION)


def test_report_that_is_too_early_refutes_nothing():
    """What is lost now is in the next report or the one after it; a suspicion lasts for both."""
    rule = CopyRule()
    ask_twice(rule, 1.0)
    rule.on_report(40, 0, 1.1)
    assert rule.active(1.2)
    assert rule.active(1.0 + SUSPICION - 0.1)


def test_requests_for_what_comes_by_a_detour_are_refuted():
    """On a connection that only reorders, copies last as long as the suspicion, and not again for a minute."""
    rule = CopyRule()
    copied = 0.0
    for step in range(1200):  # 60 s, asked for a packet every 50 ms
        now = step / 20
        rule.on_asked(now)
        if step % 20 == 0:
            rule.on_report(step * 2, 0, now)
        copied += rule.active(now) / 20
    assert copied <= SUSPICION + 1
    ask_twice(rule, DISTRUST + 10)
    assert rule.active(DISTRUST + 10)


def test_loss_that_was_suspected_is_not_refuted_once_it_is_over():
    """Copies that were needed are there at once for the next loss: only what reports never told of is distrusted."""
    rule = CopyRule()
    ask_twice(rule, 0.5)
    now = report(rule, [2, 2, 0])
    now = report(rule, [0] * int(WINDOW + 5), now, lost=4)
    assert not rule.active(now)
    ask_twice(rule, now)
    assert rule.active(now)


def test_little_loss_of_many_packets_is_none():
    """Two packets in thousands cost nothing: the share counts."""
    rule = CopyRule()
    for second in range(1, 10):
        rule.on_report(2000 * second, 2 if second > 5 else 0, second)
        assert not rule.active(second)


def test_heavy_loss_gets_two_copies():
    """Where one packet in twenty is lost, so is one copy in twenty: sent once more; at one in a hundred it is not."""
    light, heavy = CopyRule(), CopyRule()
    assert light.delays(report(light, [1, 0, 1, 0, 1])) == DELAYS
    now = report(heavy, [2] * 5)
    assert heavy.delays(now) == HEAVY_DELAYS
    now = report(heavy, [0, 1] * int(WINDOW), now, lost=10)
    assert heavy.delays(now) == DELAYS
    now = report(heavy, [4] * 5, now, lost=10 + int(WINDOW))
    heavy.on_congested(now)
    assert heavy.delays(report(heavy, [0, 1, 1] * 8, now, lost=30 + int(WINDOW))) == DELAYS


def test_report_of_nothing_is_no_heavy_loss():
    """What is suspected gets one copy as long as no report says how much is lost: none of none is not heavy."""
    rule = CopyRule()
    rule.on_picture_lost(1.0)
    rule.on_report(40, 0, 1.1)
    assert rule.delays(1.2) == DELAYS
    rule.on_report(60, 1, 1.6)
    assert rule.delays(1.7) == DELAYS


def test_nothing_is_sent_twice_before_there_is_a_sign_of_loss():
    """Twice the first picture fills a narrow link, and every later frame waits behind it."""
    assert CopyRule().delays(5.0) == ()


def test_requests_at_once_or_far_apart_are_no_loss():
    """A jam that is over brings packets out of order, once; and one packet now and then costs nothing."""
    rule = CopyRule()
    for number in range(20):
        rule.on_asked(1 + number / 1000)
    assert not rule.active(1.02)
    for number in range(5):
        rule.on_asked(now := 10 + 1.01 * ASKED_WITHIN * number)
        assert not rule.active(now)


def test_bursts_bring_more_copies_for_as_long_as_they_come():
    """Packets that are asked for although they were copied are sent more often, further apart; then once again."""
    rule = CopyRule()
    now = report(rule, [0, 1, 0, 1])
    assert rule.delays(now) == DELAYS
    for number in range(MIN_BURSTS):
        rule.on_asked(now + number)
    assert rule.delays(now + MIN_BURSTS) == BURST_DELAYS
    now = report(rule, [0, 1] * int(BURST_HOLD / 2 + MIN_BURSTS), now, lost=2)
    assert rule.delays(now) == DELAYS
    rule.on_congested(now)
    assert rule.delays(now) == ()


@pytest.mark.parametrize("lossy", [False, True])
def test_requests_without_copies_or_long_apart_are_no_bursts(lossy: bool):
    """What was asked for before there were copies says nothing of them, nor does one packet now and then."""
    rule = CopyRule()
    now, lost, every = report(rule, [0, 1, 0, 1] if lossy else [0] * 4), 2 * lossy, round(BURSTS_WITHIN / 2 + 1)
    for _ in range(4 * MIN_BURSTS if lossy else MIN_BURSTS):
        rule.on_asked(now)
        if lossy:
            now, lost = report(rule, [0] * (every - 1) + [1], now, lost), lost + 1
    if not lossy:
        now = report(rule, [0, 1, 0, 1], now)
    assert rule.active(now)
    assert rule.delays(now) == DELAYS
    rule.on_asked(now)
    assert rule.delays(now) == DELAYS


def test_suspicion_ends_without_any_report():
    """A receiver that never reports gets copies for a moment, not for ever."""
    rule = CopyRule()
    ask_twice(rule, 1.5)
    assert rule.active(1.5)
    assert not rule.active(1.5 + SUSPICION)


def test_congestion_is_no_loss_and_no_burst():
    """What was suspected, and asked for in vain, while the queue filled up is forgotten when it is over."""
    rule = CopyRule()
    now = report(rule, [2] * 3)
    for _ in range(MIN_BURSTS - 1):
        rule.on_asked(now)
    rule.on_congested(now)
    now += PAUSE_FIRST * 2
    assert not rule.active(now)
    now = report(rule, [2] * 3, now, lost=6)
    rule.on_asked(now)
    assert rule.delays(now) != BURST_DELAYS
    other = CopyRule()
    ask_twice(other, now)
    other.on_congested(now)
    assert not other.active(now + PAUSE_FIRST)
    now = report(other, [0] * round(2 * PAUSE_FIRST), now)
    ask_twice(other, now)  # which nothing has refuted: it was a queue, and no detour
    assert other.active(now)


def congest(rule: CopyRule, now: float, lossy: bool = True) -> float:
    """Let there be loss until copies are sent, then congestion; return how long (s) nothing is sent twice after it."""
    seconds = 0
    while lossy and not rule.active(now):
        seconds += 1
        now += 1
        rule.on_report(round(RATE * now), round(4 * now), now)
    rule.on_congested(now)
    began = now
    while not rule.active(now):
        now += 0.5
        rule.on_report(round(RATE * now), round(4 * now), now)
    return now - began


def test_pause_grows_only_where_congestion_meets_copies_and_not_for_ever():
    """Congestion without copies is not their fault; the pause is bounded; and after long without, it is short again."""
    rule = CopyRule()
    assert congest(rule, 100.0) <= 2 * PAUSE_FIRST + 2
    innocent = CopyRule()
    for number in range(6):
        innocent.on_congested(100.0 + number)
    assert congest(innocent, 100.0 + 6, lossy=False) <= PAUSE_FIRST + 2
    now = 200.0
    for _ in range(12):
        now += congest(rule, now) + 1
    assert congest(rule, now) <= PAUSE_MAX + 2
    assert congest(rule, now + 3 * PAUSE_MAX) <= 2 * PAUSE_FIRST + 2


def test_congestion_ends_copies_at_once_and_for_longer_each_time():
    """Twice the bytes on a connection that is full already: never, and tried again ever more rarely."""
    rule = CopyRule()
    now, pauses = 0.0, []
    for _ in range(4):
        while not rule.active(now):
            now += 0.25
            rule.on_report(round(RATE * now), round(4 * now), now)
        pauses.append(now)
        rule.on_congested(now)
        assert not rule.active(now)
    gaps = [after - before for before, after in itertools.pairwise(pauses)]
    assert gaps[0] >= PAUSE_FIRST
    assert all(after >= 1.5 * before for before, after in itertools.pairwise(gaps))


def test_loss_to_a_full_queue_is_no_loss():
    """What was lost before and during congestion does not count after it."""
    rule = CopyRule()
    now = report(rule, [10, 10])
    rule.on_congested(now)
    for second in range(1, 30):
        rule.on_report(RATE * (2 + second), 20, now + second)
        assert not rule.active(now + second)


@given(st.lists(st.tuples(st.sampled_from("rac"), st.integers(-5, 50), st.floats(0, 10)), max_size=60))
def test_any_order_of_events_is_taken(events: list[tuple[str, int, float]]):
    """Whatever a receiver says, in whatever order, nothing raises; and congestion always silences."""
    rule, now, sent, lost = CopyRule(), 0.0, 0, 0
    for kind, number, later in events:
        now += later
        if kind == "r":
            sent, lost = sent + number, lost + number - 3
            rule.on_report(sent, lost, now)
        elif kind == "a":
            rule.on_asked(now)
        else:
            rule.on_congested(now)
            assert not rule.active(now + PAUSE_FIRST - 0.1)
