"""Meeting a peer: whatever arrives on a signaling connection, it ends in one way that is known."""

import asyncio
import json
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.contrib.signaling import BYE, TcpSocketSignaling
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.sessions import End, PeerError
from common.waiting import unless
from support.programs import PATIENCE
from tools.procfs import free_port
from transport import dialling, listener, webrtc
from transport.signaling import AcceptedSignaling, close_signaling, format_address, receive, receive_description

OFFER = RTCSessionDescription(sdp="v=0\r\n", type="offer")


@asynccontextmanager
async def connection() -> AsyncIterator[tuple[AcceptedSignaling, asyncio.StreamReader, asyncio.StreamWriter]]:
    """Give the server's end of a signaling connection, and what the other side reads from and writes to."""
    accepted: asyncio.Future[AcceptedSignaling] = asyncio.get_running_loop().create_future()
    port = free_port()
    server = await asyncio.start_server(lambda r, w: accepted.set_result(AcceptedSignaling(r, w)), "127.0.0.1", port)
    async with server:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        signaling = await accepted
        try:
            yield signaling, reader, writer
        finally:
            writer.close()
            await close_signaling(signaling)


class Visit:
    """Notes what `listen` does with a client; meets it when its first line says "met"."""

    def __init__(self, signaling: AcceptedSignaling, visits: "asyncio.Queue[Visit]") -> None:
        self.signaling = signaling
        self.end: str | None = None
        self.closed = asyncio.Event()
        visits.put_nowait(self)

    async def meet(self) -> bool:
        """Wait for an offer."""
        return await receive_description(self.signaling, "offer") is not None

    async def hold(self) -> str:
        """Wait for anything."""
        await receive(self.signaling)
        return "held"

    async def close(self, end: str) -> None:
        """Note the end."""
        self.end = end
        self.closed.set()


def test_configuration_asks_no_public_server():
    """Host candidates only, unless a STUN server is named."""
    assert webrtc.configuration().iceServers == []
    servers = webrtc.configuration("stun:example.org:3478").iceServers
    assert servers is not None
    assert [server.urls for server in servers] == ["stun:example.org:3478"]


def test_format_address_is_host_and_port():
    """IPv4, IPv6 in brackets, and something harmless for what is no address."""
    assert format_address(("127.0.0.1", 5)) == "127.0.0.1:5"
    assert format_address(("::1", 5, 0, 0)) == "[::1]:5"
    assert format_address(None) == "?:0"


async def test_signaling_speaks_as_the_built_in_one_does():
    """An accepted connection and aiortc's own class at the other end understand each other."""
    async with connection() as (signaling, reader, writer):
        theirs = TcpSocketSignaling("127.0.0.1", 0)
        theirs._reader, theirs._writer = reader, writer
        await signaling.send(OFFER)
        assert await theirs.receive() == OFFER
        await theirs.send(OFFER)
        assert await receive_description(signaling, "offer") == OFFER
        await theirs.send(BYE)
        assert await receive(signaling) is BYE


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(
    st.one_of(
        st.binary(max_size=200).filter(lambda data: b"\n" not in data),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["type", "sdp", "candidate", "id"]), inner),
            max_leaves=6,
        ).map(lambda value: json.dumps(value).encode()),
        st.fixed_dictionaries(
            {"type": st.sampled_from(["offer", "answer", "candidate", "bye", "", "x"])},
            optional={"sdp": st.integers() | st.text() | st.none(), "candidate": st.integers() | st.text()},
        ).map(lambda value: json.dumps(value).encode()),
    )
)
def test_receive_survives_any_line(line: bytes):
    """Whatever the line, receive() returns a signaling object or raises PeerError, nothing else."""

    async def check() -> None:
        reader = asyncio.StreamReader()
        reader.feed_data(line + b"\n")
        reader.feed_eof()
        signaling = TcpSocketSignaling("127.0.0.1", 0)
        signaling._reader, signaling._writer = reader, object()  # type: ignore[assignment]  # it is not written to
        with suppress(PeerError):
            await receive(signaling)

    asyncio.run(check())


async def test_receive_returns_none_at_the_end_of_the_connection():
    """The end of the connection is told, in the middle of a line as well."""
    async with connection() as (signaling, _, writer):
        writer.write(b'{"type": ')
        writer.close()
        assert await receive(signaling) is None
        assert await receive(signaling) is None


async def test_receive_refuses_a_line_without_end():
    """A line of a megabyte is refused, not stored."""
    async with connection() as (signaling, _, writer):
        writer.write(b"x" * 1_000_000)
        with pytest.raises(PeerError, match="64 KiB"):
            await receive(signaling)


async def test_receive_description_wants_what_was_agreed():
    """An offer where an answer is due is refused; a goodbye is no error."""
    async with connection() as (signaling, _, writer):
        writer.write(b'{"type": "offer", "sdp": ""}\n{"type": "answer", "sdp": 5}\n{"type": "bye"}\n')
        for _ in range(2):
            with pytest.raises(PeerError, match="not an answer"):
                await receive_description(signaling, "answer")
        assert await receive_description(signaling, "answer") is None


@pytest.mark.parametrize(
    "sdp", ["", "v=0", "nonsense", "v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\n", "m=video x\r\n", "a=group\r\n"]
)
async def test_accept_description_refuses_what_cannot_be_used(sdp: str):
    """Bad SDP in an answer is a PeerError, whatever aiortc makes of it."""
    pc = RTCPeerConnection(webrtc.configuration())
    try:
        pc.createDataChannel("x")
        await pc.setLocalDescription(await pc.createOffer())
        with pytest.raises(PeerError, match="an answer that cannot be used"):
            await webrtc.accept_description(pc, RTCSessionDescription(sdp=sdp, type="answer"))
    finally:
        await pc.close()


async def test_dial_waits_for_a_server_that_is_not_up_yet():
    """A server that starts after the client is found."""
    port, visits = free_port(), asyncio.Queue[Visit]()
    arriving = asyncio.create_task(dialling.dial("127.0.0.1", port, PATIENCE))
    await asyncio.sleep(0)
    async with listener.listen("127.0.0.1", port, lambda signaling: Visit(signaling, visits)):
        await close_signaling(await arriving)


async def test_dial_does_not_wait_for_an_address_that_does_not_answer(caplog: pytest.LogCaptureFixture):
    """Where packets go unanswered, as at a host that is gone, the next attempt follows after ATTEMPT_TIMEOUT."""
    caplog.set_level(logging.INFO, logger="transport.dialling")
    with socket.socket() as silent, socket.socket() as queued:
        silent.bind(("127.0.0.1", 0))
        silent.listen(0)
        queued.connect(silent.getsockname())  # its queue is full now: Linux drops what would connect
        host, port = silent.getsockname()
        with pytest.raises(PeerError, match="no answer"):
            await dialling.dial(host, port, 1.5 * dialling.ATTEMPT_TIMEOUT)
    assert caplog.text.count("no answer") == 2


async def test_dial_gives_up_and_says_why():
    """Without a server, dialling ends at its deadline with the reason."""
    with pytest.raises(PeerError, match=r"no server at 127\.0\.0\.1:\d+ within 0\.2 s: .*Connect call failed|refused"):
        await dialling.dial("127.0.0.1", free_port(), 0.2)


def test_backoff_grows_to_its_limit():
    """The pauses double, and stay at the limit."""
    pauses = dialling.backoff()
    assert [next(pauses) for _ in range(6)] == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


async def test_listen_serves_each_connection_and_closes_it():
    """Each client is met, held and closed with its reason; one that fails disturbs no other."""
    port, visits = free_port(), asyncio.Queue[Visit]()
    line = json.dumps({"type": "offer", "sdp": ""}).encode() + b"\n"
    async with listener.listen("127.0.0.1", port, lambda signaling: Visit(signaling, visits)):
        ends = []
        for data in (line * 2, b"garbage\n", b""):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(data)
            writer.write_eof()
            assert (await reader.read()).endswith(b'{"type": "bye"}\n')
            writer.close()
            visit = await visits.get()
            await visit.closed.wait()
            ends.append(visit.end)
    assert ends == ["held", "not a signaling message", "left before it began"]


async def test_listen_turns_away_too_many_handshakes(monkeypatch: pytest.MonkeyPatch):
    """While as many as may shake hands, further connections are closed at once, and served again later."""
    monkeypatch.setattr(listener, "MAX_HANDSHAKES", 2)
    port, visits = free_port(), asyncio.Queue[Visit]()
    async with listener.listen("127.0.0.1", port, lambda signaling: Visit(signaling, visits)):
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await reader.read() == b""
        writer.close()
        for _, writer in silent:
            writer.close()
        async with asyncio.timeout(PATIENCE):
            for _ in silent:
                await (await visits.get()).closed.wait()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write_eof()
        assert await reader.read() != b""
        writer.close()


async def test_until_end_tells_goodbye_from_vanishing():
    """A goodbye, a vanished connection and nonsense are told apart."""
    for data, end in ((b'{"type": "bye"}\n', End.BYE), (b"", End.VANISHED)):
        pc = RTCPeerConnection(webrtc.configuration())
        async with connection() as (signaling, _, writer):
            writer.write(data)
            writer.write_eof()
            assert await webrtc.until_end(pc, signaling) is end
        await pc.close()


async def test_until_end_notices_a_closed_connection():
    """A peer connection that closes ends the session as a goodbye does."""
    pc = RTCPeerConnection(webrtc.configuration())
    async with connection() as (signaling, _, _):
        waiting = asyncio.create_task(webrtc.until_end(pc, signaling))
        await asyncio.sleep(0)
        await pc.close()
        assert await waiting is End.BYE


async def test_unless_returns_the_result_or_none():
    """The result wins before the event, None after it; what was awaited is cancelled then."""
    event, cancelled = asyncio.Event(), asyncio.Event()

    async def answer() -> int:
        return 42

    async def wait() -> int:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return 0

    assert await unless(event, answer()) == 42
    asyncio.get_running_loop().call_soon(event.set)
    assert await unless(event, wait()) is None
    assert cancelled.is_set()
