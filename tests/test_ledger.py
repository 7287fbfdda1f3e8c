"""scoring.py: every frame ends in exactly one state, and the figures are what numpy makes of them."""

import math
import random
import sys
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ball_track import Point, Scene
from protocol.matching import CONFIRMING, MAX_HELD, MODULUS, stamp
from protocol.messages import Found, Message, Missed, Named, Reports, Restarted, Score, Skipped, Watched
from scoring.distribution import Distribution
from scoring.ledger import DEADLINE_S, Ledger
from scoring.tally import Frame, State, Tally, total

FPS = 30.0
FINAL = {"scored", "missed", "skipped", "lost"}


def still(_: float) -> Point:
    """Return where a ball is that does not move, px."""
    return Point(100, 100)


def new_frame(k: int, drawn: float | None = None) -> Frame:
    """Return frame `k` of a film of a ball that does not move."""
    return Frame(k, stamp(k, FPS), k / FPS if drawn is None else drawn, Point(100, 100))


def known(ledger: Ledger, count: int = 8, shift: int = 0) -> None:
    """Send and score the first frames, so that the ledger knows the shift."""
    for k in range(count):
        ledger.sent(new_frame(k))
    for k in range(count):
        ledger.report(Found(stamp(k, FPS) + shift, 100, 100), count / FPS)
    assert ledger.tally.frames["scored"] == count


# --- Distribution --------------------------------------------------------------------------------


@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=300), st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_distribution_agrees_with_numpy(values: list[float], shares: list[float]) -> None:
    """Quantiles are those of numpy to 0.2 %; mean and maximum are exact."""
    distribution = Distribution()
    for value in values:
        distribution.add(value)
    shares.sort()
    assert distribution.quantiles(*shares) == pytest.approx(np.quantile(values, shares), rel=2e-3)
    summary = distribution.summary()
    assert summary is not None
    assert list(summary) == ["mean", "p50", "p95", "p99", "max"]
    assert summary["mean"] == pytest.approx(np.mean(values))
    assert summary["max"] == max(values)
    for share in (50, 95, 99):
        assert summary[f"p{share}"] == pytest.approx(np.percentile(values, share), rel=2e-3)


def test_distribution_knows_nought() -> None:
    """An error of nothing at all is counted, as nothing at all."""
    distribution = Distribution()
    distribution.add(0)
    assert distribution.summary() == {"mean": 0, "p50": 0, "p95": 0, "p99": 0, "max": 0}
    distribution.add(5)
    assert distribution.quantiles(0, 1) == pytest.approx([0, 5], rel=1e-3, abs=1e-8)


def test_distribution_of_nothing_has_no_figures() -> None:
    """Where nothing was counted the summary is None, and a quantile is an error."""
    assert Distribution().summary() is None
    with pytest.raises(ValueError, match="nothing"):
        Distribution().quantiles(0.5)


@given(st.lists(st.lists(st.floats(0, 1e5), max_size=50), min_size=1, max_size=5))
def test_distribution_merged_equals_all_in_one(parts: list[list[float]]) -> None:
    """It makes no difference whether values were counted together or apart."""
    together, one = Distribution(), Distribution()
    for part in parts:
        other = Distribution()
        for value in part:
            other.add(value)
            one.add(value)
        together.merge(other)
    assert together.total == pytest.approx(one.total)
    assert {**vars(together), "total": 0} == {**vars(one), "total": 0}


def test_distribution_takes_bounded_memory() -> None:
    """A million values of eight orders of magnitude take no more room than their orders."""
    distribution = Distribution()
    dice = random.Random(0)
    for _ in range(200_000):
        distribution.add(10 ** dice.uniform(-4, 4))
    assert len(distribution._buckets) <= math.log(10**8) / math.log(1.002) + 2


# --- Ledger --------------------------------------------------------------------------------------

steps = st.lists(
    st.tuples(
        st.sampled_from(["send", "send", "found", "missed", "skipped", "unknown", "restart", "wait"]),
        st.integers(0, 400),
    ),
    max_size=120,
)


class NaiveAccount:
    """A client's account in plain dictionaries, beside the ledger that it is to agree with."""

    def __init__(self, shift: int) -> None:
        self.left: list[Frame] = []
        self.ledger = Ledger(still, self.left.append)
        self.shift = shift
        known(self.ledger, shift=shift)
        self.now = 8 / FPS
        self.states = dict.fromkeys(range(8), "scored")
        self.counts = Counter(unmatched=0, repeated=0, restarts=0)
        self.drawn = {k: k / FPS for k in range(8)}
        self.gone: set[int] = set()

    def send(self) -> int:
        """Send the next frame and return its number."""
        k = len(self.states)
        self.ledger.sent(new_frame(k, self.now))
        self.states[k], self.drawn[k] = "open", self.now
        for old in [k for k, drawn in self.drawn.items() if drawn <= self.now - DEADLINE_S and k not in self.gone]:
            self.gone.add(old)
            self.states[old] = self.states[old].replace("open", "lost")
        return k

    def report(self, k: int, message: Message, state: str) -> None:
        """Say something of a frame, which gives it a state if it has none."""
        if k in self.gone:
            self.report_stray(message)
            return
        settled = self.ledger.report(message, self.now)
        if self.states[k] != "open":
            self.counts["repeated"] += 1
        else:
            self.states[k] = state
            assert [frame.k for frame in settled] == [k]

    def report_stray(self, message: Message) -> None:
        """Say something of no frame, and then so much that fits that there is no doubt about the shift."""
        assert self.ledger.report(message, self.now) == []
        self.counts["unmatched"] += 1
        settled: list[Frame] = []
        new = [self.send() for _ in range(CONFIRMING)]
        for k in new:
            assert not settled
            settled = self.ledger.report(Missed(stamp(k, FPS) + self.shift), self.now)
            self.states[k] = "missed"
        assert [frame.k for frame in settled] == new

    def check(self) -> None:
        """Check that the ledger has as many frames in each state."""
        states = Counter(self.states.values())
        tally = self.ledger.tally
        assert {state: tally.frames[state] for state in FINAL} == {state: states[state] for state in FINAL}
        assert (tally.repeated, tally.restarts) == (self.counts["repeated"], self.counts["restarts"])
        assert tally.frames["unmatched"] == self.counts["unmatched"]
        assert tally.frames["sent"] == len(self.states)


@given(steps, st.integers(0, MODULUS - 1))
def test_ledger_agrees_with_a_naive_account(steps: list[tuple[str, int]], shift: int) -> None:
    """After any interleaving, and at every moment of it, the states are those of a plain dictionary, and add up."""
    naive = NaiveAccount(shift)
    ledger = naive.ledger
    for step, number in steps:
        k = number % len(naive.states)
        name = stamp(k, FPS) + shift
        match step:
            case "send":
                naive.send()
            case "found":
                naive.report(k, Found(name, 1, 2), "scored")
            case "missed":
                naive.report(k, Missed(name), "missed")
            case "skipped":
                naive.report(k, Skipped(name), "skipped")
            case "unknown":
                naive.report_stray(Skipped(name + 1000))
            case "restart":
                assert ledger.report(Restarted(), naive.now) == []
                naive.counts["restarts"] += 1
            case "wait":
                naive.now += number / 100
        assert ledger.open == Counter(naive.states.values())["open"]
        naive.check()
        naive.now += 0.001
    ledger.close("bye")
    naive.states = {k: state.replace("open", "lost") for k, state in naive.states.items()}
    naive.check()
    assert sorted(frame.k for frame in naive.left) == list(range(len(naive.states)))  # each once
    assert {frame.k: frame.state for frame in naive.left} == naive.states


def test_ledger_holds_reports_until_it_knows_their_frames() -> None:
    """The first few reports settle nothing; as soon as the pattern is clear all of them are settled at once."""
    ledger = Ledger(still)
    for k in range(20):
        ledger.sent(new_frame(k))
    settled: list[Frame] = []
    for k in range(5, 20):
        new = ledger.report(Found(stamp(k, FPS) + 12345, 100, 103), 1.0 + k / 1000)
        settled += new
        if not settled:
            assert ledger.open == 20
    assert [frame.k for frame in settled] == list(range(5, 20))
    assert settled[0].latency_ms == pytest.approx((1.005 - 5 / FPS) * 1000)  # as of when it came, not of now
    assert ledger.open == 5


def test_ledger_believes_no_pattern_of_its_own_making() -> None:
    """One client that repeats one report for ever is never scored."""
    ledger = Ledger(still)
    for k in range(50):
        ledger.sent(new_frame(k))
    for _ in range(2 * MAX_HELD):
        assert ledger.report(Found(7, 1, 1), 2.0) == []
    assert ledger.tally.frames["unmatched"] == MAX_HELD
    assert ledger.strays == 2 * MAX_HELD
    ledger.close("bye")
    assert ledger.tally.frames == {"sent": 50, "lost": 50, "unmatched": 2 * MAX_HELD}


def test_late_are_frames_of_the_film_that_were_not_sent() -> None:
    """Between the first and the last frame that was sent every frame of the film was sent or is late, in all counts."""
    ledger = Ledger(still)
    for k in (7, 8, 12, 13, 20):
        ledger.sent(new_frame(k))
    assert ledger.tally.late == 9
    assert ledger.tally.frames["sent"] + ledger.tally.late == 20 - 7 + 1
    assert total([ledger.tally, ledger.tally]).summary()["late"] == 18


def test_ledger_matches_anew_who_begins_anew() -> None:
    """A client whose pts begin at 0 again in mid-session goes on being scored, against the right frames."""
    ledger = Ledger(still)
    for k in range(400):
        ledger.sent(new_frame(k))
        ledger.report(Found(stamp(k, FPS) - (stamp(200, FPS) if k >= 200 else 0), 100, 100), k / FPS + 0.01)
    assert ledger.tally.frames["scored"] >= 398
    assert ledger.tally.latency_ms.max == pytest.approx(10)
    assert ledger.strays == 0


def test_close_settles_nothing_that_is_ambiguous() -> None:
    """One report that could mean any of ten frames means none."""
    ledger = Ledger(still)
    for k in range(10):
        ledger.sent(new_frame(k))
    ledger.report(Found(5, 100, 100), 0.5)
    ledger.close("vanished")
    assert ledger.tally.frames == {"sent": 10, "lost": 10, "unmatched": 1}


def test_close_is_final() -> None:
    """A second close changes neither the counts nor the reason."""
    left: list[Frame] = []
    ledger = Ledger(still, left.append)
    known(ledger)
    ledger.sent(new_frame(8))
    ledger.close("bye")
    before = ledger.tally.summary()
    ledger.close("vanished")
    assert ledger.end == "bye"
    assert ledger.tally.summary() == before
    assert len(left) == 9


def test_report_figures_are_those_of_the_very_frame() -> None:
    """The error is against where the ball was in that frame, the live error against where it is now."""
    ledger = Ledger(lambda now: Point(100 + 10 * now, 100))
    for k in range(10):
        ledger.sent(Frame(k, stamp(k, FPS), 5 + k / FPS, Point(100 + k, 100)))
    frames = [frame for k in range(10) for frame in ledger.report(Found(stamp(k, FPS), 103 + k, 104), 6.0)]
    assert [frame.k for frame in frames] == list(range(10))
    for frame in frames:
        assert frame.found == (103 + frame.k, 104)
        assert frame.reported == frame.pts
        assert frame.error_px == pytest.approx(5)  # 3, 4, 5
        assert frame.latency_ms == pytest.approx((1 - frame.k / FPS) * 1000)
        assert frame.live_error_px == pytest.approx(math.hypot(103 + frame.k - 160, 4))


def test_report_judges_what_is_predicted_from_the_coordinates_reported() -> None:
    """Drawn late and reported later, a coordinate is as old as its frame; what is known of it is right to its noise."""
    scene, start, late = Scene(seed=3), 5.0, 0.106
    ledger = Ledger(lambda now: scene.position((now - start) * FPS), walls=scene.walls)
    wrong = Point(0.003, -0.004)  # of every coordinate: a prediction from the truth would not have it
    for k in range(300):
        due = start + k / FPS
        truth = scene.position(k)
        ledger.sent(Frame(k, stamp(k, FPS), due + 0.003 * (k % 3), truth, captured=due))
        ledger.report(Found(stamp(k, FPS), truth.x + wrong.x, truth.y + wrong.y), due + late)
    summary = ledger.tally.summary()
    assert summary["live_error_px"]["p50"] == pytest.approx(240 * late, rel=0.01)
    assert summary["predicted_walls_error_px"]["max"] < 0.05
    assert summary["predicted_walls_error_px"]["p50"] == pytest.approx(0.005, abs=0.0001)
    assert summary["predicted_error_px"]["p50"] < 0.01
    assert summary["predicted_error_px"]["max"] > 10  # at a wall that it does not know


def test_report_without_walls_has_no_figure_with_walls() -> None:
    """Where nobody knows the walls there is the prediction without; where the truth is unknown there is none."""
    for where, judged in ((lambda now: Point(100 + 10 * now, 100), True), (lambda _: None, False)):
        ledger = Ledger(where)
        for k in range(10):
            ledger.sent(Frame(k, stamp(k, FPS), k / FPS, None))
            ledger.report(Found(stamp(k, FPS), 100 + 10 * k / FPS, 100), k / FPS + 0.1)
        summary = ledger.tally.summary()
        assert summary["predicted_walls_error_px"] is None
        assert (summary["predicted_error_px"] is not None) == judged
        if judged:
            assert summary["predicted_error_px"]["max"] < 1e-6


def test_report_of_the_first_coordinate_predicts_nothing() -> None:
    """One coordinate has no direction: its frame has a live error and no predicted one."""
    ledger = Ledger(lambda now: Point(100 + 10 * now, 100))
    frames = []
    for k in range(10):
        ledger.sent(Frame(k, stamp(k, FPS), k / FPS, None))
        frames += ledger.report(Found(stamp(k, FPS), 100 + 10 * k / FPS, 100), k / FPS + 0.1)
    assert frames[0].live_error_px is not None
    assert frames[0].predicted_error_px is None
    assert all(frame.predicted_error_px is not None for frame in frames[1:])


def test_report_refuses_what_a_client_does_not_say() -> None:
    """A client that gives itself a score is not believed."""
    with pytest.raises(ValueError, match="Score"):
        Ledger(still).report(Score(1, 0.0, 0.0, 0, 0), 0.0)


def test_report_survives_any_pts() -> None:
    """A pts at either end of 64 bits is one that names nothing."""
    ledger = Ledger(still)
    known(ledger)
    for pts in (2**63 - 1, -(2**63)):
        assert ledger.report(Missed(pts), 1.0) == []
    ledger.close("bye")
    assert ledger.tally.frames["unmatched"] == 2


def test_behind_is_how_late_the_newest_answer_is() -> None:
    """A client is behind by what was sent since its newest answer, beyond one frame and the time of an answer."""
    ledger = Ledger(still)
    for k in range(30):
        ledger.sent(new_frame(k, k / 30))
    assert ledger.behind == 0  # who has never answered owes nothing
    for k in range(10):
        ledger.report(Missed(stamp(k, 30)), k / 30 + 0.3)
    assert ledger.behind == pytest.approx(19 / 30 - 0.3)
    ledger.report(Missed(stamp(25, 30)), 1.2)
    ledger.report(Missed(stamp(12, 30)), 1.3)
    assert ledger.behind == 0  # four frames are on their way, as they may be for 0.3 s
    for k in range(30, 60):
        ledger.sent(new_frame(k, k / 30))
    assert ledger.behind == pytest.approx(33 / 30 - 0.3)


def test_reject_counts() -> None:
    """A message that was none is counted, and changes nothing else."""
    ledger = Ledger(still)
    ledger.reject()
    assert ledger.tally.rejected == 1
    assert not ledger.tally.frames


def test_ledger_tells_each_frame_once_as_soon_as_its_state_is_final() -> None:
    """What is reported is told at once, so that it outlives us; what is lost when it is; neither a second time."""
    told: list[tuple[int, State]] = []
    ledger = Ledger(still, lambda frame: told.append((frame.k, frame.state)))
    for k in range(60):
        ledger.sent(new_frame(k))
        if k != 50:
            ledger.report(Found(stamp(k, FPS), 100, 100), k / FPS + 0.01)
    assert told == [(k, State.SCORED) for k in range(60) if k != 50]
    ledger.report(Found(stamp(50, FPS), 100, 100), 2.5)  # late, and not too late
    ledger.sent(new_frame(60))
    assert told[59:] == [(50, State.SCORED)]
    ledger.sent(new_frame(60 + round(FPS * DEADLINE_S)))
    assert told[60:] == [(60, State.LOST)]
    ledger.close("bye")
    assert len(told) == ledger.tally.frames["sent"] == 62


@pytest.mark.slow
def test_ledger_takes_bounded_memory_over_an_hour() -> None:
    """After an hour at 30 fps it holds ten seconds, all else has left, and each report found its frame."""
    dice = random.Random(4)
    left: Counter[State] = Counter()

    def on_final(frame: Frame) -> None:
        left[frame.state] += 1

    ledger = Ledger(still, on_final)
    most = size = 0
    for k in range(3600 * 30):
        ledger.sent(new_frame(k))
        if k >= 40:
            ledger.report(Found(stamp(k, FPS) + 10**9 + dice.randint(-1, 1), 100, 100 + dice.random()), k / FPS + 0.01)
        if k == 1000:
            size = sys.getsizeof(ledger._frames)
        most = max(most, len(ledger._frames))
    assert most <= DEADLINE_S * FPS + 1
    assert sys.getsizeof(ledger._frames) <= 4 * size
    assert len(ledger.tally.error_px._buckets) < 10_000
    ledger.close("bye")
    assert left == {State.LOST: 40, State.SCORED: 3600 * 30 - 40}
    assert ledger.tally.frames["unmatched"] == ledger.tally.repeated == 0


# --- Tally ---------------------------------------------------------------------------------------


def scored(first: int, count: int, error: float) -> Tally:
    """Return the tally of a client that saw some frames, the last of them lost."""
    ledger = Ledger(still)
    for k in range(first, first + count):
        ledger.sent(new_frame(k))
    for k in range(first, first + count - 1):
        ledger.report(Found(stamp(k, FPS), 100 + error, 100), k / FPS + 0.02)
    ledger.reject()
    ledger.close("bye")
    return ledger.tally


def test_summary_has_the_keys_of_summary_json() -> None:
    """Scripts rely on these names."""
    summary = scored(0, 31, 0.5).summary()
    assert list(summary["frames"]) == ["sent", "scored", "missed", "skipped", "lost", "unmatched"]
    assert summary["frames"] == {"sent": 31, "scored": 30, "missed": 0, "skipped": 0, "lost": 1, "unmatched": 0}
    for figure in ("error_px", "latency_ms", "live_error_px", "predicted_error_px"):
        assert list(summary[figure]) == ["mean", "p50", "p95", "p99", "max"]
    assert summary["error_px"]["mean"] == pytest.approx(0.5)
    assert summary["latency_ms"]["p50"] == pytest.approx(20, rel=2e-3)
    assert summary["fps"] == pytest.approx(FPS)
    assert summary["duration_s"] == pytest.approx(1)
    assert (summary["rejected"], summary["repeated"], summary["restarts"]) == (1, 0, 0)


def test_summary_of_nothing_has_no_figures() -> None:
    """Where nothing was scored the figures are null, and nothing is divided by nought."""
    summary = Tally().summary()
    assert summary["error_px"] is summary["latency_ms"] is summary["live_error_px"] is None
    assert summary["predicted_error_px"] is summary["predicted_walls_error_px"] is None
    assert summary["fps"] == summary["duration_s"] == 0
    assert set(summary["frames"].values()) == {0}


@pytest.mark.parametrize("add", [lambda a, b: total((a, b)), lambda a, b: total(iter([b, a]))])
def test_total_adds_up_all_clients(add: Callable[[Tally, Tally], Tally]) -> None:
    """Counts and figures of two clients are added, the time is from the first frame to the last."""
    together = add(scored(0, 31, 1), scored(30, 61, 3))
    summary = together.summary()
    assert summary["frames"]["sent"] == 92
    assert summary["frames"]["scored"] == 90
    assert summary["error_px"]["mean"] == pytest.approx((30 * 1 + 60 * 3) / 90)
    assert summary["error_px"]["max"] == pytest.approx(3)
    assert together.duration_s == pytest.approx(3)
    assert together.rejected == 2


def test_merge_leaves_the_other_one_as_it_was() -> None:
    """A tally that is added to another can go on counting."""
    other = scored(0, 11, 1)
    before = other.summary()
    ours = Tally()
    ours.merge(other)
    ours.merge(other)
    assert other.summary() == before
    assert ours.frames["sent"] == 22


def test_report_that_is_said_again_counts_once():
    """Messages of several reports settle each frame once, whichever of them are lost, and in whatever order."""
    for lost in range(8):
        ledger = Ledger(lambda _: None)
        for k in range(60):
            ledger.sent(new_frame(k))
        settled = []
        for k in range(7, 60):
            reports = tuple(Missed(stamp(each, FPS)) for each in range(k - 7, k + 1))
            if k % 8 != lost:
                settled += ledger.report(Reports(reports), k / FPS)
        assert len({each.k for each in settled}) == len(settled)
        assert len(settled) >= 58
        assert ledger.tally.frames["missed"] == len(settled)
        assert ledger.tally.frames["unmatched"] == 0
        assert ledger.tally.repeated > 300


def test_report_that_is_said_again_makes_nothing_truer():
    """Which frames are meant is not decided sooner because the same few reports come again and again."""
    ledger = Ledger(lambda _: None)
    for k in range(60):
        ledger.sent(new_frame(k))
    for _ in range(50):
        assert ledger.report(Reports((Missed(stamp(1, FPS)), Missed(stamp(2, FPS)))), 2.0) == []


# --- A film that others are shown ----------------------------------------------------------------


def test_ledger_of_who_joins_a_film_begins_at_the_first_report() -> None:
    """What was shown before the first frame that is reported is nobody's loss; from there on every frame counts."""
    left: list[Frame] = []
    ledger = Ledger(still, left.append)
    ledger.begin_at_first_report()
    for k in range(100):
        ledger.sent(new_frame(k))
    assert ledger.tally.frames["sent"] == 0
    for k in (*range(60, 80), *range(85, 100)):
        ledger.report(Found(stamp(k, FPS) + 77, 100, 100), 4.0)
    ledger.report(Missed(stamp(59, FPS) + 77), 4.0)
    ledger.close("bye")
    frames = ledger.tally.frames
    assert (frames["sent"], frames["scored"], frames["lost"], frames["unmatched"]) == (40, 35, 5, 0)
    assert sorted(frame.k for frame in left) == list(range(60, 100))
    assert ledger.tally.late == 0
    assert ledger.tally.duration_s == pytest.approx(39 / FPS)


def test_report_of_a_frame_that_others_get_after_the_end_is_of_no_interest() -> None:
    """One who sees the film elsewhere goes on reporting while we wait for its last answers: those are taken."""
    ledger, shift = Ledger(still), 999
    known(ledger, 8, shift)
    for k in range(8, 12):
        ledger.sent(new_frame(k))
    ledger.stop()
    for k in range(12, 28):
        assert ledger.report(Skipped(stamp(k, FPS) + shift), k / FPS) == []
    for k in range(8, 12):
        (frame,) = ledger.report(Found(stamp(k, FPS) + shift, 100, 100), 1.0)
        assert frame.k == k
    ledger.report(Found(stamp(3, FPS) + shift + 500, 100, 100), 1.0)  # no frame's, and not a later one
    ledger.close("bye")
    counts = ledger.tally.frames
    assert (counts["sent"], counts["scored"], counts["unmatched"]) == (12, 12, 1)


def test_ledger_of_who_never_reports_a_frame_is_empty() -> None:
    """Who says nothing of a film that others are shown, or nothing that fits, has lost none of it."""
    ledger = Ledger(still)
    ledger.begin_at_first_report()
    for k in range(1000):
        ledger.sent(new_frame(k))
        ledger.report(Found(k * 1001, 100, 100), k / FPS)
    ledger.close("bye")
    assert ledger.tally.frames["sent"] == ledger.tally.frames["lost"] == 0
    assert ledger.tally.frames["unmatched"] == 1000


# --- Frames that are named by number -------------------------------------------------------------


def watched(count: int = 5) -> Ledger:
    """Return the ledger of one who sees elsewhere what others are shown, with so many frames."""
    ledger = Ledger(still)
    ledger.begin_at_first_report()
    for k in range(count):
        ledger.sent(new_frame(k))
    return ledger


def test_report_by_number_needs_no_pattern() -> None:
    """One report settles the very frame that it names, whatever the client calls it by; a second one is repeated."""
    ledger = watched()
    (frame,) = ledger.report(Named(2, True, Found(777, 103, 104)), 1.0)
    assert (frame.k, frame.error_px, frame.reported) == (2, 5.0, 777)
    assert frame.latency_ms == pytest.approx(1000 - 2000 / FPS)
    assert ledger.report(Named(2, True, Found(778, 200, 200)), 1.1) == []
    assert ledger.report(Named(3, True, Missed(779)), 1.1)[0].state is State.MISSED
    assert ledger.tally.repeated == 1
    assert ledger.tally.frames["sent"] == 3  # the first two were over when it joined


@pytest.mark.parametrize("k", [5, 2**16, 2**40])
def test_report_by_a_number_that_was_not_sent_is_unmatched(k: int) -> None:
    """What names no frame of the last seconds is never scored, and counts as astray."""
    ledger = watched()
    assert ledger.report(Named(k, True, Found(1, 100, 100)), 1.0) == []
    assert ledger.tally.frames["unmatched"] == ledger.strays == 1
    ledger.report(Named(4, True, Found(1, 100, 100)), 1.0)
    assert ledger.strays == 0


def test_report_by_number_past_the_deadline_is_unmatched() -> None:
    """A frame that has left the ledger is named by nothing any more."""
    ledger = watched(1)
    ledger.sent(new_frame(1000, drawn=1000 / FPS))
    assert ledger.report(Named(0, True, Found(1, 100, 100)), 34.0) == []
    assert ledger.tally.frames["unmatched"] == 1


def test_report_of_a_blurred_sight_has_a_latency_and_no_error() -> None:
    """Where another frame's ghost may pull the ball, only the time counts."""
    ledger = watched()
    (frame,) = ledger.report(Named(1, False, Found(1, 150, 100)), 1.0)
    assert (frame.state, frame.error_px, frame.live_error_px) == (State.SCORED, None, None)
    summary = ledger.tally.summary()
    assert (summary["error_px"], summary["frames"]["scored"], summary["unjudged"]) == (None, 1, 1)
    assert total((ledger.tally, ledger.tally)).summary()["unjudged"] == 2
    assert summary["latency_ms"]["max"] == pytest.approx(1000 - 1000 / FPS)


def test_report_of_a_frame_after_the_end_is_of_no_interest() -> None:
    """What is shown to others after this client's end is neither entered nor unmatched; what never was, is."""
    ledger = watched()
    ledger.stop()
    assert ledger.report(Named(7, True, Found(1, 100, 100)), 1.0) == []
    assert ledger.tally.frames["unmatched"] == 0


def test_watched_counts_are_told_in_the_summary() -> None:
    """What was read in the pictures is told as the client counts it, and added up over clients."""
    ledger, other = watched(), watched()
    for each in (ledger, other):
        each.report(Watched(10, 4, 1, 0, 0, 0), 0.5)
        each.report(Watched(20, 8, 2, 1, 1, 0), 1.0)
    assert ledger.tally.summary()["watched"] == {
        "pictures": 20, "again": 8, "unread": 2, "mixed": 1, "torn": 1, "foreign": 0,
    }  # fmt: skip
    assert total((ledger.tally, other.tally)).summary()["watched"]["pictures"] == 40
