"""One client of the server, from its connection to its end."""

import argparse
import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from common.ice import ice_config
from common.sessions import End
from common.waiting import start, unless, wait_while
from film.drawn import FilmError
from film.published import Shown
from film.rungs import Subscription
from film.video_encoder import CODECS
from protocol.messages import Film as FilmMessage
from protocol.messages import encode
from scoring.account import Account
from scoring.ledger import Ledger
from scoring.tally import Frame
from transport.aiortc_ice import Pair
from transport.datachannel import ChannelOffer
from transport.line import ServerLine
from transport.link import FramesElsewhere, Link
from transport.media import MediaOffer
from transport.signaling import AcceptedSignaling
from transport.tcp import TcpOffer
from transport.whep import WhepAnswer, WhepSignaling

if TYPE_CHECKING:  # server.py runs as __main__, and is not to be imported a second time
    from server import BallVideoTrack, Server

logger = logging.getLogger(__name__)

VIEWER = "viewer"  # the kind of one who opens no channel
ELSEWHERE = "elsewhere"  # the transport of one who sees the film behind a media server, on a screen, in a picture
FILM_INTERVAL = 1.0  # s
DRAIN_TIMEOUT = 0.5  # s at the end for the reports of frames that are still on their way


class Session:
    """One client, from its connection to its end; or one viewer, who is shown the film and answers for nothing.

    Args:
        number: counts the clients, from 1.
        server: whom it belongs to.
        signaling: its connection.
    """

    def __init__(self, number: int, server: "Server", signaling: AcceptedSignaling) -> None:
        self.number = number
        self.peer, self.kind = signaling.peer, signaling.kind
        self.transport, self.codec = server.args.transport, server.codec
        results = server.results
        self.ledger = Ledger(server.film.where, lambda frame: results.on_frame_final(self, frame), server.film.walls)
        self._server = server
        self._over = asyncio.Event()  # we have ended it
        self._why = ""  # for people
        self._account = Account(
            f"client {number}",
            self.ledger,
            server.film.fps,
            server.film.clock,
            self._send,
            self._end,
            lambda frame: results.on_scored(self, frame),
            self._on_settled,
        )
        answered = self._account.answered
        encoders = None if isinstance(signaling, WhepSignaling) else server.encoders
        self._track = server.create_track(self.ledger, encoders, answered, self._on_failure, self._on_congested)
        self._track.width = lambda: signaling.width
        self._unsubscribe: Callable[[], None] = lambda: None  # from a film that is published
        self._signaling = signaling
        self._telling: asyncio.Task[None] | None = None  # what numbers there are
        self._link: Link = self._create_link(signaling, server.args)
        self.ledger.tally.network = self._link.traffic

    def _create_link(self, signaling: AcceptedSignaling, args: argparse.Namespace) -> Link:
        """Return what brings the track to the client."""
        lost, ice = self._track.on_picture_lost, ice_config(args)
        if isinstance(signaling, WhepSignaling):
            codecs = (args.codec, *(codec for codec in CODECS if codec != args.codec))
            return WhepAnswer(signaling, self._account.on_message, ice, self._choose_codec, codecs, lost)
        match args.transport:
            case "datachannel":
                return ChannelOffer(signaling, self._account.on_message, ice, self._track)
            case "tcp":
                return TcpOffer(signaling, self._account.on_message, self._track)
            case _:
                return MediaOffer(signaling, self._account.on_message, ice, self._track, args.codec, lost)

    def _choose_codec(self, codec: str) -> "BallVideoTrack":
        """Return the track, as video in a codec that the peer takes."""
        self.transport, self.codec = "media", codec
        encoders = self._server.video(codec)
        self._track.encoded = Subscription(encoders) if encoders is not None else None
        return self._track

    def _send(self, text: str) -> None:
        self._link.send(text)

    def _on_congested(self) -> None:
        self._link.on_congested()

    def _on_settled(self, frame: Frame) -> None:
        """Learn from an answer what the client's connection can take."""
        place = self._track.encoded
        if place is not None and frame.answered is not None:
            place.rule.on_answer(frame.drawn, frame.answered)
            self._account.narrow = place.rule.rung > 0

    @property
    def rung(self) -> int:
        """Return the rung that the client is on; 0, the best, where there are none."""
        return self._track.encoded.rule.rung if self._track.encoded is not None else 0

    @property
    def pair(self) -> Pair | None:
        """Return the kinds of the two candidates that its connection goes by, if there is one with candidates."""
        return self._link.pair

    def summary(self) -> dict[str, Any]:
        """Return its score, how it was reached, and what was done for it, as plain values."""
        summary, place = self.ledger.tally.summary(), self._track.encoded
        summary["about"] = self._account.about
        summary["network"] |= {"rung": self.rung, "bitrate": place.bitrate if place is not None else None}
        summary["pair"] = self.pair._asdict() if self.pair is not None else None
        return summary

    def _end(self, why: str) -> None:
        self._why = self._why or why
        self._over.set()

    def _on_failure(self, error: Exception) -> None:
        """End what cannot go on without frames: this session, or where the film is gone for everybody the program."""
        if isinstance(error, FilmError):
            self._server.fail(str(error))
            return
        logger.error("client %d: no next frame: %r", self.number, error, exc_info=error)
        self._end(f"an error of ours: {error!r}")

    async def meet(self) -> bool:
        """Shake hands; return whether it came about.

        Raises:
            PeerError: the client does not keep to the protocol.
        """
        try:
            met = bool(await unless(self._server.stop, self._link.open()))
        except FramesElsewhere:
            await self._let_report_alone()
            met = bool(await unless(self._server.stop, self._link.open()))
        if not self._link.answers:
            self.kind, self._track.accounted = VIEWER, False
        if met:
            self._server.results.on_joined(self)
        return met

    async def _let_report_alone(self) -> None:
        """Take reports from a client that sees the film elsewhere: each frame that anybody gets is entered for it."""
        self._track.stop()
        self._track.encoded = None  # nothing is known of the connection that its frames come by
        await self._link.close()
        self._link = ServerLine(self._signaling, self._account.on_message)
        self.ledger.tally.network = self._link.traffic
        self.transport, self.codec = ELSEWHERE, "unknown"
        self.ledger.begin_at_first_report()
        self._unsubscribe = self._server.film.tell(self._on_shown)
        self._telling = start(self._tell_film(), self._on_failure)

    async def _tell_film(self) -> None:
        """Tell again and again what numbers can be seen, for one who reads them in a picture."""
        film = self._server.film
        while True:
            self._send(encode(FilmMessage(film.width, film.height, film.fps, film.run, film.newest)))
            await asyncio.sleep(FILM_INTERVAL)

    def _on_shown(self, shown: Shown) -> None:
        """Enter a frame that is shown somewhere."""
        try:
            self.ledger.sent(Frame(shown.k, shown.pts, shown.drawn, shown.truth, captured=shown.captured))
        except Exception as error:  # ours, and no reason why others should not get the frame
            self._on_failure(error)

    async def hold(self) -> str:
        """Film for the client until one side ends it. Returns why.

        Raises:
            PeerError: the client signals nonsense.
        """
        ended = unless(self._server.stop, unless(self._over, self._link.until_end()))
        end = await ended or self._why or self._server.failure or End.STOPPED
        self._stop_frames()
        if not self._over.is_set() and end not in {End.VANISHED, End.FAILED}:
            await wait_while(lambda: self.ledger.open > 0, self._account.answered, DRAIN_TIMEOUT)
            self._account.tell()
        return end

    def _stop_frames(self) -> None:
        self._track.stop()
        self._unsubscribe()
        self.ledger.stop()

    async def goodbye(self) -> None:
        """Tell the client that there is no more, and that it need not come back."""
        await self._link.goodbye()

    async def close(self, end: str) -> None:
        """Free everything, and close the account for the reason `end`."""
        self._stop_frames()
        if self._telling is not None:
            self._telling.cancel()
            await asyncio.wait([self._telling])
        await self._link.close()
        self._account.close(end)
        self._server.results.on_left(self)
