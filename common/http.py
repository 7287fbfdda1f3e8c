"""Watching a program over HTTP: whether it lives, whether it is of use, and how it is doing.

/healthz   200 as long as the event loop turns
/readyz    200 while the program can do what it is for, 503 before and after
/metrics   counts and figures, as Prometheus reads them
"""

import contextlib
from collections.abc import AsyncIterator, Callable

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.aiohttp import make_aiohttp_handler


class ListenError(Exception):
    """An option names an address that cannot be listened at."""


def add_routes(app: web.Application, ready: Callable[[], bool], registry: CollectorRegistry) -> None:
    """Add /healthz, /readyz and /metrics to a web application.

    Args:
        app: what serves them.
        ready: returns whether the program can do what it is for.
        registry: what /metrics tells.
    """

    async def healthz(request: web.Request) -> web.Response:  # noqa: ARG001  # aiohttp's signature
        return web.Response(text="ok\n")

    async def readyz(request: web.Request) -> web.Response:  # noqa: ARG001
        return web.Response(text="ready\n") if ready() else web.Response(text="not ready\n", status=503)

    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", make_aiohttp_handler(registry))


@contextlib.asynccontextmanager
async def serve(
    address: tuple[str, int] | None, ready: Callable[[], bool], registry: CollectorRegistry
) -> AsyncIterator[None]:
    """Answer on /healthz, /readyz and /metrics until the block ends.

    Args:
        address: host and TCP port; None: nowhere.
        ready, registry: as for `add_routes`.

    Raises:
        ListenError: the address cannot be had.
    """
    if address is None:
        yield
        return
    host, port = address
    app = web.Application()
    add_routes(app, ready, registry)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)  # a probe is not worth a line each time
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise ListenError(f"--http {host}:{port}: cannot listen there: {error.strerror or error}") from None
        yield
    finally:
        await runner.cleanup()
