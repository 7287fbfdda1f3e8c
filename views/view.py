"""One view's process: started, fed, noticed when it ends, stopped."""

import asyncio
import contextlib
import signal
from collections import deque
from collections.abc import Callable
from multiprocessing.context import SpawnProcess
from typing import Any

from common.processes import SharedImage, context, share, signals_blocked, wait_or_kill
from views.screens import Closed, Failed, Picture, Ready, run_view
from views.sightings import Sight

STOP_TIMEOUT = 1.0  # s for a view to end when it is asked to


class View:
    """One view's process: starts it, feeds it, notices its end, stops it.

    Args:
        name: what a person calls it.
        target: what runs in the process, with a connection and `args`.
        on_end: called when the process has ended of its own accord, with why; None means that it was closed.
        on_jpeg: called with the JPEGs that it makes.
        backlog: pictures that may wait for it; the oldest gives way.
        patience: s for it to end when it is asked to.
    """

    def __init__(
        self,
        name: str,
        target: Callable[..., None],
        *args: Any,
        on_end: Callable[["View", str | None], None],
        on_jpeg: Callable[[bytes], None] = lambda _: None,
        backlog: int = 1,
        patience: float = STOP_TIMEOUT,
    ) -> None:
        self.name = name
        self.shown = self.passed_over = 0  # pictures
        self.came_up = False
        self.started = asyncio.Event()  # it is ready for pictures, or has ended
        self._idle = asyncio.Event()  # and there is none for it
        self._on_end, self._on_jpeg, self._patience = on_end, on_jpeg, patience
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Sight] = deque()
        self._backlog = backlog
        self._ready = False
        self._image: SharedImage | None = None
        self._why: str | None = None
        self._closed_by_person = False
        self._connection, theirs = context.Pipe()
        self._process: SpawnProcess | None = context.Process(
            target=run_view, args=(target, theirs, *args), name=name, daemon=True
        )
        with signals_blocked():
            self._process.start()
        theirs.close()  # so that the connection ends when the process does
        self._loop.add_reader(self._connection, self._on_reply)

    @property
    def alive(self) -> bool:
        """Return whether its process is there."""
        return self._process is not None

    def offer(self, sight: Sight) -> None:
        """Show a frame, when the view is ready for it and if no newer one is there by then."""
        if self._process is None:
            return
        self._waiting.append(sight)
        if len(self._waiting) > self._backlog:
            self._waiting.popleft()
            self.passed_over += 1
        self._idle.clear()
        self._feed()

    def _feed(self) -> None:
        if not self._ready:
            return
        if not self._waiting:
            self._idle.set()
            return
        sight = self._waiting.popleft()
        self._image = share(sight.seen, self._image)
        self._ready = False
        self.shown += 1
        with contextlib.suppress(ConnectionError):  # it died: its end of the connection tells
            self._connection.send(Picture(sight.pts, sight.figures, sight.trail, self._image))  # type: ignore[arg-type]  # see SharedImage

    def _on_reply(self) -> None:
        """Take what the process says; a message is short, so all of it is there."""
        try:
            reply = self._connection.recv()
        except (EOFError, ConnectionError):
            self._on_death()
            return
        match reply:
            case Ready(size):
                if size:
                    assert self._image is not None
                    self._on_jpeg(self._image.array.reshape(-1)[:size].tobytes())
                self._ready = self.came_up = True
                self.started.set()
                self._feed()
            case Closed():
                self._closed_by_person = True
            case Failed(reason):
                self._why = reason

    def _on_death(self) -> None:
        status = self._drop()
        self.started.set()
        self._idle.set()
        if self._closed_by_person:
            self._on_end(self, None)
        else:
            self._on_end(self, self._why or f"its process ended with {_describe(status)}")

    def _drop(self) -> int | None:
        """Reap the process and free what was shared with it; return its exit status."""
        process, self._process = self._process, None
        if process is None:
            return None
        self._loop.remove_reader(self._connection)
        process.join()
        status = process.exitcode
        process.close()
        self._connection.close()
        self._waiting.clear()
        if self._image is not None:
            self._image.close()
            self._image = None
        return status

    async def close(self) -> None:
        """End the process: let it show what waits, ask it, wait, and kill it if it does not listen."""
        if self._process is None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._patience):
                await self._idle.wait()
        if self._process is None:
            return
        self._loop.remove_reader(self._connection)
        with contextlib.suppress(ConnectionError):
            self._connection.send(None)
        await wait_or_kill(self._process, self._patience)
        self._drop()


def _describe(status: int | None) -> str:
    """Return how a process ended, from its exit status."""
    return signal.Signals(-status).name if status is not None and status < 0 else f"status {status}"
