"""A browser as the client, as examples/browser.js has it: it finds the ball, and is scored."""

import csv
import os
import signal
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from support.programs import Program, read_summary, run
from tools.browser import Driver, be_client, run_browser
from tools.firefox import FIREFOX, run_firefox
from tools.lab import SERVER_ADDRESS, Lab
from tools.procfs import descendants, free_port

pytestmark = pytest.mark.browser

BROWSERS: dict[str, Callable[[Path], Any]] = {"chromium": run_browser, "firefox": run_firefox}


@contextmanager
def film(folder: Path, browser: Driver, *options: object, lab: Lab | None = None) -> Iterator[Program]:
    """Run a server with a browser for its client, for the length of a block; its summary is in s.json then.

    Args:
        folder: of the summary.
        browser: the client.
        options: the server's.
        lab: where to run the two; on this machine if None.
    """
    host, port = (SERVER_ADDRESS, 1234) if lab else ("127.0.0.1", free_port())
    ours, theirs = (lab.server, lab.client) if lab else ((), ())
    where = ("--signaling-host", host, "--signaling-port", port, "--summary", folder / "s.json")
    with run("server.py", *where, "--once", "--print", "every", *options, prefix=ours) as serving:
        serving.wait_for("filming")
        with be_client(browser, host, port, theirs):
            yield serving
        assert serving.wait() == 0


@pytest.mark.parametrize(("name", "codec"), [("chromium", "vp8"), ("chromium", "h264"), ("firefox", "vp8")])
def test_browser_is_scored_against_the_frames_that_it_shows(tmp_path: Path, name: str, codec: str):
    """The ball is where a browser says it is, in the very frame that it says; and it is told so for every one."""
    if name == "firefox" and FIREFOX is None:
        pytest.skip("no firefox")
    with BROWSERS[name](tmp_path) as browser, film(tmp_path, browser, "--codec", codec) as serving:
        serving.wait_for("^client 1 ", 100)
        told = browser.execute_script("return scores")
    summary = read_summary(tmp_path / "s.json")
    assert summary["frames"]["unmatched"] == 0
    assert summary["error_px"]["p50"] < 0.05  # now and then a browser gives one frame the time stamp of its neighbour
    assert len({score["pts"] for score in told}) == len(told)
    assert max(score["scored"] for score in told) > 50
    assert all(score["error_px"] >= 0 and score["latency_ms"] > 0 for score in told)


@pytest.mark.slow
def test_browser_that_was_stopped_shows_the_newest_frames_again(tmp_path: Path):
    """After 5 s asleep it is not seconds late for the next half a minute, and keeps the best rate."""
    path = tmp_path / "l.csv"
    with run_browser(tmp_path) as browser, film(tmp_path, browser, "--csv", path) as serving:
        serving.wait_for("^client 1 ", 60)
        pids = descendants(browser.service.process.pid)
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(5)  # what is tested: that it is asleep for so long
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        serving.wait_for("^client 1 ", 90, after=len(serving.lines))
    with path.open() as file:
        latencies = [float(row["latency_ms"]) for row in csv.DictReader(file) if row["latency_ms"]]
    assert statistics.median(latencies[-60:]) < 500
    assert read_summary(path.with_name("s.json"))["clients"][0]["network"]["rung_changes"] == 0


@pytest.mark.hosts
@pytest.mark.parametrize("codec", ["vp8", "h264"])
def test_browser_recovers_from_loss(tmp_path: Path, codec: str):
    """What a browser has lost is sent again, or a key frame comes: it sees the ball move, and no ghosts."""
    with (
        Lab(loss=10, delay=20, jitter=5) as lab,
        run_browser(tmp_path, lab.client) as browser,
        film(tmp_path, browser, "--codec", codec, lab=lab) as serving,
    ):
        serving.wait_for("^client 1 ", 150)
    summary = read_summary(tmp_path / "s.json")
    assert summary["frames"]["unmatched"] == 0
    assert summary["error_px"]["p50"] < 0.05
