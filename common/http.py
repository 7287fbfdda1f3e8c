"""Watching a program over HTTP, and what it takes to listen to strangers.

/healthz   200 as long as the event loop turns
/readyz    200 while the program can do what it is for, 503 before and after
/metrics   counts and figures, as Prometheus reads them

A stranger can open connections and say nothing, or half of a request, for ever. So there are MAX_CONNECTIONS at most,
each has REQUEST_TIMEOUT for its first request, and when they are all taken a silent one makes room.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.aiohttp import make_aiohttp_handler

from common.accepting import accepting

MAX_CONNECTIONS = 128  # to one port; a page takes two, and one more for each thing that it loads
REQUEST_TIMEOUT = 5.0  # s from the connection to the end of its first request's head
KEEP_ALIVE = 10.0  # s from one request to the next on the same connection


class ListenError(Exception):
    """An option names an address that cannot be listened at."""


# --- Listening -----------------------------------------------------------------------------------


class HttpServer:
    """Serves a web application at one address, and bears with whoever connects.

    Args:
        app: what is served. It gets a middleware.
        cancel: whether a handler is cancelled when its client leaves.
        shutdown_timeout: s that handlers have to end when it is closed.
    """

    def __init__(self, app: web.Application, *, cancel: bool = False, shutdown_timeout: float = 0.1) -> None:
        app.middlewares.append(self._note_request)
        self._runner = web.AppRunner(
            app,
            access_log=None,  # a probe is not worth a line each time
            handler_cancellation=cancel,
            shutdown_timeout=shutdown_timeout,
            keepalive_timeout=KEEP_ALIVE,
        )
        self._silent: dict[web.RequestHandler, asyncio.TimerHandle] = {}  # who has not asked yet, oldest first
        self._open = contextlib.AsyncExitStack()

    async def open(self, host: str, port: int) -> None:
        """Listen.

        Raises:
            ListenError: the address cannot be had.
        """
        await self._runner.setup()
        try:
            await self._open.enter_async_context(accepting(host, port, self._take))
        except OSError as error:
            await self.close()
            raise ListenError(f"--http {host}:{port}: cannot listen there: {error.strerror or error}") from None

    async def close(self) -> None:
        """Send everyone away. Does nothing the second time."""
        await self._open.aclose()
        for timer in self._silent.values():
            timer.cancel()
        await self._runner.cleanup()

    async def _take(self, connection: socket.socket) -> None:
        """Let a connection ask for something, if there is room for it."""
        server, loop = self._runner.server, asyncio.get_running_loop()
        assert server is not None
        if len(server.connections) >= MAX_CONNECTIONS and not self._make_room():
            connection.close()
            return
        handler = server()
        self._silent[handler] = loop.call_later(REQUEST_TIMEOUT, self._give_up, handler)
        await loop.connect_accepted_socket(lambda: handler, connection)

    def _make_room(self) -> bool:
        """Hang up on the one that has been silent for longest; return whether there was one."""
        assert self._runner.server is not None
        for handler, timer in list(self._silent.items()):
            timer.cancel()
            self._give_up(handler)
            if handler in self._runner.server.connections:
                return True
        return False

    def _give_up(self, handler: web.RequestHandler) -> None:
        del self._silent[handler]
        handler.force_close()

    @web.middleware
    async def _note_request(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Take note that a connection has asked for something."""
        timer = self._silent.pop(request.protocol, None)
        if timer is not None:
            timer.cancel()
        return await handler(request)


# --- Being watched -------------------------------------------------------------------------------


def add_routes(app: web.Application, ready: Callable[[], bool], registry: CollectorRegistry) -> None:
    """Add /healthz, /readyz and /metrics to a web application.

    Args:
        app: what serves them.
        ready: returns whether the program can do what it is for.
        registry: what /metrics tells.
    """
    tell = make_aiohttp_handler(registry)

    async def healthz(request: web.Request) -> web.Response:  # noqa: ARG001  # aiohttp's signature
        return web.Response(text="ok\n")

    async def readyz(request: web.Request) -> web.Response:  # noqa: ARG001
        return web.Response(text="ready\n") if ready() else web.Response(text="not ready\n", status=503)

    async def metrics(request: web.Request) -> web.StreamResponse:
        try:
            return await tell(request)
        except (ValueError, TypeError):  # of an Accept that is none, such as q=zz or version=x
            return await tell(request.clone(headers={}))

    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", metrics)


@contextlib.asynccontextmanager
async def serve(
    address: tuple[str, int] | None,
    ready: Callable[[], bool],
    registry: CollectorRegistry,
    add_more: Callable[[web.Application], None] = lambda _: None,
) -> AsyncIterator[None]:
    """Answer on /healthz, /readyz and /metrics until the block ends.

    Args:
        address: host and TCP port; None: nowhere.
        ready, registry: as for `add_routes`.
        add_more: adds to the web application what else is to be served.

    Raises:
        ListenError: the address cannot be had.
    """
    if address is None:
        yield
        return
    app = web.Application()
    add_routes(app, ready, registry)
    add_more(app)
    server = HttpServer(app)
    await server.open(*address)
    try:
        yield
    finally:
        await server.close()
