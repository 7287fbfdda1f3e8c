"""Our end of what a media server carries: WHIP publishes the film there, WHEP watches it.

Both offer over HTTP (http_signaling.py), and the server answers. No connection lives as long as the session: that the
server is gone is known by its silence: whoever speaks ICE answers a connectivity check (RFC 7675).
"""

import asyncio
import contextlib
import logging
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

from aiortc import MediaStreamTrack, RTCSessionDescription

from common.ice import IceConfig, IceServer
from common.seldom import Seldom
from common.sessions import End, PeerError, SessionError, SlowPeerError
from common.urls import WHEP_TOKEN, without_secrets
from common.waiting import backoff, unless
from transport import aiortc_internals as internals
from transport.aiortc_ice import asker
from transport.descriptions import refused_video
from transport.http_signaling import HttpSignaling, joined
from transport.link import HANDSHAKE_TIMEOUT, LOOK_INTERVAL, UNMET, OnFrame
from transport.media import MIME_TYPES, MediaReceiver, MediaSender
from transport.signaling import receive_description
from transport.webrtc import PeerLink, accept_description

logger = logging.getLogger(__name__)

ASK_AFTER, SILENCE = 1.0, 3.0  # s of silence after which a server is asked at every look, and until it is gone
SILENCE_UNASKED = 12.0  # s, where it cannot be asked: aioice does so every 5 s
PAUSE_FIRST, PAUSE_MAX = 0.5, 30.0  # s between two attempts; doubled each time
WATCH_MAX = 1.0  # s, while somebody waits for a film that is about to be published
_seldom = Seldom()  # each session begins anew to ask


class HttpOffer(PeerLink):
    """Our end of a connection that we offer over HTTP."""

    signaling: HttpSignaling

    @abstractmethod
    def _add_media(self) -> None:
        """Put what the frames travel by into the connection, before it is offered."""

    def _check(self, answer: RTCSessionDescription) -> None:
        """Refuse an answer without what was offered.

        Raises:
            PeerError: it is one; the text says what to do.
        """

    async def _shake_hands(self) -> bool:
        self._add_media()
        connected = self._watch_connection()
        await self._describe(self._pc.createOffer)
        await self.signaling.send(self._pc.localDescription)
        answer = await receive_description(self.signaling, "answer")
        if answer is None:
            return False
        self._check(answer)
        await accept_description(self._pc, answer)
        self._stage = UNMET
        if await unless(connected, self.until_end()) is not None:
            self._stage = ""  # it has ended the connection: that is no word on whether there is a way
            return False
        self._ready.set()
        self._start(self._watch_silence())
        return True

    def _gathering(self, offer: RTCSessionDescription | None = None) -> AbstractContextManager[None]:  # noqa: ARG002
        """Gather candidates where the server was met first; its media may be elsewhere, as in a container."""
        host = self.signaling.own_host
        return contextlib.nullcontext() if host is None else internals.gathering_at(host, only=False)

    async def _watch_silence(self) -> None:
        """Cut the session off when the server is silent, and goes on to be when asked; our own sleep does not count."""
        ask, last, silent = asker(self._pc), self._last_heard(), 0
        while silent * LOOK_INTERVAL < (SILENCE if ask is not None else SILENCE_UNASKED):
            asking = ask() if ask is not None and silent * LOOK_INTERVAL >= ASK_AFTER else asyncio.sleep(0)
            await asyncio.gather(asyncio.sleep(LOOK_INTERVAL), asking)
            heard = self._last_heard()
            silent = silent + 1 if heard and heard == last else 0
            last = heard
        self._why = End.VANISHED
        self._cut_off.set()

    async def close(self) -> None:
        """End the session at once, at the server too. Does nothing the second time."""
        await self.signaling.close()
        await super().close()


def pauses() -> Iterator[float]:
    """Return the pauses (s) between attempts, without end: doubled each time, up to PAUSE_MAX."""
    return backoff(PAUSE_FIRST, PAUSE_MAX)


# --- WHIP ------------------------------------------------------------------------------------------


class WhipOffer(HttpOffer, MediaSender):
    """The one who publishes.

    Args:
        track: where the frames come from; it is asked for the first one when there is a connection.
        codec: a key of MIME_TYPES.
        on_picture_lost: called when the media server, or somebody behind it, cannot decode what it gets.
    """

    def __init__(
        self,
        signaling: HttpSignaling,
        ice: IceConfig,
        track: MediaStreamTrack,
        codec: str,
        on_picture_lost: Callable[[], None],
    ) -> None:
        super().__init__(signaling, lambda _: None, ice)
        self._track, self._codec, self._on_picture_lost = track, codec, on_picture_lost

    def _add_media(self) -> None:
        self._add_video(self._track, self._codec, self._on_picture_lost)

    def _check(self, answer: RTCSessionDescription) -> None:
        reason = refused_video(answer.sdp, MIME_TYPES[self._codec].removeprefix("video/"))
        if reason is not None:
            raise PeerError(reason)


# --- WHEP ------------------------------------------------------------------------------------------


class WhepOffer(HttpOffer, MediaReceiver):
    """One who watches."""

    def _add_media(self) -> None:
        self._expect_frames()
        self._pc.addTransceiver("video", direction="recvonly")

    async def _shake_hands(self) -> bool:
        met = await super()._shake_hands()
        if met:
            self._start(self._watch_frames())
        return met


class WhepFrames:
    """A way of frames: what somebody has published at a media server.

    Args:
        url: of the WHEP endpoint.
        token: the bearer token that it wants, if any.
        ice: our own servers.
        on_frame: called with each frame's pts (ticks) and planes.
        jitter_buffer: see MediaReceiver.
    """

    def __init__(self, url: str, token: str | None, ice: IceConfig, on_frame: OnFrame, jitter_buffer: str) -> None:
        self._url, self._token, self._ice = url, token, ice
        self._on_frame, self._jitter_buffer = on_frame, jitter_buffer
        self._link: WhepOffer | None = None
        self._named: tuple[IceServer, ...] = ()  # STUN and TURN servers that the media server has named

    @property
    def flowing(self) -> bool:
        """Return whether frames come."""
        return self._link is not None and self._link.flowing

    async def open(self) -> bool:
        """Watch, and wait a while for what is to be published.

        Raises:
            PeerError: the media server will never let us.
            SessionError: it may later.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + HANDSHAKE_TIMEOUT
        for pause in backoff(PAUSE_FIRST, WATCH_MAX):
            before = self._named
            try:
                return await self._open_once()
            except SlowPeerError:
                if self._named == before:
                    raise  # there is no other way to try
            except SessionError as error:
                if loop.time() + pause > deadline:
                    raise
                if pause == PAUSE_FIRST and _seldom.due(str(error)):
                    logger.warning("%s; asked again for %g s", error, HANDSHAKE_TIMEOUT)
            await asyncio.sleep(pause)
        raise AssertionError

    async def _open_once(self) -> bool:
        signaling = HttpSignaling(self._url, "--whep", self._token, WHEP_TOKEN, self._named)
        try:
            await signaling.connect()
            ice = joined(self._ice, signaling.ice_servers)
            self._link = WhepOffer(signaling, lambda _: None, ice, self._on_frame, self._jitter_buffer)
            met = await self._link.open()
            logger.info("watching %s by %s", without_secrets(self._url), self._link.pair)
        except BaseException:
            self._named = signaling.ice_servers
            await signaling.close()
            await self.close()
            raise
        return met

    async def until_end(self) -> End:
        """Wait until no more frames come, and return why."""
        assert self._link is not None
        return await self._link.until_end()

    async def close(self) -> None:
        """End it, at once. Does nothing the second time."""
        link, self._link = self._link, None
        if link is not None:
            await link.close()

    def on_round_trip(self, seconds: float) -> None:
        """Do nothing: that is the time to the server that gets the reports, and not to the one that sends frames."""
