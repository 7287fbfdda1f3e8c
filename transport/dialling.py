"""Finding a server, and holding one session with it after the other."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from aiortc.contrib.signaling import TcpSocketSignaling

from common.ice import IceConfig
from common.names import look_up
from common.seldom import Seldom
from common.sessions import End, PeerError, SessionError, SlowPeerError
from common.waiting import WELL_AFTER, backoff, unless
from transport import aiortc_internals as internals
from transport.datachannel import ChannelAnswer
from transport.line import ClientLine, FrameWay
from transport.link import HANDSHAKE_TIMEOUT, Link, OnFrame, OnMessage, OnSkipped
from transport.media import MediaAnswer
from transport.signaling import close_signaling
from transport.tcp import TcpAnswer

logger = logging.getLogger(__name__)

RETRY_FIRST, RETRY_MAX = 0.1, 1.0  # s between two attempts to dial; doubled each time
DROPPED_FIRST, DROPPED_MAX = 0.5, 30.0  # the same after a session that was over as soon as it had begun
MISSED_AFTER, MISSED_INTERVAL = 2.0, 60.0  # s until it is first said that there is no server, and between two times
MIN_PATIENCE = 2.0  # s for the first word of what listens there, however late it is
ATTEMPT_TIMEOUT = 2.0  # s for one of them: an address that nobody has any more does not answer at all


async def dial(host: str, port: int, wait: float, left: float | None = None) -> TcpSocketSignaling:
    """Connect to a server's signaling port, again and again with a growing pause.

    Args:
        host, port: where the server listens.
        wait: s after which to give up; 0 tries once.
        left: s that are left of them, if it is not the first time.

    Returns:
        The signaling, connected.

    Raises:
        PeerError: there was no server in time; the text says why.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + (wait if left is None else left)
    tell_at = loop.time() + MISSED_AFTER
    for pause in backoff(RETRY_FIRST, RETRY_MAX):
        signaling = TcpSocketSignaling(host, port)
        try:
            async with asyncio.timeout(min(deadline - loop.time(), ATTEMPT_TIMEOUT) if wait else ATTEMPT_TIMEOUT):
                await look_up(host)
                await internals.connect(signaling)
            return signaling
        except OSError as error:  # TimeoutError is one, and says nothing
            reason = error.strerror or str(error) or "no answer"
        if loop.time() >= tell_at:
            tell_at = loop.time() + MISSED_INTERVAL
            logger.warning("no server at %s:%s yet: %s", host, port, reason)
        if loop.time() + pause > deadline:
            break
        await asyncio.sleep(pause)
    within = f" within {wait:.3g} s" if wait else ""
    raise PeerError(f"no server at {host}:{port}{within}: {reason}")


async def keep_dialling(
    host: str,
    port: int,
    wait: float,
    stop: asyncio.Event,
    attend: Callable[[TcpSocketSignaling, float], Awaitable[tuple[bool, End]]],
    stay: bool = False,
) -> None:
    """Hold one session after the other until a normal end.

    Args:
        host, port: where the server listens.
        wait: s to wait each time for it, and for the handshake.
        stop: is set when no further session is wanted.
        attend: holds one session, which has to begin within so many seconds, until one side ends it; returns whether
            the peers met, and why it ended.
        stay: a server's goodbye is no end: there will be another one.

    Raises:
        PeerError: there was no session for too long, or the server does not keep to the protocol.
    """
    loop = asyncio.get_running_loop()
    pauses, deadline, end = backoff(RETRY_FIRST, RETRY_MAX), loop.time() + wait, ""
    dropped, seldom = backoff(DROPPED_FIRST, DROPPED_MAX), Seldom()
    while not stop.is_set():
        try:
            signaling = await unless(stop, dial(host, port, wait, max(0, deadline - loop.time())))
        except PeerError as error:
            raise PeerError(f"{error}; before that: {end}" if end else str(error)) from None
        if signaling is None:
            return
        began, met, goodbye = loop.time(), False, True
        try:
            patience = max(MIN_PATIENCE, deadline - began) if wait else HANDSHAKE_TIMEOUT
            met, end = await attend(signaling, patience)
            goodbye = end in {End.BYE, End.STOPPED}
        except SlowPeerError as error:
            end, goodbye = str(error), stop.is_set()
        except SessionError as error:
            end, goodbye = str(error), stop.is_set()
            met = loop.time() - began > wait  # what fails again and again has the time that a server has to come
        finally:
            await close_signaling(signaling, goodbye)
        if goodbye and not (stay and end is End.BYE):
            return
        brief = met and loop.time() - began < WELL_AFTER
        if met:
            pauses, deadline = backoff(RETRY_FIRST, RETRY_MAX), loop.time() + wait
            dropped = dropped if brief else backoff(DROPPED_FIRST, DROPPED_MAX)
        pause = min(next(dropped), wait / 2) if brief else next(pauses)
        if loop.time() + pause >= deadline:
            raise PeerError(f"no session with {host}:{port} within {wait:.3g} s: {end}")
        if seldom.due(end) or (met and not brief):
            again = f" in {pause:g} s, as it had just begun" if brief else ""
            logger.warning("session ended: %s; dialling again%s", end, again)
        await unless(stop, asyncio.sleep(pause))


def create_answer(
    transport: str,
    signaling: TcpSocketSignaling,
    on_message: OnMessage,
    on_frame: OnFrame,
    on_skipped: OnSkipped,
    ice: IceConfig | None,
    jitter_buffer: str,
    frames: FrameWay | None = None,
) -> Link:
    """Return the client's end of what the server offers; the arguments are those of the classes.

    Args:
        transport: "media", "datachannel" or "tcp".
        frames: where they come from, if not from this server; the transport is of no interest then.
    """
    if frames is not None:
        return ClientLine(signaling, on_message, frames)
    match transport:
        case "datachannel":
            return ChannelAnswer(signaling, on_message, ice, on_frame, on_skipped)
        case "tcp":
            return TcpAnswer(signaling, on_message, on_frame, on_skipped)
        case _:
            return MediaAnswer(signaling, on_message, ice, on_frame, jitter_buffer)
