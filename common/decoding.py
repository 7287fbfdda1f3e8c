"""Reading a source: a thread of its own for each time that it is opened, since FFmpeg waits in the kernel.

What a source may do, and what comes of it:

    a packet is damaged      the next one is read; which frame of the file comes then, nobody knows any more
    nothing comes            after READ_TIMEOUT the source counts as broken
    it answers nothing, not  the thread is left behind, and ends with the program
    even to being told to end
    it is quicker than its   it waits: at most AHEAD is read before it is asked for
    time stamps
    it is live (a camera,    it is never kept waiting: what nobody asked for by then is passed over
    RTSP)
"""

import asyncio
import contextlib
import logging
import math
import re
import statistics
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from fractions import Fraction
from itertools import chain, count, pairwise
from pathlib import Path
from typing import NamedTuple

import av
from av import Packet, VideoFrame
from av.container import InputContainer
from av.video.stream import VideoStream

from ball_track import Image
from common.rendering import Renderer, SourceError

logger = logging.getLogger(__name__)

RETRY_INTERVAL, MAX_RETRY_INTERVAL = 1.0, 30.0  # s between two attempts to open again what has gone
CLOSING = 0.5  # s that a reader may take to end
READ_TIMEOUT = 10.0  # s in which an opening, and each read, has to give something
AHEAD = 1  # picture
LOOKED_AT = 24  # packets, for the rate
LOOKED_FOR = 1.0  # s, at most
MOST_FAULTS = 100  # in a row, that are taken for damage and not for the end
WAIT = 0.01  # s for a device that has nothing yet
ROUNDED = 0.05  # of the rate, by which time stamps in whole milliseconds may be off
MIN_FPS, MAX_FPS = 1.0, 240.0  # frames / s

LIVE_SCHEMES = ("rtsp", "rtsps", "rtmp", "rtmps", "rtp", "udp", "srt")  # what comes from there is shown as it comes
LIVE_FORMATS = ("mpjpeg", "rtsp", "rtp", "sdp", "v4l2")


class Source(NamedTuple):
    """What FFmpeg opens: a file, a device or a URL; as which format, None if that shows; and with which options."""

    name: str
    format: str | None = None
    options: dict[str, str] | None = None


class Picture(NamedTuple):
    """One picture of a source.

    number: which frame of the file it is, from 0, None if that is not certain; time, duration: s, by the file's own
    time stamps, None where it has none; image: (H * 3 / 2, W) uint8 I420.
    """

    number: int | None
    time: float | None
    duration: float | None
    image: Image


class Reader(threading.Thread):
    """Reads a source once, from its beginning to its end.

    Args:
        source: what to read.
        renderer: makes images of its frames.
        fps: frames / s, if the source does not tell.
        live: take it for live, whatever it is: nothing is read ahead, and its rate is of no interest.
    """

    def __init__(self, source: Source, renderer: Renderer, fps: float, live: bool = False) -> None:
        super().__init__(name="source", daemon=True)
        self.fps = fps  # the source's own, once the first picture has come
        self.live = live  # likewise: whether its pictures come when they are due
        self.damaged = False
        self._source = source
        self._renderer = renderer
        self._loop = asyncio.get_running_loop()
        self._pictures: asyncio.Queue[Picture | Exception | None] = asyncio.Queue()
        self._room = threading.Semaphore(AHEAD)
        self._stopped = threading.Event()

    async def next(self) -> Picture | None:
        """Return the next picture; None at the end.

        Raises:
            SourceError: there is none; the text says why.
        """
        try:
            async with asyncio.timeout(READ_TIMEOUT + 1):
                picture = await self._pictures.get()
        except TimeoutError:
            raise SourceError(f"nothing came within {READ_TIMEOUT:g} s") from None
        self._room.release()
        if isinstance(picture, Exception):
            raise picture
        return picture

    def stop(self) -> None:
        """Read nothing more. Does not wait for a read that is under way."""
        self._stopped.set()
        self._room.release()

    def run(self) -> None:
        """Read, in the thread."""
        end: Exception | None = None
        try:
            self._read()
        except av.ExitError:
            end = SourceError(f"nothing came within {READ_TIMEOUT:g} s")
        except (av.FFmpegError, ValueError) as error:
            end = SourceError(reason_of(error))
        except Exception as error:  # told where the film is watched
            end = error
        self._hand_over(end)

    def _read(self) -> None:
        """Read until the end, or until that is no longer wanted."""
        name, form, options = self._source
        timeouts = (READ_TIMEOUT, READ_TIMEOUT)
        with av.open(name, format=form, options=options, timeout=timeouts, metadata_errors="replace") as container:
            stream = container.streams.best(
                "video"
            )  # the one that ffplay shows: the first may be a picture on the cover
            if not isinstance(stream, VideoStream):
                raise SourceError("no video in it")
            if stream.codec_context is None:
                raise SourceError("nothing here decodes its video")
            packets = self._packets(container, stream)
            head: list[Packet[VideoStream]] = []
            if not self.live:
                self.live = is_live(name, container.format.name)
                head = [] if self.live else list(_first(packets))
                self.fps = rate_of(head, stream, self.fps)
            stamps = Stamps()
            for n, frame in zip(count(), self._frames(stream, chain(head, packets))):
                if not self._room.acquire(blocking=not self.live):
                    continue
                if self._stopped.is_set():
                    return
                aspect = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio or Fraction(1)
                image = self._renderer.render(frame, aspect)
                duration = float(frame.duration * frame.time_base) if frame.duration and frame.time_base else None
                stamp = stamps.best(frame.pts, frame.dts)
                at = None if stamp is None or frame.time_base is None else float(stamp * frame.time_base)
                self._hand_over(Picture(None if self.damaged or self.live else n, at, duration, image))

    def _packets(self, container: InputContainer, stream: VideoStream) -> "Iterator[Packet[VideoStream]]":
        """Return what the container has of the stream, past whatever in it is damaged; an empty packet at the end."""
        faults = 0
        while not self._stopped.is_set():
            try:
                for packet in container.demux(stream):
                    yield packet
                    faults = 0
                    if self._stopped.is_set():
                        return
                return
            except av.BlockingIOError:
                time.sleep(WAIT)
            except (av.ExitError, OSError):
                raise
            except av.FFmpegError:
                faults += 1
                self.damaged = True
                if faults >= MOST_FAULTS:
                    raise

    def _frames(self, stream: VideoStream, packets: "Iterator[Packet[VideoStream]]") -> Iterator[VideoFrame]:
        """Return the frames that can be decoded."""
        for packet in packets:
            try:
                yield from stream.decode(packet)
            except av.BlockingIOError:  # what it could not decode is in the way
                self.damaged = True
                stream.codec_context.flush_buffers()
            except (av.FFmpegError, ValueError):
                self.damaged = True

    def _hand_over(self, picture: Picture | Exception | None) -> None:
        try:
            self._loop.call_soon_threadsafe(self._pictures.put_nowait, picture)
        except RuntimeError:  # the loop has ended, and nobody wants it
            self._stopped.set()


class Stamps:
    """Chooses a frame's time stamp between the two that a decoder gives: in AVI pts that were reordered are wrong.

    Source: guess_correct_pts in FFmpeg's libavcodec/decode.c.
    """

    def __init__(self) -> None:
        self._last: list[float] = [-math.inf, -math.inf]  # pts and dts, ticks
        self._faults = [0, 0]  # how often each did not rise

    def best(self, pts: int | None, dts: int | None) -> int | None:
        """Return the better one, in ticks; None if there is none."""
        for which, stamp, other in ((0, pts, dts), (1, dts, pts)):
            if stamp is not None:
                self._faults[which] += stamp <= self._last[which]
            newest = stamp if stamp is not None else other
            if newest is not None:
                self._last[which] = newest
        return pts if pts is not None and (self._faults[0] <= self._faults[1] or dts is None) else dts


def is_live(name: str, form: str) -> bool:
    """Return whether a source's pictures come when they are due, and are shown as they come.

    >>> is_live("rtsp://camera/1", "rtsp"), is_live("http://host/clip.mp4", "mov,mp4,m4a,3gp,3g2,mj2")
    (True, False)
    """
    scheme = re.match(r"(\w+)://", name)
    return (scheme is not None and scheme[1].lower() in LIVE_SCHEMES) or any(
        each in LIVE_FORMATS for each in form.split(",")
    )


def _first(packets: "Iterator[Packet[VideoStream]]") -> "Iterator[Packet[VideoStream]]":
    """Return the packets that are enough to tell the rate."""
    began = time.monotonic()
    for _, packet in zip(range(LOOKED_AT), packets, strict=False):  # one too many is not taken
        yield packet
        if time.monotonic() - began > LOOKED_FOR:
            return


def rate_of(packets: "list[Packet[VideoStream]]", stream: VideoStream, otherwise: float) -> float:
    """Return a stream's frames a second: by the time stamps of its first packets, or as it says where that fits them.

    What a container says of its rate is often another thing: 60000 in DV, fields in AVI, nothing in IVF and Ogg.
    """
    said = float(stream.guessed_rate or stream.average_rate or otherwise)
    said = said if said <= MAX_FPS else otherwise  # 90000: a single picture
    stamps = [packet.pts if packet.pts is not None else packet.dts for packet in packets]
    steps: list[float] = [
        after - before for before, after in pairwise(sorted({stamp for stamp in stamps if stamp is not None}))
    ]
    rate = said
    if len(steps) > 1 and stream.time_base:
        middle = statistics.median(steps)
        usual = [step for step in steps if abs(step - middle) <= middle / 2] or [middle]
        measured = 1 / (statistics.mean(usual) * float(stream.time_base))
        rate = said if abs(said / measured - 1) < ROUNDED else measured
    return min(max(rate, MIN_FPS), MAX_FPS)


async def keep_reading(name: str, read_once: Callable[[], Awaitable[tuple[bool, str | None]]]) -> None:
    """Read a source again and again, after pauses that grow while it gives nothing; say why in the log.

    Args:
        name: of the source, for the log.
        read_once: reads it to its end; returns whether it gave a picture, and what is wrong with it, if anything is.

    Raises:
        SourceError: it gave no picture at all.
    """
    pause, any_came = 0.0, False
    while True:
        came, fault = await read_once()
        any_came = any_came or came
        if not any_came:
            raise SourceError(fault or "no picture in it")
        if came:
            pause = 0.0 if fault is None else RETRY_INTERVAL
        else:
            pause = min(max(2 * pause, RETRY_INTERVAL), MAX_RETRY_INTERVAL)
            fault = fault or "no picture in it"
        if fault is not None:
            logger.warning("source %s: %s; opening it again", name, fault)
        await asyncio.sleep(pause)


async def reader_ended(reader: Reader) -> bool:
    """Wait a little for a reader to end; return whether it has."""
    until = time.monotonic() + CLOSING
    while reader.is_alive() and time.monotonic() < until:  # noqa: ASYNC110  # a thread's end is no event
        await asyncio.sleep(0.01)
    return not reader.is_alive()


def camera_of(source: str) -> str | None:
    """Return the device of a camera given by number or device; None of a file.

    >>> camera_of("0"), camera_of("/dev/video2"), camera_of("clip.mp4")
    ('/dev/video0', '/dev/video2', None)
    """
    if re.fullmatch(r"\d{1,3}", source, re.ASCII):
        return f"/dev/video{source}"
    return source if source.startswith(("/dev/video", "/dev/v4l/")) else None


def locate(source: str) -> str:
    """Return what FFmpeg opens as a source: of a file the whole path, or what is before a colon is a protocol to it."""
    with contextlib.suppress(OSError, ValueError):  # it can be no file's name
        if Path(source).exists():
            return str(Path(source).absolute())
    return source


def reason_of(error: Exception) -> str:
    """Return what FFmpeg says, without its number and the file's name."""
    return getattr(error, "strerror", None) or str(error)
