"""Waiting for one of two things, or before trying again; and tasks that do not fail in silence."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

T = TypeVar("T")

WELL_AFTER = 10.0  # s that a session has to last for the pauses between attempts to begin anew


async def unless(event: asyncio.Event, awaited: Coroutine[Any, Any, T]) -> T | None:
    """Return what `awaited` returns; or None, and cancel it, if the event is set before that."""
    task = asyncio.create_task(awaited)
    waiter = asyncio.create_task(event.wait())
    try:
        await asyncio.wait((task, waiter), return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        for each in (task, waiter):
            each.cancel()
        await asyncio.wait((task, waiter))


def start(coroutine: Coroutine[Any, Any, T], on_failure: Callable[[Exception], None]) -> asyncio.Task[T]:
    """Start a task whose failure its owner is told of: asyncio tells it when the task is forgotten, or never."""

    def on_done(task: asyncio.Task[T]) -> None:
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Exception):
            on_failure(error)

    task = asyncio.create_task(coroutine)
    task.add_done_callback(on_done)
    return task


async def wait_while(condition: Callable[[], bool], changed: asyncio.Event, patience: float) -> None:
    """Wait until a condition holds no longer, for `patience` seconds at most; `changed` is set when it may have."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(patience):
            while condition():
                changed.clear()
                await changed.wait()


def backoff(first: float, most: float) -> Iterator[float]:
    """Return the pauses (s) between attempts, without end: doubled each time, up to the most."""
    pause = first
    while True:
        yield pause
        pause = min(2 * pause, most)
