"""jitter.py: a frame is released when it is whole, in order, once, whatever the network does to its packets."""

import logging
import queue
import random
from collections.abc import Iterable
from fractions import Fraction
from types import SimpleNamespace

import av
import numpy as np
import pytest
from aiortc import RTCRtpReceiver
from aiortc.codecs.h264 import H264Encoder, h264_depayload
from aiortc.codecs.vpx import Vp8Encoder, vp8_depayload
from aiortc.jitterbuffer import JitterBuffer, JitterFrame
from aiortc.rtp import RtpPacket
from hypothesis import given
from hypothesis import strategies as st

import jitter
from ball_track import Scene, draw
from encoder import CODECS, create_codec, encode
from jitter import (
    NACK_INTERVAL,
    PATIENCE,
    PLI_INTERVAL,
    MarkerJitterBuffer,
    PersistentNackGenerator,
    _DecoderQueue,
    install,
    is_key_frame,
)

KEY = b"\x10\x00\x00\x9d\x01\x2a"  # how a VP8 key frame begins: frame tag and start code
DELTA = b"\x11\x00\x00"
VP8 = SimpleNamespace(name="VP8")


class Clock:
    """A clock that stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """Return the time, s."""
        return self.now


def packet(number: int, timestamp: int, data: bytes, marker: bool) -> RtpPacket:
    """Return a packet as the receiver hands it to its jitter buffer."""
    made = RtpPacket(sequence_number=number % 65536, timestamp=timestamp % 2**32, marker=int(marker), payload=data)
    made._data = data  # type: ignore[attr-defined]  # set by the receiver: the depayloaded part
    return made


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
    assert nack.missing == {packets[4].sequence_number}
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
    assert len(buffer.nack.missing) == 2
    clock.now += PATIENCE + 1
    for each in packets[20:22]:
        buffer.nack.add(each)
        take(buffer, each)
    assert not buffer.nack.missing


# --- The way to the decoder ----------------------------------------------------------------------


def drain(decoder_queue: "queue.Queue[tuple[object, JitterFrame]]") -> list[tuple[bytes, int]]:
    """Return data and time stamp of all frames in a queue."""
    frames = []
    while not decoder_queue.empty():
        _, frame = decoder_queue.get_nowait()
        frames.append((frame.data, frame.timestamp))
    return frames


def receive(buffer: MarkerJitterBuffer, decoder_queue: _DecoderQueue, arriving: RtpPacket) -> bool:
    """Do what the receiver does with a packet; return whether it asks for a key frame."""
    wanted, frame = buffer.add(arriving)
    if frame is not None:
        frame.timestamp += 7
        decoder_queue.put((VP8, frame))
    return wanted


def test_decoder_queue_puts_in_all_that_is_whole() -> None:
    """When a gap is filled, every frame behind it goes to the decoder at once, its time stamp mapped."""
    buffer = MarkerJitterBuffer(clock=Clock())
    decoder_queue = _DecoderQueue(buffer, lambda timestamp: timestamp + 7)
    data = [KEY + b"\0", *(DELTA + bytes([k]) for k in range(1, 10))]
    packets = [packet(k, 3000 * k, each, marker=True) for k, each in enumerate(data)]
    receive(buffer, decoder_queue, packets[0])
    assert drain(decoder_queue) == [(KEY + b"\0", 7)]
    for each in packets[2:]:
        receive(buffer, decoder_queue, each)
    assert drain(decoder_queue) == []
    receive(buffer, decoder_queue, packets[1])
    assert drain(decoder_queue) == [(each, 3000 * k + 7) for k, each in enumerate(data)][1:]


def test_decoder_queue_hands_on_the_end() -> None:
    """None ends the decoder's thread, behind everything that came before."""
    buffer = MarkerJitterBuffer(clock=Clock())
    decoder_queue = _DecoderQueue(buffer, lambda timestamp: timestamp)
    receive(buffer, decoder_queue, packet(0, 0, KEY + b"\0", marker=True))
    decoder_queue.put(None)
    assert decoder_queue.get_nowait()[1].data == KEY + b"\0"
    assert decoder_queue.get_nowait() is None


def test_decoder_queue_holds_back_until_a_key_frame() -> None:
    """At the start, and after a gap was given up, nothing reaches the decoder before a key frame does."""
    clock = Clock()
    buffer = MarkerJitterBuffer(clock=clock)
    decoder_queue = _DecoderQueue(buffer, lambda timestamp: timestamp + 7)
    kinds = [DELTA, KEY, DELTA, DELTA, DELTA, DELTA, DELTA, KEY, DELTA]
    lost = 3
    asked = []
    for k, kind in enumerate(kinds):
        if k != lost:
            clock.now += PATIENCE / 2 + 0.01
            asked += [k] * receive(buffer, decoder_queue, packet(k, 3000 * k, kind + bytes([k]), marker=True))
    assert [timestamp for _, timestamp in drain(decoder_queue)] == [3000 * k + 7 for k in (1, 2, 7, 8)]
    assert any(k > lost for k in asked)


# --- Key frames ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CODECS)
def test_is_key_frame_knows_ours(name: str) -> None:
    """Of the frames that our encoder makes, those that were to be key frames are, and no other."""
    scene = Scene(320, 240)
    codec = create_codec(name, scene.width, scene.height, scene.fps, 500_000)
    wanted = [k in (0, 7, 20) for k in range(30)]
    encoded = [encode(codec, k, draw(scene, scene.position(k)), key) for k, key in enumerate(wanted)]
    assert [is_key_frame(name.upper(), data) for data in encoded] == wanted


@pytest.mark.parametrize(
    ("name", "encoder", "depayload"),
    [("VP8", Vp8Encoder, vp8_depayload), ("H264", H264Encoder, h264_depayload)],
)
def test_is_key_frame_knows_aiortcs(name: str, encoder: type, depayload: "type") -> None:
    """So it is with aiortc's encoders, after packetisation."""
    scene, made = Scene(320, 240), encoder()
    wanted = [k in (0, 9) for k in range(20)]
    for k, key in enumerate(wanted):
        frame = av.VideoFrame.from_ndarray(draw(scene, scene.position(k)), format="yuv420p")
        frame.pts, frame.time_base = 3000 * k, Fraction(1, 90000)
        payloads, _ = made.encode(frame, force_keyframe=key)
        assert is_key_frame(name, b"".join(depayload(payload) for payload in payloads)) == key


@given(st.binary(max_size=40))
def test_is_key_frame_takes_any_bytes(data: bytes) -> None:
    """No data is too short or too strange; of an unknown codec each frame is taken on trust."""
    assert is_key_frame("vp8", data) in (True, False)
    assert is_key_frame("h264", data) in (True, False)
    assert is_key_frame("AV1", data)
    assert not is_key_frame("VP8", KEY[:6])
    assert is_key_frame("VP8", KEY + b"\0" + data)


# --- Installing ----------------------------------------------------------------------------------

PRIVATE = "_RTCRtpReceiver__"


class Transport:
    """What RTCRtpReceiver asks of its transport when it is made."""

    state = "new"


async def test_install_gives_a_real_receiver_the_buffer(caplog: pytest.LogCaptureFixture) -> None:
    """The receiver of aiortc, as it is, takes it, and its parts belong together."""
    receiver = RTCRtpReceiver("video", Transport())  # type: ignore[arg-type]  # never connected
    assert install(receiver)
    buffer = getattr(receiver, f"{PRIVATE}jitter_buffer")
    assert isinstance(buffer, MarkerJitterBuffer)
    assert getattr(receiver, f"{PRIVATE}nack_generator") is buffer.nack
    decoder_queue = getattr(receiver, f"{PRIVATE}decoder_queue")
    assert isinstance(decoder_queue, _DecoderQueue)
    assert decoder_queue._buffer is buffer
    assert not caplog.records


@pytest.mark.parametrize(
    "name", ["jitter_buffer", "nack_generator", "decoder_queue", "timestamp_mapper", "decoder_thread"]
)
@pytest.mark.parametrize("fault", ["missing", "other"])
async def test_install_falls_back_with_one_warning(name: str, fault: str, caplog: pytest.LogCaptureFixture) -> None:
    """If a private name is gone, or is something else, the receiver stays as it was, and that is said once."""
    receiver = RTCRtpReceiver("video", Transport())  # type: ignore[arg-type]  # never connected
    if fault == "missing":
        delattr(receiver, PRIVATE + name)
    else:
        setattr(receiver, PRIVATE + name, SimpleNamespace(map=None))
    before = dict(vars(receiver))
    assert not install(receiver)
    assert vars(receiver) == before
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


async def test_install_leaves_an_audio_receiver_alone(caplog: pytest.LogCaptureFixture) -> None:
    """Audio has neither marker bits that end frames nor NACK."""
    receiver = RTCRtpReceiver("audio", Transport())  # type: ignore[arg-type]  # never connected
    assert not install(receiver)
    assert type(getattr(receiver, f"{PRIVATE}jitter_buffer")) is JitterBuffer
    assert jitter.logger.name in {record.name for record in caplog.records}
