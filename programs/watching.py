"""The film as a camera, a screen or a URL shows it: each picture is looked at, and names its frame by the number in it.

What a source may do, and what comes of it: see common/decoding.py; it is opened again until it is back. What is seen in
a picture, each of which is counted:

    again      a frame that was seen before: the first sight counts
    unread     no number: the film is not in it, or not whole, or too small; or it moves
    mixed      two frames at once: a long exposure, or a screen that was caught between them
    torn       one frame above and another below
    foreign    a number that is none of this film's: another server's, or an old picture of this one's

A frame has no error, and has a latency, where a neighbour's ghost is in its picture, or where something covers a part
of the film's outline or cuts it off: see finding/viewer.py.
"""

import asyncio
import contextlib
import logging
import os
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping

from ball_track import Image
from common.decoding import Reader, Source, camera_of, keep_reading, locate, reader_ended
from common.rendering import Renderer, SourceError
from common.sessions import End, PeerError
from common.urls import source_name
from common.waiting import start
from finding.viewer import Look, Viewer
from protocol.matching import stamp
from protocol.messages import Film, Message, Named, Report, Watched
from protocol.picture_code import Legibility, Reading, layout_of, name_frame

logger = logging.getLogger(__name__)

FILM_TIMEOUT = 5.0  # s for the server to say what there is to be seen
START_TIMEOUT = 12.0  # s for the first picture
STALL_AFTER = 3.0  # s without a picture, of which one line is told
QUIET_AFTER = 5.0  # s without a number, of which one line is told
TELL_INTERVAL = 1.0  # s between two messages of what was seen, and two looks at what is wrong
MAX_LATE = 12.0  # s that a picture may be on its way; the server takes nothing that is older
SLACK = 2.0  # s by which we may be wrong about the server's newest frame
KEPT = 4096  # frames that are known again
MANY, ENOUGH = 0.25, 150  # the share of pictures that show two frames, of so many, from which on advice is given
MAX_GRAB_FPS = 120.0  # of a screen
SCREEN = re.compile(r"(?P<display>:\d+(\.\d+)?)(?P<place>\+\d+,\d+)?", re.ASCII)
PACKETS = re.compile(r"(udp|srt|tcp)://")  # MPEG-TS, each packet of which is a frame: who waits for the next is late


class Watching:
    """A way of frames (transport/line.py): pictures of the film, from wherever FFmpeg gets them.

    Args:
        source: what to watch.
        options: FFmpeg's, for opening it, besides our own.
        on_frame: called with each frame that is seen for the first time: what it is called by (ticks), and its planes.
        send: sends the server a message.
    """

    def __init__(
        self,
        source: str,
        options: Mapping[str, str],
        on_frame: Callable[[int, tuple[Image, ...]], None],
        send: Callable[[Message], object],
    ) -> None:
        self.counts = dict.fromkeys(Watched._fields, 0)
        self._source, self._options = source, dict(options)
        self._shown_as = source_name(source)
        self._on_frame, self._send = on_frame, send
        self._film: Film | None = None
        self._told_at = 0.0  # s, when the server told of it last
        self._told = asyncio.Event()
        self._viewer: Viewer | None = None
        self._names: OrderedDict[int, tuple[int, bool]] = OrderedDict()  # number and sharpness, by what it is called
        self._newest = self._newest_read = self._newest_whole = 0.0  # s: a picture came, with our number, all of it
        self._look: Look | None = None  # what the newest picture shows
        self._hints: set[str] = set()  # kinds of those that were given
        self._first = asyncio.Event()  # the first picture has come
        self._reader: Reader | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    # --- As a way of frames ----------------------------------------------------------------------

    @property
    def flowing(self) -> bool:
        """Return whether pictures come."""
        return time.monotonic() - self._newest < STALL_AFTER

    async def open(self) -> bool:
        """Wait to be told what there is to be seen, and for the first picture.

        Raises:
            PeerError: the film has no numbers, or the source gives no picture.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FILM_TIMEOUT):
                await self._told.wait()
        film = self._film
        if film is None or film.run is None:
            raise PeerError("--watch: the film has no numbers in its pictures; start server.py with --code")
        try:
            layout = layout_of(film.width, film.height)
        except ValueError as error:
            raise PeerError(f"--watch: the server's film cannot have numbers: {error}") from None
        self._viewer = Viewer(layout, lambda reading: self._name(reading) is not None)
        self._newest = self._newest_read = self._newest_whole = time.monotonic()
        self._tasks = [start(each, self._fail) for each in (self._read(), self._keep_telling())]
        arrived = asyncio.create_task(self._first.wait())
        await asyncio.wait((arrived, self._failure), timeout=START_TIMEOUT, return_when=asyncio.FIRST_COMPLETED)
        arrived.cancel()
        if self._failure.done():
            self._failure.result()
        if not self._first.is_set():
            raise PeerError(f"--watch {self._shown_as}: no picture within {START_TIMEOUT:g} s")
        return True

    async def until_end(self) -> End:
        """Wait until something fails that is ours: a source that is gone is waited for."""
        await asyncio.shield(self._failure)
        return End.FAILED

    async def close(self) -> None:
        """End it. Does nothing the second time."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if self._reader is not None:
            self._reader.stop()
            await reader_ended(self._reader)
        if not self._failure.cancel() and not self._failure.cancelled():
            self._failure.exception()  # seen

    def on_round_trip(self, seconds: float) -> None:
        """Do nothing: pictures do not come from the server."""

    def _fail(self, error: Exception) -> None:
        if not self._failure.done():
            fault = f"--watch {self._shown_as}: {error}" if isinstance(error, SourceError) else f"--watch: {error!r}"
            self._failure.set_exception(PeerError(fault))

    # --- What the server tells, and is told --------------------------------------------------------

    def on_film(self, film: Film) -> None:
        """Take note of what there is to be seen."""
        self._film, self._told_at = film, time.monotonic()
        self._told.set()

    def named(self, report: Report) -> Message | None:
        """Return a report with the number of its frame; None if it is of another session's frame."""
        name = self._names.get(report.pts)
        return None if name is None else Named(*name, report)

    async def _keep_telling(self) -> None:
        """Tell the server every second what was seen, and the log what is wrong."""
        while True:
            await asyncio.sleep(TELL_INTERVAL)
            self.tell()
            self._watch_reading(time.monotonic())

    def tell(self) -> None:
        """Tell the server what was seen so far."""
        self._send(Watched(**self.counts))

    def so_far(self) -> str:
        """Return what was seen so far as one line."""
        return f"{self._shown_as}: " + "  ".join(f"{name} {number}" for name, number in self.counts.items())

    def _watch_reading(self, now: float) -> None:
        counts = self.counts
        doubled = counts["mixed"] + counts["torn"]
        if counts["pictures"] >= ENOUGH and doubled >= MANY * counts["pictures"]:
            self._hint(
                "doubled",
                f"{doubled} of {counts['pictures']} pictures show two frames at once: film at half the camera's rate "
                "(server.py --fps 15) with a short exposure; grab a screen at twice the film's rate",
            )
        if now - self._newest >= STALL_AFTER:
            return
        if now - self._newest_read < QUIET_AFTER:
            if now - self._newest_whole >= QUIET_AFTER:
                self._hint("covered", "a part of the film's outline is covered or cut off: no error is told meanwhile")
            return
        if self._look is not None and self._look.moved:
            self._hint("moving", "the film moves in the picture; none counts until it stands still")
        elif self._look is not None and self._look.blank:
            self._hint("blank", "the pictures are of one colour: is the lens covered, or the screen dark?")
        elif counts["foreign"]:
            self._hint(
                "foreign", "the number in the picture is none of this server's: another film, or an old picture of it"
            )
        else:
            self._hint(
                "unread", "no number in the picture: the film has to be in it whole, with its outline, and upright"
            )

    def _hint(self, kind: str, text: str) -> None:
        """Say something in the log, once for each source and kind."""
        if kind not in self._hints:
            self._hints.add(kind)
            logger.warning("watching %s: %s", self._shown_as, text)

    # --- Pictures ----------------------------------------------------------------------------------

    async def _read(self) -> None:
        """Look at the source's pictures, for as long as there are any, and again when it is back.

        Raises:
            SourceError: there was none at all.
        """
        assert self._film is not None
        sources = sources_of(self._source, self._options, self._film)

        async def read_once() -> tuple[bool, str | None]:
            fault: str | None = None
            while self._reader is not None and not await reader_ended(self._reader):
                pass  # never more than one that hangs
            for source in tuple(sources):
                came, fault = await self._read_once(source)
                if came:
                    sources[:] = [source]  # the one that does
                    return True, fault or "it has ended"
            return False, fault

        await keep_reading(self._shown_as, read_once)

    async def _read_once(self, source: Source) -> tuple[bool, str | None]:
        """Look at pictures to the end; return whether there was one, and what is wrong, if anything is."""
        assert self._film is not None
        assert self._viewer is not None
        loop, came = asyncio.get_running_loop(), False
        self._reader = reader = Reader(source, Renderer(self._say), self._film.fps, live=True)
        reader.start()
        try:
            while (picture := await reader.next()) is not None:
                came = True
                self._newest = time.monotonic()
                look = await loop.run_in_executor(None, self._viewer.look, picture.image, self._newest)
                self._first.set()
                self._take(look)
        except SourceError as error:
            return came, str(error)
        finally:
            reader.stop()
        return came, None

    def _say(self, text: str) -> None:
        logger.warning("watching %s: %s", self._shown_as, text)

    def _take(self, look: Look) -> None:
        """Count a picture, and hand on the frame that it shows, if that is seen for the first time."""
        self.counts["pictures"] += 1
        self._look = look
        if look.reading.legibility is not Legibility.READ:
            self.counts[look.reading.legibility] += 1
            return
        k = self._name(look.reading)
        if k is None or look.shown is None:  # which is also that of a frame that the server had not told of by then
            self.counts["foreign"] += 1
            return
        self._newest_read = time.monotonic()
        if look.whole:
            self._newest_whole = self._newest_read
        assert self._film is not None
        name = stamp(k, self._film.fps)
        if name in self._names:
            self.counts["again"] += 1
            return
        self._names[name] = k, look.reading.sharp and look.whole
        if len(self._names) > KEPT:
            self._names.popitem(last=False)
        self._on_frame(name, look.shown)

    def _name(self, reading: Reading) -> int | None:
        """Return which frame a picture shows; None if it can be none."""
        film = self._film
        if film is None or film.run is None:
            return None
        newest = film.k + round((time.monotonic() - self._told_at + SLACK) * film.fps)
        span = round((MAX_LATE + 2 * SLACK) * film.fps)
        return name_frame(reading.number, reading.check, film.run, newest, span)


# --- Sources -------------------------------------------------------------------------------------


def sources_of(text: str, options: Mapping[str, str], film: Film) -> list[Source]:
    """Return what FFmpeg is to open for a source, and what else if that gives no picture.

    A screen is grabbed at twice the film's rate: at the same rate the phase between the two is luck.
    """
    device, screen = camera_of(text), SCREEN.fullmatch(text)
    if device is not None:
        return [Source(device, "v4l2", {**options})]
    if text == "screen" or screen is not None:
        grab = {"framerate": f"{min(2 * film.fps, MAX_GRAB_FPS):g}", "draw_mouse": "0"}
        if screen is not None and screen["place"]:
            grab["video_size"] = f"{film.width}x{film.height}"
        name = os.environ.get("DISPLAY", ":0") if text == "screen" else text
        return [Source(name, "x11grab", {**grab, **options})]
    plain = Source(locate(text), None, {**options})
    if PACKETS.match(text) and "fflags" not in options:
        return [plain._replace(options={"fflags": "noparse", **options}), plain]
    return [plain]
