"""The channel of the coordinates: nothing is filmed before it is open at the client's end, whoever opened it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
from aiortc import MediaStreamTrack, RTCDataChannel, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import VIDEO_TIME_BASE
from aiortc.rtcsctptransport import CookieAckChunk, CookieEchoChunk, DataChunk
from av import VideoFrame

from protocol.messages import COORDINATES, COORDINATES_ID, Ready, encode
from support.links import signaling
from support.programs import PATIENCE
from transport import webrtc
from transport.ice import configuration
from transport.media import MediaAnswer, MediaOffer
from transport.signaling import receive_description

SCTP_ONLY = "v=0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=sctp-port:5000\r\n"


class Film(MediaStreamTrack):
    """A track of grey frames that notes when it was first asked for one."""

    kind = "video"

    def __init__(self) -> None:
        super().__init__()
        self.asked = asyncio.Event()
        self._pts = 0

    async def recv(self) -> VideoFrame:
        """Return the next frame."""
        self.asked.set()
        await asyncio.sleep(1 / 30)
        frame = VideoFrame.from_ndarray(np.full((96, 64), 128, np.uint8), format="yuv420p")
        frame.pts, frame.time_base = self._pts, VIDEO_TIME_BASE
        self._pts += 3000
        return frame


@asynccontextmanager
async def offering(on_message: Callable[[object], None]) -> AsyncIterator[tuple[MediaOffer, Film, Any]]:
    """Give a server's link, its film, and the client's end of the signaling."""
    async with signaling() as (ours, theirs):
        film = Film()
        offer = MediaOffer(ours, on_message, None, film, "vp8", lambda: None)
        try:
            yield offer, film, theirs
        finally:
            film.stop()
            await offer.close()


def lose_first(pc: RTCPeerConnection, *kinds: type) -> None:
    """Lose the first chunk of each of these kinds that a connection's SCTP sends."""
    assert pc.sctp is not None
    stock, left = pc.sctp._send_chunk, list(kinds)

    async def send_chunk(chunk: Any) -> None:
        if type(chunk) in left:
            left.remove(type(chunk))
            return
        await stock(chunk)

    pc.sctp._send_chunk = send_chunk  # type: ignore[method-assign]  # as a lossy network would


@pytest.mark.parametrize(
    "lost",
    [
        (DataChunk, DataChunk, DataChunk),  # what opens a channel, and what acknowledges it
        (CookieAckChunk, CookieEchoChunk),  # the client is told only when its timer has run out that it is connected
    ],
    ids=["channel", "association"],
)
async def test_no_report_vanishes_when_an_acknowledgement_is_lost(lost: tuple[type, ...]):
    """The server is connected before the client knows: filming waits until it does, and the first report arrives."""
    heard: asyncio.Queue[object] = asyncio.Queue()
    refused: list[int] = []
    async with offering(heard.put_nowait) as (offer, _, theirs):
        answer: MediaAnswer

        def on_frame(pts: int, _: object) -> None:
            if not answer.send(str(pts)):
                refused.append(pts)

        answer = MediaAnswer(theirs, lambda _: None, None, on_frame, "marker")
        opening = asyncio.create_task(offer.open())
        while offer._pc.sctp is None:  # noqa: ASYNC110  # nothing tells of it
            await asyncio.sleep(0)
        lose_first(offer._pc, *lost)
        assert await asyncio.wait_for(answer.open(), PATIENCE)
        assert await asyncio.wait_for(opening, PATIENCE)
        numbers: list[int] = []
        while len(numbers) < 10:
            said = await asyncio.wait_for(heard.get(), PATIENCE)
            if said != encode(Ready()):
                numbers.append(round(int(str(said)) / 3000))  # one in three arrives a tick low
        assert refused == []
        assert numbers == list(range(10))
        await answer.close()


async def test_client_that_opens_the_channel_itself_is_served():
    """A client that knows nothing of the stream that was offered opens a channel of its own, as ever."""
    heard: asyncio.Queue[object] = asyncio.Queue()
    async with offering(heard.put_nowait) as (offer, film, theirs):
        opening = asyncio.create_task(offer.open())
        pc = RTCPeerConnection(configuration())
        description = await receive_description(theirs, "offer")
        assert description is not None
        await pc.setRemoteDescription(description)
        channel = pc.createDataChannel(COORDINATES)
        channel.on("open", lambda: channel.send("hello"))
        await pc.setLocalDescription(await pc.createAnswer())
        await theirs.send(pc.localDescription)
        assert await asyncio.wait_for(opening, PATIENCE)
        assert await asyncio.wait_for(heard.get(), PATIENCE) == "hello"
        await asyncio.wait_for(film.asked.wait(), PATIENCE)
        await pc.close()


async def test_server_that_offers_no_stream_gets_a_channel():
    """A server that knows only channels that are opened is answered with one."""
    async with signaling() as (ours, theirs):
        pc = RTCPeerConnection(configuration())
        opened: asyncio.Future[RTCDataChannel] = asyncio.get_running_loop().create_future()
        pc.on("datachannel", opened.set_result)
        pc.addTrack(Film())
        pc.createDataChannel("scores")
        await pc.setLocalDescription(await pc.createOffer())
        await ours.send(pc.localDescription)
        answer = MediaAnswer(theirs, lambda _: None, None, lambda *_: None, "marker")
        opening = asyncio.create_task(answer.open())
        description = await receive_description(ours, "answer")
        assert description is not None
        await pc.setRemoteDescription(description)
        assert (await asyncio.wait_for(opened, PATIENCE)).label == COORDINATES
        assert await asyncio.wait_for(opening, PATIENCE)
        await answer.close()
        await pc.close()


async def test_send_says_that_a_channel_takes_nothing_yet():
    """What no channel takes is not sent, and the caller learns of it."""
    async with signaling() as (_, theirs):
        answer = MediaAnswer(theirs, lambda _: None, None, lambda *_: None, "marker")
        assert not answer.send("too early")
        await answer.close()
        assert not answer.send("too late")


@pytest.mark.parametrize(
    ("line", "number"),
    [
        ('a=dcmap:64 label="coordinates";ordered=false', 64),
        ('a=dcmap:7 subprotocol="x";label="coordinates"', 7),
        ('a=dcmap:65535 label="coordinates"', None),
        ('a=dcmap:-1 label="coordinates"', None),
        ('a=dcmap:64 label="others"', None),
        ("a=dcmap:64", None),
        ("", None),
    ],
)
def test_offered_channel_reads_the_stream_of_the_coordinates(line: str, number: int | None):
    """The number of the stream is read where the label is right and the number is one."""
    offer = RTCSessionDescription(f"{SCTP_ONLY}{line}\r\n", "offer")
    assert webrtc.offered_channel(offer) == number


def test_with_channel_names_the_stream_in_the_section_of_the_channels():
    """The line goes where RFC 8864 wants it, wherever that section is, and nothing else changes."""
    for after in ("", "m=video 9 UDP/TLS/RTP/SAVPF 96\r\n"):
        told = webrtc.with_channel(RTCSessionDescription(SCTP_ONLY + after, "offer"), COORDINATES_ID)
        assert told.sdp == f'{SCTP_ONLY}a=dcmap:64 label="coordinates";ordered=false;max-retr=0\r\n{after}'
        assert webrtc.offered_channel(told) == COORDINATES_ID
    assert webrtc.with_channel(RTCSessionDescription("v=0\r\n", "offer"), 1).sdp == "v=0\r\n"
