"""Frames over a data channel: bounded on their way, refused where they are none, over real connections."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
from aiortc import MediaStreamTrack
from aiortc.mediastreams import VIDEO_TIME_BASE, MediaStreamError
from av import Packet

from ball_track import Image
from common.sessions import PeerError
from protocol.images import PNG, encode_image
from transport import datachannel
from transport.datachannel import ChannelAnswer, ChannelOffer
from transport.dialling import dial
from transport.signaling import AcceptedSignaling, close_signaling

PATIENCE = 120.0  # s
NOISE: Image = np.random.default_rng(0).integers(0, 256, (360, 320), np.uint8)


class Repeating(MediaStreamTrack):
    """A track of the same image again and again, as fast as it is asked for; its pts count."""

    kind = "video"

    def __init__(self, data: bytes, count: int = 2**31) -> None:
        super().__init__()
        self.link: ChannelOffer | None = None
        self.waiting: list[int] = []  # bytes in the channel when a frame was asked for
        self._data = data
        self._count = count

    async def recv(self) -> "Packet[Any]":
        """Return the next one, at once."""
        await asyncio.sleep(0)
        if len(self.waiting) == self._count:
            raise MediaStreamError
        assert self.link is not None
        assert self.link._pc.sctp is not None
        channels = self.link._pc.sctp._data_channels.values()
        self.waiting.append(sum(channel.bufferedAmount for channel in channels))
        packet = Packet(self._data)
        packet.pts, packet.time_base = len(self.waiting), VIDEO_TIME_BASE
        return packet


@asynccontextmanager
async def connected(track: Repeating) -> AsyncIterator[tuple[ChannelAnswer, asyncio.Queue[tuple[int, Image]]]]:
    """Give the client's end of a link that brings a track, and the frames that come: pts and Y plane."""
    accepted: asyncio.Queue[AcceptedSignaling] = asyncio.Queue()
    listening = await asyncio.start_server(lambda *ends: accepted.put_nowait(AcceptedSignaling(*ends)), "127.0.0.1", 0)
    host, port = listening.sockets[0].getsockname()[:2]
    theirs = await dial(host, port, PATIENCE)
    frames: asyncio.Queue[tuple[int, Image]] = asyncio.Queue()
    ours = await accepted.get()
    offer = track.link = ChannelOffer(ours, lambda _: None, None, track)
    answer = ChannelAnswer(
        theirs, lambda _: None, None, lambda pts, seen: frames.put_nowait((pts, seen[0])), lambda _: None
    )
    try:
        async with asyncio.timeout(PATIENCE):
            assert all(await asyncio.gather(offer.open(), answer.open()))
        yield answer, frames
    finally:
        await answer.close()
        await offer.close()
        for signaling in (ours, theirs):
            await close_signaling(signaling)
        listening.close()


async def test_frames_arrive_whole_and_in_order():
    """Frames of a hundred pieces and more come as they were sent, each newer than the one before it."""
    async with connected(Repeating(encode_image(NOISE, PNG))) as (_, frames), asyncio.timeout(PATIENCE):
        received = [await frames.get() for _ in range(5)]
    assert [pts for pts, _ in received] == sorted({pts for pts, _ in received})
    assert all(np.array_equal(luma, NOISE[:240]) for _, luma in received)


async def test_next_frame_waits_for_the_one_before():
    """A frame is asked for when nothing of the last one waits in the channel: there is never a queue of them."""
    track = Repeating(encode_image(NOISE, PNG))
    async with connected(track) as (_, frames), asyncio.timeout(PATIENCE):
        for _ in range(5):
            await frames.get()
    assert set(track.waiting) == {0}


async def test_client_refuses_what_is_no_image():
    """A frame that is no image ends the link with a PeerError."""
    async with connected(Repeating(b"no image", 1)) as (answer, _), asyncio.timeout(PATIENCE):
        with pytest.raises(PeerError, match="no grey PNG or JPEG"):
            await answer.until_end()


@pytest.mark.parametrize("message", [b"", b"junk", b"\xff" * 100, "text"])
async def test_client_refuses_what_is_no_piece(monkeypatch: pytest.MonkeyPatch, message: bytes | str):
    """A message that is no piece of a frame ends the link with a PeerError, and aiortc's transport lives on."""
    monkeypatch.setattr(datachannel, "cut", lambda pts, data: [message])
    async with connected(Repeating(b"anything", 1)) as (answer, _), asyncio.timeout(PATIENCE):
        with pytest.raises(PeerError):
            await answer.until_end()
        assert answer._pc.connectionState == "connected"
