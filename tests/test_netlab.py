"""Server and client on two hosts with a bad network between them."""

import subprocess
import sys
from pathlib import Path

import pytest

from support.programs import read_rows, read_summary, run
from tools import soak
from tools.lab import CLIENT_ADDRESS, SERVER_ADDRESS, Lab
from tools.netlab import ALONE, Fault, figures_of, measure
from tools.procfs import ROOT

pytestmark = pytest.mark.hosts

WHERE = ("--signaling-host", SERVER_ADDRESS)


@pytest.mark.parametrize("codec", ["vp8", "h264"])
def test_every_coordinate_is_scored_against_its_own_frame_under_loss(tmp_path: Path, codec: str):
    """With 5 % loss, 50 ms delay and 10 ms jitter, what arrives is right to a fraction of a frame's motion."""
    path, rows_path = tmp_path / "s.json", tmp_path / "s.csv"
    files = ("--summary", path, "--csv", rows_path)
    with (
        Lab(loss=5, delay=50, jitter=10) as lab,
        run("server.py", *WHERE, "--once", "--codec", codec, *files, prefix=lab.server) as serving,
        run("client.py", *WHERE, prefix=lab.client) as client,
    ):
        serving.wait_for(r"scored [1-9]\d\d")
        assert client.end() == 0
        assert serving.wait() == 0
    summary = read_summary(path)
    assert len(summary["clients"]) == 1
    assert summary["frames"]["unmatched"] == 0
    assert summary["error_px"]["p99"] < 1  # the ball moves 8 px from one frame to the next
    assert summary["latency_ms"]["p50"] > 80  # there and back
    assert len(read_rows(rows_path)) == summary["frames"]["sent"]  # of whichever dial came through


def test_video_and_coordinates_flow_again_after_a_blackout(tmp_path: Path):
    """After five seconds without network, frames are scored again over the same connection."""
    path = tmp_path / "s.json"
    with (
        Lab(delay=10) as lab,
        run("server.py", *WHERE, "--once", "--summary", path, prefix=lab.server) as serving,
        run("client.py", *WHERE, prefix=lab.client) as client,
    ):
        serving.wait_for(r"scored [1-9]\d")
        lab.black_out(5)
        before = serving.lines[-1].partition("scored ")[2].split()[0]
        serving.wait_for(rf"scored (?!{before} )\d", 2, after=len(serving.lines))
        assert client.end() == 0
        assert serving.wait() == 0
    summary = read_summary(path)
    assert len(summary["clients"]) == 1
    assert summary["clients"][0]["end"] == "bye"
    assert summary["frames"]["unmatched"] == 0
    assert summary["error_px"]["max"] < 1


def test_client_behind_a_narrow_connection_slows_nobody(tmp_path: Path):
    """It gets what its connection can take, and stays current; another one gets every frame."""
    path, rows_path = tmp_path / "s.json", tmp_path / "s.csv"
    with (
        Lab(rate=120) as lab,
        run(
            "server.py", *WHERE, "--summary", path, "--csv", rows_path, "--print", "every", prefix=lab.server
        ) as serving,
        run("client.py", *WHERE, prefix=lab.server) as near,
    ):
        serving.wait_for("^client 1 ")
        with run("client.py", *WHERE, prefix=lab.client) as far:
            serving.wait_for("^client 2 ", 60)
            serving.wait_for("^client 1 ", 300, after=len(serving.lines))
            assert far.end() == 0
        assert near.end() == 0
        assert serving.end() == 0
    by_peer = {each["peer"].partition(":")[0]: each for each in read_summary(path)["clients"]}
    near_frames, far_frames = by_peer[SERVER_ADDRESS]["frames"], by_peer[CLIENT_ADDRESS]["frames"]
    assert near_frames["lost"] == near_frames["unmatched"] == 0
    numbers = [int(row["k"]) for row in read_rows(rows_path, 1)]
    gaps = numbers[-1] - numbers[0] + 1 - len(numbers)
    assert gaps <= by_peer[SERVER_ADDRESS].get("late", gaps)  # none but what the server did not get to
    late = [float(row["latency_ms"]) for row in read_rows(rows_path, 2) if row["state"] == "scored"][-20:]
    assert min(late) < 3000  # a third more than the link takes would be 3 s behind by now, and more all the time
    assert by_peer[CLIENT_ADDRESS]["error_px"]["p99"] < 1
    for frames in (near_frames, far_frames):
        assert frames["sent"] == sum(frames[state] for state in ("scored", "missed", "skipped", "lost"))


def test_what_gets_lost_is_sent_before_it_is_asked_for_and_said_again(tmp_path: Path):
    """With one packet in ten lost each way, most frames are scored, and the summary says what was done."""
    path = tmp_path / "s.json"
    with (
        Lab(loss=10, delay=20, jitter=5) as lab,
        run("server.py", *WHERE, "--once", "--summary", path, prefix=lab.server) as serving,
        run("client.py", *WHERE, "--view", "none", prefix=lab.client) as client,
    ):
        serving.wait_for(r"scored [4-9]\d\d")
        assert client.end() == 0
        assert serving.wait() == 0
    summary = read_summary(path)
    frames, network = summary["frames"], summary["clients"][0]["network"]
    assert frames["unmatched"] == 0
    assert frames["scored"] > 0.8 * frames["sent"]  # 0.65 without
    assert network["resent_unasked"] > 50
    assert network["kbit_s"] > 0
    assert summary["repeated"] > 50  # reports that were said again


def test_narrow_connection_gets_a_lower_bit_rate(tmp_path: Path):
    """At 150 kbit/s the client gets a lower rung and stays current; the other one is left alone."""
    path, rows_path = tmp_path / "s.json", tmp_path / "s.csv"
    files = ("--summary", path, "--csv", rows_path)
    with (
        Lab(rate=150) as lab,
        run("server.py", *WHERE, *files, "--print", "every", prefix=lab.server) as serving,
        run("client.py", *WHERE, "--view", "none", prefix=lab.server) as near,
    ):
        serving.wait_for("^client 1 ")
        with run("client.py", *WHERE, "--view", "none", prefix=lab.client) as far:
            serving.wait_for("^client 2 ", 300)
            assert far.end() == 0
        assert near.end() == 0
        assert serving.end() == 0
    by_peer = {each["peer"].partition(":")[0]: each for each in read_summary(path)["clients"]}
    near_network, far_network = by_peer[SERVER_ADDRESS]["network"], by_peer[CLIENT_ADDRESS]["network"]
    assert far_network["rung"] > 0
    assert far_network["bitrate"] < 500_000
    assert far_network["kbit_s"] < 150
    assert near_network["resent_asked"] + near_network["resent_unasked"] <= 10
    late = sorted(float(row["latency_ms"]) for row in read_rows(rows_path, 2) if row["latency_ms"])
    assert late[len(late) // 2] < 1000  # it was a third of a second and more, and a quarter of the frames lost
    assert len(late) > 0.8 * by_peer[CLIENT_ADDRESS]["frames"]["sent"]


@pytest.mark.parametrize("codec", ["vp8", "h264"])
def test_narrow_connection_that_signaling_tells_of_is_current_from_the_first_frame_on(tmp_path: Path, codec: str):
    """At 80 kbit/s the film begins on a low rung: nothing queues up, nothing is sent twice, hardly a frame is lost."""
    path = tmp_path / "s.json"
    with (
        Lab(rate=80) as lab,
        run("server.py", *WHERE, "--once", "--codec", codec, "--summary", path, prefix=lab.server) as serving,
        run("client.py", *WHERE, "--view", "none", prefix=lab.client) as client,
    ):
        serving.wait_for(r"scored [1-9]\d\d")
        assert client.end() == 0
        assert serving.wait() == 0
    (summary,) = read_summary(path)["clients"]
    frames, network = summary["frames"], summary["network"]
    assert network["rung"] > 1
    assert frames["scored"] > 0.9 * frames["sent"]
    assert network["kbit_s"] < 80
    assert network["resent_unasked"] < 0.1 * frames["sent"]  # from rung 0 on it was 3,500 of 840
    assert summary["latency_ms"]["p50"] < 250  # of which a full queue takes 300


@pytest.mark.parametrize("codec", ["vp8", "h264"])
def test_film_comes_through_a_narrow_connection_that_nothing_tells_of(tmp_path: Path, codec: str):
    """Behind a proxy, at 80 kbit/s, the film begins on the best rung, and all is lost: it gets through all the same."""
    path = tmp_path / "s.json"
    with (
        Lab(rate=80) as lab,
        run("server.py", *WHERE, "--once", "--codec", codec, "--summary", path, prefix=lab.server) as serving,
        run("tests/support/forwarder.py", SERVER_ADDRESS, 1235, 1234, prefix=lab.server) as proxy,
    ):
        proxy.wait_for("^forwarding")
        with run("client.py", *WHERE, "--signaling-port", 1235, "--view", "none", prefix=lab.client) as client:
            serving.wait_for(r"scored [1-9]\d\d")
            assert client.end() == 0
        assert serving.wait() == 0
    (summary,) = read_summary(path)["clients"]
    assert summary["network"]["rung"] > 1
    assert summary["frames"]["scored"] > 100


def test_row_of_a_client_beside_another_one_has_its_own_figures():
    """The client on the server's host is told of, beside one behind a narrow link, and alone."""
    for fault in (ALONE, Fault("beside", rate=80, beside=True)):
        figures = figures_of(measure(fault, 3))
        assert figures["sent"] > 0
        assert figures["kbit_s"] > 0
        assert figures["cores"] > 0


def test_soak_prints_a_table():
    """The memory watch tells of each program, and its status says whether one has grown; a busy server may have."""
    command = [sys.executable, "-m", "tools.soak", "--minutes", "0.2", "--interval", "4"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    rows = [
        [float(cell) for cell in line.split("|")[2:5]]
        for line in done.stdout.splitlines()
        if line.startswith("| after")
    ]
    assert len(rows) == 3, done.stdout + done.stderr
    assert done.returncode == any(last - first > soak.LIMIT for first, last in zip(rows[0], rows[-1], strict=True))
