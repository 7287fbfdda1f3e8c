"""The recording: every frame, at its own time, in a file that plays however the client ended."""

import math
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest

from ball_track import Scene, draw
from programs import client_options
from support.marks import film_of, find_cross, find_white
from support.programs import Program, run, wait_until_gone
from support.screen import wait_until
from tools.procfs import free_port
from views.overlay import compose
from views.recording import Recording
from views.sightings import Figures

RATE = 90_000  # ticks / s


def read(path: Path) -> list[tuple[float, npt.NDArray[np.uint8]]]:
    """Return a recording's frames: time in s, and the picture, (H, W, 3) uint8 BGR."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        frames = []
        for frame in container.decode(stream):
            assert frame.time is not None
            frames.append((frame.time, frame.to_ndarray(format="bgr24").astype(np.uint8, copy=False)))
        return frames


def picture(k: int, width: int = 640, height: int = 480) -> npt.NDArray[np.uint8]:
    """Return a picture of frame `k` of a scene."""
    scene = Scene(width, height)
    return compose(draw(scene, scene.position(k)), Figures(found=scene.position(k)), ())


def test_recording_keeps_every_frame_and_its_time(tmp_path: Path) -> None:
    """Whatever the rate does, each frame is seen at its own pts, counted from the first one's."""
    path = tmp_path / "film.mp4"
    times = [12_345 + round(n * 3003.7) + (n % 7) * 16 + (n > 40) * 50_000 for n in range(80)]
    with Recording(path) as recording:
        for k, pts in enumerate(times):
            recording.add(pts, picture(k))
    frames = read(path)
    assert [time for time, _ in frames] == pytest.approx([(pts - times[0]) / RATE for pts in times], abs=1 / RATE)
    for k, (_, seen) in enumerate(frames):
        cross = find_cross(film_of(seen))
        assert cross is not None
        assert math.dist(cross, Scene().position(k)) < 3, "the ball moves 8 px a frame"


def test_recording_goes_on_when_the_pts_begin_anew(tmp_path: Path) -> None:
    """A second session follows the first one, at once and at its own pace."""
    path = tmp_path / "film.mp4"
    with Recording(path) as recording:
        for pts in (0, 3000, 6000, 0, 3000, 9000):
            recording.add(pts, picture(pts // 3000))
    assert [round(time * RATE) for time, _ in read(path)] == [0, 3000, 6000, 9000, 12_000, 18_000]


def test_recording_fits_another_size_to_the_first(tmp_path: Path) -> None:
    """A film has one size; a server that films smaller pictures does not end it."""
    path = tmp_path / "film.mp4"
    with Recording(path) as recording:
        recording.add(0, picture(0))
        recording.add(3000, picture(0, 320, 240))
    assert [seen.shape for _, seen in read(path)] == [picture(0).shape] * 2


def test_recording_plays_before_it_is_closed(tmp_path: Path) -> None:
    """Were its process killed now, all but the last second or two would be there."""
    path = tmp_path / "film.mp4"
    with Recording(path) as recording:
        for k in range(150):
            recording.add(k * 3000, picture(k))
        assert len(read(path)) >= 90
    assert len(read(path)) == 150


def test_recording_of_nothing_closes_in_order(tmp_path: Path) -> None:
    """No frame ever came: there is no film, and no error."""
    recording = Recording(tmp_path / "film.mp4")
    recording.close()
    recording.close()


def test_recording_with_a_colon_in_its_name_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name such as that of a time is no protocol to FFmpeg."""
    monkeypatch.chdir(tmp_path)
    path = Path("rec-2026-11-25T10:00.mp4")
    with Recording(path) as recording:
        recording.add(0, picture(0))
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    assert len(read(tmp_path / path)) == 1


@pytest.mark.parametrize("path", ["missing/film.mp4", "."])
def test_recording_to_no_file_raises(tmp_path: Path, path: str) -> None:
    """What is wrong with the path is an OSError, at once."""
    with pytest.raises(OSError, match=r"No such file|Is a directory"):
        Recording(tmp_path / path)


# --- As a program ---------------------------------------------------------------------------------


@pytest.fixture
def filming() -> Iterator[tuple[Program, int]]:
    """Return a server that films, and its port."""
    port = free_port()
    with run("server.py", "--signaling-port", port, "--print", "every") as server:
        yield server, port


def check(path: Path) -> int:
    """Check that a film shows the ball under its cross, at 30 frames a second, and return how many frames."""
    frames = read(path)
    steps = np.diff([time for time, _ in frames]) * 30
    assert steps.min() > 0.9
    assert steps == pytest.approx(np.rint(steps), abs=0.1), "a frame that is passed over leaves its time free"
    marked = 0
    for _, seen in frames:
        ball, cross = find_white(film_of(seen)), find_cross(film_of(seen))
        if ball is not None and cross is not None:
            assert math.dist(ball, cross) < 4, "the ball moves 8 px a frame"
            marked += 1
    assert marked
    return len(frames)


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_client_stopped_leaves_a_film_of_every_frame(tmp_path: Path, filming: tuple[Program, int], number: int) -> None:
    """As many frames as were received, each at its own time; the client says how many."""
    server, port = filming
    path = tmp_path / "film.mp4"
    with run("client.py", "--signaling-port", port, "--view", "none", "--record", path) as client:
        server.wait_for("latency", count=60)
        assert client.end(number) == 0
        (line,) = client.wait_for("^recording: ")
        received = client.wait_for("^received ")[-1]
    shown, passed_over = int(line.split()[1]), int(line.split()[-3]) if "passed over" in line else 0
    assert shown + passed_over == int(received.split()[1])
    assert check(path) == shown


@pytest.mark.slow
def test_client_killed_leaves_a_film(tmp_path: Path, filming: tuple[Program, int]) -> None:
    """The recording's process outlives the client for as long as it takes to close the file, and no longer."""
    _, port = filming
    path = tmp_path / "film.mp4"
    with run("client.py", "--signaling-port", port, "--view", "none", "--record", path) as client:
        wait_until(lambda: count_playable(path) >= 30, lambda: f"30 frames in the film; {client.output}")
        children = client.children()
        client.process.kill()
        for child in children:
            wait_until_gone(child)
    assert check(path) >= 30


@pytest.mark.slow
def test_recording_killed_leaves_a_film_and_a_client_that_goes_on(tmp_path: Path, filming: tuple[Program, int]) -> None:
    """The file plays up to its last fragment; the client says so in one line, and ends with status 1."""
    server, port = filming
    path = tmp_path / "film.mp4"
    with run("client.py", "--signaling-port", port, "--view", "none", "--record", path) as client:
        wait_until(lambda: count_playable(path) >= 30, lambda: f"30 frames in the film; {client.output}")
        (pid,) = [pid for pid in client.children() if str(path) in open_files(pid)]
        os.kill(pid, signal.SIGKILL)
        client.wait_for("recording: its process ended with SIGKILL; going on without it")
        server.wait_for("latency", after=len(server.lines))
        assert client.end() == 1
    assert check(path) >= 30


def count_playable(path: Path) -> int:
    """Return how many frames of a film would be seen now; none where there is no fragment of it yet."""
    try:
        return len(read(path))
    except (av.FFmpegError, IndexError):
        return 0


def open_files(pid: int) -> list[str]:
    """Return the paths of the files that a process has open."""
    return [str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "must be the name of a file"),
        ("/", "must be the name of a file"),
        (".", "is a folder"),
        ("missing/film.mp4", "there is no folder"),
        ("film.avi", "must be a file whose name ends with .mp4"),
        ("fifo.mp4", "must be a file whose name ends with .mp4"),
        ("/dev/full", "must be a file whose name ends with .mp4"),
    ],
)
def test_client_refuses_what_it_cannot_record_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, reason: str
) -> None:
    """One clear line at the start, not after an hour; a FIFO that nobody reads holds nobody up."""
    monkeypatch.chdir(tmp_path)
    os.mkfifo("fifo.mp4")
    with pytest.raises(SystemExit) as stopped:
        client_options.parse_args(["--record", name])
    assert stopped.value.code == 2
    complaint = capsys.readouterr().err
    assert complaint.startswith(f"{Path(sys.argv[0]).name}: error: argument --record: {name!r}: ")
    assert reason in complaint
    assert complaint.count("\n") == 1


@pytest.mark.root
@pytest.mark.slow
def test_client_on_a_full_disk_goes_on(tmp_path: Path, filming: tuple[Program, int]) -> None:
    """A disk that is full in mid-run costs one line and the recording, no coordinate; exit status 1 at the end."""
    server, port = filming
    disk = ("unshare", "--mount", "sh", "-c", f'mount -t tmpfs -o size=16k none {tmp_path} && exec "$@"', "sh")
    args = ("--signaling-port", port, "--view", "none", "--record", tmp_path / "film.mp4")
    with run("client.py", *args, prefix=disk) as client:
        client.wait_for("recording: cannot write .*: No space left on device; going on without it")
        server.wait_for("latency", count=10, after=len(server.lines))
        assert client.end() == 1
        assert "Traceback" not in client.output
        assert len([line for line in client.lines if "recording" in line]) == 1
