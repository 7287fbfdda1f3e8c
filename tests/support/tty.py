"""A terminal of a given size, and what a person reads on it: a pty, with pyte for its screen."""

import contextlib
import fcntl
import os
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from typing import Any

import pyte

from tools.procfs import ROOT
from tools.program import PATIENCE


class _Screen(pyte.Screen):
    """A screen with an alternate one, which pyte leaves out: what is on it is gone when it is left."""

    kept: "dict[int, Any] | None" = None

    def set_mode(self, *modes: int, **options: Any) -> None:
        if 1049 in modes and options.get("private"):
            self.kept, self.kept_cursor = dict(self.buffer), (self.cursor.x, self.cursor.y)
            self.buffer.clear()
        super().set_mode(*modes, **options)

    def reset_mode(self, *modes: int, **options: Any) -> None:
        if 1049 in modes and options.get("private") and self.kept is not None:
            self.buffer.clear()
            self.buffer.update(self.kept)
            self.cursor.x, self.cursor.y = self.kept_cursor
            self.kept = None
        super().reset_mode(*modes, **options)


class Tty:
    """A program that runs in a terminal.

    Args:
        columns: of the terminal.
        lines: of the terminal.
        command: what follows the interpreter: a file of ours and its arguments.
    """

    def __init__(self, columns: int, lines: int, *command: object, **environment: str) -> None:
        self._ours, theirs = os.openpty()
        self.screen = _Screen(columns, lines)
        self._stream = pyte.ByteStream(self.screen)
        self._set_size()
        self.process = subprocess.Popen(
            [sys.executable, *map(str, command)],
            cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
            env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24", **environment},
        )  # fmt: skip
        os.close(theirs)

    def _set_size(self) -> None:
        size = struct.pack("HHHH", self.screen.lines, self.screen.columns, 0, 0)
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, size)

    def resize(self, columns: int, lines: int) -> None:
        """Give the terminal another size, as a window manager does."""
        self.screen.resize(lines, columns)
        self._set_size()

    @property
    def text(self) -> str:
        """Return what stands on the screen, without empty lines at its end."""
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip()

    def wait_for(self, condition: Callable[[str], object]) -> str:
        """Read on until what stands on the screen is so, and return it."""
        until = time.monotonic() + PATIENCE
        while not condition(self.text):
            assert self._read(until - time.monotonic()), (
                f"the program has ended, or nothing came; there stands\n{self.text}"
            )
        return self.text

    def _read(self, patience: float) -> bool:
        """Read what comes; return whether something did."""
        if patience <= 0 or not select.select([self._ours], [], [], patience)[0]:
            return False
        try:
            data = os.read(self._ours, 65536)
        except OSError:  # the program has ended, and nothing is left
            return False
        self._stream.feed(data)
        return bool(data)

    def end(self) -> str:
        """Read until the program has ended; return what stands on the screen then."""
        until = time.monotonic() + PATIENCE
        while self._read(until - time.monotonic()):
            pass
        self.process.wait(PATIENCE)
        return self.text

    def close(self) -> None:
        """Kill the program if it still runs."""
        self.process.kill()
        self.process.wait()
        os.close(self._ours)


@contextlib.contextmanager
def in_terminal(columns: int, lines: int, *command: object, **environment: str) -> Iterator[Tty]:
    """Run a program of ours in a terminal, for the length of a with-block."""
    tty = Tty(columns, lines, *command, **environment)
    try:
        yield tty
    finally:
        tty.close()
