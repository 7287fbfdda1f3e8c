"""One view's process: started, fed, noticed when it ends, started again where that makes sense, stopped."""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable
from typing import Any

from common.processes import Child, ChildState, SharedImage, share
from views.screens import Closed, Failed, Idle, Picture, run_view
from views.sightings import Sight

logger = logging.getLogger(__name__)

STOP_TIMEOUT = 1.0  # s for a view to end when it is asked to
PICTURE_PATIENCE = 1.25  # s for a picture, by a view that is started again; see common.processes.Child


class View:
    """One view's process: starts it, feeds it, notices its end, stops it.

    Attributes:
        restarts: how often it was started again.

    Args:
        name: what a person calls it.
        target: what runs in the process, with a connection and `args`.
        on_end: called when the process has ended for good and of its own accord, with why; None means that a person
            has closed it.
        on_jpeg: called with the JPEGs that it makes.
        backlog: pictures that may wait for it; the oldest gives way.
        patience: s for it to end when it is asked to.
        keep: whether it is started again when it dies or hangs.
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
        keep: bool = False,
    ) -> None:
        self.name = name
        self.alive = True  # it is there, or will be again
        self.shown = self.passed_over = 0  # pictures
        self.restarts = 0
        self.started = asyncio.Event()  # it is ready for pictures, or has ended
        self._idle = asyncio.Event()  # and there is none for it
        self._on_end, self._on_jpeg, self._patience = on_end, on_jpeg, patience
        self._keep = keep
        self._waiting: deque[Sight] = deque()
        self._backlog = backlog
        self._image: SharedImage | None = None
        self._why: str | None = None
        self._closed_by_person = False
        self._child = Child(
            name,
            run_view,
            lambda: (target, *args),
            self._on_reply,
            self._on_death,
            duplex=True,
            patience=PICTURE_PATIENCE if keep else None,
        )
        self._child.start()

    @property
    def came_up(self) -> bool:
        """Return whether it has been ready for a picture."""
        return self._child.came_up

    @property
    def pid(self) -> int | None:
        """Return its process id, or None while it is not there."""
        return self._child.pid

    @property
    def reason(self) -> str | None:
        """Return why it cannot go on, if it has said so itself."""
        return self._why

    def offer(self, sight: Sight) -> None:
        """Show a frame, when the view is ready for it and if no newer one is there by then."""
        if not self.alive:
            return
        self._waiting.append(sight)
        if len(self._waiting) > self._backlog:
            self._waiting.popleft()
            self.passed_over += 1
        self._idle.clear()
        self._feed()

    def _feed(self) -> None:
        if self._child.state is not ChildState.IDLE:
            return
        if not self._waiting:
            self._idle.set()
            return
        sight = self._waiting.popleft()
        image, self._image = self._image, None
        try:
            self._image = share(sight.seen, image)
        except OSError as error:
            self._why = f"no shared memory for a picture: {error.strerror or error}"
            self._child.connection.send(None)
            return
        self._child.begin()
        self.shown += 1
        with contextlib.suppress(ConnectionError):  # it died: its sentinel tells
            self._child.connection.send(Picture(sight.pts, sight.figures, sight.trail, self._image))  # type: ignore[arg-type]  # see SharedImage

    def _on_reply(self) -> None:
        """Take what the process says; a message is short, so all of it is there."""
        match self._child.connection.recv():
            case Idle(size):
                if size:
                    assert self._image is not None
                    self._on_jpeg(self._image.array.reshape(-1)[:size].tobytes())
                self._child.done()
                self.started.set()
                self._feed()
            case Closed():
                self._closed_by_person = True
            case Failed(reason):
                self._why = reason

    def _on_death(self, how: str) -> None:
        self._free_image()
        if self._keep and self._why is None and self._child.restart():
            self.restarts += 1
            logger.warning("%s: %s; started again", self.name, how)
            return
        self._end()
        self._on_end(self, None if self._closed_by_person else self._why or how)

    def _end(self) -> None:
        self.alive = False
        self._waiting.clear()
        self._free_image()
        self.started.set()
        self._idle.set()

    def _free_image(self) -> None:
        image, self._image = self._image, None
        if image is not None:
            image.close()

    async def close(self) -> None:
        """End the process: let it show what waits, ask it, wait, and kill it if it does not listen."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._patience):
                await self._idle.wait()
        await self._child.close(lambda: self._child.connection.send(None), self._patience)
        self._end()
