"""The line of reports: frames come from elsewhere, and messages go both ways over the signaling's own connection.

A client that sees the film elsewhere (a media server, a screen, a camera, a URL) meets the server as any other. The
offer says `a=reports:existing`; the client answers with a description of this alone, in the words of RFC 4145:

    m=application 9 TCP reports
    a=setup:active
    a=connection:existing

From then on the connection carries messages, as with tcp.py; what was offered besides is given up. Where the frames
come from is another question, that of a `FrameWay`: any way of frames goes with this way of reports.
"""

import asyncio
from typing import Protocol

from aiortc import RTCSessionDescription
from aiortc.contrib.signaling import TcpSocketSignaling

from common.sessions import End, PeerError
from protocol.framing import BYE, MAX_TEXT, TEXT
from transport.link import HANDSHAKE_TIMEOUT, REPORTS_TAKEN, UNHEARD, OnMessage, receive_offer
from transport.tcp import SDP, TcpLink, keep_alive

REPORTS = "TCP frames", "TCP reports"  # what the connection carries


class FrameWay(Protocol):
    """Where frames come from, if not from the session that the reports go to. A client's `Link` is one."""

    @property
    def flowing(self) -> bool:
        """Return whether frames come."""

    async def open(self) -> bool:
        """Begin; return whether it came about, or raise PeerError (for good) or SessionError (it may do later)."""

    async def until_end(self) -> End:
        """Wait until no more frames come, and return why; or raise as open() does."""

    async def close(self) -> None:
        """End it, at once. Does nothing the second time."""

    def on_round_trip(self, seconds: float) -> None:
        """Take note of how long it takes to the server and back."""


class ServerLine(TcpLink):
    """The server's end, from when a client has answered that it sees the film elsewhere."""

    def __init__(self, signaling: TcpSocketSignaling, on_message: OnMessage) -> None:
        super().__init__(signaling, on_message, {TEXT: MAX_TEXT, BYE: 0})

    async def _shake_hands(self) -> bool:
        keep_alive(self._take_over())
        return True


class ClientLine(TcpLink):
    """The client's end, with the way that its frames come by.

    Args:
        frames: where they come from; it is opened when the server is there, and closed with the line.
    """

    def __init__(self, signaling: TcpSocketSignaling, on_message: OnMessage, frames: FrameWay) -> None:
        super().__init__(signaling, on_message, {TEXT: MAX_TEXT, BYE: 0})
        self._frames = frames

    @property
    def flowing(self) -> bool:
        """Return whether frames come."""
        return self._frames.flowing

    async def open(self, patience: float = HANDSHAKE_TIMEOUT) -> bool:
        """Shake hands, and begin with the frames; see Link.open."""
        return await super().open(patience) and await self._frames.open()

    async def _shake_hands(self) -> bool:
        self._stage = UNHEARD
        offer = await receive_offer(self.signaling)
        if offer is None:
            return False
        if REPORTS_TAKEN not in offer.sdp:
            raise PeerError("the server takes reports on frames of its own only: it is older than this client")
        await self.signaling.send(RTCSessionDescription(SDP.format(setup="active").replace(*REPORTS), "answer"))
        keep_alive(self._take_over())
        return True

    async def _until_end(self) -> End:
        ends = [asyncio.create_task(each) for each in (super()._until_end(), self._frames.until_end())]
        try:
            done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            return next(each for each in ends if each in done).result()
        finally:
            for each in ends:
                each.cancel()
            await asyncio.wait(ends)

    def on_round_trip(self, seconds: float) -> None:
        """Take note of how long it takes to the server and back."""
        self._frames.on_round_trip(seconds)

    async def close(self) -> None:
        """End the session at once. Does nothing the second time."""
        await self._frames.close()
        await super().close()
