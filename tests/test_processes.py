"""processes.py: a process of ours is missed when it dies or hangs, and nothing of it stays behind."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing.queues import Queue
from pathlib import Path

import pytest

from common import processes
from common.processes import START_PATIENCE, Child, ChildState, SharedImage
from support import workers

DEADLINE = 120.0  # s; everything is over in a moment, but on a busy machine
TOP = Path(processes.__file__).parents[1]


def exists(pid: int | None) -> bool:
    """Return whether there is such a process, be it one that waits to be reaped."""
    return Path(f"/proc/{pid}").exists()


class Owner:
    """Owns a child, takes down what it says and how it ends, and can be waited for."""

    def __init__(
        self, target: Callable[..., None], patience: float | None = None, start_patience: float = START_PATIENCE
    ) -> None:
        self.said: list[str] = []
        self.ends: list[str] = []
        self._changed = asyncio.Event()
        self.child = Child(
            "test",
            target,
            tuple,
            self.on_message,
            self.on_end,
            duplex=True,
            patience=patience,
            start_patience=start_patience,
        )

    def on_message(self) -> None:
        """Take down what it says; then it is ready for more."""
        self.said.append(self.child.connection.recv())
        self.child.done()
        self._changed.set()

    def on_end(self, how: str) -> None:
        """Take down how it ended."""
        self.ends.append(how)
        self._changed.set()

    def give(self, task: str) -> None:
        """Give it something to say back."""
        self.child.begin()
        self.child.connection.send(task)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something is so."""
        async with asyncio.timeout(DEADLINE):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def close(self, patience: float = DEADLINE) -> None:
        """Ask it to end."""
        await self.child.close(lambda: self.child.connection.send(None), patience)


async def started(target: Callable[..., None], patience: float | None = None) -> Owner:
    """Return the owner of a child that is ready."""
    owner = Owner(target, patience)
    owner.child.start()
    assert owner.child.state is ChildState.STARTING
    await owner.until(lambda: owner.said == ["ready"])
    return owner


async def test_child_does_its_tasks_until_it_is_asked_to_end() -> None:
    """Idle, busy, idle again, gone; asked to end it ends by itself, and that is no end to be told."""
    owner = await started(workers.echo)
    pid = owner.child.pid
    assert pid is not None
    states = [owner.child.state]
    for number in range(3):
        owner.give(str(number))
        states.append(owner.child.state)
        await owner.until(lambda n=number: len(owner.said) == 2 + n)  # type: ignore[misc]  # n is bound
    states.append(owner.child.state)
    assert states == [ChildState.IDLE, *[ChildState.BUSY] * 3, ChildState.IDLE]
    await owner.close()
    assert owner.said == ["ready", "0", "1", "2"]
    assert owner.ends == []
    assert (owner.child.state, owner.child.pid) == (ChildState.GONE, None)
    assert not exists(pid)
    await owner.close()


async def test_child_that_dies_is_missed_and_started_again() -> None:
    """Killed outright that is told with the signal's name, and it works as before when it is started again."""
    owner = await started(workers.echo)
    for number in range(2):
        assert owner.child.pid is not None
        os.kill(owner.child.pid, signal.SIGKILL)
        await owner.until(lambda n=number: len(owner.ends) == 1 + n)  # type: ignore[misc]  # n is bound
        assert owner.child.state is ChildState.GONE
        assert owner.child.restart()
        owner.said.clear()
        await owner.until(lambda: owner.said == ["ready"])
        owner.give("again")
        await owner.until(lambda: owner.said == ["ready", "again"])
    assert owner.ends == ["its process ended with SIGKILL"] * 2
    await owner.close()


async def test_child_is_heard_to_its_last_word() -> None:
    """What it said before it died is told before its death."""
    owner = Owner(workers.say_and_end)
    owner.child.start()
    await owner.until(lambda: bool(owner.ends))
    assert owner.said == ["last words"]
    assert owner.ends == ["its process ended with status 7"]


@pytest.mark.parametrize("how", ["stopped", "stuck"])
async def test_child_that_hangs_is_killed(how: str) -> None:
    """One that answers nothing any more, stopped or stuck, is told as hanging, and works when started again."""
    owner = await started(workers.echo_but_hang, patience=0.5)
    for _ in range(40):
        count = len(owner.said)
        owner.give("quick")  # so it is known how long a task takes
        await owner.until(lambda n=count: len(owner.said) > n)  # type: ignore[misc]  # n is bound
    assert owner.child.pid is not None
    if how == "stopped":
        os.kill(owner.child.pid, signal.SIGSTOP)
    owner.give("hang")
    await owner.until(lambda: bool(owner.ends))
    assert owner.ends == ["it hung, and was killed"]
    owner.said.clear()
    assert owner.child.restart()
    await owner.until(lambda: owner.said == ["ready"])
    owner.give("after")
    await owner.until(lambda: "after" in owner.said)
    await owner.close(patience=0.1)


async def test_child_that_waits_for_a_processor_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine that is busy with other things a task takes long, and that is no hang."""
    monkeypatch.setattr(processes, "CHECK_INTERVAL", 0.01)
    owner = await started(workers.echo, patience=0.1)
    for _ in range(20):
        count = len(owner.said)
        owner.give("quick")  # so it is known how long a task takes
        await owner.until(lambda n=count: len(owner.said) > n)  # type: ignore[misc]  # n is bound
    pid, count = owner.child.pid, len(owner.said)
    assert pid is not None
    monkeypatch.setattr(processes, "processor_time", lambda _: 5.0)  # it would run, and is never let to
    os.kill(pid, signal.SIGSTOP)
    owner.give("slow")
    await asyncio.sleep(0.5)
    os.kill(pid, signal.SIGCONT)
    await owner.until(lambda: len(owner.said) > count)
    assert owner.ends == []
    await owner.close()


def test_processor_time_is_that_of_a_process_which_runs() -> None:
    """It grows while the process works; of one that sleeps there is none."""
    before = processes.processor_time(os.getpid())
    assert before is not None
    deadline = time.monotonic() + DEADLINE
    while (now := processes.processor_time(os.getpid())) is None or now <= before:
        assert time.monotonic() < deadline
    with subprocess.Popen(["sleep", "60"]) as sleeping:
        try:
            while processes.processor_time(sleeping.pid) is not None:
                assert time.monotonic() < deadline
        finally:
            sleeping.kill()


async def test_child_that_is_slow_by_nature_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where every task takes longer than the patience, no task is taken for a hang."""
    monkeypatch.setattr(processes, "CHECK_INTERVAL", 0.01)
    owner = await started(workers.echo, patience=0.05)
    pid = owner.child.pid
    assert pid is not None
    for number in range(3):
        os.kill(pid, signal.SIGSTOP)
        owner.give(str(number))
        await asyncio.sleep(0.3)  # so long it takes
        os.kill(pid, signal.SIGCONT)
        await owner.until(lambda n=number: len(owner.said) == 2 + n)  # type: ignore[misc]  # n is bound
    assert owner.child.pid == pid
    assert owner.ends == []
    await owner.close()


async def test_child_that_never_comes_up_is_killed() -> None:
    """A process that hangs while it starts is not waited for without end."""
    owner = Owner(workers.never_be_ready, start_patience=0.5)
    owner.child.start()
    await owner.until(lambda: bool(owner.ends))
    assert owner.ends == ["it hung, and was killed"]


async def test_restart_gives_up_a_child_that_never_comes_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that ends three times before it was ever ready is hopeless."""
    monkeypatch.setattr(processes, "RESTART_DELAY", 0.01)
    owner = Owner(workers.end_at_once)
    owner.child.start()
    for number in (1, 2):
        await owner.until(lambda n=number: len(owner.ends) == n)  # type: ignore[misc]  # n is bound
        assert owner.child.restart()
    await owner.until(lambda: len(owner.ends) == 3)
    assert not owner.child.restart()
    assert owner.ends == ["its process ended with status 3"] * 3


async def test_start_that_the_system_refuses_is_an_end() -> None:
    """Where there is no room for what the process shares with us, that is told like a death, with the reason."""

    def no_room() -> tuple[object, ...]:
        raise OSError(28, "No space left on device")

    owner = Owner(workers.echo)
    child = Child("test", workers.echo, no_room, owner.on_message, owner.on_end)
    child.start()
    assert child.state is ChildState.GONE
    await owner.until(lambda: bool(owner.ends))
    assert owner.ends == ["it cannot be started: No space left on device"]
    await child.close(lambda: None, 1)


async def test_close_kills_a_child_that_does_not_listen() -> None:
    """It is gone when its time is over."""
    owner = await started(workers.deaf)
    pid = owner.child.pid
    await owner.close(patience=0.1)
    assert owner.child.pid is None
    assert not exists(pid)
    assert owner.ends == []


async def test_close_in_the_pause_after_a_failed_start_starts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Closed while it waits to be started again, it stays away."""
    monkeypatch.setattr(processes, "RESTART_DELAY", 0.05)
    owner = Owner(workers.end_at_once)
    owner.child.start()
    await owner.until(lambda: bool(owner.ends))
    assert owner.child.restart()
    await owner.close()
    await asyncio.sleep(0.1)
    assert owner.child.state is ChildState.GONE
    assert len(owner.ends) == 1


FILL = """
import sys
from common.processes import SharedImage
images = []
try:
    while True:
        images.append(SharedImage((720, 640)))
        images[-1].array[:] = 7
except OSError as error:
    print(len(images), error.strerror)
for image in images:
    image.close()
SharedImage((720, 640)).close()
"""


@pytest.mark.root
def test_shared_image_is_refused_where_there_is_no_room() -> None:
    """In a small /dev/shm that is filled up, the next image is an error, no SIGBUS, and those before it are whole."""
    command = f"mount -t tmpfs -o size=2m tmpfs /dev/shm && exec \"{sys.executable}\" -c '{FILL}'"
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", command],
        check=False,
        cwd=TOP,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "4 No space left on device\n"
    assert done.stderr == ""


def test_shared_image_is_reserved_when_it_is_made() -> None:
    """Its memory is the system's promise kept: all of its blocks are there before anything is written."""
    image = SharedImage((720, 640))
    try:
        assert Path("/dev/shm", image._memory.name).stat().st_blocks * 512 >= 720 * 640
    finally:
        image.close()


def test_prompt_queue_writes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is put there can be read when `put` has returned: no thread has to wake up for it, and none is started."""
    queue = processes.PromptQueue()
    monkeypatch.setattr(queue, "_start_thread", lambda: pytest.fail("a thread"))
    for item in (1, "two", None):
        queue.put(item)
        assert not queue.empty()
        assert queue.get() == item
    queue.close()
    queue.join_thread()


def test_prompt_queue_of_another_python_is_a_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Queue lacks what this one needs, its own `put` does it."""
    queue = processes.PromptQueue()
    put: list[object] = []
    monkeypatch.setattr(Queue, "put", lambda _, item, *__: put.append(item))
    monkeypatch.delattr(queue, "_wlock")
    queue.put("item")
    assert put == ["item"]
    queue.close()
