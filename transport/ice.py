"""STUN and TURN servers: asked for a way to the peer, and told of when they give none.

aioice asks them while it gathers candidates, which takes as long as the slowest of them, 5 s at most, and drops what
goes wrong. Here it is told, in one line for each server and gathering, with what may be wrong: the error, if there is
one; and of a server that answers nothing what it makes of a Binding request (RFC 8489, section 3), which every STUN
server answers, and every TURN server.
"""

import asyncio
import contextlib
import logging
import re
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple

from aioice import stun
from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection
from aiortc.rtcconfiguration import RTCBundlePolicy, RTCIceTransportPolicy

from common.ice import CREDENTIAL, SECRET, USERNAME, IceConfig, IceServer
from common.names import look_up
from common.seldom import Seldom
from common.strangers import printable
from transport.aiortc_ice import CANDIDATE, Relay, noting, refused_by_relay

logger = logging.getLogger(__name__)

PROBE_AFTER = 1.0  # s without a candidate after which a server is looked at
PROBE_TIMEOUT = 3.0  # s for that; together less than the 5 s that aioice waits
RESEND_INTERVAL = 0.5  # s between two requests by UDP
KEEP_INTERVAL, SILENT_AFTER = 10.0, 1.0  # s between two questions to a relay; and if nothing of the peer's has come
BIND_TIMEOUT = 2.0  # s for a relay to answer one
GONE_AFTER = 10.0  # s without a word of the peer's, and of the relay's, after which neither will come; aioice takes 30
MAGIC_COOKIE = bytes.fromhex("2112a442")  # bytes 4 to 7 of a STUN message: RFC 8489, section 5
NAMES = re.compile(r"""'USERNAME': ('[^']*'|"[^"]*")""")
CODES = {403: "forbids it", 486: "has no more relays for this name", 508: "has no more relays"}  # RFC 8656, section 19
SILENT = "answers nothing: a firewall in between, another port, or nobody there"
ONLY_STUN = "answers STUN, and no request for a relay: is it a TURN server?"
TOO_LATE = "answers too late"
GONE, BACK = "answers nothing any more", "answers again"
_seldom = Seldom()  # each connection asks anew, and would tell the same


def configuration(ice: IceConfig | None = None) -> RTCConfiguration:
    """Return how to connect: host candidates only, unless servers are named.

    aiortc's default asks a public server, and waits five seconds for it where there is no way out.
    All media and channels share one transport.
    """
    ice = ice or IceConfig()
    servers = [RTCIceServer(urls=each.url, username=each.username, credential=each.credential) for each in ice.servers]
    policy = RTCIceTransportPolicy.RELAY if ice.relay_only else RTCIceTransportPolicy.ALL
    return RTCConfiguration(iceServers=servers, iceTransportPolicy=policy, bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)


def hide_names(record: logging.LogRecord) -> bool:
    """Take the name that we have at a TURN server out of a line of aioice's log; as a logging filter."""
    record.msg, record.args = NAMES.sub("'USERNAME': '...'", record.getMessage()), ()
    return True


logging.getLogger("aioice.turn").addFilter(hide_names)


# --- While candidates are gathered ---------------------------------------------------------------


class Lack(NamedTuple):
    """A server that gave no candidate: why, in words, and whether it is there at all."""

    server: IceServer
    reason: str
    there: bool


@contextlib.asynccontextmanager
async def asking(ice: IceConfig) -> AsyncIterator[list[Lack]]:
    """Tell which servers gave no candidate while the block gathered, and why; give them, when the block has ended."""
    lacks: list[Lack] = []
    probes = {each: asyncio.create_task(_probe_later(each)) for each in ice.asked}
    try:
        with noting() as outcomes:
            yield lacks
    finally:
        for task in probes.values():
            task.cancel()
        if probes:
            await asyncio.wait(probes.values())
    for server, task in probes.items():
        answers = [answer for kind, answer in outcomes() if kind == ("turn" if server.relays else "stun")]
        if CANDIDATE in answers:
            continue
        error = next((each for each in answers if isinstance(each, Exception)), None)
        if error is not None:
            lack = Lack(server, explain(error, server), isinstance(error, stun.TransactionFailed))
        elif not answers:
            lack = Lack(server, "was not asked: there is no IPv4 address to ask from", there=True)
        else:
            wrong = SILENT if task.cancelled() else task.result()
            lack = Lack(server, wrong or (ONLY_STUN if server.relays else TOO_LATE), there=wrong is None)
        lacks.append(lack)
        _tell(f"{server.url} gave no candidate: it {lack.reason}")


def _tell(line: str) -> None:
    """Warn of something that many connections have in common: once a minute."""
    logger.log(logging.WARNING if _seldom.due(line) else logging.INFO, "%s", line)


def explain(error: Exception, server: IceServer) -> str:
    """Return what an error says of a server, to go after "it"."""
    host, _, way = server.address
    match error:
        case stun.TransactionFailed():
            said = _explain_code(error, server)
        case socket.gaierror():
            said = f"cannot be found: no address for {host} ({error.strerror})"
        case ConnectionRefusedError():
            said = f"is not there: nothing listens at this {'UDP' if way == 'udp' else 'TCP'} port"
        case ssl.SSLCertVerificationError():
            said = (
                f"has a certificate that is not trusted: {error.verify_message}; SSL_CERT_FILE names more authorities"
            )
        case ssl.SSLError():
            said = f"speaks no TLS there ({error.reason or error}): turn: instead of turns:, or another port?"
        case ConnectionError():
            said = "closes the connection"
        case TimeoutError():
            said = SILENT
        case OSError():
            said = f"cannot be reached: {error.strerror or error}"
        case _:
            said = f"cannot be asked: {error!r}"
    return said


def _explain_code(error: stun.TransactionFailed, server: IceServer) -> str:
    """Return what a server's refusal says of it."""
    code, told = _refusal(error)
    if code != 401:
        return f"{CODES.get(code, 'refuses')} {told}"
    if server.username is None:
        return f"wants a name and a password {told}, and none are given: {USERNAME} and {CREDENTIAL}, or {SECRET}"
    names = f"{USERNAME} and {CREDENTIAL}, or {SECRET}"
    return f"refuses name and password {told}: wrong, or no longer good, or a clock is wrong; see {names}"


def _refusal(error: stun.TransactionFailed) -> tuple[int, str]:
    """Return the code of a server's refusal, and the same with its words."""
    code, phrase = error.response.attributes.get("ERROR-CODE", (0, "no reason"))
    return code, f"({code} {printable(phrase)})"


# --- Looking at a server -------------------------------------------------------------------------


async def _probe_later(server: IceServer) -> str | None:
    await asyncio.sleep(PROBE_AFTER)
    return await probe(server)


async def probe(server: IceServer) -> str | None:
    """Return what is wrong with a server, to go after "it"; None if it answers as a STUN server does."""
    host, port, way = server.address
    stage = f"cannot be found: the name service does not say where {host} is"
    try:
        async with asyncio.timeout(PROBE_TIMEOUT):
            await look_up(host)
            stage = SILENT
            answer = await (_ask_by_udp(host, port) if way == "udp" else _ask_by_tcp(host, port, way == "tls"))
    except TimeoutError:
        return stage
    except Exception as error:  # whatever there is at that address
        return explain(error, server)
    if not answer:
        return f"closes the connection without an answer{': does it want TLS (turns:)?' if way == 'tcp' else ''}"
    if answer[4:8] != MAGIC_COOKIE:
        return "answers something else than STUN: another program listens there"
    return None


def _binding_request() -> bytes:
    return bytes(stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST))


class _Listener(asyncio.DatagramProtocol):
    """Takes the first datagram, or error, that comes."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, _: Any) -> None:
        if not self.answer.done():
            self.answer.set_result(data)

    def error_received(self, error: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


async def _ask_by_udp(host: str, port: int) -> bytes:
    """Return what comes back of a Binding request."""
    loop, request = asyncio.get_running_loop(), _binding_request()
    transport, listener = await loop.create_datagram_endpoint(_Listener, remote_addr=(host, port))
    try:
        while True:
            transport.sendto(request)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RESEND_INTERVAL):
                    return await asyncio.shield(listener.answer)
    finally:
        transport.close()
        listener.answer.cancel()


async def _ask_by_tcp(host: str, port: int, secure: bool) -> bytes:
    """Return the first of what comes back of a Binding request; nothing if the connection is closed instead."""
    reader, writer = await asyncio.open_connection(host, port, ssl=secure or None)
    try:
        writer.write(_binding_request())
        return await reader.read(20)
    finally:
        writer.transport.abort()


# --- A relay that was wanted ---------------------------------------------------------------------


def forbidden(pc: RTCPeerConnection, url: str) -> str:
    """Return what a relay has said to the peer's address, to go after a reason; nothing if it has taken it.

    Args:
        pc: the connection that does not come about.
        url: the relay's name.
    """
    refused = refused_by_relay(pc)
    return "" if refused is None else f"; {url} does not relay to {refused.host} {_refusal(refused.error)[1]}"


# --- A relay in use ------------------------------------------------------------------------------


async def keep_relay(relay: Relay, silence: Callable[[], float], url: str) -> None:
    """Ask a relay to go on, now and then, until it says that it does not, or nothing has come for GONE_AFTER.

    What is bound there goes on to be (RFC 8656, section 12: ten minutes, or what the server makes of that); a relay
    that was started again, and so knows nothing of us, says so at once.

    Args:
        relay: the one.
        silence: returns for how long (s) nothing has come of the peer.
        url: its name.
    """
    loop = asyncio.get_running_loop()
    asked, silent = loop.time(), False
    while True:
        await asyncio.sleep(SILENT_AFTER)
        if silence() < SILENT_AFTER and loop.time() - asked < KEEP_INTERVAL:
            continue
        try:
            async with asyncio.timeout(BIND_TIMEOUT):
                await relay.bind()
        except (TimeoutError, stun.TransactionTimeout):
            if not silent:
                _tell(f"{url} {GONE}")
                _seldom.forget(f"{url} {BACK}")
            if silence() >= GONE_AFTER:
                return
            silent = True
        except stun.TransactionFailed as error:
            _tell(f"{url} relays no more for us {_refusal(error)[1]}")
            return
        except ConnectionError:
            return
        else:
            if silent:
                _tell(f"{url} {BACK}")
                _seldom.forget(f"{url} {GONE}")
            asked, silent = loop.time(), False
