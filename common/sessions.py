"""How a session with a peer can end."""

from enum import StrEnum


class End(StrEnum):
    """Why a session ended."""

    BYE = "bye"  # the peer said so
    VANISHED = "vanished"  # its signaling connection ended without a word
    FAILED = "connection failed"  # no way to it, or the way was lost for good
    STOPPED = "stopped"  # we said so
    NO_FRAMES = "no frames came"  # although the server is there
    EXPELLED = "expelled: too many messages"


class PeerError(Exception):
    """The peer is not there, or does not keep to the protocol."""


class SlowPeerError(PeerError):
    """The peer does not keep to the protocol's deadlines."""


class SessionError(Exception):
    """Something of ours failed, and the session with it; the text says what, in one line."""
