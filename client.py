"""Receive the film, find the ball in each frame, and send back where it is.

    python3 client.py

The main thread receives the video, hands each frame to process_a through a Queue, and sends each coordinate
that process_a stores over a data channel to the server.
"""

if __name__ == "__main__":  # before the imports, which take a while
    from common.stopping import end_at_once

    end_at_once()

    from common.missing import tell_missing_packages

    tell_missing_packages("client.py")

    import sys

    if any(each.startswith("--watch") for each in sys.argv):
        import av  # noqa: F401  # before OpenCV, which brings another libxcb: a grab of the screen would be a segfault

import argparse
import asyncio
import contextlib
import logging
import sys
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from ball_track import Image, Point, find
from common import options
from common.ice import ice_config
from common.memory import keep_freed_memory
from common.sessions import End, PeerError
from common.stdio import unhurried
from common.stopping import call_when_stopped
from common.urls import WHEP_TOKEN, token
from common.waiting import start, unless
from finding import color as color_find
from finding.finder import Finder, FinderError
from finding.hint import Hint
from finding.margins import Margins
from finding.own import Faults
from finding.process_a import process_a
from programs.client_options import about, parse_args
from programs.living_line import LivingLine
from protocol.messages import (
    About,
    Curious,
    Film,
    Found,
    Message,
    MessageError,
    Missed,
    Quiet,
    Report,
    Reports,
    Restarted,
    Score,
    Skipped,
    Truth,
    encode,
    parse,
)
from transport.reports import AGAIN, Reporting
from views.views import ViewError, Views

# Nothing here may import av, and so aiortc, at the top: process_a imports this file again (multiprocessing's
# start method is spawn) and has to do without. So it can come up while this process still imports them.
if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from aiohttp import web
    from aiortc.contrib.signaling import TcpSocketSignaling
    from prometheus_client import CollectorRegistry

    from programs.watching import Watching
    from transport.aiortc_ice import Pair
    from transport.line import FrameWay
    from transport.link import Link

logger = logging.getLogger(__name__)

DRAIN_TIMEOUT = 1.0  # s for the server to account for what is on its way, at the end
OWN_READY_TIMEOUT = 120.0  # s for a person's own finder to be imported, and to look for the first time
PAGE_ADDRESS = "127.0.0.1", 8080  # of the page, if no other is given
ABOUT_AGAIN = 1.0  # s until the server is told once more how we were started: it may have been lost
COUNTS_INTERVAL = 10.0  # s between two lines of counts, where stdout is no terminal


class Client:
    """Looks for the ball in whatever a server films.

    Args:
        args: the command line's.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        self.stop = asyncio.Event()
        self._args = args
        self._about = About(about(args))
        self._link: Link | None = None
        self._faults = Faults(args.find) if args.find is not None else None
        self._finder = self._create_finder()
        self._views = Views(
            args.view, args.http or PAGE_ADDRESS, args.record, self._add_routes, on_closed=self.stop.set
        )
        self._failure: str | None = None  # why the job could not be done
        self._scored_before = 0  # frames, in the sessions before this one
        self._counts = dict.fromkeys(("received", "sent", "scored", "skipped", "faults", "restarts"), 0)
        self._connected = False
        self._line = LivingLine(self._counts, lambda: self._connected)
        self._reporting = Reporting()
        self._hint = Hint(print) if args.color is None and args.find is None else None
        self._margins = Margins()
        self._watching: Watching | None = None  # pictures, whose numbers name their frames
        self._luma: Image | None = None  # of the newest frame

    def _create_finder(self) -> Finder:
        """Return what runs process_a, with our eyes or with a person's own."""
        callbacks = (self._on_found, self._on_skipped, self._on_restart)
        if self._args.find is not None:
            target = partial(process_a, own=self._args.find)
            return Finder(*callbacks, target, self._on_fault, patience=OWN_READY_TIMEOUT)
        look = find if self._args.color is None else partial(color_find.find, hues=self._args.color)
        return Finder(*callbacks, partial(process_a, look=look))

    async def run(self) -> int:
        """Dial, and find until stopped or told goodbye; return the exit status."""
        from common.http import ListenError

        call_when_stopped(self.stop.set)
        try:
            async with self._watched(), self._views, contextlib.AsyncExitStack() as stack:
                if self._faults is not None:
                    print(f"waiting for {self._args.find} to load", flush=True)
                if await unless(self.stop, stack.enter_async_context(self._finder)):
                    await unless(self.stop, self._views.started())
                    await self._run_sessions()
        except (FinderError, ListenError, ViewError) as error:
            self._failure = str(error)
        self._failure = self._failure or self._views.missing
        if self._failure is not None:
            print(f"client.py: error: {self._failure}", file=sys.stderr)
        print(self._so_far())
        if self._watching is not None:
            print(self._watching.so_far())
        if self._faults is not None:
            print(self._faults)
        return 1 if self._failure is not None or self._views.failed else 0

    async def _run_sessions(self) -> None:
        """Dial until stopped, told goodbye, or out of time.

        Raises:
            FinderError: process_a cannot be kept up.
        """
        from transport.dialling import keep_dialling

        args = self._args
        dialling = keep_dialling(
            args.signaling_host, args.signaling_port, args.wait, self.stop, self._attend, args.stay
        )
        sessions = asyncio.create_task(dialling)
        telling = start(self._keep_telling(), lambda error: logger.error("no more counts are printed: %r", error))
        stopping = asyncio.create_task(self.stop.wait())
        waited = (sessions, stopping, self._finder.failed)
        await asyncio.wait(waited, timeout=self._args.duration, return_when=asyncio.FIRST_COMPLETED)
        self.stop.set()
        stopping.cancel()
        telling.cancel()
        try:
            await sessions
        except PeerError as error:
            self._failure = str(error)
        if self._finder.failed.done():
            self._finder.failed.result()

    def _add_routes(self, app: "web.Application") -> None:
        """Let the client be watched where its page is."""
        from common import http

        http.add_routes(app, self._is_ready, self._metrics())

    def _watched(self) -> "AbstractAsyncContextManager[None]":
        """Let the client be watched where it has no page, if that is wanted."""
        from common import http

        return http.serve(self._args.http if "web" not in self._args.view else None, self._is_ready, self._metrics())

    def _metrics(self) -> "CollectorRegistry":
        from views.metrics import ClientMetrics

        def pair() -> "Pair | None":
            return self._link.pair if self._link is not None else None

        return ClientMetrics(lambda: {**self._counts, "view_restarts": self._views.restarts}, pair).registry

    async def _keep_telling(self) -> None:
        """Tell how it goes: in a terminal in a line that lives, else now and then in one of the log."""
        await self._line.run()
        while True:
            await asyncio.sleep(COUNTS_INTERVAL)
            if self._connected:
                print(self._so_far(), flush=True)

    def _so_far(self) -> str:
        """Return the counts as one line."""
        return (
            "received {received} frames, sent {sent} coordinates, skipped {skipped}; the server scored {scored}"
        ).format_map(self._counts)

    def _is_ready(self) -> bool:
        """Return whether there is a server, frames come of it, and process_a looks at them."""
        return self._connected and self._finder.ready and self._link is not None and self._link.flowing

    async def _attend(self, signaling: "TcpSocketSignaling", patience: float) -> tuple[bool, End]:
        """Find the ball in what one server films, until one side ends it.

        Args:
            signaling: the connection to it.
            patience: s that the handshake may take.

        Returns:
            Whether we met, and why it ended.

        Raises:
            PeerError: the server does not keep to the protocol.
            SessionError: something of ours failed.
        """
        self._link = link = self._create_link(signaling)
        self._views.begin(self._watching.counts if self._watching is not None else None)
        self._reporting = Reporting()
        self._margins = Margins()
        link.on_loss = self._on_loss
        try:
            opened = await unless(self.stop, link.open(patience))
            if not opened:
                return False, End.STOPPED if opened is None else End.VANISHED
            self._connected = True
            self._scored_before = self._counts["scored"]
            where, way = (
                f"{self._args.signaling_host}:{self._args.signaling_port}",
                f" by {link.pair}" if link.pair else "",
            )
            print(f"watching {where}{way}; stop with Ctrl-C", flush=True)
            self._send(Curious() if self._views.watched else Quiet())
            self._send(self._about)
            asyncio.get_running_loop().call_later(ABOUT_AGAIN, link.send, encode(self._about))
            end = await unless(self.stop, link.until_end())
            if end is End.BYE and not self._args.stay:
                self._views.farewell = "the server has ended"
            if end is None:
                if self._watching is not None:
                    self._watching.tell()
                await link.goodbye()  # and go on reporting until the server has had it all
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(DRAIN_TIMEOUT):
                        await link.until_end()
            return True, end or End.STOPPED
        finally:
            self._link = None
            self._connected = False
            await link.close()

    def _create_link(self, signaling: "TcpSocketSignaling") -> "Link":
        """Return our end of what the server offers."""
        from transport.dialling import create_answer

        args = self._args
        return create_answer(
            args.transport,
            signaling,
            self._on_message,
            self._on_frame,
            self._on_skipped,
            ice=ice_config(args),
            jitter_buffer=args.jitter_buffer,
            frames=self._create_frames(),
        )

    def _create_frames(self) -> "FrameWay | None":
        """Return where frames come from, if not from the server that gets the reports."""
        args = self._args
        if args.watch is not None:
            from programs.watching import Watching

            self._watching = Watching(args.watch, args.watch_option, self._on_frame, self._send)
            return self._watching
        if args.whep is None:
            return None
        from transport.media_server import WhepFrames

        return WhepFrames(args.whep, token(WHEP_TOKEN), ice_config(args), self._on_frame, args.jitter_buffer)

    def _on_frame(self, pts: int, seen: tuple[Image, ...]) -> None:
        """Hand a frame to process_a, and then to the views."""
        self._counts["received"] += 1
        self._luma = seen[0]
        self._reporting.on_frame(pts, asyncio.get_running_loop().time())
        if self._link is not None and self._reporting.round_trip is not None:
            self._link.on_round_trip(self._reporting.round_trip)
        self._finder.offer(pts, self._margins.paint_out(seen))
        self._views.on_frame(pts, seen)

    def _on_found(self, pts: int, point: Point | None) -> None:
        """Send a coordinate as soon as process_a has stored it."""
        if point is None:
            self._report(Missed(pts))
        elif self._report(Found(pts, *point)):
            self._counts["sent"] += 1
        self._views.on_found(pts, point)
        if self._hint is not None and self._luma is not None:
            self._hint.note(self._luma, point is not None)

    def _on_skipped(self, pts: int) -> None:
        self._counts["skipped"] += 1
        self._report(Skipped(pts))
        self._views.on_skipped(pts)

    def _on_fault(self, kind: str, text: str) -> None:
        assert self._faults is not None
        self._counts["faults"] += 1
        self._faults.add(kind, text)

    def _on_restart(self) -> None:
        self._counts["restarts"] += 1
        self._send(Restarted())

    def _report(self, report: Report) -> bool:
        """Send a report, while reports get lost with the last few before it, and again; return whether it was sent."""
        link = self._link
        if link is None:
            return False
        loop = asyncio.get_running_loop()
        message = self._reporting.message(report, loop.time())
        if self._watching is not None:
            named = self._watching.named(report)
            return named is not None and self._send(named)
        if not link.unreliable:
            return self._send(report)
        if isinstance(message, Reports):
            for after, count in AGAIN:
                loop.call_later(after, link.send, encode(self._reporting.newest(count)))
        return self._send(message)

    def _on_loss(self) -> None:
        self._reporting.on_loss(asyncio.get_running_loop().time())

    def _send(self, message: Message) -> bool:
        """Send a message to the server; return whether it is on its way."""
        return self._link is not None and self._link.send(encode(message))

    def _on_message(self, data: object) -> None:
        """Take note of what the server made of a coordinate."""
        try:
            message = parse(data)
        except MessageError as error:
            logger.debug("message rejected: %s", error)
            return
        if isinstance(message, Film) and self._watching is not None:
            self._watching.on_film(message)
        if isinstance(message, Truth):
            self._views.on_truth(message)
        if isinstance(message, Score):
            self._counts["scored"] = max(self._counts["scored"], self._scored_before + message.scored)
            self._line.on_latency(message.latency_ms)
            self._reporting.on_score(message, asyncio.get_running_loop().time())
            self._views.on_score(message)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the client; return the exit status: 0 a normal end, 1 it could not do its job, 2 wrong usage."""

    async def run(args: argparse.Namespace) -> int:
        return await Client(args).run()

    with unhurried():
        args = parse_args(argv)
        options.configure_logging(args.verbose, args.log_format)
        keep_freed_memory()
        return asyncio.run(run(args))


if __name__ == "__main__":
    sys.exit(main())
