"""Reading what other people's files and networks give: rates that lie, times that jump, damage, silence."""

import asyncio
import logging
import os
import random
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition

from ball_track import Point
from common import decoding
from common.decoding import Picture, Reader, Source, Stamps
from common.rendering import Renderer, SourceError
from film import sources
from film.drawn import Shot
from film.sources import SourceFilm
from support.media import write_video
from support.programs import run
from tools.procfs import free_port

PATIENCE = 120.0  # s


async def read(path: Path) -> tuple[list[Picture], Reader]:
    """Return all pictures of a file, and what read it.

    Raises:
        SourceError: there is an end that is none.
    """
    reader = Reader(Source(str(path)), Renderer(lambda _: None), fps=77)
    reader.start()
    pictures: list[Picture] = []
    try:
        async with asyncio.timeout(PATIENCE):
            while (picture := await reader.next()) is not None:
                pictures.append(picture)
    finally:
        reader.stop()
    return pictures, reader


async def shots_of(film: SourceFilm, count: int) -> list[Shot]:
    """Return the next frames of a film."""
    shots: list[Shot] = []
    async with asyncio.timeout(PATIENCE):
        while len(shots) < count:
            shots.append(await film.next(shots[-1].k if shots else -1))
    return shots


def messages(caplog: pytest.LogCaptureFixture, path: Path | str) -> list[str]:
    """Return what the log says of a source."""
    assert all(record.levelno == logging.WARNING for record in caplog.records)
    return [record.getMessage().removeprefix(f"source {path}: ") for record in caplog.records]


# --- Rates and time stamps -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "codec", "rate", "rgb"),
    [
        ("clip.dv", "dvvideo", 25, np.zeros((576, 720, 3), np.uint8)),  # says 60000
        ("clip.ivf", "libvpx", 30, None),  # says nothing
        ("clip.avi", "mpeg4", 24, None),
        ("clip.webm", "libvpx", 30, None),  # whole milliseconds: 30.3 by the first two
        ("clip.flv", "flv", 30, None),
        ("clip.ts", "mpeg2video", 50, None),
        ("clip.gif", "gif", 10, None),
    ],
)
async def test_rate_is_that_of_the_frames(tmp_path: Path, name: str, codec: str, rate: int, rgb: np.ndarray | None):
    """Whatever a container says of its rate, the film has that of its frames, and each is due when FFmpeg says."""
    pixel_format = "rgb8" if codec == "gif" else "yuv420p"
    path = write_video(tmp_path / name, codec, rgb, pixel_format, stamps=range(20), rate=rate)
    pictures, reader = await read(path)
    assert reader.fps == pytest.approx(rate, rel=0.01)
    times = [picture.time for picture in pictures if picture.time is not None]
    assert [after - before for before, after in pairwise(times)] == pytest.approx([1 / rate] * 19, abs=0.001)
    assert [picture.number for picture in pictures] == list(range(20))


async def test_picture_on_a_cover_is_not_taken_for_the_film(tmp_path: Path):
    """Of several videos the one is shown that ffplay shows, in whatever order they are."""
    path = tmp_path / "clip.mkv"
    with av.open(path, "w") as container:
        cover, film = (container.add_stream(codec, rate=25) for codec in ("mjpeg", "mpeg4"))
        cover.width = cover.height = 64
        cover.pix_fmt = "yuvj420p"
        film.disposition = Disposition.default
        film.width = film.height = 128
        film.pix_fmt = "yuv420p"
        container.mux(cover.encode(av.VideoFrame(64, 64, "yuvj420p")))
        for n in range(20):
            frame = av.VideoFrame(128, 128, "yuv420p")
            frame.pts = n
            container.mux(film.encode(frame))
        container.mux(film.encode(None))
    pictures, reader = await read(path)
    assert len(pictures) == 20
    assert reader.fps == pytest.approx(25)


async def test_cover_alone_is_shown_at_a_usual_rate(tmp_path: Path):
    """One picture, of which the container says that it comes 90000 times a second, does not keep the machine busy."""
    path = tmp_path / "cover.mkv"
    with av.open(path, "w") as container:
        cover = container.add_stream("mjpeg", rate=90_000)
        cover.width = cover.height = 64
        cover.pix_fmt = "yuvj420p"
        container.mux(cover.encode(av.VideoFrame(64, 64, "yuvj420p")))
    _, reader = await read(path)
    assert reader.fps == 77  # what is taken where nothing tells


def test_stamps_are_the_better_ones():
    """Time stamps that were reordered wrongly, as in AVI, give way to those of decoding; others are taken."""
    wrong, right = Stamps(), Stamps()
    assert [wrong.best(pts, dts) for pts, dts in [(1, 2), (4, 3), (3, 4), (5, 5), (2, 6), (8, 7)]] == [1, 4, 4, 5, 6, 7]
    assert [right.best(pts, dts) for pts, dts in [(0, None), (5, 3), (7, 5)]] == [0, 5, 7]
    assert Stamps().best(None, 3) == 3
    assert Stamps().best(None, None) is None


async def test_where_follows_the_times_of_the_frames(tmp_path: Path):
    """Of a film whose rate varies, the ball is halfway between two frames at half of the time between these two."""
    path = write_video(tmp_path / "clip.mkv", "libx264", stamps=[0, 1, 2, 3, 4, 64, 65, 66])
    began = time.monotonic()
    async with SourceFilm(str(path), truth={n: Point(10 * n, 0) for n in range(8)}) as film, asyncio.timeout(PATIENCE):
        shot = await film.next(-1)
        while shot.truth != (40, 0):
            shot = await film.next(shot.k)
        while film.where(shot.drawn + 1) != pytest.approx((45, 0), abs=0.1):  # noqa: ASYNC110  # it is read meanwhile
            await asyncio.sleep(0.01)
        assert film.where(shot.drawn + 0.2) == pytest.approx((41, 0), abs=0.1)
        following = await film.next(shot.k)
        assert following.drawn - began > 64 / 30, "it comes when it is due, however late the one before was"


async def test_time_stamps_that_jump_do_not_stop_the_film(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """A jump by 10,000 s, as after NTP or where two files were joined, is one line, and the film goes on."""
    jump = 30 * 10_000
    path = write_video(tmp_path / "clip.mkv", "libx264", stamps=[0, 1, 2, jump, jump + 1, jump + 2])
    async with SourceFilm(str(path)) as film:
        await shots_of(film, 15)
    assert messages(caplog, path) == ["its time stamps jump by 10000 s"]


async def test_film_that_stands_still_by_itself_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """A frame that is to be shown for a while is, as every player does; one line says so beforehand."""
    path = write_video(tmp_path / "clip.mkv", "libx264", stamps=[0, 1, 2, 3, 4, 5 + 30 * 7])
    async with SourceFilm(str(path)), asyncio.timeout(PATIENCE):
        while not caplog.records:  # noqa: ASYNC110  # a log has no event
            await asyncio.sleep(0.05)
    assert messages(caplog, path) == ["it stands still for 7 s, by its time stamps"]


async def test_time_stamps_that_go_back_do_not_stop_the_film(tmp_path: Path):
    """Two files joined at their ends are shown one after the other, at their pace."""
    path = write_video(tmp_path / "clip.ts", "mpeg2video", stamps=range(20))
    await asyncio.to_thread(path.write_bytes, path.read_bytes() * 3)
    async with SourceFilm(str(path)) as film:
        shots = await shots_of(film, 50)
    assert shots[-1].drawn - shots[0].drawn > 49 / 30 - sources.MAX_LATE


# --- Damage --------------------------------------------------------------------------------------


async def test_one_damaged_packet_costs_no_more_than_itself(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """What comes after it is shown; one line says that there is damage; the truth, which counts frames, is unknown."""
    path = write_video(tmp_path / "clip.avi", "mjpeg", pixel_format="yuvj420p", stamps=range(20))
    data = bytearray(path.read_bytes())
    at = -1
    for _ in range(8):
        at = data.index(b"00dc", at + 1)
    size = int.from_bytes(data[at + 4 : at + 8], "little")
    data[at + 8 : at + 8 + size] = bytes(size)
    path.write_bytes(data)
    pictures, _ = await read(path)
    assert [picture.number for picture in pictures] == [*range(6), *[None] * 13]
    async with SourceFilm(str(path), truth={n: Point(n, 0) for n in range(20)}) as film:
        shots = await shots_of(film, 50)
    assert {shot.truth for shot in shots} == {None, *(Point(n, 0) for n in range(6))}
    assert messages(caplog, path) == ["it is damaged; what can be decoded is shown"]


@pytest.mark.parametrize(
    ("name", "codec"),
    [("clip.mp4", "libx264"), ("clip.ts", "mpeg2video"), ("clip.webm", "libvpx"), ("clip.avi", "mjpeg")],
)
async def test_files_damaged_at_random_end(tmp_path: Path, name: str, codec: str):
    """Whatever is damaged in a file, reading it comes to an end, and an error has a text of one line."""
    pixel_format = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    whole = write_video(tmp_path / name, codec, pixel_format=pixel_format, stamps=range(20)).read_bytes()
    for seed in range(5):
        chance = random.Random(seed)
        data = bytearray(whole)
        for _ in range(20):
            data[chance.randrange(len(data))] = chance.randrange(256)
        path = tmp_path / f"{seed}-{name}"
        await asyncio.to_thread(path.write_bytes, data)
        try:
            assert len((await read(path))[0]) <= 25
        except SourceError as error:
            reason = str(error)
            assert reason
            assert "\n" not in reason


# --- Networks ------------------------------------------------------------------------------------


@contextmanager
def http_server(answers: list[bytes]) -> Iterator[tuple[str, threading.Event]]:
    """Give each who connects the next answer, the last one for ever, and then nothing.

    Yields:
        The URL, and what is set when somebody has asked.
    """
    asked = threading.Event()
    held: list[socket.socket] = []

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                held.append(connection)
                asked.set()
                connection.sendall(answers[min(len(held), len(answers)) - 1])

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/clip.ts", asked
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in held:
                connection.close()


async def test_source_that_stalls_is_opened_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    """A URL that gives half of a film and then nothing, without an end, is one line, and is opened again."""
    monkeypatch.setattr(decoding, "READ_TIMEOUT", 1.0)
    monkeypatch.setattr(decoding, "RETRY_INTERVAL", 0.05)
    film_bytes = write_video(tmp_path / "clip.ts", "mpeg2video", stamps=range(60)).read_bytes()
    head = b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(film_bytes)
    with http_server([head + film_bytes[: len(film_bytes) // 2], head + film_bytes]) as (url, _):
        async with SourceFilm(url) as film:
            async with asyncio.timeout(PATIENCE):
                while not caplog.records:  # noqa: ASYNC110  # a log has no event
                    await asyncio.sleep(0.05)
            assert len(await shots_of(film, 30)) == 30
        assert messages(caplog, url)[0] == "nothing came within 1 s; opening it again"


async def test_source_that_never_answers_is_an_error(monkeypatch: pytest.MonkeyPatch):
    """A URL that takes the connection and says nothing is told as such, and no stop waits for it."""
    monkeypatch.setattr(sources, "START_TIMEOUT", 0.5)
    with http_server([b""]) as (url, _), pytest.raises(SourceError, match=r"no picture within 0\.5 s"):
        await SourceFilm(url).__aenter__()


async def test_stop_does_not_wait_for_what_hangs_in_the_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A FIFO that nobody writes to keeps its reader in the kernel; the film ends all the same."""
    monkeypatch.setattr(sources, "START_TIMEOUT", 0.3)
    monkeypatch.setattr(decoding, "CLOSING", 0.1)
    path = tmp_path / "fifo"
    os.mkfifo(path)
    with pytest.raises(SourceError, match="no picture within"):
        await asyncio.wait_for(SourceFilm(str(path)).__aenter__(), PATIENCE)
    os.close(os.open(path, os.O_WRONLY))  # now it ends


async def test_pauses_grow_while_a_source_is_gone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    """What is gone is asked for less and less often, and often again once it was back."""
    monkeypatch.setattr(decoding, "RETRY_INTERVAL", 0.1)
    monkeypatch.setattr(decoding, "MAX_RETRY_INTERVAL", 0.4)
    path = write_video(tmp_path / "clip.mp4", "libx264")
    async with SourceFilm(str(path)), asyncio.timeout(PATIENCE):
        path.unlink()
        while len(caplog.records) < 5:  # noqa: ASYNC110  # a log has no event
            await asyncio.sleep(0.02)
    times = [record.created for record in caplog.records]
    for (before, after), least in zip(pairwise(times), (0.1, 0.2, 0.4, 0.4), strict=False):
        assert after - before > 0.9 * least


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_server_obeys_the_stop_while_its_source_says_nothing(stop: signal.Signals):
    """Ctrl-C before the first picture of a URL that never answers is a normal end, at once."""
    args = ("--signaling-port", free_port(), "--source")
    with http_server([b""]) as (url, asked), run("server.py", *args, url) as serving:
        assert asked.wait(PATIENCE)
        serving.process.send_signal(stop)
        assert serving.wait() == 0
        assert "Traceback" not in serving.output
