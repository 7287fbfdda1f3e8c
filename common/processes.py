"""What every process of ours needs: how it is started, gets an image, hangs, and ends.

A child is spawned, not forked: it inherits no socket (a forked one would keep the signaling connection open
after the client is gone) and no thread's lock. It imports the main program's file again.

    state     | what the process does                        | next
    ----------|----------------------------------------------|------------------------------------------------
    STARTING  | imports what it needs                        | IDLE when its owner says so
    IDLE      | waits for something to do                    | BUSY when it is given something
    BUSY      | does what it was given last                  | IDLE when its owner says so; killed when it takes
              |                                              | too long, where a limit was set
    GONE      | nothing: it is not there                     | STARTING
"""

import asyncio
import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from multiprocessing.queues import Queue
from multiprocessing.reduction import ForkingPickler
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

import numpy as np

from ball_track import Image, planes
from common.stopping import SIGNALS

FAILED_STARTS = 3  # in a row: a process that ends so often before it was ready is given up
RESTART_DELAY = 0.5  # s, after a start that failed
CHECK_INTERVAL = 0.25  # s between two looks at a process that is busy
START_PATIENCE = 30.0  # s to come up on a busy machine
SLOWER = 10  # times as long as usual may a task take

context = multiprocessing.get_context("spawn")


class ChildState(Enum):
    """What a process does; see the table at the top."""

    STARTING = "starting"
    IDLE = "idle"
    BUSY = "busy"
    GONE = "gone"


# --- In the parent -------------------------------------------------------------------------------


class Child:
    """A process of ours: started, fed, missed when it dies or hangs, started again, asked to end, killed.

    The owner says `begin` when it has given the process a task, and `done` when the process has said that it is
    ready for one, the first time included.

    Args:
        name: what a person calls it.
        target: what runs in it, with `arguments()` and, as its last one, its end of the connection.
        arguments: returns what it gets; called for each start, as what a dead one has shared may be locked for ever.
        on_message: called in the event loop when `connection` has something to be read, to read it; EOFError is fine.
        on_end: called when it has ended of its own accord, or could not be started, or was killed because it hung;
            with how, for people.
        duplex: whether it is told things by the connection, too.
        patience: s that a task may take, if they do not usually take a tenth of that; None: as long as it likes.
        start_patience: s for it to come up, and for the first task: nobody knows yet how long one takes.

    Attributes:
        state: what it does.
        connection: our end.
        came_up: whether it has been ready since it was started.
    """

    def __init__(
        self,
        name: str,
        target: Callable[..., None],
        arguments: Callable[[], Sequence[object]],
        on_message: Callable[[], None],
        on_end: Callable[[str], None],
        *,
        duplex: bool = False,
        patience: float | None = None,
        start_patience: float = START_PATIENCE,
    ) -> None:
        self.name = name
        self.state = ChildState.GONE
        self.came_up = False
        self.connection: Connection
        self._process: SpawnProcess
        self._target, self._arguments = target, arguments
        self._on_message, self._on_end = on_message, on_end
        self._duplex, self._patience, self._start_patience = duplex, patience, start_patience
        self._loop = asyncio.get_running_loop()
        self._failed_starts = 0
        self._restart: asyncio.TimerHandle | None = None
        self._check: asyncio.TimerHandle | None = None
        self._checks = 0.0  # while it has been starting, or busy with its task
        self._processor_time: float | None = None  # s, as of the last look; None where it waited for no processor
        self._began = 0.0  # s of the loop's clock; that task
        self._usual: float | None = None  # s that a task takes
        self._hung = False

    @property
    def pid(self) -> int | None:
        """Return its process id, or None while it is not there."""
        return None if self.state is ChildState.GONE else self._process.pid

    def start(self) -> None:
        """Start it."""
        self._restart = None
        self.came_up = self._hung = False
        try:
            self.connection, theirs = context.Pipe(self._duplex)
            arguments = (*self._arguments(), theirs)
            self._process = context.Process(target=self._target, args=arguments, name=self.name, daemon=True)
            with signals_blocked():
                self._process.start()
        except OSError as error:
            self._loop.call_soon(self._on_end, f"it cannot be started: {error.strerror or error}")
            return
        theirs.close()  # so that the connection ends when the process does
        self.state = ChildState.STARTING
        self._loop.add_reader(self.connection, self._on_readable)
        self._loop.add_reader(self._process.sentinel, self._on_death)
        self._watch()

    def begin(self) -> None:
        """Take note that it was given a task."""
        self.state = ChildState.BUSY
        self._began = self._loop.time()
        self._watch()

    def done(self) -> None:
        """Take note that it is ready for a task."""
        if self.state is ChildState.BUSY:
            took = min(self._loop.time() - self._began, (self._checks + 1) * CHECK_INTERVAL)
            self._usual = took if self._usual is None else self._usual + (took - self._usual) / SLOWER
        self.state = ChildState.IDLE
        self.came_up = True
        self._failed_starts = 0

    def restart(self) -> bool:
        """Start it again, now or, after a start that failed, a little later; return False if that is hopeless."""
        self._failed_starts += not self.came_up
        if self._failed_starts >= FAILED_STARTS:
            return False
        if self._failed_starts:
            self._restart = self._loop.call_later(RESTART_DELAY, self.start)
        else:
            self.start()
        return True

    async def close(self, ask: Callable[[], None], patience: float) -> None:
        """End it: ask it, wait, and kill it if it does not listen. Does nothing the second time.

        Args:
            ask: asks it to end.
            patience: s that it has for that.
        """
        if self._restart is not None:
            self._restart.cancel()
        if self.state is ChildState.GONE:
            return
        ended = asyncio.Event()
        self._loop.remove_reader(self.connection)
        self._loop.add_reader(self._process.sentinel, ended.set)  # and no longer _on_death
        with contextlib.suppress(OSError):  # it has ended just now
            ask()
        # no asyncio.timeout: in a task that is being cancelled it raises CancelledError until Python 3.11.3
        timer = self._loop.call_later(patience, ended.set)
        await ended.wait()
        timer.cancel()
        if self._process.exitcode is None:
            self._process.kill()
        self._reap()

    # --- Watching it -------------------------------------------------------------------------------

    def _watch(self) -> None:
        self._checks = 0.0
        self._processor_time = None  # it waited for no processor: it waited for us
        if self._check is None:
            self._check = self._loop.call_later(CHECK_INTERVAL, self._look)

    def _look(self) -> None:
        """Kill the process if it has been starting, or busy with its task, for too long.

        The time is counted in looks: while this process was stopped, or the machine slept, nothing could be done. And
        where the process waits for a processor, on a busy machine, what counts is the time that it had one.
        """
        self._check = None
        if self.state not in {ChildState.STARTING, ChildState.BUSY}:
            return
        had, self._processor_time = self._processor_time, processor_time(self._process.pid)
        if self._processor_time is None or had is None:
            self._checks += 1
        else:
            self._checks += min(1.0, (self._processor_time - had) / CHECK_INTERVAL)
        limit = self._start_patience
        if self.state is ChildState.BUSY:
            if self._patience is None:
                return
            limit = self._start_patience if self._usual is None else max(self._patience, SLOWER * self._usual)
        if self._checks * CHECK_INTERVAL >= limit:
            self._hung = True
            self._process.kill()
        else:
            self._check = self._loop.call_later(CHECK_INTERVAL, self._look)

    def _on_readable(self) -> None:
        try:
            self._on_message()
        except (EOFError, OSError):  # it has ended: the sentinel tells
            self._loop.remove_reader(self.connection)

    def _on_death(self) -> None:
        """Reap it, when what it has said before is heard."""
        with contextlib.suppress(EOFError, OSError):
            while self.connection.poll():
                self._on_message()
        status = self._reap()
        self._on_end("it hung, and was killed" if self._hung else f"its process ended with {_describe(status)}")

    def _reap(self) -> int | None:
        """Free what is left of a process that has ended; return its exit status."""
        self.state = ChildState.GONE
        self._loop.remove_reader(self.connection)
        self._loop.remove_reader(self._process.sentinel)
        if self._check is not None:
            self._check.cancel()
            self._check = None
        self._process.join()
        status = self._process.exitcode
        self._process.close()
        self.connection.close()
        return status


def processor_time(pid: int | None) -> float | None:
    """Return the processor time (s) that a process which runs, or would if there were room, has used.

    None for one that does not: it sleeps, or is stopped; and where there is no /proc. Source: proc_pid_stat(5).
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") if fields[0] == "R" else None


def _describe(status: int | None) -> str:
    """Return how a process ended, from its exit status."""
    return signal.Signals(-status).name if status is not None and status < 0 else f"status {status}"


@contextlib.contextmanager
def signals_blocked() -> Iterator[None]:
    """Block what stops a program, which a child inherits: when it ends is for its parent to say.

    A Ctrl-C goes to the whole group of processes, and would end a child in the middle of its imports.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        # multiprocessing's own child, which clears away what is shared; once it has begun it unblocks them here
        resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class PromptQueue(Queue):  # type: ignore[type-arg]  # at run time it takes none
    """A Queue whose `put` writes at once: to have its thread do it, as Queue does, takes two changes of thread.

    For small things only, and one reader that takes them soon: `put` waits where the pipe has no room.
    """

    def __init__(self) -> None:
        super().__init__(ctx=context)

    def put(self, obj: object, block: bool = True, timeout: float | None = None) -> None:
        """Write `obj` to the pipe; where this Python's Queue is not built as expected, have its thread do it."""
        slots, lock, writer = (getattr(self, name, None) for name in ("_sem", "_wlock", "_writer"))
        if slots is None or lock is None or writer is None:
            super().put(obj, block, timeout)
            return
        slots.acquire()  # `get` releases it
        with lock:
            writer.send_bytes(ForkingPickler.dumps(obj))


class SharedImage:
    """An image in shared memory that pickles as its name: sent to a child, it comes out as the array.

    Only one image is current at a time: writing the next one, or closing, ends the validity of the last.
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        """Make room for an image of `shape`, (H * 3 / 2, W) uint8 I420.

        Raises:
            OSError: the system has no room for it.
        """
        self._memory = SharedMemory(create=True, size=shape[0] * shape[1])
        try:
            _reserve(self._memory)
        except OSError:
            self._memory.close()
            self._memory.unlink()
            raise
        self.array: Image = np.ndarray(shape, np.uint8, buffer=self._memory.buf)

    def __reduce__(self) -> tuple[Callable[..., Image], tuple[str, tuple[int, ...]]]:
        return _attach, (self._memory.name, self.array.shape)

    def close(self) -> None:
        """Give the memory back."""
        del self.array
        self._memory.close()
        self._memory.unlink()


def _reserve(memory: SharedMemory) -> None:
    """Have the system keep what it has promised: written to without that, a full /dev/shm ends us by SIGBUS.

    Raises:
        OSError: there is no room for it.
    """
    path = Path("/dev/shm", memory.name)  # where Linux keeps it
    if path.exists():
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, memory.size)


def share(seen: Sequence[Image], into: SharedImage | None) -> SharedImage:
    """Copy a frame's Y, U and V planes to shared memory; into that of the last frame, if it has the size.

    Raises:
        OSError: the system has no room for it; that of the last frame is given back all the same.
    """
    height, width = seen[0].shape
    shape = (height * 3 // 2, width)
    if into is not None and into.array.shape != shape:
        into.close()
        into = None
    image = into or SharedImage(shape)
    for mine, theirs in zip(planes(image.array), seen, strict=True):
        mine[:] = theirs
    return image


# --- In the child --------------------------------------------------------------------------------


def end_with_parent() -> None:
    """End this process as soon as its parent is gone, however that ended."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


_attached: SharedMemory | None = None  # the memory that the last image came in


def _attach(name: str, shape: tuple[int, ...]) -> Image:
    """Return the array that a SharedImage holds, in the process that it was sent to."""
    global _attached  # noqa: PLW0603  # unpickling has no other place to keep it
    if _attached is None or _attached.name != name:
        if _attached is not None:
            _attached.close()
        _attached = SharedMemory(name)
    return np.ndarray(shape, np.uint8, buffer=_attached.buf)
