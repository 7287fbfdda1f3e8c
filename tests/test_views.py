"""Views as a person meets them: a window on a real (virtual) screen, and none where there is no screen."""

import asyncio
import contextlib
import itertools
import math
import multiprocessing
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from ball_track import Point, Scene, blank, planes
from common.processes import START_PATIENCE
from programs import client_options
from protocol.messages import Score
from support.marks import film_of, find_cross, find_white
from support.programs import PATIENCE, Program, is_alive, run, wait_until_gone
from support.screen import Screen, run_screen, wait_until
from tools.procfs import free_port
from views import screens
from views.screens import TITLE, Closed, Failed, Idle, encode_jpegs, show_window
from views.sightings import Figures, Sight
from views.view import View
from views.views import Views

LOWEST = 19  # priority that there is


# --- One view's process --------------------------------------------------------------------------


def note_pictures(connection: Connection, path: str, gate: str) -> None:
    """Be a view that writes down what it gets, and is busy with each picture until `gate` exists."""
    connection.send(Idle())
    while (picture := connection.recv()) is not None:
        with Path(path).open("a") as file:
            file.write(f"{picture.pts} {int(picture.image.max())} {os.nice(0)}\n")
        while not Path(gate).exists():
            time.sleep(0.01)
        connection.send(Idle())


def close_at_once(connection: Connection) -> None:
    """Be a view that a person closes."""
    connection.send(Idle())
    connection.send(Closed())


def fail(connection: Connection) -> None:
    """Be a view that cannot do its job."""
    connection.send(Failed("no ink"))


def abort(connection: Connection) -> None:
    """Be a view that a library ends."""
    os.abort()


def be_deaf(connection: Connection) -> None:
    """Be a view that listens to nobody."""
    connection.send(Idle())
    time.sleep(600)


def a_sight(pts: int, level: int = 200) -> Sight:
    """Return a frame, all of whose samples have one level."""
    image = np.full((96, 64), level, np.uint8)
    return Sight(pts, planes(image), Figures(), ())


class Ends:
    """Remembers how views ended."""

    def __init__(self) -> None:
        self.reasons: list[str | None] = []
        self._event = asyncio.Event()

    def __call__(self, view: View, why: str | None) -> None:
        """Take note of one."""
        assert not view.alive
        self.reasons.append(why)
        self._event.set()

    async def wait(self) -> str | None:
        """Return the first reason."""
        async with asyncio.timeout(PATIENCE):
            await self._event.wait()
        return self.reasons[0]


async def ready(view: View) -> View:
    """Return a view once it is ready."""
    async with asyncio.timeout(PATIENCE):
        await view.started.wait()
    return view


async def offer_while_busy(tmp_path: Path, backlog: int) -> list[int]:
    """Offer five frames while a view is busy with the first one, and return those that it got."""
    notes, gate = tmp_path / "notes", tmp_path / "gate"
    view = View("notes", note_pictures, str(notes), str(gate), on_end=Ends(), backlog=backlog, patience=PATIENCE)
    await ready(view)
    for number in range(5):
        view.offer(a_sight(number, 100 + number))
    gate.touch()
    await view.close()
    lines = [line.split() for line in notes.read_text().splitlines()]
    assert view.shown == len(lines)
    assert view.shown + view.passed_over == 5
    for pts, level, _ in lines:
        assert int(level) == 100 + int(pts), "every frame came with its own image"
    return [int(pts) for pts, _, _ in lines]


async def test_view_busy_gets_the_newest_frame_next(tmp_path: Path) -> None:
    """What came between the frame that it is busy with and the newest one is passed over."""
    assert await offer_while_busy(tmp_path, backlog=1) == [0, 4]


async def test_view_with_a_backlog_gets_every_frame(tmp_path: Path) -> None:
    """A recording wants them all, and has them all before it is closed."""
    assert await offer_while_busy(tmp_path, backlog=8) == [0, 1, 2, 3, 4]


async def test_view_runs_at_a_lower_priority(tmp_path: Path) -> None:
    """Looking must not take time from what is looked at."""
    notes, gate = tmp_path / "notes", tmp_path / "gate"
    gate.touch()
    view = await ready(View("notes", note_pictures, str(notes), str(gate), on_end=Ends(), patience=PATIENCE))
    view.offer(a_sight(0))
    await view.close()
    assert int(notes.read_text().split()[2]) >= min(os.nice(0) + 1, LOWEST)


@pytest.mark.parametrize(
    ("target", "reason"),
    [(close_at_once, None), (fail, "no ink"), (abort, "its process ended with SIGABRT")],
)
async def test_view_tells_how_it_ended(target, reason: str | None) -> None:
    """Closed by a person, failed for a reason, or aborted: the main thread is told, and goes on."""
    ends = Ends()
    view = View("test", target, on_end=ends)
    assert await ends.wait() == reason
    await ready(view)
    view.offer(a_sight(0))  # too late, and harmless
    await view.close()
    assert len(ends.reasons) == 1


async def test_close_kills_a_view_that_does_not_listen() -> None:
    """No view keeps the client from ending; a second close does nothing."""
    view = await ready(View("deaf", be_deaf, on_end=Ends(), patience=0.2))
    view.offer(a_sight(0))
    async with asyncio.timeout(PATIENCE):
        await view.close()
        await view.close()
    assert not view.alive


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
async def test_view_that_is_kept_is_started_again(number: signal.Signals) -> None:
    """One that dies or hangs is missed, started again, and shows new frames; that is counted, and no end."""
    ends, jpegs, made = Ends(), [], asyncio.Event()

    def on_jpeg(jpeg: bytes) -> None:
        jpegs.append(jpeg)
        made.set()

    view = await ready(View("test", encode_jpegs, on_end=ends, on_jpeg=on_jpeg, keep=True))

    async def show_new() -> None:
        """Show frames until one of them has become a new picture."""
        before = len(jpegs)
        async with asyncio.timeout(PATIENCE):
            while len(jpegs) == before:
                made.clear()
                view.offer(a_sight(0))
                with suppress(TimeoutError):
                    await asyncio.wait_for(made.wait(), 0.2)

    for _ in range(30):  # so it is known how long a picture takes
        await show_new()
    pid = view.pid
    assert pid is not None
    os.kill(pid, number)
    await show_new()
    assert view.pid not in (pid, None)
    assert view.restarts == 1
    assert ends.reasons == []
    await view.close()


async def test_view_without_shared_memory_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a picture has no room in shared memory, the view ends and says so; nothing is started again for that."""

    def no_room(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("views.view.share", no_room)
    ends = Ends()
    view = await ready(View("test", encode_jpegs, on_end=ends, keep=True))
    view.offer(a_sight(0))
    assert await ends.wait() == "no shared memory for a picture: No space left on device"
    await view.close()


# --- All of them ---------------------------------------------------------------------------------


async def test_views_none_keep_no_frame() -> None:
    """Without a view, nothing is kept and nothing is shown."""
    async with Views((), ("127.0.0.1", 1), None, add_routes=lambda _: None, on_closed=lambda: None) as views:
        await views.started()
        for pts in range(100):
            views.on_frame(pts, planes(np.zeros((96, 64), np.uint8)))
            views.on_found(pts, Point(1, 1))
            views.on_score(Score(pts, 0.0, 1.0, pts, 0))
        assert not views.failed


class Offered:
    """A view that keeps what it is offered."""

    def __init__(self) -> None:
        self.sights: list[Sight] = []

    def offer(self, sight: Sight) -> None:
        """Keep it."""
        self.sights.append(sight)

    async def close(self) -> None:
        """Do nothing."""


async def test_views_show_where_the_ball_is_bound_to_be() -> None:
    """Once scores tell how old frames are, each picture has the point where the ball is when it is shown."""
    scene, view, clock = Scene(64, 96, radius=10, speed=30), Offered(), SimpleNamespace(now=0.0)
    async with Views((), ("127.0.0.1", 1), None, add_routes=lambda _: None, on_closed=lambda: None) as views:
        views._views.append(view)  # type: ignore[arg-type]  # all that is asked of one
        views._loop = SimpleNamespace(time=lambda: clock.now)  # type: ignore[assignment]
        for k in range(20):
            clock.now = 100 + k / scene.fps + 0.1
            views.on_frame(k * 3000, planes(np.zeros((144, 64), np.uint8)))
            views.on_found(k * 3000, scene.position(k))
            clock.now += 0.02
            views.on_score(Score(k * 3000, 0.0, 110.0, k + 1, 0))
    assert [sight.pts for sight in view.sights] == [k * 3000 for k in range(20)]
    assert view.sights[0].figures.predicted is None
    for k, sight in enumerate(view.sights[1:5], 1):
        assert sight.figures.predicted == pytest.approx(scene.position(k + 0.12 * scene.fps))


# --- The window ----------------------------------------------------------------------------------


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Iterator[Screen]:
    """Return a screen on which the programs' windows appear."""
    with run_screen() as screen:
        monkeypatch.setenv("DISPLAY", screen.display)
        yield screen


@pytest.fixture
def serving() -> Iterator[tuple[Program, int]]:
    """Return a server that films, slowly enough to look twice at what is on a screen, and its port."""
    port = free_port()
    with run("server.py", "--signaling-port", port, "--fps", 10) as server:
        yield server, port


def marks(screen: Screen) -> tuple[Point, Point] | None:
    """Return where ball and cross are on the screen, whose corner the window is in, or None unless both are there."""
    picture = film_of(screen.picture())
    ball, cross = find_white(picture), find_cross(picture)
    return None if ball is None or cross is None else (ball, cross)


@pytest.mark.screen
@pytest.mark.parametrize("key", ["q", "Escape"])
def test_window_marks_the_ball_and_is_closed_by_a_key(screen: Screen, serving: tuple[Program, int], key: str) -> None:
    """The cross lies on the ball of the very frame that is shown, though it moves; q and Esc end in order."""
    server, port = serving
    with run("client.py", "--signaling-port", port, "--view", "window") as client:
        wait_until(lambda: marks(screen) is not None, lambda: f"ball and cross on the screen; {client.output}")
        places: set[Point] = set()
        while len(places) < (10 if key == "q" else 1):
            found = marks(screen)
            if (
                found is not None and find_white(film_of(screen.picture())) == found[0]
            ):  # not while the window was drawn
                ball, cross = found
                assert math.dist(ball, cross) < 4, "it moves 24 px a frame"
                places.add(ball)
        screen.xdotool("search", "--name", TITLE, "windowfocus", "key", key)
        assert client.wait() == 0
        assert "Traceback" not in client.output
        server.wait_for("^client 1 from .*: bye")


@pytest.mark.screen
@pytest.mark.parametrize("platform", ["", "wayland", "wayland;xcb", "xcb"])
def test_window_is_closed_by_its_button(
    screen: Screen, serving: tuple[Program, int], platform: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The button at its corner ends the client as q does, whatever the desktop would have Qt use."""
    server, port = serving
    monkeypatch.setenv("QT_QPA_PLATFORM", platform)
    with run("client.py", "--signaling-port", port, "--view", "window") as client:
        wait_until(lambda: marks(screen) is not None, lambda: f"ball and cross on the screen; {client.output}")
        screen.close_window(TITLE)
        assert client.wait() == 0
        words = [line.split(" ", 1)[0] for line in client.lines]
        assert (words[0], set(words[1:])) == ("watching", {"received"}), client.output
        server.wait_for("^client 1 from .*: bye")


@pytest.mark.screen
async def test_window_opens_with_the_first_frame_in_its_size(screen: Screen) -> None:
    """While there is no film there is no window, which would be of another size; then it is as wide as the film."""

    def width() -> str | None:
        try:
            geometry = screen.xdotool("search", "--name", TITLE, "getwindowgeometry", "--shell")
        except subprocess.CalledProcessError:  # there is none
            return None
        return geometry.partition("WIDTH=")[2].split()[0]

    view = await ready(View("window", show_window, on_end=Ends()))
    assert width() is None
    view.offer(Sight(0, planes(blank(500, 240)), Figures(), ()))
    await asyncio.to_thread(wait_until, lambda: width() == "500", "a window as wide as the film")
    await view.close()


@pytest.mark.screen
def test_window_puts_the_ball_where_it_is(screen: Screen) -> None:
    """A ball that rests is on the screen where the scene has it, and the cross with it."""
    port, scene = free_port(), Scene(speed=0)
    with (
        run("server.py", "--signaling-port", port, "--speed", 0),
        run("client.py", "--signaling-port", port, "--view", "auto") as client,
    ):
        wait_until(lambda: marks(screen) is not None, lambda: f"ball and cross on the screen; {client.output}")
        place = np.array(scene.position(0))
        geometry = screen.xdotool("search", "--name", TITLE, "getwindowgeometry", "--shell")
        corner = [int(geometry.partition(f"{name}=")[2].split()[0]) for name in ("X", "Y")]
        found = marks(screen)
        assert found is not None
        for mark in found:
            assert np.subtract(mark, corner) == pytest.approx(place, abs=1)


@pytest.mark.screen
def test_client_goes_on_when_the_window_dies(screen: Screen, serving: tuple[Program, int]) -> None:
    """Killed or aborted by its window system, the window takes nothing along, and is missed in one line."""
    server, port = serving
    with run("client.py", "--signaling-port", port, "--view", "window") as client:
        wait_until(lambda: marks(screen) is not None, lambda: f"ball and cross on the screen; {client.output}")
        pid = int(screen.xdotool("search", "--name", TITLE, "getwindowpid"))
        os.kill(pid, signal.SIGKILL)
        (line,) = client.wait_for("window:")
        assert "SIGKILL; going on without it" in line
        server.wait_for_new_scores()
        assert client.end() == 0
        assert len([line for line in client.lines if "window" in line]) == 1


@pytest.mark.screen
def test_window_ends_with_a_client_that_is_killed(screen: Screen, serving: tuple[Program, int]) -> None:
    """No window stays behind."""
    _, port = serving
    with run("client.py", "--signaling-port", port, "--view", "window") as client:
        wait_until(lambda: marks(screen) is not None, lambda: f"ball and cross on the screen; {client.output}")
        pid = int(screen.xdotool("search", "--name", TITLE, "getwindowpid"))
        client.process.kill()
        wait_until_gone(pid)
        assert not is_alive(pid)


NO_DISPLAY = pytest.mark.parametrize(
    ("display", "line"),
    [
        (None, "no display (DISPLAY is not set)"),
        # an OpenCV that has windows has to try
        pytest.param(":4711", "the display :4711 cannot be used", marks=pytest.mark.screen),
    ],
)


@NO_DISPLAY
def test_client_without_a_display_says_so_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, serving: tuple[Program, int], display: str | None, line: str
) -> None:
    """No DISPLAY, or one that nobody answers at, costs one line and nothing else."""
    server, port = serving
    if display is not None:
        monkeypatch.setenv("DISPLAY", display)
    with run("client.py", "--signaling-port", port, "--view", "auto") as client:
        server.wait_for("scored [1-9]")
        client.wait_for("^window: ")
        assert client.end() == 0
        (told,) = [each for each in client.lines if "window" in each]
        assert line in told
        assert "Traceback" not in client.output


@NO_DISPLAY
def test_client_without_the_window_that_was_asked_for_ends(
    monkeypatch: pytest.MonkeyPatch, display: str | None, line: str
) -> None:
    """`--view window` that cannot be had is an error: one line, told first, and status 1."""
    if display is not None:
        monkeypatch.setenv("DISPLAY", display)
    with run("client.py", "--signaling-port", free_port(), "--view", "web,window", "--http", free_port()) as client:
        assert client.wait() == 1
    told = [each for each in client.lines if not each.startswith("page: ") and " WARNING " not in each]
    assert told[0].startswith("client.py: error: --view window: ")
    assert line in told[0]
    assert told[1].startswith("received 0 frames")
    assert len(told) == 2


@contextlib.contextmanager
def run_dumb_display() -> Iterator[str]:
    """Run what accepts whoever wants to show something, and never answers; yield its DISPLAY."""
    for number in itertools.count(4000):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", 6000 + number)):
            yield f"127.0.0.1:{number}"  # the kernel accepts
            return


@pytest.mark.slow
def test_display_that_never_answers_holds_nothing_up(
    monkeypatch: pytest.MonkeyPatch, serving: tuple[Program, int]
) -> None:
    """Frames are found, and Ctrl-C is heard, while the window still waits for its display."""
    server, port = serving
    with run_dumb_display() as display:
        monkeypatch.setenv("DISPLAY", display)
        began = time.monotonic()
        with run("client.py", "--signaling-port", port) as client:
            server.wait_for("scored [1-9]")
            assert client.end() == 0
        assert time.monotonic() - began < START_PATIENCE, "it waited for the display to be given up"
    assert "window" not in client.output


def test_show_window_says_that_its_opencv_has_no_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """opencv-python-headless is named, and no display is blamed for it."""

    def fail() -> None:
        raise cv2.error("The function is not implemented. Rebuild the library with Windows, GTK+ 2.x or Cocoa support")

    monkeypatch.setattr(screens, "_try_display", fail)
    monkeypatch.setattr(screens, "end_with_parent", lambda: None)
    ours, theirs = multiprocessing.Pipe()
    screens.show_window(theirs)
    said = ours.recv()
    assert isinstance(said, screens.Failed)
    assert said.reason.startswith("this OpenCV has no windows")


@pytest.mark.parametrize(
    ("wanted", "used"), [("wayland", "xcb"), ("wayland;xcb", "wayland;xcb"), ("", "xcb"), ("offscreen", "offscreen")]
)
def test_platform_of_the_window_is_one_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: str, used: str
) -> None:
    """What the desktop wants of Qt, and OpenCV does not bring along, gives way to X11."""
    for name in ("xcb", "offscreen"):
        (tmp_path / f"libq{name}.so").touch()
    monkeypatch.setenv("QT_QPA_PLATFORM", wanted)
    screens._choose_platform(tmp_path)
    assert os.environ["QT_QPA_PLATFORM"] == used


@pytest.mark.parametrize(
    ("option", "value", "rule"),
    [
        ("--view", "wall", "none, or some of auto, window, web"),
        ("--view", "none,web", "none, or some of auto, window, web"),
        ("--view", "", "none, or some of auto, window, web"),
        ("--http", "web", "HOST:PORT"),
        ("--http", "127.0.0.1:0", "1 to 65535"),
    ],
)
def test_client_refuses_wrong_view_options(
    option: str, value: str, rule: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line that names option, value and rule; exit status 2."""
    with pytest.raises(SystemExit) as stopped:
        client_options.parse_args([option, value])
    assert stopped.value.code == 2
    complaint = capsys.readouterr().err
    assert complaint.count("\n") == 1
    assert f"argument {option}: " in complaint
    assert rule in complaint
