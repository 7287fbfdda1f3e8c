"""WHEP, with aiortc as the browser and the player: what the draft promises, and what a stranger may try."""

import asyncio
import gc
import json
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiortc import RTCPeerConnection, RTCRtpReceiver
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import server
from support.programs import PATIENCE
from support.whep import SDP, Player, run_player, serve
from transport import listener, whep

OFFER = {"Content-Type": SDP}


@pytest.fixture
async def served() -> AsyncIterator[tuple[server.Server, str, aiohttp.ClientSession]]:
    """Run a server, and give it, its address and something to ask it with."""
    async with serve() as (serving, url), aiohttp.ClientSession() as http:
        yield serving, url, http


async def until_left(serving: server.Server) -> None:
    """Wait until nobody is left, those who shake hands included."""
    async with asyncio.timeout(PATIENCE):
        while serving.results.sessions:  # noqa: ASYNC110
            await asyncio.sleep(0.02)  # nothing tells of it


async def test_client_that_offers_is_scored(served: tuple[server.Server, str, aiohttp.ClientSession]):
    """Who opens `coordinates` has a ledger like any client: what it finds is scored, and its goodbye is its end."""
    serving, url, http = served
    player = Player(channel=True)
    assert player.channel is not None
    await player.open(http, url)
    for pts in await player.watch(20):
        player.channel.send(json.dumps({"type": "found", "pts": pts, "x": 1.0, "y": 2.0}))
    async with asyncio.timeout(PATIENCE):
        while not serving.results.tally().frames["scored"]:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    async with http.delete(player.location) as response:
        assert response.status == 200
    await until_left(serving)
    (client,) = serving.results.clients
    assert (client["kind"], client["end"], client["transport"]) == ("browser", "bye", "media")
    assert client["frames"]["scored"] > 5
    await player.pc.close()


async def test_player_without_a_channel_is_a_viewer(served: tuple[server.Server, str, aiohttp.ClientSession]):
    """A plain player is shown the film; no frame of it is missed in any account, and it is counted as a viewer."""
    serving, url, http = served
    player = Player()
    await player.open(http, url)
    await player.watch(5)
    async with http.get(f"{url}/metrics") as response:
        told = await response.text()
    assert "ball_viewers 1.0" in told
    assert "ball_clients 0.0" in told
    async with http.delete(player.location) as response:
        assert response.status == 200
    await until_left(serving)
    assert serving.results.tally().frames["sent"] == 0
    assert not serving.results.clients
    assert serving.results.viewers == 1
    await player.pc.close()


@pytest.mark.parametrize("codec", ["VP8", "H264"])
async def test_server_answers_in_the_codec_that_is_offered(codec: str):
    """A player gets a codec that it takes, whatever --codec says, and --transport."""
    async with serve("--transport", "datachannel") as (_, url), aiohttp.ClientSession() as http:
        player = Player()
        (transceiver,) = player.pc.getTransceivers()
        capabilities = RTCRtpReceiver.getCapabilities("video")
        assert capabilities is not None
        transceiver.setCodecPreferences([each for each in capabilities.codecs if each.name == codec])
        await player.open(http, url)
        assert len(await player.watch(5)) == 5
        await player.pc.close()


@pytest.mark.slow
async def test_one_who_vanishes_is_noticed(served: tuple[server.Server, str, aiohttp.ClientSession]):
    """A peer that was killed is gone after some seconds of silence; one that is there stays, though it says nothing."""
    serving, url, _ = served
    loop = asyncio.get_running_loop()
    async with run_player(url, channel=True) as client, run_player(url, channel=False) as viewer:
        for process, left in ((client, 1), (viewer, 0)):
            await asyncio.sleep(whep.SILENCE)  # both are there all the time
            assert len(serving.results.sessions) == left + 1
            process.kill()
            began = loop.time()
            async with asyncio.timeout(PATIENCE):
                while len(serving.results.sessions) > left:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)  # nothing tells of it
            assert loop.time() - began > whep.SILENCE / 2  # by its silence
    assert [client["end"] for client in serving.results.clients] == ["vanished"]


@pytest.mark.slow
async def test_server_forgets_those_who_have_left(served: tuple[server.Server, str, aiohttp.ClientSession]):
    """After many players and clients, half of whom said goodbye, no session, connection or signaling is left of any."""
    serving, url, http = served

    async def visit(number: int) -> None:
        player = Player(channel=number % 3 > 0)
        await player.open(http, url)
        await player.watch(1)
        if number % 2:
            async with http.delete(player.location) as response:
                assert response.status == 200
        await player.pc.close()

    def left() -> dict[str, int]:
        gc.collect()
        alive = Counter(type(thing).__name__ for thing in gc.get_objects())
        return {name: alive[name] for name in ("Session", "Ledger", "RTCPeerConnection", "WhepSignaling")}

    await visit(1)
    await until_left(serving)
    first = left()
    for _ in range(3):
        await asyncio.gather(*(visit(number) for number in range(6)))
    await until_left(serving)
    async with asyncio.timeout(PATIENCE):
        while left() != first:  # noqa: ASYNC110
            await asyncio.sleep(0.2)  # what closes last has no name


async def test_whep_says_what_can_be_asked(served: tuple[server.Server, str, aiohttp.ClientSession]):
    """OPTIONS names the methods; others are 405, and what is no offer or no session has its status."""
    _, url, http = served
    async with http.options(f"{url}/whep") as response:
        assert response.status == 204
        assert response.headers["Accept-Post"] == SDP
        assert "Access-Control-Allow-Origin" not in response.headers
    cases = [
        ("GET", "/whep", None, {}, 405),
        ("PUT", "/whep", b"", OFFER, 405),
        ("PATCH", "/whep/none", b"", {"Content-Type": "application/trickle-ice-sdpfrag"}, 405),
        ("DELETE", "/whep/none", None, {}, 404),
        ("POST", "/whep", b"{}", {"Content-Type": "application/json"}, 415),
        ("POST", "/whep", b"\xff", OFFER, 400),
        ("POST", "/whep", b"", OFFER, 422),
        ("POST", "/whep", b"v=0\r\nm=video 9 RTP/AVP 96\r\na=rtpmap:96 AV1/90000\r\n", OFFER, 422),
        ("POST", "/whep", b"x" * (whep.MAX_BODY + 1), OFFER, 413),
        ("POST", "/whep", b"", {**OFFER, "Origin": "http://elsewhere.example"}, 403),
        ("POST", "/whep", b"", {**OFFER, "Origin": "null"}, 403),
        ("DELETE", "/whep/none", None, {"Origin": "http://elsewhere.example"}, 403),
        ("POST", "/whep", b"", {**OFFER, "Origin": url}, 422),
    ]
    for method, path, body, headers, status in cases:
        async with http.request(method, url + path, data=body, headers=headers) as response:
            assert response.status == status, (method, path, headers)


async def test_offer_of_a_sender_is_refused(served: tuple[server.Server, str, aiohttp.ClientSession]):
    """Who offers to send video has come to the wrong place."""
    _, url, http = served
    pc = RTCPeerConnection()
    pc.addTransceiver("video", direction="sendonly")
    await pc.setLocalDescription(await pc.createOffer())
    async with http.post(f"{url}/whep", data=pc.localDescription.sdp, headers=OFFER) as response:
        assert response.status == 422
    await pc.close()


async def test_too_many_at_once_are_asked_to_come_back(
    served: tuple[server.Server, str, aiohttp.ClientSession], monkeypatch: pytest.MonkeyPatch
):
    """Handshakes are bounded, those by HTTP and by TCP together."""
    _, url, http = served
    monkeypatch.setattr(listener, "MAX_HANDSHAKES", 1)
    players = [Player(), Player()]
    offers = [await player.offer() for player in players]
    async with http.post(f"{url}/whep", data=offers[0], headers=OFFER) as response:  # and never connects
        assert response.status == 201
    async with http.post(f"{url}/whep", data=offers[1], headers=OFFER) as response:
        assert response.status == 503
        assert response.headers["Retry-After"] == "1"
    for player in players:
        await player.pc.close()


def mutated(offer: str, mutations: list[tuple[str, float, str]]) -> str:
    """Return an offer of which some lines were dropped, doubled, cut or grown."""
    lines = offer.split("\r\n")
    for kind, place, text in mutations:
        at = int(place * len(lines))
        match kind:
            case "drop":
                lines[at] = ""
            case "double":
                lines.insert(at, lines[at])
            case "cut":
                lines[at] = lines[at][: len(text)]
            case _:
                lines[at] += text
    return "\r\n".join(lines)


MUTATIONS = st.lists(
    st.tuples(
        st.sampled_from(["drop", "double", "cut", "grow"]),
        st.floats(0, 1, exclude_max=True),
        st.text(st.characters(codec="utf-8"), max_size=30),
    ),
    min_size=1,
    max_size=4,
)


@pytest.mark.slow
@settings(max_examples=4, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(st.lists(MUTATIONS, min_size=10, max_size=20))
async def test_no_offer_is_an_error_of_ours(caplog: pytest.LogCaptureFixture, all_mutations: list[Any]):
    """Whatever becomes of an offer, it is answered or refused, without a traceback, and the next one is served."""
    caplog.clear()
    async with serve() as (_, url), aiohttp.ClientSession() as http:
        player = Player(channel=True)
        offer = await player.offer()
        await player.pc.close()
        for mutations in all_mutations:
            body = mutated(offer, mutations).encode()
            async with http.post(f"{url}/whep", data=body, headers=OFFER) as response:
                assert response.status in {201, 422}
        player = Player()
        await player.open(http, url)
        await player.watch(2)
        await player.pc.close()
    assert not [record for record in caplog.records if record.exc_info and record.levelname == "ERROR"]


def test_clean_gives_every_section_the_same_candidates():
    """Candidates of the first section are told in each, those that no one can resolve in none, and no end of them."""
    candidate = "a=candidate:1 1 udp 1 10.0.0.1 5 typ host\r\n"
    sdp = f"v=0\r\nm=video 9 x 96\r\n{candidate}a=end-of-candidates\r\nm=application 9\r\n"
    assert whep.clean(sdp) == f"v=0\r\nm=video 9 x 96\r\n{candidate}m=application 9\r\n{candidate}"
