"""Browsers that nobody sees: Chromium, from Debian's packages of that name; and the client that runs in any of them."""

import json
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

from tools.procfs import ROOT
from tools.program import PATIENCE

CHROMIUM, CHROMEDRIVER = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
FLAGS = (
    "headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking",
    "disable-component-update", "disable-sync", "window-size=1280,900",
    "remote-debugging-pipe",  # so that the driver reaches it from another network too
)  # fmt: skip
CLIENT = ROOT / "examples/browser.js"


class Driver(Protocol):
    """What Chromium's driver and Firefox's have in common."""

    def get(self, url: str) -> None:
        """Open a page."""

    def execute_script(self, script: str, *args: Any) -> Any:
        """Run a script in the page, and return what it returns."""

    def execute_async_script(self, script: str, *args: Any) -> Any:
        """Run a script in the page, and return what it hands to the function that is its last argument."""


@contextmanager
def run_browser(folder: Path, prefix: tuple[str, ...] = ()) -> Iterator[Chrome]:
    """Run a browser for the length of a block.

    Args:
        folder: where it may keep its files.
        prefix: what to run it with, such as another network's namespace.
    """
    assert CHROMIUM is not None
    start = folder / "browser.sh"
    start.write_text(f'#!/bin/sh\nexec {shlex.join((*prefix, CHROMIUM))} "$@"\n')
    start.chmod(0o755)
    options = ChromeOptions()
    options.binary_location = str(start)
    for flag in (*FLAGS, f"user-data-dir={folder / 'profile'}"):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = Chrome(options=options, service=Service(CHROMEDRIVER))
    driver.set_script_timeout(PATIENCE)
    yield driver
    driver.quit()


@contextmanager
def be_client(browser: Driver, host: str, port: int, prefix: tuple[str, ...] = ()) -> Iterator[None]:
    """Let the client of examples/browser.js meet a server, and say BYE for it at the end of the block.

    Args:
        browser: where it runs.
        host: of the server's signaling.
        port: of the server's signaling.
        prefix: what to connect to it with, such as another network's namespace.
    """
    connect = [*prefix, "bash", "-c", "exec 3<>/dev/tcp/$0/$1; cat <&3 & exec cat >&3", host, str(port)]
    with subprocess.Popen(connect, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as lines:
        assert lines.stdin is not None
        assert lines.stdout is not None
        offer = json.loads(lines.stdout.readline())
        script = f"{CLIENT.read_text()}\nclient(arguments[0]).then(arguments[1], e => arguments[1](String(e)))"
        answer = browser.execute_async_script(script, offer["sdp"])
        lines.stdin.write(json.dumps({"type": "answer", "sdp": answer}) + "\n")
        lines.stdin.flush()
        yield
        lines.stdin.write('{"type": "bye"}\n')
