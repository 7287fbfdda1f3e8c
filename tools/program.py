"""A program that runs beside us, watched by what it prints, and gone when its with-block is left."""

import contextlib
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from tools.procfs import ROOT, children

PATIENCE = 120.0  # s; generous, for machines that are busy with other things
SCORED = r"^sent \d+ .*\bscored (\d+)"  # what a server prints of all clients together, now and then


class ProgramError(Exception):
    """A program did not do what was waited for; the text has all that it printed."""


class Program:
    """A Python program that runs, with what it has printed so far, stderr included.

    Use it as `with Program("server.py", "--once") as server`; it is killed at the end of the block if it still runs.

    Args:
        command: what follows the interpreter: a file of ours, or -m and a module, and its arguments.
        prefix: what to run it with, such as another network's namespace.
        interpreter: what runs it: ours, or that of another language.
    """

    def __init__(
        self, *command: object, prefix: tuple[str, ...] = (), interpreter: tuple[str, ...] = (sys.executable, "-u")
    ) -> None:
        self.lines: list[str] = []
        self._grown = threading.Condition()
        self._ended = False
        self.process = subprocess.Popen(
            [*prefix, *interpreter, *map(str, command)],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.pid = self.process.pid
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def output(self) -> str:
        """Return all that it has printed."""
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
        """Wait until so many lines match a pattern, the first `after` lines left out, and return them.

        Raises:
            ProgramError: it ended without, or they did not come within PATIENCE.
        """
        wanted = re.compile(pattern)

        def matching() -> list[str]:
            return [line for line in self.lines[after:] if wanted.search(line)]

        with self._grown:
            self._grown.wait_for(lambda: self._ended or len(matching()) >= count, PATIENCE)
        found = matching()
        if len(found) < count:
            raise ProgramError(f"{len(found)} of {count} lines match {pattern!r} in:\n{self.output}")
        return found

    def wait_for_new_scores(self, count: int = 2) -> None:
        """Wait until a server has scored so many frames more than when it next tells how many it has scored.

        The lines tell of all that was ever scored, so that some are told proves nothing of now.

        Raises:
            ProgramError: it ended, or they did not come within PATIENCE.
        """

        def scored() -> int:
            return int(re.findall(SCORED, self.wait_for(SCORED, after=len(self.lines))[-1])[0])

        first = scored()
        deadline = time.monotonic() + PATIENCE
        while scored() < first + count:
            if time.monotonic() > deadline:
                raise ProgramError(f"nothing new is scored after {first} in:\n{self.output}")

    def wait(self, patience: float = PATIENCE) -> int:
        """Wait for its end and return its exit status.

        Args:
            patience: s.

        Raises:
            ProgramError: it does not end.
        """
        try:
            status = self.process.wait(patience)
        except subprocess.TimeoutExpired:
            raise ProgramError(f"it does not end; it has printed:\n{self.output}") from None
        self._reader.join(PATIENCE)
        return status

    def end(self, number: int = signal.SIGINT) -> int:
        """Send it a signal, wait for its end, and return its exit status."""
        self.process.send_signal(number)
        return self.wait()

    def children(self) -> list[int]:
        """Return the process ids of its children."""
        return children(self.pid)

    def close(self) -> None:
        """Kill it if it still runs. Does nothing the second time."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()


@contextlib.contextmanager
def run_folder(keep: Path | None) -> Iterator[Path]:
    """Give the folder of a run: the one in which it stays, or one that goes again."""
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep
        return
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def kept_summary(folder: Path, keep: Path | None) -> tuple[object, ...]:
    """Return the server's option that writes summary.json into a run's folder, and with a run that stays all else."""
    return ("--summary", folder / "summary.json") if keep is None else ("--out", folder)
