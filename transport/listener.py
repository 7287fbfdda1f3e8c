"""One port that serves many peers: each connection in a task of its own."""

import asyncio
import contextlib
import errno
import logging
from collections.abc import AsyncIterator, Callable
from typing import Protocol

from common.accepting import accepting, taken_as_streams
from common.sessions import End, PeerError, SessionError, SlowPeerError
from transport.signaling import AcceptedSignaling, close_signaling
from transport.strays import drop

logger = logging.getLogger(__name__)

MAX_HANDSHAKES = 64  # at once; more are turned away
MAX_FROM_ONE = 32  # of them from one address
SILENCE_TIMEOUT = 7.0  # s for a word, be it ours or the peer's: each may wait 5 s for a STUN server before it
SCARCE = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)  # what this machine may have no more of
START_INTERVAL = 0.005  # s between the starts of two handshakes: each takes 2 ms of the event loop


class Visit(Protocol):
    """What `listen` does with a client, step by step."""

    async def meet(self) -> bool:
        """Shake hands; return whether it came about, or raise PeerError."""

    async def hold(self) -> str:
        """Serve the client until it ends; return why it did, or raise PeerError."""

    async def goodbye(self) -> None:
        """Tell the client that there is no more, and that it need not come back."""

    async def close(self, end: str) -> None:
        """Free everything; `end` says why. Called once, however far it went."""


class _Door:
    """Who is shaking hands, and who may begin to."""

    def __init__(self) -> None:
        self._meeting: set[AcceptedSignaling] = set()
        self._silent: dict[AcceptedSignaling, asyncio.Timeout] = {}  # of those, who has said nothing, oldest first
        self._starting = asyncio.Lock()

    def let_in(self, signaling: AcceptedSignaling) -> bool:
        """Return whether a peer may shake hands; somebody who has said nothing so far may have to leave for it."""
        neighbours = {each for each in self._meeting if each.host == signaling.host}
        if len(neighbours) >= MAX_FROM_ONE or len(self._meeting) >= MAX_HANDSHAKES:
            crowd = neighbours if len(neighbours) >= MAX_FROM_ONE else self._meeting
            quiet = next((each for each in self._silent if each in crowd), None)
            if quiet is None:
                return False
            self._silent.pop(quiet).reschedule(0)  # at once
            self._meeting.discard(quiet)
        self._meeting.add(signaling)
        return True

    async def wait_for_turn(self) -> None:
        """Wait until START_INTERVAL after the one before: a burst must not take the event loop for itself."""
        async with self._starting:
            await asyncio.sleep(START_INTERVAL)

    async def meet(self, signaling: AcceptedSignaling, visit: "Visit") -> bool:
        """Let a peer shake hands; return whether it came about.

        Raises:
            PeerError: it does not keep to the protocol, or says nothing.
        """
        try:
            async with asyncio.timeout(SILENCE_TIMEOUT) as patience:
                self._silent[signaling] = patience

                def on_asked() -> None:
                    if signaling in self._silent:
                        patience.reschedule(asyncio.get_running_loop().time() + SILENCE_TIMEOUT)

                def on_spoken() -> None:
                    if self._silent.pop(signaling, None) is not None:
                        patience.reschedule(None)  # from now on the handshake's own deadline holds

                signaling.on_asked, signaling.on_spoken = on_asked, on_spoken
                return await visit.meet()
        except TimeoutError:
            raise SlowPeerError("said nothing") from None
        finally:
            self.leave(signaling)

    def leave(self, signaling: AcceptedSignaling) -> None:
        """Take note that a peer is no longer shaking hands."""
        self._silent.pop(signaling, None)
        self._meeting.discard(signaling)


async def _serve(
    door: _Door, signaling: AcceptedSignaling, receive_visit: Callable[[AcceptedSignaling], Visit]
) -> None:
    """Serve one peer, from its first word to its end."""
    await door.wait_for_turn()
    visit = receive_visit(signaling)
    end, polite = "an error of ours", False  # a goodbye tells a client not to come back
    try:
        if await door.meet(signaling, visit):
            end = await visit.hold()
        else:
            end = "left before it began"
            logger.warning("%s: %s", signaling.peer, end)
        polite = end != End.FAILED
    except Exception as error:
        end, polite = tell_failure(signaling.peer, error), isinstance(error, PeerError)
    finally:
        if polite:
            await visit.goodbye()  # before anything closes: it would be taken for a fault
        try:
            await visit.close(end)
        finally:
            await close_signaling(signaling, goodbye=False)


@contextlib.asynccontextmanager
async def listen(
    host: str, port: int, receive_visit: Callable[[AcceptedSignaling], Visit]
) -> AsyncIterator[Callable[[AcceptedSignaling], bool]]:
    """Serve every connection to a port, each in a task of its own, until the block ends.

    Gives what lets in a peer that has come another way; it returns False if too many others are shaking hands.

    At most MAX_HANDSHAKES are under way at once, and two of them begin START_INTERVAL apart at least; so a
    burst of connections takes little from the clients in service. Leaving the block closes the port and waits
    for the tasks.

    Args:
        host, port: where to listen.
        receive_visit: makes what serves one connection.

    Raises:
        OSError: the port cannot be had.
    """
    door = _Door()
    tasks: set[asyncio.Task[None]] = set()

    def admit(signaling: AcceptedSignaling) -> bool:
        if not door.let_in(signaling):
            drop("connections while too many others were shaking hands")
            return False
        task = asyncio.create_task(_serve(door, signaling, receive_visit))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        return True

    def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not admit(AcceptedSignaling(reader, writer)):
            writer.close()

    try:
        async with accepting(host, port, taken_as_streams(on_connection)):
            yield admit
    finally:
        while tasks:
            await asyncio.wait(tasks)


def tell_failure(peer: str, error: Exception) -> str:
    """Tell why a session failed, and return it."""
    match error:
        case PeerError():
            end = str(error)
        case SessionError():
            logger.error("%s: ended: %s", peer, error)
            return str(error)
        case OSError() if error.errno in SCARCE:
            end = f"turned away: {error.strerror}"
        case _:
            logger.error("%s: ended by an error of ours", peer, exc_info=error)
            return "an error of ours"
    logger.warning("%s: ended: %s", peer, end)
    return end
