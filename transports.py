"""How frames and messages travel between server and client.

A `Link` is one end of a connection: frames go one way, messages both ways. The server's end takes its frames
from a track, the client's end hands them to a callback; what lies between is the link's own affair, so that
scoring, finding and views know nothing of it.

    open()          shakes hands; then frames flow
    send(text)      sends a message, if that is possible now
    on_message      is called with each message that arrives, unchecked
    until_end()     waits until the peer ends it, and says why
    expel()         ends it because the peer asks too much of us
    goodbye()       tells the peer that we want to end
    close()         ends it, at once; twice does no harm
"""

import asyncio
import itertools
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
from aiortc import MediaStreamTrack, RTCDataChannel, RTCPeerConnection, RTCRtpSender
from aiortc.contrib.signaling import BYE, TcpSocketSignaling
from aiortc.mediastreams import MediaStreamError
from av import Packet, VideoFrame
from av.frame import Frame

import jitter
from ball_track import Image
from messages import COORDINATES, SCORES
from peer import (
    HANDSHAKE_TIMEOUT,
    End,
    PeerError,
    SlowPeerError,
    accept_description,
    configuration,
    receive_description,
    unless,
    until_end,
)

logger = logging.getLogger(__name__)

MAX_BUFFERED = 65536  # bytes of messages that a peer may leave unread; further ones are not sent
MAX_CHANNELS = 8  # that a client may open; it needs one
MIME_TYPES = {"vp8": "video/VP8", "h264": "video/H264"}

OnFrame = Callable[[int, tuple[Image, ...]], None]
OnMessage = Callable[[object], None]


class Link(ABC):
    """One end of a connection.

    Args:
        signaling: the connection that the session lives and dies with.
        on_message: called with each message that arrives. It must not raise: aiortc would hang up.
    """

    def __init__(self, signaling: TcpSocketSignaling, on_message: OnMessage) -> None:
        self.signaling = signaling
        self.on_message = on_message
        self._expelled = asyncio.Event()

    async def open(self) -> bool:
        """Shake hands. Returns False if the peer leaves instead.

        Raises:
            PeerError: it does not keep to the protocol; SlowPeerError: it does so too slowly.
        """
        try:
            async with asyncio.timeout(HANDSHAKE_TIMEOUT):
                return await self._shake_hands()
        except TimeoutError:
            raise SlowPeerError(f"no handshake within {HANDSHAKE_TIMEOUT:g} s") from None

    async def until_end(self) -> End:
        """Wait until the peer ends the session, or is expelled, and return why.

        Raises:
            PeerError: it signals nonsense.
        """
        return await unless(self._expelled, self._until_end()) or End.EXPELLED

    def expel(self) -> None:
        """Make until_end() return: the peer asks too much of us."""
        self._expelled.set()

    async def goodbye(self) -> None:
        """Tell the peer that we want to end; it may still have to say what is on its way."""
        await self.signaling.send(BYE)

    @abstractmethod
    async def _shake_hands(self) -> bool: ...

    @abstractmethod
    def send(self, text: str) -> None:
        """Send a message, if the peer is there and reads what it gets."""

    @abstractmethod
    async def _until_end(self) -> End: ...

    @abstractmethod
    async def close(self) -> None:
        """End the session at once. Does nothing the second time."""


class _PeerLink(Link):
    """What both ends of a WebRTC connection share.

    Args:
        stun: address of a STUN server, if any.
    """

    def __init__(self, signaling: TcpSocketSignaling, on_message: OnMessage, stun: str | None) -> None:
        super().__init__(signaling, on_message)
        self._pc = RTCPeerConnection(configuration(stun))
        self._ready = asyncio.Event()  # the client's channel is open: both sides are set up
        self._outgoing: RTCDataChannel | None = None

    async def _until_ready(self) -> bool:
        """Wait for the client's channel to open; return False if the peer leaves before that."""
        return await unless(self._ready, self.until_end()) is None

    def send(self, text: str) -> None:
        channel = self._outgoing
        if channel is not None and channel.readyState == "open" and channel.bufferedAmount < MAX_BUFFERED:
            channel.send(text)

    async def _until_end(self) -> End:
        return await until_end(self._pc, self.signaling)

    async def close(self) -> None:
        await self._pc.close()


class MediaOffer(_PeerLink):
    """The server's end: frames travel as a MediaStreamTrack.

    The first frame is asked of the track when the client's channel is open, so none is lost to the start.

    Args:
        track: where the frames come from.
        codec: a key of MIME_TYPES.
        on_picture_lost: called when the client cannot decode what it gets.
    """

    def __init__(
        self,
        signaling: TcpSocketSignaling,
        on_message: OnMessage,
        stun: str | None,
        track: MediaStreamTrack,
        codec: str,
        on_picture_lost: Callable[[], None],
    ) -> None:
        super().__init__(signaling, on_message, stun)
        self._track = _Gated(track, self._ready)
        self._on_picture_lost = on_picture_lost
        self._codec = codec

    async def _shake_hands(self) -> bool:
        wanted = (MIME_TYPES[self._codec], "video/rtx")  # rtx: what is lost is sent again
        transceiver = self._pc.addTransceiver(self._track, direction="sendonly")
        transceiver.setCodecPreferences(
            [codec for codec in RTCRtpSender.getCapabilities("video").codecs if codec.mimeType in wanted]
        )
        # aiortc tells a lost picture (PLI, FIR) to its own encoder only, by this method of the sender
        tell_encoder = transceiver.sender._send_keyframe

        def on_picture_lost() -> None:
            tell_encoder()
            self._on_picture_lost()

        transceiver.sender._send_keyframe = on_picture_lost  # type: ignore[method-assign]  # on this one only
        # the offer has to have a channel in it, or the client could open none of its own
        self._outgoing = self._pc.createDataChannel(SCORES, ordered=False, maxRetransmits=0)

        numbers = itertools.count(1)

        @self._pc.on("datachannel")
        def on_datachannel(channel: RTCDataChannel) -> None:
            if next(numbers) > MAX_CHANNELS:
                self.expel()
            elif channel.label == COORDINATES and not self._ready.is_set():
                channel.on("message", self.on_message)
                self._ready.set()

        await self._pc.setLocalDescription(await self._pc.createOffer())
        await self.signaling.send(self._pc.localDescription)
        answer = await receive_description(self.signaling, "answer")
        if answer is None:
            return False
        await accept_description(self._pc, answer)
        return await self._until_ready()


class _Gated(MediaStreamTrack):
    """A track that waits for an event before it asks another one for its first frame."""

    kind = "video"

    def __init__(self, track: MediaStreamTrack, gate: asyncio.Event) -> None:
        super().__init__()
        self._track = track
        self._gate = gate

    async def recv(self) -> "Frame | Packet[Any]":
        """Wait for the gate and then for the frame."""
        await self._gate.wait()
        return await self._track.recv()


class MediaAnswer(_PeerLink):
    """The client's end of `MediaOffer`.

    Args:
        on_frame: called with each frame's pts (ticks) and planes; see `planes_of`.
        jitter_buffer: "marker" releases a frame on its last packet, "stock" is aiortc's own.
    """

    def __init__(
        self,
        signaling: TcpSocketSignaling,
        on_message: OnMessage,
        stun: str | None,
        on_frame: OnFrame,
        jitter_buffer: str,
    ) -> None:
        super().__init__(signaling, on_message, stun)
        self._on_frame = on_frame
        self._jitter_buffer = jitter_buffer
        self._watching: asyncio.Task[None] | None = None

    async def _shake_hands(self) -> bool:
        @self._pc.on("track")
        def on_track(track: MediaStreamTrack) -> None:
            if track.kind != "video" or self._watching is not None:
                return
            if self._jitter_buffer == "marker":
                jitter.install(next(each for each in self._pc.getReceivers() if each.track is track))
            self._watching = asyncio.create_task(self._watch(track))

        @self._pc.on("datachannel")
        def on_datachannel(channel: RTCDataChannel) -> None:
            if channel.label == SCORES:
                channel.on("message", self.on_message)

        offer = await receive_description(self.signaling, "offer")
        if offer is None:
            return False
        await accept_description(self._pc, offer)
        if self._watching is None or self._pc.sctp is None:
            raise PeerError("an offer without video, or without a data channel")
        self._outgoing = self._pc.createDataChannel(COORDINATES, ordered=False)  # each one stands for itself
        self._outgoing.on("open", self._ready.set)
        await self._pc.setLocalDescription(await self._pc.createAnswer())
        await self.signaling.send(self._pc.localDescription)
        return await self._until_ready()

    async def _watch(self, track: MediaStreamTrack) -> None:
        """Hand on every frame as it comes: a track that is read late grows without limit."""
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            assert isinstance(frame, VideoFrame)
            assert frame.pts is not None
            self._on_frame(frame.pts, planes_of(frame))

    async def close(self) -> None:
        """End the session at once. Does nothing the second time."""
        await super().close()
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait([self._watching])


def planes_of(frame: VideoFrame) -> tuple[Image, ...]:
    """Return a frame's Y, U and V planes where they lie: (H, W), (H / 2, W / 2), (H / 2, W / 2) uint8."""
    if frame.format.name not in ("yuv420p", "yuvj420p"):
        frame = frame.reformat(format="yuv420p")
    return tuple(
        np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width]
        for plane in frame.planes
    )
