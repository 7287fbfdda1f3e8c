"""What is private to aioice about STUN and TURN servers: what is mended, and what is reached for; see aiortc_internals.

mend                      without it
answers of servers        what goes wrong at a server is dropped, and nobody learns why there is no candidate
giving an allocation back a relay that is gone makes a close wait for 63 s of retransmissions
binding a channel         that a relay forbids a peer is dropped, and nobody learns why the two do not meet
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from contextvars import ContextVar
from typing import Any, NamedTuple

import aioice.ice
import aioice.turn
from aioice import stun
from aioice.turn import TurnClientMixin
from aiortc import RTCPeerConnection

from common.names import look_up
from transport.mending import replace, unexpected

GIVE_BACK_TIMEOUT = 0.5  # s for a relay to say that an allocation is gone
RELAYED = (
    "component hide_related_address protocol_factory turn_server turn_username turn_password turn_ssl turn_transport"
)
CANDIDATE = "candidate"
Outcome = tuple[str, str | Exception | None]  # "stun" or "turn"; CANDIDATE, what went wrong, or None for no answer

_questions: ContextVar[list[tuple[str, asyncio.Task[Any]]] | None] = ContextVar("questions", default=None)


class Pair(NamedTuple):
    """The kinds of the two candidates that are in use: host, srflx, prflx or relay (RFC 8445, section 4).

    relay_protocol: how a relay of ours is talked to, "udp", "tcp" or "tls"; None if there is none of ours.
    """

    local: str
    remote: str
    relay_protocol: str | None

    def __str__(self) -> str:
        return f"{self.local}{f'/{self.relay_protocol}' if self.relay_protocol else ''} to {self.remote}"


class Relay(NamedTuple):
    """A relay of ours that is in use.

    bind: asks it to go on, and ends when it has said yes, or raises what it says instead.
    is_gone: returns whether it has ended its connection with us.
    """

    bind: Callable[[], Awaitable[None]]
    is_gone: Callable[[], bool]


class Refused(NamedTuple):
    """An address of the peer's that a relay does not pass anything on to, and its words."""

    host: str
    error: stun.TransactionFailed


# --- Mends ---------------------------------------------------------------------------------------


def mend_servers() -> bool:
    """Mend what is listed above; return whether everything was as expected."""
    return all(
        [
            replace(aioice.ice, "relayed_candidate", RELAYED, _noted("turn")),
            replace(aioice.ice, "server_reflexive_candidate", "protocol stun_server", _noted("stun")),
            replace(TurnClientMixin, "delete", "self", _mended_delete),
            replace(TurnClientMixin, "channel_bind", "self channel_number addr", _mended_bind),
        ]
    )


@contextlib.contextmanager
def noting() -> Iterator[Callable[[], list[Outcome]]]:
    """Give what returns how each question to a server has ended that the block asks while it gathers.

    What a block that fails has asked for, it gets no more: relays that come all the same are given back.
    """
    questions: list[tuple[str, asyncio.Task[Any]]] = []
    token = _questions.set(questions)
    try:
        yield lambda: [(kind, _outcome(task)) for kind, task in questions]
    except BaseException:
        for _, task in questions:
            _give_back(task)
        raise
    finally:
        _questions.reset(token)


def _outcome(task: "asyncio.Task[Any]") -> "str | Exception | None":
    """Return how a question has ended."""
    if not task.done() or task.cancelled():
        return None
    error = task.exception()
    return error if isinstance(error, Exception) else CANDIDATE


def _give_back(task: "asyncio.Task[Any]") -> None:
    """Forget a question, and give back the relay that has come of it."""
    if not task.cancel() and _outcome(task) is CANDIDATE and task.result()[1] is not None:
        task.result()[1].transport.close()


def _noted(kind: str) -> Callable[[Callable[..., Awaitable[Any]]], Callable[..., Awaitable[Any]]]:
    """Return what notes a question to a server: aioice looks at the candidates only, which each is a task to get."""

    def mended(stock: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def ask(*args: Any, **kwargs: Any) -> Any:
            questions, task = _questions.get(), asyncio.current_task()
            if questions is not None and task is not None:
                questions.append((kind, task))
            host, _ = kwargs.get("turn_server") or kwargs.get("stun_server") or args[1]
            await look_up(host)  # else its own question keeps the loop from ending
            return await stock(*args, **kwargs)

        return ask

    return mended


def _mended_delete(stock: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """Wait for the relay's word for a moment only: the allocation runs out by itself."""

    async def delete(self: Any) -> None:
        try:
            async with asyncio.timeout(GIVE_BACK_TIMEOUT):
                await stock(self)
        except TimeoutError:
            self.transport.abort()  # close() would wait until what was written has been taken

    return delete


def _mended_bind(stock: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """Keep what a relay says to a peer's address that it does not take."""

    async def channel_bind(self: Any, channel_number: int, addr: tuple[str, int]) -> None:
        try:
            await stock(self, channel_number, addr)
        except stun.TransactionFailed as error:
            self.refused = Refused(addr[0], error)
            raise

    return channel_bind


# --- What is reached for -------------------------------------------------------------------------


def refused_by_relay(pc: RTCPeerConnection) -> Refused | None:
    """Return the address of the peer's that a relay of ours has refused last; None if there is none."""
    for protocol in getattr(connection_of(pc), "_protocols", ()):
        client = getattr(protocol.transport, "_TurnTransport__inner_protocol", None)
        refused: Refused | None = getattr(client, "refused", None)
        if refused is not None:
            return refused
    return None


def pair_in_use(pc: RTCPeerConnection) -> Pair | None:
    """Return what kind of pair a connection goes by; None if there is none, or nothing tells."""
    connection = connection_of(pc)
    pair = getattr(connection, "_nominated", {}).get(1)
    if pair is None:
        return None
    local, protocol = pair.local_candidate.type, None
    if local == "relay":
        protocol = "tls" if connection.turn_ssl else connection.turn_transport
    return Pair(local, pair.remote_candidate.type, protocol)


def relay_in_use(pc: RTCPeerConnection) -> Relay | None:
    """Return the relay of ours that a connection goes by; None if it goes by none, or nothing tells."""
    pair = getattr(connection_of(pc), "_nominated", {}).get(1)
    if pair is None or pair.local_candidate.type != "relay":
        return None
    client = getattr(pair.protocol.transport, "_TurnTransport__inner_protocol", None)
    names = ("channel_bind", "peer_to_channel", "channel_refresh_at", "channel_refresh_time", "refresh_task")
    if client is None or not all(hasattr(client, name) for name in names):
        unexpected("TurnTransport")
        return None
    address, stock, gone = pair.remote_addr, client.connection_lost, False

    def connection_lost(error: Exception | None) -> None:
        nonlocal gone
        gone = client.refresh_task is not None  # it is none when we give the allocation back
        stock(error)

    async def bind() -> None:
        if client.transport.is_closing():
            raise ConnectionError("the relay's connection is closed")
        channel = client.peer_to_channel.get(address)
        if channel is not None:  # else it is being bound for the first time
            await client.channel_bind(channel, address)
            now = aioice.turn.time.time()  # type: ignore[attr-defined]  # its own clock
            client.channel_refresh_at[channel] = now + client.channel_refresh_time

    client.connection_lost = connection_lost  # of this one only
    return Relay(bind, lambda: gone)


def asker(pc: RTCPeerConnection) -> Callable[[], Awaitable[None]] | None:
    """Return what asks the peer once whether it is there, which is heard if it is; None where nothing can ask.

    aioice asks by itself as well, every 5 s. Source: RFC 7675, section 5.1.
    """
    connection = connection_of(pc)
    if not all(hasattr(connection, name) for name in ("_nominated", "build_request", "remote_password")):
        unexpected("Connection.build_request")
        return None

    async def ask() -> None:
        pair = connection._nominated.get(1)
        if pair is not None:
            request, key = connection.build_request(pair, nominate=False), connection.remote_password.encode()
            with contextlib.suppress(stun.TransactionError):
                await pair.protocol.request(request, pair.remote_addr, integrity_key=key, retransmissions=0)

    return ask


def connection_of(pc: RTCPeerConnection) -> Any:
    """Return aioice's half of a connection whose sections are one bundle; None if there is none."""
    transports = (
        [pc.sctp.transport] if pc.sctp is not None else [each.receiver.transport for each in pc.getTransceivers()]
    )
    return getattr(transports[0].transport, "_connection", None) if transports else None
