"""Frames as a MediaStreamTrack: WebRTC video, with its codecs and its repairs."""

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
from aiortc import MediaStreamTrack, RTCDataChannel, RTCRtpSender, RTCRtpTransceiver, RTCSessionDescription
from aiortc.contrib.signaling import TcpSocketSignaling
from aiortc.mediastreams import MediaStreamError
from av import Packet, VideoFrame
from av.frame import Frame

from ball_track import Image
from common.ice import IceConfig
from common.sessions import PeerError
from transport import aiortc_internals as internals
from transport import receiver
from transport.descriptions import refused_video
from transport.jitter import PersistentNackGenerator
from transport.link import OnFrame, OnMessage
from transport.resending import Resender
from transport.webrtc import PeerAnswer, PeerLink, PeerOffer

MIME_TYPES = {"vp8": "video/VP8", "h264": "video/H264"}


class MediaSender(PeerLink):
    """What sends video: its track is asked for the first frame when `_ready` is set."""

    def __init__(self, signaling: TcpSocketSignaling, on_message: OnMessage, ice: IceConfig | None) -> None:
        super().__init__(signaling, on_message, ice)
        self._sender: RTCRtpSender | None = None
        self._resender: Resender | None = None

    def _add_video(self, track: MediaStreamTrack, codec: str, on_picture_lost: Callable[[], None]) -> RTCRtpTransceiver:
        """Put a track into the connection.

        Args:
            codec: a key of MIME_TYPES.
            on_picture_lost: called when the peer cannot decode what it gets.
        """
        gated = _Gated(track, self._ready, self._fail)
        gated.on("ended", self._over.set)  # aiortc has ended it, as it does when it cannot go on
        wanted = (MIME_TYPES[codec], "video/rtx")  # rtx: what is lost is sent again
        transceiver = self._pc.addTransceiver(gated, direction="sendonly")
        transceiver.setCodecPreferences(
            [each for each in RTCRtpSender.getCapabilities("video").codecs if each.mimeType in wanted]
        )

        def tell() -> None:
            if self._resender is not None:
                self._resender.on_picture_lost()
            on_picture_lost()

        internals.on_picture_lost(transceiver.sender, tell)
        self._sender = transceiver.sender
        return transceiver

    def _send_again(self) -> None:
        """From now on, send again what gets lost."""
        assert self._sender is not None
        self._resender = Resender(self._sender, self.traffic)

    def on_congested(self) -> None:
        """Send nothing twice for a while."""
        if self._resender is not None:
            self._resender.on_congested()

    async def close(self) -> None:
        """End the session at once. Does nothing the second time."""
        if self._resender is not None:
            await self._resender.close()
        await super().close()


class MediaOffer(PeerOffer, MediaSender):
    """The server's end.

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
        ice: IceConfig | None,
        track: MediaStreamTrack,
        codec: str,
        on_picture_lost: Callable[[], None],
    ) -> None:
        super().__init__(signaling, on_message, ice)
        self._track = track
        self._on_picture_lost = on_picture_lost
        self._codec = codec

    def _add_frames(self) -> None:
        self._add_video(self._track, self._codec, self._on_picture_lost)

    def _check(self, answer: RTCSessionDescription) -> None:
        reason = refused_video(answer.sdp, MIME_TYPES[self._codec].removeprefix("video/"))
        if reason is not None:
            raise PeerError(reason)

    async def _until_ready(self) -> bool:
        """Wait for the client's channel to open; from then on, send again what gets lost."""
        self._send_again()
        return await super()._until_ready()


class _Gated(MediaStreamTrack):
    """A track that waits for an event before it asks another one for its first frame.

    Args:
        track: the other one.
        gate: the event.
        on_failed: called with what the other one raises.
    """

    kind = "video"

    def __init__(self, track: MediaStreamTrack, gate: asyncio.Event, on_failed: Callable[[Exception], None]) -> None:
        super().__init__()
        self._track = track
        self._gate = gate
        self._on_failed = on_failed

    async def recv(self) -> "Frame | Packet[Any]":
        """Wait for the gate and then for the frame."""
        await self._gate.wait()
        try:
            return await self._track.recv()
        except MediaStreamError:
            raise
        except Exception as error:  # aiortc would log it, and send nothing any more
            self._on_failed(error)
            raise MediaStreamError from error


class MediaReceiver(PeerLink):
    """What receives video, and hands on each frame as it comes.

    Args:
        on_frame: called with each frame's pts (ticks) and planes; see `planes_of`.
        jitter_buffer: "marker" releases a frame on its last packet, "stock" is aiortc's own.
    """

    def __init__(
        self,
        signaling: TcpSocketSignaling,
        on_message: OnMessage,
        ice: IceConfig | None,
        on_frame: OnFrame,
        jitter_buffer: str,
    ) -> None:
        super().__init__(signaling, on_message, ice)
        self._on_frame = on_frame
        self._jitter_buffer = jitter_buffer
        self._watching = False
        self._nack: PersistentNackGenerator | None = None

    def on_round_trip(self, seconds: float) -> None:
        """Ask for what is missing once in that time (s)."""
        if self._nack is not None:
            self._nack.on_round_trip(seconds)

    def _on_loss(self) -> None:
        self.on_loss()

    def _expect_frames(self) -> None:
        @self._pc.on("track")
        def on_track(track: MediaStreamTrack) -> None:
            if track.kind != "video" or self._watching:
                return
            if self._jitter_buffer == "marker":
                ours = next(each for each in self._pc.getReceivers() if each.track is track)
                self._nack = receiver.install(ours)
            if self._nack is not None:
                self._nack.on_loss = self._on_loss
            self._watching = True
            self._start(self._watch(track))

    async def _watch(self, track: MediaStreamTrack) -> None:
        """Hand on every frame as it comes: a track that is read late grows without limit."""
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            assert isinstance(frame, VideoFrame)
            assert frame.pts is not None
            self._filmed.set()
            self._on_frame(frame.pts, planes_of(frame))

    def _last_frame(self) -> float:
        return internals.last_media(self._pc)


class MediaAnswer(MediaReceiver, PeerAnswer):
    """The client's end of a MediaOffer."""

    transport = "media"

    def _on_channel(self, channel: RTCDataChannel) -> None:
        """Do nothing: frames come by the track."""


def planes_of(frame: VideoFrame) -> tuple[Image, ...]:
    """Return a frame's Y, U and V planes where they lie: (H, W), (H / 2, W / 2), (H / 2, W / 2) uint8."""
    if frame.format.name not in ("yuv420p", "yuvj420p"):
        frame = frame.reformat(format="yuv420p")
    return tuple(
        np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width]
        for plane in frame.planes
    )
