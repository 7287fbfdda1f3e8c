"""Two connections of aiortc with a channel between them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiortc import RTCConfiguration, RTCPeerConnection

from transport import aiortc_internals as internals

PATIENCE = 120.0  # s


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[RTCPeerConnection, RTCPeerConnection]]:
    """Give two connections with an open channel between them, over the loopback."""
    offerer, answerer = (RTCPeerConnection(RTCConfiguration(iceServers=[])) for _ in range(2))
    channels = [pc.createDataChannel("x", negotiated=True, id=0) for pc in (offerer, answerer)]
    opened = [asyncio.Event() for _ in channels]
    for channel, event in zip(channels, opened, strict=True):
        channel.on("open", event.set)
    with internals.gathering_at("127.0.0.1", only=True):
        await offerer.setLocalDescription(await offerer.createOffer())
        await answerer.setRemoteDescription(offerer.localDescription)
        await answerer.setLocalDescription(await answerer.createAnswer())
    await offerer.setRemoteDescription(answerer.localDescription)
    for event in opened:
        await asyncio.wait_for(event.wait(), PATIENCE)
    try:
        yield offerer, answerer
    finally:
        await internals.close(offerer)
        await internals.close(answerer)


async def send_text(sender: RTCPeerConnection, receiver: RTCPeerConnection, text: str) -> str:
    """Send a text over the first channel, and return what comes at the other end."""
    assert sender.sctp is not None
    assert receiver.sctp is not None
    heard: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    receiver.sctp._data_channels[0].once("message", heard.set_result)
    sender.sctp._data_channels[0].send(text)
    return await asyncio.wait_for(heard, PATIENCE)
