"""jitter.py: a frame is released when it is whole, in order, once, whatever the network does to its packets."""

import random
from collections import Counter
from collections.abc import Iterable

import numpy as np
import pytest
from aiortc.jitterbuffer import JitterBuffer, JitterFrame
from aiortc.rtp import RtpPacket
from hypothesis import given
from hypothesis import strategies as st

from support.packets import Clock, packet
from transport.jitter import NACK_INTERVAL, PATIENCE, PLI_INTERVAL, MarkerJitterBuffer, PersistentNackGenerator


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
    """After PATIENCE what is missing is given up, a key frame is asked for, and asked for again until it comes."""
    clock = Clock()
    buffer = MarkerJitterBuffer(clock=clock)
    frames = stream([3] * 60, 65500)
    take(buffer, frames[0][0])
    for each in (*frames[0][1:], frames[1][0], frames[1][2]):  # one packet of the second frame never comes
        buffer.add(each)
    buffer.broken = False  # a key frame had come
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
    assert len(released) >= 50 - PATIENCE * 30
    assert PATIENCE < asked[0] <= PATIENCE + 2 / 30
    assert buffer.broken
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
            clock.now += PATIENCE + 0.01
        released += [frame.data for frame in take(buffer, each)[1]]
    whole = [data_of(frame) for frame in frames]
    assert [data for data in released if data not in whole] == []
    assert released == [data for data in whole if data in released]
    assert whole[-2] in released


@pytest.mark.parametrize("length", [1, 2, 3])
@pytest.mark.parametrize("count", [600, 1500])
def test_marker_buffer_survives_more_than_it_can_hold(length: int, count: int) -> None:
    """If a gap lasts longer than the buffer is large it is given up early, and a key frame is asked for."""
    for lost in range(1, 2 * length + 1):
        frames = stream([length] * (count // length), 65000)
        packets = [each for frame in frames for each in frame]
        buffer = MarkerJitterBuffer(clock=Clock())
        results = [take(buffer, each) for each in (*packets[:length], *packets[length + lost :])]
        assert any(wanted for wanted, _ in results)
        released = [frame.data for _, new in results[length:] for frame in new]
        assert released == [data_of(frame) for frame in frames[len(frames) - len(released) :]]
        assert len(released) * length > count - 530


# --- Asking again --------------------------------------------------------------------------------


def test_nack_generator_asks_again_until_it_comes() -> None:
    """What is missing is asked for at once, and again every NACK_INTERVAL, until it is there."""
    clock = Clock()
    nack = PersistentNackGenerator(clock)
    packets = [frame[0] for frame in stream([1] * 60, 65530)]
    asked = []
    for each in (*packets[:3], *packets[5:50]):
        clock.now += 0.02
        if nack.add(each):
            assert nack.missing == {packets[3].sequence_number, packets[4].sequence_number}
            asked.append(clock.now)
    pauses = np.diff(asked)
    assert asked[0] == pytest.approx(100.08)
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
    clock.now += PATIENCE + 1
    for each in packets[20:22]:
        buffer.nack.add(each)
        take(buffer, each)
    assert not buffer.nack.gaps


@pytest.mark.parametrize("round_trip", [0.02, 0.1, 0.2])
def test_nack_generator_asks_once_a_round_trip(round_trip: float) -> None:
    """Once it is known how long the answer takes, a packet is asked for as often as an answer can come."""
    clock = Clock()
    nack = PersistentNackGenerator(clock)
    nack.on_round_trip(round_trip)
    packets = [frame[0] for frame in stream([1] * 2000, 65000)]
    asked = []
    for each in (packets[0], *packets[2:130]):
        clock.now += 0.005
        if nack.add(each):
            asked.append(clock.now)
    pauses = np.diff(asked)
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
    assert 1 <= asked <= 42


def count_signs(packets: list[RtpPacket], pause: float = 0.033) -> int:
    """Return how many signs of loss are seen in packets that arrive one after the other."""
    clock, signs = Clock(), []
    nack = PersistentNackGenerator(clock)
    nack.on_loss = lambda: signs.append(clock.now)
    for each in packets:
        clock.now += pause
        nack.add(each)
    return len(signs)


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
    clock = Clock()
    nack = PersistentNackGenerator(clock)
    packets = [frame[0] for frame in stream([1] * 300, 65500)]
    asked = Counter[int]()
    for index, each in enumerate(packets[:100]):
        clock.now += 0.001
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
