"""Meeting one WebRTC peer, and holding it until the end.

Signaling is aiortc's TcpSocketSignaling: one JSON object a line over TCP, the server offers, the client
answers, {"type": "bye"} or the end of the connection ends the session. The built-in class listens for one
peer and is then done; here each accepted connection gets one of its own, so that one port serves many.

The signaling connection stays open for the whole session: a peer that is killed outright is noticed by it in
milliseconds, by the media only after half a minute.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from enum import StrEnum
from typing import Any, Protocol, TypeVar

from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection, RTCSessionDescription
from aiortc.contrib.signaling import BYE, TcpSocketSignaling
from aiortc.exceptions import InvalidAccessError, InvalidStateError, OperationError
from aiortc.rtcconfiguration import RTCBundlePolicy

logger = logging.getLogger(__name__)

HANDSHAKE_TIMEOUT = 10.0  # s from the connection to the first message of the data channel
MAX_HANDSHAKES = 64  # at once; more are turned away
START_INTERVAL = 0.005  # s between the starts of two handshakes: each takes 2 ms of the event loop
RETRY_FIRST, RETRY_MAX = 0.1, 1.0  # s between two attempts to dial; doubled each time
ATTEMPT_TIMEOUT = 2.0  # s for one of them: an address that nobody has any more does not answer at all

T = TypeVar("T")


class End(StrEnum):
    """Why a session ended."""

    BYE = "bye"  # the peer said so
    VANISHED = "vanished"  # its signaling connection ended without a word
    FAILED = "connection failed"  # no way to it, or the way was lost for good
    STOPPED = "stopped"  # we said so
    EXPELLED = "expelled: too many messages"


class PeerError(Exception):
    """The peer is not there, or does not keep to the protocol."""


class SlowPeerError(PeerError):
    """The peer does not keep to the protocol's deadlines."""


def configuration(stun: str | None = None) -> RTCConfiguration:
    """Return how to connect: host candidates only, unless a STUN server is given as "stun:HOST:PORT".

    aiortc's default asks a public server, and waits five seconds for it where there is no way out.
    All media and channels share one transport.
    """
    servers = [RTCIceServer(urls=stun)] if stun else []
    return RTCConfiguration(iceServers=servers, bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)


# --- Signaling -----------------------------------------------------------------------------------


class AcceptedSignaling(TcpSocketSignaling):
    """TcpSocketSignaling over a connection that was accepted already."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        super().__init__("", 0)  # where it would listen or dial
        self.peer = format_address(writer.get_extra_info("peername"))
        self._reader, self._writer = reader, writer


def format_address(address: object) -> str:
    """Return a socket's address as HOST:PORT."""
    match address:
        case (str(host), int(port), *_):
            return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        case _:
            return "?:0"


async def receive(signaling: TcpSocketSignaling) -> object:
    """Return the next object that the peer signals; None at the end of the connection.

    Raises:
        PeerError: what came is no signaling message.
    """
    try:
        return await signaling.receive()
    except (ConnectionError, asyncio.IncompleteReadError):
        return None
    except (ValueError, KeyError, TypeError, AssertionError, AttributeError, IndexError, RecursionError):
        raise PeerError("not a signaling message") from None
    except asyncio.LimitOverrunError:
        raise PeerError("signaling message longer than 64 KiB") from None


async def receive_description(signaling: TcpSocketSignaling, kind: str) -> RTCSessionDescription | None:
    """Return the offer or the answer, whichever `kind` says; None if the peer leaves instead.

    Raises:
        PeerError: something else came.
    """
    message = await receive(signaling)
    if message is None or message is BYE:
        return None
    if not isinstance(message, RTCSessionDescription) or message.type != kind or not isinstance(message.sdp, str):
        raise PeerError(f"not an {kind}")
    return message


async def accept_description(pc: RTCPeerConnection, description: RTCSessionDescription) -> None:
    """Take the peer's offer or answer.

    Raises:
        PeerError: it is not one that can be taken.
    """
    try:
        await pc.setRemoteDescription(description)
    except (
        ValueError, KeyError, TypeError, IndexError, AttributeError, AssertionError,
        OperationError, InvalidStateError, InvalidAccessError,
    ) as error:  # fmt: skip
        logger.debug("bad %s", description.type, exc_info=error)
        raise PeerError(f"an {description.type} that cannot be used") from None


async def close_signaling(signaling: TcpSocketSignaling) -> None:
    """Say goodbye and close the connection; harmless if the peer is gone."""
    with contextlib.suppress(OSError):
        await signaling.close()


# --- Dialling and listening ----------------------------------------------------------------------


async def dial(host: str, port: int, wait: float) -> TcpSocketSignaling:
    """Connect to a server's signaling port, again and again with a growing pause.

    Args:
        host, port: where the server listens.
        wait: s after which to give up.

    Returns:
        The signaling, connected.

    Raises:
        PeerError: there was no server in time; the text says why.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + wait
    for pause in backoff():
        signaling = TcpSocketSignaling(host, port)
        try:
            async with asyncio.timeout_at(min(deadline, loop.time() + ATTEMPT_TIMEOUT)):
                await signaling._connect(False)  # what receive() does first; here its refusal can be told
            return signaling
        except OSError as error:  # TimeoutError is one, and says nothing
            reason = error.strerror or str(error) or "no answer"
            logger.info("no server at %s:%s yet: %s", host, port, reason)
        if loop.time() + pause > deadline:
            break
        await asyncio.sleep(pause)
    raise PeerError(f"no server at {host}:{port} within {round(wait, 1):g} s: {reason}")


def backoff() -> Iterator[float]:
    """Return the pauses (s) between attempts, without end: doubled each time, up to RETRY_MAX."""
    pause = RETRY_FIRST
    while True:
        yield pause
        pause = min(2 * pause, RETRY_MAX)


class Visit(Protocol):
    """What `listen` does with a client, step by step."""

    async def meet(self) -> bool:
        """Shake hands; return whether it came about, or raise PeerError."""

    async def hold(self) -> str:
        """Serve the client until it ends; return why it did, or raise PeerError."""

    async def close(self, end: str) -> None:
        """Free everything; `end` says why. Called once, however far it went."""


@contextlib.asynccontextmanager
async def listen(host: str, port: int, receive_visit: Callable[[AcceptedSignaling], Visit]) -> AsyncIterator[None]:
    """Serve every connection to a port, each in a task of its own, until the block ends.

    At most MAX_HANDSHAKES are under way at once, and two of them begin START_INTERVAL apart at least; so a
    burst of connections takes little from the clients in service. Leaving the block closes the port and waits
    for the tasks.

    Args:
        host, port: where to listen.
        receive_visit: makes what serves one connection.

    Raises:
        OSError: the port cannot be had.
    """
    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[None]] = set()
    meeting: set[AcceptedSignaling] = set()
    next_start = loop.time()

    async def serve(signaling: AcceptedSignaling) -> None:
        nonlocal next_start
        next_start = max(next_start + START_INTERVAL, loop.time())
        await asyncio.sleep(next_start - loop.time())
        visit = receive_visit(signaling)
        end = "an error of ours"
        try:
            met = await visit.meet()
            meeting.discard(signaling)
            if met:
                end = await visit.hold()
            else:
                end = "left before it began"
                logger.warning("%s: %s", signaling.peer, end)
        except PeerError as error:
            end = str(error)
            logger.warning("%s: ended: %s", signaling.peer, end)
        except Exception:
            logger.exception("%s: ended by an error of ours", signaling.peer)
        finally:
            meeting.discard(signaling)
            await visit.close(end)
            await close_signaling(signaling)

    def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        signaling = AcceptedSignaling(reader, writer)
        if len(meeting) >= MAX_HANDSHAKES:
            logger.warning("%s: turned away: %d others are shaking hands", signaling.peer, len(meeting))
            writer.close()
            return
        meeting.add(signaling)
        task = asyncio.create_task(serve(signaling))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(on_connection, host, port)
    try:
        yield
    finally:
        server.close()
        while tasks:
            await asyncio.wait(tasks)


# --- Holding -------------------------------------------------------------------------------------


async def until_end(pc: RTCPeerConnection, signaling: TcpSocketSignaling) -> End:
    """Wait until the session ends, and return why.

    Raises:
        PeerError: the peer signals nonsense.
    """
    over = asyncio.Event()

    @pc.on("connectionstatechange")
    def on_connectionstatechange() -> None:
        if pc.connectionState in ("failed", "closed"):
            over.set()

    on_connectionstatechange()
    end = await unless(over, _until_bye(signaling))
    pc.remove_listener("connectionstatechange", on_connectionstatechange)
    return end or (End.BYE if pc.connectionState == "closed" else End.FAILED)


async def _until_bye(signaling: TcpSocketSignaling) -> End:
    """Read signaling until it ends; anything but a goodbye is of no interest any more."""
    while True:
        message = await receive(signaling)
        if message is None:  # at its end, receive() returns None without suspending: never read on
            return End.VANISHED
        if message is BYE:
            return End.BYE


async def unless(event: asyncio.Event, awaited: Coroutine[Any, Any, T]) -> T | None:
    """Return what `awaited` returns; or None, and cancel it, if the event is set before that."""
    task = asyncio.create_task(awaited)
    waiter = asyncio.create_task(event.wait())
    try:
        await asyncio.wait((task, waiter), return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        for each in (task, waiter):
            each.cancel()
        await asyncio.wait((task, waiter))
