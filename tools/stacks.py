"""The WebRTC stacks that a server of ours is tried with: what each of them needs, and how it is run as a client."""

import functools
import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from tools.browser import CHROMEDRIVER, CHROMIUM, Driver, be_client, run_browser
from tools.firefox import FIREFOX, run_firefox
from tools.procfs import ROOT
from tools.program import Program

MODULES = ROOT / "examples/node/node_modules"
NODE = ("node",)
SYSTEM_PYTHON = ("/usr/bin/python3",)  # the one that Debian's packages are for
GSTREAMER = """
import gi
gi.require_version("GstWebRTC", "1.0")
from gi.repository import Gst
Gst.init(None)
elements = "webrtcbin", "nicesrc", "dtlssrtpdec", "sctpdec", "rtpvp8depay", "vp8dec", "rtph264depay", "avdec_h264"
missing = [name for name in elements if Gst.ElementFactory.find(name) is None]
print("no " + ", ".join(missing) if missing else Gst.version_string().removeprefix("GStreamer "))
"""


class Place(NamedTuple):
    """Where a server is: host and port of its signaling, the address of its page, and room for a client's files."""

    host: str
    port: int
    url: str
    folder: Path


class Stack(NamedTuple):
    """One stack, or one way of it.

    name: what it is; version: returns its version; lacking: returns why it cannot be tried here, or None;
    play: runs it as a client for the length of a block; codecs: that it knows; finds: whether it looks for the ball.
    """

    name: str
    version: Callable[[], str]
    lacking: Callable[[], str | None]
    play: Callable[[Place], AbstractContextManager[None]]
    codecs: tuple[str, ...] = ("vp8", "h264")
    finds: bool = True


# --- What they need ------------------------------------------------------------------------------


def own_address() -> str | None:
    """Return an IPv4 address of this machine that is not the loopback's, or None: some stacks gather no other."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("198.51.100.1", 9))  # TEST-NET-2 (RFC 5737): nothing is sent
        except OSError:
            return None
        address: str = probe.getsockname()[0]
        return None if address.startswith("127.") else address


def lacking_node() -> str | None:
    """Return why the clients in Node cannot be run here, or None."""
    if shutil.which("node") is None:
        return "no node: Debian's packages nodejs and npm"
    return None if MODULES.is_dir() else "not installed: npm ci --prefix examples/node"


@functools.cache
def gstreamer() -> str:
    """Return GStreamer's version, or what is missing, which begins with "no "."""
    try:
        command = [*SYSTEM_PYTHON, "-c", GSTREAMER]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"no GStreamer in Debian's Python: {error}"
    return done.stdout.strip() if done.returncode == 0 else "no GStreamer in Debian's Python, see examples/gstreamer.py"


def lacking_gstreamer() -> str | None:
    """Return why the client on GStreamer cannot be run here, or None."""
    return gstreamer() if gstreamer().startswith("no ") else None


def lacking_chromium() -> str | None:
    """Return why Chromium cannot be run here, or None."""
    return None if CHROMIUM and CHROMEDRIVER else "no Debian packages chromium and chromium-driver"


def lacking_firefox() -> str | None:
    """Return why Firefox cannot be run here, or None."""
    return None if FIREFOX else "no Debian package firefox-esr"


def _installed(package: str) -> str:
    """Return the version of a package of Node's."""
    found: str = json.loads((MODULES / package / "package.json").read_text())["version"]
    return found


def _told_by(program: str | None) -> str:
    """Return the version that a browser tells of itself: the first word with a digit."""
    told = subprocess.run([str(program), "--version"], capture_output=True, text=True, check=False).stdout.split()
    return next((word for word in told if word[0].isdigit()), "")


# --- How they are run ----------------------------------------------------------------------------


def _program(*command: object, interpreter: tuple[str, ...]) -> Callable[[Place], AbstractContextManager[None]]:
    """Return what runs a program that takes the host and the port of the signaling as its last arguments."""

    @contextmanager
    def play(place: Place) -> Iterator[None]:
        with Program(*command, place.host, place.port, interpreter=interpreter) as program:
            yield
            program.end()

    return play


@contextmanager
def _our_client(place: Place) -> Iterator[None]:
    where = ("--signaling-host", place.host, "--signaling-port", place.port)
    with Program("client.py", *where, "--view", "none") as program:
        yield
        program.end()


@contextmanager
def _chromium(place: Place) -> Iterator[Driver]:
    with run_browser(place.folder) as browser:
        yield browser


@contextmanager
def _firefox(place: Place) -> Iterator[Driver]:
    with run_firefox(place.folder) as browser:
        yield browser


def _script(run: Callable[[Place], AbstractContextManager[Driver]]) -> Callable[[Place], AbstractContextManager[None]]:
    """Return what runs examples/browser.js in a browser."""

    @contextmanager
    def play(place: Place) -> Iterator[None]:
        with run(place) as browser, be_client(browser, place.host, place.port):
            yield

    return play


def _page(run: Callable[[Place], AbstractContextManager[Driver]]) -> Callable[[Place], AbstractContextManager[None]]:
    """Return what opens the server's own page in a browser."""

    @contextmanager
    def play(place: Place) -> Iterator[None]:
        with run(place) as browser:
            browser.get(place.url)
            yield

    return play


def stacks() -> list[Stack]:
    """Return all of them."""
    python = (sys.executable,)
    aiortc = functools.partial(version, "aiortc")
    return [
        Stack("client.py", aiortc, lambda: None, _our_client),
        Stack("aiortc, examples/client.py", aiortc, lambda: None, _program("examples/client.py", interpreter=python)),
        Stack(
            "werift, examples/node",
            lambda: _installed("werift"),
            lacking_node,
            _program("examples/node/werift.mjs", interpreter=NODE),
            finds=False,
        ),
        Stack(
            "libdatachannel, examples/node",
            lambda: _installed("node-datachannel"),
            lacking_node,
            _program("examples/node/libdatachannel.mjs", interpreter=NODE),
            finds=False,
        ),
        Stack(
            "GStreamer, examples/gstreamer.py",
            gstreamer,
            lacking_gstreamer,
            _program("examples/gstreamer.py", interpreter=SYSTEM_PYTHON),
        ),
        Stack("Chromium, examples/browser.js", lambda: _told_by(CHROMIUM), lacking_chromium, _script(_chromium)),
        Stack("Chromium, the server's page", lambda: _told_by(CHROMIUM), lacking_chromium, _page(_chromium)),
        Stack("Firefox, examples/browser.js", lambda: _told_by(FIREFOX), lacking_firefox, _script(_firefox), ("vp8",)),
        Stack("Firefox, the server's page", lambda: _told_by(FIREFOX), lacking_firefox, _page(_firefox), ("vp8",)),
    ]
