"""Both ends of a media link on this machine, and ways to lose its packets."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import numpy as np
from aiortc import MediaStreamTrack
from aiortc.contrib.signaling import TcpSocketSignaling
from aiortc.mediastreams import VIDEO_TIME_BASE
from av import VideoFrame

from support.programs import PATIENCE
from tools.procfs import free_port
from transport.dialling import dial
from transport.link import OnFrame
from transport.media import MediaAnswer, MediaOffer
from transport.signaling import AcceptedSignaling, close_signaling


class GreyFilm(MediaStreamTrack):
    """A track of grey frames, 60 a second of which each claims to last 1 / 30 s."""

    kind = "video"

    def __init__(self) -> None:
        super().__init__()
        self._pts = 0

    async def recv(self) -> VideoFrame:
        """Return the next frame."""
        await asyncio.sleep(1 / 60)
        frame = VideoFrame.from_ndarray(np.full((96, 64), 128, np.uint8), format="yuv420p")
        frame.pts, frame.time_base = self._pts, VIDEO_TIME_BASE
        self._pts += 3000
        return frame


@asynccontextmanager
async def signaling() -> AsyncIterator[tuple[AcceptedSignaling, TcpSocketSignaling]]:
    """Give both ends of a signaling connection, the server's first."""
    accepted: asyncio.Future[AcceptedSignaling] = asyncio.get_running_loop().create_future()
    port = free_port()
    server = await asyncio.start_server(lambda r, w: accepted.set_result(AcceptedSignaling(r, w)), "127.0.0.1", port)
    async with server:
        theirs = await dial("127.0.0.1", port, PATIENCE)
        ours = await accepted
        try:
            yield ours, theirs
        finally:
            await close_signaling(theirs)
            await close_signaling(ours)


@asynccontextmanager
async def meeting(
    on_frame: OnFrame, on_message: Callable[[object], None] = lambda _: None
) -> AsyncIterator[tuple[MediaOffer, MediaAnswer]]:
    """Give both ends of a link that films, the server's first.

    Args:
        on_frame: called with each frame that the client gets.
        on_message: called with each message that the server gets.
    """
    async with signaling() as (ours, theirs):
        film = GreyFilm()
        offer = MediaOffer(ours, on_message, None, film, "vp8", lambda: None)
        answer = MediaAnswer(theirs, lambda _: None, None, on_frame, "marker")
        try:
            opening = asyncio.create_task(offer.open())
            assert await asyncio.wait_for(answer.open(), PATIENCE)
            assert await asyncio.wait_for(opening, PATIENCE)
            yield offer, answer
        finally:
            film.stop()
            await answer.close()
            await offer.close()


def lose_packets(offer: MediaOffer, every: int = 0) -> None:
    """Lose one in so many packets of the film, on the way; none if 0. What is sent again is not lost."""
    assert offer._sender is not None
    connection, ssrc = offer._sender.transport.transport, offer._sender._ssrc.to_bytes(4, "big")
    stock, sent = connection._send, 0

    async def send(data: bytes) -> None:
        nonlocal sent
        sent += data[8:12] == ssrc
        if not every or data[8:12] != ssrc or sent % every:
            await stock(data)

    connection._send = send  # as a lossy network would
