"""The clients of examples/, each on another stack, with the real server: in both codecs, and in bad manners too."""

import asyncio
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.contrib.signaling import BYE, TcpSocketSignaling

from support.programs import PATIENCE, Program, read_summary, run
from tools.procfs import free_port
from tools.stacks import NODE, SYSTEM_PYTHON, lacking_gstreamer, lacking_node, own_address

pytestmark = pytest.mark.slow


class Example(NamedTuple):
    """A client: its file, what runs it, and whether it looks for the ball."""

    path: str
    interpreter: tuple[str, ...]
    finds: bool = False


EXAMPLES = {
    "aiortc": Example("examples/client.py", (sys.executable,), finds=True),
    "werift": Example("examples/node/werift.mjs", NODE),
    "libdatachannel": Example("examples/node/libdatachannel.mjs", NODE),
    "gstreamer": Example("examples/gstreamer.py", SYSTEM_PYTHON, finds=True),
}
EACH = pytest.mark.parametrize("name", EXAMPLES)


class Meeting(NamedTuple):
    """A server and the example that is its client."""

    server: Program
    client: Program
    path: Path

    def end(self) -> dict[str, Any]:
        """Wait for the server's end, and return its summary."""
        assert self.server.wait() == 0, self.server.output
        return read_summary(self.path)


@contextmanager
def meeting(folder: Path, name: str, *options: object, args: tuple[object, ...] = ()) -> Iterator[Meeting]:
    """Run a server, and an example as its client, until there are scores; skip what is not installed here."""
    lacking = {"werift": lacking_node, "libdatachannel": lacking_node, "gstreamer": lacking_gstreamer}
    if name in lacking and (reason := lacking[name]()):
        pytest.skip(reason)
    host = own_address() if name == "gstreamer" else "127.0.0.1"
    if host is None:
        pytest.skip("this machine has the loopback alone")
    example, port, path = EXAMPLES[name], free_port(), folder / "s.json"
    where = ("--signaling-host", host, "--signaling-port", port, "--summary", path)
    with run("server.py", *where, "--once", "--print", "every", *options) as server:
        server.wait_for("filming")
        with Program(example.path, host, port, *args, interpreter=example.interpreter) as client:
            server.wait_for("^client 1 ", 30)
            yield Meeting(server, client, path)


@EACH
@pytest.mark.parametrize("codec", ["vp8", "h264"])
def test_example_is_scored_and_says_goodbye(tmp_path: Path, name: str, codec: str):
    """What a client says of a frame is held against that very frame; Ctrl-C ends it, and the server knows why."""
    with meeting(tmp_path, name, "--codec", codec) as met:
        met.server.wait_for("^client 1 ", 90)
        assert met.client.end(signal.SIGINT) == 0, met.client.output
        summary = met.end()
    assert summary["clients"][0]["end"] == "bye"
    assert summary["frames"]["unmatched"] == summary["rejected"] == 0
    if EXAMPLES[name].finds:
        assert summary["error_px"]["p50"] < 0.1


@EACH
def test_example_that_dies_is_missed_at_once(tmp_path: Path, name: str):
    """Without a BYE, too, its session ends."""
    with meeting(tmp_path, name) as met:
        met.client.process.kill()
        assert met.end()["clients"][0]["end"] == "vanished"


@EACH
def test_example_goes_on_after_a_pause(tmp_path: Path, name: str):
    """One that was stopped for a while is scored again for new frames."""
    with meeting(tmp_path, name) as met:
        met.client.process.send_signal(signal.SIGSTOP)
        time.sleep(3)  # what is tested: that it is asleep for so long
        met.client.process.send_signal(signal.SIGCONT)
        met.server.wait_for("^client 1 ", 60, after=len(met.server.lines))
        assert met.client.end(signal.SIGINT) == 0
        assert met.end()["frames"]["unmatched"] == 0


@pytest.mark.parametrize("name", ["werift", "libdatachannel"])
@pytest.mark.parametrize("codec", ["vp8", "h264"])
def test_film_goes_on_in_a_storm_of_requests_for_key_frames(tmp_path: Path, name: str, codec: str):
    """At two hundred a second the film goes on."""
    with meeting(tmp_path, name, "--codec", codec, args=(200,)) as met:
        met.server.wait_for("^client 1 ", 90, after=len(met.server.lines))
        assert met.client.end(signal.SIGINT) == 0
        summary = met.end()
    assert summary["frames"]["unmatched"] == summary["rejected"] == 0


@EACH
def test_example_ends_with_its_server(tmp_path: Path, name: str):
    """It says nothing more when the server has said BYE, and leaves."""
    with meeting(tmp_path, name) as met:
        met.server.end(signal.SIGTERM)
        assert met.client.wait() == 0, met.client.output


async def test_player_without_a_channel_is_told_apart_from_one_that_cannot_be_reached():
    """A client that only watches, as aiortc's own example of video does, is no client: the server's log says why."""
    port = free_port()
    signaling, pc = TcpSocketSignaling("127.0.0.1", port), RTCPeerConnection(RTCConfiguration(iceServers=[]))
    with run("server.py", "--signaling-port", port) as server:
        server.wait_for("filming")
        offer = await signaling.receive()
        assert isinstance(offer, RTCSessionDescription)
        await pc.setRemoteDescription(offer)
        await pc.setLocalDescription(await pc.createAnswer())
        await signaling.send(pc.localDescription)
        async with asyncio.timeout(PATIENCE):
            assert isinstance(await signaling.receive(), type(BYE) | None)
        server.wait_for("no handshake within .*: connected, but no channel coordinates was opened")
    await signaling.close()
    await pc.close()
