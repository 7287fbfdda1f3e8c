"""A wall clock that is set in mid-session: nothing is lost, no figure changes, and both programs end in time."""

import shutil
import subprocess
import time
from pathlib import Path

import pytest

from support.programs import read_summary, run
from tools.procfs import free_port

TRANSPORTS = ("media", "datachannel", "tcp")
YEAR = 31_557_600  # s

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler, for a clock that can be set"),
]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the library that sets a program's wall clock."""
    built = tmp_path_factory.mktemp("skew") / "skew.so"
    source = Path(__file__).parent / "support" / "skew.c"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", built, source, "-ldl"], check=True)
    return built


def skewed(library: Path, skew: Path) -> tuple[str, ...]:
    """Return what to put before a command so that its wall clock is wrong by the seconds that a file says."""
    return "env", f"LD_PRELOAD={library}", f"SKEW={skew}"


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("whose", ["server", "client"])
def test_a_clock_that_is_set_changes_nothing(tmp_path: Path, library: Path, transport: str, whose: str):
    """Forward by a day and a year, back by ten: every frame is accounted for as before, and both end when asked."""
    path, skew, right = tmp_path / "s.json", tmp_path / "skew", tmp_path / "right"
    port = free_port()
    shared = ("--signaling-port", port, "--transport", transport)
    clocks = {name: skewed(library, skew if name == whose else right) for name in ("server", "client")}
    with (
        run("server.py", *shared, "--once", "--summary", path, prefix=clocks["server"]) as serving,
        run("client.py", *shared, "--view", "none", prefix=clocks["client"]) as client,
    ):
        serving.wait_for_new_scores()
        for seconds in (3600, 86_400, YEAR, -10 * YEAR, 0):
            skew.write_text(str(seconds))
            serving.wait_for_new_scores()
        skew.write_text(str(YEAR))
        assert client.end() == 0
        assert serving.wait() == 0
        assert "Traceback" not in serving.output + client.output
    summary = read_summary(path)
    assert summary["frames"]["unmatched"] == summary["frames"]["lost"] == 0
    assert [each["end"] for each in summary["clients"]] == ["bye"]
    assert summary["duration_s"] < 1000


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("whose", ["server", "client"])
def test_a_clock_that_jumps_every_second_changes_nothing(tmp_path: Path, library: Path, transport: str, whose: str):
    """It stands still, as it goes back by a second each second, and then leaps to and fro: every frame is scored."""
    path, skew, right = tmp_path / "s.json", tmp_path / "skew", tmp_path / "right"
    port = free_port()
    shared = ("--signaling-port", port, "--transport", transport)
    clocks = {name: skewed(library, skew if name == whose else right) for name in ("server", "client")}
    with (
        run("server.py", *shared, "--once", "--summary", path, prefix=clocks["server"]) as serving,
        run("client.py", *shared, "--view", "none", prefix=clocks["client"]) as client,
    ):
        serving.wait_for_new_scores()
        for seconds in (-1, -2, -3, -4, 3, -30, 300, -3000, 30_000, -300_000, 3_000_000):
            skew.write_text(str(seconds))
            time.sleep(1)  # what is tested: that it jumps so often
        serving.wait_for_new_scores()
        assert client.end() == 0
        assert serving.wait() == 0
        assert "Traceback" not in serving.output + client.output
    summary = read_summary(path)
    frames = summary["frames"]
    assert frames["unmatched"] == frames["lost"] == frames["missed"] == 0
    assert frames["scored"] + frames["skipped"] == frames["sent"] >= 200
    assert 0 < summary["latency_ms"]["p50"] <= summary["latency_ms"]["max"] < 3000  # no jump is in it
    assert summary["error_px"]["max"] < 0.5
    assert 10 < summary["duration_s"] < 300


@pytest.mark.parametrize("year", [-55, 14, 100])
def test_a_clock_that_is_wrong_from_the_start_changes_nothing(tmp_path: Path, library: Path, year: int):
    """In 1971, 2040 and 2126 as well, where some time stamps of RTCP and SCTP no longer fit."""
    path, skew = tmp_path / "s.json", tmp_path / "skew"
    skew.write_text(str(year * YEAR))
    port = free_port()
    prefix = skewed(library, skew)
    with (
        run("server.py", "--signaling-port", port, "--once", "--summary", path, prefix=prefix) as serving,
        run("client.py", "--signaling-port", port, "--view", "none", prefix=prefix) as client,
    ):
        serving.wait_for_new_scores(4)
        assert client.end() == 0
        assert serving.wait() == 0
        assert "Traceback" not in serving.output + client.output
    assert read_summary(path)["frames"]["unmatched"] == 0
