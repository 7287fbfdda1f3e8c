"""A client of server.py on aiortc alone, as short as can be: a start for one of your own.

    python3 server.py
    python3 examples/client.py [HOST [PORT]]

It says where the ball is in every frame, under the time stamp of that frame; docs/protocol.md has the rules. It finds
the ball within a millisecond or two: what takes longer than a frame has to pass frames over and to say so (skipped), or
it falls ever further behind. client.py does that, in a process of its own, and is 35 ms quicker: aiortc's jitter buffer
holds each frame back until the next one comes.
"""

import asyncio
import contextlib
import json
import sys

import numpy as np
from aiortc import MediaStreamTrack, RTCConfiguration, RTCDataChannel, RTCPeerConnection, RTCSessionDescription
from aiortc.contrib.signaling import TcpSocketSignaling
from aiortc.mediastreams import MediaStreamError
from av import VideoFrame


def find(luma: np.ndarray) -> tuple[float, float] | None:
    """Return where the ball is (x, y, px from the top left pixel's centre), or None where there is none.

    Args:
        luma: (H, W) uint8; a bright ball on a dark ground.
    """
    weights = np.where(luma > 64, luma, 0).astype(float)
    total = weights.sum()
    if not total:
        return None
    x, y = weights.sum(axis=0) @ np.arange(luma.shape[1]), weights.sum(axis=1) @ np.arange(luma.shape[0])
    return float(x / total), float(y / total)


async def watch(track: MediaStreamTrack, channel: RTCDataChannel) -> None:
    """Look at every frame until the film ends, and say where the ball is in it."""
    with contextlib.suppress(MediaStreamError):
        while isinstance(frame := await track.recv(), VideoFrame):
            place = find(frame.to_ndarray(format="gray"))
            found = {"type": "found", "x": place[0], "y": place[1]} if place else {"type": "missed"}
            if channel.readyState == "open":
                channel.send(json.dumps({**found, "pts": frame.pts}))


async def run(host: str = "127.0.0.1", port: str = "1234") -> None:
    """Be a client until the server says goodbye or is gone, or until Ctrl-C, which says goodbye to it."""
    signaling, pc = TcpSocketSignaling(host, int(port)), RTCPeerConnection(RTCConfiguration(iceServers=[]))
    try:
        if not isinstance(offer := await signaling.receive(), RTCSessionDescription):
            return
        await pc.setRemoteDescription(offer)
        channel = pc.createDataChannel("coordinates", ordered=False, maxRetransmits=0)
        await pc.setLocalDescription(await pc.createAnswer())  # gathers the candidates, too
        await signaling.send(pc.localDescription)
        watching = asyncio.create_task(watch(pc.getReceivers()[0].track, channel))
        ending = asyncio.create_task(signaling.receive())  # BYE, or None: the server is gone
        for task in (await asyncio.wait((watching, ending), return_when=asyncio.FIRST_COMPLETED))[0]:
            task.result()
    finally:
        await signaling.close()  # says BYE
        await pc.close()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        try:
            asyncio.run(run(*sys.argv[1:]))
        except OSError as error:
            sys.exit(f"no server: {error}")
