"""When a received video frame is released: on its last packet, not on the first one of the next frame.

aiortc's jitter buffer learns that a frame is whole when a packet with another time stamp arrives, and so
holds every frame back for one frame interval. The last packet of a frame says of itself that it is the last:
the RTP marker bit ends a VP8 frame (RFC 7741, section 4.1) and an H.264 access unit (RFC 6184, section 5.1).

Four more things are needed so that a loss costs a moment and not the session:
- When a gap is filled, every frame behind it that is whole is released at once. (One frame for each packet
  that arrives, as aiortc does it, would leave the stream late for ever.)
- A missing packet is asked for again until it comes (RFC 4585, section 6.2.1: generic NACK).
- After a gap that nothing fills, a key frame is asked for (PLI, RFC 4585, section 6.3.1) until one arrives.
- The first packet that arrives need not be the first that was sent: jitter alone would cost most streams of several
  packets a key frame their first one, and everything until the next.
"""

import math
import time
from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

from aiortc.jitterbuffer import JitterFrame
from aiortc.rtp import RTP_HISTORY_SIZE, RtpPacket
from aiortc.utils import uint16_gt

from transport.aiortc_receiver import payload_of

SEQUENCE_NUMBERS = 65536  # RTP's are 16 bits long
GAP_PATIENCE = 0.4  # s that a gap may last before it is given up: three round trips of a slow network
NACK_INTERVAL = 0.1  # s between two requests for the same packet, while the round trip is not known
NACK_INTERVAL_MIN, NACK_INTERVAL_MAX = 0.01, 1.0  # s
NACK_ROUND_TRIPS = 1.25  # from one request to the next: the answer takes one, and the sender a moment
REQUESTS, REQUEST_AGAIN = 3, 0.01  # so many times a request is said, so many s apart at least: it may be lost as well
MAX_OVERTAKEN = 64  # packets that the first one to arrive may have overtaken
DETOUR = 0.03  # s by which a packet may be overtaken without being lost
PLI_INTERVAL = 0.2  # s between two requests for a key frame


class Continuity(Enum):
    """Whether the next frame has what it refers to."""

    WHOLE = "every frame from the last key frame on has come, and could be decoded"
    BROKEN = "a frame is missing: none can be decoded before the next key frame"


class MarkerJitterBuffer:
    """A jitter buffer that releases a frame as soon as all of its packets are there.

    It stands where aiortc has its own JitterBuffer, of which a receiver calls `add` only. Each packet is looked at
    once: what continues the first frame goes to that frame, what lies behind a gap waits under its number.

    `continuity` is the buffer's own to change: it sees what is lost on the way, and is told of the rest.

    Args:
        capacity: from the oldest packet that is held to the newest one, in sequence numbers.
        clock: returns monotonic seconds.
    """

    def __init__(self, capacity: int = 512, clock: Callable[[], float] = time.monotonic) -> None:
        self.nack = PersistentNackGenerator(clock)
        self.continuity = Continuity.BROKEN  # a stream begins with a key frame
        self._capacity = capacity
        self._clock = clock
        self._origin: int | None = None  # sequence number; the first frame's first packet
        self._next = 0  # sequence number; the first packet that is missing
        self._begun: list[bytes] = []  # what is there of the first frame, from its first packet on
        self._timestamp = 0  # ticks; that frame's
        self._waiting: dict[int, RtpPacket] = {}  # by sequence number; all others
        self._opening: (
            dict[int, RtpPacket] | None
        ) = {}  # the first frame's packets, until the next begins or it is whole
        self._gap_since: float | None = None
        self._torn: int | None = None  # time stamp of a frame that may lack its beginning
        self._asked = clock()  # when a key frame was last asked for; the stream's first frame should be one

    def add(self, packet: RtpPacket) -> tuple[bool, JitterFrame | None]:
        """Take in a packet; of two with one sequence number the first.

        Returns:
            Whether to ask for a key frame, and the first frame that is whole now, if one is; take the
            others with `release`.
        """
        number = packet.sequence_number
        if self._opening is not None:
            self._add_opening(packet, self._opening)
        ahead = self._ahead(number)
        if ahead >= SEQUENCE_NUMBERS - self._capacity:
            return False, None  # sent again in vain
        dropped = ahead >= self._capacity
        if dropped:
            self._make_room(number)
        if ahead >= len(self._begun):
            self._waiting.setdefault(number, packet)
        frame, now = self.release(), self._clock()
        if frame is not None or not self._waiting:
            self._gap_since = None
        elif self._gap_since is None:
            self._gap_since = now
        elif now - self._gap_since > GAP_PATIENCE:
            self._skip_gap()
            self._gap_since = None
            dropped = True
            frame = self.release()
        if dropped:
            self.continuity = Continuity.BROKEN
        elif self.continuity is Continuity.WHOLE or now - self._asked <= PLI_INTERVAL or self._opening is not None:
            return False, frame
        self._asked = now
        return True, frame

    def release(self) -> JitterFrame | None:
        """Remove and return the next frame if it is whole, else None.

        It ends with the packet that has the marker bit, or, where a sender sets none, before the first
        packet with another time stamp.
        """
        frame = self._take_frame()
        if frame is not None and frame.timestamp == self._torn:
            frame = self._take_frame()
        if frame is not None:
            self._torn = None
        return frame

    def on_key_frame(self) -> None:
        """Take note that the frame that was released last is a key frame: all that follows can be decoded."""
        self.continuity = Continuity.WHOLE
        self._opening = None

    def on_frame_lost(self) -> None:
        """Take note that a frame that was released is not, or cannot be, decoded."""
        self.continuity = Continuity.BROKEN

    def _add_opening(self, packet: RtpPacket, opening: dict[int, RtpPacket]) -> None:
        """Begin with this packet if it is the first, or belongs before all others of its frame, which overtook it."""
        if any(each.timestamp != packet.timestamp for each in opening.values()):
            self._opening = None
            return
        if all(is_overtaken(packet.sequence_number, each) for each in opening):
            self._waiting = dict(opening)
            self._begin_at(packet.sequence_number)
        opening.setdefault(packet.sequence_number, packet)

    def _take_frame(self) -> JitterFrame | None:
        """Remove and return the packets of the first frame, if they are there without a gap."""
        while (packet := self._waiting.get(self._next)) is not None:
            if self._begun and packet.timestamp != self._timestamp:
                return self._end_frame()
            del self._waiting[self._next]
            self._next = (self._next + 1) % SEQUENCE_NUMBERS
            self._begun.append(payload_of(packet))
            self._timestamp = packet.timestamp
            if packet.marker:
                return self._end_frame()
        return None

    def _end_frame(self) -> JitterFrame:
        """Remove and return the first frame as it is."""
        frame = JitterFrame(b"".join(self._begun), self._timestamp)
        self._begin_at(self._next)
        return frame

    def _begin_at(self, number: int) -> None:
        """Expect a frame that begins with this packet."""
        self._origin = self._next = number
        self._begun = []

    def _ahead(self, number: int) -> int:
        """Return how many packets lie between the first one and this one, the first included."""
        assert self._origin is not None
        return (number - self._origin) % SEQUENCE_NUMBERS

    def _make_room(self, number: int) -> None:
        """Give up the oldest frames, so that a packet fits in that lies further ahead than the capacity.

        One that lies behind belongs to a sender that has begun anew.
        """
        ahead = self._ahead(number)
        if ahead > SEQUENCE_NUMBERS // 2:
            self._waiting.clear()
            self._begin_at(number)
            return
        before = self._timestamp if self._begun else None
        for oldest in sorted(self._waiting, key=self._ahead):
            timestamp = self._waiting[oldest].timestamp
            if ahead - self._ahead(oldest) < self._capacity and timestamp != before:
                self._resume_at(oldest)
                return
            before = timestamp
            del self._waiting[oldest]
        self._resume_at(number)

    def _skip_gap(self) -> None:
        """Give up what is missing, and the frames that it belongs to."""
        first = min(self._waiting, key=self._ahead)
        self._resume_at(first)
        self.nack.keep(lambda gap: (gap - first) % SEQUENCE_NUMBERS < self._capacity)

    def _resume_at(self, number: int) -> None:
        """Give up all packets before this one: its frame, if it is there, may lack its beginning."""
        self._begin_at(number)
        packet = self._waiting.get(number)
        self._torn = None if packet is None else packet.timestamp


class Gap(NamedTuple):
    """A packet that is missing: since when (s) an answer is waited for, when it was asked for last, and how often."""

    waiting: float = -math.inf
    asked: float = -math.inf
    requests: int = 0

    def ask(self, now: float, interval: float) -> "Gap | None":
        """Return it as it is after a request at time `now`, if one is due; None if not."""
        if now - self.waiting > interval:
            return Gap(now, now, 1)
        if self.requests < REQUESTS and now - self.asked > REQUEST_AGAIN:
            return Gap(self.waiting, now, self.requests + 1)
        return None


class PersistentNackGenerator:
    """Asks for what is missing again and again: a request, or what it asks for, can be lost as well.

    Each request is said a few times, some ms apart, and is one for the sender: it answers once a round trip.

    It stands where aiortc has its own NackGenerator, of which a receiver calls `add`, and then reads `missing`.

    It also tells of loss: a packet is missing for longer than a detour takes, or one comes twice unasked, which a
    sender does that knows of loss.

    Args:
        clock: returns monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.on_loss: Callable[[], None] = lambda: None
        self._clock = clock
        self._interval = NACK_INTERVAL
        self._missing_since: float | None = None
        self._newest: int | None = None  # sequence number
        self._first: int | None = None  # sequence number of what the stream begins with; None: that is long ago
        self.gaps: dict[int, Gap] = {}  # what is missing, oldest first
        self.missing: set[int] = set()  # of that, what is to be asked for now
        self._asked_for: deque[int] = deque(maxlen=RTP_HISTORY_SIZE)  # what is sent again may come twice

    def on_round_trip(self, seconds: float) -> None:
        """Take note of how long it takes to the sender and back: to ask twice within that time is in vain."""
        self._interval = min(max(NACK_ROUND_TRIPS * seconds, NACK_INTERVAL_MIN), NACK_INTERVAL_MAX)

    def add(self, packet: RtpPacket) -> bool:
        """Take note of a packet; return whether it is time to ask for those in `missing`."""
        number, now = packet.sequence_number, self._clock()
        if self._newest is None or uint16_gt(number, self._newest):
            self._add_newest(number)
        elif number in self.gaps:
            del self.gaps[number]
        elif self._first is not None and is_overtaken(number, self._first):
            self._add_overtaken(number)
        elif number not in self._asked_for:
            self.on_loss()
        if not self.gaps:
            self._missing_since = None
        elif self._missing_since is None:
            self._missing_since = now
        elif now - self._missing_since > DETOUR:
            self.on_loss()
            self._missing_since = now
        asked = {number: gap.ask(now, self._interval) for number, gap in self.gaps.items()}
        self.gaps.update({number: gap for number, gap in asked.items() if gap is not None})
        self.missing = {number for number, gap in asked.items() if gap is not None}
        self._asked_for.extend(self.missing)
        return bool(self.missing)

    def _add_newest(self, number: int) -> None:
        """Take note of a packet that is newer than all others: what lies between is missing, if it can be had."""
        if self._newest is not None:
            skipped = min((number - self._newest) % SEQUENCE_NUMBERS, RTP_HISTORY_SIZE) - 1
            for distance in range(skipped, 0, -1):
                self.gaps[(number - distance) % SEQUENCE_NUMBERS] = Gap()
        self._first = number if self._newest is None else self._first
        if self._first is not None and (number - self._first) % SEQUENCE_NUMBERS > MAX_OVERTAKEN:
            self._first = None
        self._newest = number
        self.keep(lambda gap: (number - gap) % SEQUENCE_NUMBERS < RTP_HISTORY_SIZE)

    def _add_overtaken(self, number: int) -> None:
        """Take note of a packet from before the first one that came: what lies between is missing."""
        assert self._first is not None
        between = range(1, (self._first - number) % SEQUENCE_NUMBERS)
        self.gaps = {(number + distance) % SEQUENCE_NUMBERS: Gap() for distance in between} | self.gaps
        self._first = number

    def keep(self, wanted: Callable[[int], bool]) -> None:
        """Give up what is missing and not wanted any more."""
        self.gaps = {number: gap for number, gap in self.gaps.items() if wanted(number)}


def is_overtaken(number: int, first: int) -> bool:
    """Return whether the packet of a number may have been overtaken by the one that came first.

    >>> is_overtaken(65535, 2), is_overtaken(2, 65535), is_overtaken(2, 2)
    (True, False, False)
    """
    return 0 < (first - number) % SEQUENCE_NUMBERS <= MAX_OVERTAKEN
