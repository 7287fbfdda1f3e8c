"""Server and client on two hosts that only a TURN server reaches both."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.ice import SECRET as SECRET_VARIABLE
from support.programs import read_summary, run
from tools.turn import MIDDLE_ADDRESS, SECRET, SERVER_ADDRESS, Apart, Turn

pytestmark = [pytest.mark.turn, pytest.mark.hosts]

SERVE = ("server.py", "--signaling-host", SERVER_ADDRESS)
FIND = ("client.py", "--signaling-host", MIDDLE_ADDRESS, "--view", "none")


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch) -> Iterator[Apart]:
    """Give three hosts, and a secret for the TURN server in the middle."""
    monkeypatch.setenv(SECRET_VARIABLE, SECRET)
    with Apart() as hosts:
        yield hosts


def relay(apart: Apart, monkeypatch: pytest.MonkeyPatch, *options: str) -> Turn:
    """Return a TURN server in the middle, whose certificate the programs will trust."""
    turn = Turn(*options, address=MIDDLE_ADDRESS, prefix=apart.middle)
    monkeypatch.setenv("SSL_CERT_FILE", str(turn.ca))
    return turn


@pytest.mark.parametrize(
    ("way", "sides", "pair"),
    [
        ("udp", "both", ("relay", "relay", "udp")),
        ("tcp", "both", ("relay", "relay", "tcp")),
        ("tls", "both", ("relay", "relay", "tls")),
        ("udp", "server", ("relay", "host", "udp")),
        ("udp", "client", ("host", "relay", None)),
    ],
)
def test_film_and_coordinates_go_through_a_relay(
    apart: Apart,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    way: str,
    sides: str,
    pair: tuple[str, str, str | None],
) -> None:
    """Over UDP, TCP and TLS, and where one side alone has it; the way is told, and no secret in any log."""
    path = tmp_path / "s.json"
    with relay(apart, monkeypatch) as turn:
        options = {
            each: ("--ice-server", turn.url(way)) if sides in (each, "both") else () for each in ("server", "client")
        }
        only = ("--relay-only",) if sides == "both" else ()
        serve, find = (*SERVE, *options["server"], *only, "-vv"), (*FIND, *options["client"], *only, "-vv")
        with (
            run(*serve, "--once", "--summary", path, prefix=apart.server) as serving,
            run(*find, prefix=apart.client) as finding,
        ):
            finding.wait_for("^watching .* by ")
            serving.wait_for_new_scores()
            assert finding.end() == 0
            assert serving.wait() == 0
    summary = read_summary(path)
    assert tuple(summary["clients"][0]["pair"].values()) == pair
    assert summary["error_px"]["p99"] < 1
    assert SECRET not in serving.output + finding.output + path.read_text()
    assert ":ball'" not in serving.output + finding.output  # the name that is made of it
    assert "relays no more" not in serving.output + finding.output


def test_a_wrong_secret_is_told_by_both_and_is_nobody_elses_fault(
    apart: Apart, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who may go by a relay only, and is refused there, says so, by name, as the reason why there is no session."""
    monkeypatch.setenv(SECRET_VARIABLE, "south")
    with relay(apart, monkeypatch) as turn:
        options = ("--ice-server", turn.url(), "--relay-only")
        refused = rf"{turn.url().replace('?', '.')} gave no candidate: it refuses name and password"
        with (
            run(*SERVE, prefix=apart.server) as serving,
            run(*FIND, *options, "--wait", "3", prefix=apart.client) as finding,
        ):
            assert finding.wait() == 1
            finding.wait_for(refused)
            finding.wait_for("error: no session .* no way but a relay is wanted, and turn:.* gives none")
            assert serving.end() == 0
        with run(*SERVE, *options, prefix=apart.server) as serving, run(*FIND, prefix=apart.client) as finding:
            serving.wait_for(refused)
            serving.wait_for("ended: no way but a relay is wanted", 2)  # the client dials again
            assert finding.end() == 0
            assert serving.end() == 0


@pytest.mark.slow
@pytest.mark.parametrize("way", ["udp", "tls"])
def test_a_relay_that_is_killed_and_started_again_has_its_client_back(
    apart: Apart, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """The loss is told as a failure of that relay, and the two meet again as soon as it is there."""
    with relay(apart, monkeypatch) as turn:
        options = ("--ice-server", turn.url(way))
        with (
            run(*SERVE, *options, prefix=apart.server) as serving,
            run(*FIND, *options, prefix=apart.client) as finding,
        ):
            for meeting, pause in enumerate((0, 2, 8), start=1):
                finding.wait_for("^watching .*relay", meeting)
                serving.wait_for_new_scores()
                turn.kill()
                time.sleep(pause)
                turn.start()
                began = time.monotonic()
                finding.wait_for("^watching .*relay", meeting + 1)
                print(f"{way}, away for {pause} s: back after {time.monotonic() - began:.2f} s")
            said = "relays no more for us" if way == "udp" else "has closed its connection with us"
            told = serving.output + finding.output  # by whichever's relay it was
            assert f"{turn.url(way)} {said}" in told
            if way != "udp":  # who meets without a relay looks for it, where it is known at once that there is none
                assert f"{turn.url(way)} is there now" in told
            serving.wait_for_new_scores()
            assert finding.end() == 0
            assert serving.end() == 0


@pytest.mark.slow
@pytest.mark.parametrize("way", ["udp", "tls"])
def test_a_relay_that_is_gone_makes_nobody_wait(apart: Apart, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """Ctrl-C with a dead relay ends both programs, although the relay never says that it has heard it."""
    with relay(apart, monkeypatch) as turn:
        options = ("--ice-server", turn.url(way), "--relay-only")
        with (
            run(*SERVE, *options, prefix=apart.server) as serving,
            run(*FIND, *options, prefix=apart.client) as finding,
        ):
            serving.wait_for_new_scores()
            assert turn.process is not None
            turn.process.send_signal(signal.SIGSTOP)
            finding.wait_for("answers nothing any more")
            for program in (finding, serving):
                began = time.monotonic()
                assert program.end() == 0
                print(f"ended after {time.monotonic() - began:.2f} s")
                assert time.monotonic() - began < 30  # retransmissions to the dead relay take 63


@pytest.mark.slow
def test_short_lifetimes_at_the_relay_end_nothing(apart: Apart, monkeypatch: pytest.MonkeyPatch) -> None:
    """Allocations, channels, permissions and nonces of some seconds are renewed in time: nothing is lost."""
    short = ("--max-allocate-lifetime=15", "--channel-lifetime=15", "--permission-lifetime=15", "--stale-nonce=10")
    with relay(apart, monkeypatch, *short) as turn:
        options = ("--ice-server", turn.url(), "--relay-only")
        with (
            run(*SERVE, *options, prefix=apart.server) as serving,
            run(*FIND, *options, "--duration", "36", prefix=apart.client) as finding,
        ):
            assert finding.wait(120) == 0
            assert serving.end() == 0
        assert len(finding.wait_for("^watching ")) == 1
        assert "ended" not in finding.output
    lost = int(serving.wait_for(r"^client 1 from .*\blost (\d+)")[0].partition(" lost ")[2].split()[0])
    assert lost == 0
