"""How frames and messages travel between server and client.

A `Link` is one end of a connection: frames go one way, messages both ways. The server's end takes its frames
from a track, the client's end hands them to a callback; what lies between is the link's own affair, so that
scoring, finding and views know nothing of it.

    --transport    ends                                    how frames travel
    media          media.MediaOffer, MediaAnswer           as a MediaStreamTrack: WebRTC video
    datachannel    datachannel.ChannelOffer, ChannelAnswer as encoded images over an RTCDataChannel
    tcp            tcp.TcpOffer, TcpAnswer                 as encoded images over the signaling's own connection

The server offers one of them, and the client has to be told the same.

    open()          shakes hands; then frames flow
    send(text)      sends a message, if that is possible now, and says whether it was
    on_message      is called with each message that arrives, unchecked
    until_end()     waits until the peer ends it, and says why
    expel()         ends it because the peer asks too much of us
    goodbye()       tells the peer that we want to end
    close()         ends it, at once; twice does no harm
"""

import asyncio
import re
from abc import ABC, abstractmethod
from collections.abc import Callable

from aiortc import RTCSessionDescription
from aiortc.contrib.signaling import BYE, TcpSocketSignaling

from ball_track import Image
from common.sessions import End, PeerError, SlowPeerError
from common.waiting import unless
from transport.signaling import receive_description

HANDSHAKE_TIMEOUT = 10.0  # s from the connection to the first message of the data channel
MAX_BUFFERED = 65536  # bytes of messages that a peer may leave unread; further ones are not sent
KINDS = {  # what the first of these that is in an offer says of how frames travel
    "media": re.compile(r"^m=video ", re.MULTILINE),
    "datachannel": re.compile(r"^m=application \d+ (UDP|TCP)/DTLS/SCTP ", re.MULTILINE),
    "tcp": re.compile(r"^m=application \d+ TCP ", re.MULTILINE),
}
OnFrame = Callable[[int, tuple[Image, ...]], None]
OnMessage = Callable[[object], None]
OnSkipped = Callable[[int], None]


class Link(ABC):
    """One end of a connection.

    Args:
        signaling: the connection that the session lives and dies with.
        on_message: called with each message that arrives. It must not raise: aiortc would hang up.
    """

    def __init__(self, signaling: TcpSocketSignaling, on_message: OnMessage) -> None:
        self.signaling = signaling
        self.on_message = on_message
        self._cut_off = asyncio.Event()
        self._nonsense: str | None = None  # what the peer was cut off for

    async def open(self) -> bool:
        """Shake hands. Returns False if the peer leaves instead.

        Raises:
            PeerError: it does not keep to the protocol; SlowPeerError: it does so too slowly.
        """
        try:
            async with asyncio.timeout(HANDSHAKE_TIMEOUT):
                return await self._shake_hands()
        except TimeoutError:
            raise SlowPeerError(f"no handshake within {HANDSHAKE_TIMEOUT:g} s") from None

    async def until_end(self) -> End:
        """Wait until the peer ends the session, or is expelled, and return why.

        Raises:
            PeerError: it sends nonsense.
        """
        end = await unless(self._cut_off, self._until_end())
        if end is None and self._nonsense is not None:
            raise PeerError(self._nonsense)
        return end or End.EXPELLED

    def expel(self) -> None:
        """Make until_end() return: the peer asks too much of us."""
        self._cut_off.set()

    def _refuse(self, what: str) -> None:
        """Make until_end() raise: the peer sent `what`."""
        self._nonsense = what
        self._cut_off.set()

    async def goodbye(self) -> None:
        """Tell the peer that we want to end; it may still have to say what is on its way."""
        await self.signaling.send(BYE)

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


async def receive_offer(signaling: TcpSocketSignaling, transport: str) -> RTCSessionDescription | None:
    """Return the server's offer; None if it leaves instead.

    Args:
        transport: a key of KINDS; how we want the frames to travel.

    Raises:
        PeerError: it is no offer, or one of another transport.
    """
    offer = await receive_description(signaling, "offer")
    if offer is None:
        return None
    theirs = next((name for name, pattern in KINDS.items() if pattern.search(offer.sdp)), None)
    if theirs is None:
        raise PeerError("an offer of no transport that we know")
    if theirs != transport:
        raise PeerError(f"the server sends frames by {theirs}, not by {transport}: use --transport {theirs}")
    return offer
