"""How frames and messages travel between server and client.

A `Link` is one end of a connection: frames go one way, messages both ways. The server's end takes its frames
from a track, the client's end hands them to a callback; what lies between is the link's own affair, so that
scoring, finding and views know nothing of it.

    --transport    ends                                    how frames travel
    media          media.MediaOffer, MediaAnswer           as a MediaStreamTrack: WebRTC video
    datachannel    datachannel.ChannelOffer, ChannelAnswer as encoded images over an RTCDataChannel
    tcp            tcp.TcpOffer, TcpAnswer                 as encoded images over the signaling's own connection

The server offers one of them, and the client has to be told the same. Browsers and players offer themselves, and are
answered by whep.WhepAnswer: video, whatever --transport says. Whoever sees the film elsewhere answers the offer with
the wish to report alone: line.ServerLine, ClientLine, and a way of frames that goes with them.

    open()          shakes hands; then frames flow
    send(text)      sends a message, if that is possible now, and says whether it was
    on_message      is called with each message that arrives, unchecked
    until_end()     waits until the peer ends it, or nothing comes of it any more, and says why
    flowing         whether frames come (the client's end)
    unreliable      whether a message may get lost
    on_congested()  is told when latency grows, so that nothing more than needed is sent
    on_loss         is called with each sign that packets get lost on their way to us
    on_round_trip() is told how long it takes to the peer and back
    pair            what kinds of candidates are in use, if any
    traffic         counts what was sent, and what was sent again
    expel()         ends it because the peer asks too much of us
    goodbye()       tells the peer that we want to end
    close()         ends it, at once; twice does no harm
"""

import asyncio
import logging
import re
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

from aiortc import RTCSessionDescription
from aiortc.contrib.signaling import TcpSocketSignaling

from ball_track import Image
from common.sessions import End, PeerError, SessionError, SlowPeerError
from common.waiting import unless
from transport.aiortc_ice import Pair
from transport.signaling import receive_description, say_goodbye

logger = logging.getLogger(__name__)

HANDSHAKE_TIMEOUT = 10.0  # s from the connection to the first message of the data channel
FRAMES_TIMEOUT = 5.0  # s without a frame from a server that is there, after which it is of no use
LOOK_INTERVAL = 0.5  # s between two looks whether frames come
MAX_BUFFERED = 65536  # bytes of messages that a peer may leave unread; further ones are not sent
UNMET = ": the two have not reached each other"
NO_CHANNEL = ": connected, but no channel coordinates was opened"
UNHEARD = ": something listens there, but it says nothing, as our servers do at once"
TRANSPORTS = {  # what the first of these that is in an offer says of how frames travel
    "media": re.compile(r"^m=video ", re.MULTILINE),
    "datachannel": re.compile(r"^m=application \d+ (UDP|TCP)/DTLS/SCTP ", re.MULTILINE),
    "tcp": re.compile(r"^m=application \d+ TCP ", re.MULTILINE),
}
REPORTS_TAKEN = "a=reports:existing"  # in an offer: its answer may be that of one who sees the film elsewhere
REPORTS_ONLY = re.compile(r"^m=application \d+ TCP reports", re.MULTILINE)  # that answer
OnFrame = Callable[[int, tuple[Image, ...]], None]
OnMessage = Callable[[object], None]
OnSkipped = Callable[[int], None]


class Link(ABC):
    """One end of a connection.

    Args:
        signaling: the connection that the session lives and dies with.
        on_message: called with each message that arrives.

    answers: whether the peer says what it finds; known when open() has returned.
    """

    answers = True

    def __init__(self, signaling: TcpSocketSignaling, on_message: OnMessage) -> None:
        self.signaling = signaling
        self._flowing = True
        self._on_message = on_message
        self.on_loss: Callable[[], None] = lambda: None
        self.unreliable = False  # whether a message may get lost, so that it is worth saying twice
        self.pair: Pair | None = None  # of candidates in use, where there are any
        self.traffic: Counter[str] = Counter()  # bytes_sent; packets resent_asked, resent_unasked
        self._cut_off = asyncio.Event()
        self._why = End.EXPELLED  # it was cut off, unless there is an error
        self._error: PeerError | SessionError | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._stage = ""  # of the handshake: what is to be said if it takes too long
        self._deadline: asyncio.Timeout | None = None  # of the handshake

    @property
    def flowing(self) -> bool:
        """Return whether frames come."""
        return self._flowing

    async def open(self, patience: float = HANDSHAKE_TIMEOUT) -> bool:
        """Shake hands. Returns False if the peer leaves instead.

        Args:
            patience: s for the peer to say something; from then on the handshake has HANDSHAKE_TIMEOUT.

        Raises:
            PeerError: it does not keep to the protocol; SlowPeerError: it does so too slowly.
            SessionError: something of ours failed.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with asyncio.timeout(min(patience, HANDSHAKE_TIMEOUT)) as self._deadline:
                return await self._shake_hands()
        except TimeoutError:
            raise SlowPeerError(f"no handshake within {loop.time() - began:.2g} s{self._stage}") from None

    def _on_heard(self) -> None:
        """Give the handshake the time that it takes: the peer is there, and speaks the protocol."""
        self._stage = UNMET
        self._allow(HANDSHAKE_TIMEOUT)

    def _allow(self, seconds: float | None) -> None:
        """Give the handshake so many seconds from now on; None leaves it its time."""
        if self._deadline is not None:
            now = asyncio.get_running_loop().time()
            self._deadline.reschedule(None if seconds is None else now + seconds)

    async def until_end(self) -> End:
        """Wait until the peer ends the session, or is expelled, or frames no longer come, and return why.

        Raises:
            PeerError: it sends nonsense.
            SessionError: something of ours failed.
        """
        end = await unless(self._cut_off, self._until_end())
        if end is None and self._error is not None:
            raise self._error
        return end or self._why

    def on_message(self, message: object) -> None:
        """Hand on a message; what fails then is ours, and not for aiortc to take for the peer's."""
        try:
            self._on_message(message)
        except Exception as error:  # whatever it is, the session ends with it
            self._fail(error)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        """Start a task that belongs to the session: if it fails, the session has ended."""
        task = asyncio.create_task(work)
        task.add_done_callback(self._on_task_ended)
        self._tasks.append(task)

    def _on_task_ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Exception):
            self._fail(error)

    async def _stop_tasks(self) -> None:
        """Cancel the session's tasks, and wait until they have ended."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _fail(self, error: Exception) -> None:
        """Make until_end() raise: something of ours failed."""
        logger.debug("session failed", exc_info=error)
        if self._error is None:
            self._error = SessionError(f"an error of ours: {error!r}")
        self._cut_off.set()

    def expel(self) -> None:
        """Make until_end() return: the peer asks too much of us."""
        self._cut_off.set()

    def on_congested(self) -> None:  # noqa: B027  # most ways have nothing to leave out
        """Take note that latency grows."""

    def on_round_trip(self, seconds: float) -> None:  # noqa: B027  # most ways have nothing to ask for
        """Take note of how long it takes to the peer and back."""

    def _refuse(self, what: str) -> None:
        """Make until_end() raise: the peer sent `what`."""
        if self._error is None:
            self._error = PeerError(what)
        self._cut_off.set()

    async def goodbye(self) -> None:
        """Tell the peer that we want to end; it may still have to say what is on its way."""
        await say_goodbye(self.signaling)

    async def _watch_frames(self) -> None:
        """Cut the session off when the server is there, and has sent nothing of a frame for FRAMES_TIMEOUT.

        A network that is gone is silent altogether: the session waits for it, for as long as WebRTC does. When the
        peer is heard again, frames have half of the time once more.
        """
        began, alive_since = time.monotonic(), None
        while True:
            await asyncio.sleep(LOOK_INTERVAL)
            now = time.monotonic()
            newest, heard = max(began, self._last_frame()), self._last_heard()
            was, self._flowing = self._flowing, now - newest < FRAMES_TIMEOUT
            if heard - newest < 2 * LOOK_INTERVAL:
                alive_since = None
            elif alive_since is None:
                alive_since = now
            if was and not self._flowing:
                silent = "" if alive_since is not None else ", nor anything else of the server's"
                logger.warning("no frame for %g s%s", FRAMES_TIMEOUT, silent)
            if not self._flowing and alive_since is not None and now - alive_since > FRAMES_TIMEOUT / 2:
                self._why = End.NO_FRAMES
                self._cut_off.set()
                return

    def _last_frame(self) -> float:
        """Return when anything of a frame last came (s, monotonic); 0 for never."""
        return 0.0

    def _last_heard(self) -> float:
        """Return when anything of the peer's last came (s, monotonic); 0 for never, or where nothing tells."""
        return 0.0

    @abstractmethod
    async def _shake_hands(self) -> bool: ...

    @abstractmethod
    def send(self, text: str) -> bool:
        """Send a message, if the peer is there and reads what it gets; return whether it was sent."""

    @abstractmethod
    async def _until_end(self) -> End: ...

    @abstractmethod
    async def close(self) -> None:
        """End the session at once. Does nothing the second time."""


class FramesElsewhere(Exception):  # noqa: N818  # no error: the client wants it so
    """A client answers an offer: it sees the film elsewhere, and is there for reports."""


async def exchange(signaling: TcpSocketSignaling, offer: RTCSessionDescription) -> RTCSessionDescription | None:
    """Send the server's offer, and return the client's answer; None if it leaves instead.

    Raises:
        PeerError: what it says is no answer.
        FramesElsewhere: it answers that it sees the film elsewhere.
    """
    sdp = offer.sdp.replace("\r\nm=", f"\r\n{REPORTS_TAKEN}\r\nm=", 1)
    await signaling.send(RTCSessionDescription(sdp, offer.type))
    answer = await receive_description(signaling, "answer")
    if answer is not None and REPORTS_ONLY.search(answer.sdp):
        raise FramesElsewhere
    return answer


async def receive_offer(signaling: TcpSocketSignaling) -> RTCSessionDescription | None:
    """Return the server's offer; None if it leaves instead.

    Raises:
        PeerError: it is no offer.
    """
    try:
        return await receive_description(signaling, "offer")
    except PeerError as error:
        raise PeerError(f"what listens there does not speak our protocol: {error}") from None


async def receive_offer_of(signaling: TcpSocketSignaling, transport: str) -> RTCSessionDescription | None:
    """Return the server's offer; None if it leaves instead.

    Args:
        transport: a key of TRANSPORTS; how we want the frames to travel.

    Raises:
        PeerError: it is no offer, or one of another transport.
    """
    offer = await receive_offer(signaling)
    if offer is None:
        return None
    theirs = next((name for name, pattern in TRANSPORTS.items() if pattern.search(offer.sdp)), None)
    if theirs is None:
        raise PeerError("an offer of no transport that we know")
    if theirs != transport:
        raise PeerError(f"the server sends frames by {theirs}, not by {transport}: use --transport {theirs}")
    return offer
