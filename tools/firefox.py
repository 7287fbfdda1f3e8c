"""A Firefox that nobody sees, from Debian's package firefox-esr, driven by Marionette: that needs no geckodriver.

Source: firefox-source-docs.mozilla.org/testing/marionette/Protocol.html.
"""

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tools.program import PATIENCE

FIREFOX = shutil.which("firefox-esr") or shutil.which("firefox")
PREFERENCES = {
    "marionette.port": 0,
    "app.update.enabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "media.peerconnection.ice.loopback": True,  # it meets nobody at 127.0.0.1 otherwise
}


class FirefoxError(Exception):
    """Firefox did not do what it was told; says what it answered."""


class Firefox:
    """The driver: the few commands of selenium's drivers that are needed, under their names.

    Args:
        port: that Marionette listens on.
        pid: of the browser's process.
    """

    def __init__(self, port: int, pid: int) -> None:
        self.pid = pid
        self._connection = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self._answers = self._connection.makefile("rb")
        self._receive()  # which protocol it speaks
        self._send("WebDriver:NewSession")
        self._send("WebDriver:SetTimeouts", script=int(1000 * PATIENCE))

    def _receive(self) -> Any:
        length = b""
        while (character := self._answers.read(1)) not in (b":", b""):
            length += character
        if not length:
            raise FirefoxError("it is gone")
        return json.loads(self._answers.read(int(length)))

    def _send(self, command: str, **parameters: object) -> Any:
        request = json.dumps([0, 0, command, parameters]).encode()
        self._connection.sendall(b"%d:%s" % (len(request), request))
        _, _, error, result = self._receive()
        if error is not None:
            raise FirefoxError(f"{command}: {error['message']}")
        return result

    def get(self, url: str) -> None:
        """Open a page."""
        self._send("WebDriver:Navigate", url=url)

    def execute_script(self, script: str, *args: object) -> Any:
        """Run a script in the page, and return what it returns."""
        return self._send("WebDriver:ExecuteScript", script=script, args=args, sandbox=None)["value"]

    def execute_async_script(self, script: str, *args: object) -> Any:
        """Run a script in the page, and return what it hands to the function that is its last argument."""
        return self._send("WebDriver:ExecuteAsyncScript", script=script, args=args, sandbox=None)["value"]

    def close(self) -> None:
        """Let go of the browser."""
        self._answers.close()
        self._connection.close()


@contextmanager
def run_firefox(folder: Path) -> Iterator[Firefox]:
    """Run Firefox for the length of a block.

    Args:
        folder: where it may keep its files.
    """
    assert FIREFOX is not None
    profile = folder / "firefox"
    profile.mkdir()
    lines = (f'user_pref("{name}", {json.dumps(value)});\n' for name, value in PREFERENCES.items())
    (profile / "user.js").write_text("".join(lines))
    command = (FIREFOX, "--headless", "--marionette", "--no-remote", "--profile", str(profile))
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            driver = Firefox(_wait_for_port(profile / "MarionetteActivePort", process), process.pid)
            try:
                yield driver
            finally:
                driver.close()
        finally:
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait_for_port(path: Path, process: "subprocess.Popen[bytes]") -> int:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        if path.exists() and (port := path.read_text()):
            return int(port)
        time.sleep(0.05)
    raise FirefoxError("it does not start")
