"""What the link of the lab does to packets: pure, no namespaces."""

import itertools
import shutil

import pytest

from tools import netlab
from tools.lab import QUEUE, Direction, Impairment
from tools.netlab import FAULTS

PERFECT = Impairment(loss=0, delay=0, jitter=0, rate=0)


def lost(impairment: Impairment, count: int, seed: str = "1") -> list[bool]:
    """Return which of `count` packets, 10 ms apart, are lost."""
    direction = Direction(impairment, seed)
    return [direction.landing(1000, k / 100) is None for k in range(count)]


def bursts(losses: list[bool]) -> list[int]:
    """Return how long each run of losses is."""
    return [len(list(run)) for is_lost, run in itertools.groupby(losses) if is_lost]


@pytest.mark.parametrize("burst", [1, 3, 10])
@pytest.mark.parametrize("loss", [0.01, 0.05, 0.5])
def test_loss_is_the_share_that_was_asked_for_in_bursts_of_that_length(loss: float, burst: float):
    """Over many packets, as many are lost as the loss says, as many in a row as the burst says."""
    losses = lost(PERFECT._replace(loss=loss, burst=burst), 200_000)
    lengths = bursts(losses)
    assert sum(losses) / len(losses) == pytest.approx(loss, rel=0.15)
    assert sum(lengths) / len(lengths) == pytest.approx(max(burst, 1 / (1 - loss)), rel=0.1)


def test_nothing_is_lost_without_loss_and_everything_with_all_of_it():
    """The ends of the scale."""
    assert not any(lost(PERFECT, 1000))
    assert all(lost(PERFECT._replace(loss=1), 1000)[1:])


def test_run_is_repeated_by_its_seed():
    """The same seed loses the same packets, another one others."""
    bad = PERFECT._replace(loss=0.1, burst=3)
    assert lost(bad, 1000) == lost(bad, 1000)
    assert lost(bad, 1000) != lost(bad, 1000, "2")


def test_fate_of_a_packet_does_not_depend_on_what_it_is():
    """Packet n meets the same fate whatever its size, its time, and the link's delay."""
    bad = PERFECT._replace(loss=0.1)
    slow = Direction(bad._replace(delay=0.05, jitter=0.01), "1")
    assert [slow.landing(17 * k, k * k) is None for k in range(500)] == lost(bad, 500)


def test_delay_lies_within_its_jitter():
    """A packet lands after the delay, give or take the jitter."""
    direction = Direction(PERFECT._replace(delay=0.05, jitter=0.01), "1")
    delays = [landing - k for k in range(1000) if (landing := direction.landing(1000, k)) is not None]
    assert 0.04 <= min(delays) < 0.042
    assert 0.058 < max(delays) <= 0.06


def test_narrow_link_delays_and_then_loses_what_it_cannot_take():
    """At twice the rate the queue grows up to its end, and half is lost from then on."""
    direction = Direction(PERFECT._replace(rate=50_000), "1")
    landings = [direction.landing(1000, k / 100) for k in range(1000)]
    waits = [landing - k / 100 for k, landing in enumerate(landings) if landing is not None]
    assert max(waits) == pytest.approx(QUEUE, abs=0.03)
    assert sum(landing is None for landing in landings[100:]) == pytest.approx(450, abs=10)


def test_each_row_stands_beside_its_link_without_loss():
    """The link to compare with has the same delay and rate, and loses nothing; it is its own."""
    for fault in FAULTS:
        calm = fault.calm()
        assert (calm.loss, calm.dark) == (0, 0)
        assert fault.beside or (calm.delay, calm.jitter, calm.rate) == (fault.delay, fault.jitter, fault.rate)
        assert calm.beside == fault.beside
        assert calm.calm() == calm


def test_media_server_cannot_be_measured_without_node(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """What is missing is told in one line, with the packages that have it."""
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert netlab.main(["--media-server", "--seconds", "1"]) == 1
    assert capsys.readouterr().err == "netlab.py: error: no node: Debian's packages nodejs and npm\n"


def test_netlab_refuses_links_that_there_are_not(capsys: pytest.CaptureFixture[str]):
    """A name that no link has is wrong usage, and told with the names that there are, before anything runs."""
    with pytest.raises(SystemExit) as ending:
        netlab.main(["--only", "5 % loss", "--only", "90 kbit"])
    assert ending.value.code == 2
    told = capsys.readouterr().err
    assert "--only: '90 kbit'" in told
    assert all(fault.name in told for fault in FAULTS)
