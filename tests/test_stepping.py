"""When a client changes its rung: pure, over links in closed form."""

import itertools
import random
from collections.abc import Callable, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from film.stepping import (
    JITTER_MAX,
    JITTERS,
    LAG_MAX,
    LAGS,
    LOWEST,
    MEMORY,
    MIN_ANSWERS,
    MIN_TIME,
    OPENING,
    OPENING_ANSWERS,
    QUEUE_LATENCY,
    QUICK,
    STRIKES,
    TRIAL,
    UNSEEN,
    UNSEEN_PAUSE,
    UP_FIRST,
    UP_MAX,
    LeastLatency,
    StepRule,
    rungs,
)

RATES = (500_000, 100_000, 40_000)
INTERVAL = 1 / 30  # s


class Link:
    """A client behind a link of a certain rate, which the rule steps for.

    Args:
        rate: kbit/s of the link at a time (s).
        late: s by which an answer is later than its packet.
    """

    def __init__(self, rate: Callable[[float], float], late: Callable[[int], float] = lambda _: 0.02) -> None:
        self.rule = StepRule(RATES)
        self.history: list[tuple[float, int]] = []  # s, rung
        self.latencies: list[float] = []
        self._rate, self._late = rate, late

    def run(self, seconds: float) -> "Link":
        """Film for so long; a rung takes 1 kbit/s of the link for each of its own."""
        pending: list[tuple[float, float]] = []  # answered at, drawn at
        busy = resume = 0.0
        for k in range(int(seconds / INTERVAL)):
            now = k * INTERVAL
            while pending and pending[0][0] <= now:
                answered, drawn = pending.pop(0)
                self.rule.on_answer(drawn, answered)
            before = self.rule.rung
            if self.rule.step(now):
                resume = max(now, busy)
            elif busy - now > 0.5:  # the ledger notices
                self.rule.on_behind(now)
                resume = busy if self.rule.rung != before else min(busy, now + 0.5)
            if self.rule.rung != before:
                self.history.append((now, self.rule.rung))
            if now < resume:
                continue
            if resume == max(resume, busy):
                self.rule.on_resumed(now)
            resume = 0.0
            busy = max(busy, now) + RATES[self.rule.rung] * INTERVAL / 1000 / self._rate(now)
            pending.append((busy + self._late(k), now))
            self.latencies.append(pending[-1][0] - now)
            pending.sort()
        return self


@pytest.mark.parametrize(("lag", "narrow"), [(0.003, True), (0.05, False)])
def test_busy_machine_is_no_narrow_connection(lag: float, narrow: bool):
    """Answers that are late where the server is late with its own frames say nothing of the connection."""
    rule = StepRule(RATES)
    for k in range(300):
        drawn = k * INTERVAL
        rule.on_sent(lag)
        rule.on_answer(drawn, drawn + (0.02 if k < 30 else 0.2))
    assert rule.congested is narrow


def test_rungs_fall_from_what_was_asked_for():
    """The best is what was asked for; none is lower than what makes sense."""
    assert rungs(500_000) == (*RATES, LOWEST)
    assert rungs(50_000) == (50_000, 40_000, LOWEST)
    assert rungs(40_000) == (40_000, LOWEST)
    assert rungs(LOWEST) == (LOWEST,)
    assert rungs(2_000_000) == (2_000_000, 400_000, 80_000, 40_000, LOWEST)


@pytest.mark.parametrize("jitter", [0, 0.01, 0.04])
def test_wide_link_keeps_the_best_rung(jitter: float):
    """Where there is room, nothing changes, whatever the jitter below QUEUE_LATENCY."""
    dice = random.Random(1)
    assert Link(lambda _: 10_000, lambda _: 0.05 + dice.uniform(0, jitter)).run(120).history == []


def test_narrow_link_gets_the_rung_that_fits_and_stays_current():
    """At less than the best needs it steps down within a second or two, and hardly any answer is late."""
    link = Link(lambda _: 400).run(25)
    assert [rung for _, rung in link.history] == [1]
    assert link.history[0][0] < 2
    assert sorted(link.latencies)[int(0.95 * len(link.latencies))] < 0.02 + QUEUE_LATENCY


def test_narrower_link_gets_a_lower_rung():
    """One rung after the other, until it fits."""
    assert [rung for _, rung in Link(lambda _: 80).run(25).history] == [1, 2]


def test_link_too_narrow_for_every_rung_is_waited_for():
    """On the lowest rung the queue is emptied again and again: answers stay current, and no rung is changed."""
    link = Link(lambda _: 30).run(25)
    assert [rung for _, rung in link.history] == [1, 2]
    assert max(link.latencies[len(link.latencies) // 2 :]) < 0.4


def test_rung_above_is_tried_after_long():
    """Once there is room again the client is back on the best rung, one rung at a time."""
    link = Link(lambda now: 80 if now < 10 else 10_000).run(10 + 3 * UP_FIRST)
    assert [rung for _, rung in link.history] == [1, 2, 1, 0]
    assert all(after - before >= UP_FIRST for (before, _), (after, _) in itertools.pairwise(link.history[1:]))


def test_trial_that_fails_is_repeated_ever_more_rarely():
    """A link that stays narrow is not disturbed every half a minute."""
    link = Link(lambda _: 400).run(600)
    trials = [at for at, rung in link.history if rung == 0]
    gaps = [after - before for before, after in itertools.pairwise(trials)]
    assert len(gaps) >= 2
    assert all(after > 1.5 * before for before, after in itertools.pairwise(gaps))


def test_trial_that_succeeds_is_forgotten():
    """After it, the next one comes as early as the first did."""
    link = Link(lambda now: 400 if now < 100 or 200 < now < 210 else 10_000).run(210 + UP_FIRST + TRIAL)
    assert link.rule.rung == 0
    assert [at for at, rung in link.history if rung == 0][-1] < 210 + UP_FIRST + TRIAL


@pytest.mark.parametrize("loss", [0.01, 0.03, 0.05])
def test_wait_for_a_lost_packet_is_no_congestion(loss: float):
    """Frames behind a gap arrive late, all at once, and the next one is in time: nothing changes."""
    dice = random.Random(2)
    rule, clear = StepRule(RATES), 0.0
    for k in range(10_000):
        drawn = k * INTERVAL
        if dice.random() < loss:
            clear = drawn + 0.1 + 0.133  # asked for by the next frame, sent again a round trip later
        rule.on_answer(drawn, max(drawn + 0.1, clear) + dice.uniform(0, 0.02))
        assert not rule.step(drawn + 0.3)


def test_time_without_network_is_no_congestion():
    """While nothing is answered, and when all that was under way arrives at once, the rung stays."""
    rule = StepRule(RATES)
    for k in range(60):
        rule.on_answer(k * INTERVAL, k * INTERVAL + 0.02)
    for k in range(75, 200, 15):
        rule.on_behind(k * INTERVAL)
        assert not rule.step(k * INTERVAL)
    for k in range(60, 75):
        rule.on_answer(k * INTERVAL, 7 + k / 1000)
        assert not rule.step(7 + k / 1000)
    for k in range(211, 300):
        rule.on_answer(k * INTERVAL, k * INTERVAL + 0.02)
        assert not rule.step(k * INTERVAL + 0.02)
    assert rule.rung == 0


def test_slow_process_a_is_no_congestion():
    """A client that needs 100 ms for each frame, and passes over the others, keeps its rung."""
    rule = StepRule(RATES)
    for k in range(3000):
        drawn = k * INTERVAL
        rule.on_answer(drawn, drawn + (0.15 if k % 3 == 0 else 0.04))
        assert not rule.step(drawn + 0.15)


def answer(rule: StepRule, latencies: Iterable[float], began: float = 0.0, every: float = INTERVAL) -> float:
    """Let a client answer for one frame after the other, each so late (s); return when the next one is drawn (s)."""
    drawn = began
    for latency in latencies:
        rule.on_answer(drawn, drawn + latency)
        drawn += every
    return drawn


QUEUE = 0.02 + QUEUE_LATENCY + 0.05  # s, of an answer that is late, where 0.02 is the least


def test_queue_has_to_last():
    """Neither a few late answers are congestion, nor many of one moment: they have to be some, over some time."""
    rule = StepRule(RATES)
    now = answer(rule, [0.02] * 60)
    for count in range(1, MIN_ANSWERS):
        now = answer(rule, [QUEUE] * count, now, every=1.0)
        assert not rule.congested
        now = answer(rule, [0.02], now)
    quick = StepRule(RATES)
    now = answer(quick, [0.02] * 500, every=0.005)
    now = answer(quick, [QUEUE] * (MIN_ANSWERS + 1), now, every=0.005)
    assert not quick.congested
    now = answer(quick, [QUEUE] * round(MIN_TIME / 0.005), now, every=0.005)
    assert quick.congested
    quick.on_resumed(now)
    answer(quick, [QUEUE] * (MIN_ANSWERS + 1), now, every=0.005)
    assert not quick.congested


def test_one_loss_upon_another_is_no_congestion():
    """Frames that wait for two packets, one lost behind the other, come late in two heaps: that is no queue."""
    rule = StepRule(RATES)
    began = answer(rule, [0.02] * 60)
    for k in range(10):
        drawn = began + k * INTERVAL
        heap = began + (0.25 if k < 5 else 0.25 + 5 * INTERVAL)
        rule.on_answer(drawn, heap + k / 10_000)
        assert not rule.congested


def test_jitter_is_no_congestion():
    """Where latency always changes by much, an answer has to be later than that to be late."""
    dice = random.Random(3)
    rule = StepRule(RATES)
    answer(rule, (0.05 + dice.uniform(0, 0.15) for _ in range(600)))
    changes = 0
    for k in range(600, 6000):
        answer(rule, [0.05 + dice.uniform(0, 0.15)], k * INTERVAL)
        changes += rule.congested
    assert changes <= 5
    assert StepRule(RATES).congested is False


@pytest.mark.parametrize("pause", [5.0, 60.0])
def test_pause_blinds_nobody(pause: float):
    """After answers that were late by seconds a queue is noticed: jitter is bounded, and so is our lag."""
    rule = StepRule(RATES)
    now = answer(rule, [0.02] * 60)
    rule.on_sent(pause)
    now = answer(rule, [pause, pause - 1, pause], now)
    answer(rule, [0.02 + QUEUE_LATENCY + JITTERS * JITTER_MAX + LAGS * LAG_MAX + 0.01] * 20, now)
    assert rule.congested


def test_lag_of_ours_is_forgotten():
    """Seconds after the machine was busy a queue is a queue."""
    rule = StepRule(RATES)
    now = answer(rule, [0.02] * 60)
    rule.on_sent(LAG_MAX)
    for _ in range(200):
        rule.on_sent(0.0)
        now = answer(rule, [0.02], now)
    answer(rule, [QUEUE + 0.02] * 10, now)
    assert rule.congested


def test_least_latency_is_forgotten_when_routes_change():
    """A connection that has become longer for good is not congested for ever, and remembering is bounded."""
    least = LeastLatency()
    for second in range(int(3 * MEMORY)):
        least.add(0.02 if second < 10 else 0.2, second)
        assert len(least._parts) <= least.PARTS
        if second < 0.8 * MEMORY:
            assert least.value() == 0.02
    assert least.value() == 0.2


def test_client_that_is_late_by_itself_is_not_congested():
    """Frames that come alone and are answered equally late show that no queue grows: that is its latency now."""
    rule = StepRule(RATES)
    now = answer(rule, [0.02] * 60)
    now = answer(rule, [1.5] * 6, now, every=0.5)
    assert not rule.congested
    now = answer(rule, [1.5] * 60, now)
    assert not rule.congested
    assert not rule.step(now)


def test_one_rung_is_never_left():
    """Where there is one bit rate alone, as for images, nobody is sent back to a key frame."""
    rule = StepRule((500_000,))
    now = answer(rule, [0.02] * 60)
    now = answer(rule, [1.0] * 20, now)
    assert rule.congested
    assert not rule.step(now)
    rule.on_behind(now)
    assert (rule.rung, rule.changes) == (0, 0)


def test_client_far_behind_steps_down_where_its_answers_were_late():
    """Two late answers suffice then; a single one, or none, may be due to a network that is gone."""
    for late, steps in ((0, False), (1, False), (2, True)):
        rule = StepRule(RATES)
        now = answer(rule, [0.02] * 60)
        rule.on_resumed(now)
        now = answer(rule, [QUEUE + 0.05] * late, now)
        assert rule.on_behind(now + 0.5) is steps


@pytest.mark.parametrize(("every", "resumed", "steps"), [(1.0, False, True), (3.0, False, False), (1.0, True, False)])
def test_strikes_count_within_seconds_and_not_over_a_fresh_start(every: float, resumed: bool, steps: bool):
    """Far behind again and again although it answers: the rung is too much, unless that is long apart or was mended."""
    rule = StepRule(RATES)
    now = answer(rule, [0.02] * 60)
    stepped = False
    for number in range(STRIKES):
        now = answer(rule, [0.02], now)
        stepped = rule.on_behind(now)
        if resumed and number == STRIKES - 2:
            rule.on_resumed(now)
        now += every
    assert stepped is steps


def trials(rule: StepRule, seconds: float, fails: Callable[[float], bool], now: float = 0.0) -> list[float]:
    """Let a client on rung 1 answer in time, but late on rung 0 while `fails`; return when it was tried there (s)."""
    tried, end = [], now + seconds
    while now < end:
        was = rule.rung
        rule.on_answer(now, now + (QUEUE + 0.1 if rule.rung == 0 and fails(now) else 0.02))
        rule.step(now)
        if rule.rung < was:
            tried.append(now)
        now += INTERVAL
    return tried


def test_trials_are_never_given_up():
    """However often the rung above failed, it is tried again within UP_MAX."""
    rule = StepRule(RATES[:2])
    tried = trials(rule, 12 * UP_MAX, lambda now: now > 5)
    gaps = [after - before for before, after in itertools.pairwise(tried)]
    assert len(gaps) >= 8
    assert max(gaps) <= UP_MAX + 2
    assert gaps[-1] >= UP_MAX


def test_rung_that_has_passed_its_trial_is_tried_early_again():
    """Congestion long after a trial is no failure of it: the next trial comes after UP_FIRST, time and again."""
    rule = StepRule(RATES[:2])
    tried = trials(rule, 1000, lambda now: now % 100 > 95)  # a bad spell every now and then
    gaps = [after - before for before, after in itertools.pairwise(tried)]
    assert gaps == pytest.approx([100] * len(gaps), abs=3)


def test_patience_is_short_again_after_a_trial_that_was_passed():
    """Trials that failed make the next ones rare, until one is passed."""
    rule = StepRule(RATES[:2])
    bad = [(5, 150), (600, 603)]  # s
    tried = trials(rule, 700, lambda now: any(begin < now < end for begin, end in bad))
    assert len(tried) >= 4
    assert 600 + UP_FIRST <= tried[-1] <= 603 + UP_FIRST + 2


def test_first_step_down_is_no_trial_that_failed():
    """Whoever was never tried on the rung above is tried after UP_FIRST."""
    rule = StepRule(RATES)
    now = answer(rule, [0.02] * 60)
    for _ in range(2):
        now = answer(rule, [QUEUE + 0.1] * 20, now)
        rule.step(now)
    assert rule.rung == 2
    (first, *_) = trials(rule, 3 * UP_FIRST, lambda _: False, now)
    assert first - now == pytest.approx(UP_FIRST, abs=1)


@pytest.mark.parametrize(
    ("width", "rung"), [(None, 0), (300_000, 0), (190_000, 1), (150_000, 1), (120_000, 2), (80_000, 3), (-1.0, 3)]
)
def test_handshake_chooses_the_first_rung(width: float | None, rung: int):
    """The best that fits into what the connection takes, with what goes along; the best where that is unknown."""
    rule = StepRule(rungs(500_000))
    rule.begin(width, 1000.0)
    assert (rule.rung, rule.changes) == (rung, 0)
    answer(rule, [0.2] + [0.02] * 60, 1000.0)
    assert not rule.congested
    alone = StepRule((500_000,))
    alone.begin(width, 1000.0)
    assert alone.rung == 0


def open_film(first: float, others: float = 0.02, every: float = INTERVAL) -> tuple[StepRule, float, list[float]]:
    """Begin on the lowest rung; the first frame is so late (s), the others are as given.

    Returns:
        The rule after some seconds, when (s) it began, and when its rung changed.
    """
    rule, began = StepRule(rungs(500_000)), 1000.0
    rule.begin(80_000, began)
    changes = []
    now = answer(rule, [first], began)
    for _ in range(round(UP_FIRST / 2 / every)):
        now = answer(rule, [others], now, every)
        if rule.step(now):
            changes.append(now)
    return rule, began, changes


def test_handshake_that_was_mistaken_costs_a_second():
    """A key frame that comes as quickly as all others shows a wide connection: the best rung, at once."""
    rule, began, changes = open_film(0.02 + 0.9 * QUICK)
    assert rule.rung == 0
    assert len(changes) == 1
    assert changes[0] - began < OPENING + 0.2
    rule, began, changes = open_film(0.02, every=2 * OPENING / OPENING_ANSWERS)
    assert [round(at - began, 1) for at in changes] == [pytest.approx(2 * OPENING, abs=0.2)]


def test_handshake_that_was_right_is_not_put_to_the_test():
    """A key frame that has taken longer than the others shows that each byte counts: the rung stays for long."""
    rule, _, changes = open_film(0.02 + 1.1 * QUICK)
    assert (rule.rung, changes) == (3, [])


def test_first_frame_that_a_busy_machine_held_back_is_no_narrow_connection():
    """What the server itself was late with says nothing of the connection: the best rung, as if it had been quick."""
    rule = StepRule(rungs(500_000))
    rule.begin(80_000, 0.0)
    rule.on_sent(0.05)
    now = answer(rule, [0.103, *[0.02] * 20])
    assert rule.step(now)
    assert rule.rung == 0


def test_wide_connection_is_shown_by_the_opening_alone():
    """Whoever has come down since, or never began below the best, is not back for a first frame that was quick."""
    rule = StepRule(rungs(500_000))
    rule.begin(80_000, 0.0)
    now = answer(rule, [0.02])
    rule.on_resumed(now)
    now = answer(rule, [0.3] * 9, now)
    assert rule.step(now)
    now = answer(rule, [0.02] * 60, now)
    assert not rule.step(now)
    other = StepRule(rungs(500_000))
    now = answer(other, [0.02] * 60)
    now = answer(other, [QUEUE + 0.1] * 20, now)
    assert other.step(now)
    now = answer(other, [0.02] * 60, now)
    assert not other.step(now)


def test_film_of_which_nothing_is_seen_goes_down():
    """Who has never answered, and asks for a picture for a second, gets less, again and again."""
    rule, stepped = StepRule(rungs(500_000)), []
    for k in range(60):
        now = k / 10
        rule.on_picture_lost(now)
        if rule.step(now):
            stepped.append(now)
            rule.on_resumed(now + 0.5)
    assert rule.rung == 3
    assert len(stepped) >= 4
    assert stepped[0] >= UNSEEN


def test_pictures_that_are_lost_now_and_then_are_no_congestion():
    """Neither one series of requests that is short, nor many that are far apart, nor any of one who has answered."""
    rule = StepRule(rungs(500_000))
    for number in range(10):
        for now in (0.0, 0.4 * UNSEEN, 0.9 * UNSEEN):
            rule.on_picture_lost(now + number * 1.1 * (UNSEEN + UNSEEN_PAUSE))
            assert not rule.congested
    now = answer(rule, [0.02], 100.0)
    for number in range(100):
        rule.on_picture_lost(now + number / 10)
        assert not rule.congested


def test_lowest_rung_is_not_left_downwards():
    """On the lowest rung congestion asks for an empty queue, each time, and no further rung."""
    rule = StepRule(RATES)
    now = answer(rule, [0.02] * 60)
    for _ in range(6):
        now = answer(rule, [QUEUE + 0.1] * 20, now)
        assert rule.step(now)
        assert not rule.step(now)  # what was drawn before says nothing any more
    assert (rule.rung, rule.changes) == (2, 2)


@given(st.lists(st.tuples(st.sampled_from("aassrbpo"), st.floats(0, 3), st.floats(0, 10)), max_size=80))
def test_any_order_of_events_is_taken(events: list[tuple[str, float, float]]):
    """Whatever is answered, and whenever: the rung is one of those that there are, and every change is counted."""
    rule, now, changes = StepRule(RATES), 0.0, 0
    for kind, number, later in events:
        now += later
        before = rule.rung
        match kind:
            case "a":
                rule.on_answer(now - number, now)
            case "b":
                rule.on_behind(now)
            case "r":
                rule.on_resumed(now)
            case "p":
                rule.on_picture_lost(now)
            case "o" if not changes and not rule.seen:
                rule.begin(50_000 * number, now)
                before = rule.rung
            case _:
                rule.step(now)
        changes += rule.rung != before
        assert rule.rung - before <= 1
        assert before - rule.rung <= 1 or rule.rung == 0
        assert 0 <= rule.rung < len(RATES)
        assert rule.changes == changes
