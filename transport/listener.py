"""One port that serves many peers: each connection in a task of its own."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from typing import Protocol

from common.sessions import PeerError
from transport.signaling import AcceptedSignaling, close_signaling

logger = logging.getLogger(__name__)

MAX_HANDSHAKES = 64  # at once; more are turned away
START_INTERVAL = 0.005  # s between the starts of two handshakes: each takes 2 ms of the event loop


class Visit(Protocol):
    """What `listen` does with a client, step by step."""

    async def meet(self) -> bool:
        """Shake hands; return whether it came about, or raise PeerError."""

    async def hold(self) -> str:
        """Serve the client until it ends; return why it did, or raise PeerError."""

    async def close(self, end: str) -> None:
        """Free everything; `end` says why. Called once, however far it went."""


@contextlib.asynccontextmanager
async def listen(host: str, port: int, receive_visit: Callable[[AcceptedSignaling], Visit]) -> AsyncIterator[None]:
    """Serve every connection to a port, each in a task of its own, until the block ends.

    At most MAX_HANDSHAKES are under way at once, and two of them begin START_INTERVAL apart at least; so a
    burst of connections takes little from the clients in service. Leaving the block closes the port and waits
    for the tasks.

    Args:
        host, port: where to listen.
        receive_visit: makes what serves one connection.

    Raises:
        OSError: the port cannot be had.
    """
    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[None]] = set()
    meeting: set[AcceptedSignaling] = set()
    next_start = loop.time()

    async def serve(signaling: AcceptedSignaling) -> None:
        nonlocal next_start
        next_start = max(next_start + START_INTERVAL, loop.time())
        await asyncio.sleep(next_start - loop.time())
        visit = receive_visit(signaling)
        end = "an error of ours"
        try:
            met = await visit.meet()
            meeting.discard(signaling)
            if met:
                end = await visit.hold()
            else:
                end = "left before it began"
                logger.warning("%s: %s", signaling.peer, end)
        except PeerError as error:
            end = str(error)
            logger.warning("%s: ended: %s", signaling.peer, end)
        except Exception:
            logger.exception("%s: ended by an error of ours", signaling.peer)
        finally:
            meeting.discard(signaling)
            await visit.close(end)
            await close_signaling(signaling)

    def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        signaling = AcceptedSignaling(reader, writer)
        if len(meeting) >= MAX_HANDSHAKES:
            logger.warning("%s: turned away: %d others are shaking hands", signaling.peer, len(meeting))
            writer.close()
            return
        meeting.add(signaling)
        task = asyncio.create_task(serve(signaling))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(on_connection, host, port)
    try:
        yield
    finally:
        server.close()
        while tasks:
            await asyncio.wait(tasks)
