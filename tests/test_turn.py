"""STUN and TURN servers that are real, silent, wrong or dead: what is wrong is told, and nothing waits for long."""

import asyncio
import contextlib
import inspect
import logging
import time
from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace
from typing import Any

import aiohttp
import aioice.ice
import pytest
from aioice import stun
from aioice.turn import TurnClientMixin, TurnTransport, create_turn_endpoint
from aiortc import RTCPeerConnection

from common.ice import SECRET as SECRET_VARIABLE
from common.ice import IceConfig, IceServer, credentials
from support import whep
from support.programs import PATIENCE, run
from tools.procfs import free_port
from tools.turn import SECRET, Turn
from transport import aiortc_internals as internals
from transport import ice
from transport.aiortc_ice import GIVE_BACK_TIMEOUT, Relay, pair_in_use, relay_in_use
from transport.ice import Lack, asking, configuration

turn = pytest.mark.turn


@pytest.fixture(scope="module")
def coturn() -> Iterator[Turn]:
    """Run a TURN server on the loopback."""
    with Turn() as running:
        yield running


def server(url: str, secret: str | None = SECRET, now: float | None = None) -> IceServer:
    """Return a server with a name and a password from a secret."""
    if secret is None or not url.startswith("turn"):
        return IceServer(url)
    known = credentials({SECRET_VARIABLE: secret}, time.time() if now is None else now)
    assert known is not None
    return IceServer(url, *known)


async def gather(*servers: IceServer, relay_only: bool = False) -> tuple[list[Lack], str]:
    """Gather candidates; return which servers gave none, and the offer."""
    internals.mend()
    config = IceConfig(servers, relay_only)
    pc = RTCPeerConnection(configuration(config))
    pc.createDataChannel("channel")
    try:
        async with asking(config) as lacks:
            await pc.setLocalDescription(await pc.createOffer())
        return lacks, pc.localDescription.sdp
    finally:
        await internals.close(pc)


async def refusal(url: str, secret: str | None = SECRET, now: float | None = None) -> str:
    """Return what is told of a server that gives no candidate."""
    lacks, _ = await gather(server(url, secret, now))
    assert [lack.server.url for lack in lacks] == [url]
    return lacks[0].reason


@contextlib.asynccontextmanager
async def silent_udp() -> AsyncIterator[int]:
    """Give a UDP port where everything is taken and nothing answered."""
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0)
    )
    yield transport.get_extra_info("sockname")[1]
    transport.close()


@contextlib.asynccontextmanager
async def tcp_server(answer: bytes | None) -> AsyncIterator[int]:
    """Give a TCP port where each connection gets an answer to its first bytes; None: never, b"": it is closed."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(20)
        if answer is None:
            with contextlib.suppress(OSError):
                await reader.read()
        else:
            writer.write(answer)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
        yield listening.sockets[0].getsockname()[1]


@turn
@pytest.mark.parametrize("way", ["udp", "tcp", "tls", "stun"])
async def test_a_server_gives_its_candidate(coturn: Turn, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """STUN, and TURN over UDP, TCP and TLS with a certificate that is trusted; nothing is told."""
    monkeypatch.setenv("SSL_CERT_FILE", str(coturn.ca))
    lacks, offer = await gather(server(coturn.url(way)), relay_only=way != "stun")
    assert lacks == []
    if way != "stun":  # of the loopback's host candidate the server's would be the same
        assert " typ relay " in offer
        assert " typ host" not in offer


@turn
async def test_a_refusal_is_told_with_its_reason(coturn: Turn) -> None:
    """A wrong password, none, one that is over, a certificate that nobody knows: each is told in words of its own."""
    wrong = coturn.url("udp"), coturn.url("tcp")
    for url in wrong:
        assert "refuses name and password (401 Unauthorized)" in await refusal(url, "south")
        assert "refuses name and password (401 Unauthorized)" in await refusal(url, now=time.time() - 90_000)
        assert "wants a name and a password (401 Unauthorized), and none are given" in await refusal(url, None)
    assert "certificate that is not trusted: self-signed certificate; SSL_CERT_FILE" in await refusal(coturn.url("tls"))


async def test_what_is_wrong_with_a_server_is_told_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """However many connections ask it; another fault of the same server is told all the same."""
    caplog.set_level(logging.INFO)
    port = free_port()
    url = f"turn:127.0.0.1:{port}?transport=tcp"
    for _ in range(3):
        assert "nothing listens" in await refusal(url)
    async with await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", port):
        assert "closes the connection" in await refusal(url)
    told = [
        (each.levelname, each.getMessage().rpartition(": it ")[2]) for each in caplog.records if url in each.message
    ]
    assert [level for level, _ in told] == ["WARNING", "INFO", "INFO", "WARNING"]
    assert told[0][1] == told[2][1] != told[3][1]


@pytest.mark.slow
async def test_what_answers_nothing_is_told_within_6_s(caplog: pytest.LogCaptureFixture) -> None:
    """Closed ports, names that nobody has, silence, other programs: each is named in one warning, with what it does."""
    async with (
        silent_udp() as silent,
        tcp_server(None) as mute,
        tcp_server(b"") as closing,
        tcp_server(b"HTTP/1.1 4") as http,
    ):
        closed = free_port()
        told = {
            f"stun:127.0.0.1:{silent}": "answers nothing",
            f"turn:127.0.0.1:{silent}": "answers nothing",
            f"turn:127.0.0.1:{mute}?transport=tcp": "answers nothing",
            f"turn:127.0.0.1:{closing}?transport=tcp": "closes the connection without an answer: does it want TLS",
            f"turn:127.0.0.1:{http}?transport=tcp": "answers something else than STUN",
            f"turns:127.0.0.1:{http}": "speaks no TLS there",
            f"stun:127.0.0.1:{closed}": "nothing listens at this UDP port",
            f"turn:127.0.0.1:{closed}": "nothing listens at this UDP port",
            f"turn:127.0.0.1:{closed}?transport=tcp": "nothing listens at this TCP port",
            f"turns:127.0.0.1:{closed}": "nothing listens at this TCP port",
            "turn:no-such-host.invalid": "cannot be found",
            "stun:no-such-host.invalid": "cannot be found",
        }
        began = time.monotonic()
        reasons = dict(zip(told, await asyncio.gather(*map(refusal, told)), strict=True))
        took = time.monotonic() - began
    assert {url: part for url, part in told.items() if part not in reasons[url]} == {}, reasons
    assert took < 60  # each of them bounds itself; this only sees a wait without an end
    for url in told:
        warnings = [r for r in caplog.records if r.levelno == logging.WARNING and f"{url} gave no" in r.getMessage()]
        assert len(warnings) == 1


@turn
@pytest.mark.slow
async def test_a_server_that_answers_stun_and_gives_no_relay_is_told_so() -> None:
    """A STUN server is no TURN server, although its port answers."""
    with Turn("--stun-only") as running:
        assert "answers STUN, and no request for a relay" in await refusal(running.url("udp"))


async def test_a_gathering_that_is_given_up_leaves_no_question_behind() -> None:
    """A server that is still being asked when the handshake ends is asked no more."""
    async with tcp_server(None) as mute:
        before = asyncio.all_tasks()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await gather(server(f"turn:127.0.0.1:{mute}?transport=tcp"))
        await asyncio.sleep(0)
        left = {task for task in asyncio.all_tasks() - before if "serve" not in str(task.get_coro())}
        _, pending = await asyncio.wait(left, timeout=1) if left else ((), ())
        assert not pending


# --- Sessions that servers must not keep from coming about, or from ending ------------------------


@pytest.mark.slow
async def test_a_session_comes_about_although_a_server_is_silent_on_both_sides() -> None:
    """Each side takes the 5 s that it waits for its STUN server before the handshake's time, and the two meet."""
    async with silent_udp() as silent:
        where = ("--signaling-port", free_port(), "--stun", f"stun:127.0.0.1:{silent}")
        with run("server.py", *where, "--once") as serving, run("client.py", *where, "--view", "none") as finding:
            await asyncio.to_thread(finding.wait_for, "^watching ")
            for program in (serving, finding):
                assert len(program.wait_for("WARNING .* gave no candidate: it answers nothing")) == 1
            assert finding.end() == 0
            assert serving.wait() == 0
    assert "dialling again" not in finding.output


@pytest.mark.slow
async def test_a_player_gets_its_film_although_a_server_is_silent(caplog: pytest.LogCaptureFixture) -> None:
    """Over WHEP the answer comes later by the 5 s, and the film with it."""
    async with (
        silent_udp() as silent,
        whep.serve("--stun", f"stun:127.0.0.1:{silent}") as (_, url),
        aiohttp.ClientSession() as http,
    ):
        player = whep.Player(channel=True)
        await player.open(http, url)
        assert len(await player.watch(3)) == 3
        await player.pc.close()
    assert caplog.text.count("gave no candidate") == 1


@turn
@pytest.mark.slow
@pytest.mark.parametrize("side", ["client", "server"])
def test_a_relay_that_forbids_the_peer_is_named_with_its_words(monkeypatch: pytest.MonkeyPatch, side: str) -> None:
    """Where the two do not meet, whoever has the relay says that it passes nothing on to the other's address."""
    monkeypatch.setenv(SECRET_VARIABLE, SECRET)
    where = ("--signaling-port", free_port())
    with Turn("--denied-peer-ip=127.0.0.0-127.255.255.255") as running:
        options = ("--ice-server", running.url(), "--relay-only")
        serve, find = ((), options) if side == "client" else (options, ())
        with (
            run("server.py", *where, *serve) as serving,
            run("client.py", *where, "--view", "none", "--wait", "1", *find) as finding,
        ):
            assert finding.wait() == 1
            (last,) = (
                finding.wait_for("^client.py: error: ") if side == "client" else serving.wait_for("does not relay")
            )
            assert serving.end() == 0
    assert "have not reached each other" in last
    assert f"{running.url()} does not relay to 127.0.0.1 (403 Forbidden IP)" in last


def test_a_malformed_url_is_nobodys_offer() -> None:
    """What is wrong with a URL of ours never comes as far as a peer's description, which would be blamed for it."""
    with pytest.raises(ValueError, match="must be stun:HOST"):
        IceConfig((IceServer("turn://host"),))


async def allocate(coturn: Turn) -> TurnTransport:
    """Return a relay at a TURN server."""
    internals.mend()
    known = server(coturn.url())
    host, port, _ = known.address
    transport, _ = await create_turn_endpoint(
        asyncio.DatagramProtocol, (host, port), username=known.username, password=known.credential
    )
    return transport


@turn
async def test_giving_back_a_relay_that_is_dead_has_an_end() -> None:
    """A relay that no longer answers is not waited for."""
    with Turn() as running:
        transport = await allocate(running)
        client = transport._TurnTransport__inner_protocol  # type: ignore[attr-defined]
        running.kill()
        await asyncio.wait_for(client.delete(), PATIENCE)
        assert client.transport.is_closing()
        await client.delete()  # twice does no harm


@turn
async def test_giving_back_a_relay_that_is_dead_would_have_none() -> None:
    """The mend is needed: aioice waits for all of STUN's retransmissions."""
    with Turn() as running:
        transport = await allocate(running)
        client = transport._TurnTransport__inner_protocol  # type: ignore[attr-defined]
        running.kill()
        giving_back = asyncio.create_task(TurnClientMixin.delete.__wrapped__(client))  # type: ignore[attr-defined]
        _, pending = await asyncio.wait([giving_back], timeout=4 * GIVE_BACK_TIMEOUT)
        assert pending
        giving_back.cancel()
        await asyncio.wait([giving_back])


def test_aioice_would_drop_what_goes_wrong_at_a_server() -> None:
    """The mend is needed: of a question to a server aioice takes note only if there is a candidate."""
    source = inspect.getsource(aioice.ice.Connection.get_component_candidates)
    assert "if task.exception() is None:" in source
    assert "raise" not in source


async def test_a_connection_without_a_pair_tells_of_none() -> None:
    """Before there is a connection, no kind of pair is in use, and no relay."""
    pc = RTCPeerConnection(configuration())
    assert pair_in_use(pc) is None
    assert relay_in_use(pc) is None
    pc.addTransceiver("video")
    assert pair_in_use(pc) is None
    assert relay_in_use(pc) is None
    await pc.close()


def connected_by(protocol: object) -> Any:
    """Return what stands for a connection that goes by a relay, whose half of aioice is not as expected."""
    candidates = {"local_candidate": SimpleNamespace(type="relay"), "remote_candidate": SimpleNamespace(type="prflx")}
    pair = SimpleNamespace(**candidates, protocol=protocol, remote_addr=("192.0.2.1", 1))
    connection = SimpleNamespace(_nominated={1: pair}, turn_ssl=True, turn_transport="tcp")
    dtls = SimpleNamespace(transport=SimpleNamespace(_connection=connection))
    return SimpleNamespace(sctp=SimpleNamespace(transport=dtls))


def test_a_relay_that_is_not_as_expected_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    """The kinds of candidates are told, and the relay is not asked to go on: it does for as long as it did before."""
    pc = connected_by(SimpleNamespace(transport=object()))
    assert str(pair_in_use(pc)) == "relay/tls to prflx"
    assert relay_in_use(pc) is None
    assert "not built as expected: TurnTransport" in caplog.text


def refused(code: int, phrase: str) -> stun.TransactionFailed:
    """Return the error that a relay's refusal is."""
    response = stun.Message(message_method=stun.Method.CHANNEL_BIND, message_class=stun.Class.ERROR)
    response.attributes["ERROR-CODE"] = (code, phrase)
    return stun.TransactionFailed(response)


async def test_a_relay_is_asked_to_go_on_until_it_refuses(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Silence is told once, and its end; a refusal is told and is the end, and so is a connection that is closed."""
    monkeypatch.setattr(ice, "SILENT_AFTER", 0.01)
    for last in (refused(437, "Allocation Mismatch"), ConnectionError()):
        answers: list[Exception | None] = [None, TimeoutError(), stun.TransactionTimeout(), None, None, last]

        async def bind(answers: list[Exception | None] = answers) -> None:
            answer = answers.pop(0)
            if answer is not None:
                raise answer

        caplog.clear()
        async with asyncio.timeout(PATIENCE):
            await ice.keep_relay(Relay(bind, lambda: False), lambda: ice.GONE_AFTER / 2, "turn:a")
        assert answers == []
        told = ["turn:a answers nothing any more", "turn:a answers again"]
        refusal_told = ["turn:a relays no more for us (437 Allocation Mismatch)"]
        assert caplog.messages == told + (refusal_told if isinstance(last, stun.TransactionFailed) else [])


async def test_a_relay_is_given_up_when_nothing_has_come_for_long(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its silence alone ends nothing, nor does the peer's while it answers; both together are told, and are the end."""
    monkeypatch.setattr(ice, "SILENT_AFTER", 0.01)
    silence, asked = 2 * ice.GONE_AFTER, 0

    async def bind() -> None:
        nonlocal asked, silence
        asked += 1
        if asked == 5:
            silence = ice.GONE_AFTER / 2
        if asked == 10:
            silence = ice.GONE_AFTER
        if asked >= 5:
            raise TimeoutError

    async with asyncio.timeout(PATIENCE):
        await ice.keep_relay(Relay(bind, lambda: False), lambda: silence, "turn:b")
    assert asked == 10
    assert caplog.messages == ["turn:b answers nothing any more"]


async def test_a_relay_is_left_in_peace_while_the_peer_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is asked of it until its next time has come."""
    monkeypatch.setattr(ice, "SILENT_AFTER", 0.01)
    asked = 0

    async def bind() -> None:
        nonlocal asked
        asked += 1

    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.2):
            await ice.keep_relay(Relay(bind, lambda: False), lambda: 0.0, "turn:a")
    assert asked == 0


def test_no_log_has_the_name_at_a_relay(caplog: pytest.LogCaptureFixture) -> None:
    """What aioice logs of its messages at -vv has our name at the TURN server in it; the log has not."""
    logger = logging.getLogger("aioice.turn")
    with caplog.at_level(logging.DEBUG, "aioice.turn"):
        logger.debug("%s > %s", "turn/udp", {"USERNAME": "Ursula", "REALM": "ball"})
        logger.debug("%s > %s", "turn/udp", {"USERNAME": "O'Hara", "REALM": "ball"})
    assert "Ursula" not in caplog.text
    assert "O'Hara" not in caplog.text
    assert caplog.text.count("'REALM': 'ball'") == 2
    assert ice.hide_names in logger.filters


def test_a_refusals_words_move_no_cursor() -> None:
    """What a relay says of its refusal is a stranger's: it is told as one short line of what can be printed."""
    told = ice.explain(refused(400, "no\n\x1b[2Jline" + "a" * 500), IceServer("turn:a"))
    assert told.isprintable()
    assert told.startswith("refuses (400 no??[2Jline")
    assert len(told) < 150
