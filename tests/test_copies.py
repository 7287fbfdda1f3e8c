"""When packets are sent twice: pure, fed with reports of every kind."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from transport.copies import (
    APART,
    BURST_DELAYS,
    BURST_HOLD,
    DELAYS,
    DISTRUST,
    MIN_BURSTS,
    PAUSE_FIRST,
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


def test_second_request_begins_it_before_a_report_can():
    """What is asked for twice within two seconds is taken for lost until reports say so."""
    rule = CopyRule()
    rule.on_asked(1.0)
    assert not rule.active(1.0)
    rule.on_asked(1.5)
    assert rule.active(1.5)
    rule.on_report(60, 2, 1.9)
    rule.on_report(80, 4, 2.5)
    assert rule.active(1.5 + 2 * SUSPICION)


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
    rule.on_asked(DISTRUST + 10)
    rule.on_asked(DISTRUST + 10 + APART)
    assert rule.active(DISTRUST + 10 + APART)


def test_many_requests_at_once_are_no_loss():
    """A jam that is over brings packets out of order, once: that is no reason to send anything twice."""
    rule = CopyRule()
    for number in range(20):
        rule.on_asked(1 + number / 1000)
    assert not rule.active(1.02)


def test_bursts_bring_more_copies_for_as_long_as_they_come():
    """Packets that are asked for although they were copied are sent more often, further apart; then once again."""
    rule = CopyRule()
    now = report(rule, [1, 1, 1])
    assert rule.delays(now) == DELAYS
    for number in range(MIN_BURSTS):
        rule.on_asked(now + number)
    assert rule.delays(now + MIN_BURSTS) == BURST_DELAYS
    now = report(rule, [1] * int(BURST_HOLD + MIN_BURSTS), now, lost=3)
    assert rule.delays(now) == DELAYS
    rule.on_congested(now)
    assert rule.delays(now) == ()


def test_suspicion_ends_without_any_report():
    """A receiver that never reports gets copies for a moment, not for ever."""
    rule = CopyRule()
    rule.on_asked(1)
    rule.on_asked(1.5)
    assert rule.active(1.5)
    assert not rule.active(1.5 + SUSPICION)


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
