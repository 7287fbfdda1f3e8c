"""Signaling over HTTP from the one who offers: WHIP to publish, WHEP to watch. The class that both clients share.

    OPTIONS        before the offer: which STUN and TURN servers to ask (Link: <turn:HOST>; rel="ice-server"), as aiortc
                   cannot take them once it has gathered; those in the answer to POST are for the next time
    POST URL       the offer (application/sdp); 201, the answer, and in Location where the session is
    DELETE         ends that

A redirect is followed where the offer survives it: 307 and 308 (RFC 9725, section 4.5). The token goes to the address
that was given, and to no other; nor is it told in any message, and no more is what an address has after its question
mark. TLS, and proxies by the environment, are aiohttp's.

Source: RFC 9725 (WHIP), draft-ietf-wish-whep-03.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Any

import aiohttp
from aiohttp.abc import ResolveResult
from aiortc import RTCSessionDescription
from aiortc.contrib.signaling import TcpSocketSignaling
from yarl import URL

from common.ice import IceConfig, IceServer
from common.names import look_up
from common.sessions import PeerError, SessionError
from common.strangers import printable
from common.urls import without_secrets

logger = logging.getLogger(__name__)

SDP = "application/sdp"
REQUEST_TIMEOUT = 5.0  # s for one request
GOODBYE_TIMEOUT = 2.0  # s for DELETE: who ends does not wait for long
MAX_REDIRECTS = 5
MAX_ICE_SERVERS = 16  # that a server has named, the newest; passwords change
MAX_ANSWER = 65536  # bytes
MAX_RETRY_AFTER = 60.0  # s that a server may ask us to wait
KEEP_METHOD = (HTTPStatus.TEMPORARY_REDIRECT, HTTPStatus.PERMANENT_REDIRECT)
LATER = {  # statuses after which the same offer may do later
    HTTPStatus.NOT_FOUND: "nothing is published there",
    HTTPStatus.REQUEST_TIMEOUT: "",
    HTTPStatus.CONFLICT: "somebody is there already",
    HTTPStatus.TOO_EARLY: "",
    HTTPStatus.TOO_MANY_REQUESTS: "",
}


class UnavailableError(SessionError):
    """The server cannot take us now.

    retry_after: s that it asks us to wait; 0 if it says nothing of it.
    """

    def __init__(self, text: str, retry_after: float = 0.0) -> None:
        super().__init__(text)
        self.retry_after = retry_after


class HttpSignaling(TcpSocketSignaling):
    """What `TcpSocketSignaling` is to a TCP connection: one offer, one answer, one goodbye.

    Args:
        url: where to offer.
        option: which named it, for messages.
        token: the bearer token that it wants, if any.
        variable: where the token is from, for messages.
        known: STUN and TURN servers that the server has named before.

    ice_servers: that the server has named, the newest first.
    """

    def __init__(
        self, url: str, option: str, token: str | None, variable: str, known: tuple[IceServer, ...] = ()
    ) -> None:
        super().__init__("", 0)  # no connection: there is one for each request
        self.url = URL(url)
        self.ice_servers = known
        self.own_host: str | None = None  # the address of this machine by which there is a way to it
        self._name = f"{option} {without_secrets(url)}"
        self._token, self._variable = token, variable
        self._http: aiohttp.ClientSession | None = None
        self._session: URL | None = None
        self._answer: asyncio.Future[RTCSessionDescription] = asyncio.get_running_loop().create_future()
        self._answered = False

    async def connect(self) -> None:
        """Ask which STUN and TURN servers to use; whoever does not know the question is asked no further.

        Raises:
            SessionError: there is nobody.
        """
        async with self._request("OPTIONS", self.url) as response:
            self._note_ice_servers(response)
        self.own_host = await own_address(self.url)

    async def send(self, descr: object) -> None:
        """Offer.

        Raises:
            PeerError: the offer is refused.
            SessionError: it may do later.
        """
        if not isinstance(descr, RTCSessionDescription):
            return  # a goodbye: close() says it
        url = self.url
        for _ in range(MAX_REDIRECTS + 1):
            async with self._request("POST", url, data=descr.sdp, headers={"Content-Type": SDP}) as response:
                if response.status in KEEP_METHOD and "Location" in response.headers:
                    url = self._location(response)
                    continue
                if "Location" in response.headers and response.status in (HTTPStatus.CREATED, HTTPStatus.OK):
                    self._session = self._location(response)
                await self._check(response)
                self._note_ice_servers(response)
                answer = (await read_whole(response.content)).decode("utf-8", "replace")
            self._answer.set_result(RTCSessionDescription(answer, "answer"))
            return
        raise PeerError(f"{self._name}: is sent on without end")

    def _location(self, response: aiohttp.ClientResponse) -> URL:
        """Return where an answer sends us, or where it says that the session is.

        Raises:
            PeerError: that is nowhere.
        """
        with contextlib.suppress(ValueError):
            url = response.url.join(URL(response.headers["Location"]))
            if url.scheme in ("http", "https") and url.host:
                return url
        raise PeerError(f"{self._name}: its Location is no address of HTTP")

    async def receive(self) -> Any:
        """Return the answer; after that, wait for ever: HTTP has no goodbye of the server's."""
        if self._answered:
            await asyncio.Event().wait()
        self._answered = True
        return await self._answer

    async def close(self) -> None:
        """End the session where there is one. Does nothing the second time."""
        session, self._session = self._session, None
        if session is not None:
            with contextlib.suppress(TimeoutError, SessionError, PeerError):
                async with asyncio.timeout(GOODBYE_TIMEOUT), self._request("DELETE", session) as response:
                    logger.debug("%s: DELETE: %d", self._name, response.status)
        http, self._http = self._http, None
        if http is not None:
            await http.close()

    @contextlib.asynccontextmanager
    async def _request(self, method: str, url: URL, **content: Any) -> AsyncIterator[aiohttp.ClientResponse]:
        """Ask, and give the answer.

        Raises:
            PeerError: the address, or the server's certificate, is not to be trusted.
            SessionError: there is no answer.
        """
        if self._http is None:
            timeout = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT)
            connector = aiohttp.TCPConnector(resolver=_Resolver())
            self._http = aiohttp.ClientSession(connector=connector, trust_env=True, timeout=timeout)
        headers = dict(content.pop("headers", {}))
        if self._token is not None and url.origin() == self.url.origin():
            headers["Authorization"] = f"Bearer {self._token}"
        try:
            async with self._http.request(method, url, headers=headers, allow_redirects=False, **content) as response:
                yield response
        except aiohttp.ClientConnectorCertificateError as error:
            raise PeerError(f"{self._name}: its certificate is not trusted: {error.certificate_error}") from None
        except ValueError:  # of aiohttp, or of a name that cannot be looked up
            raise PeerError(f"{self._name}: is no address") from None
        except TimeoutError:
            raise SessionError(f"{self._name}: no answer within {REQUEST_TIMEOUT:g} s") from None
        except aiohttp.ClientError as error:
            raise SessionError(f"{self._name}: {reason_of(error)}") from None

    async def _check(self, response: aiohttp.ClientResponse) -> None:
        """Take what the server says of the offer.

        Raises:
            PeerError: it will never take it.
            UnavailableError: it may later.
        """
        status = response.status
        if status in (HTTPStatus.CREATED, HTTPStatus.OK):
            return
        said = f"{self._name}: {status} {printable(response.reason or '')}".rstrip()
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.PROXY_AUTHENTICATION_REQUIRED):
            wrong = f"is the token in {self._variable} right?" if self._token else f"{self._variable} has no token"
            if response.url.origin() != self.url.origin():
                wrong = (
                    f"it was sent on to {without_secrets(str(response.url))}, which gets no token: name that address"
                )
            raise PeerError(f"{said}; {wrong}")
        if status in LATER or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            why = LATER.get(HTTPStatus(status)) if status in LATER else ""
            raise UnavailableError(f"{said}{': ' if why else ''}{why}", retry_after(response))
        if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
            raise PeerError(f"{said}: a redirect that loses the offer; name the address that it leads to")
        raise PeerError(f"{said}: the offer is refused")

    def _note_ice_servers(self, response: aiohttp.ClientResponse) -> None:
        """Take note of the STUN and TURN servers that an answer names."""
        named: list[IceServer] = []
        try:
            links = response.links.getall("ice-server", [])
        except ValueError:  # one of them is no address
            logger.info("%s: a Link that cannot be read", self._name)
            return
        for link in links:
            try:
                name, password = (str(link[key]) if key in link else None for key in ("username", "credential"))
                named.append(IceServer(str(link["url"]), name, password))
            except ValueError as error:
                logger.info("%s: an ice-server that cannot be used: %s", self._name, error)
        self.ice_servers = tuple(dict.fromkeys((*named, *self.ice_servers)))[:MAX_ICE_SERVERS]


class _Resolver(aiohttp.ThreadedResolver):
    """Looks a name up in a thread that nobody waits for at the end; aiohttp's own finds the answer there already."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        await look_up(host)
        return await super().resolve(host, port, family)


async def read_whole(content: aiohttp.StreamReader) -> bytes:
    """Return what comes, in however many pieces, up to MAX_ANSWER bytes."""
    read = b""
    while len(read) < MAX_ANSWER and (piece := await content.read(MAX_ANSWER - len(read))):
        read += piece
    return read


def joined(ours: IceConfig, theirs: tuple[IceServer, ...]) -> IceConfig:
    """Return our own servers, and those of the other's that go with them: aiortc asks one of each kind."""
    servers = list(ours.servers)
    for server in theirs:
        if all(server.relays != each.relays for each in servers):
            servers.append(server)
    return IceConfig(tuple(servers), ours.relay_only)


def reason_of(error: aiohttp.ClientError) -> str:
    """Return in a few words why there was no answer, and nothing of what was asked."""
    if isinstance(error, aiohttp.ClientConnectorError):
        return error.os_error.strerror or str(error.os_error)
    return "hung up" if isinstance(error, aiohttp.ServerDisconnectedError) else type(error).__name__


async def own_address(url: URL) -> str | None:
    """Return the address of this machine by which there is a way to another; None if there is none."""
    with contextlib.suppress(OSError, UnicodeError):
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(REQUEST_TIMEOUT):
            await look_up(url.host or "")
        family, kind, _, _, address = (await loop.getaddrinfo(url.host, url.port, type=socket.SOCK_DGRAM))[0]
        with socket.socket(family, kind) as probe:
            probe.connect(address)  # of UDP: nothing is sent
            return str(probe.getsockname()[0])
    return None


def retry_after(response: aiohttp.ClientResponse) -> float:
    """Return for how long (s) a server asks us to wait; 0 if it does not, or names a date."""
    text = response.headers.get("Retry-After", "")
    return min(float(text), MAX_RETRY_AFTER) if text.isascii() and text.isdigit() else 0.0
