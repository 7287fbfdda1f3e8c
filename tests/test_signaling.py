"""Meeting a peer: whatever arrives on a signaling connection, it ends in one way that is known."""

import asyncio
import errno
import itertools
import json
import os
import re
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import ClassVar

import pytest
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.contrib.signaling import BYE, TcpSocketSignaling
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.sessions import End, PeerError, SessionError, SlowPeerError
from common.waiting import backoff, unless
from support.links import signaling
from support.programs import PATIENCE
from tools.procfs import free_port
from transport import aiortc_internals as internals
from transport import dialling, listener, webrtc
from transport.datachannel import ChannelAnswer
from transport.ice import configuration
from transport.link import HANDSHAKE_TIMEOUT
from transport.signaling import (
    AcceptedSignaling,
    close_signaling,
    format_address,
    receive,
    receive_description,
    say_goodbye,
)

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

    async def goodbye(self) -> None:
        """Say it over signaling."""
        await say_goodbye(self.signaling)

    async def close(self, end: str) -> None:
        """Note the end."""
        self.end = end
        self.closed.set()


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
    pc = RTCPeerConnection(configuration())
    try:
        pc.createDataChannel("x")
        await pc.setLocalDescription(await pc.createOffer())
        with pytest.raises(PeerError, match="an answer that cannot be used"):
            await webrtc.accept_description(pc, RTCSessionDescription(sdp=sdp, type="answer"))
    finally:
        await pc.close()


@pytest.mark.parametrize(
    ("pattern", "replacement"),
    [
        (r"(?=a=sctp-port)", "a=candidate:1 1 udp 1 127.0.0.1 70000 typ host\r\n"),
        (r"(?=a=sctp-port)", "a=candidate:1 1 udp 1 127.0.0.1 0 typ host\r\n"),
        (r"(?=a=sctp-port)", "a=candidate:1\r\n"),
        (r"(?=a=rtcp-mux)", "a=fmtp:77 x=y\r\n"),
        (r"a=fingerprint:sha-256 .*", "a=fingerprint:sha-256"),
        (r"a=setup:active", "a=setup:nobody"),
    ],
)
async def test_accept_description_refuses_a_good_answer_with_one_line_wrong(pattern: str, replacement: str):
    """An answer that names an unknown payload type, or a port that is none, is the peer's error as any other."""
    offerer, answerer = RTCPeerConnection(configuration()), RTCPeerConnection(configuration())
    try:
        offerer.addTransceiver("video")
        offerer.createDataChannel("x")
        await offerer.setLocalDescription(await offerer.createOffer())
        await answerer.setRemoteDescription(offerer.localDescription)
        await answerer.setLocalDescription(await answerer.createAnswer())
        sdp, count = re.subn(pattern, replacement, answerer.localDescription.sdp, count=1)
        assert count == 1
        with pytest.raises(PeerError, match="an answer that cannot be used"):
            await webrtc.accept_description(offerer, RTCSessionDescription(sdp=sdp, type="answer"))
    finally:
        await offerer.close()
        await answerer.close()


async def test_dial_waits_for_a_server_that_is_not_up_yet():
    """A server that starts after the client is found."""
    port, visits = free_port(), asyncio.Queue[Visit]()
    arriving = asyncio.create_task(dialling.dial("127.0.0.1", port, PATIENCE))
    await asyncio.sleep(0)
    async with listener.listen("127.0.0.1", port, lambda signaling: Visit(signaling, visits)):
        await close_signaling(await arriving)


async def test_dial_does_not_wait_for_an_address_that_does_not_answer(monkeypatch: pytest.MonkeyPatch):
    """Where packets go unanswered, as at a host that is gone, the next attempt follows after ATTEMPT_TIMEOUT."""
    attempts: list[TcpSocketSignaling] = []
    connect = internals.connect

    async def count(signaling: TcpSocketSignaling) -> None:
        attempts.append(signaling)
        await connect(signaling)

    monkeypatch.setattr(internals, "connect", count)
    with socket.socket() as silent, socket.socket() as queued:
        silent.bind(("127.0.0.1", 0))
        silent.listen(0)
        queued.connect(silent.getsockname())  # its queue is full now: Linux drops what would connect
        host, port = silent.getsockname()
        with pytest.raises(PeerError, match="no answer"):
            await dialling.dial(host, port, 1.5 * dialling.ATTEMPT_TIMEOUT)
    assert len(attempts) == 2


async def test_dial_gives_up_and_says_why():
    """Without a server, dialling ends at its deadline with the reason."""
    with pytest.raises(
        PeerError, match=r"no server at 127\.0\.0\.1:\d+ within 0\.2 s: .*(Connect call failed|refused)"
    ):
        await dialling.dial("127.0.0.1", free_port(), 0.2)


async def test_dial_says_now_and_then_that_there_is_no_server(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """Not at once, as it may be about to come; then once, and again after a while."""
    monkeypatch.setattr(dialling, "MISSED_AFTER", 0.3)
    monkeypatch.setattr(dialling, "MISSED_INTERVAL", 0.8)
    monkeypatch.setattr(dialling, "RETRY_MAX", 0.1)
    with pytest.raises(PeerError):
        await dialling.dial("127.0.0.1", free_port(), 2)
    assert 2 <= caplog.text.count("no server at 127.0.0.1") <= 4


async def keep_dialling(port: int, wait: float) -> str:
    """Dial until it is given up, with a session that begins when an offer comes; return the reason."""

    async def attend(signaling: TcpSocketSignaling, patience: float) -> tuple[bool, End]:
        link = ChannelAnswer(signaling, lambda _: None, None, lambda *_: None, lambda _: None)
        try:
            return await link.open(patience), End.VANISHED
        finally:
            await link.close()

    with pytest.raises(PeerError) as raised:
        await asyncio.wait_for(dialling.keep_dialling("127.0.0.1", port, wait, asyncio.Event(), attend), PATIENCE)
    return str(raised.value)


async def test_keep_dialling_ends_in_time_where_something_else_listens(monkeypatch: pytest.MonkeyPatch):
    """What listens and says nothing, as an HTTP server does, takes no longer than no server, and the reason is told."""
    monkeypatch.setattr(dialling, "MIN_PATIENCE", 0.1)
    writers = []
    server = await asyncio.start_server(lambda _, writer: writers.append(writer), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    began = asyncio.get_running_loop().time()
    reason = await keep_dialling(port, 2)
    assert asyncio.get_running_loop().time() - began < HANDSHAKE_TIMEOUT
    assert re.fullmatch(rf"no session with 127\.0\.0\.1:{port} within 2 s: no handshake within .* s: .*", reason)
    assert "says nothing" in reason
    server.close()
    for writer in writers:
        writer.close()


async def test_keep_dialling_tells_the_last_reason():
    """A server that turns us away again and again: the whole wait and the last reason are told, not "within 0 s"."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    assert await keep_dialling(port, 0.5) == f"no session with 127.0.0.1:{port} within 0.5 s: vanished"
    server.close()


async def test_keep_dialling_tells_of_the_session_that_came_to_nothing():
    """Where the server is gone after it turned us away, both reasons are told."""

    def turn_away(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()
        server.close()

    server = await asyncio.start_server(turn_away, "127.0.0.1", 0)
    reason = await keep_dialling(server.sockets[0].getsockname()[1], 1.0)
    assert reason.startswith("no server at 127.0.0.1:")
    assert reason.endswith("; before that: vanished")


async def test_peer_that_gives_up_first_is_not_said_to_have_vanished(monkeypatch: pytest.MonkeyPatch):
    """Where there is no way between the two, that is the reason on both sides, whoever's patience ends first."""
    monkeypatch.setattr(webrtc, "GIVEN_UP_AFTER", 0.0)
    pc = RTCPeerConnection(configuration())
    pc.createDataChannel("scores")
    await pc.setLocalDescription(await pc.createOffer())
    nowhere = re.sub(r"a=candidate:.*\r\n", "", pc.localDescription.sdp)
    async with signaling() as (ours, theirs):
        link = ChannelAnswer(theirs, lambda _: None, None, lambda *_: None, lambda _: None)
        opening = asyncio.create_task(link.open())
        await ours.send(RTCSessionDescription(nowhere, "offer"))
        assert await ours.receive() is not None
        await close_signaling(ours, False)
        with pytest.raises(SlowPeerError, match="the peer has given up: the two have not reached each other"):
            await asyncio.wait_for(opening, PATIENCE)
        await link.close()
    await pc.close()


async def test_keep_dialling_says_that_something_else_listens():
    """What says something else than an offer is told at once."""

    def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH\r\n")
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    reason = await keep_dialling(server.sockets[0].getsockname()[1], PATIENCE)
    assert reason == "what listens there does not speak our protocol: not a signaling message"
    server.close()


async def test_keep_dialling_leaves_a_server_that_drops_us_at_once_more_and_more_time(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """As a media server may: the pauses double while sessions end at once, told once; one that lasts begins anew."""
    monkeypatch.setattr(dialling, "DROPPED_FIRST", 0.02)
    monkeypatch.setattr(dialling, "DROPPED_MAX", 0.2)
    begun, loop = list[float](), asyncio.get_running_loop()

    async def attend(*_: object) -> tuple[bool, End]:
        begun.append(loop.time())
        monkeypatch.setattr(dialling, "WELL_AFTER", 0.0 if len(begun) == 6 else 30.0)
        return True, End.STOPPED if len(begun) == 8 else End.FAILED

    async with (
        await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0) as server,
        asyncio.timeout(PATIENCE),
    ):
        port = server.sockets[0].getsockname()[1]
        await dialling.keep_dialling("127.0.0.1", port, PATIENCE, asyncio.Event(), attend)
    gaps = [later - earlier for earlier, later in itertools.pairwise(begun)]
    assert all(gap >= least - 0.005 for gap, least in zip(gaps[:5], (0.02, 0.04, 0.08, 0.16, 0.2), strict=True))
    lost = [record.getMessage() for record in caplog.records if "session ended" in record.getMessage()]
    assert lost == [
        "session ended: connection failed; dialling again in 0.02 s, as it had just begun",
        "session ended: connection failed; dialling again",
    ]


def test_backoff_grows_to_its_limit():
    """The pauses double, and stay at the limit."""
    pauses = backoff(0.1, 1.0)
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


class SlowVisit(Visit):
    """A visit that is met when the client has said two words."""

    async def meet(self) -> bool:
        """Wait for an offer, and for whatever comes then."""
        await super().meet()
        self.spoken.set()
        return await receive(self.signaling) is not None

    def __init__(self, signaling: AcceptedSignaling, visits: "asyncio.Queue[Visit]") -> None:
        super().__init__(signaling, visits)
        self.spoken = asyncio.Event()


@asynccontextmanager
async def listening() -> AsyncIterator[tuple[int, "asyncio.Queue[Visit]"]]:
    """Give a port that is listened at, and the visits to it, which are slow to begin."""
    port, visits = free_port(), asyncio.Queue[Visit]()
    async with listener.listen("127.0.0.1", port, lambda signaling: SlowVisit(signaling, visits)):
        yield port, visits


async def knock(
    port: int, visits: "asyncio.Queue[Visit]", line: bytes = b"", host: str = "127.0.0.1"
) -> tuple[asyncio.StreamWriter, Visit]:
    """Connect, say a line, and return once that has been heard."""
    _, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(host, 0))
    writer.write(line)
    visit = await asyncio.wait_for(visits.get(), PATIENCE)
    assert isinstance(visit, SlowVisit)
    if line:
        await asyncio.wait_for(visit.spoken.wait(), PATIENCE)
    return writer, visit


WORD = json.dumps({"type": "offer", "sdp": ""}).encode() + b"\n"


async def test_listen_lets_others_run_between_overdue_starts():
    """Connections that came while the event loop was busy do not begin in one go: between two, others have a turn."""
    turns = 0
    starts: list[int] = []  # the turn that each began in
    port, visits = free_port(), asyncio.Queue[Visit]()

    def begin(signaling: AcceptedSignaling) -> Visit:
        starts.append(turns)
        time.sleep(0.002)  # as a handshake takes
        return Visit(signaling, visits)

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with listener.listen("127.0.0.1", port, begin):
        counting = asyncio.create_task(count_turns())
        writers = [(await asyncio.open_connection("127.0.0.1", port))[1] for _ in range(20)]
        time.sleep(0.3)  # noqa: ASYNC251  # all of them are overdue by now
        async with asyncio.timeout(PATIENCE):
            while len(starts) < len(writers):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        counting.cancel()
        for writer in writers:
            writer.close()
    assert all(after > before for before, after in itertools.pairwise(starts))


@pytest.mark.parametrize("bound", ["MAX_HANDSHAKES", "MAX_FROM_ONE"])
async def test_listen_turns_away_too_many_handshakes(monkeypatch: pytest.MonkeyPatch, bound: str):
    """While as many as may shake hands, further connections are closed at once, and served again later."""
    monkeypatch.setattr(listener, bound, 2)
    async with listening() as (port, visits):
        busy = [await knock(port, visits, WORD) for _ in range(2)]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await reader.read() == b""
        writer.close()
        for writer, visit in busy:
            writer.close()
            await asyncio.wait_for(visit.closed.wait(), PATIENCE)
        writer, _ = await knock(port, visits, WORD)
        writer.close()


async def test_listen_ends_a_silent_connection_for_the_sake_of_a_new_one(monkeypatch: pytest.MonkeyPatch):
    """The one that has been silent longest makes room; who has said something stays."""
    monkeypatch.setattr(listener, "MAX_HANDSHAKES", 3)
    async with listening() as (port, visits):
        (speaker, spoke), (one, first), (two, second) = [await knock(port, visits, line) for line in (WORD, b"", b"")]
        newcomer, new = await knock(port, visits, WORD)
        await asyncio.wait_for(first.closed.wait(), PATIENCE)
        assert first.end == "said nothing"
        assert not any(visit.closed.is_set() for visit in (spoke, second, new))
        for writer in (speaker, one, two, newcomer):
            writer.close()


async def test_listen_bounds_the_handshakes_of_one_address(monkeypatch: pytest.MonkeyPatch):
    """A crowd from one address costs no other address its place."""
    monkeypatch.setattr(listener, "MAX_FROM_ONE", 1)
    async with listening() as (port, visits):
        one, first = await knock(port, visits, WORD)
        reader, turned_away = await asyncio.open_connection("127.0.0.1", port)
        assert await reader.read() == b""
        other, second = await knock(port, visits, WORD, host="127.0.0.2")
        assert not first.closed.is_set()
        assert not second.closed.is_set()
        for writer in (one, turned_away, other):
            writer.close()


async def test_listen_ends_a_connection_that_says_nothing(monkeypatch: pytest.MonkeyPatch):
    """The first word has a deadline of its own; after it the handshake's own holds."""
    monkeypatch.setattr(listener, "SILENCE_TIMEOUT", 0.2)
    async with listening() as (port, visits):
        speaker, spoke = await knock(port, visits, WORD)
        silent, visit = await knock(port, visits)
        await asyncio.wait_for(visit.closed.wait(), PATIENCE)
        assert visit.end == "said nothing"
        assert not spoke.closed.is_set()
        speaker.close()
        silent.close()


class FailingVisit(Visit):
    """A visit that fails when it is held, by the error that `failures` has next."""

    failures: ClassVar[list[Exception]] = []

    async def hold(self) -> str:
        """Fail."""
        raise self.failures.pop()


async def test_listen_says_goodbye_only_where_the_client_shall_not_come_back():
    """A fault of ours ends a session without a goodbye, which would end the client; a fault of its own with one."""
    port, visits = free_port(), asyncio.Queue[Visit]()
    async with listener.listen("127.0.0.1", port, lambda signaling: FailingVisit(signaling, visits)):
        for error, said, end in (
            (SessionError("it broke"), b"", "it broke"),
            (ZeroDivisionError(), b"", "an error of ours"),
            (PeerError("nonsense"), b'{"type": "bye"}\n', "nonsense"),
        ):
            FailingVisit.failures.append(error)
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(WORD)
            assert await asyncio.wait_for(reader.read(), PATIENCE) == said
            writer.close()
            visit = await visits.get()
            await asyncio.wait_for(visit.closed.wait(), PATIENCE)
            assert visit.end == end


@pytest.mark.parametrize("closed", [False, True], ids=["open", "closed"])
async def test_until_end_tells_goodbye_from_vanishing(closed: bool):
    """A goodbye and a vanished connection are told apart, also when the connection has closed before the word comes."""
    for data, end in ((b'{"type": "bye"}\n', End.BYE), (b"", End.VANISHED)):
        over = asyncio.Event()
        async with connection() as (signaling, _, writer):
            if closed:
                over.set()
            waiting = asyncio.create_task(webrtc.until_end(over, signaling))
            for _ in range(20):  # turns of the loop: by then it waits for the word
                await asyncio.sleep(0)
            writer.write(data)
            writer.write_eof()
            assert await waiting is end


async def test_until_end_takes_a_closed_connection_for_no_goodbye(monkeypatch: pytest.MonkeyPatch):
    """A connection that closes without a word on signaling has failed."""
    monkeypatch.setattr(webrtc, "WORD_TIMEOUT", 0.1)
    over = asyncio.Event()
    over.set()
    async with connection() as (signaling, _, _):
        assert await webrtc.until_end(over, signaling) is End.FAILED


async def test_say_goodbye_does_not_begin_to_listen():
    """Without a connection there is nobody to say it to; aiortc's own would listen for somebody."""
    signaling = TcpSocketSignaling("127.0.0.1", free_port())
    await say_goodbye(signaling)
    assert signaling._server is None


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


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENOMEM])
def test_tell_failure_of_a_machine_that_has_no_more_is_one_line(number: int, caplog: pytest.LogCaptureFixture):
    """A client for whom there is no descriptor, or no memory, is turned away without a traceback."""
    assert listener.tell_failure("here", OSError(number, os.strerror(number))) == f"turned away: {os.strerror(number)}"
    (record,) = caplog.records
    assert record.getMessage() == f"here: ended: turned away: {os.strerror(number)}"
    assert record.exc_info is None


def test_tell_failure_of_ours_is_told_in_full(caplog: pytest.LogCaptureFixture):
    """A fault in this program keeps its traceback."""
    assert listener.tell_failure("here", KeyError("x")) == "an error of ours"
    assert caplog.records[0].exc_info


@pytest.mark.parametrize("error", [SlowPeerError("late"), SessionError("broken")])
async def test_keep_dialling_gives_up_on_what_fails_again_and_again(error: Exception):
    """A session that never begins, or breaks at once each time, has no more time than a server that never comes."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    async def attend(*_: object) -> tuple[bool, End]:
        raise error

    async with server:
        with pytest.raises(PeerError) as raised:
            await asyncio.wait_for(dialling.keep_dialling("127.0.0.1", port, 1, asyncio.Event(), attend), PATIENCE)
    # on a busy machine the time may be over while it dials
    reason = rf"no (session with|server at) 127\.0\.0\.1:{port} within 1 s: (no answer; before that: )?{error}"
    assert re.match(reason, str(raised.value))
