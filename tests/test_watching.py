"""client.py --watch: pictures of the film, from wherever they come, are named by their numbers, and nothing else is."""

import asyncio
import errno
import itertools
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from av.error import err_check
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from ball_track import Image, planes
from common import decoding
from common.rendering import Renderer
from common.sessions import PeerError
from film.video_encoder import create_codec, encode
from programs import watching
from programs.watching import Watching, sources_of
from protocol.messages import Film, Message, Missed, Named, Watched
from protocol.picture_code import PERIOD
from support.coded import RUN, coded_image, coded_scene
from support.programs import read_summary, run
from tools.procfs import free_port

SCENE = coded_scene(320, 240, radius=10)
FPS = 30.0
FIRST = 3 * PERIOD - 20  # the numbers wrap meanwhile
PATIENCE = 120.0  # s


def film(k: int = FIRST, run: int | None = RUN) -> Film:
    """Return what a server says of its film."""
    return Film(SCENE.width, SCENE.height, FPS, run, k)


def write_clip(path: Path, images: list[Image], fps: int = 30) -> Path:
    """Write images as a file of video, all but unharmed."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"crf": "12", "tune": "zerolatency"})
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = images[0].shape[1], images[0].shape[0] * 2 // 3, "yuv420p"
        for n, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image, format="yuv420p")
            frame.pts, frame.time_base = n, Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


class Watcher:
    """A Watching, with what it hands on and what it says.

    Attributes:
        seen: the numbers of the frames that it handed on.
        sharp: whether each is worth an error.
        said: the messages that it sent.
    """

    def __init__(self, source: object, monkeypatch: pytest.MonkeyPatch, told: Film | None = None) -> None:
        monkeypatch.setattr(watching, "TELL_INTERVAL", 0.05)
        monkeypatch.setattr(watching, "QUIET_AFTER", 0.2)
        monkeypatch.setattr(watching, "FILM_TIMEOUT", 0.2 if told is None else 5.0)
        monkeypatch.setattr(decoding, "RETRY_INTERVAL", 0.05)
        monkeypatch.setattr(decoding, "MAX_RETRY_INTERVAL", 0.1)
        self.seen: list[int] = []
        self.sharp: list[bool] = []
        self.said: list[Message] = []
        self.way = Watching(str(source), {}, self._on_frame, self.said.append)
        if told is not None:
            self.way.on_film(told)

    def _on_frame(self, pts: int, seen: tuple[Image, ...]) -> None:
        named = self.way.named(Missed(pts))
        assert isinstance(named, Named)
        assert seen[0].shape == (SCENE.height, SCENE.width)
        self.seen.append(named.k)
        self.sharp.append(named.sharp)

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until something is so."""
        async with asyncio.timeout(PATIENCE):
            while not condition():  # noqa: ASYNC110  # nothing tells of it
                await asyncio.sleep(0.01)


async def test_watch_names_each_frame_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each frame is handed on at its first sight, by its whole number; the same again is counted, and told."""
    ks = [FIRST + n for n in range(40)]
    clip = write_clip(tmp_path / "a.mp4", [coded_image(SCENE, k) for k in ks for _ in range(2)])
    monkeypatch.setattr(watching, "Reader", Patient)
    watcher = Watcher(clip, monkeypatch, film(ks[-1]))
    assert await watcher.way.open()
    assert watcher.way.flowing
    await watcher.until(lambda: len(watcher.seen) == 40 and watcher.way.counts["again"] >= 40)
    assert watcher.seen == ks
    await watcher.until(lambda: isinstance(watcher.said[-1], Watched) and watcher.said[-1].again >= 40)
    await watcher.way.close()
    await watcher.way.close()
    counts = watcher.way.counts
    assert counts["unread"] == counts["mixed"] == counts["torn"] == counts["foreign"] == 0


class Patient(decoding.Reader):
    """A reader that waits for who looks: every picture of a file is looked at."""

    def __init__(self, source: decoding.Source, renderer: Renderer, fps: float, live: bool) -> None:
        super().__init__(source, renderer, fps, live=live and False)


async def test_watch_says_nothing_of_another_sessions_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    """What process_a still finds in a frame of the session before has no number in this one, and is not reported."""
    watcher = Watcher("0", monkeypatch, film())
    assert watcher.way.named(Missed(3000)) is None
    await watcher.way.close()


@pytest.mark.parametrize(
    ("told", "why"),
    [
        (film(FIRST + 5, run=RUN ^ 0x100), "another run"),
        (film(FIRST + 5 + PERIOD), "an epoch later"),
        (film(FIRST + 5 + 1000), "half a minute old"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_watch_scores_no_picture_of_another_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, told: Film, why: str
) -> None:
    """Numbers of another run, or of this one long ago, name nothing: each is counted, and one line says so."""
    clip = write_clip(tmp_path / "a.mp4", [coded_image(SCENE, FIRST + n) for n in range(6)])
    watcher = Watcher(clip, monkeypatch, told)
    assert await watcher.way.open()
    await watcher.until(lambda: "none of this server's" in caplog.text)
    await watcher.until(lambda: watcher.way.counts["foreign"] > 20)
    await watcher.way.close()
    assert (watcher.seen, why) == ([], why)
    assert caplog.text.count("none of this server's") == 1


async def test_watch_says_what_keeps_it_from_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Pictures of one colour, and pictures without the film, are one line each."""

    def said(line: str) -> bool:
        return line in caplog.text

    black = [np.full((360, 320), 128, np.uint8) for _ in range(3)]
    for image in black:
        planes(image)[0][:] = 16
    room = black[0].copy()
    planes(room)[0][:] = cv2.resize(np.random.default_rng(2).integers(0, 256, (12, 16), np.uint8), (320, 240))
    for name, image, line in (("a.mp4", black[0], "of one colour"), ("b.mp4", room, "no number in the picture")):
        watcher = Watcher(write_clip(tmp_path / name, [image] * 5), monkeypatch, film())
        assert await watcher.way.open()
        await watcher.until(partial(said, line))
        await watcher.way.close()
        assert watcher.way.counts["unread"] == watcher.way.counts["pictures"] > 0
        assert caplog.text.count(line) == 1


async def test_watch_advises_where_pictures_show_two_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Many mixed and torn pictures are told apart and counted, named by nothing, and advice is given once."""
    monkeypatch.setattr(watching, "ENOUGH", 20)
    monkeypatch.setattr(watching, "Reader", Patient)
    pairs = [(coded_image(SCENE, k), coded_image(SCENE, k + 1)) for k in range(FIRST, FIRST + 6)]
    mixed = [(0.55 * a + 0.45 * b).astype(np.uint8) for a, b in pairs]
    torn = [np.concatenate((a[:120], b[120:])) for a, b in pairs]
    watcher = Watcher(
        write_clip(tmp_path / "a.mp4", [each for pair in zip(mixed, torn, strict=True) for each in pair]),
        monkeypatch,
        film(),
    )
    assert await watcher.way.open()
    await watcher.until(lambda: "film at half the camera's rate" in caplog.text)
    counts, seen = watcher.way.counts, watcher.way.counts["pictures"]
    await watcher.until(lambda: counts["pictures"] > seen + 20)  # the numbers in the advice are others now
    await watcher.until(lambda: counts["mixed"] and counts["torn"])
    watcher.way._watch_reading(time.monotonic())
    await watcher.way.close()
    assert watcher.seen == []
    assert caplog.text.count("film at half the camera's rate") == 1


def on_screen(image: Image, left: int, top: int) -> Image:
    """Return a grey screen that shows a film, pixel by pixel, with its top left corner at a place, px, even."""
    screen = np.full((540, 480), 128, np.uint8)
    planes(screen)[0][:] = 60
    for plane, film, side in zip(planes(screen), planes(image), (1, 2, 2), strict=True):
        plane[top // side :, left // side :][: film.shape[0], : film.shape[1]] = film
    return screen


async def test_watch_of_a_film_that_moves_scores_nothing_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """While a window is dragged nothing is handed on but what is where it was, and one line says why."""
    images = [on_screen(coded_image(SCENE, FIRST + n), 2 * n, 2 * n) for n in range(40)]
    monkeypatch.setattr(watching, "Reader", Patient)
    watcher = Watcher(write_clip(tmp_path / "a.mp4", images + images[::-1]), monkeypatch, film())
    assert await watcher.way.open()
    await watcher.until(lambda: "the film moves in the picture" in caplog.text)
    await watcher.until(lambda: watcher.way.counts["pictures"] > 160)
    await watcher.way.close()
    assert len(watcher.seen) < 10
    assert watcher.way.counts["unread"] > 140
    assert caplog.text.count("the film moves in the picture") == 1


async def test_watch_of_a_film_under_a_window_tells_no_error_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What covers a part of the outline leaves the frames their names, and takes their errors; one line says so."""
    images = [on_screen(coded_image(SCENE, FIRST + n), 100, 60) for n in range(20)]
    for image in images:
        planes(image)[0][150:220, 80:160] = 200
    watcher = Watcher(write_clip(tmp_path / "a.mp4", images), monkeypatch, film())
    assert await watcher.way.open()
    await watcher.until(lambda: "covered or cut off" in caplog.text)
    await watcher.way.close()
    assert set(watcher.seen) <= {FIRST + n for n in range(20)}
    assert set(watcher.sharp) == {False}
    assert caplog.text.count("covered or cut off") == 1


class Camera:
    """Stands in for a camera: says what comes of each opening of the device, one after the other; then of the last.

    Args:
        openings: a clip, or None; and the errno by which the clip breaks off after 8 pictures, or the opening fails.
    """

    def __init__(self, *openings: tuple[Path | None, int]) -> None:
        self._openings = list(openings)
        self._open = av.open

    def open(self, name: str, **options: object) -> Any:
        """Open the device as PyAV would, whatever it is called."""
        assert (name, options["format"]) == ("/dev/video0", "v4l2")
        path, self._errno = self._openings.pop(0) if len(self._openings) > 1 else self._openings[0]
        if path is None:
            err_check(-self._errno, name)
        self._container = self._open(str(path))
        return self

    def __enter__(self) -> "Camera":
        return self

    def __exit__(self, *_: object) -> None:
        self._container.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._container, name)

    def demux(self, stream: VideoStream) -> Iterator[Any]:
        """Return packets until the camera is gone."""
        for n, packet in enumerate(self._container.demux(stream)):
            if n == 8:
                err_check(-self._errno, "/dev/video0")
            yield packet


@pytest.mark.parametrize("error", [errno.EBUSY, errno.EACCES])
async def test_watch_of_a_camera_that_others_use_is_one_line(error: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A camera that is busy, or that we may not use, ends with its name and the reason."""
    monkeypatch.setattr(av, "open", Camera((None, error)).open)
    watcher = Watcher("0", monkeypatch, film())
    with pytest.raises(PeerError, match=f"--watch 0: {os.strerror(error)}$"):
        await watcher.way.open()
    await watcher.way.close()


async def test_watch_of_a_camera_goes_on_when_it_is_plugged_in_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Unplugged, gone, back and busy, and back for good: each is a line, and new frames are named after it."""
    before, after = (
        write_clip(tmp_path / name, [coded_image(SCENE, FIRST + first + n) for n in range(10)])
        for name, first in (("a.mp4", 0), ("b.mp4", 20))
    )
    camera = Camera((before, errno.ENODEV), (None, errno.ENOENT), (None, errno.EBUSY), (after, errno.EIO))
    monkeypatch.setattr(av, "open", camera.open)
    watcher = Watcher("0", monkeypatch, film(FIRST + 40))
    assert await watcher.way.open()
    await watcher.until(lambda: any(k >= FIRST + 20 for k in watcher.seen))
    await watcher.way.close()
    assert set(watcher.seen) <= {FIRST + first + n for first in (0, 20) for n in range(10)}
    for each in (errno.ENODEV, errno.ENOENT, errno.EBUSY):
        assert caplog.text.count(f"source 0: {os.strerror(each)}; opening it again") == 1


async def test_watch_goes_on_with_pictures_of_another_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A source that comes back larger is looked at as it is now."""
    path = write_clip(tmp_path / "a.mp4", [coded_image(SCENE, FIRST + 1)] * 4)
    watcher = Watcher(path, monkeypatch, film())
    assert await watcher.way.open()
    await watcher.until(lambda: FIRST + 1 in watcher.seen)
    image = coded_image(SCENE, FIRST + 2)
    large = [cv2.resize(plane, None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR) for plane in planes(image)]
    write_clip(tmp_path / "b.mp4", [np.concatenate([each.ravel() for each in large]).reshape(720, 640)] * 4)
    (tmp_path / "b.mp4").replace(path)
    await watcher.until(lambda: FIRST + 2 in watcher.seen)
    await watcher.way.close()


@pytest.mark.parametrize("source", ["missing.mp4", "99", "udp://127.0.0.1:9?timeout=200000"])
async def test_watch_of_what_gives_no_picture_is_one_line(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file, a camera or a URL that is not there ends with its name and the reason."""
    watcher = Watcher(source, monkeypatch, film())
    with pytest.raises(PeerError, match=r"--watch .*: \S+") as told:
        await watcher.way.open()
    assert "\n" not in str(told.value)
    await watcher.way.close()


@pytest.mark.parametrize("told", [None, film(run=None)])
async def test_watch_of_a_film_without_numbers_says_what_to_do(
    told: Film | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the server writes no numbers, or is too old to say, one line names its option."""
    watcher = Watcher("0", monkeypatch, told)
    with pytest.raises(PeerError, match=r"start server\.py with --code"):
        await watcher.way.open()
    await watcher.way.close()


async def test_watch_of_a_film_too_small_for_numbers_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that says it has numbers where there is no room for them is at fault, and no traceback of ours."""
    watcher = Watcher("0", monkeypatch, Film(8, 8, FPS, RUN, FIRST))
    with pytest.raises(PeerError, match="too small"):
        await watcher.way.open()
    await watcher.way.close()


def test_sources_of_names_what_ffmpeg_opens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cameras, screens, places on screens and streams are opened in their own ways, a person's options first."""
    monkeypatch.setenv("DISPLAY", ":7")
    (camera,) = sources_of("0", {"video_size": "1280x720"}, film())
    assert camera == ("/dev/video0", "v4l2", {"video_size": "1280x720"})
    (screen,) = sources_of("screen", {}, film())
    assert (screen.name, screen.format, screen.options["framerate"] if screen.options else "") == (
        ":7",
        "x11grab",
        "60",
    )
    (place,) = sources_of(":0.0+8,9", {"framerate": "120"}, film())
    assert place.options == {"framerate": "120", "draw_mouse": "0", "video_size": "320x240"}
    quick, plain = sources_of("udp://127.0.0.1:5000", {}, film())
    assert (quick.options, plain.options) == ({"fflags": "noparse"}, {})
    assert sources_of("rtsp://127.0.0.1/x", {}, film()) == [("rtsp://127.0.0.1/x", None, {})]


class Sender(threading.Thread):
    """Films, has that encoded and decoded as a media server does, and sends it on as another stream, at 30 fps.

    Attributes:
        drawn: s, when each frame was, by its number.
    """

    def __init__(self, url: str, form: str, options: dict[str, str]) -> None:
        super().__init__(daemon=True)
        self.drawn: dict[int, float] = {}
        self._url, self._form, self._options = url, form, options
        self._stopped = threading.Event()

    def run(self) -> None:
        """Send until stopped."""
        codec = create_codec("vp8", SCENE.width, SCENE.height, FPS, 300_000)
        decoder = av.CodecContext.create("vp8", "r")
        assert isinstance(decoder, VideoCodecContext)
        options = {"preset": "ultrafast", "tune": "zerolatency", "b": "500k", "g": "10"}
        with av.open(self._url, "w", format=self._form, options=self._options) as container:
            stream = container.add_stream("libx264", rate=30, options=options)
            assert isinstance(stream, VideoStream)
            stream.width, stream.height, stream.pix_fmt = SCENE.width, SCENE.height, "yuv420p"
            began = time.monotonic()
            for n in itertools.count():
                if self._stopped.wait(max(0.0, began + n / FPS - time.monotonic())):
                    return
                self.drawn[FIRST + n] = time.monotonic()
                data = encode(codec, n, coded_image(SCENE, FIRST + n), key=n == 0)
                for decoded in decoder.decode(av.Packet(data)):
                    frame = av.VideoFrame.from_ndarray(decoded.to_ndarray(), format="yuv420p")
                    frame.pts, frame.time_base = n, Fraction(1, 30)
                    container.mux(stream.encode(frame))

    def stop(self) -> None:
        """End it."""
        self._stopped.set()
        self.join(PATIENCE)


@pytest.mark.slow
async def test_watch_names_frames_behind_what_decodes_and_encodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind another codec and a stream of packets every number that is read is that of a frame that was sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
    sender = Sender(f"udp://127.0.0.1:{port}?pkt_size=1316", "mpegts", {"omit_video_pes_length": "0"})
    watcher = Watcher(f"udp://127.0.0.1:{port}", monkeypatch, film(FIRST + 150))
    sender.start()
    try:
        assert await watcher.way.open()
        await watcher.until(lambda: len(watcher.seen) >= 60)
    finally:
        await watcher.way.close()
        sender.stop()
    assert watcher.seen == sorted(set(watcher.seen))
    assert set(watcher.seen) <= set(sender.drawn)
    assert watcher.way.counts["foreign"] == 0


# --- As programs ---------------------------------------------------------------------------------


def test_watch_of_a_server_without_code_ends_with_one_line() -> None:
    """The watcher of a film without numbers ends with status 1, and says which option the server wants."""
    port = free_port()
    with run("server.py", "--signaling-port", port) as serving:
        serving.wait_for("filming")
        with run("client.py", "--signaling-port", port, "--view", "none", "--watch", "nothing.mp4") as client:
            assert client.wait() == 1
    assert "start server.py with --code" in client.output
    assert re.search(r"^nothing\.mp4: pictures 0  again 0  unread 0 ", client.output, re.MULTILINE)


@pytest.mark.screen
@pytest.mark.slow
def test_watch_reads_a_window_on_a_screen(tmp_path: Path) -> None:
    """A window that shows the film is grabbed: its frames are named, none falsely, and scored to a few thousandths."""
    from support.screen import run_screen

    port, path = free_port(), tmp_path / "s.json"
    shared = ("--signaling-port", port)
    with run_screen() as display, run("server.py", *shared, "--code", "--fps", 15, "--summary", path) as serving:
        prefix = ("env", f"DISPLAY={display.display}")
        with run("client.py", *shared, "--view", "window", prefix=prefix):
            serving.wait_for(r"scored [1-9]\d")
            with run("client.py", *shared, "--view", "none", "--watch", "screen", prefix=prefix) as watcher:
                watcher.wait_for(r"the server scored [1-9]\d")
                assert watcher.end() == 0
        assert serving.end() == 0
    (seen,) = (client for client in read_summary(path)["clients"] if client["transport"] == "elsewhere")
    assert seen["frames"]["unmatched"] == 0
    assert seen["error_px"]["p50"] < 0.05  # on a busy machine the film comes by fewer bits
    assert seen["error_px"]["max"] < 1  # a frame's neighbour is 16 px off
    assert seen["watched"]["foreign"] == 0
