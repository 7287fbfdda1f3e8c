"""A person's own finder in a real process_a: whatever it does to it, the loop goes on."""

import asyncio
import re
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from ball_track import Point, blank, planes
from finding.finder import Finder, FinderError
from finding.process_a import process_a
from support.programs import read_summary, run, wait_until_gone
from tools.procfs import free_port

DEADLINE = 120.0  # s; everything is over in a moment, but on a busy machine

EYES = """
import ctypes, os, sys, time
IMAGE = "gray"
print("by hand", "while it loads")

def find(image):
    match image[0, 0]:
        case 1: raise ValueError("one")
        case 2: return "two"
        case 3: print("three")
        case 4: os._exit(4)
        case 5: ctypes.string_at(0)
        case 6: sys.exit()
        case 7: time.sleep(0.2)
        case 8:
            while True: pass
    return 30.0 + image[0, 0], 5
"""


class Log:
    """Takes down what a Finder tells, and can be waited for."""

    def __init__(self) -> None:
        self.told: dict[int, Point | str | None] = {}  # by pts
        self.faults: list[tuple[str, str]] = []
        self.restarts = 0
        self._changed = asyncio.Event()

    def make(self, name: str, patience: float = DEADLINE) -> Finder:
        """Return a Finder that tells this log."""
        return Finder(
            self.on_told,
            lambda pts: self.on_told(pts, "skipped"),
            self.on_restart,
            partial(process_a, own=name),
            lambda kind, text: self.faults.append((kind, text)),
            patience,
        )

    def on_told(self, pts: int, what: Point | str | None) -> None:
        """Take down what came of a frame."""
        self.told[pts] = what
        self._changed.set()

    def on_restart(self) -> None:
        """Take down a death."""
        self.restarts += 1

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something is so."""
        async with asyncio.timeout(DEADLINE):
            while not condition():
                self._changed.clear()
                await self._changed.wait()


@pytest.fixture
def eyes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Make eyes.py the one in the current folder."""
    (tmp_path / "eyes.py").write_text(EYES)
    monkeypatch.chdir(tmp_path)
    return "eyes:find"


@pytest.mark.slow
async def test_loop_goes_on_whatever_a_finder_does(eyes: str, capfd: pytest.CaptureFixture[str]) -> None:
    """It raises, exits, prints, crashes, hangs: that frame has no ball or is skipped, and the next one is found."""
    log = Log()
    expected = {
        1: (None, "raised"),
        2: (None, "nonsense"),
        3: (Point(33, 5), "printed"),
        4: ("skipped", None),
        5: ("skipped", None),
        6: (None, "raised"),
        7: (Point(37, 5), "slow"),
        8: ("skipped", None),
    }
    restarts = 0
    async with log.make(eyes) as finder:
        for level, (outcome, fault) in expected.items():
            log.faults.clear()
            for pts, value in ((level, level), (100 + level, 99)):
                image = blank(64, 64)
                image[0, 0] = value
                finder.offer(pts, planes(image))
                await log.until(lambda pts=pts: pts in log.told)  # type: ignore[misc]  # pts is bound
            assert log.told[level] == outcome
            assert log.told[100 + level] == Point(129, 5)
            # what is printed while it is loaded is told with the first image
            assert [kind for kind, _ in log.faults if kind != "printed" or level == 3] == ([fault] if fault else [])
            restarts += fault is None
            assert log.restarts == restarts
        assert not finder.failed.done()
    out, err = capfd.readouterr()
    assert out == ""
    assert "by hand while it loads\n" in err
    assert "three\n" in err


async def test_finder_that_cannot_be_loaded_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not tried again and again, and the error says which option names what is wrong."""
    (tmp_path / "eyes.py").write_text("import nothing_of_that_name")
    monkeypatch.chdir(tmp_path)
    log = Log()
    with pytest.raises(FinderError, match="--find eyes:find: importing eyes failed: ModuleNotFoundError: No module"):
        await log.make("eyes:find").__aenter__()
    assert log.restarts == 0


async def test_finder_that_never_loads_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that is not done after so long ends the waiting."""
    (tmp_path / "eyes.py").write_text("import time; time.sleep(1000)")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FinderError, match=r"not ready within 0\.5 s"):
        await Log().make("eyes:find", 0.5).__aenter__()


async def test_finder_cancelled_while_it_loads_leaves_no_process(eyes: str, tmp_path: Path) -> None:
    """Who stops in the middle of a load need not wait for it."""
    (tmp_path / "eyes.py").write_text("import time; time.sleep(1000)")
    finder = Log().make(eyes)
    entering = asyncio.create_task(finder.__aenter__())
    await asyncio.sleep(0)  # it starts the process, and waits
    pid = finder.pid
    assert pid is not None
    entering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await entering
    wait_until_gone(pid)


@pytest.mark.slow
def test_client_finds_with_a_finder_of_ones_own(tmp_path: Path) -> None:
    """A usual way from the examples, found by its name, is scored as ours is; its faults are in the last line."""
    port, path = free_port(), tmp_path / "summary.json"
    with run("server.py", "--signaling-port", port, "--once", "--summary", path) as server:
        client_args = ("--signaling-port", port, "--view", "none", "--find", "examples.finders:contours")
        with run("client.py", *client_args) as client:
            server.wait_for_new_scores(5)
            assert client.end(signal.SIGINT) == 0
            assert "waiting for examples.finders:contours to load\n" in client.lines
            assert client.lines[-1] == "examples.finders:contours: faults: none\n"
        assert server.wait() == 0
    summary = read_summary(path)
    assert summary["frames"]["scored"] > 5
    assert 0.01 < summary["error_px"]["mean"] < 0.5  # theirs, not ours


def test_client_whose_finder_cannot_be_loaded_says_so(tmp_path: Path) -> None:
    """One line that names the option, the module and the fault; exit status 1 and no dialling."""
    with run("client.py", "--view", "none", "--find", "examples.finders:nothing") as client:
        assert client.wait() == 1
        error = r"client.py: error: --find examples.finders:nothing: /.*/examples/finders.py has no function nothing\n"
        assert sum(bool(re.fullmatch(error, line)) for line in client.lines) == 1
        assert not re.search("Traceback", client.output)
