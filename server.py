"""Film a bouncing ball, stream it to every client that asks, and keep the score of what they find.

    python3 server.py

Each client gets the film as WebRTC video and sends back where it found the ball in which frame. As the server
knows where the ball truly was in that very frame, the loop measures what remote vision costs: pixels of
error, milliseconds of latency, frames lost. docs/protocol.md has the protocol.
"""

if __name__ == "__main__":  # before the imports, which take a while
    from common.stopping import end_at_once

    end_at_once()

    from common.missing import tell_missing_packages

    tell_missing_packages("server.py")

import argparse
import asyncio
import contextlib
import itertools
import logging
import secrets
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from aiohttp import web
from aiortc import MediaStreamTrack
from aiortc.mediastreams import VIDEO_TIME_BASE, MediaStreamError
from av import Packet, VideoFrame

from common import http, options
from common.http import ListenError
from common.memory import keep_freed_memory
from common.pages import add_files
from common.rendering import SourceError
from common.stdio import unhurried
from common.stopping import call_when_stopped
from common.urls import source_name
from common.waiting import start, wait_while
from film.drawn import Film, Footage
from film.image_encoder import ImageEncoder
from film.published import Published
from film.rungs import Rungs, Subscription
from film.sources import SourceFilm
from film.stepping import LOWEST, LOWEST_FPS, rungs
from film.video_encoder import SharedEncoder
from programs.publisher import Publisher
from programs.results import Results
from programs.server_options import BALL, LOG, parse_args
from programs.session import Session
from protocol.images import PNG
from protocol.matching import draw_offsets
from protocol.picture_code import PERIOD
from scoring.ledger import Ledger
from scoring.tally import Frame
from transport.listener import listen
from transport.signaling import AcceptedSignaling, format_address
from transport.whep import Whep

logger = logging.getLogger(__name__)

BROWSER = Path(__file__).with_name("browser")  # the page that is a client
MAX_BEHIND = 0.5  # s by which a client's answers may be late before it gets no more; three frames at least
NARROW_BEHIND = 0.1  # s, for one that is known to have a narrow connection: its queue may not grow
PROBE_INTERVAL = 0.5  # s; then it gets one key frame in so many


class BallVideoTrack(MediaStreamTrack):
    """The film as one client sees it: stamped, paced, and every frame entered in the client's ledger.

    accounted: whether frames are entered; a viewer does not answer for them.
    width: tells before the first frame how many bit / s the connection takes, if that is little.

    Args:
        film: what to show.
        ledger: the client's.
        encoders: where to get the frames encoded; None leaves that to aiortc.
        answered: is set whenever the client has answered for a frame.
        on_failure: called when there is no next frame; aiortc would log it, and go on without frames.
        on_congested: called while latency grows.
    """

    kind = "video"

    def __init__(
        self,
        film: Footage,
        ledger: Ledger,
        encoders: Rungs | None,
        answered: asyncio.Event,
        on_failure: Callable[[Exception], None],
        on_congested: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__()
        self.encoded = Subscription(encoders) if encoders is not None else None
        self.accounted = True
        self.width: Callable[[], float | None] | None = None
        self._film = film
        self._ledger = ledger
        self._on_congested = on_congested
        self._last = -1  # number of the film's frame that the client got last, where aiortc encodes
        self._answered = answered
        self._on_failure = on_failure

    async def _catch_up(self) -> bool:
        """Wait while the client is behind; return whether it has to go on at a key frame, as much may have been lost.

        Its connection cannot take the rate, or there is none just now: whatever else it got would come late, or be
        lost, and asking for what was lost would fill the connection altogether. One frame now and then finds out
        whether that is still so. A client that goes to another rung waits until its queue is empty, as well.
        """
        began, rule = self._film.clock(), self.encoded.rule if self.encoded is not None else None
        if rule is not None and rule.congested:
            self._on_congested()
        stepped, behind = rule is not None and rule.step(began), self._ledger.behind
        if not stepped:
            max_behind = NARROW_BEHIND if rule is not None and rule.rung else MAX_BEHIND
            if behind < max(max_behind, 3 / self._film.fps):
                return False
            stepped = rule is not None and rule.on_behind(began)
        unseen = rule is not None and not rule.seen  # nothing tells then when its queue is empty
        await wait_while(lambda: unseen or self._ledger.behind > 0, self._answered, PROBE_INTERVAL)
        now = self._film.clock()
        self._ledger.tally.network["held_back_ms"] += round((now - began) * 1000)
        if rule is not None and stepped:
            self._ledger.tally.network["rung_changes"] = rule.changes
            rule.on_resumed(now)
        return unseen or behind >= max(MAX_BEHIND, 3 / self._film.fps)

    async def recv(self) -> "VideoFrame | Packet[Any]":
        """Wait for the next frame that is due, and return it, encoded if there is an encoder.

        Raises:
            MediaStreamError: the track was stopped, or there is no next frame.
        """
        try:
            return await self._next()
        except MediaStreamError:
            raise
        except Exception as error:
            self._on_failure(error)
            raise MediaStreamError from error

    async def _next(self) -> "VideoFrame | Packet[Any]":
        media: VideoFrame | Packet[Any]
        if self.width is not None and self.encoded is not None:
            self.encoded.rule.begin(self.width(), self._film.clock())
            self.width = None
        anew = await self._catch_up()
        if self.readyState != "live":
            raise MediaStreamError
        if self.encoded is not None:
            _, shot, data, _ = await self.encoded.next(anew)
            self.encoded.rule.on_sent(self._film.clock() - shot.drawn)
            media = Packet(data)
        else:
            shot = await self._film.next(after=self._last)
            self._last = shot.k
            media = VideoFrame.from_ndarray(shot.image, format="yuv420p")
        if self.readyState != "live":
            raise MediaStreamError
        media.pts, media.time_base = shot.pts, VIDEO_TIME_BASE
        if self.accounted:
            self._ledger.sent(Frame(shot.k, shot.pts, shot.drawn, shot.truth, captured=shot.captured))
        return media

    def on_picture_lost(self) -> None:
        """Get the client a key frame: it cannot decode what it gets."""
        if self.encoded is not None:
            self.encoded.ask_for_key_frame()
            if self.accounted:
                self.encoded.rule.on_picture_lost(self._film.clock())

    def stop(self) -> None:
        """End the track. Does nothing the second time."""
        super().stop()
        if self.encoded is not None:
            self.encoded.leave()


class Server:
    """All sessions, and what they add up to.

    Args:
        args: the command line's.
        film: what the clients get to see.
    """

    def __init__(self, args: argparse.Namespace, film: Footage) -> None:
        self.args = args
        self.film = Published(film)
        self.codec = args.codec  # of those who come by TCP
        if args.transport != "media":
            self.codec = "png" if args.quality is PNG else "jpeg"
        self.results = Results(args, film, self.codec, self._on_client_left)
        self._video: dict[str, Rungs] = {}  # by codec, made when somebody takes it
        self.encoders = self._create_encoders()
        self._publisher = Publisher(args, self._create_published, self.results.say) if args.whip is not None else None
        self.stop = asyncio.Event()
        self.failure: str | None = None  # why the film is gone for everybody
        self._listening = False
        self._numbers = itertools.count(1)

    async def run(self) -> int:
        """Serve until stopped; return the exit status.

        Raises:
            OSError: the port cannot be had.
            ListenError: nor can the one to be watched at.
        """
        call_when_stopped(self.stop.set)
        host, port = self.args.signaling_host, self.args.signaling_port
        watching = start(self.film.watch(), lambda error: self.fail(str(error)))
        listening = listen(host, port, lambda signaling: Session(next(self._numbers), self, signaling))
        async with listening as admit, self._serve_http(admit):
            self._listening = True
            page = f", for browsers at http://{format_address(self.args.http)}/" if self.args.http else ""
            printing = self.results.begin(f"filming at {host}:{port}{page}; stop with Ctrl-C")
            publishing = start(self._publish(), lambda error: self.fail(str(error)))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.args.duration):
                    await self.stop.wait()
            self.stop.set()
            self._listening = False
        for task in (printing, watching, publishing):
            task.cancel()
        await asyncio.wait([printing, watching, publishing])
        for encoders in (self.encoders, *self._video.values()):
            if encoders is not None:
                await encoders.close()
        published = self._publisher.summary() if self._publisher is not None else None
        return self.results.close(self.failure, published)

    async def _publish(self) -> None:
        """Keep the film at a media server, if that is wanted."""
        if self._publisher is not None:
            await self._publisher.run()

    def _create_published(self, on_failure: Callable[[Exception], None]) -> BallVideoTrack:
        """Return the film for a media server: it answers for nothing, so it is never held back."""
        ledger, encoders = Ledger(self.film.where), self.video(self.args.codec)
        track = BallVideoTrack(self.film, ledger, encoders, asyncio.Event(), on_failure)
        track.accounted = False
        return track

    def _serve_http(self, admit: Callable[[AcceptedSignaling], bool]) -> contextlib.AbstractAsyncContextManager[None]:
        """Return what serves the page that is a client, its signaling, and what a watcher asks for."""

        def add_routes(app: web.Application) -> None:
            add_files(app, *sorted(BROWSER.iterdir()))
            Whep(admit).add_routes(app)
            self.results.add_routes(app)

        return http.serve(self.args.http, self._is_ready, self.results.metrics.registry, add_routes)

    def _create_encoders(self) -> Rungs | None:
        """Return what encodes the film for those who come by TCP; None where aiortc does it for each."""
        if self.args.transport != "media":
            return Rungs((0,), lambda _: ImageEncoder(self.film, self.args.quality, self.results.metrics.on_encoded))
        return self.video(self.args.codec)

    def create_track(
        self,
        ledger: Ledger,
        encoders: Rungs | None,
        answered: asyncio.Event,
        on_failure: Callable[[Exception], None],
        on_congested: Callable[[], None],
    ) -> BallVideoTrack:
        """Return the film as one client sees it; the arguments are those of BallVideoTrack."""
        return BallVideoTrack(self.film, ledger, encoders, answered, on_failure, on_congested)

    def video(self, codec: str) -> Rungs | None:
        """Return what encodes the film as video, for all who take a codec; None where aiortc does it for each."""
        if self.args.encoder != "shared":
            return None

        def create(rate: int) -> SharedEncoder:
            narrow = rate < self.args.bitrate
            every = max(1, round(self.film.fps / LOWEST_FPS)) if narrow and rate == LOWEST else 1
            return SharedEncoder(self.film, codec, rate, self.results.metrics.on_encoded, narrow, every)

        if codec not in self._video:
            self._video[codec] = Rungs(rungs(self.args.bitrate), create)
        return self._video[codec]

    def _on_client_left(self) -> None:
        if self.args.once:
            self.stop.set()

    def fail(self, why: str) -> None:
        """End everything: the film is gone for everybody."""
        self.failure = self.failure or why
        self.stop.set()

    def _is_ready(self) -> bool:
        encoders = (self.encoders, *self._video.values())
        stalled = any(each is not None and each.stalled for each in encoders)
        return self._listening and not self.stop.is_set() and not stalled


# --- The command line ----------------------------------------------------------------------------


def main(argv: Sequence[str] | None = None) -> int:
    """Run the server; return the exit status: 0 a normal end, 1 it failed, 2 wrong usage, 3 a budget does not hold."""
    with unhurried():
        return _main(argv)


def _main(argv: Sequence[str] | None) -> int:
    args, scene = parse_args(argv)
    options.configure_logging(args.verbose, args.log_format, args.out and args.out / LOG)
    keep_freed_memory()

    mask = secrets.randbelow(PERIOD) if args.code else None
    offsets = draw_offsets(secrets.randbits(32))

    async def run() -> int:
        if args.source == BALL:
            return await Server(args, Film(scene, run=mask, offsets=offsets)).run()
        async with SourceFilm(args.source, args.size, args.fps, args.truth, run=mask, offsets=offsets) as film:
            return await Server(args, film).run()

    try:
        return asyncio.run(run())
    except ListenError as error:
        print(f"server.py: error: {error}", file=sys.stderr)
        return 1
    except SourceError as error:
        print(f"server.py: error: --source {source_name(args.source)}: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        address = f"--signaling-host {args.signaling_host} --signaling-port {args.signaling_port}"
        print(f"server.py: error: {address}: cannot listen there: {error.strerror or error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
