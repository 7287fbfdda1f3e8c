"""How sessions end: what fails on either side, or no longer comes, ends them with a reason, over every transport."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
from aiortc import MediaStreamTrack
from aiortc.contrib.signaling import TcpSocketSignaling
from aiortc.mediastreams import VIDEO_TIME_BASE, MediaStreamError
from av import Packet, VideoFrame

from common.sessions import End, SessionError
from protocol.images import PNG, encode_image
from tools.procfs import free_port
from transport import link as links
from transport import webrtc
from transport.aiortc_internals import streams
from transport.datachannel import ChannelAnswer, ChannelOffer
from transport.dialling import dial
from transport.link import Link
from transport.media import MediaAnswer, MediaOffer
from transport.signaling import AcceptedSignaling, close_signaling
from transport.tcp import TcpAnswer, TcpOffer

PATIENCE = 120.0  # s
TRANSPORTS = ("media", "datachannel", "tcp")
GREY = np.full((96, 64), 128, np.uint8)  # I420


class Film(MediaStreamTrack):
    """A track that does `before(number)` before each of its frames.

    Args:
        transport: how they travel.
        before: may raise, or take its time.
    """

    kind = "video"

    def __init__(self, transport: str, before: Callable[[int], Any]) -> None:
        super().__init__()
        self.number = 0
        self._image = None if transport == "media" else encode_image(GREY, PNG)
        self._before = before

    async def recv(self) -> "VideoFrame | Packet[Any]":
        """Return the next frame."""
        await asyncio.sleep(1 / 60)
        await self._before(self.number)
        frame: VideoFrame | Packet[Any]
        frame = VideoFrame.from_ndarray(GREY, format="yuv420p") if self._image is None else Packet(self._image)
        frame.pts, frame.time_base = self.number * 1500, VIDEO_TIME_BASE
        self.number += 1
        return frame


async def at_once(_: int) -> None:
    """Do nothing."""


def offer(transport: str, signaling: TcpSocketSignaling, film: Film, on_message: Callable[[object], None]) -> Link:
    """Return the server's end."""
    match transport:
        case "media":
            return MediaOffer(signaling, on_message, None, film, "vp8", lambda: None)
        case "datachannel":
            return ChannelOffer(signaling, on_message, None, film)
        case _:
            return TcpOffer(signaling, on_message, film)


def answer(
    transport: str, signaling: TcpSocketSignaling, on_frame: links.OnFrame, on_message: Callable[[object], None]
) -> Link:
    """Return the client's end."""
    match transport:
        case "media":
            return MediaAnswer(signaling, on_message, None, on_frame, "marker")
        case "datachannel":
            return ChannelAnswer(signaling, on_message, None, on_frame, lambda _: None)
        case _:
            return TcpAnswer(signaling, on_message, on_frame, lambda _: None)


@asynccontextmanager
async def session(
    transport: str,
    before: Callable[[int], Any] = at_once,
    on_frame: links.OnFrame = lambda *_: None,
    on_message: Callable[[object], None] = lambda _: None,
) -> AsyncIterator[tuple[Link, Link]]:
    """Give both ends of a session that has begun, the server's first.

    Args:
        before: what the film does before each frame.
        on_frame: the client's.
        on_message: the server's.
    """
    accepted: asyncio.Future[AcceptedSignaling] = asyncio.get_running_loop().create_future()
    port = free_port()
    listening = await asyncio.start_server(
        lambda *ends: accepted.set_result(AcceptedSignaling(*ends)), "127.0.0.1", port
    )
    theirs = await dial("127.0.0.1", port, PATIENCE)
    ours = await accepted
    film = Film(transport, before)
    serving = offer(transport, ours, film, on_message)
    client = answer(transport, theirs, on_frame, lambda _: None)
    try:
        assert all(await asyncio.wait_for(asyncio.gather(serving.open(), client.open()), PATIENCE))
        yield serving, client
    finally:
        film.stop()
        for link, signaling in ((serving, ours), (client, theirs)):
            await link.close()
            await close_signaling(signaling)
        listening.close()


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_film_that_fails_ends_the_session(transport: str):
    """What raises where a frame is made is the session's end, with the reason in one line."""

    async def fail_at_ten(number: int) -> None:
        if number == 10:
            raise ZeroDivisionError("no such frame")

    async with session(transport, before=fail_at_ten) as (serving, _):
        with pytest.raises(SessionError, match=r"^an error of ours: ZeroDivisionError\('no such frame'\)$"):
            await asyncio.wait_for(serving.until_end(), PATIENCE)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_film_that_ends_ends_the_session(transport: str):
    """A track that is stopped in mid-session leaves nobody waiting for its next frame."""

    async def stop_at_ten(number: int) -> None:
        if number == 10:
            raise MediaStreamError

    async with session(transport, before=stop_at_ten) as (serving, _):
        assert await asyncio.wait_for(serving.until_end(), PATIENCE) is End.FAILED


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_client_that_fails_on_a_frame_ends_the_session(transport: str):
    """What raises where a frame is taken is the session's end."""

    def fail(pts: int, _: object) -> None:
        if pts > 9000:
            raise ZeroDivisionError

    async with session(transport, on_frame=fail) as (_, client):
        with pytest.raises(SessionError, match="ZeroDivisionError"):
            await asyncio.wait_for(client.until_end(), PATIENCE)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_server_that_fails_on_a_message_ends_the_session(transport: str):
    """What raises where a message is taken is no fault of the peer's, and not swallowed."""

    def fail(message: object) -> None:
        if message == "hello":
            raise ZeroDivisionError

    async with session(transport, on_message=fail) as (serving, client):
        assert client.send("hello")
        with pytest.raises(SessionError, match="ZeroDivisionError"):
            await asyncio.wait_for(serving.until_end(), PATIENCE)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_server_without_frames_is_left(
    transport: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """A server that is there and sends no frame is of no use: that is said, seen, and the session's end."""
    monkeypatch.setattr(links, "FRAMES_TIMEOUT", 1.0)
    monkeypatch.setattr(links, "LOOK_INTERVAL", 0.1)

    async def stand_still(number: int) -> None:
        if number == 10:
            await asyncio.Event().wait()

    async with session(transport, before=stand_still) as (_, client):
        assert client.flowing
        assert await asyncio.wait_for(client.until_end(), PATIENCE) is End.NO_FRAMES
        assert not client.flowing
    assert caplog.text.count("no frame for 1 s") == 1


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_server_that_holds_back_is_not_left(transport: str, monkeypatch: pytest.MonkeyPatch):
    """A frame now and then, as to a client that is behind, is enough to stay."""
    monkeypatch.setattr(links, "FRAMES_TIMEOUT", 1.0)
    monkeypatch.setattr(links, "LOOK_INTERVAL", 0.1)
    enough = asyncio.Event()

    async def hold_back(number: int) -> None:
        if number >= 10:
            await asyncio.sleep(0.5)
        if number == 16:
            enough.set()

    async with session(transport, before=hold_back) as (_, client):
        ending = asyncio.create_task(client.until_end())
        await asyncio.wait_for(enough.wait(), PATIENCE)
        assert client.flowing
        assert not ending.done()
        ending.cancel()
        await asyncio.wait([ending])


@pytest.mark.parametrize("transport", ["media", "datachannel"])
async def test_a_connection_that_closes_is_no_goodbye(transport: str, monkeypatch: pytest.MonkeyPatch):
    """WebRTC's connection is gone and signaling says nothing: both sides know that it is a failure."""
    monkeypatch.setattr(webrtc, "WORD_TIMEOUT", 0.2)
    async with session(transport) as (serving, client):
        assert isinstance(serving, webrtc.PeerLink)
        await serving._pc.close()
        for link in (serving, client):
            assert await asyncio.wait_for(link.until_end(), PATIENCE) is End.FAILED


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_goodbye_before_the_connection_closes_is_one(transport: str):
    """Who says goodbye and closes at once is taken at its word."""
    async with session(transport) as (serving, client):
        await client.goodbye()
        await client.close()
        assert await asyncio.wait_for(serving.until_end(), PATIENCE) is End.BYE


@pytest.mark.parametrize("transport", ["media", "datachannel"])
async def test_a_channel_that_is_closed_ends_the_session(transport: str, monkeypatch: pytest.MonkeyPatch):
    """Without its channel a client can report nothing: the server does not film on for it."""
    monkeypatch.setattr(webrtc, "WORD_TIMEOUT", 0.2)
    async with session(transport) as (serving, client):
        assert isinstance(client, webrtc.PeerLink)
        assert client._outgoing is not None
        client._outgoing.close()
        assert await asyncio.wait_for(serving.until_end(), PATIENCE) is End.FAILED


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_peer_that_vanishes_is_no_goodbye(transport: str):
    """The end of the signaling connection without a word is told from a goodbye."""
    async with session(transport) as (serving, client):
        writer = client._writer if isinstance(client, TcpAnswer) else streams(client.signaling)[1]
        assert writer is not None
        writer.transport.abort()
        assert await asyncio.wait_for(serving.until_end(), PATIENCE) is End.VANISHED
