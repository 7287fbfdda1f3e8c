"""video_encoder.py: one encode for all, and a decoder that joins anywhere decodes everything from its key frame on."""

import asyncio
import itertools
import math
import threading
from collections.abc import Callable
from typing import Any

import av
import numpy as np
import pytest
from av.video.codeccontext import VideoCodecContext

from ball_track import Image, Scene, find
from film import video_encoder as encoder
from film.drawn import Film, FilmError, Shot
from film.video_encoder import (
    CODECS,
    DEFAULT_BITRATE,
    KEPT_ENCODED,
    KEY_FRAME_INTERVAL,
    Encoded,
    Rate,
    SharedEncoder,
    create_codec,
    encode,
)
from support.reel import Reel, image_of
from transport.receiver import is_key_frame

SCENE = Scene(320, 240, fps=30)
DEADLINE = 120.0  # s


def create_decoder(codec: str) -> VideoCodecContext:
    """Return a decoder that gives each frame at once."""
    decoder = av.CodecContext.create(codec, "r")
    assert isinstance(decoder, VideoCodecContext)
    decoder.thread_count = 1
    decoder.flags |= av.codec.context.Flags.low_delay
    return decoder


def decode(decoder: VideoCodecContext, data: bytes) -> list[Image]:
    """Return the images that come of one encoded frame."""
    frames = decoder.decode(av.Packet(data))
    return [np.asarray(frame.to_ndarray(format="yuv420p"), np.uint8) for frame in frames]


async def collect(shared: SharedEncoder, count: int, after: int = -1) -> list[Encoded]:
    """Return so many frames, as one client gets them."""
    frames = []
    async with asyncio.timeout(DEADLINE):
        for _ in range(count):
            frames.append(await shared.next(after))
            after = frames[-1].number
    return frames


@pytest.fixture(params=CODECS)
def codec(request: pytest.FixtureRequest) -> str:
    """Return the name of each codec in turn."""
    return str(request.param)


@pytest.mark.parametrize("size", [(64, 64), (642, 482), (1280, 720)])
def test_encode_makes_one_decodable_frame_of_each_image(codec: str, size: tuple[int, int]) -> None:
    """No frame is kept back or left out, and each shows the ball where it was in that very image."""
    scene = Scene(*size, radius=20)
    coder, decoder = create_codec(codec, *size, scene.fps, 2_000_000), create_decoder(codec)
    seen: list[Image] = []
    for k in range(20):
        data = encode(coder, k, image_of(scene, k), key=k == 0)
        assert data
        seen += decode(decoder, data)
        assert len(seen) >= k  # ffmpeg's H.264 decoder may keep one
    for k, image in enumerate(seen):
        point = find(image)
        assert point is not None
        assert math.dist(point, scene.position(k)) < 1


def test_encode_makes_key_frames_only_when_asked(codec: str) -> None:
    """Over hundreds of frames the key frames are those that were to be ones."""
    coder = create_codec(codec, 64, 64, 30, DEFAULT_BITRATE)
    scene = Scene(64, 64, radius=10, speed=100)
    keys = [k for k in range(400) if is_key_frame(codec.upper(), encode(coder, k, image_of(scene, k), k in (0, 150)))]
    assert keys == [0, 150]


@pytest.mark.parametrize("fps", [1, 23.976, 29.97, 30, 240])
def test_create_codec_takes_every_rate(codec: str, fps: float) -> None:
    """Frame rates that are no whole numbers are rates as well."""
    coder = create_codec(codec, 64, 64, fps, DEFAULT_BITRATE)
    assert float(coder.framerate) == pytest.approx(fps, rel=1e-4)
    assert encode(coder, 0, image_of(Scene(64, 64, radius=10, speed=0), 0), key=True)


async def test_next_gives_everything_from_a_key_frame_on(codec: str) -> None:
    """The first frame is a key frame, none is left out, and a decoder decodes them all."""
    shared = SharedEncoder(Reel(SCENE), codec, DEFAULT_BITRATE)
    frames = await collect(shared, 40)
    await shared.close()
    assert [frame.number for frame in frames] == list(range(40))
    assert [frame.shot.k for frame in frames] == list(range(40))
    assert [frame.key for frame in frames] == [True] + [False] * 39
    decoder = create_decoder(codec)
    assert sum(len(decode(decoder, frame.data)) for frame in frames) >= 39


async def test_next_gives_one_who_joins_a_key_frame(codec: str) -> None:
    """One who comes later begins with a key frame; one who is there already goes on without a gap."""
    shared = SharedEncoder(Reel(SCENE), codec, DEFAULT_BITRATE)
    before = await collect(shared, 20)
    old, new = await asyncio.gather(collect(shared, 30, before[-1].number), collect(shared, 20))
    await shared.close()
    assert [frame.number for frame in old] == list(range(20, 50))
    assert new[0].key
    assert new[0].number >= 20
    assert [frame.number for frame in new] == list(range(new[0].number, new[0].number + 20))
    decoder = create_decoder(codec)
    seen = [image for frame in new for image in decode(decoder, frame.data)]
    assert len(seen) >= 19
    point = find(seen[0])
    truth = new[0].shot.truth
    assert point is not None
    assert truth is not None
    assert math.dist(point, truth) < 1


async def test_key_frames_keep_their_distance() -> None:
    """However often one is asked for there are at most five a second; one that was asked for does come."""
    shared = SharedEncoder(Reel(SCENE), "vp8", DEFAULT_BITRATE)
    keys, after = [], -1
    for _ in range(100):
        shared.ask_for_key_frame()
        frame = await shared.next(after)
        after = frame.number
        keys += [frame.shot.drawn] * frame.key
    await shared.close()
    pauses = np.diff(keys)
    assert pauses.min() >= KEY_FRAME_INTERVAL - 1e-9
    assert pauses.max() <= KEY_FRAME_INTERVAL + 1.5 / SCENE.fps


async def test_next_lets_one_who_falls_behind_go_on_at_a_key_frame() -> None:
    """A frame that is not kept any more cannot be made up for: the next one is a key frame."""
    shared = SharedEncoder(Reel(SCENE), "vp8", DEFAULT_BITRATE)
    frames = await collect(shared, 20)
    for behind in range(1, KEPT_ENCODED + 1):
        assert (await shared.next(frames[-1 - behind].number)) is frames[-behind]
    fast, slow = await asyncio.gather(collect(shared, 10, 19), collect(shared, 3, 19 - KEPT_ENCODED - 1))
    await shared.close()
    assert [frame.number for frame in fast] == list(range(20, 30))
    assert slow[0].key
    assert slow[0].number >= 20


async def test_next_gives_one_who_begins_anew_the_newest_key_frame() -> None:
    """One who was kept waiting goes on at a key frame that it has not had, though what it lacks is still there."""
    shared = SharedEncoder(Reel(SCENE), "vp8", DEFAULT_BITRATE)
    frames = await collect(shared, 20)
    first = await shared.next(frames[-2].number, anew=True)
    again = await shared.next(first.number, anew=True)
    await shared.close()
    assert first.key
    assert again.key
    assert frames[-1].number < first.number < again.number


async def test_next_encodes_once_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any number of clients get the very same frames, each encoded once."""
    encoded = []

    def counted(codec: VideoCodecContext, k: int, image: Image, key: bool) -> bytes:
        encoded.append(k)
        return encode(codec, k, image, key)

    monkeypatch.setattr(encoder, "encode", counted)
    shared = SharedEncoder(Reel(SCENE), "vp8", DEFAULT_BITRATE)
    clients = await asyncio.gather(*(collect(shared, 30) for _ in range(5)))
    await shared.close()
    assert encoded == list(range(30))
    for frames in clients:
        assert all(one is other for one, other in zip(frames, clients[0], strict=True))


async def test_next_may_be_cancelled_without_the_others() -> None:
    """A client that leaves while it waits takes nothing from the ones that stay, nor from one that comes."""
    shared = SharedEncoder(Reel(SCENE), "vp8", DEFAULT_BITRATE)
    await collect(shared, 5)
    staying = asyncio.create_task(collect(shared, 20, 4))
    for _ in range(10):
        leaving = asyncio.create_task(shared.next(4))
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.wait([leaving])
    assert [frame.number for frame in await staying] == list(range(5, 25))
    assert (await collect(shared, 1))[0].key
    await shared.close()


async def test_frames_are_left_out_where_that_is_wanted(codec: str) -> None:
    """Of every three frames one is encoded, and none is missed by those who ask."""
    film = Reel(SCENE)
    shared = SharedEncoder(film, codec, 100_000, narrow=True, every=3)
    frames = await collect(shared, 30)
    steps = [after.shot.k - before.shot.k for before, after in itertools.pairwise(frames)]
    assert steps == [3] * 29
    assert [frame.number for frame in frames] == list(range(30))
    await shared.close()


async def test_next_shows_a_later_frame_than_one_has_from_elsewhere(codec: str) -> None:
    """Who comes from another encoder gets a key frame, and of a frame of the film that it has not had."""
    film = Film(SCENE)
    one, other = (SharedEncoder(film, codec, bitrate) for bitrate in (DEFAULT_BITRATE, 100_000))
    had = await collect(one, 5)
    async with asyncio.timeout(DEADLINE):
        first = await other.next(-1, shown=had[-1].shot.k)
        second = await other.next(first.number)
        back = await one.next(-1, shown=second.shot.k)
    assert [each.key for each in (first, second, back)] == [True, False, True]
    assert had[-1].shot.k < first.shot.k < second.shot.k < back.shot.k
    await one.close()
    await other.close()


@pytest.mark.parametrize("turns", [1, 2], ids=["before it has begun", "in the middle"])
async def test_close_ends_the_encode_that_is_under_way(turns: int) -> None:
    """Closed whenever it may be, and twice, it waits for nobody and leaves nothing behind."""
    slow = Film(Scene(64, 64, fps=1, radius=10, speed=10))
    shared = SharedEncoder(slow, "vp8", DEFAULT_BITRATE)
    await collect(shared, 1)
    waiting = asyncio.create_task(shared.next(0))
    for _ in range(turns):
        await asyncio.sleep(0)
    async with asyncio.timeout(DEADLINE):
        await shared.close()
        await asyncio.wait([waiting])
    assert waiting.cancelled()
    await shared.close()
    assert not any(thread.is_alive() for thread in shared._thread._threads)


async def test_a_film_that_ends_is_told_to_all_who_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of those who wait for a frame learns why there is none, and so does one who asks later."""
    film, asked = Reel(SCENE), asyncio.Event()

    async def end(after: int) -> Shot:  # as a film has it
        await asked.wait()
        raise FilmError("no more")

    monkeypatch.setattr(film, "next", end)
    shared = SharedEncoder(film, "vp8", DEFAULT_BITRATE)
    waiting = [asyncio.create_task(shared.next(-1)) for _ in range(3)]
    await asyncio.sleep(0)
    waiting.pop().cancel()
    asked.set()
    for each in waiting:
        with pytest.raises(FilmError, match="no more"):
            await each
    with pytest.raises(FilmError, match="no more"):
        await shared.next(-1)
    await shared.close()


async def test_time_on_the_way_to_the_thread_is_no_time_to_encode(monkeypatch: pytest.MonkeyPatch) -> None:
    """A frame that is quickly encoded is encoded in the event loop, however long the one before it had to wait."""
    now, threads = [0.0], []
    encode, execute = encoder.encode, asyncio.get_running_loop().run_in_executor

    def noting(*args: Any) -> bytes:
        threads.append(threading.current_thread())
        return encode(*args)

    async def late(*args: Any) -> Any:
        done = await execute(*args)
        now[0] += 1.0
        return done

    monkeypatch.setattr(encoder, "encode", noting)
    monkeypatch.setattr(asyncio.get_running_loop(), "run_in_executor", late)
    shared = SharedEncoder(Reel(SCENE, lambda: now[0]), "vp8", DEFAULT_BITRATE)
    await collect(shared, 3)
    await shared.close()
    assert threads[0] is not threading.main_thread()
    assert threads[1:] == [threading.main_thread()] * 2


async def test_close_before_anything_is_harmless() -> None:
    """One that never encoded a frame can be closed, too."""
    shared = SharedEncoder(Reel(SCENE), "h264", DEFAULT_BITRATE)
    await shared.close()
    await shared.close()


async def test_codec_is_never_made_in_the_event_loop(codec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not at the start and not after a failure: a large one takes 30 ms and more, and everybody's frames wait."""
    threads: list[threading.Thread] = []

    def create(*args: Any, **options: Any) -> VideoCodecContext:
        threads.append(threading.current_thread())
        return create_codec(*args, **options)

    monkeypatch.setattr(encoder, "create_codec", create)
    failing(monkeypatch, lambda k: k == 3)
    shared = SharedEncoder(Reel(SCENE), codec, DEFAULT_BITRATE)
    assert not threads
    await collect(shared, 8)
    await shared.close()
    assert len(threads) == 2
    assert threading.current_thread() not in threads


async def test_frame_is_not_drawn_before_there_is_a_codec(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long it takes to make one, the first frame is as fresh as any."""
    done = threading.Event()

    def create(*args: Any, **options: Any) -> VideoCodecContext:
        done.wait(DEADLINE)
        return create_codec(*args, **options)

    monkeypatch.setattr(encoder, "create_codec", create)
    asked = asyncio.Event()

    class Told(Reel):
        async def next(self, after: int) -> Shot:
            asked.set()
            return await super().next(after)

    shared = SharedEncoder(Told(SCENE), "vp8", DEFAULT_BITRATE)
    waiting = asyncio.create_task(collect(shared, 1))
    for _ in range(20):
        await asyncio.sleep(0.001)  # for what must not happen
    assert not asked.is_set()
    done.set()
    (frame,) = await waiting
    assert frame.key
    await shared.close()


async def test_others_go_on_while_an_encoder_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the encoder is busy with when it is closed is waited for, but not by the event loop."""
    busy, go_on = threading.Event(), threading.Event()

    def encode_slowly(*args: Any) -> bytes:
        busy.set()
        go_on.wait(DEADLINE)
        return encode(*args)

    monkeypatch.setattr(encoder, "encode", encode_slowly)
    shared = SharedEncoder(Reel(SCENE), "vp8", DEFAULT_BITRATE)
    waiting = asyncio.create_task(shared.next(-1))
    await asyncio.to_thread(busy.wait, DEADLINE)
    closing = asyncio.create_task(shared.close())
    for _ in range(5):
        await asyncio.sleep(0.001)
    assert not closing.done()  # and we are here to say so
    go_on.set()
    async with asyncio.timeout(DEADLINE):
        await asyncio.wait([closing, waiting])
    closing.result()


# --- What goes wrong -----------------------------------------------------------------------------


def failing(monkeypatch: pytest.MonkeyPatch, bad: Callable[[int], bool]) -> None:
    """Let the encoding of some frames fail."""

    def encode_or_fail(codec: VideoCodecContext, k: int, image: Image, key: bool) -> bytes:
        if bad(k):
            raise av.FFmpegError(-1, "no ink")
        return encode(codec, k, image, key)

    monkeypatch.setattr(encoder, "encode", encode_or_fail)


@pytest.mark.parametrize("bad", [{0}, {1}, {7, 8}])
async def test_a_frame_that_cannot_be_encoded_is_gone_over(
    codec: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, bad: set[int]
) -> None:
    """An encoder that raises costs that frame and a line; what comes next is a key frame, and all of it decodes."""
    failing(monkeypatch, bad.__contains__)
    shared = SharedEncoder(Reel(SCENE), codec, DEFAULT_BITRATE)
    frames = await collect(shared, 20)
    await shared.close()
    assert [frame.shot.k for frame in frames] == [k for k in range(20 + len(bad)) if k not in bad]
    assert next(frame for frame in frames if frame.shot.k > max(bad)).key
    decoder = create_decoder(codec)
    for frame in frames:
        (image,) = decode(decoder, frame.data)
        found = find(image)
        assert found is not None
        assert math.dist(found, SCENE.position(frame.shot.k)) < 0.5
    assert caplog.text.count("cannot be encoded") == len(bad)
    assert not shared.stalled


async def test_an_encoder_that_always_fails_ends_the_film(codec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a few frames in a row everybody who asks is told that there are no more, and the encoder says stalled."""
    failing(monkeypatch, lambda k: k > 3)
    shared = SharedEncoder(Reel(SCENE), codec, DEFAULT_BITRATE)
    frames = await collect(shared, 4)
    for ended in await asyncio.gather(*(shared.next(frames[-1].number) for _ in range(3)), return_exceptions=True):
        assert isinstance(ended, FilmError)
        assert "5 frames in a row cannot be encoded: " in str(ended)
        assert "no ink" in str(ended)
    assert shared.stalled
    await shared.close()


async def test_an_encoder_is_stalled_while_the_film_stands_still() -> None:
    """Who asks for a frame for longer than a few seconds is let down; nobody who asks for none is."""
    now = 0.0
    reel = Reel(SCENE, lambda: now)
    shared = SharedEncoder(reel, "vp8", DEFAULT_BITRATE)
    await collect(shared, 1)
    now = 100.0
    assert not shared.stalled

    async def stand_still(after: int) -> Shot:
        await asyncio.Event().wait()
        raise AssertionError(after)

    reel.next = stand_still  # type: ignore[method-assign]
    asking = asyncio.create_task(shared.next(0))
    await asyncio.sleep(0)
    assert not shared.stalled
    now = 106.0
    assert shared.stalled
    asking.cancel()
    await asyncio.wait([asking])
    assert not shared.stalled
    await shared.close()


class Noise(Reel):
    """A film of camera noise, which no bit rate is enough for."""

    async def next(self, after: int) -> Shot:
        """Return the next frame."""
        shot = await super().next(after)
        return shot._replace(image=np.random.default_rng(shot.k).integers(0, 256, shot.image.shape, np.uint8))


async def test_encoder_goes_coarser_where_the_rate_does_not_do(codec: str) -> None:
    """A film that is too much for its rate costs less at once, without a gap, and is decoded from there on."""
    sharp = create_codec(codec, SCENE.width, SCENE.height, SCENE.fps, DEFAULT_BITRATE)
    noise = Noise(SCENE)
    at_most = [len(encode(sharp, k, (await noise.next(k - 1)).image, k == 0)) for k in range(20)]
    shared = SharedEncoder(Noise(SCENE), codec, DEFAULT_BITRATE)
    frames = await collect(shared, 20)
    await shared.close()
    assert [frame.number for frame in frames] == list(range(20))
    assert [frame.key for frame in frames] == [True] + [False] * 19
    assert sum(len(frame.data) for frame in frames) < 0.5 * sum(at_most)
    decoder = create_decoder(codec)
    assert sum(len(decode(decoder, frame.data)) for frame in frames) == 20


async def test_encoder_goes_coarser_at_a_key_frame(codec: str) -> None:
    """Where the rate ceases to do in the middle of the film, the frame that is too much is a key frame."""
    shared = SharedEncoder(Reel(SCENE), codec, DEFAULT_BITRATE)
    before = await collect(shared, 10)
    shared._film = Noise(SCENE)
    after = await collect(shared, 10, before[-1].number)
    await shared.close()
    assert [frame.number for frame in after] == list(range(10, 20))
    assert sum(frame.key for frame in after) == 1
    decoder = create_decoder(codec)
    assert sum(len(decode(decoder, frame.data)) for frame in before + after) == 20


def test_rate_allows_what_it_is_in_the_mean_and_a_burst() -> None:
    """A second's worth at once, and a little more than the rate at length, but not much more."""
    fair, mean = Rate(300_000, 30), 300_000 / 8 / 30
    assert fair.allows(0, 36_000)
    assert not fair.allows(1, 36_000)
    slow, quick = Rate(300_000, 30), Rate(300_000, 30)
    assert all(slow.allows(k, int(1.1 * mean)) for k in range(3000))
    assert not all(quick.allows(k, int(1.3 * mean)) for k in range(3000))
    assert all(Rate(300_000, 30).allows(30 * k, int(30 * mean)) for k in range(100))  # one frame a second
