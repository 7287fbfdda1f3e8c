"""The log of a program that keeps something in its place on the terminal: a panel, or a line that lives."""

import contextlib
import io
import logging
from collections.abc import Callable, Iterator


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


@contextlib.contextmanager
def log_to(tell: Callable[[str], None]) -> Iterator[None]:
    """Hand over what is logged to the terminal, line by line, for the length of a block.

    What is logged elsewhere, into a file or a pipe, goes there as before.
    """
    handlers = [each for each in logging.getLogger().handlers if isinstance(each, logging.StreamHandler)]
    streams = [(handler, handler.stream) for handler in handlers if handler.stream.isatty()]
    for handler, _ in streams:
        handler.setStream(_Lines(tell))
    try:
        yield
    finally:
        for handler, stream in streams:
            handler.setStream(stream)
