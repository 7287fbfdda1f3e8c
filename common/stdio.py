"""stdout and stderr that can neither end a program nor hold it up.

What a program prints is for whoever reads it. A reader that has left (`| head`, a terminal that was closed) or
that does not read (`| less`, Ctrl-S) is no reason to stop serving anybody else.
"""

import contextlib
import io
import logging
import os
import sys
from collections.abc import Iterator
from typing import TextIO

from common.outflow import Outflow

logger = logging.getLogger(__name__)

PATIENCE = 1.0  # s at the end for a reader to take the rest


class _StandIn(io.TextIOBase):
    """Stands where a standard stream was.

    Args:
        original: the stream.
        told: whether it is told when the reader is gone.
    """

    def __init__(self, original: TextIO, told: bool) -> None:
        original.flush()
        self._original, self._told = original, told
        self._outflow: Outflow | None = Outflow(original.fileno())

    @property
    def encoding(self) -> str:  # type: ignore[override]  # typeshed has an attribute
        """Return the encoding of the stream."""
        return self._original.encoding

    def fileno(self) -> int:
        """Return the stream's descriptor."""
        return self._original.fileno()

    def isatty(self) -> bool:
        """Return whether it is a terminal."""
        return self._original.isatty()

    def writable(self) -> bool:
        """Return that it can be written to."""
        return True

    def write(self, text: str) -> int:
        """Write text, or let it go."""
        if self._outflow is not None:
            try:
                self._outflow.write(text.encode(self.encoding, "backslashreplace"))
            except OSError as error:
                self._lose(error)
        return len(text)

    def finish(self) -> None:
        """Write what waits, and say so if something was left out."""
        if self._outflow is None:
            return
        try:
            if not self._outflow.finish(PATIENCE) and self._told:
                logger.warning("stdout was not read: not all was printed")
        except OSError as error:
            self._lose(error)

    def _lose(self, error: OSError) -> None:
        """Go on without a reader."""
        self._outflow = None
        with contextlib.suppress(OSError):  # what Python itself still flushes at the end goes nowhere
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
        if self._told:
            logger.warning("stdout is gone (%s): going on without printing", error.strerror)


@contextlib.contextmanager
def unhurried() -> Iterator[None]:
    """Let nobody who reads stdout or stderr, or does not, end or hold up this program during the block."""
    _fill_gaps()
    with contextlib.ExitStack() as stack:
        for name in ("stderr", "stdout"):
            stream = getattr(sys, name)
            if stream is None:  # it was closed from the start: print says nothing then
                continue
            try:
                stand_in = _StandIn(stream, told=name == "stdout")
            except io.UnsupportedOperation:  # it has no descriptor, and so nobody to wait for
                continue
            stack.callback(setattr, sys, name, stream)
            stack.callback(stand_in.finish)
            setattr(sys, name, stand_in)
        yield


def _fill_gaps() -> None:
    """Let what was closed from the start lead nowhere, or the next socket would have its number."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # it takes the lowest number that is free
