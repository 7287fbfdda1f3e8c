"""A screen of our own, on a machine that has none: Xvfb, from Debian's package of that name."""

import ctypes
import mmap
import os
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ball_track import Image
from support.programs import PATIENCE

WIDTH, HEIGHT = 800, 720


class Screen:
    """A virtual screen.

    Args:
        display: what DISPLAY has to say.
        frame_buffer: the file that it is drawn in.
    """

    def __init__(self, display: str, frame_buffer: Path) -> None:
        self.display = display
        self._frame_buffer = frame_buffer

    def picture(self) -> Image:
        """Return what is on the screen, (H, W, 3) uint8 BGR, but not in the middle of its being drawn."""
        before, picture = self._read(), self._read()
        while not np.array_equal(before, picture):
            before, picture = picture, self._read()
        return picture

    def _read(self) -> Image:
        """Return what the frame buffer holds, (H, W, 3) uint8 BGR.

        Source: XWDFile.h of X11: a header of big-endian 32-bit words, the colours, then the rows.
        """
        with self._frame_buffer.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as memory:
            header = struct.unpack(">25I", memory[:100])
            start, height, row, colors = header[0] + 12 * header[19], header[5], header[12], header[19]
            assert colors <= 256
            pixels = np.frombuffer(memory[start : start + height * row], np.uint8)
        return pixels.reshape(height, row // 4, 4)[:, : header[4], :3].copy()

    def xdotool(self, *args: str) -> str:
        """Do something as a person would, with xdotool, and return what it says."""
        environment = {**os.environ, "DISPLAY": self.display}
        return subprocess.run(
            ["xdotool", *args], env=environment, check=True, capture_output=True, text=True, timeout=PATIENCE
        ).stdout.strip()

    def close_window(self, title: str) -> None:
        """Close a window with its button, as a window manager does: it asks the window to go.

        Source: ICCCM, 4.2.8.1.
        """
        window = int(self.xdotool("search", "--name", title).split()[-1])
        x11 = ctypes.CDLL("libX11.so.6")
        x11.XOpenDisplay.restype = ctypes.c_void_p
        x11.XInternAtom.restype = ctypes.c_ulong
        display = ctypes.c_void_p(x11.XOpenDisplay(self.display.encode()))
        assert display.value is not None
        protocols, delete = (x11.XInternAtom(display, name, 0) for name in (b"WM_PROTOCOLS", b"WM_DELETE_WINDOW"))
        client_message = 33
        # an XEvent has room for 24 longs: type, serial, send_event, display, window, message_type, format, data
        event = (ctypes.c_long * 24)(client_message, 0, 0, 0, window, protocols, 32, delete)
        assert x11.XSendEvent(display, ctypes.c_ulong(window), 0, ctypes.c_long(0), ctypes.byref(event))
        x11.XCloseDisplay(display)


@contextmanager
def run_screen() -> Iterator[Screen]:
    """Run a virtual screen for the length of a block."""
    with tempfile.TemporaryDirectory() as folder:
        reading, writing = os.pipe()
        # without -noreset it would start anew whenever its last client has left
        server = subprocess.Popen(
            ["Xvfb", "-displayfd", str(writing), "-screen", "0", f"{WIDTH}x{HEIGHT}x24", "-nolisten", "tcp", "-noreset",
             "-fbdir", folder],
            pass_fds=[writing], stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(writing)
        try:
            with os.fdopen(reading) as pipe:
                number = pipe.readline().strip()
            assert number, "Xvfb did not start"
            yield Screen(f":{number}", Path(folder, "Xvfb_screen0"))
        finally:
            server.terminate()
            server.wait(PATIENCE)


def wait_until(condition: Callable[[], bool], what: str | Callable[[], str]) -> None:
    """Wait until a condition holds that nothing tells of, such as what is on a screen."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"never: {what() if callable(what) else what}"
        time.sleep(0.05)
