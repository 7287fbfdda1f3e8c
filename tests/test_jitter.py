"""jitter.py: a frame is released when it is whole, in order, once, whatever the network does to its packets."""

import random
from collections import Counter
from collections.abc import Iterable
from itertools import count, pairwise

import numpy as np
import pytest
from aiortc.jitterbuffer import JitterBuffer, JitterFrame
from aiortc.rtp import RtpPacket
from hypothesis import given
from hypothesis import strategies as st

from support.packets import Clock, packet
from transport.jitter import (
    GAP_PATIENCE,
    MAX_OVERTAKEN,
    NACK_INTERVAL,
    PLI_INTERVAL,
    REQUEST_AGAIN,
    REQUESTS,
    Continuity,
    MarkerJitterBuffer,
    PersistentNackGenerator,
)


def stream(lengths: Iterable[int], first: int = 0, markers: bool = True) -> list[list[RtpPacket]]:
    """Return frames of so many packets each; each packet says which it is."""
    frames, number = [], first
    for frame, length in enumerate(lengths):
        data = [f"{frame}.{part};".encode() for part in range(length)]
        frames.append(
            [packet(number + part, 3000 * frame, data[part], markers and part == length - 1) for part in range(length)]
        )
        number += length
    return frames


def data_of(frame: list[RtpPacket]) -> bytes:
    """Return what a frame of packets holds."""
    return b"".join(each.payload for each in frame)


def take(buffer: MarkerJitterBuffer, arriving: RtpPacket) -> tuple[bool, list[JitterFrame]]:
    """Add a packet; return whether to ask for a key frame, and all that is released."""
    wanted, frame = buffer.add(arriving)
    released = []
    while frame is not None:
        released.append(frame)
        frame = buffer.release()
    return wanted, released


lengths = st.lists(st.integers(1, 6), min_size=2, max_size=30)
firsts = st.sampled_from([0, 1, 500, 65530, 65535]) | st.integers(0, 65535)


@st.composite
def arrivals(draw: st.DrawFn) -> tuple[list[list[RtpPacket]], list[RtpPacket]]:
    """Return frames, and their packets in the order of their arrival: late, twice, or never."""
    frames = stream(draw(lengths), draw(firsts))
    packets = [each for frame in frames for each in frame]
    dice = draw(st.randoms(use_true_random=False))
    delay, loss, twice = draw(st.sampled_from([0, 2, 10, 60])), draw(st.sampled_from([0, 0.02, 0.2])), dice.random()
    times = [(0.0, 0, packets[0])]  # the first one shows where the stream begins
    for index, each in enumerate(packets[1:], 1):
        copies = 2 if dice.random() < twice else 1
        times.extend((index + dice.random() * delay, index, each) for _ in range(copies) if dice.random() >= loss)
    return frames, [each for _, _, each in sorted(times, key=lambda entry: entry[:2])]


@given(arrivals())
def test_marker_buffer_releases_a_frame_when_it_is_whole(given_: tuple[list[list[RtpPacket]], list[RtpPacket]]) -> None:
    """Each frame comes with the packet that makes it, and all frames before it, whole: once, in order, intact."""
    frames, packets = given_
    buffer = MarkerJitterBuffer(clock=Clock())
    arrived: set[int] = set()
    due = 0
    for arriving in packets:
        arrived.add(arriving.sequence_number)
        expected = []
        while due < len(frames) and all(each.sequence_number in arrived for each in frames[due]):
            expected.append((data_of(frames[due]), frames[due][0].timestamp))
            due += 1
        wanted, released = take(buffer, arriving)
        assert [(frame.data, frame.timestamp) for frame in released] == expected
        assert not wanted


@given(lengths, firsts, st.randoms(use_true_random=False))
def test_marker_buffer_waits_for_the_next_frame_without_markers(
    lengths: list[int], first: int, dice: random.Random
) -> None:
    """Of a sender that sets no marker each frame comes when the next one begins, as with aiortc's own."""
    frames = stream(lengths, first, markers=False)
    buffer, stock = MarkerJitterBuffer(clock=Clock()), JitterBuffer(capacity=512, is_video=True)
    packets = [each for frame in frames for each in frame]
    released: list[JitterFrame] = []
    stock_released = []
    for arriving in packets:
        released += take(buffer, arriving)[1]
        frame = stock.add(arriving)[1]
        if frame is not None:
            stock_released.append(frame)
        assert [each.data for each in released] == [each.data for each in stock_released]
    assert [each.data for each in released] == [data_of(frame) for frame in frames[:-1]]


@pytest.mark.parametrize("first", [0, 65535 - 450])
@pytest.mark.parametrize("age", [1, 2, 99, 100, 101, 128, 400])
def test_marker_buffer_ignores_what_comes_again_late(first: int, age: int) -> None:
    """A packet that was sent again in vain, and comes long after its frame, does no harm to the stream."""
    frames = stream([1] * 600, first)
    buffer = MarkerJitterBuffer(clock=Clock())
    for frame in frames[:500]:
        assert len(take(buffer, frame[0])[1]) == 1
    assert take(buffer, frames[500 - age][0]) == (False, [])
    for frame in frames[500:]:
        wanted, released = take(buffer, frame[0])
        assert not wanted
        assert [each.data for each in released] == [data_of(frame)]


def test_marker_buffer_follows_a_sender_that_starts_anew() -> None:
    """Sequence numbers that begin elsewhere are a new stream: its frames flow, after a key frame is asked for."""
    for jump in (2000, 20_000, 40_000, 60_000):
        buffer = MarkerJitterBuffer(clock=Clock())
        for frame in stream([1] * 10, 5000):
            take(buffer, frame[0])
        again = stream([1] * 10, 5000 + jump)
        results = [take(buffer, frame[0]) for frame in again]
        assert any(wanted for wanted, _ in results)
        assert [each.data for _, released in results for each in released] == [data_of(frame) for frame in again]


def test_marker_buffer_gives_up_a_gap() -> None:
    """After GAP_PATIENCE what is missing is given up, a key frame is asked for, and asked for again until it comes."""
    clock = Clock()
    buffer = MarkerJitterBuffer(clock=clock)
    frames = stream([3] * 60, 65500)
    take(buffer, frames[0][0])
    for each in (*frames[0][1:], frames[1][0], frames[1][2]):  # one packet of the second frame never comes
        buffer.add(each)
    buffer.on_key_frame()
    asked: list[float] = []
    released: list[bytes] = []
    for frame in frames[2:]:
        clock.now += 1 / 30
        for each in frame:
            wanted, new = take(buffer, each)
            if wanted:
                asked.append(clock.now - 100)
            released += [each.data for each in new]
    whole = [data_of(frame) for frame in frames[2:]]
    assert released == whole[len(whole) - len(released) :]
    assert len(released) >= 50 - GAP_PATIENCE * 30
    assert GAP_PATIENCE < asked[0] <= GAP_PATIENCE + 2 / 30
    assert buffer.continuity is Continuity.BROKEN
    pauses = np.diff(asked)
    assert len(pauses) >= 3
    assert pauses.min() > PLI_INTERVAL
    assert pauses.max() <= PLI_INTERVAL + 2 / 30


@given(st.integers(1, 5), st.integers(0, 4), st.integers(0, 2), st.booleans(), st.randoms(use_true_random=False))
def test_marker_buffer_releases_no_torn_frame_after_a_gap(
    length: int, lost: int, cut: int, markers: bool, dice: random.Random
) -> None:
    """Whichever packets are given up, however much of the next frame is there by then, no part is released."""
    clock = Clock()
    frames = stream([length] * 20, 65500, markers)
    packets = [each for frame in frames for each in frame]
    start = length * 3 + dice.randrange(length)
    missing = range(start, start + lost + 1)
    arriving = [each for index, each in enumerate(packets) if index not in missing]
    late = missing[-1] + 1 + cut - len(missing)  # the first packet to come when patience is at its end
    buffer = MarkerJitterBuffer(clock=clock)
    released: list[bytes] = []
    for index, each in enumerate(arriving):
        if index > late:
            clock.now += GAP_PATIENCE + 0.01
        released += [frame.data for frame in take(buffer, each)[1]]
    whole = [data_of(frame) for frame in frames]
    assert [data for data in released if data not in whole] == []
    assert released == [data for data in whole if data in released]
    assert whole[-2] in released


@pytest.mark.parametrize("length", [1, 2, 3])
@pytest.mark.parametrize("many", [600, 1500])
def test_marker_buffer_survives_more_than_it_can_hold(length: int, many: int) -> None:
    """If a gap lasts longer than the buffer is large it is given up early, and a key frame is asked for."""
    for lost in range(1, 2 * length + 1):
        frames = stream([length] * (many // length), 65000)
        packets = [each for frame in frames for each in frame]
        buffer = MarkerJitterBuffer(clock=Clock())
        results = [take(buffer, each) for each in (*packets[:length], *packets[length + lost :])]
        assert any(wanted for wanted, _ in results)
        released = [frame.data for _, new in results[length:] for frame in new]
        assert released == [data_of(frame) for frame in frames[len(frames) - len(released) :]]
        assert len(released) * length > many - 530


@given(st.integers(2, 12), firsts, st.randoms(use_true_random=False), st.booleans())
def test_marker_buffer_begins_where_the_stream_does(
    length: int, first: int, dice: random.Random, markers: bool
) -> None:
    """In whatever order the first frame's packets come, it is released whole, and what follows with it."""
    frames = stream([length, 1, 1, 1], first, markers)
    opening = dice.sample(frames[0], length)
    buffer = MarkerJitterBuffer(clock=Clock())
    released = [frame for each in (*opening, *(frame[0] for frame in frames[1:])) for frame in take(buffer, each)[1]]
    whole = [frame for frame in released if frame.timestamp != 0 or frame.data == data_of(frames[0])]
    assert [frame.data for frame in whole] == [data_of(frame) for frame in (frames if markers else frames[:-1])]


@pytest.mark.parametrize("key", [False, True])
def test_marker_buffer_asks_for_no_key_frame_before_the_first_frame_is_known(key: bool) -> None:
    """However long ago it was made: the first frame should be one; where it is none, one is asked for."""
    clock = Clock()
    buffer = MarkerJitterBuffer(clock=clock)
    clock.now += 10
    frames = stream([2, 1])
    assert not any(buffer.add(each)[0] for each in frames[0])
    if key:
        buffer.on_key_frame()
    assert buffer.add(frames[1][0])[0] is not key


def test_marker_buffer_goes_back_for_the_first_frame_alone() -> None:
    """A packet from before the beginning that comes after the next frame, or after a key frame, changes nothing."""
    frames = stream([3, 1, 1], 65534)
    for key in (False, True):
        buffer = MarkerJitterBuffer(clock=Clock())
        assert [frame.data for frame in take(buffer, frames[0][2])[1]] == [b"0.2;"]
        if key:
            buffer.on_key_frame()
        else:
            take(buffer, frames[1][0])
        assert take(buffer, frames[0][1])[1] == []
        assert [frame.data for frame in take(buffer, frames[2][0])[1]] == ([] if key else [b"2.0;"])


# --- Against a model -----------------------------------------------------------------------------


class Model:
    """What the buffer does, in the plainest way: packets by running numbers, all looked through for each answer."""

    def __init__(self, capacity: int, clock: Clock) -> None:
        self.whole = False  # whether no frame is missing since the last key frame
        self._capacity, self._clock = capacity, clock
        self._packets: dict[int, RtpPacket] = {}
        self._first: int | None = None
        self._opening: dict[int, RtpPacket] | None = {}
        self._torn: int | None = None
        self._gap_since: float | None = None
        self._asked = clock.now

    def add(self, arriving: RtpPacket) -> tuple[bool, JitterFrame | None]:
        """Take in a packet; return whether to ask for a key frame, and the first frame if it is whole."""
        first = arriving.sequence_number if self._first is None else self._first
        number = first + (arriving.sequence_number - first + 32767) % 65536 - 32767
        if self._opening and any(each.timestamp != arriving.timestamp for each in self._opening.values()):
            self._opening = None
        if self._opening and all(number < each <= number + MAX_OVERTAKEN for each in self._opening):
            first, self._packets = number, dict(self._opening)
        if self._opening is not None:
            self._opening.setdefault(number, arriving)
        if first - self._capacity <= number < first:
            return False, None
        lost = not first <= number < first + self._capacity
        if number < first:
            self._packets.clear()
            first = number
        self._first = first
        if number >= first + self._capacity:
            order: list[int | None] = [None, *sorted(self._packets)]
            begin = [b for a, b in pairwise(order) if b is not None and (a is None or self._time(a) != self._time(b))]
            self._give_up_before(min((each for each in begin if each > number - self._capacity), default=number))
        self._packets.setdefault(number, arriving)
        frame = self.release()
        missing = next(each for each in count(self._first) if each not in self._packets)
        behind = [each for each in self._packets if each > missing]
        if frame is not None or not behind:
            self._gap_since = None
        elif self._gap_since is None:
            self._gap_since = self._clock.now
        elif self._clock.now - self._gap_since > GAP_PATIENCE:
            self._give_up_before(min(behind))
            self._gap_since, lost = None, True
            frame = self.release()
        self.whole = self.whole and not lost
        wanted = lost or (not self.whole and self._clock.now - self._asked > PLI_INTERVAL and self._opening is None)
        self._asked = self._clock.now if wanted else self._asked
        return wanted, frame

    def release(self) -> JitterFrame | None:
        """Return the first frame if it is whole, and not the rest of one that was torn."""
        frame = self._take()
        if frame is not None and frame.timestamp == self._torn:
            frame = self._take()
        self._torn = self._torn if frame is None else None
        return frame

    def _take(self) -> JitterFrame | None:
        """Remove and return the first frame, torn or not."""
        assert self._first is not None
        for last in count(self._first):
            if last not in self._packets:
                return None
            if self._packets[last].marker:
                break
            if last + 1 in self._packets and self._time(last + 1) != self._time(last):
                break
        packets = [self._packets.pop(each) for each in range(self._first, last + 1)]
        self._first = last + 1
        return JitterFrame(data_of(packets), packets[0].timestamp)

    def _time(self, number: int) -> int:
        return self._packets[number].timestamp

    def _give_up_before(self, first: int) -> None:
        self._packets = {each: packet for each, packet in self._packets.items() if each >= first}
        self._first = first
        self._torn = self._time(first) if first in self._packets else None


def bad_journey(dice: random.Random, first: int) -> list[RtpPacket]:
    """Return packets as the worst of networks brings them: late, as several copies, or never; senders begin anew."""
    number, timestamp, sent = first, dice.randrange(2**32), 0
    loss, copies, jumps = dice.choice([0, 0.02, 0.3]), dice.choice([0, 0.1, 0.5]), dice.choice([0, 0, 0.05])
    detour, markers = dice.choice([0, 3, 40, 300]), dice.random() < 0.8
    arriving = []
    for _ in range(dice.randrange(1, 100)):
        timestamp += 3000 * (dice.random() < 0.95)
        if dice.random() < jumps:
            number += dice.choice([100, 127, 128, 129, 300, 32767, 32768, 32769, 65200, 65407, 65408, 65409])
        length = dice.choices([1, 2, 5, 150], [50, 30, 20, 1])[0]
        for part in range(length):
            number, sent = number + 1, sent + 1
            for copy in range(1 + (dice.random() < copies)):
                made = packet(number, timestamp, f"{number}.{copy};".encode(), markers and part == length - 1)
                if dice.random() >= loss:
                    arriving.append((sent + dice.random() * detour * dice.random() ** 3, made))
    return [made for _, made in sorted(arriving, key=lambda entry: entry[0])]


@given(st.integers(0, 2**32), firsts)
def test_marker_buffer_does_what_a_plain_model_does(seed: int, first: int) -> None:
    """Whatever comes, and when, the same frames are released at the same packets, and key frames asked for."""
    dice, clock = random.Random(seed), Clock()
    buffer, model = MarkerJitterBuffer(128, clock), Model(128, clock)
    pauses = dice.choice([[0.0], [0.001, 0.01], [0.0, 0.01, 0.1, 0.5]])
    patient = dice.random() < 0.8
    for arriving in bad_journey(dice, first):
        clock.now += dice.choice(pauses)
        frame = expect_same(buffer.add(arriving), model.add(arriving))
        while frame is not None and (patient or dice.random() < 0.5):
            frame = expect_same((False, buffer.release()), (False, model.release()))
        match dice.randrange(20):
            case 0 | 1 | 2:
                buffer.on_key_frame()
                model.whole, model._opening = True, None
            case 3:
                buffer.on_frame_lost()
                model.whole = False
        assert buffer.continuity is (Continuity.WHOLE if model.whole else Continuity.BROKEN)


def expect_same(one: tuple[bool, JitterFrame | None], other: tuple[bool, JitterFrame | None]) -> JitterFrame | None:
    """Return the frame of both, which are equal."""
    assert one[0] == other[0]
    assert (one[1] and vars(one[1])) == (other[1] and vars(other[1]))
    return one[1]


# --- Asking again --------------------------------------------------------------------------------


def test_nack_generator_asks_again_until_it_comes() -> None:
    """What is missing is asked for at once, and again every NACK_INTERVAL, until it is there; each time thrice."""
    clock = Clock()
    nack = PersistentNackGenerator(clock)
    packets = [frame[0] for frame in stream([1] * 60, 65530)]
    asked = []
    for each in (*packets[:3], *packets[5:50]):
        clock.now += 0.02
        if nack.add(each):
            assert nack.missing == {packets[3].sequence_number, packets[4].sequence_number}
            asked.append(clock.now)
    pauses = np.diff(asked[::REQUESTS])
    assert asked[:REQUESTS] == pytest.approx([100.08, 100.1, 100.12])
    assert len(pauses) >= 5
    assert pauses.min() >= NACK_INTERVAL
    assert pauses.max() <= NACK_INTERVAL + 0.041
    nack.add(packets[3])
    assert list(nack.gaps) == [packets[4].sequence_number]
    nack.add(packets[4])
    for each in packets[50:]:
        clock.now += 1
        assert not nack.add(each)


def test_nack_generator_forgets_what_was_given_up() -> None:
    """After a gap is skipped, its packets are not asked for any more."""
    clock = Clock()
    buffer = MarkerJitterBuffer(clock=clock)
    packets = [frame[0] for frame in stream([1] * 40, 65530)]
    for each in (*packets[:3], *packets[5:20]):
        buffer.nack.add(each)
        take(buffer, each)
    assert len(buffer.nack.gaps) == 2
    clock.now += GAP_PATIENCE + 1
    for each in packets[20:22]:
        buffer.nack.add(each)
        take(buffer, each)
    assert not buffer.nack.gaps


@pytest.mark.parametrize("round_trip", [0.02, 0.1, 0.2])
def test_nack_generator_asks_once_a_round_trip(round_trip: float) -> None:
    """Once it is known how long an answer takes, a packet is asked for as often as one can come, thrice each time."""
    clock = Clock()
    nack = PersistentNackGenerator(clock)
    nack.on_round_trip(round_trip)
    packets = [frame[0] for frame in stream([1] * 2000, 65000)]
    asked = []
    for each in (packets[0], *packets[2:130]):
        clock.now += 0.005
        if nack.add(each):
            asked.append(clock.now)
    said = REQUESTS if round_trip > 0.05 else 2  # 15 ms apart, as packets come every 5
    assert asked[1] - asked[0] > REQUEST_AGAIN
    pauses = np.diff(asked[::said])
    assert pauses.min() >= round_trip
    assert pauses.max() <= 1.25 * round_trip + 0.011


@pytest.mark.parametrize("round_trip", [0, 1e-9, 60.0])
def test_nack_generator_believes_no_absurd_round_trip(round_trip: float) -> None:
    """Neither does it flood the sender, nor does it give up asking."""
    clock = Clock()
    nack = PersistentNackGenerator(clock)
    nack.on_round_trip(round_trip)
    packets = [frame[0] for frame in stream([1] * 120, 1)]
    asked = 0
    for each in (packets[0], *packets[2:102]):
        clock.now += 0.004
        asked += nack.add(each)
    assert 1 <= asked <= 42  # every 10 ms


def count_signs(packets: list[RtpPacket], pause: float = 0.033) -> int:
    """Return how many signs of loss are seen in packets that arrive one after the other."""
    clock, signs = Clock(), []
    nack = PersistentNackGenerator(clock)
    nack.on_loss = lambda: signs.append(clock.now)
    for each in packets:
        clock.now += pause
        nack.add(each)
    return len(signs)


def test_packets_that_the_first_one_overtook_are_asked_for_and_no_sign_of_loss() -> None:
    """Where a stream begins in disorder, what is missing between is asked for, over a wrap too."""
    signs: list[None] = []
    nack = PersistentNackGenerator(Clock())
    nack.on_loss = lambda: signs.append(None)
    assert not nack.add(packet(2, 0, b"", True))
    assert nack.add(packet(65534, 0, b"", True))
    assert nack.missing == {65535, 0, 1}
    assert not nack.add(packet(0, 0, b"", True))
    assert set(nack.gaps) == {65535, 1}
    for number in (65535, 1, 3):
        assert not nack.add(packet(number, 0, b"", True))
    assert not nack.gaps
    assert not signs
    for number in range(4, 2 + MAX_OVERTAKEN):
        nack.add(packet(number, 0, b"", True))
    assert not nack.add(packet(65533, 0, b"", True))
    assert signs  # comes twice, or from nowhere


def test_missing_packet_is_a_sign_of_loss_and_an_overtaken_one_is_none() -> None:
    """What stays away for longer than a detour was lost; what comes a moment later was not."""
    packets = [frame[0] for frame in stream([1] * 50, 65530)]
    assert count_signs(packets) == 0
    assert count_signs([*packets[:9], *packets[10:]]) > 0
    assert count_signs([*packets[:9], packets[10], packets[9], *packets[11:]], pause=0.01) == 0


def test_unasked_copies_are_a_sign_of_loss_and_asked_ones_are_none() -> None:
    """The server sends copies where it knows of loss; what was asked for in vain says nothing."""
    packets = [frame[0] for frame in stream([1] * 50, 65530)]
    assert count_signs([each for packet in packets for each in (packet, packet)]) == 50
    overtaken = [*packets[:9], packets[10], packets[9], packets[11], packets[9], *packets[12:]]
    assert count_signs(overtaken, pause=0.01) == 0


def test_nack_generator_asks_for_each_packet_by_itself() -> None:
    """A new gap is asked for at once, and does not make what was asked for just now be asked for again."""
    clock, step = Clock(), 0.00005
    nack = PersistentNackGenerator(clock)
    packets = [frame[0] for frame in stream([1] * 300, 65500)]
    asked = Counter[int]()
    for index, each in enumerate(packets[:100]):
        clock.now += step
        if index % 3 and nack.add(each):
            asked.update(nack.missing)
    assert set(asked) == {each.sequence_number for each in packets[3:99:3]}
    assert set(asked.values()) == {1}


@pytest.mark.parametrize("jump", [2, 128, 129, 1000, 32767])
def test_nack_generator_asks_only_for_what_can_be_had(jump: int) -> None:
    """A sender remembers 128 packets: what is older is not asked for, however many are missing."""
    nack = PersistentNackGenerator(Clock())
    packet = stream([1], 65500)[0][0]
    nack.add(packet)
    packet.sequence_number = (packet.sequence_number + jump) % 65536
    assert nack.add(packet)
    assert len(nack.missing) == min(jump, 128) - 1
