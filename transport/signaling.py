"""What the two programs say to each other before there is a connection, and to end it.

Signaling is aiortc's TcpSocketSignaling: one JSON object a line over TCP, the server offers, the client
answers, {"type": "bye"} or the end of the connection ends the session. The built-in class listens for one
peer and is then done; here each accepted connection gets one of its own, so that one port serves many.

The signaling connection stays open for the whole session: a peer that is killed outright is noticed by it in
milliseconds, by the media only after half a minute.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any

from aiortc import RTCSessionDescription
from aiortc.contrib.signaling import BYE, TcpSocketSignaling

from common.sessions import End, PeerError
from transport import aiortc_internals as internals
from transport.width import width_of

logger = logging.getLogger(__name__)


class AcceptedSignaling(TcpSocketSignaling):
    """TcpSocketSignaling over a connection that was accepted already.

    Attributes:
        peer: its address as HOST:PORT; host: the first part of it.
        kind: what it is, "client" or "browser".
        on_asked: called whenever we have said something; on_spoken: whenever the peer has.
    """

    kind = "client"

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        super().__init__("", 0)  # where it would listen or dial
        self.peer = format_address(writer.get_extra_info("peername"))
        self.host = self.peer.rpartition(":")[0]
        self.on_asked: Callable[[], None] = lambda: None
        self.on_spoken: Callable[[], None] = lambda: None
        self._connection = writer.get_extra_info("socket")
        internals.adopt(self, reader, writer)

    @property
    def width(self) -> float | None:
        """Return how many bit / s the way to the peer takes, if that is little; None where it is much, or unknown."""
        return width_of(self._connection) if self._connection is not None else None

    async def send(self, descr: Any) -> None:
        """Say something to the peer."""
        await super().send(descr)
        self.on_asked()

    async def receive(self) -> Any:
        """Return the next object that the peer signals; None at the end of the connection."""
        received = await super().receive()
        self.on_spoken()
        return received


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


async def say_goodbye(signaling: TcpSocketSignaling) -> None:
    """Say goodbye, if there is a connection to say it over; harmless if the peer is gone."""
    if internals.local_host(signaling) is not None:  # without one, send() would begin to listen
        with contextlib.suppress(OSError):
            await signaling.send(BYE)


async def close_signaling(signaling: TcpSocketSignaling, goodbye: bool = True) -> None:
    """Close the connection, with a goodbye or without a word; harmless if the peer is gone."""
    if goodbye:
        await say_goodbye(signaling)
    writer = internals.release(signaling)
    if writer is not None:
        writer.close()


# --- Holding -------------------------------------------------------------------------------------


async def until_bye(signaling: TcpSocketSignaling) -> End:
    """Read signaling until it ends; anything but a goodbye is of no interest any more."""
    while True:
        message = await receive(signaling)
        if message is None:  # at its end, receive() returns None without suspending: never read on
            return End.VANISHED
        if message is BYE:
            return End.BYE
