"""The film at a media server: published once by WHIP, and again whenever the session is lost."""

import argparse
import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from common.ice import IceServer, ice_config
from common.seldom import Seldom
from common.sessions import PeerError, SessionError, SlowPeerError
from common.urls import WHIP_TOKEN, token, without_secrets
from common.waiting import WELL_AFTER
from transport.aiortc_ice import Pair
from transport.http_signaling import HttpSignaling, UnavailableError, joined
from transport.media_server import WhipOffer, pauses

if TYPE_CHECKING:  # server.py runs as __main__, and is not to be imported a second time
    from server import BallVideoTrack

logger = logging.getLogger(__name__)


class Publisher:
    """Keeps the film published for as long as it runs.

    Args:
        args: the server's command line.
        create_track: returns the film, encoded once with that of all others, and not held back for anybody.
        say: tells a line to who watches the terminal.
    """

    def __init__(
        self,
        args: argparse.Namespace,
        create_track: "Callable[[Callable[[Exception], None]], BallVideoTrack]",
        say: Callable[[str], None],
    ) -> None:
        self._args, self._create_track, self._say = args, create_track, say
        self._where = without_secrets(args.whip)
        self._named: tuple[IceServer, ...] = ()  # STUN and TURN servers that the media server has named
        self._sessions = 0
        self._end = ""  # of the last one
        self._seldom = Seldom()
        self._untold = True  # whether that the film is published would be news

    def summary(self) -> dict[str, Any]:
        """Return what the summary tells of it: where, how often a session came about, and how the last one ended."""
        return {"url": self._where, "sessions": self._sessions, "end": self._end}

    async def run(self) -> None:
        """Publish until cancelled.

        Raises:
            PeerError: the media server will never have it.
        """
        growing, loop = pauses(), asyncio.get_running_loop()
        while True:
            before, wait, named, began = self._sessions, 0.0, self._named, loop.time()
            try:
                self._end = await self._publish()
            except PeerError as error:
                other_way = isinstance(error, SlowPeerError) and self._named != named
                if not self._sessions and not other_way:
                    raise
                self._end = str(error)  # it had been taken before, or there is a relay now to try it by
            except SessionError as error:
                self._end = str(error)
                wait = error.retry_after if isinstance(error, UnavailableError) else 0.0
            met, well = self._sessions > before, loop.time() - began >= WELL_AFTER
            if met and well:
                growing = pauses()
            pause = max(next(growing), wait)
            self._tell_lost(self._end if well or not met else f"{self._end} as soon as it was", pause)
            await asyncio.sleep(pause)

    def _tell_lost(self, why: str, pause: float) -> None:
        """Tell that the film is not published, and for how long (s) it will not be; the same once a minute."""
        if self._seldom.due(why):
            self._untold = True
            logger.warning("not published at %s: %s; once more in %g s", self._where, why, pause)

    def _tell_published(self, pair: Pair | None) -> None:
        """Tell that the film is published, unless it was not told that it was lost."""
        if self._untold:
            self._untold = False
            self._say(f"published at {self._where}" + (f" by {pair}" if pair is not None else ""))

    async def _publish(self) -> str:
        """Publish once; return why it ended.

        Raises:
            PeerError: the media server will not have it.
            SessionError: it may later, or something of ours failed.
        """
        args = self._args
        signaling = HttpSignaling(args.whip, "--whip", token(WHIP_TOKEN), WHIP_TOKEN, self._named)
        failures: list[Exception] = []
        track = self._create_track(failures.append)
        link: WhipOffer | None = None
        try:
            await signaling.connect()
            ice = joined(ice_config(args), signaling.ice_servers)
            link = WhipOffer(signaling, ice, track, args.codec, track.on_picture_lost)
            if not await link.open():
                return "the media server has gone"
            self._sessions += 1
            self._tell_published(link.pair)
            end = await link.until_end()
            return str(failures[0]) if failures else end
        finally:
            self._named = signaling.ice_servers
            track.stop()
            await signaling.close()
            if link is not None:
                await link.close()
