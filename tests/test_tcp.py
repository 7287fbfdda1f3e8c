"""Frames over plain TCP: what a slow or hostile peer gets, over real sockets."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiortc import MediaStreamTrack, RTCSessionDescription
from aiortc.contrib.signaling import object_to_string
from aiortc.mediastreams import VIDEO_TIME_BASE
from av import Packet

from common.sessions import End, PeerError
from protocol.framing import BYE, CHUNK_HEADER, FRAME, TEXT, pack
from transport import tcp
from transport.signaling import AcceptedSignaling, close_signaling
from transport.tcp import SDP, TcpAnswer, TcpOffer

PATIENCE = 120.0  # s


class Counting(MediaStreamTrack):
    """A track of large packets, as many as are asked for; each has its number for a pts."""

    kind = "video"
    size = 200_000  # bytes

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    async def recv(self) -> "Packet[Any]":
        """Return the next one, at once."""
        await asyncio.sleep(0)
        self.asked += 1
        packet = Packet(bytes(self.size))
        packet.pts, packet.time_base = self.asked, VIDEO_TIME_BASE
        return packet


@asynccontextmanager
async def sockets() -> AsyncIterator[tuple[AcceptedSignaling, asyncio.StreamReader, asyncio.StreamWriter]]:
    """Give a server's accepted connection, and a client's bare one to it."""
    accepted: asyncio.Queue[AcceptedSignaling] = asyncio.Queue()
    listening = await asyncio.start_server(lambda *ends: accepted.put_nowait(AcceptedSignaling(*ends)), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*listening.sockets[0].getsockname()[:2])
    signaling = await accepted.get()
    try:
        yield signaling, reader, writer
    finally:
        await close_signaling(signaling)
        writer.close()
        listening.close()


@asynccontextmanager
async def offering(
    track: MediaStreamTrack,
) -> AsyncIterator[tuple[TcpOffer, asyncio.Queue[object], asyncio.StreamReader, asyncio.StreamWriter]]:
    """Give an open server's end with the messages that it gets, and the bare connection of its client."""
    messages: asyncio.Queue[object] = asyncio.Queue()
    async with sockets() as (signaling, reader, writer):
        link = TcpOffer(signaling, messages.put_nowait, track)
        opening = asyncio.create_task(link.open())
        assert b'"offer"' in await reader.readuntil()
        writer.write(line(RTCSessionDescription(SDP.format(setup="active"), "answer")))
        assert await opening
        try:
            yield link, messages, reader, writer
        finally:
            await link.close()


def line(description: RTCSessionDescription) -> bytes:
    """Return a description as a line of signaling."""
    return object_to_string(description).encode() + b"\n"


async def test_server_skips_frames_for_a_peer_that_does_not_read():
    """A peer that stops reading is asked to take no more than its socket holds; then it gets a newer frame."""
    track = Counting()
    async with offering(track) as (_, _, reader, _):
        asked = -1
        while asked != track.asked:  # until nothing is asked for any more
            asked = track.asked
            await asyncio.sleep(0.5)
        assert asked * track.size < 64e6  # what the kernel keeps for the two ends of a loopback connection
        for _ in range(asked + 3):
            tag, length, _ = CHUNK_HEADER.unpack(await reader.readexactly(CHUNK_HEADER.size))
            assert (tag, length) == (FRAME, track.size)
            await reader.readexactly(length)


async def test_server_ends_a_peer_that_takes_nothing(monkeypatch: pytest.MonkeyPatch):
    """A peer that has read nothing for STALL_TIMEOUT counts as lost."""
    monkeypatch.setattr(tcp, "STALL_TIMEOUT", 0.5)
    async with offering(Counting()) as (link, *_), asyncio.timeout(PATIENCE):
        assert await link.until_end() is End.FAILED


async def test_server_takes_messages_after_the_goodbye():
    """What was on its way when the client said goodbye still counts."""
    async with offering(Counting()) as (link, messages, _, writer), asyncio.timeout(PATIENCE):
        writer.write(pack(TEXT, b"one") + pack(BYE))
        assert await link.until_end() is End.BYE
        writer.write(pack(TEXT, b"two"))
        assert [await messages.get(), await messages.get()] == ["one", "two"]


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\nHost: server\r\n\r\n",
        pack(FRAME, b"an image, from a client"),
        CHUNK_HEADER.pack(TEXT, 2**32 - 1, 0),
        pack(BYE, b"and more"),
    ],
)
async def test_server_refuses_what_is_no_chunk(sent: bytes):
    """Bad tags and bad lengths end the connection with a PeerError."""
    async with offering(Counting()) as (link, _, _, writer), asyncio.timeout(PATIENCE):
        writer.write(sent)
        with pytest.raises(PeerError):
            await link.until_end()


async def test_server_refuses_a_truncated_chunk():
    """A connection that ends within a chunk is told from one that ends between two."""
    async with offering(Counting()) as (link, _, _, writer), asyncio.timeout(PATIENCE):
        writer.write(pack(TEXT, b"half a message")[:-4])
        writer.write_eof()
        with pytest.raises(PeerError, match="within a chunk"):
            await link.until_end()
    async with offering(Counting()) as (link, _, _, writer), asyncio.timeout(PATIENCE):
        writer.write(pack(TEXT, b"a message"))
        writer.write_eof()
        assert await link.until_end() is End.VANISHED


async def test_server_refuses_another_answer():
    """An answer to some other offer is a PeerError, and the handshake is over."""
    async with sockets() as (signaling, _, writer), asyncio.timeout(PATIENCE):
        link = TcpOffer(signaling, print, Counting())
        writer.write(line(RTCSessionDescription("v=0\r\n", "answer")))
        with pytest.raises(PeerError, match="an answer that cannot be used"):
            await link.open()
        await link.close()


@pytest.mark.parametrize(
    "sent",
    [
        b"\x00" * 100,
        CHUNK_HEADER.pack(FRAME, 2**32 - 1, 0),
        pack(FRAME, b"no image"),
        pack(FRAME, b""),
        pack(TEXT, bytes(4000)),
    ],
)
async def test_client_refuses_what_is_no_frame(sent: bytes):
    """A server that sends nonsense, or images that are none, is a PeerError."""
    async with sockets() as (signaling, reader, writer), asyncio.timeout(PATIENCE):
        link = TcpAnswer(signaling, lambda _: None, lambda *_: None, lambda _: None)
        writer.write(line(RTCSessionDescription(SDP.format(setup="passive"), "offer")) + sent)
        assert await link.open()
        with pytest.raises(PeerError):
            await link.until_end()
        await link.close()
        assert b'"answer"' in await reader.readuntil()


async def test_client_notices_a_server_that_falls_silent(monkeypatch: pytest.MonkeyPatch):
    """A connection on which nothing comes any more is given up, so that the client can dial again."""
    monkeypatch.setattr(tcp, "STALL_TIMEOUT", 0.5)
    async with sockets() as (signaling, _, writer), asyncio.timeout(PATIENCE):
        link = TcpAnswer(signaling, lambda _: None, lambda *_: None, lambda _: None)
        writer.write(line(RTCSessionDescription(SDP.format(setup="passive"), "offer")))
        assert await link.open()
        assert await link.until_end() is End.FAILED
        await link.close()
        await link.close()
