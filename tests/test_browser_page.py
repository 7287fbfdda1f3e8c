"""The page that is a client, in browsers that nobody sees: what a person gets who opens the server's address."""

import asyncio
import contextlib
import csv
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiortc import RTCPeerConnection, RTCSessionDescription
from selenium.webdriver import Chrome

from common.pages import add_files
from server import BROWSER
from support.programs import PATIENCE, Program, read_summary, run
from tools.browser import run_browser
from tools.lab import SERVER_ADDRESS, Lab
from tools.procfs import free_port

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@contextlib.contextmanager
def serve(
    folder: Path, port: int | None = None, signaling_port: int | None = None, options: tuple[object, ...] = ()
) -> Iterator[tuple[Program, str]]:
    """Run a server for the length of a block; give it and its page's address."""
    port = port or free_port()
    where = (
        "--signaling-port",
        signaling_port or free_port(),
        "--http",
        f"127.0.0.1:{port}",
        "--summary",
        folder / "s.json",
    )
    with run("server.py", *where, "--print", "every", *options) as serving:
        serving.wait_for("filming")
        yield serving, f"http://127.0.0.1:{port}/"


def status(browser: Chrome) -> str:
    """Return what the page says of how things are."""
    text: str = browser.execute_script("return document.getElementById('status').textContent")
    return text


def complaints(browser: Chrome) -> list[Any]:
    """Return what the browser complained of, such as a broken script or a refused resource."""
    log: list[Any] = browser.get_log("browser")  # type: ignore[no-untyped-call]
    return [entry for entry in log if entry["level"] == "SEVERE"]


def wait_until(browser: Chrome, script: str) -> Any:
    """Wait until a script returns something true in the page, and return it."""
    deadline = time.monotonic() + PATIENCE
    while not (got := browser.execute_script(f"return {script}")):
        assert time.monotonic() < deadline, (script, status(browser), complaints(browser))
        time.sleep(0.05)  # nothing tells of it
    return got


@pytest.mark.parametrize("frames", ["track", "canvas"])
@pytest.mark.parametrize("codec", ["vp8", "h264"])
def test_page_finds_the_ball_in_the_very_frame(tmp_path: Path, codec: str, frames: str):
    """From the decoder and from a canvas, in both codecs, the ball is where the page says, and no neighbour's place."""
    with run_browser(tmp_path) as browser:
        with serve(tmp_path) as (serving, url):
            browser.get(f"{url}?codec={codec}&frames={frames}")
            serving.wait_for("^client 1 ", 150)
            assert browser.execute_script("return client.way") == frames
            parts = wait_until(browser, "client.parts")
            assert sum(parts.values()) == pytest.approx(2 * parts["total"])  # the parts add up to the whole
            browser.get("about:blank")
            serving.wait_for("^browser 1 from .*: bye")
            assert serving.end() == 0
        assert complaints(browser) == []
    summary = read_summary(tmp_path / "s.json")
    (client,) = summary["clients"]
    assert (client["kind"], client["codec"], client["transport"]) == ("browser", codec, "media")
    assert re.fullmatch(rf"the page in Chrome \d+, codec={codec} buffer=0 frames={frames}", client["about"])
    assert client["frames"]["unmatched"] == 0
    assert client["error_px"]["p50"] < 0.03  # 0.002 on a quiet machine: a busy one gets a narrower film
    assert client["error_px"]["p99"] < 0.5  # a neighbour's would be 8 off


@pytest.mark.parametrize("frames", ["track", "canvas"])
def test_page_finds_the_ball_beside_the_number(tmp_path: Path, frames: str):
    """With the frame's number in the picture the ball is found as without, and no neighbour's place is reported."""
    with run_browser(tmp_path) as browser:
        with serve(tmp_path, options=("--code",)) as (serving, url):
            browser.get(f"{url}?frames={frames}")
            serving.wait_for("^client 1 ", 150)
            browser.get("about:blank")
            serving.wait_for("^browser 1 from .*: bye")
            assert serving.end() == 0
        assert complaints(browser) == []
    summary = read_summary(tmp_path / "s.json")
    assert summary["frames"]["unmatched"] == 0
    assert summary["error_px"]["p50"] < 0.03
    assert summary["error_px"]["p99"] < 0.5


CROSS = """(() => {
    const {x, y, scored} = client.figures, canvas = document.getElementById("cross");
    if (!scored || !canvas.width) return null;
    const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    const scale = canvas.width / document.getElementById("video").videoWidth, far = [];
    for (let i = 0; i < data.length; i += 4) {
        if (data[i] < 200 || data[i + 1] > 100 || data[i + 3] < 200) continue;
        const column = i / 4 % canvas.width, row = Math.floor(i / 4 / canvas.width);
        far.push(Math.hypot((column + .5) / scale - .5 - x, (row + .5) / scale - .5 - y));
    }
    return far.length ? [Math.min(...far), Math.max(...far)] : null;
})()"""


@pytest.mark.parametrize("radius", [8, 60])
def test_page_leaves_the_ball_free_in_its_cross(tmp_path: Path, radius: int):
    """The arms of the cross begin outside the ball, be it small or large, and not far from it."""
    with run_browser(tmp_path) as browser, serve(tmp_path, options=("--radius", radius)) as (serving, url):
        browser.get(url)
        nearest, farthest = wait_until(browser, CROSS)
        assert radius < nearest < radius + 5
        assert radius + 10 < farthest < radius + 18
        assert complaints(browser) == []
        assert serving.end() == 0


def test_each_page_has_its_own_account(tmp_path: Path):
    """One of two pages is killed, one is closed: each has its own ledger and end, and so has a client.py."""
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    port = free_port()
    with serve(tmp_path, signaling_port=port) as (serving, url):
        with run_browser(tmp_path / "first") as first, run("client.py", "--signaling-port", port) as client:
            with run_browser(tmp_path / "second") as second:
                first.get(url)
                second.get(url)
                for number in (1, 2, 3):
                    serving.wait_for(f"^client {number} ", 20)
                os.kill(second.service.process.pid, signal.SIGKILL)
                for pid in children_of(second):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                serving.wait_for("^browser . from .*: vanished")
            first.get("about:blank")
            serving.wait_for("^browser . from .*: bye")
            assert client.end() == 0
        assert serving.end() == 0
    summary = read_summary(tmp_path / "s.json")
    assert sorted((each["kind"], each["end"]) for each in summary["clients"]) == [
        ("browser", "bye"), ("browser", "vanished"), ("client", "bye"),
    ]  # fmt: skip
    assert all(each["frames"]["scored"] > 10 for each in summary["clients"])


def children_of(browser: Chrome) -> list[int]:
    """Return the ids of all processes of a browser, found by its folder."""
    folder = browser.capabilities["chrome"]["userDataDir"].encode()
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if folder in path.read_bytes():
                found.append(int(path.parent.name))
    return found


def test_page_comes_back_with_its_server(tmp_path: Path):
    """A server that is killed is said to be gone; the page plays on by itself as soon as there is one again."""
    port = free_port()
    with run_browser(tmp_path) as browser:
        with serve(tmp_path, port) as (serving, url):
            browser.get(url)
            serving.wait_for("^client 1 ", 20)
            serving.process.kill()
            wait_until(browser, "document.getElementById('status').textContent.startsWith('the server is gone')")
        with serve(tmp_path, port) as (serving, _):
            serving.wait_for(r"^client \d+ ", 20)
            wait_until(browser, "document.getElementById('status').textContent === 'live'")


def test_page_fits_a_phone_and_asks_for_nothing_from_elsewhere(tmp_path: Path):
    """It is as wide as the screen, in light and dark, and every address that it asks is the server's own."""
    with run_browser(tmp_path) as browser, serve(tmp_path) as (serving, url):
        size = {"width": 380, "height": 800, "deviceScaleFactor": 1, "mobile": True}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        browser.get(url)
        serving.wait_for("^client 1 ", 10)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 380
        asked = browser.execute_script("return performance.getEntriesByType('resource').map(each => each.name)")
        assert asked
        assert all(address.startswith((url, "data:")) for address in asked)


def test_page_gives_the_run_so_far_as_csv(tmp_path: Path):
    """A click keeps a row for each coordinate that was scored, up to now; a later click has more."""
    with run_browser(tmp_path) as browser, serve(tmp_path) as (serving, url):
        behavior = {"behavior": "allow", "downloadPath": str(tmp_path)}
        browser.execute_cdp_cmd("Browser.setDownloadBehavior", behavior)
        browser.get(url)
        lengths = []
        path = tmp_path / "run.csv"
        for count in (30, 60):
            serving.wait_for("^client 1 ", count)
            wait_until(browser, f"client.figures.scored >= {count // 2}")
            browser.execute_script("document.getElementById('csv').click()")
            deadline = time.monotonic() + PATIENCE
            while not path.exists():
                assert time.monotonic() < deadline, complaints(browser)
                time.sleep(0.05)  # nothing tells of it
            rows = list(csv.reader(path.read_text().splitlines()))
            path.unlink()
            assert rows[0] == ["seconds", "error_px", "latency_ms"]
            assert all(float(error) < 10 and float(latency) > 0 for _, error, latency in rows[1:])
            lengths.append(len(rows))
        assert 10 < lengths[0] < lengths[1]
        assert complaints(browser) == []


async def test_page_says_that_the_video_has_no_way(tmp_path: Path):
    """Where the page comes and the media cannot, as through a forwarded port, it says so and names what works."""

    async def answer(request: web.Request) -> web.Response:
        pc = RTCPeerConnection()
        pcs.append(pc)
        await pc.setRemoteDescription(RTCSessionDescription(await request.text(), "offer"))
        await pc.setLocalDescription(await pc.createAnswer())
        lines = pc.localDescription.sdp.split("\r\n")
        sdp = [line for line in lines if not line.startswith("a=candidate")]
        sdp.insert(-1, "a=candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host")  # RFC 5737: nobody's
        return web.Response(status=201, text="\r\n".join(sdp), headers={"Location": "/whep/none"})

    pcs: list[RTCPeerConnection] = []
    app = web.Application()
    add_files(app, *sorted(BROWSER.iterdir()))
    app.router.add_post("/whep", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()

    def look() -> str:
        with run_browser(tmp_path) as browser:
            browser.get(f"http://127.0.0.1:{port}/")
            wait_until(browser, "document.getElementById('status').textContent.includes('no way')")
            return status(browser)

    try:
        said = await asyncio.to_thread(look)
    finally:
        for pc in pcs:
            await pc.close()
        await runner.cleanup()
    assert "192.0.2.1" in said
    assert "hostNetwork" in said


@pytest.mark.hosts
def test_page_works_on_another_host(tmp_path: Path):
    """Over a link with delay and loss, where nobody can resolve a browser's own names, and reports are said again."""
    address, summary = f"{SERVER_ADDRESS}:8080", tmp_path / "s.json"
    with Lab(delay=20, loss=3) as lab, run_browser(tmp_path, lab.client) as browser:
        where = ("--signaling-host", SERVER_ADDRESS, "--http", address, "--summary", summary, "--print", "every")
        with run("server.py", *where, prefix=lab.server) as serving:
            serving.wait_for("filming")
            browser.get(f"http://{address}/")
            serving.wait_for("^client 1 ", 300)
            browser.get("about:blank")
            serving.wait_for("^browser 1 from .*: bye")
            assert serving.end() == 0
    (client,) = read_summary(summary)["clients"]
    assert client["repeated"] > 50
    assert client["frames"]["unmatched"] == 0
    assert client["error_px"]["p50"] < 0.1


@pytest.mark.skipif(shutil.which("firefox-esr") is None, reason="needs Debian's package firefox-esr")
def test_firefox_is_a_client(tmp_path: Path):
    """In Firefox, too, the ball is where the page says; without a driver, as nothing has to be pressed."""
    with serve(tmp_path) as (serving, url):
        command = ("firefox-esr", "--headless", "--no-remote", "--profile", str(tmp_path), url)
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as firefox:
            try:
                serving.wait_for("^client 1 ", 100)
            finally:
                firefox.terminate()
        serving.wait_for("^browser 1 from ")
        assert serving.end() == 0
    (client,) = read_summary(tmp_path / "s.json")["clients"]
    assert client["frames"]["unmatched"] == 0
    assert client["error_px"]["p50"] < 0.03
    assert client["error_px"]["p99"] < 0.5
