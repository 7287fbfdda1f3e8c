"""Promises of what `make run` does: both programs together, one status, and a reason."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from common.asides import NOTES
from report.runs import read_runs
from support import programs
from support.tty import in_terminal
from tools import run as run_module
from tools.procfs import ROOT, free_port


def run(*args: object) -> subprocess.CompletedProcess[str]:
    """Run both programs with these options and return how it ended."""
    command = [sys.executable, "-m", "tools.run", *map(str, args)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def run_until(pattern: str, *options: object) -> tuple[int, str]:
    """Run both programs until the server prints such a line, let the client go, and return status and last line."""
    with programs.run("tools/run.py", "--signaling-port", free_port(), "--view", "none", *options) as both:
        both.wait_for(pattern)
        (client,) = [pid for pid in both.children() if b"client.py" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        os.kill(client, signal.SIGINT)
        return both.wait(), both.lines[-1]


def test_run_ends_well_when_coordinates_were_scored(tmp_path: Path):
    """Status 0 where the ball was found, and no complaint; the run's folder has what a report is made from."""
    status, last = run_until("scored [1-9]", "--out", tmp_path / "run")
    assert status == 0
    assert "make run" not in last
    (made,) = read_runs([tmp_path / "run"])
    assert len(made.frames) == made.summary["frames"]["sent"]
    assert "seed" in made.summary["settings"]["options"]


@pytest.mark.slow
def test_run_fails_when_nothing_was_scored():
    """A loop in which the ball was never found is not a good one: status 1, and why, last."""
    assert run_until("missed [1-9]", "--color", "magenta") == (1, "make run: nothing was scored\n")


def test_run_tells_which_program_failed_and_why():
    """The one that failed ends the other, and its last words come last."""
    done = run("--signaling-port", free_port(), "--view", "sideways")
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("make run: client.py ended with status 2: client.py: error: argument --view: 'sideways'")


def test_run_joins_nobody_who_is_there_already():
    """Where the port is taken, the server says so and the client is not started: it would join a stranger."""
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        done = run("--signaling-port", port, "--view", "none")
        stranger.setblocking(False)
        with pytest.raises(BlockingIOError):
            stranger.accept()
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("make run: server.py ended with status 1: server.py: error: --signaling-host 127.0.0.1")
    assert str(port) in last


@pytest.mark.slow
def test_run_tells_on_the_panel_of_the_server_what_the_client_says(tmp_path: Path):
    """In a terminal, which both would write on, the server has it: what the client says stands on its panel."""
    port, http = free_port(), free_port()
    options = ("--signaling-port", port, "--view", "web", "--http", http, "--out", tmp_path / "run")
    with in_terminal(80, 24, "-m", "tools.run", *options) as both:
        text = both.wait_for(lambda text: "error px" in text and "watching" in text)
        assert f"page: http://127.0.0.1:{http}/" in text
        assert text.splitlines()[0].startswith(f"filming at 127.0.0.1:{port}")
        os.killpg(both.process.pid, signal.SIGINT)  # as Ctrl-C does
        text = both.end()
    assert both.process.returncode == 0
    assert "no client" not in text, "the panel is gone"
    for once in ("page: http", "watching 127", "latency, ms", "client 1 from"):
        assert text.count(once) == 1, text
    assert re.search("^received [1-9].* frames", text, re.MULTILINE)


def test_run_loses_nothing_that_a_server_did_not_take():
    """What the server has not read when it ends is printed then, and what is said later at once."""
    notes = "notes = run.Notes(); notes.say('a\\n'); notes.close(); notes.close(); notes.say('b\\n')"
    program = f"import tools.run as run; {notes}"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stderr == "a\nb\n"
    assert NOTES == run_module.NOTES
