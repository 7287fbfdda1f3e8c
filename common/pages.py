"""What both pages are served with: the files that they share, and the rules that a browser is to keep."""

import mimetypes
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.Response]]

SHARED = Path(__file__).with_name("page")  # style.css, charts.js, measures.js; and parts of HTML files
INCLUDE = re.compile(r"^<!-- include (\w+\.html) -->\n", re.MULTILINE)  # where an HTML file has one of those parts

HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": (
        "default-src 'none'; img-src 'self' data:; connect-src 'self'; style-src 'self'; script-src 'self'; "
        "worker-src 'self'; frame-ancestors 'none'"
    ),
}


def add_files(app: web.Application, *files: Path) -> None:
    """Serve files, each under its name, and those that the pages share; an HTML file is the page, at /.

    They are read now and once: what is served cannot change, grow or lie elsewhere.
    """
    for path in (*files, *(each for each in sorted(SHARED.iterdir()) if each.suffix != ".html")):
        app.router.add_get("/" if path.suffix == ".html" else f"/{path.name}", _serve(path))


def whole(html: str) -> str:
    """Return an HTML file with the parts that both pages share in their places."""
    return INCLUDE.sub(lambda part: (SHARED / part[1]).read_text(encoding="utf-8"), html)


def _serve(path: Path) -> Handler:
    text = path.read_text(encoding="utf-8")
    body = whole(text) if path.suffix == ".html" else text
    content_type, _ = mimetypes.guess_type(path.name)

    async def serve(_: web.Request) -> web.Response:
        return web.Response(text=body, content_type=content_type, charset="utf-8", headers=HEADERS)

    return serve
