"""steadiness.py: a client that is late by itself is told from one with a queue in front of it."""

from collections.abc import Sequence

import pytest

from common.steadiness import FRAMES, Steadiness
from protocol.matching import stamp
from protocol.messages import Missed
from scoring.ledger import Ledger
from scoring.tally import Frame


def watch(latencies: Sequence[float], before: int = 30, interval: float = 0.5) -> list[bool]:
    """Return what is said of answers for frames that came alone, after some of a film of 30 frames a second."""
    steadiness = Steadiness()
    for k in range(before):
        steadiness.on_answer(100 + k / 30, 0.03)
    return [steadiness.on_answer(103 + k * interval, latency) for k, latency in enumerate(latencies)]


def test_who_takes_the_same_time_for_each_is_late_by_itself() -> None:
    """Frames that come alone and are answered equally late show no queue, from the fourth on."""
    assert watch([2.6, 2.65, 2.7, 2.68, 2.6]) == [False] * (FRAMES - 1) + [True] * 2


@pytest.mark.parametrize("change", [-0.3, -0.1, 0.1, 0.3])
def test_a_queue_is_none_of_that(change: float) -> None:
    """Answers that come later and later, or earlier and earlier, are those of a queue that grows or empties."""
    assert not any(watch([5 + change * k for k in range(10)]))


def test_frames_in_a_row_and_a_slow_film_say_nothing() -> None:
    """A film of many frames a second is not judged by this, and one that never had more than two a second neither."""
    assert not any(watch([0.5] * 20, interval=1 / 30)[1:])
    assert not any(watch([0.5] * 20, before=0))


def test_ledger_lets_a_client_that_is_late_by_itself_have_more() -> None:
    """One that answers each probe after 2.6 s is not behind any more, so that it gets all frames again."""
    ledger, k, late = Ledger(lambda _: None), 0, 2.6
    answers: list[tuple[float, int]] = []

    def film(until: float, step: int, latency: float) -> None:
        nonlocal k
        while k / 30 < until:
            ledger.sent(Frame(k, stamp(k, 30), k / 30, None))
            answers.append((k / 30 + latency, stamp(k, 30)))
            while answers and answers[0][0] <= k / 30:
                at, pts = answers.pop(0)
                ledger.report(Missed(pts), at)
            k += step

    film(3, 1, 0.03)
    film(5, 15, late)
    assert ledger.behind > 1
    film(12, 15, late)
    assert ledger.behind < 0.1
