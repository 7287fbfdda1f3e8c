"""What holds for all tests."""

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from selenium.webdriver import Chrome

from tools import lab
from tools.browser import CHROMEDRIVER, CHROMIUM, run_browser
from tools.procfs import ROOT
from views.screens import gui

# the same examples in every run: what fails once fails always, and a busy machine fails nothing
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")


@pytest.fixture(autouse=True)
def no_display(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the developer's own screen: a test that wants a window starts a screen for it."""
    monkeypatch.delenv("DISPLAY", raising=False)


@pytest.fixture(autouse=True)
def own_signals() -> Iterator[None]:
    """Give pytest its signals back: what a program does with them in a test, it does not do to the next ones."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def lacking_programs(*names: str) -> str | None:
    """Return which of these programs are not installed here, as a reason, or None."""
    missing = [name for name in names if shutil.which(name) is None]
    return f"not installed here: {', '.join(missing)}" if missing else None


def lacking_windows() -> str | None:
    """Return that this OpenCV is the build without windows, or None."""
    return "this OpenCV has no windows" if gui() == "NONE" else None


def lacking_root() -> str | None:
    """Return why this is not root, or None."""
    return "needs root" if os.geteuid() != 0 else None


def lacking_werift() -> str | None:
    """Return what the clients and the media server in Node lack, or None."""
    there = (ROOT / "examples/node/node_modules/werift").exists()
    return lacking_programs("node") or (None if there else "werift is not installed here: npm ci in examples/node")


# what a marker's tests need: each returns why it is not here, or None
NEEDS: dict[str, Callable[[], str | None]] = {
    "root": cache(lacking_root),
    "screen": cache(lambda: lacking_programs("Xvfb", "xdotool") or lacking_windows()),
    "browser": cache(lambda: None if CHROMIUM and CHROMEDRIVER else "no chromium, or no chromedriver"),
    "hosts": cache(lab.missing),
    "werift": cache(lacking_werift),
    "turn": cache(lambda: lacking_programs("turnserver", "ss")),
    "fresh": cache(lambda: lacking_root() or lacking_programs("debootstrap")),
}


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what a test's markers say that it needs and this machine lacks, with the reason."""
    for marker, lacks in NEEDS.items():
        if item.get_closest_marker(marker) and (reason := lacks()):
            pytest.skip(reason)


class FullDisk:
    """A file that takes no more, as /dev/full: every flush fails, and so does closing with data in it."""

    def __init__(self, path: Path) -> None:
        path.touch()
        self._full = Path("/dev/full").open("wb")  # noqa: SIM115  # it is closed below

    def __getattr__(self, name: str) -> Any:
        return getattr(self._full, name)


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every file that is opened for writing be on a disk that is full."""
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    real = Path.open

    def opened(self: Path, mode: str = "r", **options: Any) -> Any:
        return FullDisk(self) if set(mode) & {"w", "x"} and self != Path("/dev/full") else real(self, mode, **options)

    monkeypatch.setattr(Path, "open", opened)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """Run one browser, on an empty page, for all tests of a file."""
    with run_browser(tmp_path_factory.mktemp("browser")) as driver:
        driver.get("about:blank")
        yield driver
