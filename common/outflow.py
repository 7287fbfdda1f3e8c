"""Writing to who may not read: a pipe, a terminal, a FIFO; without ever waiting for the reader."""

import os
import select
import time

CHUNK = 512  # bytes that a pipe or a terminal takes at once when it says that it takes some. Source: POSIX, PIPE_BUF
MAX_WAITING = 1 << 16  # bytes that wait for the reader at most


class Outflow:
    """Writes to a descriptor what it takes, and keeps the rest for the next time.

    Args:
        descriptor: where to write; it stays the caller's to close.
    """

    def __init__(self, descriptor: int) -> None:
        self.left_out = 0  # writes for which there was no room
        self._descriptor = descriptor
        self._waiting = bytearray()
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)

    def write(self, data: bytes) -> None:
        """Write data whole; or not at all, if too much waits already.

        Raises:
            OSError: the reader is gone, or the disk is full.
        """
        self._drain(0)
        if self._waiting and len(self._waiting) + len(data) > MAX_WAITING:
            self.left_out += 1
            return
        self._waiting += data
        self._drain(0)

    def finish(self, patience: float) -> bool:
        """Write what waits, for `patience` seconds at most; return whether all that was ever written is out.

        Raises:
            OSError: as for `write`.
        """
        deadline = time.monotonic() + patience
        self._drain(0)
        while self._waiting and (left := deadline - time.monotonic()) > 0:
            self._drain(left)
        return not self._waiting and not self.left_out

    def _drain(self, patience: float) -> None:
        """Write what the descriptor takes; wait so many seconds for the first time that it takes something."""
        while self._waiting and self._poll.poll(patience * 1000):
            del self._waiting[: os.write(self._descriptor, self._waiting[:CHUNK])]
            patience = 0
