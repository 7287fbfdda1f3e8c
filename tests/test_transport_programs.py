"""Both programs over each transport: the ledger, the faults and the goodbyes are the same for all three."""

import asyncio
import signal
import time
from pathlib import Path

import pytest
from aiortc import RTCSessionDescription

from protocol.framing import FRAME, pack
from support.programs import PATIENCE, read_summary, run, wait_until_gone
from tools.procfs import free_port
from transport.dialling import dial
from transport.link import TRANSPORTS
from transport.signaling import close_signaling, receive_description
from transport.tcp import SDP

SOON = 25.0  # s: what is promised within 1 or 3 s, on a machine that is busy; WebRTC notices an end after 30 s
IMAGE_TRANSPORTS = ("datachannel", "tcp")


@pytest.mark.slow
@pytest.mark.parametrize("transport", IMAGE_TRANSPORTS)
def test_images_are_scored_exactly(tmp_path: Path, transport: str):
    """With PNG every frame is scored or passed over, at most 0.01 px off in the mean, for two clients at once."""
    port, path = free_port(), tmp_path / "s.json"
    shared = ("--signaling-port", port, "--transport", transport)
    with (
        run("server.py", *shared, "--quality", "png", "--color", "red", "--summary", path) as serving,
        run("client.py", *shared) as one,
        run("client.py", *shared) as two,
    ):
        serving.wait_for(r"scored [1-9]\d\d")
        assert one.end() == 0
        assert two.end() == 0
        assert serving.end() == 0
    summary = read_summary(path)
    frames = summary["frames"]
    assert frames["unmatched"] == frames["lost"] == frames["missed"] == 0
    assert frames["scored"] >= 100
    assert frames["scored"] + frames["skipped"] == frames["sent"]
    assert summary["error_px"]["mean"] <= 0.01
    assert summary["latency_ms"]["p50"] > 0
    assert (summary["transport"], summary["codec"]) == (transport, "png")
    assert [each["end"] for each in summary["clients"]] == ["bye", "bye"]


@pytest.mark.parametrize("transport", ["datachannel", pytest.param("tcp", marks=pytest.mark.slow)])
def test_jpeg_is_scored(tmp_path: Path, transport: str):
    """With JPEG of any quality the ball is found where it is, and the server's stop ends both in order."""
    port, path = free_port(), tmp_path / "s.json"
    shared = ("--signaling-port", port, "--transport", transport)
    with (
        run("server.py", *shared, "--quality", 50, "--summary", path) as serving,
        run("client.py", *shared) as client,
    ):
        serving.wait_for(r"scored [1-9]\d")
        assert serving.end() == 0
        assert client.wait() == 0
    summary = read_summary(path)
    assert summary["error_px"]["p50"] < 0.05
    assert summary["codec"] == "jpeg"
    assert [each["end"] for each in summary["clients"]] == ["stopped"]


@pytest.mark.parametrize(
    "theirs", ["media", *(pytest.param(kind, marks=pytest.mark.slow) for kind in IMAGE_TRANSPORTS)]
)
def test_mismatch_is_one_clear_line(theirs: str):
    """A client told another transport than the server says which one to use; the server logs it and goes on."""
    port, others = free_port(), [kind for kind in TRANSPORTS if kind != theirs]
    with run("server.py", "--signaling-port", port, "--transport", theirs) as serving:
        for ours in others:
            with run("client.py", "--signaling-port", port, "--transport", ours) as client:
                assert client.wait() == 1
                errors = [text for text in client.lines if "error" in text]
                assert errors == [
                    f"client.py: error: the server sends frames by {theirs}, not by {ours}: use --transport {theirs}\n"
                ]
        serving.wait_for("left before it began", len(others))
        assert serving.process.poll() is None
        assert serving.end() == 0
        assert "Traceback" not in serving.output


@pytest.mark.slow
@pytest.mark.parametrize("transport", IMAGE_TRANSPORTS)
def test_server_notices_a_killed_client(tmp_path: Path, transport: str):
    """A client killed outright is noticed long before WebRTC would, and its account closed; another one is served."""
    port, path = free_port(), tmp_path / "s.json"
    shared = ("--signaling-port", port, "--transport", transport)
    with run("server.py", *shared, "--summary", path) as serving:
        with run("client.py", *shared) as client:
            serving.wait_for(r"scored [1-9]")
            children = client.children()
            client.end(signal.SIGKILL)
            killed = time.monotonic()
            serving.wait_for("client 1 from .*: vanished")
            assert time.monotonic() - killed < SOON
            for child in children:
                wait_until_gone(child)
        with run("client.py", *shared):
            serving.wait_for(r"\| client 2 ")
            assert serving.end() == 0
    assert [each["end"] for each in read_summary(path)["clients"]] == ["vanished", "stopped"]


@pytest.mark.slow
@pytest.mark.parametrize("transport", IMAGE_TRANSPORTS)
def test_client_comes_back_to_a_server_that_was_killed(transport: str):
    """A client whose server was killed dials again, and the next server scores it."""
    port = free_port()
    shared = ("--signaling-port", port, "--transport", transport)
    with run("client.py", *shared) as client:
        with run("server.py", *shared) as serving:
            serving.wait_for(r"scored [1-9]")
            serving.end(signal.SIGKILL)
            client.wait_for("dialling again")
        with run("server.py", *shared) as serving:
            serving.wait_for("^filming at ")
            listening = time.monotonic()
            serving.wait_for(r"scored [1-9]")
            assert time.monotonic() - listening < SOON
            assert serving.end() == 0
        assert client.wait() == 0


def test_server_ends_a_hostile_tcp_client_with_one_line(tmp_path: Path):
    """Nonsense after the handshake ends that connection; the honest client beside it loses nothing."""
    port, path = free_port(), tmp_path / "s.json"
    shared = ("--signaling-port", port, "--transport", "tcp")

    async def attack(nonsense: bytes) -> None:
        signaling = await dial("127.0.0.1", port, PATIENCE)
        assert await receive_description(signaling, "offer") is not None
        await signaling.send(RTCSessionDescription(SDP.format(setup="active"), "answer"))
        reader, writer = signaling._reader, signaling._writer
        assert reader is not None
        assert writer is not None
        writer.write(nonsense)
        await asyncio.wait_for(reader.read(), PATIENCE)
        writer.close()
        signaling._writer = None
        await close_signaling(signaling)

    with run("server.py", *shared, "--summary", path) as serving, run("client.py", *shared) as client:
        serving.wait_for(r"scored [1-9]")
        asyncio.run(attack(b"GET / HTTP/1.1\r\n\r\n"))
        serving.wait_for("ended: bytes that are no chunk")
        asyncio.run(attack(pack(FRAME, b"x")))
        serving.wait_for("ended: bytes that are no chunk", 2)
        serving.wait_for_new_scores()
        assert client.end() == 0
        assert serving.end() == 0
        assert "Traceback" not in serving.output
    honest = read_summary(path)["clients"][-1]
    assert (honest["end"], honest["frames"]["lost"]) == ("bye", 0)
