"""Runs server.py and client.py as a user does: as processes, watched by what they print."""

import json
import os
import re
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tools.procfs import ROOT, children

PATIENCE = 60.0  # s; generous, for machines that are busy with other things
SCORED = r"^sent \d+ .*\bscored (\d+)"  # what a server prints of all clients together, now and then


class Program:
    """A program of ours that runs, with what it has printed so far.

    Args:
        name: its file.
        args: its command line.
        prefix: what to run it with, such as another network's namespace.
    """

    def __init__(self, name: str, *args: object, prefix: tuple[str, ...] = ()) -> None:
        self.lines: list[str] = []
        self._grown = threading.Condition()
        self._ended = False
        self.process = subprocess.Popen(
            [*prefix, sys.executable, "-u", str(ROOT / name), *map(str, args)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    @property
    def output(self) -> str:
        """Return all that it has printed, stderr included."""
        return "".join(self.lines)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._grown:
                self.lines.append(line)
                self._grown.notify_all()
        with self._grown:
            self._ended = True
            self._grown.notify_all()

    def wait_for(self, pattern: str, count: int = 1, after: int = 0) -> list[str]:
        """Wait until so many lines match a pattern, the first `after` lines left out, and return them."""
        wanted = re.compile(pattern)

        def enough() -> bool:
            return self._ended or sum(bool(wanted.search(line)) for line in self.lines[after:]) >= count

        with self._grown:
            self._grown.wait_for(enough, PATIENCE)
        matching = [line for line in self.lines[after:] if wanted.search(line)]
        assert len(matching) >= count, f"{len(matching)} of {count} lines match {pattern!r} in:\n{self.output}"
        return matching

    def wait_for_new_scores(self, count: int = 2) -> None:
        """Wait until a server has scored so many frames more than when it next tells how many it has scored.

        The lines tell of all that was ever scored, so that some are told proves nothing of now.
        """
        first = len(self.lines)
        (line, *_) = self.wait_for(SCORED, after=first)
        match = re.search(SCORED, line)
        assert match is not None
        wanted = int(match[1]) + count

        def enough() -> bool:
            numbers = (re.search(SCORED, line) for line in self.lines[first:])
            return self._ended or any(number is not None and int(number[1]) >= wanted for number in numbers)

        with self._grown:
            assert self._grown.wait_for(enough, PATIENCE), f"nothing new is scored after {line!r} in:\n{self.output}"
        assert not self._ended, f"it ended in:\n{self.output}"

    def wait(self) -> int:
        """Wait for its end and return its exit status."""
        status = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return status

    def end(self, number: int = signal.SIGINT) -> int:
        """Send it a signal, wait for its end, and return its exit status."""
        self.process.send_signal(number)
        return self.wait()

    def children(self) -> list[int]:
        """Return the process ids of its children."""
        return children(self.process.pid)

    def close(self) -> None:
        """Kill it if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()


@contextmanager
def run(name: str, *args: object, prefix: tuple[str, ...] = ()) -> Iterator[Program]:
    """Run a program for the length of a block."""
    program = Program(name, *args, prefix=prefix)
    try:
        yield program
    finally:
        program.close()


def is_alive(pid: int) -> bool:
    """Return whether a process runs; one that has ended and is not reaped yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in {"Z", "X"}
    except FileNotFoundError:
        return False


def wait_until_gone(pid: int) -> None:
    """Wait until a process has ended, whosever child it is."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        readable, _, _ = select.select([descriptor], [], [], PATIENCE)
        assert readable, f"process {pid} did not end"
    finally:
        os.close(descriptor)


def read_summary(path: Path) -> dict[str, Any]:
    """Return a summary.json, checked to add up."""
    summary: dict[str, Any] = json.loads(path.read_text())
    for part in (summary, *summary["clients"]):
        frames = part["frames"]
        assert frames["sent"] == frames["scored"] + frames["missed"] + frames["skipped"] + frames["lost"]
    for name in ("sent", "scored", "missed", "skipped", "lost", "unmatched"):
        assert summary["frames"][name] == sum(client["frames"][name] for client in summary["clients"])
    return summary
