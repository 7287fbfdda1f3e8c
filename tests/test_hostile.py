"""Confused and hostile peers: each is ended by itself, and a client in service loses nothing by it."""

import asyncio
import gc
import json
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import pytest
from aiortc import RTCSessionDescription
from aiortc.contrib.signaling import TcpSocketSignaling

import server
from film.drawn import Film
from programs import server_options
from protocol.messages import Found, encode
from scoring.ledger import Ledger
from support.programs import PATIENCE, Program, read_rows, read_summary, run
from tools.procfs import free_port
from transport import media
from transport.dialling import dial
from transport.media import MediaAnswer
from transport.signaling import close_signaling, receive_description

BAD_MESSAGES: list[str | bytes] = [
    b"\x00\xff\xfe",
    b"",
    "",
    "nonsense",
    "[]",
    "null",
    "NaN",
    "{}",
    "[" * 500,
    "x" * 10_000,
    "__import__('os').abort()",
    '{"type": null}',
    '{"type": "score"}',
    '{"type": "score", "pts": 1, "error_px": 0, "latency_ms": 0, "scored": 0, "lost": 0}',
    '{"type": "found"}',
    '{"type": "found", "pts": 1, "x": NaN, "y": 0}',
    '{"type": "found", "pts": 1, "x": 1e999, "y": 0}',
    '{"type": "found", "pts": 1, "x": [], "y": {}}',
    '{"type": "found", "pts": "1", "x": 0, "y": 0}',
    '{"type": "found", "pts": true, "x": 0, "y": 0}',
    '{"type": "missed", "pts": 1.5}',
    '{"type": "missed", "pts": 1e400}',
    '{"type": "missed", "pts": ' + "9" * 400 + "}",
    '{"type": "missed", "pts": 1, "\u001b[2J": 0}',
]
BAD_LINES = [
    b"hello\n",
    b"\x00\xff\n",
    b"{}\n",
    b"[]\n",
    b"5\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"x" * 1_000_000,
    b'{"type": "\\u001b[2J"}\n',
    b'{"type": "offer", "sdp": ""}\n',
    b'{"type": "answer"}\n',
    b'{"type": "answer", "sdp": 5}\n',
    b'{"type": "answer", "sdp": "v=0"}\n',
    b'{"type": "candidate", "candidate": "candidate:1", "id": "0", "label": 0}\n',
]


@contextmanager
def honest_pair(tmp_path: Path) -> Iterator[tuple[Program, int]]:
    """Run a server and an honest client; at the end, check that the client lost nothing before its last second."""
    port, summary_path, csv_path = free_port(), tmp_path / "s.json", tmp_path / "s.csv"
    with (
        run("server.py", "--signaling-port", port, "--summary", summary_path, "--csv", csv_path) as serving,
        run("client.py", "--signaling-port", port) as client,
    ):
        serving.wait_for(r"scored [1-9]")
        yield serving, port
        serving.wait_for_new_scores()
        assert client.process.poll() is None
        assert client.end() == 0
        serving.wait_for(r"^client 1 from .*: bye")
        assert serving.end() == 0
    summary = read_summary(summary_path)
    assert summary["clients"][-1]["frames"]["unmatched"] == 0
    assert summary["clients"][-1]["rejected"] == 0
    rows = read_rows(csv_path, 1)
    numbers = [int(row["k"]) for row in rows]
    gaps = numbers[-1] - numbers[0] + 1 - len(numbers)
    assert gaps == summary["clients"][-1]["late"]  # what the film had and the client was not sent is told, to the frame
    assert [row["k"] for row in rows if row["state"] == "lost" and int(row["k"]) < numbers[-1] - 30] == []
    assert "Traceback" not in serving.output


@asynccontextmanager
async def attached(port: int) -> AsyncIterator[MediaAnswer]:
    """Give a client's link to a server, open, that finds nothing by itself."""
    signaling = await dial("127.0.0.1", port, PATIENCE)
    link = MediaAnswer(signaling, lambda _: None, None, lambda *_: None, "marker")
    try:
        assert await link.open()
        await asyncio.wait_for(link._filmed.wait(), PATIENCE)  # now the server counts it as a client
        yield link
    finally:
        await link.close()
        await close_signaling(signaling)


async def send_line(port: int, line: bytes) -> bytes:
    """Connect, take the offer, send a line, and return what the server says until it hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        await reader.readuntil()
        writer.write(line)
        with suppress(ConnectionError):
            return await asyncio.wait_for(reader.read(), PATIENCE)
        return b""
    finally:
        writer.close()


async def test_server_ends_signaling_that_is_none(tmp_path: Path):
    """Every kind of bad line ends its own connection, with one log line; so does an answer to no offer of ours."""
    with honest_pair(tmp_path) as (serving, port):
        for line in BAD_LINES:
            await send_line(port, line)
        serving.wait_for(r"127\.0\.0\.1:\d+: ended: ", len(BAD_LINES))
        await send_line(port, b'{"type": "bye"}\n')
        serving.wait_for(r"127\.0\.0\.1:\d+: left before it began")
        assert "\x1b" not in serving.output
        signaling = await dial("127.0.0.1", port, PATIENCE)
        offer = await receive_description(signaling, "offer")
        assert offer is not None
        sdp = offer.sdp.replace("actpass", "active")
        sdp = sdp[: sdp.index("m=video")] + sdp[sdp.index("m=application") :]
        await signaling.send(RTCSessionDescription(sdp=sdp, type="answer"))
        serving.wait_for("ended: an answer that rejects the video")
        await signaling.close()


@pytest.mark.slow
async def test_server_gives_a_handshake_a_deadline(tmp_path: Path):
    """A connection that says nothing is ended, and a client in service does not notice."""
    with honest_pair(tmp_path) as (serving, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert (await asyncio.wait_for(reader.read(), PATIENCE)).endswith(b'{"type": "bye"}\n')
        writer.close()
        serving.wait_for("ended: said nothing")


@pytest.mark.slow
async def test_server_survives_a_burst_of_connections(tmp_path: Path):
    """A thousand connections at once, some of which vanish, take nothing from a client in service."""

    async def knock(port: int, number: int) -> None:
        with suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            if number % 2:
                writer.write(b"\x16\x03\x01 hello\n")
                with suppress(OSError):
                    await writer.drain()
            writer.close()

    with honest_pair(tmp_path) as (_, port):
        for start in range(0, 1000, 250):
            await asyncio.gather(*(knock(port, start + number) for number in range(250)))


async def test_server_rejects_bad_messages_and_lives_on(tmp_path: Path):
    """Every kind of bad message is counted and answered by nothing; the connection lives on."""
    port, path = free_port(), tmp_path / "s.json"
    with run("server.py", "--signaling-port", port, "--once", "--summary", path) as serving:
        async with attached(port) as link:
            for message in BAD_MESSAGES:
                link._outgoing.send(message)  # type: ignore[union-attr]  # open: it is set
            link.send(encode(Found(2**62, 0, 0)))  # a frame that was never sent
            await asyncio.to_thread(serving.wait_for, "scored 0")
            await link.goodbye()
            assert await link.until_end()
        assert serving.wait() == 0
    summary = read_summary(path)
    assert summary["rejected"] == len(BAD_MESSAGES)
    assert summary["frames"]["unmatched"] == 1
    assert summary["clients"][0]["end"] == "bye"


@pytest.mark.slow
@pytest.mark.parametrize("flood", ["messages", "one frame", "channels"])
async def test_server_ends_a_flood(tmp_path: Path, flood: str):
    """A client that floods is expelled; one in service loses nothing."""
    with honest_pair(tmp_path) as (serving, port):
        async with attached(port) as link:
            for number in range(10_000):
                if flood == "channels":
                    if number < 300:
                        link._pc.createDataChannel("coordinates")
                elif link._outgoing is not None:
                    text = "x" if flood == "messages" else encode(Found(0, 1, 1))
                    link._outgoing.send(text)
            assert await asyncio.wait_for(link.until_end(), PATIENCE)
        serving.wait_for(r"^client 2 from .*: expelled")


@pytest.mark.slow
async def test_server_forgets_clients_that_have_left():
    """After many clients that came and went, half of them killed, no task, descriptor or ledger of theirs is left."""
    rounds, each = 20, 10
    port = free_port()
    args, scene = server_options.parse_args(
        ["--signaling-port", str(port), "--size", "64x64", "--radius", "8", "--print", "every"]
    )
    serving = server.Server(args, Film(scene))
    running = asyncio.create_task(serving.run())

    async def visit(number: int) -> None:
        async with attached(port) as link:
            if number % 2:  # as if killed: the connection ends without a word
                writer = link.signaling._writer
                assert writer is not None
                writer.transport.abort()
                link.signaling._writer = None

    async def settle() -> tuple[int, int, int, int]:
        async with asyncio.timeout(PATIENCE):
            while serving.results.sessions or len(asyncio.all_tasks()) > tasks:  # noqa: ASYNC110
                await asyncio.sleep(0.05)  # nothing tells of silence
        gc.collect()
        alive = [type(thing).__name__ for thing in gc.get_objects()]
        descriptors = len(os.listdir("/proc/self/fd"))  # noqa: PTH208  # the folder itself is one of them
        return descriptors, alive.count("Session"), alive.count("Ledger"), alive.count("RTCPeerConnection")

    try:
        await visit(0)
        tasks = 4  # this one, the server's two, and asyncio's own
        first = await settle()
        for _ in range(rounds):
            await asyncio.gather(*(visit(number) for number in range(each)))
        assert await settle() == first
        assert serving.results.left == 1 + rounds * each
    finally:
        serving.stop.set()
        assert await running == 0


def test_offer_is_small_enough_for_one_line():
    """What the server says first fits the 64 KiB that aiortc's signaling reads at most."""

    async def offer() -> str:
        written: list[bytes] = []

        class Recorder(TcpSocketSignaling):
            async def send(self, descr: object) -> None:
                written.append(json.dumps({"sdp": descr.sdp}).encode())  # type: ignore[attr-defined]
                raise ConnectionResetError

        args, scene = server_options.parse_args([])
        film = Film(scene)
        track = server.BallVideoTrack(film, Ledger(film.where), None, asyncio.Event(), lambda _: None)
        link = media.MediaOffer(Recorder("", 0), lambda _: None, None, track, args.codec, lambda: None)
        with suppress(ConnectionResetError):
            await link.open()
        await link.close()
        return written[0].decode()

    assert len(asyncio.run(offer())) < 65536
