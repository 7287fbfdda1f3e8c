"""When a received video frame is released: on its last packet, not on the first one of the next frame.

aiortc's jitter buffer learns that a frame is whole when a packet with another time stamp arrives, and so
holds every frame back for one frame interval. The last packet of a frame says of itself that it is the last:
the RTP marker bit ends a VP8 frame (RFC 7741, section 4.1) and an H.264 access unit (RFC 6184, section 5.1).

Three more things are needed so that a loss costs a moment and not the session:
- When a gap is filled, every frame behind it that is whole is released at once. (One frame for each packet
  that arrives, as aiortc does it, would leave the stream late for ever.)
- A missing packet is asked for again until it comes (RFC 4585, section 6.2.1: generic NACK).
- After a gap that nothing fills, a key frame is asked for (PLI, RFC 4585, section 6.3.1) until one arrives.
"""

import math
import time
from collections import deque
from collections.abc import Callable

from aiortc.jitterbuffer import JitterBuffer, JitterFrame
from aiortc.rtcrtpreceiver import NackGenerator
from aiortc.rtp import RTP_HISTORY_SIZE, RtpPacket
from aiortc.utils import uint16_gt

SEQUENCE_NUMBERS = 65536  # RTP's are 16 bits long
PATIENCE = 0.4  # s that a gap may last before it is given up: three round trips of a slow network
NACK_INTERVAL = 0.1  # s between two requests for the same packet, while the round trip is not known
NACK_INTERVAL_MIN, NACK_INTERVAL_MAX = 0.01, 1.0  # s
ROUND_TRIPS = 1.25  # from one request to the next: the answer takes one, and the sender a moment
DETOUR = 0.03  # s by which a packet may be overtaken without being lost
PLI_INTERVAL = 0.2  # s between two requests for a key frame


class MarkerJitterBuffer(JitterBuffer):
    """A jitter buffer that releases a frame as soon as all of its packets are there.

    Args:
        clock: returns monotonic seconds.
    """

    def __init__(self, capacity: int = 512, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(capacity=capacity, is_video=True)
        self.nack = PersistentNackGenerator(clock)
        self.broken = True  # frames are missing: who takes them sets it to False when a key frame has come
        self._clock = clock
        self._highest = 0  # sequence number; the newest packet's
        self._gap_since: float | None = None
        self._torn: int | None = None  # time stamp of a frame that may lack its beginning
        self._asked = clock()  # when a key frame was last asked for; the stream opens with one unasked

    def add(self, packet: RtpPacket) -> tuple[bool, JitterFrame | None]:
        """Take in a packet.

        Returns:
            Whether to ask for a key frame, and the first frame that is whole now, if one is; take the
            others with `release`.
        """
        if self._origin is None:
            self._highest = packet.sequence_number
        elif 0 < (self._origin - packet.sequence_number) % SEQUENCE_NUMBERS <= self.capacity:
            return False, None  # sent again in vain: aiortc would take one 100 packets late for a new stream
        dropped, frame = super().add(packet)
        now = self._clock()
        if (packet.sequence_number - self._highest) % SEQUENCE_NUMBERS < SEQUENCE_NUMBERS // 2 or dropped:
            self._highest = packet.sequence_number
        if frame is not None or not self._has_gap():
            self._gap_since = None
        elif self._gap_since is None:
            self._gap_since = now
        elif now - self._gap_since > PATIENCE:
            self._skip_gap()
            self._gap_since = None
            dropped = True
            frame = self.release()
        if dropped:
            self.broken = True
            self._asked = now
        elif self.broken and now - self._asked > PLI_INTERVAL:
            dropped, self._asked = True, now
        return dropped, frame

    def release(self) -> JitterFrame | None:
        """Return the next frame if it is whole, else None."""
        return self._remove_frame(0)

    def _remove_frame(self, sequence_number: int) -> JitterFrame | None:  # noqa: ARG002
        """Remove and return the first frame if all of it is there; aiortc's signature, whose argument is of no use.

        It ends with the packet that has the marker bit, or, where a sender sets none, before the first
        packet with another time stamp.
        """
        frame = self._take_frame()
        if frame is not None and frame.timestamp == self._torn:
            frame = self._take_frame()
        if frame is not None:
            self._torn = None
        return frame

    def _take_frame(self) -> JitterFrame | None:
        """Remove and return the packets of the first frame, if they are there without a gap."""
        if self._origin is None:
            return None
        data: list[bytes] = []
        timestamp = None
        for count in range(self.capacity):
            packet = self._packets[(self._origin + count) % self.capacity]
            if packet is None:
                return None
            if timestamp is not None and packet.timestamp != timestamp:
                self.remove(count)
                return JitterFrame(b"".join(data), timestamp)
            timestamp = packet.timestamp
            data.append(packet._data)  # type: ignore[attr-defined]  # set by the receiver: the depayloaded part
            if packet.marker:
                self.remove(count + 1)
                return JitterFrame(b"".join(data), timestamp)
        return None

    def _has_gap(self) -> bool:
        """Return whether a packet is missing before one that is there."""
        assert self._origin is not None
        missing = (self._origin + self._whole_until()) % SEQUENCE_NUMBERS
        return 0 < (self._highest - missing) % SEQUENCE_NUMBERS < self.capacity

    def _whole_until(self) -> int:
        """Return how many packets from the origin on are there without a gap."""
        assert self._origin is not None
        for count in range(self.capacity):
            if self._packets[(self._origin + count) % self.capacity] is None:
                return count
        return self.capacity

    def _skip_gap(self) -> None:
        """Give up what is missing, and the frames that it belongs to."""
        assert self._origin is not None
        count = self._whole_until()
        while count < self.capacity and self._packets[(self._origin + count) % self.capacity] is None:
            count += 1
        self.remove(count)
        self._mark_torn()
        origin = self._origin
        self.nack.keep(lambda gap: (gap - origin) % SEQUENCE_NUMBERS < self.capacity)

    def smart_remove(self, count: int) -> bool:
        """Remove the oldest packets to make room, as aiortc calls for; return whether none is left."""
        empty = super().smart_remove(count)
        self._mark_torn()
        return empty

    def _mark_torn(self) -> None:
        """Take note that packets before the first one were given up: its frame may lack its beginning."""
        assert self._origin is not None
        packet = self._packets[self._origin % self.capacity]
        self._torn = None if packet is None else packet.timestamp


class PersistentNackGenerator(NackGenerator):
    """Asks for what is missing again and again: a request, or what it asks for, can be lost as well.

    It also tells of loss: a packet is missing for longer than a detour takes, or one comes twice unasked, which a
    sender does that knows of loss.

    Args:
        clock: returns monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self.on_loss: Callable[[], None] = lambda: None
        self._clock = clock
        self._interval = NACK_INTERVAL
        self._missing_since: float | None = None
        self.gaps: dict[int, float] = {}  # what is missing, oldest first: when it was asked for last, s
        self.missing: set[int] = set()  # of that, what is to be asked for now; aiortc's name
        self._asked_for: deque[int] = deque(maxlen=RTP_HISTORY_SIZE)  # what is sent again may come twice

    def on_round_trip(self, seconds: float) -> None:
        """Take note of how long it takes to the sender and back: to ask twice within that time is in vain."""
        self._interval = min(max(ROUND_TRIPS * seconds, NACK_INTERVAL_MIN), NACK_INTERVAL_MAX)

    def add(self, packet: RtpPacket) -> bool:
        """Take note of a packet; return whether it is time to ask for those in `missing`."""
        number, now = packet.sequence_number, self._clock()
        if self.max_seq is None or uint16_gt(number, self.max_seq):
            self._add_newest(number)
        elif number in self.gaps:
            del self.gaps[number]
        elif number not in self._asked_for:
            self.on_loss()
        if not self.gaps:
            self._missing_since = None
        elif self._missing_since is None:
            self._missing_since = now
        elif now - self._missing_since > DETOUR:
            self.on_loss()
            self._missing_since = now
        self.missing = {gap for gap, asked in self.gaps.items() if now - asked > self._interval}
        self._asked_for.extend(self.missing)
        self.gaps.update(dict.fromkeys(self.missing, now))
        return bool(self.missing)

    def _add_newest(self, number: int) -> None:
        """Take note of a packet that is newer than all others: what lies between is missing, if it can be had."""
        if self.max_seq is not None:
            skipped = min((number - self.max_seq) % SEQUENCE_NUMBERS, RTP_HISTORY_SIZE) - 1
            for distance in range(skipped, 0, -1):
                self.gaps[(number - distance) % SEQUENCE_NUMBERS] = -math.inf
        self.max_seq = number
        self.keep(lambda gap: (number - gap) % SEQUENCE_NUMBERS < RTP_HISTORY_SIZE)

    def keep(self, wanted: Callable[[int], bool]) -> None:
        """Give up what is missing and not wanted any more."""
        self.gaps = {gap: asked for gap, asked in self.gaps.items() if wanted(gap)}
