"""What is private to aiortc and aioice: what is mended in them, and what is reached for.

All of it is in this file and five beside it that have one subject each: aiortc_receiver.py, the parts of a receiver,
aiortc_ice.py, STUN and TURN servers, clocks.py, playout.py and sacks.py. Every private name is checked before it is
used. Where one is not as expected, things stay as the library has them, with one warning; what is lost by that is said
below. Each mend has a test that it is needed, which fails, and so asks for its removal, as soon as the library needs
it no longer (tests/test_aiortc_internals.py).

    mend                      without it
    datagrams                 one empty UDP datagram from anyone ends a session; strange STUN is a traceback each
    SCTP, RTP and RTCP        a malformed SACK, a stream id used twice or text that is not UTF-8 is a traceback
    clocks                    a wall clock that is set stretches SCTP's timeouts to a minute, and stops RTCP for good
    rate counter              a pause is walked through millisecond by millisecond in the event loop
    jitter                    does not fit its field after strange time stamps: RTCP stops, and stop() waits for ever
    addresses                 no loopback address is ever gathered, and all others always
    playout                   a browser shows frames later than it could; one that was stopped, for half a minute
    connecting                a description that fails only when it is used is a traceback, and nobody learns of it
    acknowledgements          every packet of a data channel has one: a quarter more of what many clients cost
    asking                    a media server that is silent is missed after 12 s, not 3
"""

import asyncio
import contextlib
import functools
import ipaddress
import struct
import time
from collections.abc import Awaitable, Callable, Iterator
from contextvars import ContextVar
from typing import Any

import aioice.ice
import aioice.stun
from aiortc import RTCPeerConnection, RTCRtpSender
from aiortc.contrib.signaling import TcpSocketSignaling
from aiortc.rate import RateBucket, RateCounter
from aiortc.rtcdtlstransport import RTCDtlsTransport
from aiortc.rtcrtpreceiver import StreamStatistics
from aiortc.rtcsctptransport import RTCSctpTransport
from aiortc.rtp import is_rtcp

from transport.aiortc_ice import connection_of, mend_servers
from transport.clocks import mend_clocks
from transport.mending import replace, unexpected
from transport.playout import mend_playout
from transport.strays import drop

CLOSE_TIMEOUT = 1.0  # s
OnAsked = Callable[[int], bool]
RTP_HEADER = struct.Struct("!2xH4xL")  # sequence number and SSRC (RFC 3550, section 5.1)
MAX_JITTER = 2**32 - 1  # RFC 3550, section 6.4.1: 32 bits

_addresses: ContextVar[tuple[str, bool] | None] = ContextVar("addresses", default=None)  # first, and whether only


# --- Mends ---------------------------------------------------------------------------------------


@functools.cache
def mend() -> bool:
    """Mend what is listed above, once for this process; return whether everything was as expected."""
    return all(
        [
            replace(aioice.ice.StunProtocol, "datagram_received", "self data addr", _mended_datagrams),
            replace(RTCSctpTransport, "_handle_data", "self data", _without_traceback("SCTP packets")),
            replace(RTCDtlsTransport, "_handle_rtp_data", "self data arrival_time_ms", _without_traceback("RTP")),
            replace(RTCDtlsTransport, "_handle_rtcp_data", "self data", _without_traceback("RTCP")),
            replace(RTCPeerConnection, "_RTCPeerConnection__connect", "self", _mended_connect),
            replace(aioice.ice, "get_host_addresses", "use_ipv4 use_ipv6", _mended_addresses),
            replace(RateCounter, "_erase_old", "self now_ms", _mended_rate_counter),
            _mend_jitter(),
            mend_clocks(),
            mend_playout(),
            mend_servers(),
        ]
    )


def _mended_datagrams(stock: Callable[..., None]) -> Callable[..., None]:
    """Let through what can be a packet (RFC 7983, section 7), and only from where the peer is known to be."""

    def datagram_received(self: Any, data: bytes, addr: tuple[Any, ...]) -> None:
        kind = data[0] if data else 255
        source = (addr[0], addr[1])
        try:
            if kind < 4:
                aioice.stun.parse_message(data)  # what is malformed would be taken for data, or raise what it likes
                stock(self, data, addr)
                if _is_peer(self.receiver, source):
                    self.receiver.heard = time.monotonic()
            elif not (20 <= kind < 64 or 128 <= kind < 192):
                drop("datagrams that are no packets")
            elif _is_peer(self.receiver, source):
                self.receiver.heard = time.monotonic()
                if kind >= 128 and not is_rtcp(data):
                    self.receiver.streamed = self.receiver.heard
                self.receiver.data_received(data, self.local_candidate.component)
            else:
                drop("datagrams of strangers")
        except Exception as error:  # whatever a stranger's bytes make of it
            drop("malformed STUN", error)

    return datagram_received


def _is_peer(connection: Any, source: tuple[str, int]) -> bool:
    """Return whether an address belongs to the peer: it was signaled, or its connectivity checks were right."""
    nominated, pairs = getattr(connection, "_nominated", None), getattr(connection, "_check_list", None)
    if not isinstance(nominated, dict) or not isinstance(pairs, list):
        return True  # nothing tells
    pair = nominated.get(1)
    if pair is not None and pair.remote_addr == source:
        return True
    return any(pair.remote_addr == source for pair in pairs)


def _without_traceback(kind: str) -> Callable[[Callable[..., Awaitable[None]]], Callable[..., Awaitable[None]]]:
    """Return what makes a handler drop a packet that it cannot handle: the error would close the connection."""

    def mended(stock: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
        async def handle(self: Any, *args: Any, **kwargs: Any) -> None:
            try:
                await stock(self, *args, **kwargs)
            except ConnectionError:
                raise
            except Exception as error:  # whatever the peer's bytes make of it
                drop(f"{kind} that cannot be handled", error)

        return handle

    return mended


def _mended_connect(stock: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """Close the connection where the task that makes it fails: nobody looks at that task."""

    async def connect(self: RTCPeerConnection) -> None:
        try:
            await stock(self)
        except Exception as error:  # whatever the peer's description makes of it
            drop("descriptions that cannot be used", error)
            await close(self)

    return connect


def _mended_rate_counter(stock: Callable[..., None]) -> Callable[..., None]:
    """Forget everything at once after a pause as long as the window, with the same result."""

    def erase_old(self: Any, now_ms: int) -> None:
        origin = now_ms - self._window_size + 1
        if origin - self._origin_ms < self._window_size:
            stock(self, now_ms)
            return
        self._buckets = [RateBucket() for _ in range(self._window_size)]
        self._total = RateBucket()
        self._origin_index, self._origin_ms = 0, origin

    return erase_old


def _mend_jitter() -> bool:
    """Keep a receiver report's jitter within its 32 bits."""
    stock = StreamStatistics.__dict__.get("jitter")
    if not isinstance(stock, property) or stock.fget is None:
        return unexpected("StreamStatistics.jitter")
    compute = stock.fget
    StreamStatistics.jitter = property(lambda self: min(compute(self), MAX_JITTER))  # type: ignore[method-assign,assignment]
    return True


# --- Addresses -----------------------------------------------------------------------------------


def is_loopback(address: str) -> bool:
    """Return whether an address is one of this machine's own, for itself only.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("::ffff:127.0.0.1"), is_loopback("10.0.0.1")
    (True, True, True, False)
    """
    with contextlib.suppress(ValueError):
        parsed = ipaddress.ip_address(address)
        mapped = getattr(parsed, "ipv4_mapped", None)
        return (mapped or parsed).is_loopback
    return False


@contextlib.contextmanager
def gathering_at(address: str, only: bool) -> Iterator[None]:
    """Gather candidates at an address first, or there only; nothing is opened elsewhere then."""
    token = _addresses.set((address, only))
    try:
        yield
    finally:
        _addresses.reset(token)


def _mended_addresses(stock: Callable[..., list[str]]) -> Callable[..., list[str]]:
    """Return the addresses to gather candidates at: what `gathering_at` says, else aioice's own."""

    def get_host_addresses(use_ipv4: bool, use_ipv6: bool) -> list[str]:
        wanted = _addresses.get()
        if wanted is None:
            return stock(use_ipv4, use_ipv6)
        address, only = wanted
        if only:
            return [address]
        found = stock(use_ipv4, use_ipv6)
        return sorted(found, key=lambda each: each != address)

    return get_host_addresses


# --- What is reached for -------------------------------------------------------------------------


async def connect(signaling: TcpSocketSignaling) -> None:
    """Dial, which receive() would do first: here a refusal can be told.

    Raises:
        OSError: there is nobody; TimeoutError among them.
    """
    if hasattr(signaling, "_connect"):
        await signaling._connect(False)


def adopt(signaling: TcpSocketSignaling, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Let a signaling speak over a connection that there is already."""
    signaling._reader, signaling._writer = reader, writer


def streams(signaling: TcpSocketSignaling) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Return what a connected signaling reads from and writes to."""
    reader, writer = signaling._reader, signaling._writer
    assert reader is not None
    assert writer is not None
    return reader, writer


def release(signaling: TcpSocketSignaling) -> asyncio.StreamWriter | None:
    """Take the connection from a signaling, so that its close() says no goodbye; return the way out, if any."""
    writer = signaling._writer
    signaling._reader = signaling._writer = None
    return writer


def local_host(signaling: TcpSocketSignaling) -> str | None:
    """Return the address of this machine that signaling goes by; None if there is no connection."""
    writer = getattr(signaling, "_writer", None)
    name = writer.get_extra_info("sockname") if writer is not None else None
    return str(name[0]) if name else None


def on_picture_lost(sender: RTCRtpSender, tell: Callable[[], None]) -> bool:
    """Call `tell` as well when a receiver cannot decode what it gets (PLI, FIR): aiortc tells its own encoder only.

    Returns:
        Whether that can be had; a client that loses a packet for good waits for the next key frame if not.
    """
    tell_encoder = getattr(sender, "_send_keyframe", None)
    if tell_encoder is None:
        return unexpected("RTCRtpSender._send_keyframe")

    def tell_both() -> None:
        tell_encoder()
        tell()

    sender._send_keyframe = tell_both  # type: ignore[method-assign]  # on this one only
    return True


def tap_sender(
    sender: RTCRtpSender, on_sent: Callable[[int, int], None], on_resent: Callable[[int], None], on_asked: OnAsked
) -> Callable[[int], Awaitable[None]] | None:
    """Watch what a sender sends, and get what sends a packet again; its transport may not change any more.

    Args:
        on_sent: called with the sequence number and the size (bytes) of each packet that is sent for the first time.
        on_resent: called with the size (bytes) of each one that is sent again, be it asked for by the peer or not.
        on_asked: called with the number of each one that the peer asks for; returns whether to send it again.

    Returns:
        What sends the packet of a number once more, as RTX (RFC 4588), if it was sent not long ago and the peer knows
        RTX. None where this aiortc is not built as expected.
    """
    payload_type = f"_{RTCRtpSender.__name__}__rtx_payload_type"  # of the peer's answer; None: it knows no RTX
    send_rtp = getattr(sender.transport, "_send_rtp", None)
    if send_rtp is None or not all(hasattr(sender, f) for f in ("_ssrc", "_rtx_ssrc", "_retransmit", payload_type)):
        unexpected("RTCRtpSender")
        return None

    async def on_rtp(data: bytes) -> None:
        number, whose = RTP_HEADER.unpack_from(data.ljust(RTP_HEADER.size))
        if whose == sender._ssrc:
            on_sent(number, len(data))
        elif whose == sender._rtx_ssrc:
            on_resent(len(data))
        await send_rtp(data)

    async def on_request(sequence_number: int) -> None:
        if on_asked(sequence_number):
            await retransmit(sequence_number)

    async def send_again(number: int) -> None:
        if getattr(sender, payload_type) is not None:
            await retransmit(number)

    retransmit, sender._retransmit = sender._retransmit, on_request  # type: ignore[method-assign]
    sender.transport._send_rtp = on_rtp  # type: ignore[method-assign]  # of this one only
    return send_again


def last_heard(pc: RTCPeerConnection) -> float:
    """Return when anything of the peer's last came (s, monotonic); 0 if nothing has, or nothing tells."""
    return _noted(pc, "heard")


def last_media(pc: RTCPeerConnection) -> float:
    """Return when a packet of a stream last came (s, monotonic); 0 if none has, or nothing tells."""
    return _noted(pc, "streamed")


def _noted(pc: RTCPeerConnection, name: str) -> float:
    """Return a time that `_mended_datagrams` has noted; 0 if it has not."""
    return float(getattr(connection_of(pc), name, 0.0))


async def close(pc: RTCPeerConnection, patience: float = CLOSE_TIMEOUT) -> None:
    """Close a connection, in `patience` seconds at most: some of what aiortc waits for may never come.

    What it leaves open then is closed by itself; the rest is memory.
    """
    closing = asyncio.ensure_future(pc.close())
    await asyncio.wait([closing], timeout=patience)
    if closing.cancelled():  # it is closed, and did not end the first time
        return
    if closing.done():
        closing.result()
        return
    closing.cancel()
    drop("connections that did not close by themselves")
    transports = {each.receiver.transport for each in pc.getTransceivers()} | (
        {pc.sctp.transport} if pc.sctp else set()
    )
    for transport in transports:
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(patience):
                await transport.stop()
                await transport.transport.stop()
