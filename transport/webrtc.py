"""What both ends of a WebRTC connection share."""

import asyncio
import contextlib
import itertools
import logging
import re
import time
from abc import abstractmethod
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractContextManager
from typing import Any

from aiortc import RTCDataChannel, RTCPeerConnection, RTCSessionDescription
from aiortc.contrib.signaling import TcpSocketSignaling

from common.ice import IceConfig, IceServer
from common.sessions import End, PeerError, SessionError, SlowPeerError
from common.waiting import unless
from protocol.messages import COORDINATES, COORDINATES_ID, SCORES, Ready, encode
from transport import aiortc_internals as internals
from transport.aiortc_ice import Relay, pair_in_use, relay_in_use
from transport.descriptions import with_candidates
from transport.ice import Lack, asking, configuration, forbidden, keep_relay, probe
from transport.link import (
    HANDSHAKE_TIMEOUT,
    MAX_BUFFERED,
    NO_CHANNEL,
    UNHEARD,
    UNMET,
    Link,
    OnMessage,
    exchange,
    receive_offer_of,
)
from transport.sacks import acknowledge_in_pairs
from transport.signaling import until_bye

logger = logging.getLogger(__name__)

WORD_TIMEOUT = 1.0  # s for the peer's goodbye, from when its end of the connection has closed
GATHERING_TIMEOUT = 10.0  # s; aioice waits 5 s for the servers that it asks
RETURN_AFTER, RETURN_INTERVAL = 1.0, 0.5  # s of a handshake without a relay, and between two looks whether it is back
GIVEN_UP_AFTER = 5.0  # s of a handshake without a way, after which a peer that leaves has not met us either
MAX_CHANNELS = 8  # that a client may open; it needs one
APPLICATION = re.compile(r"^m=application .*?(?=^m=|\Z)", re.MULTILINE | re.DOTALL)  # the section of the channels
DCMAP = re.compile(rf'^a=dcmap:(\d{{1,5}}) (?:[^\r\n]*;)?label="{COORDINATES}"', re.MULTILINE)
CANDIDATE_PORT = re.compile(r"^a=candidate:\S+ \d+ \S+ \d+ \S+ (\d{1,9}) ", re.MULTILINE)
CANDIDATE = re.compile(r"^a=candidate:\S+ \d+ \S+ \d+ (\S+) ", re.MULTILINE)  # RFC 8839, section 5.1: the address
MAX_STREAM = 65535  # RFC 8832, section 6: an SCTP stream's number is below it
READY_INTERVAL = 0.1  # s between two messages that say that the channel is open


class PeerLink(Link):
    """What both ends of a WebRTC connection share.

    Args:
        ice: the servers to ask, and whether to go by a relay only; None for no servers.
    """

    def __init__(self, signaling: TcpSocketSignaling, on_message: OnMessage, ice: IceConfig | None) -> None:
        super().__init__(signaling, on_message)
        internals.mend()
        self._ice = ice or IceConfig()
        self._pc = RTCPeerConnection(configuration(self._ice))
        self._filmed = asyncio.Event()  # a frame has come of the peer
        self._lacks: list[Lack] = []  # servers that gave no candidate
        self._relay: Relay | None = None  # of ours, that the connection goes by
        self._ready = asyncio.Event()  # the client's channel is open: both sides are set up
        self._over = asyncio.Event()  # the connection is closed, or lost
        self._pc.on("connectionstatechange", self._on_state)
        self._outgoing: RTCDataChannel | None = None

    async def _until_ready(self) -> bool:
        """Wait for the client's channel to open; return False if the peer leaves before that.

        Raises:
            PeerError: there is no way to encrypt for the peer.
        """
        for lack in self._lacks:
            if lack.server.relays and not lack.there:
                self._start(self._await_server(lack.server))
        ready = await unless(self._ready, self.until_end()) is None
        if not ready and self._pc.sctp is not None and self._pc.sctp.transport.state == "failed":
            raise PeerError("DTLS failed; is the peer's certificate RSA? It has to be ECDSA")
        return ready

    def send(self, text: str) -> bool:
        """Send a message, if the peer is there and reads what it gets; return whether it was sent."""
        channel = self._outgoing
        if channel is None or channel.readyState != "open" or channel.bufferedAmount >= MAX_BUFFERED:
            return False
        channel.send(text)
        return True

    def _on_state(self) -> None:
        if self._pc.connectionState in ("failed", "closed"):
            self._over.set()
        elif self._pc.connectionState == "connected":
            self._stage = NO_CHANNEL

    def _watch_connection(self) -> asyncio.Event:
        """Return what is set once there is a connection."""
        connected = asyncio.Event()

        @self._pc.on("connectionstatechange")
        def on_connectionstatechange() -> None:
            if self._pc.connectionState == "connected":
                connected.set()

        return connected

    def _watch_channel(self, channel: RTCDataChannel) -> None:
        """Take the end of a channel that the session needs for the end of the connection."""
        channel.on("close", self._over.set)

    def _expect_coordinates(self, opened: asyncio.Event) -> None:
        """Take the channel of the coordinates that a client opens, unless `opened` is set already, and set it."""
        numbers = itertools.count(1)

        @self._pc.on("datachannel")
        def on_datachannel(channel: RTCDataChannel) -> None:
            if next(numbers) > MAX_CHANNELS:
                self.expel()
            elif channel.label == COORDINATES and not opened.is_set():
                channel.on("message", self.on_message)
                self._watch_channel(channel)
                opened.set()

    async def _until_end(self) -> End:
        end = await until_end(self._over, self.signaling)
        if end is End.FAILED and self._relay is not None and self._relay.is_gone():
            logger.warning("%s has closed its connection with us", self._ice.relay_url)
        return end

    def _last_heard(self) -> float:
        return internals.last_heard(self._pc)

    async def open(self, patience: float = HANDSHAKE_TIMEOUT) -> bool:
        """Shake hands, and note by what kind of way; see Link.open."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            opened = await super().open(patience)
        except SlowPeerError as error:
            raise SlowPeerError(f"{error}{forbidden(self._pc, self._ice.relay_url)}") from None
        said = forbidden(self._pc, self._ice.relay_url)
        if not opened and (said or (self._stage == UNMET and loop.time() - began >= GIVEN_UP_AFTER)):
            raise SlowPeerError(f"the peer has given up{UNMET}{said}")
        self.pair = pair_in_use(self._pc) if opened else None
        self._relay = relay_in_use(self._pc) if opened else None
        if self._relay is not None:
            self._start(self._keep_relay(self._relay))
        return opened

    async def _describe(
        self,
        create: Callable[[], Coroutine[Any, Any, RTCSessionDescription]],
        offer: RTCSessionDescription | None = None,
    ) -> None:
        """Make the local description, candidates and all; that takes time of its own, and then the handshake has its.

        Args:
            create: makes an offer or an answer.
            offer: what it answers.

        Raises:
            SessionError: no candidate may be used, or none comes.
        """
        self._allow(None)
        try:
            async with asyncio.timeout(GATHERING_TIMEOUT), asking(self._ice) as lacks:
                with self._gathering(offer):
                    await self._pc.setLocalDescription(await create())
        except TimeoutError:
            raise SessionError(f"no candidates within {GATHERING_TIMEOUT:g} s") from None
        self._lacks = lacks
        if self._ice.relay_only and lacks:
            raise SessionError(
                f"no way but a relay is wanted, and {lacks[0].server.url} gives none: it {lacks[0].reason}"
            )
        self._allow(HANDSHAKE_TIMEOUT)

    async def _await_server(self, server: IceServer) -> None:
        """End a handshake that has to do without a relay when the relay is there: the next one has it."""
        await asyncio.sleep(RETURN_AFTER)
        while await probe(server) is not None:  # noqa: ASYNC110  # nothing of ours would tell
            await asyncio.sleep(RETURN_INTERVAL)
        if not self._ready.is_set():
            self._error = self._error or SessionError(f"{server.url} is there now")
            self._cut_off.set()

    async def _keep_relay(self, relay: Relay) -> None:
        """End the session when the relay that it goes by has lost it."""
        await keep_relay(relay, lambda: time.monotonic() - self._last_heard(), self._ice.relay_url)
        self._over.set()

    def _gathering(self, offer: RTCSessionDescription | None = None) -> AbstractContextManager[None]:
        """Gather candidates where signaling is: over the loopback nowhere else, and nothing is opened elsewhere.

        A peer that was told of a STUN or TURN server, or offers to be met elsewhere (a port that is forwarded into a
        container), is met wherever it can be.
        """
        host = self._local_host()
        if host is None:
            return contextlib.nullcontext()
        elsewhere = offer is not None and not all(map(internals.is_loopback, CANDIDATE.findall(offer.sdp)))
        near = internals.is_loopback(host) and not elsewhere and not self._ice.servers
        return internals.gathering_at(host, only=near)

    def _local_host(self) -> str | None:
        """Return the address of this machine that signaling goes by; None if there is no connection."""
        return internals.local_host(self.signaling)

    async def close(self) -> None:
        """End the session at once. Does nothing the second time."""
        await self._stop_tasks()
        await internals.close(self._pc)


class PeerOffer(PeerLink):
    """The server's end of a WebRTC connection.

    The client's channel is open at the client's end when `open()` returns True: it has said something there, or
    opened the channel itself. No frame may be sent before that, or the first reports would be lost.
    """

    @abstractmethod
    def _add_frames(self) -> None:
        """Put what the frames travel by into the connection, before it is offered."""

    async def _shake_hands(self) -> bool:
        self._add_frames()
        # the offer has to have a channel in it, or the client could open none of its own
        self._outgoing = self._pc.createDataChannel(SCORES, ordered=False, maxRetransmits=0)
        assert self._pc.sctp is not None
        acknowledge_in_pairs(self._pc.sctp)
        coordinates = create_coordinates(self._pc, COORDINATES_ID)
        self._watch_channel(coordinates)
        self._expect_coordinates(self._ready)

        @coordinates.on("message")
        def on_message(message: object) -> None:
            self._ready.set()
            self.on_message(message)

        await self._describe(self._pc.createOffer)
        answer = await exchange(self.signaling, with_channel(self._pc.localDescription, COORDINATES_ID))
        if answer is None:
            return False
        self._stage = UNMET
        self._check(answer)
        await accept_description(self._pc, answer)
        return await self._until_ready()

    def _check(self, answer: RTCSessionDescription) -> None:
        """Refuse an answer without what the frames travel by.

        Raises:
            PeerError: it is one; the text says what to do.
        """


class PeerAnswer(PeerLink):
    """The client's end of a `PeerOffer`."""

    transport: str  # a key of TRANSPORTS

    @abstractmethod
    def _expect_frames(self) -> None:
        """Get ready for what the frames travel by, before the offer is taken."""

    @abstractmethod
    def _on_channel(self, channel: RTCDataChannel) -> None:
        """Take a channel of the server's, other than that of the scores."""

    async def _shake_hands(self) -> bool:
        self._expect_frames()

        @self._pc.on("datachannel")
        def on_datachannel(channel: RTCDataChannel) -> None:
            if channel.label == SCORES:
                channel.on("message", self.on_message)
            else:
                self._on_channel(channel)

        self._stage = UNHEARD
        offer = await receive_offer_of(self.signaling, self.transport)
        if offer is None:
            return False
        self._on_heard()
        await accept_description(self._pc, offer)
        if self._pc.sctp is None:
            raise PeerError("an offer without a data channel")
        number = offered_channel(offer)
        self._outgoing = create_coordinates(self._pc, number)
        self.unreliable = number is not None
        self._outgoing.on("open", self._ready.set)
        self._watch_channel(self._outgoing)
        await self._describe(self._pc.createAnswer, offer)
        answer = self._pc.localDescription
        await self.signaling.send(answer if number is None else with_channel(answer, number))
        opened = await self._until_ready()
        if opened:
            self._start(self._watch_frames())
        if opened and number is not None:
            self._start(self._announce())
        return opened

    async def _announce(self) -> None:
        """Say that the channel is open until a frame comes of it: what says so can be lost."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HANDSHAKE_TIMEOUT):
                while not self._filmed.is_set():
                    self.send(encode(Ready()))
                    await asyncio.sleep(READY_INTERVAL)


# --- The channel of the coordinates --------------------------------------------------------------


def create_coordinates(pc: RTCPeerConnection, number: int | None) -> RTCDataChannel:
    """Return the channel of the coordinates: on the stream of that number at both ends, or, if None, opened by DCEP.

    A channel that is opened needs an acknowledgement, without which it takes nothing for a second or three, while
    the other side thinks it open. One that was negotiated beforehand is open as soon as there is a connection. It
    sends nothing again: that would take a second, and each message stands for itself. A server that offers no such
    channel knows nothing of reports that are said twice, either, so theirs is reliable.
    """
    if number is None:
        return pc.createDataChannel(COORDINATES, ordered=False)  # each message stands for itself
    return pc.createDataChannel(COORDINATES, ordered=False, maxRetransmits=0, negotiated=True, id=number)


def with_channel(description: RTCSessionDescription, number: int) -> RTCSessionDescription:
    """Return an offer or answer that says on which stream the coordinates go. Source: RFC 8864, section 5.1."""
    line = f'a=dcmap:{number} label="{COORDINATES}";ordered=false;max-retr=0\r\n'
    sdp = APPLICATION.sub(lambda section: section[0] + line, description.sdp, count=1)
    return RTCSessionDescription(sdp, description.type)


def offered_channel(offer: RTCSessionDescription) -> int | None:
    """Return the number of the stream that a server offers for the coordinates; None if it offers none."""
    match = DCMAP.search(offer.sdp)
    return int(match[1]) if match is not None and int(match[1]) < MAX_STREAM else None


async def accept_description(pc: RTCPeerConnection, description: RTCSessionDescription) -> None:
    """Take the peer's offer or answer.

    Raises:
        PeerError: it is not one that can be taken.
    """
    with refusing(description.type):
        if any(not 0 < int(port) < 2**16 for port in CANDIDATE_PORT.findall(description.sdp)):
            raise ValueError("a candidate's port is out of range")
        await pc.setRemoteDescription(RTCSessionDescription(with_candidates(description.sdp), description.type))


@contextlib.contextmanager
def refusing(kind: str) -> Iterator[None]:
    """Turn whatever aiortc makes of a peer's offer or answer, as `kind` says, into a PeerError."""
    try:
        yield
    except (PeerError, SessionError):
        raise
    except Exception as error:  # a StopIteration is a RuntimeError here
        logger.debug("bad %s", kind, exc_info=error)
        raise PeerError(f"an {kind} that cannot be used") from None


async def until_end(over: asyncio.Event, signaling: TcpSocketSignaling) -> End:
    """Wait until the session ends, and return why.

    Only signaling says goodbye. A connection that is closed may have been closed by the peer, whose goodbye is on its
    way then; or by a fault.

    Args:
        over: is set when the connection is closed, or lost.

    Raises:
        PeerError: the peer signals nonsense.
    """
    end = await unless(over, until_bye(signaling))
    if end is None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(WORD_TIMEOUT):
                end = await until_bye(signaling)
    return end or End.FAILED
