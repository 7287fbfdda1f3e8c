"""The page: the picture, the figures and their charts, in any browser, over one TCP port.

    /           page.html, with page.js and what both pages share; it asks for nothing but the two below
    /picture    multipart/x-mixed-replace: JPEGs, each in the place of the last (motion JPEG)
    /figures    text/event-stream: what is known of the newest frame and how old it is, the samples since the last
                event, and whether the same viewer (the first word of the query) has a stream of pictures; or how it
                has ended
    /run.csv    every sample of the run so far

Each viewer has a coroutine of its own, which takes the newest picture when the last one is on its way. What a
viewer does not read costs one picture of memory and a small socket buffer; one that reads nothing for
STALL_TIMEOUT is cut off. There is nothing to be changed here, and nothing private to be seen.
"""

import asyncio
import json
import math
import socket
from array import array
from collections import Counter, deque
from collections.abc import Callable, Mapping
from pathlib import Path

from aiohttp import web

from common.http import HttpServer
from common.pages import HEADERS, add_files
from views.sightings import Figures

PAGE, SCRIPT = (Path(__file__).with_name(name) for name in ("page.html", "page.js"))
MAX_RUN = 500_000  # samples that are kept for the CSV: 12 MB, four and a half hours at 30 frames a second
CSV_COLUMNS = "seconds", "error_px", "latency_ms"
CSV_ROWS = 1000  # that are sent at a time
HISTORY = 30.0  # s that the charts go back
MAX_SAMPLES = 8192  # of the charts: 30 s at 240 frames a second
EVENT_INTERVAL = 0.1  # s between two events of figures
KEEP_ALIVE = 1.0  # s after which something is sent, even if there is nothing new
STALL_TIMEOUT = 10.0  # s that a viewer may read nothing
SEND_BUFFER = 65536  # bytes in the kernel for one viewer: about two pictures, so that even a slow one is current
BOUNDARY = "picture"


class Page:
    """Serves the page. Call `tell` with figures, `show` with pictures and `sample` with what the charts draw.

    Args:
        add_routes: adds to the web application what else is to be served.
    """

    def __init__(self, add_routes: Callable[[web.Application], None]) -> None:
        self.watchers = 0  # connections that want pictures
        self.farewell = "the client has ended"  # what the viewers are told at the end
        self.url = ""
        self.watched: Mapping[str, int] | None = None  # what the client reads in pictures, where it looks at such
        self._loop = asyncio.get_running_loop()
        self._figures = Figures()
        self._told: float | None = None  # s of the loop's clock, when they came
        self._watching: Counter[str] = Counter()  # streams of pictures, by viewer
        self._jpeg = b""  # the newest picture
        self._news = asyncio.Event()  # set when there is a newer one
        self._samples: deque[tuple[float, float | None, float]] = deque(maxlen=MAX_SAMPLES)
        self._count = 0  # samples, ever
        self._run = array("d")  # of each one of the run: s of the loop's clock, error in px or nan, latency in ms
        self._began = self._loop.time()
        self._closing = False
        app = web.Application()
        add_files(app, PAGE, SCRIPT)
        app.router.add_get("/picture", self._pictures)
        app.router.add_get("/figures", self._events)
        app.router.add_get("/run.csv", self._send_run)
        add_routes(app)
        self._server = HttpServer(app, cancel=True, shutdown_timeout=0.5)

    async def open(self, host: str, port: int) -> None:
        """Listen.

        Raises:
            ListenError: the address cannot be had.
        """
        await self._server.open(host, port)
        self.url = f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"

    async def close(self) -> None:
        """Send everyone away. Does nothing the second time."""
        self._closing = True
        self.show(b"")
        await self._server.close()

    def show(self, jpeg: bytes) -> None:
        """Hand a picture to everyone who is ready for one."""
        self._jpeg = jpeg
        self._news.set()
        self._news = asyncio.Event()

    def tell(self, figures: Figures) -> None:
        """Take what is known of the newest frame."""
        self._figures, self._told = figures, self._loop.time()

    def sample(self, error_px: float | None, latency_ms: float) -> None:
        """Add a point to the charts, at the present time."""
        now = self._loop.time()
        self._samples.append((now, error_px, latency_ms))
        self._count += 1
        if len(self._run) >= MAX_RUN * len(CSV_COLUMNS):
            del self._run[: MAX_RUN // 10 * len(CSV_COLUMNS)]
        self._run.extend((now - self._began, math.nan if error_px is None else error_px, latency_ms))

    # --- What is served --------------------------------------------------------------------------

    async def _pictures(self, request: web.Request) -> web.StreamResponse:
        viewer = await Viewer.welcome(request, f"multipart/x-mixed-replace; boundary={BOUNDARY}")
        await viewer.send(f"--{BOUNDARY}\r\n".encode())
        name = viewer_name(request)
        self.watchers += 1
        self._watching[name] += 1
        try:
            while not self._closing and viewer.there:
                await self._news.wait()
                if viewer.ready():
                    jpeg = self._jpeg
                    head = f"Content-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                    # the boundary ends the part: a browser shows it when it has seen that
                    await viewer.send(head.encode() + jpeg + f"\r\n--{BOUNDARY}\r\n".encode())
        finally:
            self.watchers -= 1
            self._watching -= Counter([name])  # which drops what has come to 0
        return viewer.response

    async def _events(self, request: web.Request) -> web.StreamResponse:
        viewer = await Viewer.welcome(request, "text/event-stream")
        name = viewer_name(request)
        told, last = self._count - len(self._samples), -math.inf
        while not self._closing and viewer.there:
            now = self._loop.time()
            if (self._count > told or now - last > KEEP_ALIVE) and viewer.ready():
                event = self._event(told, now, watching=name in self._watching)
                told, last = self._count, now
                await viewer.send(f"data: {event}\n\n".encode())
            await asyncio.sleep(EVENT_INTERVAL)
        if viewer.there:
            await viewer.send(f"data: {json.dumps({'ended': self.farewell})}\n\n".encode())
        return viewer.response

    async def _send_run(self, request: web.Request) -> web.StreamResponse:
        viewer = await Viewer.welcome(request, "text/csv")
        await viewer.send((",".join(CSV_COLUMNS) + "\n").encode())
        run, width = self._run[:], len(CSV_COLUMNS)
        for first in range(0, len(run), width * CSV_ROWS):
            if not viewer.there:
                break
            part = run[first : first + width * CSV_ROWS]
            rows = zip(part[::width], part[1::width], part[2::width], strict=True)
            lines = (f"{s:.4f},{'' if math.isnan(error) else error},{latency}\n" for s, error, latency in rows)
            await viewer.send("".join(lines).encode())
        return viewer.response

    def _event(self, told: int, now: float, watching: bool) -> str:
        """Return, as JSON, what is known at time `now`, and the samples behind the first `told` ones."""
        new = min(self._count - told, len(self._samples))
        samples = [self._samples[index] for index in range(-new, 0)]
        figures = self._figures._asdict()
        x, y = figures.pop("newest") or (None, None)
        for drawn in ("found", "predicted", "truth"):  # in the picture
            del figures[drawn]
        return json.dumps(
            {
                "now": now,
                "age": None if self._told is None else now - self._told,
                "watching": watching,
                "watched": self.watched,
                "figures": {"x": x, "y": y, **figures},
                "samples": [sample for sample in samples if sample[0] > now - HISTORY],
            }
        )


def viewer_name(request: web.Request) -> str:
    """Return what a viewer calls itself: the first word of the query."""
    return request.query_string.partition("&")[0]


class Viewer:
    """One connection that is sent something for as long as it lasts."""

    def __init__(self, request: web.Request, response: web.StreamResponse) -> None:
        self.response = response
        self._request = request
        self._loop = asyncio.get_running_loop()
        self._fluent = self._loop.time()  # when it had last read everything

    @classmethod
    async def welcome(cls, request: web.Request, content_type: str) -> "Viewer":
        """Begin to answer a request."""
        assert request.transport is not None
        request.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        response = web.StreamResponse(headers={**HEADERS, "Content-Type": content_type})
        await response.prepare(request)
        return cls(request, response)

    @property
    def there(self) -> bool:
        """Return whether the connection lasts."""
        return self._request.transport is not None and not self._request.transport.is_closing()

    def ready(self) -> bool:
        """Return whether it has taken what it was sent last; cut it off if it has not for too long."""
        transport = self._request.transport
        if transport is None:
            return False
        now = self._loop.time()
        if transport.get_write_buffer_size() == 0:
            self._fluent = now
            return True
        if now - self._fluent > STALL_TIMEOUT:
            transport.abort()
        return False

    async def send(self, data: bytes) -> None:
        """Send, and wait if it does not read; cut it off if that takes too long."""
        try:
            async with asyncio.timeout(STALL_TIMEOUT):
                await self.response.write(data)
        except TimeoutError:
            if self._request.transport is not None:
                self._request.transport.abort()
        except ConnectionError:  # it left
            pass
