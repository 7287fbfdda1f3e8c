"""aiortc and aioice, mended: each mend is needed (its test fails when the library does without it), and it works."""

import asyncio
import datetime
import inspect
import logging
import socket
import struct
import time
from typing import Any

import aioice.ice
import aiortc.clock
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection
from aiortc.rate import RateCounter
from aiortc.rtcdtlstransport import RTCDtlsTransport
from aiortc.rtcrtpparameters import RTCRtpHeaderExtensionParameters, RTCRtpParameters
from aiortc.rtcrtpreceiver import StreamStatistics
from aiortc.rtcsctptransport import RTCSctpTransport, serialize_packet
from aiortc.rtp import HeaderExtensions, HeaderExtensionsMap, RtpPacket, unpack_header_extensions

from common.seldom import Seldom
from support.connections import PATIENCE, connected, send_text
from transport import aiortc_internals as internals
from transport import clocks, mending, playout, strays

SHORT_FINGERPRINT = struct.pack("!HHI12s", 1, 4, 0x2112A442, bytes(12)) + struct.pack("!HH", 0x8028, 0)


@pytest.fixture(autouse=True)
def mended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mend the libraries, and begin to count anew."""
    assert internals.mend()
    strays.dropped.clear()
    monkeypatch.setattr(strays, "_seldom", Seldom(interval=strays.TELL_INTERVAL))


def addresses(pc: RTCPeerConnection) -> set[tuple[str, int]]:
    """Return where a connection's UDP ports are open."""
    assert pc.sctp is not None
    candidates = pc.sctp.transport.transport.iceGatherer.getLocalCandidates()
    return {(each.ip, each.port) for each in candidates}


def stock(mended: Any) -> Any:
    """Return what the library has in the place of a mended function."""
    return mended.__wrapped__


# --- What strangers send -------------------------------------------------------------------------

STRAYS = [
    b"",
    b"\x00",
    b"\x80",
    b"\xff" * 20,
    bytes(20),
    SHORT_FINGERPRINT,
    struct.pack("!HHI12s", 1, 4, 0x2112A442, bytes(12)) + struct.pack("!HH", 0x0020, 0),
    b"\x16\xfe\xfd" + bytes(30),
    b"\x15\xfe\xfd" + bytes(8) + b"\x00\x02\x02\x28",
    b"\x80\x60" + bytes(30),
    b"\x80\xc8" + bytes(30),
]


async def test_strays_end_no_session():
    """Datagrams of every kind from a stranger, to every port of both ends, end no session, and are counted."""
    async with connected() as (one, two):
        with socket.socket(type=socket.SOCK_DGRAM) as stranger:  # asyncio's own sends no empty datagram
            for address in addresses(one) | addresses(two):
                for stray in STRAYS:
                    stranger.sendto(stray, address)
        for number in range(20):
            assert await send_text(one, two, f"{number}") == f"{number}"
            assert await send_text(two, one, f"{number}") == f"{number}"
        assert strays.dropped["malformed STUN"]
        assert strays.dropped["datagrams that are no packets"]
        assert strays.dropped["datagrams of strangers"]
        assert one.connectionState == two.connectionState == "connected"


async def test_an_empty_datagram_would_end_a_session(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    """The mend is needed: aiortc itself closes a connection for it."""
    mended = aioice.ice.StunProtocol.datagram_received
    monkeypatch.setattr(aioice.ice.StunProtocol, "datagram_received", stock(mended))
    async with connected() as (one, _):
        closed = asyncio.Event()
        one.on("connectionstatechange", lambda: closed.set() if one.connectionState == "closed" else None)
        with socket.socket(type=socket.SOCK_DGRAM) as stranger:
            for address in addresses(one):
                stranger.sendto(b"", address)
        await asyncio.wait_for(closed.wait(), PATIENCE)
    assert "IndexError" in caplog.text


def test_a_short_attribute_would_be_a_traceback():
    """The mend is needed: aioice's parser raises what it does not catch."""
    with pytest.raises(struct.error):
        aioice.stun.parse_message(SHORT_FINGERPRINT)


def test_drop_counts_everything_and_tells_little(caplog: pytest.LogCaptureFixture):
    """A thousand of a kind are counted, and told in one line; another kind in another."""
    for _ in range(1000):
        strays.drop("apples")
    strays.drop("pears")
    assert strays.dropped == {"apples": 1000, "pears": 1}
    assert [record.getMessage() for record in caplog.records] == ["dropped apples: 1 so far", "dropped pears: 1 so far"]


# --- What a peer sends ---------------------------------------------------------------------------


def chunk(kind: int, body: bytes, flags: int = 3) -> bytes:
    """Return an SCTP chunk."""
    return struct.pack("!BBH", kind, flags, len(body) + 4) + body + bytes(-len(body) % 4)


class Raw:
    """A chunk as it is, for aiortc's serialize_packet."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __bytes__(self) -> bytes:
        return self._data


BAD_CHUNKS = {
    "SACK of many gaps that are not there": chunk(3, struct.pack("!LLHH", 0, 0, 9, 9)),
    "FORWARD TSN that ends early": chunk(192, struct.pack("!LH", 1, 1)),
    "INIT that ends early": chunk(1, b"\x00"),
    "DATA that ends early": chunk(0, b"\x00\x00"),
    "RECONFIG that ends early": chunk(130, struct.pack("!HH", 13, 5) + b"\x00"),
}
BAD_DATA = {
    "text that is not UTF-8": (0, 51, b"\xff\xfe"),
    "a channel on a stream in use": (0, 50, struct.pack("!BBHLHH", 3, 0, 0, 0, 1, 0) + b"y"),
    "a channel whose label is not UTF-8": (8, 50, struct.pack("!BBHLHH", 3, 0, 0, 0, 1, 0) + b"\xff"),
    "an acknowledgement of no channel": (10, 50, b"\x02"),
}


async def send_bad(pc: RTCPeerConnection, name: str) -> None:
    """Send what a peer must not send."""
    sctp = pc.sctp
    assert sctp is not None
    if name in BAD_DATA:
        await sctp._send(*BAD_DATA[name])
        return
    tag = 0 if name.startswith("INIT") else sctp._remote_verification_tag
    packet = serialize_packet(sctp.port, sctp._remote_port or 0, tag, Raw(BAD_CHUNKS[name]))  # type: ignore[arg-type]
    await sctp.transport._send_data(packet)


@pytest.mark.parametrize("name", [*BAD_CHUNKS, *BAD_DATA])
async def test_a_bad_packet_of_the_peer_is_dropped(name: str, caplog: pytest.LogCaptureFixture):
    """It is counted, told in one line, and the connection lives on."""
    async with connected() as (one, two):
        await send_bad(one, name)
        assert await send_text(two, one, "still here") == "still here"
        assert await send_text(one, two, "so am I") == "so am I"
        assert strays.dropped["SCTP packets that cannot be handled"] == 1
        assert two.connectionState == "connected"
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("name", [*BAD_CHUNKS, *BAD_DATA])
async def test_a_bad_packet_of_the_peer_would_close_the_connection(
    name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """The mend is needed: aiortc itself closes the connection, with a traceback."""
    monkeypatch.setattr(RTCSctpTransport, "_handle_data", stock(RTCSctpTransport._handle_data))
    async with connected() as (one, two):
        closed = asyncio.Event()
        two.on("connectionstatechange", lambda: closed.set() if two.connectionState == "closed" else None)
        await send_bad(one, name)
        await asyncio.wait_for(closed.wait(), PATIENCE)
    assert "Traceback" in caplog.text


async def test_rtp_that_cannot_be_handled_is_dropped():
    """What a handler of RTP or RTCP raises is counted; the end of the connection is not swallowed."""

    class Failing:
        def __init__(self, error: Exception) -> None:
            self.error = error

        @property
        def _rtp_header_extensions_map(self) -> Any:
            raise self.error

    data = bytes(RtpPacket(payload_type=96, ssrc=1).serialize())
    await RTCDtlsTransport._handle_rtp_data(Failing(IndexError()), data, arrival_time_ms=0)  # type: ignore[arg-type]
    assert strays.dropped["RTP that cannot be handled"] == 1
    with pytest.raises(ConnectionError):
        await RTCDtlsTransport._handle_rtp_data(Failing(ConnectionError()), data, arrival_time_ms=0)  # type: ignore[arg-type]


# --- Clocks --------------------------------------------------------------------------------------


@pytest.fixture
def wall_clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Give a list whose only number (s) is what the wall clock is wrong by, for what asks time.time()."""
    ahead, right = [0.0], time.time
    monkeypatch.setattr(time, "time", lambda: right() + ahead[0])
    return ahead


@pytest.mark.parametrize("step", [-3.2e7, 3.2e7])
async def test_sctp_measures_no_round_trip_of_a_year(wall_clock: list[float], step: float):
    """The wall clock is set by a year: the timeout for what is lost stays a second."""
    async with connected() as (one, two):
        for number in range(10):
            wall_clock[0] = step * (number % 2)
            await send_text(one, two, "x")
        assert one.sctp is not None
        assert one.sctp._rto <= 3
    assert clocks.monotonic_time() == pytest.approx(time.time() - wall_clock[0], abs=60)


def test_the_libraries_clocks_are_wall_clocks():
    """The mend is needed: what aiortc asks is time.time() and the date."""
    before = datetime.datetime.now(datetime.UTC)
    assert before <= stock(aiortc.clock.current_datetime)() <= datetime.datetime.now(datetime.UTC)
    assert "time.time()" in inspect.getsource(aiortc.rtcsctptransport)


def test_rate_counter_forgets_a_pause_at_once():
    """A pause of a year takes no longer than one of a second, and the rate after it is that of what came since."""
    mended, plain = RateCounter(1000, 8000), RateCounter(1000, 8000)
    for counter, erase in ((mended, RateCounter._erase_old), (plain, stock(RateCounter._erase_old))):
        counter._erase_old = erase.__get__(counter)  # type: ignore[method-assign]
        counter.add(1000, 0)
        counter.add(500, 900)
        for now in (950, 1800, 5000):
            counter.add(700, now)
            counter.rate(now + 10)
    assert mended.rate(5020) == plain.rate(5020)
    mended.add(100, 365 * 86_400_000)
    assert mended.rate(365 * 86_400_000 + 1) == 8000 * 100 / 1000


def test_rate_counter_would_walk_through_a_pause():
    """The mend is needed: aiortc's own takes a step for each millisecond."""
    counter = RateCounter(1000, 8000)
    counter.add(1000, 0)
    steps = 0

    class Counting(list[Any]):
        def __getitem__(self, index: Any) -> Any:
            nonlocal steps
            steps += 1
            return super().__getitem__(index)

    counter._buckets = Counting(counter._buckets)
    stock(RateCounter._erase_old)(counter, 100_000)
    assert steps > 50_000


def strange_statistics() -> StreamStatistics:
    """Return statistics of a stream whose time stamps jump to and fro."""
    statistics = StreamStatistics(90000)
    for number in range(1000):
        statistics.add(RtpPacket(sequence_number=number, timestamp=(number % 2) * 0xFFFFFFFF))
    return statistics


def test_jitter_fits_its_field():
    """Whatever the time stamps, a receiver report can be written; aiortc's own number may not fit."""
    statistics = strange_statistics()
    assert statistics.jitter <= internals.MAX_JITTER
    statistics._jitter_q4 = 2**40
    assert statistics.jitter == internals.MAX_JITTER
    assert statistics._jitter_q4 >> 4 > internals.MAX_JITTER


# --- Addresses and ends --------------------------------------------------------------------------


@pytest.mark.parametrize("known", [True, False])
async def test_receivers_that_can_are_asked_to_show_frames_at_once(known: bool):
    """The extension is in our offer; a receiver that answers with it gets it on each packet, another one does not."""
    sender, receiver = (RTCPeerConnection(RTCConfiguration(iceServers=[])) for _ in range(2))
    sender.addTransceiver("video", direction="sendonly")
    with internals.gathering_at("127.0.0.1", only=True):
        await sender.setLocalDescription(await sender.createOffer())
        offer = sender.localDescription
        if not known:
            offer.sdp = "".join(line for line in offer.sdp.splitlines(True) if playout.PLAYOUT_DELAY not in line)
        await receiver.setRemoteDescription(offer)
        await receiver.setLocalDescription(await receiver.createAnswer())
        await sender.setRemoteDescription(receiver.localDescription)
    answered = HeaderExtensionsMap()
    answered.configure(RTCRtpParameters(headerExtensions=sender.getTransceivers()[0]._headerExtensions))
    profile, data = answered.set(HeaderExtensions(mid="0", abs_send_time=1))
    extensions = dict(unpack_header_extensions(profile, data))
    assert (playout.NUMBER in extensions) is known
    assert extensions.get(playout.NUMBER, bytes(3)) == bytes(3)
    assert answered.get(profile, data) == HeaderExtensions(mid="0", abs_send_time=1)
    await internals.close(sender)
    await internals.close(receiver)


def test_aiortc_asks_nobody_to_show_frames_at_once():
    """The mend is needed: aiortc itself knows nothing of the extension."""
    plain = HeaderExtensionsMap()
    number = RTCRtpHeaderExtensionParameters(id=playout.NUMBER, uri=playout.PLAYOUT_DELAY)
    stock(HeaderExtensionsMap.configure)(plain, RTCRtpParameters(headerExtensions=[number]))
    assert stock(HeaderExtensionsMap.set)(plain, HeaderExtensions()) == (0, b"")


def test_aioice_gathers_no_loopback_address():
    """The mend is needed: aioice leaves the loopback out, even where there is nothing else."""
    found = stock(aioice.ice.get_host_addresses)(use_ipv4=True, use_ipv6=True)
    assert not any(internals.is_loopback(address) for address in found)


async def test_gathering_at_opens_nothing_elsewhere():
    """Where signaling came over the loopback, the only port that is open is there."""
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    pc.createDataChannel("x")
    with internals.gathering_at("127.0.0.1", only=True):
        await pc.setLocalDescription(await pc.createOffer())
    assert {host for host, _ in addresses(pc)} == {"127.0.0.1"}
    await internals.close(pc)


def test_gathering_at_puts_an_address_first(monkeypatch: pytest.MonkeyPatch):
    """The address that signaling uses is tried first; the others stay."""
    found = ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
    gather = internals._mended_addresses(lambda *_: found)
    assert gather(True, True) == found
    with internals.gathering_at("10.0.0.2", only=False):
        assert gather(True, True) == ["10.0.0.2", "10.0.0.1", "10.0.0.3"]
    with internals.gathering_at("10.9.9.9", only=False):
        assert gather(True, True) == found


async def test_last_heard_tells_that_the_peer_is_there():
    """It is a time on the monotonic clock once something has come, and 0 before that."""
    async with connected() as (one, _):
        assert abs(internals.last_heard(one) - time.monotonic()) < PATIENCE
        assert internals.last_media(one) == 0
    pc = RTCPeerConnection()
    assert internals.last_heard(pc) == 0
    await pc.close()


async def test_close_has_an_end(caplog: pytest.LogCaptureFixture):
    """A connection that waits for ever for its own end is closed all the same, and its ports with it."""
    async with connected() as (one, _):
        ports = addresses(one)
        assert ports

        async def stop() -> None:
            await asyncio.Event().wait()

        assert one.sctp is not None
        one.sctp.stop = stop  # type: ignore[method-assign]
        await asyncio.wait_for(internals.close(one, 0.1), PATIENCE)
        assert not addresses(one)
        await asyncio.wait_for(internals.close(one, 0.1), PATIENCE)
    assert "did not close" in caplog.text


def test_what_is_not_as_expected_stays_as_it_is(caplog: pytest.LogCaptureFixture):
    """A function with other parameters, or none at all, is left alone, with a warning that names it."""

    class Library:
        def work(self, other: int) -> int:
            return other

    caplog.set_level(logging.WARNING)
    assert not mending.replace(Library, "work", "self this", lambda _: lambda *_: 0)
    assert not mending.replace(Library, "rest", "self", lambda _: lambda *_: 0)
    assert Library().work(5) == 5
    assert "Library.work stays as it is" in caplog.text
