"""Frames as encoded images over an RTCDataChannel, cut into pieces of one packet each (framing.py).

- The channel is unordered: a frame needs none of those before it.
- A frame is handed over when the channel has let go of the one before it (`bufferedAmount` is 0); which frame
  that is, is decided then. So a slow link skips frames and never has a queue of old ones. The pieces are small
  because `bufferedAmount` does not count the message that SCTP is working on.
- What a client receives whole but too late, after a newer frame, it passes over.
"""

import asyncio
import time
from typing import Any

from aiortc import MediaStreamTrack, RTCDataChannel
from aiortc.contrib.signaling import TcpSocketSignaling
from aiortc.exceptions import InvalidStateError
from aiortc.mediastreams import MediaStreamError
from av import Packet

from common.ice import IceConfig
from protocol.framing import Assembler, FramingError, cut
from transport.image_decoder import ImageDecoder
from transport.link import OnFrame, OnMessage, OnSkipped
from transport.webrtc import PeerAnswer, PeerOffer

FRAMES = "frames"  # label of the channel
MAX_RETRANSMITS = 1  # at 5 % loss 0 loses a third of the frames; what comes a third time comes too late


class ChannelOffer(PeerOffer):
    """The server's end.

    Args:
        track: where the frames come from, as packets that each hold an encoded image.
    """

    def __init__(
        self, signaling: TcpSocketSignaling, on_message: OnMessage, ice: IceConfig | None, track: MediaStreamTrack
    ) -> None:
        super().__init__(signaling, on_message, ice)
        self._track = track

    def _add_frames(self) -> None:
        channel = self._pc.createDataChannel(FRAMES, ordered=False, maxRetransmits=MAX_RETRANSMITS)
        self._watch_channel(channel)
        self._start(self._send_frames(channel))

    async def _send_frames(self, channel: RTCDataChannel) -> None:
        """Send the newest frame whenever there is room, until the track or the channel ends."""
        opened, room = asyncio.Event(), asyncio.Event()
        channel.on("open", opened.set)
        channel.on("bufferedamountlow", room.set)  # at the threshold, which is 0
        await opened.wait()
        await self._ready.wait()
        try:
            while True:
                packet = await self._track.recv()
                assert isinstance(packet, Packet)
                assert packet.pts is not None
                room.clear()
                for piece in cut(packet.pts, bytes(packet)):
                    channel.send(piece)
                while channel.bufferedAmount:
                    await room.wait()
                    room.clear()
        except (MediaStreamError, InvalidStateError):
            self._over.set()


class ChannelAnswer(PeerAnswer):
    """The client's end.

    Args:
        on_frame: called with each frame's pts (ticks) and its Y, U and V planes.
        on_skipped: called with the pts of each frame that was received and passed over.
    """

    transport = "datachannel"

    def __init__(
        self,
        signaling: TcpSocketSignaling,
        on_message: OnMessage,
        ice: IceConfig | None,
        on_frame: OnFrame,
        on_skipped: OnSkipped,
    ) -> None:
        super().__init__(signaling, on_message, ice)
        self._assembler = Assembler()
        self._decoder = ImageDecoder(on_frame, on_skipped, self._refuse, self._fail)
        self._newest = 0.0  # s; when the last piece came

    def _expect_frames(self) -> None:
        """Do nothing: they come by a channel."""

    def _on_channel(self, channel: RTCDataChannel) -> None:
        if channel.label == FRAMES:
            channel.on("message", self._on_piece)

    def _last_frame(self) -> float:
        return self._newest

    def _on_piece(self, message: Any) -> None:
        """Take a message of the channel; as aiortc's handler it must not raise."""
        if not isinstance(message, bytes):
            self._refuse("text where pieces of frames belong")
            return
        try:
            frame = self._assembler.add(message)
        except FramingError as error:
            self._refuse(str(error))
            return
        self._newest = time.monotonic()
        if frame is not None:
            self._filmed.set()
            self._decoder.offer(*frame)

    async def close(self) -> None:
        """End the session at once. Does nothing the second time."""
        await super().close()
        await self._decoder.close()
