"""Offers and answers as other stacks write them, and what is said of those that cannot do."""

import asyncio
import datetime
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiortc import RTCCertificate, RTCPeerConnection, RTCSessionDescription
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa

from common.sessions import PeerError
from support.links import GreyFilm, signaling
from transport.descriptions import refused_video, with_candidates
from transport.ice import configuration
from transport.media import MediaAnswer, MediaOffer
from transport.webrtc import accept_description

HOST = "a=candidate:1 1 udp 2130706431 10.0.0.1 4711 typ host\r\n"
OTHER = "a=candidate:2 1 udp 2130706430 10.0.0.2 4712 typ host\r\n"
HIDDEN = "a=candidate:3 1 udp 2130706431 0f1e2d3c-0000-4000-8000-000000000000.local 4711 typ host\r\n"
END = "a=end-of-candidates\r\n"


def describe(first: str, second: str, group: str = "0 1") -> str:
    """Return a description of two sections with these lines at their ends."""
    return (
        f"v=0\r\na=group:BUNDLE {group}\r\nm=video 9 UDP/TLS/RTP/SAVPF 97\r\na=mid:0\r\n{first}"
        f"m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:1\r\n{second}"
    )


@pytest.mark.parametrize(
    ("first", "second"), [(HOST + OTHER, ""), ("", HOST + OTHER), (HOST, OTHER), (HOST + OTHER, HOST + OTHER)]
)
def test_with_candidates_gives_each_bundled_section_all(first: str, second: str):
    """Wherever a stack lists its candidates, in the first section as JSEP says or in the last, none is lost."""
    assert with_candidates(describe(first, second)) == describe(HOST + OTHER, HOST + OTHER)


def test_with_candidates_leaves_alone_what_is_not_bundled():
    """Sections with transports of their own keep their own candidates."""
    assert with_candidates(describe(HOST, OTHER, group="0")) == describe(HOST, OTHER, group="0")
    alone = describe(HOST, OTHER).replace("a=group:BUNDLE 0 1\r\n", "")
    assert with_candidates(alone) == alone


@pytest.mark.parametrize("candidate", [HOST, HIDDEN])
@pytest.mark.parametrize("group", ["0 1", "0"])
def test_with_candidates_takes_no_list_for_complete(candidate: str, group: str):
    """What cannot be reached is no reason to give up: the other side's checks may show another address."""
    assert with_candidates(describe(candidate + END, END, group)).count(END) == 0
    assert candidate in with_candidates(describe(candidate + END, END, group))


@asynccontextmanager
async def two_peers() -> AsyncIterator[tuple[RTCPeerConnection, RTCPeerConnection]]:
    """Give two peer connections, the first with video and a channel."""
    offerer, answerer = RTCPeerConnection(configuration()), RTCPeerConnection(configuration())
    offerer.addTransceiver("video")
    offerer.createDataChannel("x")
    try:
        yield offerer, answerer
    finally:
        await offerer.close()
        await answerer.close()


async def is_connected(pc: RTCPeerConnection) -> bool:
    """Wait until a connection is there, or has failed; return which."""
    async with asyncio.timeout(30):
        while pc.connectionState not in ("connected", "failed", "closed"):  # noqa: ASYNC110  # other people's event
            await asyncio.sleep(0.05)
    return pc.connectionState == "connected"


@pytest.mark.parametrize("hidden", [False, True])
async def test_peers_meet_whose_candidates_are_in_the_first_section(hidden: bool):
    """An answer whose candidates are in its first section, or are a name that nobody resolves, connects."""
    async with two_peers() as (offerer, answerer):
        await offerer.setLocalDescription(await offerer.createOffer())
        await accept_description(answerer, offerer.localDescription)
        await answerer.setLocalDescription(await answerer.createAnswer())
        sdp = answerer.localDescription.sdp
        if hidden:
            sdp = re.sub(r"(a=candidate:\S+ \d+ udp \d+) \S+", r"\1 00000000-dead.local", sdp)
        else:
            first, last = sdp.split("m=application")
            sdp = first + "m=application" + re.sub(r"a=(candidate|end-of-candidates).*\r\n", "", last)
        await accept_description(offerer, RTCSessionDescription(sdp, "answer"))
        assert await is_connected(offerer)


def test_refused_video_says_what_to_do():
    """An answer that rejects the video, or takes another codec only, is told as such; one that takes it is none."""
    answer = "v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 97\r\na=rtpmap:97 VP8/90000\r\nm=application 9 DTLS/SCTP 5000\r\n"
    assert refused_video(answer, "VP8") is None
    assert refused_video(answer.replace("VP8", "vp8"), "VP8") is None
    assert "without H264, but with VP8; --codec" in str(refused_video(answer, "H264"))
    assert "rejects the video" in str(refused_video(answer.replace("m=video 9", "m=video 0"), "VP8"))
    assert "rejects the video" in str(refused_video("v=0\r\nm=application 9 DTLS/SCTP 5000\r\n", "VP8"))
    assert "no codec" in str(refused_video("v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 97\r\n", "VP8"))


def rsa_certificate() -> RTCCertificate:
    """Return a certificate as GStreamer makes them."""
    key = rsa.generate_private_key(65537, 2048)
    name, now = x509.Name([]), datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + datetime.timedelta(days=1))
    return RTCCertificate(key, builder.sign(key, hashes.SHA256()))  # type: ignore[arg-type]  # it makes none itself


async def test_certificate_that_does_not_do_is_told():
    """A server with an RSA certificate, as GStreamer's, for which aiortc has no cipher, is told as such."""
    async with signaling() as (ours, theirs):
        film = GreyFilm()
        offer = MediaOffer(ours, lambda _: None, None, film, "vp8", lambda: None)
        answer = MediaAnswer(theirs, lambda _: None, None, lambda *_: None, "marker")
        offer._pc._RTCPeerConnection__certificates = [rsa_certificate()]  # type: ignore[attr-defined]  # no other way
        opening = asyncio.create_task(offer.open())
        try:
            with pytest.raises(PeerError, match="is the peer's certificate RSA"):
                await answer.open()
        finally:
            film.stop()
            await answer.close()
            await offer.close()
            await asyncio.wait([opening])
            opening.exception()


async def test_answer_that_rejects_the_video_ends_the_session():
    """A client that opens its channel and takes no video is not joined, to be filmed nothing for ever."""
    async with signaling() as (ours, theirs):
        offer = MediaOffer(ours, lambda _: None, None, GreyFilm(), "vp8", lambda: None)
        opening = asyncio.create_task(offer.open())
        try:
            await theirs.receive()
            sdp = "v=0\r\nm=video 0 UDP/TLS/RTP/SAVPF 97\r\n"
            await theirs.send(RTCSessionDescription(sdp, "answer"))
            with pytest.raises(PeerError, match="rejects the video"):
                await opening
        finally:
            await offer.close()
