"""The page: served to any number of viewers over one port, and what a browser makes of it."""

import asyncio
import base64
import contextlib
import csv
import json
import math
import re
import signal
import socket
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import cv2
import numpy as np
import numpy.typing as npt
import pytest
from aiohttp import web
from selenium.webdriver import Chrome

from ball_track import Point
from common.http import ListenError
from common.pages import whole
from support.marks import film_of, find_cross, find_white
from support.programs import PATIENCE, run
from support.screen import wait_until
from tools.browser import run_browser
from tools.procfs import free_port
from views import page as page_module
from views.page import HISTORY, PAGE, Page
from views.sightings import Figures

JPEG_SIZE = 60_000  # bytes; about what a busy picture takes


def add_nothing(app: web.Application) -> None:
    """Serve the page alone."""


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    """Return a page that is being served."""
    page = Page(add_nothing)
    await page.open("127.0.0.1", free_port())
    yield page
    await page.close()


@pytest.fixture
async def http(page: Page) -> AsyncIterator[aiohttp.ClientSession]:
    """Return a client for the page."""
    timeout = aiohttp.ClientTimeout(total=PATIENCE)
    async with aiohttp.ClientSession(page.url, timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as session:
        yield session


def jpeg(number: int) -> bytes:
    """Return what stands for picture `number`."""
    return number.to_bytes(4) * (JPEG_SIZE // 4)


async def read_picture(answer: aiohttp.ClientResponse) -> int:
    """Return the number of the next picture of a stream, checked to be whole."""
    headers = (await answer.content.readuntil(b"\r\n\r\n")).decode()
    assert "Content-Type: image/jpeg" in headers
    match = re.search(r"Content-Length: (\d+)", headers)
    assert match is not None
    body = await answer.content.readexactly(int(match[1]))
    number = int.from_bytes(body[:4])
    assert body == jpeg(number)
    assert await answer.content.readuntil(b"--picture\r\n") == b"\r\n--picture\r\n"
    return number


async def until(condition, what: str) -> None:
    """Wait until a condition holds that nothing tells of."""
    try:
        async with asyncio.timeout(PATIENCE):
            while not condition():  # noqa: ASYNC110  # what is waited for tells nobody
                await asyncio.sleep(0.01)
    except TimeoutError:
        pytest.fail(f"never: {what}")


async def test_page_asks_for_nothing_from_elsewhere(http: aiohttp.ClientSession) -> None:
    """It works where there is no other network: no address but its own, and a policy that forbids any other."""
    async with http.get("/") as answer:
        assert answer.status == 200
        assert answer.content_type == "text/html"
        text = await answer.text()
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert text == whole(PAGE.read_text(encoding="utf-8"))
    assert "<!-- include" not in text
    assert 'rel="icon"' in text
    addresses = set(re.findall(r"(?:https?:)?//[a-z0-9][^\s'\"]*", text)) - {"http://www.w3.org/2000/svg"}
    assert not addresses


async def test_open_on_a_port_in_use_raises(page: Page) -> None:
    """A second page cannot have the port of the first."""
    with pytest.raises(ListenError, match="in use"):
        await Page(add_nothing).open("127.0.0.1", int(page.url.rsplit(":", 1)[1].strip("/")))


async def test_ten_viewers_of_which_one_never_reads(page: Page, http: aiohttp.ClientSession) -> None:
    """Nine get the newest picture whatever the tenth does; that one costs little, and is current when it reads."""
    async with contextlib.AsyncExitStack() as stack:
        viewers = [await stack.enter_async_context(http.get("/picture")) for _ in range(9)]
        for viewer in viewers:
            assert await viewer.content.readuntil(b"\r\n") == b"--picture\r\n"
        reader, writer = await asyncio.open_connection(
            *page.url.removeprefix("http://").strip("/").split(":"), limit=4 * JPEG_SIZE
        )
        stack.callback(writer.close)
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # asyncio's stubs split read from write
        writer.write(b"GET /picture HTTP/1.1\r\nHost: test\r\n\r\n")
        await until(lambda: page.watchers == 10, "ten viewers")

        last = 300
        for number in range(1, last + 1):
            page.show(jpeg(number))
            for viewer in viewers:
                assert await asyncio.wait_for(read_picture(viewer), PATIENCE) == number

        writer.transport.resume_reading()  # type: ignore[attr-defined]
        await reader.readuntil(b"--picture\r\n")
        numbers = []
        while last not in numbers:
            page.show(jpeg(last))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.2):
                    head = await reader.readuntil(b"\r\n\r\n")
                    body = await reader.readexactly(int(re.findall(rb"Content-Length: (\d+)", head)[0]))
                    numbers.append(int.from_bytes(body[:4]))
                    await reader.readuntil(b"--picture\r\n")
        backlog = [number for number in numbers if number < last]
        assert len(backlog) * JPEG_SIZE < 8e6, "no more than the kernel's own buffers hold"
        assert len(backlog) < last / 2


async def test_a_viewer_that_reads_nothing_is_cut_off(
    page: Page, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a while, no picture is made for it any more; the others do not notice."""
    monkeypatch.setattr(page_module, "STALL_TIMEOUT", 0.3)
    with socket.create_connection(("127.0.0.1", int(page.url.rsplit(":", 1)[1].strip("/")))) as stalled:
        stalled.sendall(b"GET /picture HTTP/1.1\r\nHost: test\r\n\r\n")
        async with http.get("/picture") as viewer:
            await viewer.content.readuntil(b"\r\n")
            await until(lambda: page.watchers == 2, "two viewers")
            number = 0
            async with asyncio.timeout(PATIENCE):
                while page.watchers == 2:
                    number += 1
                    page.show(jpeg(number))
                    assert await read_picture(viewer) == number
            assert page.watchers == 1


async def test_a_viewer_that_leaves_is_no_watcher(page: Page, http: aiohttp.ClientSession) -> None:
    """Nobody makes pictures for nobody: a browser that is closed counts no longer, even when no picture comes."""
    async with http.get("/picture"):
        await until(lambda: page.watchers == 1, "a viewer")
    await until(lambda: page.watchers == 0, "its end")


async def read_event(answer: aiohttp.ClientResponse) -> dict[str, Any]:
    """Return the next event of /figures."""
    line = (await answer.content.readuntil(b"\n\n")).decode()
    assert line.startswith("data: ")
    event: dict[str, Any] = json.loads(line[6:])
    return event


async def test_figures_come_with_the_samples_since_the_last_event(page: Page, http: aiohttp.ClientSession) -> None:
    """Each sample comes once, in order; who joins later gets those of the last 30 s."""
    page.sample(0.5, 10.0)
    page.tell(
        Figures(Point(1.5, 2.5), 0.25, 8.0, 30.0, 7, 0, newest=Point(1.5, 2.5), truth=Point(1, 2), missed=1, skipped=2)
    )
    async with http.get("/figures") as early, http.get("/figures") as late:
        assert early.content_type == "text/event-stream"
        event = await read_event(early)
        assert event["figures"] == {
            "x": 1.5, "y": 2.5, "error_px": 0.25, "latency_ms": 8.0, "fps": 30.0, "scored": 7, "lost": 0,
            "missed": 1, "skipped": 2,
        }  # fmt: skip
        assert [sample[1:] for sample in event["samples"]] == [[0.5, 10.0]]
        assert 0 <= event["now"] - event["samples"][0][0] < HISTORY
        assert 0 <= event["age"] < HISTORY
        page.sample(None, 11.0)
        page.sample(0.75, 12.0)
        assert [sample[1:] for sample in (await read_event(early))["samples"]] == [[None, 11.0], [0.75, 12.0]]
        seen: list[list[float | None]] = []
        while len(seen) < 3:
            seen += [sample[1:] for sample in (await read_event(late))["samples"]]
        assert seen == [[0.5, 10.0], [None, 11.0], [0.75, 12.0]]


async def test_run_comes_as_csv_whenever_it_is_asked_for(page: Page, http: aiohttp.ClientSession) -> None:
    """Every sample since the client began is there, to the last digit; what is not known is empty."""
    began = asyncio.get_running_loop().time()
    for k in range(2500):
        page.sample(None if k % 5 == 0 else k / 7, k / 3)
    async with http.get("/run.csv") as answer:
        assert answer.content_type == "text/csv"
        rows = list(csv.reader((await answer.text()).splitlines()))
    assert rows[0] == ["seconds", "error_px", "latency_ms"]
    assert [row[1:] for row in rows[1:]] == [["" if k % 5 == 0 else str(k / 7), str(k / 3)] for k in range(2500)]
    passed = asyncio.get_running_loop().time() - began
    assert all(0 <= float(row[0]) < passed + PATIENCE for row in rows[1:])


async def test_run_is_kept_within_bounds(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    """After days it is the newest part that is kept."""
    monkeypatch.setattr("views.page.MAX_RUN", 100)
    for k in range(1000):
        page.sample(0.0, float(k))
        assert len(page._run) <= 300
    assert page._run[-1] == 999
    assert len(page._run) > 3 * 80


async def test_figures_say_what_is_not_known(page: Page, http: aiohttp.ClientSession) -> None:
    """Before the first frame there is an event all the same, of nulls, so that the page is seen to be alive."""
    async with http.get("/figures") as answer:
        event = await read_event(answer)
    assert set(event["figures"].values()) == {None}
    assert event["age"] is event["watched"] is None
    assert event["samples"] == []


async def test_figures_come_with_what_is_read_in_pictures(page: Page, http: aiohttp.ClientSession) -> None:
    """Who watches a camera sees on its page how many pictures it could read, as of now."""
    page.watched = counts = {"pictures": 8, "unread": 1}
    async with http.get("/figures") as answer:
        assert (await read_event(answer))["watched"] == counts
        counts["pictures"] = 9
        page.sample(None, 1.0)
        while (await read_event(answer))["watched"]["pictures"] != 9:
            page.sample(None, 1.0)


async def test_figures_say_whether_their_viewer_has_pictures(page: Page, http: aiohttp.ClientSession) -> None:
    """A browser cannot tell that a stream of pictures is over; each page is told of its own, and of no other."""
    async with http.get("/figures?me") as mine, http.get("/figures?you") as yours:
        async with http.get("/picture?me&1"):
            await until(lambda: page.watchers == 1, "a viewer")
            page.sample(None, 1.0)
            while not (await read_event(mine))["watching"]:
                page.sample(None, 1.0)
            assert not (await read_event(yours))["watching"]
        await until(lambda: page.watchers == 0, "no viewer")
        page.sample(None, 1.0)
        while (await read_event(mine))["watching"]:
            page.sample(None, 1.0)


async def test_figures_say_how_it_ended(page: Page, http: aiohttp.ClientSession) -> None:
    """The last event is a goodbye."""
    async with http.get("/figures") as answer:
        assert "figures" in await read_event(answer)
        page.farewell = "the server has ended"
        await page.close()
        assert await read_event(answer) == {"ended": "the server has ended"}


async def test_close_sends_everyone_away() -> None:
    """The end of the client is the end of every stream, at once, be it read or not."""
    page = Page(add_nothing)
    await page.open("127.0.0.1", free_port())
    async with (
        aiohttp.ClientSession(page.url) as http,
        http.get("/picture") as pictures,
        http.get("/figures") as figures,
    ):
        await until(lambda: page.watchers == 1, "a viewer")
        async with asyncio.timeout(PATIENCE):
            await page.close()
            await page.close()
            await pictures.content.read()
            await figures.content.read()
    assert page.watchers == 0


# --- As a program ---------------------------------------------------------------------------------


def test_client_without_the_port_says_so() -> None:
    """The page's port in use: one line that names the option, and exit status 1."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with run("client.py", "--view", "web", "--http", address) as client:
            assert client.wait() == 1
            assert f"--http {address}: cannot listen there" in client.output
            assert "Traceback" not in client.output


# --- In a browser ---------------------------------------------------------------------------------


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Chrome]:
    """Return a browser."""
    with run_browser(tmp_path) as browser:
        yield browser


GRAB = """
    const picture = document.getElementById("picture"), canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [picture.naturalWidth, picture.naturalHeight];
    canvas.getContext("2d").drawImage(picture, 0, 0);
    return canvas.toDataURL("image/png");
"""
COUNT_COLORED = """
    const canvas = document.getElementById(arguments[0]), pen = canvas.getContext("2d");
    const data = pen.getImageData(0, 0, canvas.width, canvas.height).data;
    let columns = new Set();
    for (let i = 0; i < data.length; i += 4) {
        const [low, high] = [Math.min(data[i], data[i+1], data[i+2]), Math.max(data[i], data[i+1], data[i+2])];
        if (data[i + 3] > 128 && high - low > 60) columns.add((i / 4) % canvas.width);
    }
    return columns.size;
"""


def console(browser: Chrome) -> list[Any]:
    """Return what the page has written to the console."""
    lines: list[Any] = browser.get_log("browser")  # type: ignore[no-untyped-call]  # selenium's own gap
    return [line for line in lines if "getImageData" not in line["message"]]  # that was COUNT_COLORED, above


def grab(browser: Chrome) -> npt.NDArray[np.uint8]:
    """Return what the page's picture shows, (H, W, 3) uint8 BGR."""
    data = base64.b64decode(browser.execute_script(GRAB).partition(",")[2])
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return picture.astype(np.uint8, copy=False)


@pytest.mark.browser
def test_browser_shows_picture_figures_and_charts(browser: Chrome) -> None:
    """A person sees the ball move under its cross, figures count, two charts grow, and the console stays empty."""
    signaling, port = free_port(), free_port()
    with (
        run("server.py", "--signaling-port", signaling),
        run("client.py", "--signaling-port", signaling, "--view", "web", "--http", f"127.0.0.1:{port}") as client,
    ):
        client.wait_for("^page: ")
        browser.get(f"http://127.0.0.1:{port}/")

        def figure(name: str) -> str:
            return browser.find_element("id", name).text

        wait_until(lambda: figure("scored") not in {"–", "0"}, lambda: client.output)
        wait_until(lambda: browser.execute_script("return picture.naturalWidth") == 640, "the picture")
        assert figure("status") == "live"

        places: set[Point] = set()
        while len(places) < 3:
            picture = film_of(grab(browser))
            ball, cross = find_white(picture), find_cross(picture)
            if ball is not None and cross is not None:
                assert math.dist(ball, cross) < 4, "it moves 8 px a frame"
                places.add(ball)

        before = int(figure("scored"))
        wait_until(lambda: int(figure("scored")) > before, "a later count")
        assert float(figure("error_px")) < 5
        assert float(figure("latency_ms")) > 0
        assert browser.execute_script(COUNT_COLORED, "spread-chart") > 3
        assert (figure("missed"), figure("lost")) == ("0", "0")
        for chart in ("error-chart", "latency-chart"):
            columns = browser.execute_script(COUNT_COLORED, chart)
            wait_until(lambda: browser.execute_script(COUNT_COLORED, chart) > columns + 2, f"a growing {chart}")  # noqa: B023  # called at once

        browser.find_element("id", "pause").click()
        still, count = browser.execute_script(GRAB), figure("scored")
        time.sleep(0.5)  # for what must not happen
        assert browser.execute_script(GRAB) == still
        assert figure("scored") == count
        browser.find_element("id", "pause").click()
        wait_until(lambda: browser.execute_script(GRAB) not in {"data:,", still}, "the picture again")

        assert not console(browser)
        assert client.end() == 0
        wait_until(lambda: figure("status") == "the client has ended", "that the client has left")


@pytest.mark.slow
def test_browser_tells_what_is_old_and_shows_what_is_new_again(browser: Chrome) -> None:
    """A client that stands still, comes back as another process, or whose server says goodbye: the page says so."""
    signaling, port = free_port(), free_port()
    page = ("--signaling-port", signaling, "--view", "web", "--http", f"127.0.0.1:{port}")

    def status() -> str:
        return browser.find_element("id", "status").text

    def dimmed() -> bool:
        return bool(browser.execute_script("return document.querySelector('main').matches('.old')"))

    def wait_until_it_moves() -> None:
        wait_until(lambda: status() == "live" and not dimmed(), status)
        seen = browser.execute_script(GRAB)
        wait_until(lambda: browser.execute_script(GRAB) not in {"data:,", seen}, "another picture")

    with run("server.py", "--signaling-port", signaling) as serving:
        with run("client.py", *page) as client:
            client.wait_for("^page: ")
            browser.get(f"http://127.0.0.1:{port}/")
            wait_until_it_moves()
            client.process.send_signal(signal.SIGSTOP)
            wait_until(lambda: "does not answer" in status() and dimmed(), status)
            client.process.send_signal(signal.SIGCONT)
            wait_until_it_moves()
            client.process.kill()
            wait_until(lambda: "no connection" in status() and dimmed(), status)
        with run("client.py", *page) as client:
            client.wait_for("^page: ")
            wait_until_it_moves()
            assert serving.end() == 0
            wait_until(lambda: status() == "the server has ended" and dimmed(), status)
            assert client.wait() == 0


DRAW_OUTLIERS = """
    const done = arguments[0];
    import("./measures.js").then(({drawCharts}) => {
        const samples = [];
        for (let k = 0; k < 600; k++) samples.push([1000 + k / 30, k === 300 ? 5 : .01, k > 596 ? 400 : 4 + k % 3]);
        drawCharts(samples, 1020);
        const told = ["error", "latency", "spread"].map(name => {
            const canvas = document.getElementById(name + "-chart");
            const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height * .09).data;
            let marked = 0;
            for (let i = 0; i < data.length; i += 4) marked += data[i] - data[i + 2] > 60 && data[i] - data[i + 1] > 60;
            return [document.getElementById(name + "-text").textContent, marked > 0];
        });
        drawCharts(samples.map(([s]) => [s, .01, 4]), 1030);
        done([told, document.getElementById("error-text").textContent]);
    });
"""


@pytest.mark.browser
def test_browser_marks_what_a_chart_clips(browser: Chrome) -> None:
    """An outlier flattens no chart, and is marked at its upper edge and told; where there is none, nothing is."""
    port = free_port()
    with run("client.py", "--view", "web", "--http", f"127.0.0.1:{port}") as client:
        client.wait_for("^page: ")
        browser.get(f"http://127.0.0.1:{port}/")
        told, without = browser.execute_async_script(DRAW_OUTLIERS)
        for (text, marked), words in zip(told, ["▲ 1 above", "▲ 3 above", "▲ 3 of them"], strict=True):
            assert words in text
            assert marked
        assert "▲" not in without
        assert not console(browser)


SHOW_WATCHED = """
    const done = arguments[0], say = () => document.getElementById("watched").innerText.split(/\\s+/).join(" ");
    import("./measures.js").then(({showWatched}) => {
        showWatched([{client: 1, pictures: 8, torn: 0}, {client: 3, pictures: 50, torn: 2}]);
        const told = say();
        showWatched([]);
        done([told, document.getElementById("watched").hidden]);
    });
"""


@pytest.mark.browser
def test_browser_tells_what_is_read_in_pictures(browser: Chrome) -> None:
    """A column for each client that looks at pictures of the film; nothing where there is none."""
    port = free_port()
    with run("client.py", "--view", "web", "--http", f"127.0.0.1:{port}") as client:
        client.wait_for("^page: ")
        browser.get(f"http://127.0.0.1:{port}/")
        told, hidden = browser.execute_async_script(SHOW_WATCHED)
        assert told.endswith("client 1 3 pictures 8 50 torn 0 2")
        assert hidden
        assert not console(browser)


@pytest.mark.browser
def test_browser_fits_a_telephone_and_follows_light_and_dark(browser: Chrome) -> None:
    """No sideways scrolling on a narrow screen; text stands out from its ground by 4.5 to 1 in both schemes."""
    port = free_port()
    with run("client.py", "--view", "web", "--http", f"127.0.0.1:{port}") as client:
        client.wait_for("^page: ")
        browser.get(f"http://127.0.0.1:{port}/")
        metrics = {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 360
        grounds = set()
        for scheme in ("light", "dark"):
            feature = {"name": "prefers-color-scheme", "value": scheme}
            browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
            style = "return getComputedStyle(document.querySelector(arguments[0]))[arguments[1]]"
            ground = luminance(browser.execute_script(style, "dl div", "backgroundColor"))
            grounds.add(ground > 0.5)
            for text in ("dt", "dd", "section p"):
                ink = luminance(browser.execute_script(style, text, "color"))
                assert (max(ink, ground) + 0.05) / (min(ink, ground) + 0.05) >= 4.5, (scheme, text)
        assert grounds == {True, False}
        assert not console(browser)


def luminance(color: str) -> float:
    """Return the relative luminance of a CSS colour rgb(R, G, B). Source: WCAG 2.2."""
    parts = [int(part) / 255 for part in re.findall(r"\d+", color)[:3]]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
