"""What runs in the processes of the views: a window, and JPEGs for the page; recording.py has the third.

A view says Idle, gets a Picture, shows it, and says Idle again; None means that there are no more. Nothing
here may import av, and so aiortc: cv2.imshow hangs for ever where av came first.
"""

import contextlib
import ctypes
import os
import re
import sys
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import cv2

from ball_track import Image
from common.processes import end_with_parent
from views.overlay import compose, has_code
from views.sightings import Figures, Footprint

TITLE = "ball over WebRTC"
CLOSING_KEYS = (27, ord("q"))  # Esc, q
WINDOW_POLL = 0.02  # s between two looks at keys and pictures
JPEG_QUALITY = 85
NICENESS = 10  # of the views: decoder and process_a go first


class Picture(NamedTuple):
    """A frame and what is known of it, as a view's process gets it.

    pts: ticks of 1 / 90000 s; image: (H * 3 / 2, W) uint8 I420, valid until the view is ready again.
    """

    pts: int
    figures: Figures
    trail: Sequence[Footprint]
    image: Image


class Idle(NamedTuple):
    """A view says: it is done with the last picture, in whose place are `size` bytes of JPEG; send the next."""

    size: int = 0


class Closed(NamedTuple):
    """A view says: the person who looks wants to end."""


class Failed(NamedTuple):
    """A view says why it cannot go on."""

    reason: str


def run_view(target: Callable[..., None], *args: Any) -> None:
    """Run a view until there are no more pictures, or nobody who could send them.

    Args:
        target: what shows the pictures: gets our end of the connection, and the rest of `args`.
        args: what else the target gets, and our end of the connection.
    """
    *rest, connection = args
    os.nice(NICENESS)
    cv2.setNumThreads(1)
    with contextlib.suppress(EOFError, ConnectionError):
        target(connection, *rest)


def show_window(connection: Connection) -> None:
    """Show pictures in a window, from the first one on, until it is closed by a key or with the mouse."""
    end_with_parent()  # where the window system hangs, too
    try:
        _try_display()
    except cv2.error:  # a display that cannot be used ends the process; this is an OpenCV that can use none
        connection.send(Failed(f"this OpenCV has no windows (GUI: {gui()}); install opencv-python"))
        return
    connection.send(Idle())
    shape, coded = None, False
    while True:
        if connection.poll(WINDOW_POLL):
            picture: Picture | None = connection.recv()
            if picture is None:
                return
            coded = coded or has_code(picture.image)
            drawn = compose(picture.image, picture.figures, picture.trail, marked=not coded)
            del picture  # its memory may be gone when the next one comes
            if shape is None:
                cv2.namedWindow(TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
            if drawn.shape != shape:
                shape = drawn.shape
                cv2.resizeWindow(TITLE, shape[1], shape[0])
            cv2.imshow(TITLE, drawn)
            connection.send(Idle())
        if shape is not None and (cv2.waitKey(1) in CLOSING_KEYS or not _is_open()):
            connection.send(Closed())
            return


def _is_open() -> bool:
    try:
        return cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) >= 1
    except cv2.error:  # so OpenCV 5 says that its last window was closed with the mouse
        return False


def gui() -> str:
    """Return what OpenCV shows its windows with; NONE if it shows none."""
    line = re.search(r"^ *GUI: *(\S+)", cv2.getBuildInformation(), re.MULTILINE)
    return line[1] if line else "unknown"


def _try_display() -> None:
    """Open a window, and take it away before it is seen. Where there is no display, this process is aborted here."""
    # Qt tells on stderr what the main process tells better; a traceback of ours is still to be seen
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 2)
    os.close(silence)
    _share_x11_events()
    _choose_platform(Path(cv2.__file__).with_name("qt") / "plugins" / "platforms")
    cv2.namedWindow("display", cv2.WINDOW_NORMAL)
    cv2.destroyWindow("display")


def _share_x11_events() -> None:
    """Have Qt use the libX11-xcb that belongs to the system's libX11, where there is one.

    opencv-python brings an old one along. Since libX11 1.8 that writes "events are for xcb" beside the field of
    Display which says so; Xlib goes on taking events that are Qt's, and now and then one of them is the window's
    MapNotify: of 100 windows 2 to 15 stayed black for ever, and none of 300 with this.
    """
    with contextlib.suppress(OSError):
        ctypes.CDLL("libX11-xcb.so.1", mode=ctypes.RTLD_GLOBAL)


def _choose_platform(plugins: Path) -> None:
    """Let Qt use X11, where the desktop wants of it what opencv-python does not bring along, such as Wayland."""
    wanted = os.environ.get("QT_QPA_PLATFORM", "").split(";")
    if plugins.is_dir() and not any((plugins / f"libq{name.partition(':')[0]}.so").exists() for name in wanted):
        os.environ["QT_QPA_PLATFORM"] = "xcb"


def encode_jpegs(connection: Connection) -> None:
    """Turn pictures into JPEG, and put that where the image was."""
    connection.send(Idle())
    while True:
        picture: Picture | None = connection.recv()
        if picture is None:
            return
        drawn = compose(picture.image, picture.figures, picture.trail, written=False)  # the page writes them
        data = cv2.imencode(".jpg", drawn, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
        fits = data.size <= picture.image.size
        if fits:
            picture.image.reshape(-1)[: data.size] = data.reshape(-1)
        del picture  # its memory may be gone when the next one comes
        connection.send(Idle(data.size if fits else 0))
