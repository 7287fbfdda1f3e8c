"""A browser as the client, written from the README's protocol alone: Chromium finds the ball, and is scored."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from support.programs import read_summary, run
from tools.browser import run_browser
from tools.lab import SERVER_ADDRESS, Lab
from tools.procfs import free_port

pytestmark = pytest.mark.browser

# Gets the offer's SDP, returns the answer's. `scores` is what the server says.
CLIENT = """
    const [sdp, done] = arguments, scores = [], video = document.createElement("video");
    const connection = new RTCPeerConnection(), canvas = document.createElement("canvas");
    const pen = canvas.getContext("2d", {willReadFrequently: true});
    let channel;

    function look(now, {rtpTimestamp, width, height}) {
        video.requestVideoFrameCallback(look);
        [canvas.width, canvas.height] = [width, height];
        pen.drawImage(video, 0, 0);
        const data = pen.getImageData(0, 0, width, height).data;
        let sum = 0, x = 0, y = 0;
        for (let i = 0; i < width * height; i++) {
            const green = data[4 * i + 1];
            if (green < 64) continue;
            sum += green;
            x += green * (i % width);
            y += green * Math.floor(i / width);
        }
        const place = sum ? {type: "found", x: x / sum, y: y / sum} : {type: "missed"};
        channel.send(JSON.stringify({...place, pts: rtpTimestamp}));
    }
    connection.ontrack = ({track, receiver}) => {
        receiver.jitterBufferTarget = 0;
        video.muted = true;
        video.srcObject = new MediaStream([track]);
        video.requestVideoFrameCallback(look);
        video.play();
    };
    connection.ondatachannel = ({channel}) => {
        if (channel.label === "scores") channel.onmessage = ({data}) => scores.push(JSON.parse(data));
    };
    window.scores = scores;
    (async () => {
        await connection.setRemoteDescription({type: "offer", sdp});
        channel = connection.createDataChannel("coordinates", {ordered: false});
        const gathered = new Promise(done => {
            connection.onicegatheringstatechange = () => connection.iceGatheringState === "complete" && done();
        });
        await connection.setLocalDescription(await connection.createAnswer());
        await gathered;
        done(connection.localDescription.sdp);
    })();
"""


@contextmanager
def open_signaling(host: str, port: int, prefix: tuple[str, ...]) -> Iterator["subprocess.Popen[str]"]:
    """Connect to a server's signaling port, and give a process that reads and writes its lines."""
    script = "exec 3<>/dev/tcp/$0/$1; cat <&3 & exec cat >&3"
    with subprocess.Popen(
        [*prefix, "bash", "-c", script, host, str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as lines:
        yield lines


def find_in_browser(folder: Path, codec: str, coordinates: int, lab: Lab | None = None) -> dict[str, Any]:
    """Let a browser find the ball in so many frames, and return the server's summary and `told`, the scores it got.

    Args:
        lab: where to run the two; on this machine if None.
    """
    path = folder / "s.json"
    host, port = (SERVER_ADDRESS, 1234) if lab else ("127.0.0.1", free_port())
    ours, theirs = (lab.server, lab.client) if lab else ((), ())
    where = ("--signaling-host", host, "--signaling-port", port)
    film = ("--once", "--print", "every", "--codec", codec, "--summary", path)
    with (
        run_browser(folder, theirs) as browser,
        run("server.py", *where, *film, prefix=ours) as serving,
    ):
        serving.wait_for("filming")
        with open_signaling(host, port, theirs) as lines:
            assert lines.stdin is not None
            assert lines.stdout is not None
            offer = json.loads(lines.stdout.readline())
            answer = browser.execute_async_script(CLIENT, offer["sdp"])
            lines.stdin.write(json.dumps({"type": "answer", "sdp": answer}) + "\n")
            lines.stdin.flush()
            serving.wait_for("^client 1 ", coordinates)
            told = browser.execute_script("return scores")
            lines.stdin.write('{"type": "bye"}\n')
        assert serving.wait() == 0
    return {**read_summary(path), "told": told}


@pytest.mark.parametrize("codec", ["vp8", "h264"])
def test_browser_is_scored_against_the_frames_that_it_shows(tmp_path: Path, codec: str):
    """The ball is where a browser says it is, in the very frame that it says; and it is told so for every one."""
    summary = find_in_browser(tmp_path, codec, 100)
    assert summary["frames"]["unmatched"] == 0
    assert summary["error_px"]["p50"] < 0.05  # now and then a browser gives one frame the time stamp of its neighbour
    told = summary["told"]
    assert len({score["pts"] for score in told}) == len(told)
    assert max(score["scored"] for score in told) > 50
    assert all(score["error_px"] >= 0 and score["latency_ms"] > 0 for score in told)


@pytest.mark.hosts
@pytest.mark.parametrize("codec", ["vp8", "h264"])
def test_browser_recovers_from_loss(tmp_path: Path, codec: str):
    """What a browser has lost is sent again, or a key frame comes: it sees the ball move, and no ghosts."""
    with Lab(loss=10, delay=20, jitter=5) as lab:
        summary = find_in_browser(tmp_path, codec, 150, lab)
    assert summary["frames"]["unmatched"] == 0
    assert summary["error_px"]["p50"] < 0.05
