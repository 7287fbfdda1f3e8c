"""Accepting connections, also where the system has no descriptor left for one.

asyncio's own servers try a hundred times then, log each time, and do all of that again for each of the hundred a
second later: 34 MB of log in 18 s. Here that is one line and a pause.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

logger = logging.getLogger(__name__)

BACKLOG = 1024  # connections that the kernel keeps until they are accepted; what is more does not learn of it
PAUSE = 1.0  # s, after the system has refused one


@contextlib.asynccontextmanager
async def accepting(host: str, port: int, take: Callable[[socket.socket], Awaitable[object]]) -> AsyncIterator[None]:
    """Accept connections to a port, one after the other, until the block ends.

    Args:
        host, port: where to listen; every address that the name has.
        take: gets each connection, and closes it some time.

    Raises:
        OSError: the port cannot be had.
    """

    async def accept(listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(listener)
            except OSError as error:
                logger.warning("port %d: a connection cannot be accepted: %s", port, error.strerror or error)
                await asyncio.sleep(PAUSE)
                continue
            try:
                with contextlib.suppress(OSError):  # it has left
                    await take(connection)
            except Exception:
                logger.exception("port %d: a connection cannot be taken", port)
                connection.close()

    loop = asyncio.get_running_loop()
    # it binds as asyncio does, but it is we who listen and accept
    async with await loop.create_server(asyncio.Protocol, host, port, start_serving=False) as server:
        with contextlib.ExitStack() as stack:
            listeners = [stack.enter_context(bound.dup()) for bound in server.sockets]
            for listener in listeners:
                listener.listen(BACKLOG)
            tasks = [asyncio.create_task(accept(listener)) for listener in listeners]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)


def taken_as_streams(
    on_connection: Callable[[asyncio.StreamReader, asyncio.StreamWriter], None],
) -> Callable[[socket.socket], Awaitable[object]]:
    """Return what takes a connection as asyncio.start_server does: as a reader and a writer."""

    async def take(connection: socket.socket) -> None:
        protocol = asyncio.StreamReaderProtocol(asyncio.StreamReader(), on_connection)
        await asyncio.get_running_loop().connect_accepted_socket(lambda: protocol, connection)

    return take
