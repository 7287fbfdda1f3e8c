"""The log of a program that keeps something in its place on the terminal: a panel, or a line that lives."""

import asyncio
import contextlib
import io
import logging
import os
from collections.abc import Callable, Iterator

NOTES = "BALL_NOTES"  # in the environment: the descriptor from which lines come; see tools/run.py


class _Lines(io.TextIOBase):
    """A stream that hands over whole lines, without their ends."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._rest = ""

    def write(self, text: str) -> int:
        """Take text."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._tell(line)
        return len(text)

    def finish(self) -> None:
        """Hand over what was no whole line."""
        if self._rest:
            self.write("\n")


@contextlib.contextmanager
def log_to(tell: Callable[[str], None]) -> Iterator[None]:
    """Hand over what is logged to the terminal, line by line, for the length of a block.

    What is logged elsewhere, into a file or a pipe, goes there as before.
    """
    handlers = [each for each in logging.getLogger().handlers if isinstance(each, logging.StreamHandler)]
    streams = [(handler, handler.stream) for handler in handlers if handler.stream and handler.stream.isatty()]
    for handler, _ in streams:
        handler.setStream(_Lines(tell))
    try:
        yield
    finally:
        for handler, stream in streams:
            handler.setStream(stream)


class Notes:
    """Lines of a program that was started beside this one on the same terminal, which leaves it to this one.

    Args:
        tell: is told each line.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._lines = _Lines(tell)
        self._descriptor = int(os.environ[NOTES]) if NOTES in os.environ else None

    def open(self) -> None:
        """Tell what comes from now on, if there is anybody who says something."""
        if self._descriptor is not None:
            os.set_blocking(self._descriptor, False)
            asyncio.get_running_loop().add_reader(self._descriptor, self._read)

    def close(self) -> None:
        """Tell what has come by now, whole lines or not, and nothing more. Does nothing the second time."""
        if self._descriptor is not None:
            self._read()
            self._lines.finish()
            asyncio.get_running_loop().remove_reader(self._descriptor)
            self._descriptor = None

    def _read(self) -> None:
        assert self._descriptor is not None
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._descriptor, 65536):
                self._lines.write(data.decode(errors="replace"))
            asyncio.get_running_loop().remove_reader(self._descriptor)  # whoever spoke is gone
