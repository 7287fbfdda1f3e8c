"""Promises of what `make run` does: both programs together, one status, and a reason."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from report.runs import read_runs
from support import programs
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
