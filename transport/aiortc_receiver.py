"""What is private to aiortc's RTCRtpReceiver: its parts, found and exchanged, and what it notes on a packet.

As in aiortc_internals.py every private name is checked before it is used: a receiver that is not built as expected
stays as it is, with one warning, and releases its pictures one frame later.
"""

import asyncio
import queue
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from aiortc import RTCRtpReceiver
from aiortc.jitterbuffer import JitterBuffer, JitterFrame
from aiortc.rtcrtpreceiver import NackGenerator
from aiortc.rtp import RtpPacket

from transport.mending import unexpected

RECEIVER = f"_{RTCRtpReceiver.__name__}__"  # how the names of its private parts begin


class Buffering(Protocol):
    """What a receiver asks of its jitter buffer."""

    def add(self, packet: RtpPacket) -> tuple[bool, JitterFrame | None]:
        """Take in a packet; return whether to ask for a key frame, and a frame that is whole, if one is."""


class Asking(Protocol):
    """What a receiver asks of its NACK generator."""

    missing: set[int]

    def add(self, packet: RtpPacket) -> bool:
        """Take in a packet; return whether to ask for those in `missing`."""


class ReceiverParts(NamedTuple):
    """What a receiver of video is made of, as far as it is needed.

    capacity: packets of its jitter buffer; map_timestamp: turns an RTP time stamp into a pts; pictures: where the
    decoded ones go.
    """

    capacity: int
    map_timestamp: Callable[[int], int]
    pictures: "asyncio.Queue[Any]"


def receiver_parts(receiver: RTCRtpReceiver) -> ReceiverParts | None:
    """Return the parts of a receiver that has had no packet yet; None if it is not built as expected."""
    try:
        buffer = getattr(receiver, f"{RECEIVER}jitter_buffer")
        map_timestamp = getattr(receiver, f"{RECEIVER}timestamp_mapper").map
        pictures = receiver.track._queue  # type: ignore[attr-defined]  # a RemoteStreamTrack's
        expected = (
            type(buffer) is JitterBuffer
            and type(getattr(receiver, f"{RECEIVER}nack_generator")) is NackGenerator
            and type(getattr(receiver, f"{RECEIVER}decoder_queue")) is queue.Queue
            and getattr(receiver, f"{RECEIVER}decoder_thread") is None
            and "_data" in receiver._handle_rtp_packet.__code__.co_names
            and callable(map_timestamp)
            and type(pictures) is asyncio.Queue
        )
    except AttributeError:
        expected = False
    if not expected:
        unexpected("RTCRtpReceiver, whose jitter buffer is one frame slower,")
        return None
    return ReceiverParts(buffer.capacity, map_timestamp, pictures)


def replace_parts(receiver: RTCRtpReceiver, buffer: Buffering, nack: Asking, decoding: "queue.Queue[Any]") -> None:
    """Exchange the parts of a receiver that has had no packet yet, and is built as expected."""
    setattr(receiver, f"{RECEIVER}jitter_buffer", buffer)
    setattr(receiver, f"{RECEIVER}nack_generator", nack)
    setattr(receiver, f"{RECEIVER}decoder_queue", decoding)


def payload_of(packet: RtpPacket) -> bytes:
    """Return a packet's part of the encoded frame, as a receiver that is built as expected has noted it."""
    data: bytes = packet._data  # type: ignore[attr-defined]
    return data
