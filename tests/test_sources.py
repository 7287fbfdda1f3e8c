"""Real pictures: files made here, at their own pace, with and without truth; and what is missing or broken."""

import asyncio
import csv
import logging
import math
import re
import time
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from ball_track import Point, Scene, draw, find, planes
from common import decoding
from common.rendering import SourceError
from film import sources
from film.drawn import Shot
from film.sources import SourceFilm
from film.truth import read_truth
from programs import server_options
from protocol.matching import MODULUS, Matcher
from protocol.picture_code import check_of, layout_of, read
from support.coded import RUN
from support.programs import read_summary, run
from tools.procfs import free_port

FPS = 30
FRAMES = 20  # of a clip
SCENE = Scene(320, 240, fps=FPS, radius=15, speed=120)
PATIENCE = 120.0  # s


def write_clip(path: Path, scene: Scene = SCENE, pixel_format: str = "yuv420p", frames: int = FRAMES) -> Path:
    """Write a video file of a scene, nearly lossless."""
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(scene.fps), options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = scene.width, scene.height, pixel_format
        for k in range(frames):
            frame = av.VideoFrame.from_ndarray(draw(scene, scene.position(k)), format="yuv420p")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_truth(path: Path, frames: int = FRAMES) -> Path:
    """Write the truth of such a file."""
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("frame", "x", "y"))
        rows.writerows((k, *SCENE.position(k)) for k in range(frames))
    return path


def move(path: Path, target: Path) -> None:
    """Give a file another name."""
    path.rename(target)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file."""
    path.write_bytes(data)


def damage(path: Path) -> None:
    """Change 200 bytes in the middle of a file."""
    data = bytearray(path.read_bytes())
    for at in range(len(data) // 2, len(data) // 2 + 200):
        data[at] ^= 0x55
    path.write_bytes(data)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A video file of FRAMES frames."""
    return write_clip(tmp_path / "clip.mp4")


async def shots_of(film: SourceFilm, count: int) -> list[Shot]:
    """Return the next frames of a film."""
    shots: list[Shot] = []
    async with asyncio.timeout(PATIENCE):
        while len(shots) < count:
            shots.append(await film.next(shots[-1].k if shots else -1))
    return shots


async def test_file_too_small_for_a_number_is_an_error(tmp_path: Path):
    """Where there is no room for it, one line says how much there has to be."""
    path = write_clip(tmp_path / "clip.mp4", scene=Scene(128, 96, radius=8))
    with pytest.raises(SourceError, match="128x96: too small for the frame's number; at least"):
        async with SourceFilm(str(path), run=RUN):
            pass


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv444p", "yuv422p"])
async def test_file_shows_what_is_in_it(tmp_path: Path, pixel_format: str):
    """Size and rate come from the file, each picture shows the ball where its truth says, in any pixel format."""
    path = write_clip(tmp_path / "clip.mp4", pixel_format=pixel_format)
    truth = {k: SCENE.position(k) for k in range(FRAMES)}
    async with SourceFilm(str(path), truth=truth) as film:
        assert (film.width, film.height, film.fps) == (320, 240, FPS)
        for shot in await shots_of(film, 5):
            point = find(shot.image)
            assert point is not None
            assert shot.truth is not None
            assert math.dist(point, shot.truth) < 0.1


async def test_file_can_have_a_number_in_each_picture(clip: Path):
    """Each picture says which frame of the film it is, also when the file begins again, and keeps its ball."""
    async with SourceFilm(str(clip), run=RUN) as film:
        for shot in await shots_of(film, FRAMES + 3):
            reading = read(planes(shot.image)[0], layout_of(film.width, film.height))
            assert (reading.legibility, reading.number, reading.check) == ("read", shot.k, check_of(shot.k, RUN))


@pytest.mark.parametrize("name", ["rec-2026-11-25T10:00.mp4", "file:clip.mp4", "-.mp4"])
async def test_file_may_have_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str):
    """What looks like a protocol, or like an option, is the file's name if there is such a file."""
    write_clip(tmp_path / "clip.mp4").rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    async with SourceFilm(name) as film:
        assert (film.width, film.height) == (320, 240)
    assert decoding.locate("rtsp://" + "x" * 1000) == "rtsp://" + "x" * 1000


async def test_file_is_looped_at_its_own_pace(clip: Path):
    """Three rounds of a file take three times as long as the file, and the truth begins again with each."""
    truth = {k: Point(k, 0) for k in range(FRAMES)}
    async with SourceFilm(str(clip), truth=truth) as film:
        shots = await shots_of(film, 3 * FRAMES)
    ks = [shot.k for shot in shots]
    seen = [int(shot.truth.x) for shot in shots if shot.truth is not None]
    assert [(k - ks[0] + seen[0]) % FRAMES for k in ks] == seen
    assert shots[-1].drawn - shots[0].drawn >= (ks[-1] - ks[0] - 1) / FPS - sources.MAX_LATE


async def test_file_without_times_is_paced_by_its_rate(tmp_path: Path):
    """A bare H.264 stream, whose frames have no time, is shown at its rate all the same."""
    path = tmp_path / "clip.h264"
    codec = av.CodecContext.create("libx264", "w")
    assert isinstance(codec, av.VideoCodecContext)
    codec.width, codec.height, codec.pix_fmt, codec.time_base = 320, 240, "yuv420p", Fraction(1, FPS)
    frames = [av.VideoFrame(320, 240, "yuv420p") for _ in range(FRAMES)]
    write_bytes(path, b"".join(bytes(packet) for frame in (*frames, None) for packet in codec.encode(frame)))
    async with SourceFilm(str(path)) as film:
        shots = await shots_of(film, FRAMES)
    assert shots[-1].drawn - shots[0].drawn >= 0.5 * FRAMES / film.fps


async def test_file_frames_can_be_told_apart_by_their_pts(clip: Path):
    """The pts rise with the clock, and their pattern is one that the ledger can match under any shift."""
    async with SourceFilm(str(clip)) as film:
        shots = await shots_of(film, 12)
    for before, after in pairwise(shots):
        assert after.pts > before.pts
        assert (after.pts - before.pts) / 90_000 == pytest.approx(after.drawn - before.drawn, abs=0.0016)
    sent = {shot.pts % MODULUS: shot.k for shot in shots}
    matcher: Matcher[int, int] = Matcher()
    named = [pair for shot in shots[3:] for pair in matcher.match(shot.pts + 123_456_789, shot.k, sent)]
    assert named == [(shot.k, shot.k) for shot in shots[3:]]


async def test_where_lies_between_two_frames(clip: Path):
    """The truth of a moment is on the line between those of the frames around it; unknown beyond the last."""
    truth = {k: Point(10 * k, -k) for k in range(FRAMES)}
    async with SourceFilm(str(clip), truth=truth) as film:
        shot = (await shots_of(film, 2))[-1]
        assert shot.truth is not None
        n = int(shot.truth.x) // 10
        if n + 1 < FRAMES:
            assert film.where(shot.drawn + 0.5 / FPS) == pytest.approx((10 * n + 5, -n - 0.5), abs=1e-6)
        assert film.where(shot.drawn + FRAMES / FPS) is None
    async with SourceFilm(str(clip)) as film:
        assert film.where(time.monotonic()) is None


async def test_file_that_changes_size_is_scaled(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """Pictures of another size are scaled to the first one's, which one line tells, and the film goes on."""
    path = tmp_path / "clip.avi"
    with av.open(path, "w") as container:  # MJPEG: each picture has a size of its own
        stream = container.add_stream("mjpeg", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuvj420p"
        for k in range(FRAMES):
            size = (320, 240) if k < FRAMES // 2 else (160, 120)
            codec = av.CodecContext.create("mjpeg", "w")
            assert isinstance(codec, av.VideoCodecContext)
            codec.width, codec.height, codec.pix_fmt, codec.time_base = *size, "yuvj420p", Fraction(1, FPS)
            frame = av.VideoFrame.from_ndarray(np.full((size[1] * 3 // 2, size[0]), 100, np.uint8), format="yuvj420p")
            frame.pts = k
            for packet in codec.encode(frame):
                packet.stream = stream
                container.mux(packet)
    async with SourceFilm(str(path)) as film:
        shots = await shots_of(film, FRAMES)
        assert {shot.image.shape for shot in shots} == {(360, 320)}
    assert [record.getMessage() for record in caplog.records] == [
        f"source {path}: pictures of 160x120 now; scaled to 320x240"
    ]


async def test_file_that_breaks_is_opened_again(
    clip: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    """A file that is gone at its end is one line in the log a second; when it is back, the film goes on."""
    monkeypatch.setattr(decoding, "RETRY_INTERVAL", 0.1)
    hidden = clip.with_name("hidden.mp4")
    async with SourceFilm(str(clip)) as film:
        move(clip, hidden)
        async with asyncio.timeout(PATIENCE):
            while not caplog.records:  # noqa: ASYNC110  # a log has no event
                await asyncio.sleep(0.05)
        assert caplog.records[0].getMessage() == f"source {clip}: No such file or directory; opening it again"
        move(hidden, clip)
        assert len(await shots_of(film, 3)) == 3
    assert all(record.levelno == logging.WARNING for record in caplog.records)


async def test_damaged_file_goes_on(clip: Path):
    """A file damaged in the middle shows what can be shown of it, round after round."""
    damage(clip)
    async with SourceFilm(str(clip)) as film:
        assert len(await shots_of(film, 2 * FRAMES)) == 2 * FRAMES


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("missing.mp4", None, "No such file or directory"),
        ("text.mp4", b"this is no video\n" * 1000, "Invalid data"),
        ("empty.mp4", b"", "Invalid data"),
    ],
)
async def test_source_without_pictures_is_an_error(tmp_path: Path, name: str, content: bytes | None, reason: str):
    """A file that is missing, empty or no video is told as what it is."""
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=reason):
        await SourceFilm(str(tmp_path / name)).__aenter__()


async def test_file_of_sound_is_an_error(tmp_path: Path):
    """A file without pictures is told as such."""
    path = tmp_path / "sound.wav"
    with av.open(path, "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(SourceError, match="no video in it"):
        await SourceFilm(str(path)).__aenter__()


async def test_file_of_tiny_pictures_is_an_error(tmp_path: Path):
    """A size that is none for a film is told."""
    path = tmp_path / "tiny.mp4"
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        container.mux(stream.encode(av.VideoFrame(32, 32, "yuv420p")))
        container.mux(stream.encode())
    with pytest.raises(SourceError, match="pictures of 32x32: must be 64 to 4096 px"):
        await SourceFilm(str(path)).__aenter__()


@pytest.mark.parametrize("source", ["99", "/dev/video99"])
async def test_camera_that_is_not_there_is_an_error(source: str):
    """A camera that cannot be opened is told as such."""
    with pytest.raises(SourceError, match="No such file or directory"):
        await SourceFilm(source).__aenter__()


async def test_watch_tells_when_filming_fails_for_good(clip: Path, monkeypatch: pytest.MonkeyPatch):
    """An error that nobody reckoned with is no standstill in silence: who watches is told."""
    async with SourceFilm(str(clip)) as film:
        watching = asyncio.create_task(film.watch())
        shot = await film.next(-1)
        assert not watching.done()
        monkeypatch.setattr(film, "_show", lambda *_: 1 / 0)
        with pytest.raises(SourceError, match=r"--source .*clip\.mp4: ZeroDivisionError"):
            await asyncio.wait_for(watching, PATIENCE)
        assert shot.k >= 0


def test_read_truth_gives_back_what_was_written(tmp_path: Path):
    """A truth with and without a line of names, and with frames in which no ball is seen, is read."""
    path = write_truth(tmp_path / "t.csv")
    assert read_truth(path) == {k: SCENE.position(k) for k in range(FRAMES)}
    path.write_text("3,1.5,2\n7,,\n\n8,-1,1e2\n")
    assert read_truth(path) == {3: (1.5, 2), 8: (-1, 100)}


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbfframe,x,y\r\n0,1.5,2\r\n1,,\r\n2,3,4\r\n",  # Excel, "CSV UTF-8"
        b"\xef\xbb\xbfFrame;X;Y\r\n0;1,5;2\r\n1;;\r\n2;3;4\r\n",  # the same where the comma is decimal
        "\ufeffframe\tx\ty\r\n0\t1.5\t2\r\n1\t\t\r\n2\t3\t4\r\n".encode("utf-16-le"),  # "Unicode text"
        b" Frame , X , Y \n 0 , 1.5 , 2 \n 1 , , \n 2 , 3 , 4 ",
        b"FRAME,x,y,,\r0.0,1.5,2.0,,\r1.0,,,,\r,,,,\r2.0,3.0,4.0,,\r",  # an old Mac's, with empty columns
        b'"frame","x","y"\n"0","1.5","2"\n"2","3","4"\n',
        b"\n\n0,1.5,2\n2,3,4\n",
    ],
)
def test_read_truth_takes_what_spreadsheets_write(tmp_path: Path, data: bytes):
    """Marks of the byte order, blanks, capitals, 0.0, semicolons with decimal commas, tabs: all say the same."""
    path = tmp_path / "t.csv"
    path.write_bytes(data)
    assert read_truth(path) == {0: (1.5, 2), 2: (3, 4)}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no frame in it has a ball"),
        ("frame,x,y\n", "no frame in it has a ball"),
        ("1,,\n", "no frame in it has a ball"),
        ("1,2\n", "line 1: 2 columns; must be frame, x, y"),
        ("frame,x\n", "line 1: 2 columns"),
        ("1,2,3,4\n", "line 1: 4 columns"),
        ("1,2,3\n1,2,3\n", "line 2: frame 1 for the second time, after line 1"),
        ("1,2,\n", "line 1: y is missing"),
        ("1,,2\n", "line 1: x is missing"),
        ("0,1,1\none,2,3\n", "line 2: frame 'one' is no number"),
        ("\n0,1,1\n1,a,3\n", "line 3: x 'a' is no number"),
        ("frame,x,y\nframe,x,y\n", "line 2: frame 'frame' is no number"),
        ("time,x,y\n", "line 1: frame 'time' is no number"),
        ("0.5,2,3\n", "line 1: frame '0.5' is no whole number"),
        ("inf,2,3\n", "line 1: frame 'inf' is no whole number"),
        ("nan,2,3\n", "line 1: frame 'nan' is no whole number"),
        ("-1,2,3\n", "line 1: frame -1 is out of range"),
        ("1,nan,3\n", "line 1: x nan is out of range"),
        ("1,2,1e300\n", "line 1: y 1e300 is out of range"),
        (f"0,1,1\n1,{'2' * 200_000},3\n", "line 2: field larger than"),
        ("0,1,1\n1,\udce4,3\n", "line 2: byte 0xe4 is no UTF-8"),
    ],
)
def test_read_truth_refuses_what_is_none(tmp_path: Path, text: str, reason: str):
    """Whatever is not frame, x, y is refused; the line is named, and the reason."""
    path = tmp_path / "t.csv"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ValueError, match=reason):
        read_truth(path)


# --- As programs ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "transport", ["media", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("datachannel", "tcp"))]
)
def test_server_finds_without_truth(tmp_path: Path, clip: Path, transport: str):
    """Coordinates of a file without truth have a latency and no error, and what is printed says so."""
    port, summary_path, csv_path = free_port(), tmp_path / "s.json", tmp_path / "s.csv"
    shared = ("--signaling-port", port, "--transport", transport)
    files = ("--summary", summary_path, "--csv", csv_path)
    with run("server.py", *shared, "--source", clip, *files) as serving, run("client.py", *shared) as client:
        serving.wait_for(r"found [1-9]\d.*error - px")
        assert client.end() == 0
        assert serving.end() == 0
    assert "no truth is known" in serving.output
    summary = read_summary(summary_path)
    assert summary["frames"]["scored"] > 0.5 * summary["frames"]["sent"]
    assert summary["frames"]["unmatched"] == 0
    assert summary["error_px"] is None
    assert summary["live_error_px"] is None
    assert summary["latency_ms"]["p50"] > 0
    assert summary["size"] == "320x240"
    rows = [row for row in csv.DictReader(csv_path.read_text().splitlines()) if row["state"] == "scored"]
    assert all(row["x"] and not row["true_x"] and not row["error_px"] and row["latency_ms"] for row in rows)


def test_server_scores_against_a_truth(tmp_path: Path, clip: Path):
    """With a truth beside the file, coordinates are scored against it."""
    port, path = free_port(), tmp_path / "s.json"
    truth = write_truth(tmp_path / "clip.csv")
    args = ("--signaling-port", port, "--source", clip, "--truth", truth, "--summary", path)
    with run("server.py", *args) as serving, run("client.py", "--signaling-port", port) as client:
        serving.wait_for(r"scored [1-9]\d")
        assert client.end() == 0
        assert serving.end() == 0
    summary = read_summary(path)
    assert summary["error_px"]["p50"] < 0.2
    assert summary["live_error_px"]["p50"] > 0


@pytest.mark.parametrize(
    "args",
    [
        (),
        pytest.param(("--size", "320x240", "--radius", 9), marks=pytest.mark.slow),
        pytest.param(("--transport", "tcp"), marks=pytest.mark.slow),
    ],
)
def test_server_with_numbers_in_its_pictures_loses_nothing_by_it(tmp_path: Path, args: tuple[object, ...]):
    """With --code the ball is found in every frame, as near to the truth as without."""
    port, path = free_port(), tmp_path / "s.json"
    shared = ("--signaling-port", port, *(args if "--transport" in args else ()))
    with run("server.py", *shared, "--code", "--summary", path, *args) as serving, run("client.py", *shared) as client:
        serving.wait_for(r"scored [1-9]\d")
        assert client.end() == 0
        assert serving.end() == 0
    summary = read_summary(path)
    assert summary["frames"]["missed"] == 0
    assert summary["error_px"]["max"] < 0.1


@pytest.mark.parametrize(
    "source", ["missing.mp4", *(pytest.param(each, marks=pytest.mark.slow) for each in ("99", "/dev/video99"))]
)
def test_server_without_its_source_ends_with_one_line(source: str):
    """A source that is not there is one line, and exit status 1."""
    with run("server.py", "--signaling-port", free_port(), "--source", source) as serving:
        assert serving.wait() == 1
        assert serving.lines == [f"server.py: error: --source {source}: No such file or directory\n"]


@pytest.mark.parametrize("args", [["--truth", "nothing.csv"], ["--source", "0"], []])
def test_parse_args_wants_a_file_for_a_truth(tmp_path: Path, capsys: pytest.CaptureFixture[str], args: list[str]):
    """A truth that is not there, or is not for a file, is wrong usage, told in one line."""
    if "--truth" not in args:
        args = [*args, "--truth", str(write_truth(tmp_path / "t.csv"))]
    with pytest.raises(SystemExit) as ending:
        server_options.parse_args(args)
    assert ending.value.code == 2
    assert re.fullmatch(r".*: error: argument --truth: .*\n", capsys.readouterr().err)
