"""A browser that nobody sees: Chromium, from Debian's packages of that name."""

import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

from tools.program import PATIENCE

CHROMIUM, CHROMEDRIVER = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
FLAGS = (
    "headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking",
    "disable-component-update", "disable-sync", "window-size=1280,900",
    "remote-debugging-pipe",  # so that the driver reaches it from another network too
)  # fmt: skip


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
