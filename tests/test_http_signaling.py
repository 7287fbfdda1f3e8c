"""The HTTP client that WHIP and WHEP share, against servers that answer what they should, and what they should not."""

import asyncio
import contextlib
import os
import socket
import ssl
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiortc import RTCSessionDescription
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from common.ice import IceConfig, IceServer
from common.sessions import PeerError, SessionError
from tools.procfs import ROOT, free_port
from transport import http_signaling
from transport.http_signaling import HttpSignaling, UnavailableError, joined

OFFER = RTCSessionDescription("v=0\r\n", "offer")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@contextlib.asynccontextmanager
async def endpoint(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Serve whatever is asked with one handler; give the start of its addresses."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls).start()
    try:
        yield f"http{'s' if tls else ''}://127.0.0.1:{port}"
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def signaling(url: str, token: str | None = "secret") -> AsyncIterator[HttpSignaling]:
    """Give what offers at an address."""
    ours = HttpSignaling(url, "--whip", token, "BALL_WHIP_TOKEN")
    try:
        yield ours
    finally:
        await ours.close()


async def test_session_is_begun_and_ended_as_the_rfc_has_it():
    """The offer is posted as SDP with the token; the answer comes back, and DELETE goes where Location says."""
    asked: list[tuple[str, str, str | None, str | None, str]] = []

    async def handler(request: web.Request) -> web.Response:
        headers = request.headers
        body = await request.text()
        asked.append((request.method, request.path, headers.get("Authorization"), headers.get("Content-Type"), body))
        if request.method != "POST":
            return web.Response()
        return web.Response(status=201, text="v=1", headers={"Location": "../session/7"})

    async with endpoint(handler) as url, signaling(f"{url}/film/whip") as ours:
        await ours.connect()
        assert ours.own_host == "127.0.0.1"
        await ours.send(OFFER)
        answer = await ours.receive()
        assert (answer.type, answer.sdp) == ("answer", "v=1")
        goodbye = asyncio.create_task(ours.receive())
        await ours.close()
        await ours.close()
        assert not goodbye.done()  # HTTP has none
        goodbye.cancel()
    bearer = "Bearer secret"
    assert asked[0][:3] == ("OPTIONS", "/film/whip", bearer)
    assert asked[1] == ("POST", "/film/whip", bearer, "application/sdp", OFFER.sdp)
    assert asked[2][:3] == ("DELETE", "/session/7", bearer)
    assert len(asked) == 3


@pytest.mark.parametrize("status", [307, 308])
async def test_redirect_keeps_the_offer_and_a_strange_host_gets_no_token(status: int):
    """A load balancer may send us on (RFC 9725, 4.5): the offer goes along, the token stays where it belongs."""
    tokens: list[tuple[str, str | None]] = []

    async def elsewhere(request: web.Request) -> web.Response:
        tokens.append((request.path, request.headers.get("Authorization")))
        assert await request.text() == OFFER.sdp or request.method == "DELETE"
        return web.Response(status=201, text="v=1", headers={"Location": "/session"})

    async with endpoint(elsewhere) as other:

        async def handler(request: web.Request) -> web.Response:
            tokens.append((request.path, request.headers.get("Authorization")))
            where = {"/whip": "/near", "/near": f"{other}/far"}[request.path]
            return web.Response(status=status, headers={"Location": where})

        async with endpoint(handler) as url, signaling(f"{url}/whip") as ours:
            await ours.send(OFFER)
            assert (await ours.receive()).sdp == "v=1"
    bearer = "Bearer secret"
    assert tokens == [("/whip", bearer), ("/near", bearer), ("/far", None), ("/session", None)]


@pytest.mark.parametrize(
    ("status", "error", "said"),
    [
        (400, PeerError, "the offer is refused"),
        (401, PeerError, "is the token in BALL_WHIP_TOKEN right"),
        (403, PeerError, "is the token in BALL_WHIP_TOKEN right"),
        (404, UnavailableError, "nothing is published there"),
        (406, PeerError, "the offer is refused"),
        (409, UnavailableError, "somebody is there already"),
        (415, PeerError, "the offer is refused"),
        (422, PeerError, "the offer is refused"),
        (500, UnavailableError, "500"),
        (503, UnavailableError, "503"),
        (302, PeerError, "loses the offer"),
        (204, PeerError, "204"),
        (307, PeerError, "sent on without end"),
    ],
)
async def test_status_says_whether_to_come_back(status: int, error: type[Exception], said: str):
    """What may do later is asked again, as late as the server says; what never will is one line with the address."""

    async def handler(_: web.Request) -> web.Response:
        return web.Response(status=status, headers={"Location": "/again?token=hidden", "Retry-After": "7"})

    async with endpoint(handler) as url, signaling(f"{url}/whip?token=hidden") as ours:
        with pytest.raises(error, match=said) as raised:
            await ours.send(OFFER)
        assert str(raised.value).startswith(f"--whip {url}/whip: ")
        assert "hidden" not in str(raised.value)
        assert "secret" not in str(raised.value)
        if isinstance(raised.value, UnavailableError):
            assert raised.value.retry_after == 7


async def test_who_is_not_there_may_come_later(monkeypatch: pytest.MonkeyPatch):
    """A closed port, a server that hangs up or says nothing: each is named, and none is for good."""
    monkeypatch.setattr(http_signaling, "REQUEST_TIMEOUT", 0.2)

    async def handler(request: web.Request) -> web.Response:
        if request.path == "/rude":
            assert request.transport is not None
            request.transport.close()
        else:
            await asyncio.Event().wait()
        return web.Response()

    async with endpoint(handler) as url:
        for where, said in ((f"{url}/rude", "hung up"), (f"{url}/silent", "no answer within 0.2 s")):
            async with signaling(where) as ours:
                with pytest.raises(SessionError, match=said):
                    await ours.connect()
    async with signaling(f"http://127.0.0.1:{free_port()}/whip") as ours:
        with pytest.raises(SessionError, match=r"refused|Connect call failed"):
            await ours.connect()
    async with signaling("http://name.that.is.invalid/whip") as ours:
        with pytest.raises(SessionError, match=r"name\.that\.is\.invalid"):
            await ours.connect()


def certificate(folder: Path) -> Path:
    """Make a certificate for 127.0.0.1 that nobody has signed, and return its file, which has the key as well."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    encoding, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    file = folder / "certificate.pem"
    file.write_bytes(
        made.public_bytes(encoding) + key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, plain)
    )
    return file


async def test_certificate_is_checked(tmp_path: Path):
    """A certificate that nobody has signed is refused by name, and taken from one who is told to trust it."""

    async def handler(_: web.Request) -> web.Response:
        return web.Response(status=201, text="v=1")

    file = certificate(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(file)
    async with endpoint(handler, tls) as url:
        async with signaling(f"{url}/whip") as ours:
            with pytest.raises(PeerError, match=r"certificate is not trusted.*self.signed"):
                await ours.connect()
        program = (
            "import asyncio, sys\nfrom transport.http_signaling import HttpSignaling\n"
            "async def main():\n    signaling = HttpSignaling(sys.argv[1], '--whip', None, '')\n"
            "    await signaling.connect()\n    await signaling.close()\nasyncio.run(main())"
        )
        trusting = {**os.environ, "SSL_CERT_FILE": str(file)}  # read when aiohttp is imported
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, f"{url}/", env=trusting, cwd=ROOT)
        assert await process.wait() == 0


async def test_server_names_whom_to_ask_on_the_way():
    """Link headers with rel="ice-server" are taken, each kind once, beside our own; what cannot be used is left out."""
    link = (
        '<stun:stun.example:3478>; rel="ice-server", '
        '<turn:turn.example:3478?transport=udp>; rel="ice-server"; username="me"; credential="pass"; '
        'credential-type="password", '
        '<turns:turn.example:5349?transport=tcp>; rel="ice-server"; username="me"; credential="pass", '
        '<stuns:nobody.knows>; rel="ice-server", <http://x/y>; rel="help"'
    )

    async def handler(request: web.Request) -> web.Response:
        later = '<turn:later.example>; rel="ice-server"; username="me"; credential="new"'
        return web.Response(status=201, text="v=1", headers={"Link": link if request.method == "OPTIONS" else later})

    async with endpoint(handler) as url, signaling(f"{url}/whip") as ours:
        await ours.connect()
        stun, turn, _ = ours.ice_servers
        assert stun == IceServer("stun:stun.example:3478")
        assert turn == IceServer("turn:turn.example:3478?transport=udp", "me", "pass")
        assert joined(IceConfig(), ours.ice_servers).servers == (stun, turn)
        await ours.send(OFFER)
        later = IceServer("turn:later.example", "me", "new")
        assert joined(IceConfig(), ours.ice_servers).servers == (later, stun)  # for the next time
        again = HttpSignaling(url, "--whip", None, "", ours.ice_servers)
        assert again.ice_servers == ours.ice_servers
        own = IceServer("turn:mine.example", "a", "b")
        assert joined(IceConfig((own,), relay_only=True), ours.ice_servers) == IceConfig((own, stun), relay_only=True)


async def test_answer_without_an_end_is_cut():
    """What a stranger may say is bounded."""

    async def handler(_: web.Request) -> web.Response:
        return web.Response(status=201, text="a" * 10 * http_signaling.MAX_ANSWER)

    async with endpoint(handler) as url, signaling(f"{url}/whip") as ours:
        await ours.send(OFFER)
        assert len((await ours.receive()).sdp) <= http_signaling.MAX_ANSWER


async def test_answer_in_pieces_is_taken_whole():
    """An answer need not come in one packet."""
    pieces = [b"v=0\r\n", b"o=- 1 1 IN IP4 0.0.0.0\r\n", b"s=-\r\n"]
    taken = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=201)
        await response.prepare(request)
        for piece in pieces:
            await response.write(piece)
            await asyncio.wait([asyncio.create_task(taken.wait())], timeout=0.1)
        return response

    async with endpoint(handler) as url, signaling(f"{url}/whip") as ours:
        await ours.send(OFFER)
        assert (await ours.receive()).sdp.encode() == b"".join(pieces)


@pytest.mark.parametrize("status", [201, 307])
@pytest.mark.parametrize("location", ["http://[::1", "http://host:99999/", "mailto:somebody"])
async def test_location_that_leads_nowhere_is_one_line(status: int, location: str):
    """A server that says where its session is, and says nonsense, is a fault of its own, and no traceback of ours."""

    async def handler(_: web.Request) -> web.Response:
        return web.Response(status=status, text="v=1", headers={"Location": location})

    async with endpoint(handler) as url, signaling(f"{url}/whip") as ours:
        with pytest.raises(PeerError, match="--whip"):
            await ours.send(OFFER)


@pytest.mark.parametrize(
    "link", ['<http://[::1>; rel="ice-server"', '<turn:h:99999>; rel="ice-server"', "<//:x>; rel=a"]
)
async def test_link_that_cannot_be_read_is_left_out(link: str):
    """A server that names nonsense to be asked is used without that."""

    async def handler(_: web.Request) -> web.Response:
        return web.Response(status=201, text="v=1", headers={"Link": link})

    async with endpoint(handler) as url, signaling(f"{url}/whip") as ours:
        await ours.connect()
        await ours.send(OFFER)
        assert (await ours.receive()).sdp == "v=1"
        assert ours.ice_servers == ()


async def test_servers_that_are_named_are_bounded():
    """A server that names other ones each time, as with passwords that hold for a day, makes nothing grow."""
    count = iter(range(10_000))

    async def handler(_: web.Request) -> web.Response:
        named = (f'<turn:turn.example>; rel="ice-server"; username="{next(count)}"; credential="x"' for _ in range(9))
        return web.Response(status=201, text="v=1", headers={"Link": ", ".join(named)})

    known: tuple[IceServer, ...] = ()
    async with endpoint(handler) as url:
        for _ in range(5):
            ours = HttpSignaling(f"{url}/whip", "--whip", None, "", known)
            await ours.connect()
            await ours.close()
            known = ours.ice_servers
    assert len(known) == http_signaling.MAX_ICE_SERVERS
    assert known[0].username == "36"  # the newest first


def test_end_does_not_wait_for_the_name_service(monkeypatch: pytest.MonkeyPatch):
    """Who is stopped while a media server's name is looked up ends, whatever the name service does."""
    answered, stock = threading.Event(), socket.getaddrinfo

    def hang(host: str, *args: Any, **kwargs: Any) -> Any:
        if host == "media.example":
            answered.wait(60)
            raise socket.gaierror
        return stock(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", hang)

    async def give_up() -> None:
        async with signaling("http://media.example/whip") as ours, asyncio.timeout(0.05):
            await ours.connect()

    began = time.monotonic()
    with pytest.raises(TimeoutError):
        asyncio.run(give_up())
    assert time.monotonic() - began < 30
    answered.set()
    for thread in threading.enumerate():
        if thread.name == "look up media.example":
            thread.join(10)


async def test_reason_moves_no_cursor():
    """The words beside a status are a stranger's: they are told as what can be printed."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 400 no\x1b[2J\x9bway" + 500 * b"a" + b"\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with signaling(f"http://127.0.0.1:{port}/whip") as ours:
            with pytest.raises(PeerError) as told:
                await ours.send(OFFER)
    assert str(told.value).isprintable()
    assert "400 no?[2J?way" in str(told.value)
    assert len(str(told.value)) < 200
