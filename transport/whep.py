"""WHEP: signaling over HTTP, for browsers and players. They offer, the server answers.

    POST /whep              an offer (application/sdp); 201, the answer, and in Location where the session is
    DELETE /whep/SESSION    ends it
    OPTIONS                 says what can be asked

Who opens a channel named `coordinates` is a client like any other. A player that opens none is shown the film, and
nothing is expected of it. No connection lives as long as the session: that the peer is gone is known by its silence,
as whoever receives video reports on it once a second (RTCP).

Candidates are not trickled and ICE is not restarted: 405 for PATCH. Another site's page is not answered.

Source: draft-ietf-wish-whep-03; RFC 9725 (WHIP) for what the two share.
"""

import asyncio
import contextlib
import secrets
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web
from aiortc import MediaStreamTrack, RTCSessionDescription
from aiortc.contrib.signaling import BYE

from common.ice import IceConfig
from common.sessions import End, PeerError
from common.waiting import unless
from protocol.messages import SCORES
from transport.link import UNMET, OnMessage
from transport.media import MIME_TYPES, MediaSender
from transport.signaling import AcceptedSignaling, format_address, receive_description
from transport.webrtc import accept_description, refusing

SDP = "application/sdp"
MAX_BODY = 65536  # bytes of an offer; a browser's has some 6000
BODY_TIMEOUT = 5.0  # s for it to come
MAX_SECTIONS = 8  # of an offer; one is enough
CANDIDATE_LINES = ("a=candidate:", "a=end-of-candidates")
MAX_CANDIDATES = 16  # of an offer's that are tried: each costs checks
CHANNEL_PATIENCE = 2.0  # s that a player which has offered a channel gets to open `coordinates`
SILENCE = 4.0  # s without a packet after which the peer is gone
LISTEN_INTERVAL = 0.5  # s between two looks at whether there were any


# --- The session's signaling -----------------------------------------------------------------------


class WhepSignaling(AcceptedSignaling):
    """What `TcpSocketSignaling` is to a TCP connection: one offer, one answer, one goodbye.

    Args:
        request: what it came with.
        offer: what it offers, SDP.
        on_close: called at the end.
    """

    kind = "browser"

    def __init__(self, request: web.Request, offer: str, on_close: "Callable[[WhepSignaling], object]") -> None:
        super(AcceptedSignaling, self).__init__("", 0)  # no connection: there is one for each request
        self._connection = None
        assert request.transport is not None
        self.peer = format_address(request.transport.get_extra_info("peername"))
        self.host = self.peer.rpartition(":")[0]
        self.own_host = str(request.transport.get_extra_info("sockname")[0])
        self.on_spoken = lambda: None
        self.name = secrets.token_urlsafe(16)  # who knows it may end the session
        self.answer: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._on_close = on_close
        self._received: asyncio.Queue[object] = asyncio.Queue()
        self._received.put_nowait(RTCSessionDescription(offer, "offer"))

    def hang_up(self) -> None:
        """Take note of the peer's goodbye."""
        self._received.put_nowait(BYE)

    async def connect(self) -> None:
        """Do nothing: the peer has come to us."""

    async def receive(self) -> Any:
        """Wait for what the peer says next: its offer, then its goodbye."""
        received = await self._received.get()
        self.on_spoken()
        return received

    async def send(self, descr: object) -> None:
        """Answer the peer. A goodbye is told by the connection's end."""
        if isinstance(descr, RTCSessionDescription) and not self.answer.done():
            self.answer.set_result(descr.sdp)

    async def close(self) -> None:
        """Leave the peer without an answer if it has none yet. Does nothing the second time."""
        if not self.answer.done():
            self.answer.set_result(None)
        self._on_close(self)


def clean(offer: str) -> str:
    r"""Return an offer as aiortc needs it: the same few candidates in each section, and never said to be all.

    A browser names its candidates in the first section of a bundle, aiortc takes those of the last. Names that only
    the browser's own network can resolve (.local) would end ICE before it has begun; without an end of candidates,
    aiortc waits for the browser's own checks, and learns its address from them.

    >>> clean("v=0\r\nm=video 9\r\na=candidate:1 1 udp 1 a.local 1 typ host\r\na=end-of-candidates\r\n")
    'v=0\r\nm=video 9\r\n'
    """
    lines = offer.replace("\r\n", "\n").rstrip("\n").split("\n")
    named = [line for line in dict.fromkeys(lines) if line.startswith("a=candidate:")]
    candidates = [line for line in named if ".local " not in line][:MAX_CANDIDATES]
    head, *sections = "\n".join(line for line in lines if not line.startswith(CANDIDATE_LINES)).split("\nm=")
    whole = [head, *("\n".join((f"m={section}", *candidates)) for section in sections)]
    return "\n".join(whole).replace("\n", "\r\n") + "\r\n"


# --- The link --------------------------------------------------------------------------------------


class WhepAnswer(MediaSender):
    """The server's end of a connection that a browser or a player has offered.

    Args:
        create_track: returns where the frames come from, for a codec.
        codecs: keys of MIME_TYPES, the preferred one first.
        on_picture_lost: called when the peer cannot decode what it gets.
    """

    def __init__(
        self,
        signaling: WhepSignaling,
        on_message: OnMessage,
        ice: IceConfig | None,
        create_track: Callable[[str], MediaStreamTrack],
        codecs: tuple[str, ...],
        on_picture_lost: Callable[[], None],
    ) -> None:
        super().__init__(signaling, on_message, ice)
        self._create_track = create_track
        self._codecs = codecs
        self._on_picture_lost = on_picture_lost

    async def _shake_hands(self) -> bool:
        offer = await receive_description(self.signaling, "offer")
        if offer is None:
            return False
        codec = choose_codec(offer.sdp, self._codecs)
        if codec is None or not is_bundled(offer.sdp):
            raise PeerError("an offer without a video that we have, or whose sections are not one bundle")
        transceiver = self._add_video(self._create_track(codec), codec, self._on_picture_lost)
        connected, opened = self._watch_connection(), asyncio.Event()
        self._expect_coordinates(opened)
        await accept_description(self._pc, RTCSessionDescription(clean(offer.sdp), "offer"))
        if self._pc.sctp is not None:
            self._outgoing = self._pc.createDataChannel(SCORES, ordered=False, maxRetransmits=0)
        with refusing("offer"):
            await self._describe(self._pc.createAnswer, offer)
        self._stage = UNMET
        if transceiver.currentDirection != "sendonly":
            raise PeerError("an offer that does not ask for video")
        await self.signaling.send(self._pc.localDescription)
        if await unless(connected, self.until_end()) is not None:
            return False
        if self._pc.sctp is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CHANNEL_PATIENCE):
                    if await unless(opened, self.until_end()) is not None:
                        return False
        self.answers = opened.is_set()
        self._send_again()
        opened.set()  # who opens the channel later is a viewer still
        self._ready.set()
        return True

    def _local_host(self) -> str | None:
        assert isinstance(self.signaling, WhepSignaling)
        return self.signaling.own_host

    async def close(self) -> None:
        """End the session at once. Does nothing the second time."""
        await super().close()
        await self.signaling.close()

    async def _until_end(self) -> End:
        silent = asyncio.Event()
        listening = asyncio.create_task(self._listen(silent))
        try:
            return await unless(silent, super()._until_end()) or End.VANISHED
        finally:
            listening.cancel()
            await asyncio.wait([listening])

    async def _listen(self, silent: asyncio.Event) -> None:
        """Set an event when nothing was heard of the peer for SILENCE."""
        loop = asyncio.get_running_loop()
        heard, last = -1, loop.time()
        while loop.time() - last < SILENCE or not self._ready.is_set():
            await asyncio.sleep(LISTEN_INTERVAL)
            report = await self._pc.getStats()
            received = sum(each.packetsReceived for each in report.values() if each.type == "transport")
            if received != heard:
                heard, last = received, loop.time()
        silent.set()


def is_bundled(offer: str) -> bool:
    r"""Return whether an offer's few sections all go over one transport; aiortc loses itself in any other.

    >>> is_bundled("a=group:BUNDLE 0 1\r\nm=video 9\r\na=mid:0\r\nm=application 9\r\na=mid:1\r\n")
    True
    """
    lines = offer.splitlines()
    sections = sum(line.startswith("m=") for line in lines)
    mids = [line.removeprefix("a=mid:") for line in lines if line.startswith("a=mid:")]
    groups = [line.split(" ")[1:] for line in lines if line.startswith("a=group:BUNDLE")]
    if sections == 1 and not groups:
        return True
    return 0 < sections == len(set(mids)) == len(mids) <= MAX_SECTIONS and groups == [mids]


def choose_codec(offer: str, codecs: tuple[str, ...]) -> str | None:
    r"""Return the first of `codecs` (keys of MIME_TYPES) that an offer's SDP has, or None.

    >>> choose_codec("m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=rtpmap:96 H264/90000\r\n", ("vp8", "h264"))
    'h264'
    """
    names = {line.split(" ")[-1].split("/")[0].upper() for line in offer.splitlines() if line.startswith("a=rtpmap:")}
    return next((codec for codec in codecs if MIME_TYPES[codec].removeprefix("video/").upper() in names), None)


# --- What is served --------------------------------------------------------------------------------


class Whep:
    """Serves /whep.

    Args:
        admit: begins a session with its signaling; returns False if too many are shaking hands.
    """

    def __init__(self, admit: Callable[[WhepSignaling], bool]) -> None:
        self._admit = admit
        self._sessions: dict[str, WhepSignaling] = {}

    def add_routes(self, app: web.Application) -> None:
        """Add what is served to a web application."""
        app.router.add_post("/whep", self._post)
        app.router.add_options("/whep", self._options)
        app.router.add_delete("/whep/{name}", self._delete)
        app.router.add_options("/whep/{name}", self._options)

    async def _options(self, request: web.Request) -> web.Response:
        post = "name" not in request.match_info
        allow = {"Allow": "OPTIONS, POST", "Accept-Post": SDP} if post else {"Allow": "DELETE, OPTIONS"}
        return web.Response(status=204, headers=allow)

    async def _post(self, request: web.Request) -> web.Response:
        refuse_other_sites(request)
        if request.content_type != SDP:
            raise web.HTTPUnsupportedMediaType(text=f"an offer is {SDP}\n", headers={"Accept-Post": SDP})
        try:
            async with asyncio.timeout(BODY_TIMEOUT):
                body = await request.clone(client_max_size=MAX_BODY).read()  # raises 413
        except TimeoutError:
            raise web.HTTPRequestTimeout(text="half an offer\n") from None
        try:
            offer = body.decode()
        except UnicodeDecodeError:
            raise web.HTTPBadRequest(text="an offer is UTF-8\n") from None
        signaling = WhepSignaling(request, offer, self._forget)
        if not self._admit(signaling):
            raise web.HTTPServiceUnavailable(text="too many others at once\n", headers={"Retry-After": "1"})
        self._sessions[signaling.name] = signaling
        answer = await signaling.answer
        if answer is None:
            raise web.HTTPUnprocessableEntity(text="an offer that cannot be used\n")
        headers = {"Location": f"/whep/{signaling.name}", "ETag": f'"{secrets.token_urlsafe(8)}"'}
        return web.Response(status=201, text=answer, content_type=SDP, headers=headers)

    def _forget(self, signaling: WhepSignaling) -> None:
        self._sessions.pop(signaling.name, None)

    async def _delete(self, request: web.Request) -> web.Response:
        refuse_other_sites(request)
        signaling = self._sessions.get(request.match_info["name"])
        if signaling is None:
            raise web.HTTPNotFound(text="no such session\n")
        signaling.hang_up()
        return web.Response()


def refuse_other_sites(request: web.Request) -> None:
    """Raise 403 for what a page of another site asks: a browser names it in Origin."""
    origin = request.headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc.lower() != request.host.lower():
        raise web.HTTPForbidden(text="asked by another site's page\n")
