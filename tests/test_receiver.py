"""receiver.py: whole frames become pictures, in order, and only those that can."""

import asyncio
import itertools
import logging
import math
import time
from fractions import Fraction
from types import SimpleNamespace

import av
import pytest
from aiortc import RTCRtpReceiver
from aiortc.codecs.h264 import H264Encoder, h264_depayload
from aiortc.codecs.vpx import Vp8Encoder, vp8_depayload
from aiortc.jitterbuffer import JitterBuffer
from aiortc.rtcrtpreceiver import RemoteStreamTrack
from aiortc.rtp import RtpPacket
from hypothesis import given
from hypothesis import strategies as st

from ball_track import Scene, draw
from film.video_encoder import CODECS, create_codec, encode
from support.packets import Clock, packet
from transport import receiver
from transport.jitter import GAP_PATIENCE, Continuity, MarkerJitterBuffer
from transport.receiver import MAX_UNDECODED, SHORT, Decoding, install, is_key_frame

SCENE = Scene(64, 64, radius=10)
KEY = b"\x10\x00\x00\x9d\x01\x2a"  # how a VP8 key frame begins: frame tag and start code
DEADLINE = 120.0  # s


@pytest.fixture(autouse=True)
def every_picture_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every picture be decoded in the event loop, however busy this machine is."""
    monkeypatch.setattr(receiver, "SHORT", math.inf)


def encode_film(codec: str, count: int, keys: tuple[int, ...] = (0,)) -> list[bytes]:
    """Return encoded frames, the given ones of them key frames."""
    made = create_codec(codec, SCENE.width, SCENE.height, SCENE.fps, 500_000)
    return [encode(made, k, draw(SCENE, SCENE.position(k)), k in keys) for k in range(count)]


class Receiving:
    """A jitter buffer and the decoding behind it, fed as aiortc's receiver does it."""

    def __init__(self, codec: str = "vp8") -> None:
        self.clock = Clock()
        self.buffer = MarkerJitterBuffer(clock=self.clock)
        self.pictures: asyncio.Queue[av.VideoFrame] = asyncio.Queue()
        self.decoding = Decoding(self.buffer, lambda timestamp: timestamp + 7, self.pictures)
        self._codec = SimpleNamespace(name=codec.upper())

    def take(self, k: int, data: bytes) -> bool:
        """Take frame k in one packet; return whether a key frame is asked for."""
        return self.add(packet(k, 3000 * k, data, marker=True))

    def add(self, arriving: RtpPacket) -> bool:
        """Take a packet; return whether a key frame is asked for."""
        wanted, frame = self.buffer.add(arriving)
        if frame is not None:
            frame.timestamp += 7
            self.decoding.put((self._codec, frame))
        return wanted

    def shown(self) -> list[int]:
        """Return the numbers of the pictures that have come out since the last time."""
        numbers = []
        while not self.pictures.empty():
            pts = self.pictures.get_nowait().pts
            assert pts is not None
            assert pts % 3000 == 7
            numbers.append(pts // 3000)
        return numbers


# --- Decoding ------------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", CODECS)
async def test_decoding_shows_a_frame_as_soon_as_it_is_whole(codec: str) -> None:
    """Each frame gives its picture at once; when a gap is filled, so does every frame behind it."""
    film, receiving = encode_film(codec, 10), Receiving(codec)
    receiving.take(0, film[0])
    receiving.take(1, film[1])
    assert receiving.shown() == [0, 1]
    for k in range(3, 10):
        receiving.take(k, film[k])
    assert receiving.shown() == []
    receiving.take(2, film[2])
    assert receiving.shown() == list(range(2, 10))


@pytest.mark.parametrize("codec", CODECS)
async def test_decoding_shows_a_film_that_begins_in_disorder(codec: str) -> None:
    """In whatever order the first key frame's packets come, nothing is missed, and no part is taken for the whole."""
    film = encode_film(codec, 4)
    parts = [b"\0\0\1" + unit for unit in film[0].split(b"\0\0\1")[1:]] if codec == "h264" else [
        film[0][:5], film[0][5:9], film[0][9:],
    ]  # fmt: skip
    assert len(parts) >= 3
    packets = [packet(n, 0, part, marker=n == len(parts) - 1) for n, part in enumerate(parts)]
    for order in itertools.permutations(packets):
        receiving = Receiving(codec)
        for each in order:
            receiving.add(each)
        for k in range(1, 4):
            receiving.add(packet(len(parts) - 1 + k, 3000 * k, film[k], marker=True))
        assert receiving.shown() == [0, 1, 2, 3]


async def test_decoding_hands_on_the_end() -> None:
    """None goes to aiortc's thread, which ends the track by it, and nothing else does."""
    film, receiving = encode_film("vp8", 1), Receiving()
    receiving.take(0, film[0])
    receiving.decoding.put(None)
    assert receiving.decoding.get_nowait() is None
    assert receiving.decoding.empty()


async def test_decoding_leaves_codecs_it_does_not_know_to_aiortc() -> None:
    """A frame of another codec goes into the queue to aiortc's decoder."""
    receiving = Receiving("AV1")
    receiving.take(0, b"anything")
    codec, frame = receiving.decoding.get_nowait()
    assert (codec.name, frame.data, frame.timestamp) == ("AV1", b"anything", 7)


async def test_decoding_holds_back_until_a_key_frame() -> None:
    """At the start, and after a gap was given up, nothing is shown before a key frame is."""
    film, receiving = encode_film("vp8", 9, keys=(0, 1, 7)), Receiving()
    lost = 3
    asked = []
    for k in range(1, 9):
        if k != lost:
            receiving.clock.now += GAP_PATIENCE / 2 + 0.01
            asked += [k] * receiving.take(k, film[k])
    assert receiving.shown() == [1, 2, 7, 8]
    assert any(k > lost for k in asked)
    late = Receiving()
    late.take(5, film[5])
    late.take(6, film[6])
    assert late.shown() == []


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("damage", [b"", b"\x00" * 40, b"\xff" * 40, KEY + b"\xff" * 40], ids=["none", "0", "1", "key"])
async def test_decoding_survives_what_is_no_frame(codec: str, damage: bytes) -> None:
    """Whatever takes a frame's place, at the latest the next key frame is shown, and all after it."""
    film, receiving = encode_film(codec, 20, keys=(0, 10)), Receiving(codec)
    for k, data in enumerate(film):
        receiving.take(k, damage if k == 5 else data)
    shown = receiving.shown()
    assert shown[:5] == list(range(5))
    assert shown[-10:] == list(range(10, 20))


async def test_decoding_asks_for_a_key_frame_after_one_that_failed() -> None:
    """A frame that cannot be decoded is a picture that is lost."""
    film, receiving = encode_film("vp8", 20), Receiving()
    asked = []
    for k, data in enumerate(film):
        receiving.clock.now += 1 / 30
        asked += [k] * receiving.take(k, KEY + b"\xff" * 40 if k == 5 else data)
    assert receiving.shown() == list(range(5))
    assert asked
    assert min(asked) > 5


class SlowDecoder:
    """A decoder that takes its time, one after the other of some, s; the last one again and again."""

    def __init__(self, *pauses: float) -> None:
        self._pauses = list(pauses)

    def decode(self, data: "av.Packet[av.VideoStream]") -> list[av.VideoFrame]:
        """Return a picture."""
        time.sleep(self._pauses.pop(0) if len(self._pauses) > 1 else self._pauses[0])
        picture = av.VideoFrame(64, 64, "yuv420p")
        picture.pts = data.pts
        return [picture]


def decode_slowly(monkeypatch: pytest.MonkeyPatch, *pauses: float) -> None:
    """Let every decoder take its time, and what takes longer than SHORT go to the thread."""
    monkeypatch.setattr(receiver, "SHORT", SHORT)
    monkeypatch.setattr(receiver, "create_decoder", lambda _: SlowDecoder(*pauses))


async def test_decoding_moves_what_takes_long_to_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pictures still come in order, and the event loop has no part in more than the first."""
    decode_slowly(monkeypatch, 3 * SHORT)
    receiving = Receiving()
    for k in range(8):
        receiving.take(k, KEY + b"\0")
    assert receiving.shown() == [0]
    async with asyncio.timeout(DEADLINE):
        later = [await receiving.pictures.get() for _ in range(7)]
    assert [picture.pts for picture in later] == [3000 * k + 7 for k in range(1, 8)]


async def test_decoding_keeps_the_order_when_it_gets_quick_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quick picture does not overtake a slow one that the thread still has."""
    decode_slowly(monkeypatch, 3 * SHORT, 0, 0.3, 0)
    receiving = Receiving()
    for k in range(3):
        receiving.take(k, KEY + b"\0")
    async with asyncio.timeout(DEADLINE):
        shown = [(await receiving.pictures.get()).pts for _ in range(2)]
        receiving.take(3, KEY + b"\0")
        shown += [(await receiving.pictures.get()).pts for _ in range(2)]
    assert shown == [3000 * k + 7 for k in range(4)]


async def test_decoding_that_falls_behind_goes_on_at_a_key_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits is bounded: then the picture stands still until the next key frame."""
    decode_slowly(monkeypatch, 2 * SHORT)
    receiving, delta = Receiving(), b"\x11\x00\x00"
    for k in range(100):
        receiving.take(k, delta if k else KEY + b"\0")
    assert receiving.buffer.continuity is Continuity.BROKEN
    async with asyncio.timeout(DEADLINE):
        shown = [(await receiving.pictures.get()).pts for _ in range(MAX_UNDECODED + 2)]
        receiving.take(100, KEY + b"\0")
        receiving.take(101, delta)
        shown += [(await receiving.pictures.get()).pts for _ in range(2)]
    assert shown == [3000 * k + 7 for k in (*range(MAX_UNDECODED + 2), 100, 101)]


async def test_decoding_that_fails_in_the_thread_waits_for_a_key_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread tells the event loop, and nothing is decoded until a key frame comes."""
    monkeypatch.setattr(receiver, "SHORT", -1.0)
    film, receiving, lost = encode_film("vp8", 4, keys=(0, 3)), Receiving(), asyncio.Event()
    take_note = receiving.buffer.on_frame_lost

    def take_note_and_tell() -> None:
        take_note()
        lost.set()

    monkeypatch.setattr(receiving.buffer, "on_frame_lost", take_note_and_tell)
    receiving.take(0, film[0])
    receiving.take(1, KEY + b"\xff" * 40)
    async with asyncio.timeout(DEADLINE):
        await lost.wait()
        assert receiving.buffer.continuity is Continuity.BROKEN
        receiving.take(2, film[2])
        receiving.take(3, film[3])
        shown = [(await receiving.pictures.get()).pts for _ in range(2)]
    assert shown == [7, 3000 * 3 + 7]


async def test_decoding_ends_while_its_thread_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end waits for nobody."""
    decode_slowly(monkeypatch, 0.1)
    receiving = Receiving()
    for k in range(5):
        receiving.take(k, KEY + b"\0")
    receiving.decoding.put(None)
    assert receiving.decoding.get_nowait() is None
    await asyncio.sleep(0)


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
    assert not is_key_frame("VP8", KEY)
    assert is_key_frame("VP8", KEY + b"\0" + data)


# --- Installing ----------------------------------------------------------------------------------

PRIVATE = "_RTCRtpReceiver__"


class Transport:
    """What RTCRtpReceiver asks of its transport when it is made."""

    state = "new"


def make_receiver(kind: str = "video") -> RTCRtpReceiver:
    """Return a receiver with its track, as a connection makes them."""
    made = RTCRtpReceiver(kind, Transport())  # type: ignore[arg-type]  # never connected
    made._track = RemoteStreamTrack(kind=kind)
    return made


async def test_install_gives_a_real_receiver_the_buffer(caplog: pytest.LogCaptureFixture) -> None:
    """The receiver of aiortc, as it is, takes it, and its parts belong together."""
    made = make_receiver()
    assert install(made)
    buffer = getattr(made, f"{PRIVATE}jitter_buffer")
    assert isinstance(buffer, MarkerJitterBuffer)
    assert getattr(made, f"{PRIVATE}nack_generator") is buffer.nack
    decoding = getattr(made, f"{PRIVATE}decoder_queue")
    assert isinstance(decoding, Decoding)
    assert decoding._buffer is buffer
    assert decoding._pictures is made.track._queue  # type: ignore[attr-defined]  # a RemoteStreamTrack's
    assert not caplog.records


@pytest.mark.parametrize(
    "name", ["jitter_buffer", "nack_generator", "decoder_queue", "timestamp_mapper", "decoder_thread", "track"]
)
@pytest.mark.parametrize("fault", ["missing", "other"])
async def test_install_falls_back_with_one_warning(name: str, fault: str, caplog: pytest.LogCaptureFixture) -> None:
    """If a private name is gone, or is something else, the receiver stays as it was, and that is said once."""
    made = make_receiver()
    private = "_track" if name == "track" else PRIVATE + name
    if fault == "missing":
        delattr(made, private)
    else:
        setattr(made, private, SimpleNamespace(map=None, _queue=None))
    before = dict(vars(made))
    assert not install(made)
    assert vars(made) == before
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


async def test_install_falls_back_where_packets_are_not_noted_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A receiver that keeps a packet's part of the frame elsewhere than on the packet keeps its own buffer."""

    async def handle(_: RTCRtpReceiver, packet: object, arrival_time_ms: int) -> None:
        """Handle it otherwise."""

    monkeypatch.setattr(RTCRtpReceiver, "_handle_rtp_packet", handle)
    assert not install(make_receiver())
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


async def test_install_leaves_an_audio_receiver_alone(caplog: pytest.LogCaptureFixture) -> None:
    """Audio has neither marker bits that end frames nor NACK."""
    made = make_receiver("audio")
    assert not install(made)
    assert type(getattr(made, f"{PRIVATE}jitter_buffer")) is JitterBuffer
    assert "not built as expected" in caplog.text
