"""One encode for all clients.

Every client sees the same film, so each frame is encoded once, by an encoder tuned for this, and every
client's track passes the encoded packet on (aiortc packetises what it is given as `av.Packet`). aiortc's own
encoder would run once for every client, and its denoiser, half of the time it takes, drags the ball 0.01 px
behind its motion.

A ball is sharp from the first frame on: the encoder may not go coarser than SHARP or FINE, however little it knows of
the film as yet. A film for which that is too much (camera noise, a bit rate for narrow links) is noticed as soon as it
has used up a second's worth of bits more than its rate allows, and goes on with an encoder that may.

A frame can only be decoded after the one before it, back to a key frame. So a client that joins, or that has
lost a picture, asks for a key frame; it is one for all, and there are at most five a second.
"""

import asyncio
import itertools
import math
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from functools import partial
from typing import NamedTuple

import av
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType

from ball_track import Image
from film.drawn import Footage, Shot
from film.progress import Progress

CODECS = ("vp8", "h264")
DEFAULT_BITRATE = 500_000  # bit / s
KEY_FRAME_INTERVAL = 0.2  # s, at least, from one key frame that was asked for to the next
SHORT = 0.002  # s; encoding that takes less is done in the event loop: two changes of thread take 0.3 ms
SHARP, COARSE = 10, 56  # the coarsest quantizers of VP8, 0 to 63
FINE = 2  # the quantizer of H.264, 0 to 51, that finds the ball best: finer ones take more bits, and are no better
OVERSHOOT = 1.15  # of the bit rate, which the encoder may keep up
BURST = 1.0  # s worth of bits, that it may be ahead of that
KEPT_ENCODED = 3  # encoded frames; a client further behind goes on at the next key frame


class Encoded(NamedTuple):
    """One encoded frame.

    number: counts the encoded frames, without gaps; shot: what it shows; data: what a decoder takes; key:
    whether it can be decoded without the one before it.
    """

    number: int
    shot: Shot
    data: bytes
    key: bool


class Rate:
    """Tells whether frames are too large for their rate: a leaky bucket.

    Args:
        bitrate: bit / s, of which OVERSHOOT may be had at length, and a burst of BURST s at once.
        fps: frames / s.
    """

    def __init__(self, bitrate: int, fps: float) -> None:
        self._per_frame = OVERSHOOT * bitrate / fps
        self._most = BURST * bitrate
        self._ahead = 0.0  # bits
        self._k = 0

    def allows(self, k: int, size: int) -> bool:
        """Return whether frame `k`, of `size` bytes, is one that the rate allows."""
        self._ahead = max(0.0, self._ahead - (k - self._k) * self._per_frame) + 8 * size
        self._k = k
        return self._ahead <= self._most


class SharedEncoder:
    """Encodes a film, once for everyone who asks.

    Args:
        film: what to encode.
        codec: one of CODECS.
        bitrate: bit / s.
        on_encoded: called with the time (s) that each frame took.
        narrow: keep to the bit rate from the first frame on, at the expense of the ball; and of frames that are left
            out, leave out the bits as well, as it is for them that they are left out.
        every: leave out all but one in so many frames.
    """

    def __init__(
        self,
        film: Footage,
        codec: str,
        bitrate: int,
        on_encoded: Callable[[float], None] = lambda _: None,
        narrow: bool = False,
        every: int = 1,
    ) -> None:
        self._film = film
        self._every = every
        self._on_encoded = on_encoded
        self._create_codec = partial(create_codec, codec, film.width, film.height, film.fps / every, bitrate)
        self._codec: VideoCodecContext | None = None  # made in the thread: at 1920x1080 it takes 30 ms and more
        self._rate = Rate(bitrate, film.fps)
        self._sharp = not narrow
        self._count: Iterator[int] | None = itertools.count() if narrow else None  # of the frames, for the rate control
        self._progress = Progress(film.clock)
        self._k = -1  # the frame that was encoded last, or could not be
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="encoder")
        self._took = math.inf  # s for the newest frame
        self._kept: deque[Encoded] = deque(maxlen=KEPT_ENCODED)
        self._encoding: asyncio.Task[None] | None = None
        self._waiting: list[asyncio.Future[None]] = []  # for it; through the task itself they would wake a turn later
        self._key_wanted = True
        self._last_key = -float("inf")  # s of the film's clock
        self._shown = -1  # number of the film's newest frame that somebody had from elsewhere

    @property
    def stalled(self) -> bool:
        """Return whether those who ask for frames get none."""
        return self._progress.stalled

    def ask_for_key_frame(self) -> None:
        """Make one of the next frames a key frame: the very next, unless there was one just now."""
        self._key_wanted = True

    async def next(self, after: int, anew: bool = False, shown: int = -1) -> Encoded:
        """Wait for the first encoded frame that can be decoded by one who has frame number `after`.

        Args:
            after: number of the encoded frame that one has; -1 for none.
            anew: go on at a key frame, the newest frame that there is.
            shown: number of the film's frame that one has, from wherever; what comes shows a later one.

        Raises:
            FilmError: there is none, and will be none.
        """
        self._shown = max(self._shown, shown)
        with self._progress.waiting():
            return await self._next(after, anew or after < 0, shown)

    async def _next(self, after: int, anew: bool, shown: int) -> Encoded:
        while True:
            newest = self._kept[-1] if self._kept else None
            if anew:
                if newest is not None and newest.key and newest.number > after and newest.shot.k > shown:
                    return newest
            else:
                for encoded in self._kept:
                    if encoded.number == after + 1:
                        return encoded
                anew = newest is None or newest.number != after  # what would be next is gone, or there is none yet
            if anew:
                self.ask_for_key_frame()
            waiting = asyncio.get_running_loop().create_future()
            self._waiting.append(waiting)
            if self._encoding is None:
                self._encoding = asyncio.create_task(self._encode_for_all())
            await waiting

    async def _encode_for_all(self) -> None:
        """Encode the next frame of the film that is due, and wake all who wait for it."""
        failure: BaseException | None = asyncio.CancelledError()
        try:
            await self._encode()
            failure = None
        except Exception as error:
            failure = error
        finally:
            self._encoding = None
            waiting, self._waiting = self._waiting, []
            for each in waiting:
                if each.done():  # it was cancelled, without the others
                    continue
                if failure is None:
                    each.set_result(None)
                else:
                    each.set_exception(failure)

    async def _encode(self) -> None:
        """Encode the next frame of the film that is due."""
        loop = asyncio.get_running_loop()
        newest = self._kept[-1] if self._kept else None
        if self._codec is None:  # before a frame is drawn, which would have to wait for it
            self._codec = await loop.run_in_executor(self._thread, partial(self._create_codec, sharp=self._sharp))
        shot = await self._film.next(after=max(self._k + self._every - 1, self._shown))
        self._k = shot.k
        key = self._key_wanted and shot.drawn - self._last_key >= KEY_FRAME_INTERVAL
        if key:
            self._key_wanted, self._last_key = False, shot.drawn
        try:
            if self._took < SHORT and not key:
                data, key = self._encode_shot(self._codec, shot, key)
            else:
                data, key = await loop.run_in_executor(self._thread, self._encode_shot, self._codec, shot, key)
        except Exception as error:  # whatever a codec raises: the next frame may do with a new one
            self._progress.fail(shot.k, error)
            self._codec = None
            self._key_wanted, self._last_key = True, -math.inf
            return
        self._progress.succeed()
        if key:
            self._last_key = shot.drawn
        self._on_encoded(self._took)
        self._kept.append(Encoded(newest.number + 1 if newest else 0, shot, data, key))

    def _encode_shot(self, codec: VideoCodecContext, shot: Shot, key: bool) -> tuple[bytes, bool]:
        """Return a frame's data, and whether it is a key frame: one that is too large is encoded once more, coarser."""
        began = self._film.clock()
        number = shot.k if self._count is None else next(self._count)
        data = encode(codec, number, shot.image, key)
        if self._sharp and not self._rate.allows(shot.k, len(data)):
            self._sharp = False
            self._codec = codec = self._create_codec(sharp=False)
            data, key = encode(codec, shot.k, shot.image, key=True), True
        self._took = self._film.clock() - began
        return data, key

    async def close(self) -> None:
        """Stop encoding. Does nothing the second time."""
        if self._encoding is not None:
            self._encoding.cancel()
            await asyncio.wait([self._encoding])
        for each in self._waiting:  # it was cancelled before it had begun
            each.cancel()
        await asyncio.to_thread(self._thread.shutdown)  # what it is busy with takes a while


def create_codec(name: str, width: int, height: int, fps: float, bitrate: int, sharp: bool = True) -> VideoCodecContext:
    """Return an encoder without look-ahead, B-frames or key frames of its own accord.

    Args:
        name: one of CODECS.
        bitrate: bit / s.
        sharp: it is not to spare bits at the expense of the ball, be it above its rate. (Rate control begins with a
            coarse quantizer, and takes half a second to find a fine one, that of VP8 once more after a key frame: a
            blue ball is 0.3 px off meanwhile. And that of H.264 is a quarter of the time that encoding takes.)
    """
    options = {
        "vp8": {
            "deadline": "realtime",
            "cpu-used": "-6",  # -16 takes a sixth less time, and the ball is found a quarter further off
            "lag-in-frames": "0",
            "noise-sensitivity": "0",  # aiortc's 4 doubles the time, and drags the ball behind its motion
            "static-thresh": "1",
            "minrate": str(bitrate),  # equal to maxrate: constant bit rate
            "maxrate": str(bitrate),
            "bufsize": str(4 * bitrate),  # room for a key frame that is sharp at once
            "undershoot-pct": "100",
            "overshoot-pct": "15",
        },
        "h264": {
            "preset": "ultrafast",
            "tune": "zerolatency",
            "profile": "baseline",
            "forced-idr": "1",
            # motion in quarters of a pixel takes a third more time, and is worth it where bits are few
            **({"qp": str(FINE)} if sharp else {"subq": "2", "maxrate": str(bitrate), "bufsize": str(bitrate)}),
        },
    }[name]
    codec = av.CodecContext.create({"vp8": "libvpx", "h264": "libx264"}[name], "w")
    assert isinstance(codec, VideoCodecContext)
    rate = Fraction(fps).limit_denominator(1001)
    codec.width, codec.height, codec.pix_fmt = width, height, "yuv420p"
    codec.framerate, codec.time_base = rate, 1 / rate
    codec.bit_rate = bitrate
    codec.gop_size = 2**31 - 1  # key frames are sent when one is asked for
    codec.max_b_frames = 0
    codec.thread_count = 1  # one slice, one partition: nothing to wait for
    if name == "vp8":
        codec.qmin, codec.qmax = (
            0,
            SHARP if sharp else COARSE,
        )  # with aiortc's qmin of 2, what little is left of the motion is rounded away
    codec.options = options
    codec.open()  # now, and not in the first frame
    return codec


def encode(codec: VideoCodecContext, k: int, image: Image, key: bool) -> bytes:
    """Encode one image.

    Args:
        k: its number, rising.
        image: (H * 3 / 2, W) uint8, I420.
        key: whether it has to be a key frame.

    Returns:
        What a decoder takes for this frame; H.264 with start codes.
    """
    # without a copy, where PyAV gets the height right: it takes all rows // 6 * 4 for the luma's
    wrap = av.VideoFrame.from_numpy_buffer if image.shape[0] % 6 == 0 else av.VideoFrame.from_ndarray
    frame = wrap(image, format="yuv420p")
    frame.pts, frame.time_base = k, codec.time_base
    if key:
        frame.pict_type = PictureType.I
    return b"".join(bytes(packet) for packet in codec.encode(frame))
