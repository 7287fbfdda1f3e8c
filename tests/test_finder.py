"""finding: the process boundary, with real processes, and with ends that come too early."""

import asyncio
import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.queues import Queue
from pathlib import Path

import numpy as np
import pytest

from ball_track import Image, Point, Scene, blank, draw, planes
from common import processes
from common.processes import PromptQueue, SharedImage, context
from finding import finder
from finding.finder import Finder, FinderError
from finding.process_a import process_a
from support import workers

TOP = Path(finder.__file__).parent.parent
DEADLINE = 180.0  # s; everything is over in a moment, but on a busy machine
LINUX = pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="reads /proc")


class Log:
    """Takes down what a Finder tells, and can be waited for."""

    def __init__(self) -> None:
        self.found: list[tuple[int, Point | None]] = []
        self.skipped: list[int] = []
        self.restarts = 0
        self._changed = asyncio.Event()

    def make(self, target: Callable[..., None] = process_a) -> Finder:
        """Return a Finder that tells this log."""
        return Finder(self.on_found, self.on_skipped, self.on_restart, target)

    def on_found(self, pts: int, point: Point | None) -> None:
        """Take down a coordinate."""
        self.found.append((pts, point))
        self._changed.set()

    def on_skipped(self, pts: int) -> None:
        """Take down a frame that was passed over."""
        self.skipped.append(pts)
        self._changed.set()

    def on_restart(self) -> None:
        """Take down a death."""
        self.restarts += 1
        self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something is so."""
        async with asyncio.timeout(DEADLINE):
            while not condition():
                self._changed.clear()
                await self._changed.wait()


def shared_segments() -> set[str]:
    """Return the names of the shared memory of images that this process has mapped."""
    return set(re.findall(r"/dev/shm/psm_\w+", Path("/proc/self/maps").read_text()))


def alive(pid: int) -> bool:
    """Return whether a process runs; one that only waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


SCENE = Scene(320, 240)


async def test_process_a_finds_what_is_drawn() -> None:
    """Frames go out, coordinates come back under their pts; one without a ball comes back as None."""
    log = Log()
    async with log.make() as found:
        assert found.pid != os.getpid()
        for k in range(20):
            image = blank(320, 240) if k == 7 else draw(SCENE, SCENE.position(k))
            found.offer(1000 + k, planes(image))
            await log.until(lambda k=k: len(log.found) == k + 1)  # type: ignore[misc]  # k is bound
    assert [pts for pts, _ in log.found] == [1000 + k for k in range(20)]
    for k, (_, point) in enumerate(log.found):
        if k == 7:
            assert point is None
        else:
            assert point is not None
            assert math.dist(point, SCENE.position(k)) < 0.01
    assert (log.skipped, log.restarts) == ([], 0)


async def test_finder_takes_frames_of_a_new_size() -> None:
    """When the size of the frames changes in the middle, and changes back, the ball is found in each."""
    log = Log()
    scenes = [Scene(*size) for size in ((320, 240), (640, 480), (64, 64), (320, 240))]
    async with log.make() as found:
        for number, scene in enumerate(scenes * 3):
            found.offer(number, planes(draw(scene, scene.position(number))))
            await log.until(lambda n=number: len(log.found) == n + 1)  # type: ignore[misc]  # n is bound
    for number, (scene, (pts, point)) in enumerate(zip(scenes * 3, log.found, strict=True)):
        assert pts == number
        assert point is not None
        assert math.dist(point, scene.position(number)) < 0.01


@pytest.mark.parametrize("create", [context.Queue, PromptQueue])
def test_process_a_takes_plain_arrays(create: Callable[[], "Queue[tuple[int, Image | SharedImage] | None]"]) -> None:
    """Its Queue may be an ordinary one: an array that is pickled through it does as well as a SharedImage."""
    lock = context.RLock()
    x, y, pts = context.Value("d", 0, lock=lock), context.Value("d", 0, lock=lock), context.Value("q", 0, lock=lock)
    frames = create()
    taken, (wake, theirs) = context.Semaphore(1), context.Pipe(duplex=False)
    process = context.Process(target=process_a, args=(frames, x, y, pts, taken, theirs), daemon=True)
    process.start()
    try:
        assert wake.poll(DEADLINE)
        wake.recv_bytes()
        shared = SharedImage((360, 320))
        for k in range(6):
            image = draw(SCENE, SCENE.position(k))
            shared.array[:] = image
            frames.put((k, shared if k % 2 else image))
            assert wake.poll(DEADLINE)
            wake.recv_bytes()
            assert pts.value == k
            assert math.dist((x.value, y.value), SCENE.position(k)) < 0.01
            taken.release()
        frames.put(None)
        process.join(DEADLINE)
        assert process.exitcode == 0
    finally:
        process.kill()
        process.join()
        process.close()
        frames.close()
        frames.join_thread()
        shared.close()
        wake.close()
        theirs.close()


@pytest.mark.parametrize("count", [10_000, pytest.param(100_000, marks=pytest.mark.slow)])
async def test_values_are_never_torn_overwritten_or_lost(count: int) -> None:
    """A hundred thousand triples, as fast as the process can store them: each arrives once, whole, in order."""
    log = Log()
    async with log.make(partial(workers.store_triples, count=count)) as found:
        found.offer(0, planes(blank(64, 64)))
        await log.until(lambda: len(log.found) >= count)
    assert [pts for pts, _ in log.found] == list(range(count))
    assert all(point == (workers.x_of(pts), workers.y_of(pts)) for pts, point in log.found)


async def test_offer_lets_the_newest_win() -> None:
    """Of the frames that come while process_a is busy it gets the last one; the others are told as skipped."""
    log = Log()
    image = planes(draw(SCENE, SCENE.position(0)))
    async with log.make() as found:
        for pts in range(10):
            found.offer(pts, image)
        await log.until(lambda: len(log.found) == 2)
        assert [pts for pts, _ in log.found] == [0, 9]
        assert log.skipped == list(range(1, 9))


async def test_each_frame_is_found_or_skipped_once() -> None:
    """In whatever rhythm frames come, every pts is told exactly once, and in the order of their coming."""
    log = Log()
    image = planes(draw(SCENE, SCENE.position(0)))
    count = 500
    async with log.make() as found:
        for pts in range(count):
            found.offer(pts, image)
            if pts % 7 == 0:
                await asyncio.sleep(0)
            if pts % 50 == 0:
                before = len(log.found)
                await log.until(lambda n=before: len(log.found) > n)  # type: ignore[misc]  # n is bound
        await log.until(lambda: len(log.found) + len(log.skipped) == count)
    found_pts = [pts for pts, _ in log.found]
    assert sorted(found_pts + log.skipped) == list(range(count))
    assert found_pts == sorted(found_pts)
    assert found_pts[-1] == count - 1


async def test_finder_starts_process_a_again_when_it_is_killed() -> None:
    """Killed outright it is back at once; that is told, its frame is skipped, and the next ones are found."""
    log = Log()
    image = planes(draw(SCENE, SCENE.position(0)))
    async with log.make() as found:
        first = found.pid
        assert first is not None
        os.kill(first, signal.SIGSTOP)  # so that it has a frame when it dies
        found.offer(1, image)
        found.offer(2, image)
        os.kill(first, signal.SIGKILL)
        await log.until(lambda: len(log.found) == 1)
        assert found.pid not in (first, None)
        assert log.restarts == 1
        assert log.skipped == [1]
        found.offer(3, image)
        await log.until(lambda: len(log.found) == 2)
        assert [pts for pts, _ in log.found] == [2, 3]
        assert not found.failed.done()


async def test_finder_starts_process_a_again_when_it_hangs() -> None:
    """Stopped in mid-run it is killed and started again; that is told, its frame is skipped, the next is found."""
    log = Log()
    image = planes(draw(SCENE, SCENE.position(0)))
    async with log.make() as found:
        for pts in range(30):  # so it is known how long a frame takes
            found.offer(pts, image)
            await log.until(lambda n=pts: len(log.found) == n + 1)  # type: ignore[misc]  # n is bound
        first = found.pid
        assert first is not None
        os.kill(first, signal.SIGSTOP)
        found.offer(30, image)
        found.offer(31, image)
        began = time.monotonic()
        await log.until(lambda: log.restarts == 1)
        assert time.monotonic() - began < 10  # 1.25 s, and room for a busy machine
        await log.until(lambda: len(log.found) == 31)
        assert found.pid not in (first, None)
        assert not alive(first)
        assert (log.restarts, log.skipped) == (1, [30])
        assert log.found[-1][0] == 31


async def test_finder_without_shared_memory_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a frame has no room in shared memory, that is what `failed` says, in one line."""

    def no_room(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(finder, "share", no_room)
    async with Log().make() as found:
        found.offer(1, planes(blank(64, 64)))
        with pytest.raises(FinderError, match="no shared memory for a frame: No space left on device"):
            await found.failed


async def test_finder_survives_a_death_that_leaves_the_lock_held() -> None:
    """If process_a dies in the middle of storing, nobody waits for its lock: that frame is skipped, others found."""
    log = Log()
    image = planes(blank(64, 64))
    async with log.make(workers.die_after_storing) as found:
        for pts in (1, 2, 5, 6, 7):
            found.offer(pts, image)
            await log.until(lambda p=pts: p in (*log.skipped, *(pts for pts, _ in log.found)))  # type: ignore[misc]
    assert log.found == [(pts, (pts, pts)) for pts in (1, 2, 6, 7)]
    assert (log.skipped, log.restarts) == ([5], 1)


async def test_finder_that_never_starts_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that ends before it is ready, again and again, cannot be worked with."""
    monkeypatch.setattr(processes, "RESTART_DELAY", 0.01)
    log = Log()
    with pytest.raises(FinderError, match="3 times before it was ready"):
        await log.make(workers.end_at_once).__aenter__()


async def test_finder_that_is_never_ready_is_an_error() -> None:
    """A process that says nothing is given up, and ended."""
    log = Log()
    found = Finder(log.on_found, log.on_skipped, log.on_restart, workers.never_be_ready, patience=0.5)
    with pytest.raises(FinderError, match=r"not ready within 0\.5 s"):
        await found.__aenter__()
    assert found.pid is None


@LINUX
@pytest.mark.parametrize("target", [process_a, workers.ignore_the_end])
async def test_close_leaves_nothing_behind(target: Callable[..., None]) -> None:
    """The process is gone and the shared memory is given back, also if it does not listen, and closed twice."""
    log = Log()
    found = log.make(target)
    async with found:
        pid = found.pid
        assert pid is not None
        before = shared_segments()
        found.offer(1, planes(draw(SCENE, SCENE.position(0))))
        mine = shared_segments() - before
        assert len(mine) == 1
        assert alive(pid)
    assert not alive(pid)
    assert found.pid is None
    assert not mine & {f"/dev/shm/{name}" for name in os.listdir("/dev/shm")}  # noqa: PTH208  # a Path blocks as well
    await found.close()
    await found.close()
    assert found.failed.cancelled()


@LINUX
async def test_close_while_it_is_started_again_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Closed in the pause after a death, no process is started any more."""
    monkeypatch.setattr(processes, "RESTART_DELAY", 30.0)
    log = Log()
    found = log.make(workers.end_at_once)
    waiting = asyncio.create_task(found.__aenter__())
    await log.until(lambda: log.restarts == 1)
    await found.close()
    assert found.pid is None
    waiting.cancel()
    await asyncio.wait([waiting])
    await found.close()


async def test_process_a_imports_neither_av_nor_aiortc() -> None:
    """What the process needs comes without them: cv2's window hangs where av came first."""
    log = Log()
    async with log.make(workers.tell_modules) as found:
        found.offer(1, planes(blank(64, 64)))
        await log.until(lambda: len(log.found) == 1)
    assert log.found == [(1, (0, 0))]


PARENT = """
import asyncio, numpy
from ball_track import blank, planes
from finding.finder import Finder

async def main():
    async with Finder(lambda *_: print("pid", finder.pid, flush=True), print) as finder:
        finder.offer(1, planes(blank(64, 64)))
        await asyncio.Event().wait()

asyncio.run(main())
"""


def test_process_a_does_not_outlive_its_parent() -> None:
    """Killed outright, the parent leaves nothing: the pipe that its processes share ends when all have gone."""
    with subprocess.Popen([sys.executable, "-c", PARENT], cwd=TOP, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline().startswith("pid ")
        parent.kill()
        out, _ = parent.communicate(timeout=DEADLINE)
        assert out == ""


@LINUX
def test_process_a_of_the_client_imports_no_av() -> None:
    """As process_a imports the main program's file again, client.py must keep av out of it as well."""
    command = [sys.executable, "client.py", "-v", "--wait", "50", "--signaling-port", "9"]
    with subprocess.Popen(command, cwd=TOP, stderr=subprocess.PIPE, text=True) as client:
        try:
            assert client.stderr is not None
            for line in client.stderr:  # it dials when process_a is ready
                if "no server" in line:
                    break
            children = Path(f"/proc/{client.pid}/task/{client.pid}/children").read_text().split()
            maps = {
                pid: Path(f"/proc/{pid}/maps").read_text()
                for pid in children
                if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
            }
            assert len(maps) == 1
            assert "/site-packages/av/" in Path(f"/proc/{client.pid}/maps").read_text()
            assert all("/cv2/" in text for text in maps.values())
            assert not any("/site-packages/av/" in text for text in maps.values())
        finally:
            client.kill()


@LINUX
def test_shared_image_pickles_as_its_name() -> None:
    """Whatever the size of the image, a few hundred bytes go through the Queue, and the same array comes out."""
    import pickle

    shared = SharedImage((1620, 1920))
    try:
        noise = np.random.default_rng(0).integers(0, 256, (1620, 1920), np.uint8)
        shared.array[:] = noise
        data = pickle.dumps(shared)
        assert len(data) < 500
        seen = pickle.loads(data)
        assert np.array_equal(seen, noise)
        shared.array[5, 5] ^= 1
        assert seen[5, 5] == shared.array[5, 5]
        del seen
    finally:
        if processes._attached is not None:
            processes._attached.close()
            processes._attached = None
        shared.close()
