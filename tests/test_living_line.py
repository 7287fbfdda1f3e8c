"""living_line.py: what a client's terminal tells while it runs."""

import re
import signal

import pytest

from programs.living_line import LivingLine
from support.programs import run
from support.tty import in_terminal
from tools.procfs import free_port

COUNTS = {"received": 100, "sent": 98, "skipped": 2}


def test_line_tells_the_counts_the_latency_and_the_rate() -> None:
    """The rate is that of the last two seconds, the latency the median of the newest scores."""
    counts = dict(COUNTS)
    line = LivingLine(counts, lambda: True)
    assert line.line(10.0) == "received 100  found 98  skipped 2"
    for latency_ms in (3.0, 4.0, 90.0):
        line.on_latency(latency_ms)
    counts["received"] = 115
    assert line.line(10.5) == "received 115  found 98  skipped 2  4.0 ms  30.0 fps"
    for turn in range(1, 10):
        counts["received"] += 5
        told = line.line(10.5 + turn / 2)
    assert told.endswith("  10.0 fps")


def test_line_fits_60_columns() -> None:
    """Five hours of 30 frames a second in a bad network are no reason to wrap."""
    line = LivingLine({"received": 540_000, "sent": 539_990, "skipped": 10}, lambda: True)
    line.line(0.0)
    line.on_latency(123.4)
    assert len(line.line(1.0)) < 60


def test_line_is_empty_while_there_is_no_server() -> None:
    """What was so with the last server is not told as if it were still so."""
    here = True
    line = LivingLine(COUNTS, lambda: here)
    line.line(0.0)
    line.on_latency(4.0)
    here = False
    assert line.line(1.0) == ""
    here = True
    assert line.line(2.0) == "received 100  found 98  skipped 2"


@pytest.mark.slow
def test_client_in_a_terminal_has_a_line_that_lives() -> None:
    """It is there, it changes, it is one line, and at the end it is gone; the log stands above it."""
    port = free_port()
    with (
        run("server.py", "--signaling-port", port),
        in_terminal(60, 15, "client.py", "--signaling-port", port, "--view", "none", "-v") as finding,
    ):
        first = finding.wait_for(lambda text: re.search(r"^received .* ms .* fps$", text, re.MULTILINE))
        told = next(line for line in first.splitlines() if line.startswith("received"))
        text = finding.wait_for(lambda text: "received" in text and told not in text)
        assert text.count("received") == 1
        assert f"watching 127.0.0.1:{port}" in text
        finding.process.send_signal(signal.SIGINT)
        text = finding.end()
        assert finding.process.returncode == 0
        assert "fps" not in text
        assert re.search(r"^received \d+ frames, sent \d+ coordinates", text, re.MULTILINE)


@pytest.mark.slow
@pytest.mark.parametrize("columns", [(44, 44), (80, 30)])
def test_line_that_has_no_room_is_cut(columns: tuple[int, int]) -> None:
    """In a narrow terminal, or one that is made so, it is one line all the same, and leaves nothing behind."""
    port = free_port()
    with (
        run("server.py", "--signaling-port", port),
        in_terminal(columns[0], 15, "client.py", "--signaling-port", port, "--view", "none") as finding,
    ):
        finding.wait_for(lambda text: "received" in text)
        finding.resize(columns[1], 15)
        for _ in range(3):
            before = finding.text
            text = finding.wait_for(lambda text: text != before and "received" in text)  # noqa: B023  # called at once
        assert text.count("received") == 1
        assert text.splitlines()[-1].startswith("received")
        assert text.splitlines()[-1].endswith("…")


def test_client_in_a_simple_terminal_prints_lines() -> None:
    """Where a line cannot be written anew, none is."""
    with in_terminal(
        80, 24, "client.py", "--view", "none", "--wait", "0", "--signaling-port", free_port(), TERM="dumb"
    ) as it:
        assert "\x1b" not in it.end()
