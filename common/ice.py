"""STUN and TURN servers: which ones to ask on the way to a peer, and with what name and password.

A URL is stun:HOST[:PORT] (RFC 7064), turn:HOST[:PORT] or turns:HOST[:PORT] (RFC 7065). Name and password come from
the environment, since a command line can be read by everybody on the machine:

    BALL_ICE_USERNAME, BALL_ICE_CREDENTIAL   name and password, as they are
    BALL_ICE_SECRET                          what the TURN server shares with us: a name and a password that hold for
                                             LIFETIME are made from it for each connection

Source: draft-uberti-behave-turn-rest-00, section 2.2, as coturn's use-auth-secret has it.
"""

import argparse
import base64
import hashlib
import hmac
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

USERNAME, CREDENTIAL, SECRET = "BALL_ICE_USERNAME", "BALL_ICE_CREDENTIAL", "BALL_ICE_SECRET"
LIFETIME = 86400  # s that a name made from a secret holds for; clocks may be wrong by less than that
NAME = "ball"  # of the two parts of such a name the second, if no other is given
URL = re.compile(r"(stuns?|turns?):([\w.-]+)(?::([0-9]{1,5}))?(?:\?transport=(\w+))?")
RULE = "must be stun:HOST[:PORT], turn:HOST[:PORT][?transport=udp|tcp] or turns:HOST[:PORT]"


@dataclass(frozen=True)
class IceServer:
    """One server, and the name and the password that it wants, which no text ever shows.

    Raises:
        ValueError: the URL is none that can be used.
    """

    url: str
    username: str | None = field(default=None, repr=False)
    credential: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        check_url(self.url)

    @property
    def relays(self) -> bool:
        """Whether it is a TURN server."""
        return self.url.startswith("turn")

    @property
    def address(self) -> tuple[str, int, str]:
        """Where it is: host, port, and how to talk to it: udp, tcp or tls.

        >>> IceServer("turns:host").address, IceServer("turn:host:80?transport=tcp").address
        (('host', 5349, 'tls'), ('host', 80, 'tcp'))
        """
        match = URL.fullmatch(self.url)
        assert match is not None
        scheme, host, port, transport = match.groups()
        secure = scheme == "turns"
        return host, int(port or (5349 if secure else 3478)), "tls" if secure else transport or "udp"


@dataclass(frozen=True)
class IceConfig:
    """How a connection finds its peer.

    servers: to be asked; aiortc asks the first of each kind. relay_only: nothing goes but through a TURN server.
    """

    servers: tuple[IceServer, ...] = ()
    relay_only: bool = False

    @property
    def asked(self) -> tuple[IceServer, ...]:
        """The servers that aiortc asks: the first of each kind, and no STUN server where only a relay is wanted.

        >>> IceConfig((IceServer("turn:a"), IceServer("turns:b"), IceServer("stun:c"))).asked
        (IceServer(url='turn:a'), IceServer(url='stun:c'))
        """
        first = {each.relays: each for each in reversed(self.servers) if each.relays or not self.relay_only}
        return tuple(each for each in self.servers if first.get(each.relays) is each)

    @property
    def relay_url(self) -> str:
        """The URL of the TURN server that is asked; empty if there is none."""
        return next((each.url for each in self.asked if each.relays), "")


def check_url(url: str) -> None:
    """Refuse what is no URL of a STUN or TURN server that aiortc can ask.

    Raises:
        ValueError: it is none; the text has the rule, and nothing of what may be a password.
    """
    if "@" in url:
        raise ValueError(f"a name and a password do not belong in a URL; put them into {USERNAME} and {CREDENTIAL}")
    shown = repr(url.partition("?")[0])
    if "[" in url or url.count(":") > 2:
        raise ValueError(f"{shown}: {RULE}; aiortc knows no IPv6 address here, but a name that has one")
    match = URL.fullmatch(url)
    if match is None or not _is_host(match[2]) or not 1 <= int(match[3] or 1) <= 65535:
        raise ValueError(f"{shown}: {RULE}")
    scheme, transport = match[1], match[4]
    if scheme == "stuns":
        raise ValueError(f"{shown}: {RULE}; aiortc knows no STUN over TLS")
    if scheme == "stun" and transport is not None:
        raise ValueError(f"{shown}: {RULE}; STUN is asked by UDP, without ?transport")
    if scheme == "turns" and transport not in (None, "tcp"):
        raise ValueError(f"{shown}: {RULE}; aiortc knows TLS over TCP only")
    if transport not in (None, "udp", "tcp"):
        raise ValueError(f"{shown}: {RULE}")


def _is_host(name: str) -> bool:
    """Return whether a name can be looked up."""
    try:
        encoded = name.removesuffix(".").encode("idna")
    except UnicodeError:
        return False
    return 0 < len(encoded) < 254 and not encoded.startswith(b"-")


def credentials(environ: Mapping[str, str], now: float) -> tuple[str, str] | None:
    """Return the name and the password for a TURN server; None if the environment has none.

    Args:
        environ: the environment.
        now: s since 1970.

    Raises:
        ValueError: it has half of them, or too many; the text has the variable's name, and nothing of its value.

    >>> credentials({"BALL_ICE_SECRET": "north"}, 1_700_000_000.5)
    ('1700086400:ball', 'OZ5pqI8uqp+fkekfstac9atIzks=')
    """
    username, credential, secret = (environ.get(name) or None for name in (USERNAME, CREDENTIAL, SECRET))
    for name, value in ((USERNAME, username), (CREDENTIAL, credential), (SECRET, secret)):
        if value is not None and value != value.strip():
            raise ValueError(f"{name}: begins or ends with white space, maybe the line break of a file")
    if secret is not None:
        if credential is not None:
            raise ValueError(f"{CREDENTIAL}: goes without {SECRET}")
        username = f"{int(now) + LIFETIME}:{username or NAME}"
        digest = hmac.digest(secret.encode(), username.encode(), hashlib.sha1)
        return username, base64.b64encode(digest).decode()
    if username is None and credential is None:
        return None
    if username is None or credential is None:
        given, lacking = (USERNAME, CREDENTIAL) if credential is None else (CREDENTIAL, USERNAME)
        raise ValueError(f"{given}: goes with {lacking} only")
    return username, credential


def ice_config(args: argparse.Namespace) -> IceConfig:
    """Return what a command line and the environment ask for, with a name and a password of this very moment.

    Raises:
        ValueError: it is something that cannot be; `check_ice` has told so before.
    """
    urls = urls_of(args)
    known = credentials(os.environ, time.time()) if any(url.startswith("turn") for url in urls) else None
    servers = (IceServer(url, *(known or ())) if url.startswith("turn") else IceServer(url) for url in urls)
    return IceConfig(tuple(servers), args.relay_only)


def urls_of(args: argparse.Namespace) -> list[str]:
    """Return the servers that a command line names, --stun among them."""
    return [*args.ice_server, *([args.stun] if args.stun else [])]
