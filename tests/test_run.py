"""Promises of what `make run` does: both programs together, one status, and a reason."""

import socket
import subprocess
import sys

import pytest

from tools.procfs import ROOT, free_port


def run(*args: object) -> subprocess.CompletedProcess[str]:
    """Run both programs with these options and return how it ended."""
    command = [sys.executable, "-m", "tools.run", *map(str, args)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_run_ends_well_when_coordinates_were_scored():
    """Status 0, and nothing on stderr, where the ball was found."""
    done = run("--duration", 2, "--signaling-port", free_port(), "--view", "none")
    assert (done.returncode, done.stderr) == (0, "")
    assert "error, px" in done.stdout


def test_run_fails_when_nothing_was_scored():
    """A loop in which the ball was never found is not a good one: status 1, and why, last."""
    done = run("--duration", 2, "--signaling-port", free_port(), "--view", "none", "--color", "magenta")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "make run: nothing was scored"


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
