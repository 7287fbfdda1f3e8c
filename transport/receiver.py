"""aiortc's RTCRtpReceiver, made quick: from the last packet of a frame to its picture without a detour.

- Frames are released by the jitter buffer of jitter.py.
- A picture that is decoded quickly is decoded in the event loop: to aiortc's thread and back takes 0.3 ms, nearly
  as long as the decoding. What takes longer goes to a thread, in order.
- The decoders are FFmpeg's own, with one thread each: for VP8 a quarter faster than libvpx.
- Nothing is decoded that lacks what it refers to, as it would show ghosts: after a loss the picture stands still
  until a key frame comes. The same happens to a decoder that falls behind; its queue would grow for ever.

aiortc has no public way to choose any of this. `install` therefore exchanges parts of the receiver (by
aiortc_receiver.py), and leaves everything as it was if one of them is not what is expected.
"""

import asyncio
import logging
import queue
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import av
from aiortc import RTCRtpReceiver
from aiortc.jitterbuffer import JitterFrame
from aiortc.mediastreams import VIDEO_TIME_BASE
from av.video.codeccontext import VideoCodecContext

from transport.aiortc_receiver import receiver_parts, replace_parts
from transport.jitter import Continuity, MarkerJitterBuffer, PersistentNackGenerator

logger = logging.getLogger(__name__)

DECODERS = {"VP8": "vp8", "H264": "h264"}  # FFmpeg's names
SHORT = 0.002  # s; a picture after one that took less is decoded in the event loop
MAX_UNDECODED = 15  # frames that may wait for the thread
H264_SPS = re.compile(rb"\x00\x00\x01[\x07\x27\x47\x67]")  # a NAL unit of type 7: a sequence parameter set
H264_IDR = re.compile(rb"\x00\x00\x01[\x05\x25\x45\x65]")  # a NAL unit of type 5, whatever its importance


class Decoding(queue.Queue[Any]):
    """Stands where aiortc has the queue to its decoder thread, which gets no more than the end.

    Args:
        buffer: where the frames come from.
        map_timestamp: turns an RTP time stamp into a pts.
        pictures: where the decoded ones go, as `av.VideoFrame`.
    """

    def __init__(
        self, buffer: MarkerJitterBuffer, map_timestamp: Callable[[int], int], pictures: "asyncio.Queue[Any]"
    ) -> None:
        super().__init__()
        self._buffer = buffer
        self._map_timestamp = map_timestamp
        self._pictures = pictures
        self._decoder: tuple[str, VideoCodecContext] | None = None  # of which codec, and itself
        self._took = 0.0  # s for the newest picture
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="decoder")
        self._behind = 0  # frames that the thread has not done yet

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Take (codec, frame), and decode it and all others that are whole; None for the end."""
        if item is None:
            self._thread.shutdown(wait=False, cancel_futures=True)
            super().put(None, block, timeout)
            return
        codec, frame = item  # its time stamp is mapped already
        while frame is not None:
            opens = self._decoder is None
            if self._buffer.continuity is Continuity.BROKEN and is_key_frame(codec.name, frame.data, opens):
                self._buffer.on_key_frame()
            if self._behind > MAX_UNDECODED:
                self._buffer.on_frame_lost()
            if codec.name.upper() not in DECODERS:
                super().put((codec, frame), block, timeout)  # aiortc's may know it
            elif (
                frame.data and self._buffer.continuity is Continuity.WHOLE
            ):  # without data it would mean the end to the decoder
                self._take(codec.name.upper(), frame)
            frame = self._buffer.release()
            if frame is not None:
                frame.timestamp = self._map_timestamp(frame.timestamp)

    def _take(self, codec: str, frame: JitterFrame) -> None:
        """Decode a frame, now or in the thread."""
        if self._decoder is None or self._decoder[0] != codec:
            self._decoder = codec, create_decoder(codec)
        packet = av.Packet(frame.data)
        packet.pts, packet.time_base = frame.timestamp, VIDEO_TIME_BASE
        if self._took < SHORT and not self._behind:
            self._deliver(self._decode(self._decoder[1], packet))
            return
        self._behind += 1
        loop = asyncio.get_running_loop()
        loop.run_in_executor(self._thread, self._decode, self._decoder[1], packet).add_done_callback(self._on_decoded)

    def _decode(self, decoder: VideoCodecContext, packet: "av.Packet[Any]") -> list[av.VideoFrame] | None:
        """Return the pictures that a packet completes; None where it is damaged."""
        began = time.perf_counter()
        try:
            return decoder.decode(packet)
        except av.FFmpegError as error:
            logger.info("a frame that cannot be decoded: %s", error)
            return None
        finally:
            self._took = time.perf_counter() - began

    def _on_decoded(self, future: "asyncio.Future[list[av.VideoFrame] | None]") -> None:
        self._behind -= 1
        if not future.cancelled():
            self._deliver(future.result())

    def _deliver(self, pictures: list[av.VideoFrame] | None) -> None:
        """Hand on what has been decoded, in the event loop."""
        if pictures is None:
            self._buffer.on_frame_lost()
            return
        for picture in pictures:
            self._pictures.put_nowait(picture)


def create_decoder(codec: str) -> VideoCodecContext:
    """Return a decoder for a key of DECODERS that has no frames in flight: each packet gives its picture."""
    decoder = av.CodecContext.create(DECODERS[codec], "r")
    assert isinstance(decoder, VideoCodecContext)
    decoder.thread_count = 1
    return decoder


def is_key_frame(codec: str, data: bytes, opens: bool = False) -> bool:
    """Return whether an encoded frame can be decoded without any other.

    Args:
        codec: "VP8" or "H264"; of every other one it is taken on trust.
        data: the frame; H.264 with start codes.
        opens: nothing came before it: H.264 has to have its parameter sets with it.

    Source: RFC 6386, section 9.1, for the frame tag and start code of VP8; ITU-T H.264, table 7-1.
    """
    match codec.upper():
        case "VP8":
            return len(data) > 6 and not data[0] & 1 and data[3:6] == b"\x9d\x01\x2a"
        case "H264":
            return H264_IDR.search(data) is not None and (not opens or H264_SPS.search(data) is not None)
        case _:
            return True


def install(receiver: RTCRtpReceiver) -> PersistentNackGenerator | None:
    """Make a receiver quick, before its first packet.

    Returns:
        What asks for the packets that are missing; None if it could not be done. Then the receiver is as it was, and
        a warning was logged.
    """
    parts = receiver_parts(receiver)
    if parts is None:
        return None
    buffer = MarkerJitterBuffer(capacity=parts.capacity)
    replace_parts(receiver, buffer, buffer.nack, Decoding(buffer, parts.map_timestamp, parts.pictures))
    return buffer.nack
