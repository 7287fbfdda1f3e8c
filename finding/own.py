"""A person's own finder in process_a: how it is loaded, asked, and how its faults are told.

    client.py --find my_module:find

    def find(image):            # (H, W, 3) uint8, BGR
        ...
        return x, y             # px from the centre of the top left pixel; or None: no ball

    IMAGE = "gray"              # in the module, if it wants another image than "bgr": see FORMATS

It is a stranger's code. Whatever it does costs its frame at most, which then is one without a ball:

    fault      what it is                                                 what comes of it
    raised     it raised, or called exit                                  a frame without a ball
    nonsense   it returned neither None nor two finite numbers            a frame without a ball
    printed    it wrote to stdout, which is the client's                  it goes to stderr
    slow       it took longer than SLOW_S, and not the first time         newer frames replace those that wait
    hung       it took longer than the parent waits (see finder.py)       process_a is ended and started again
    died       it took its process along                                  process_a is started again

The first of each kind are told in one line each, and all are counted. What it keeps of an image stays as it
was, and what it paints into one does no harm: it is given its own.
"""

import argparse
import importlib
import io
import logging
import math
import os
import re
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from importlib.machinery import PathFinder
from typing import Any

import cv2

from ball_track import Image, Point, planes
from common.strangers import printable
from protocol.messages import MAX_PIXELS

logger = logging.getLogger(__name__)

FORMATS = ("bgr", "gray", "i420")  # (H, W, 3); (H, W), the luma: black 16, white 235; (H * 3 / 2, W). All uint8
SLOW_S = 0.1  # s; the frames of a film come at a third of that
LONGEST = 200  # characters of a fault that are told
UNUSABLE = "unusable"  # the fault of a finder that cannot be had at all
TOLD = 3  # faults of each kind that are told; the others are only counted


class OwnFinderError(Exception):
    """A person's finder cannot be had; the text says why, in one line."""


def finder_name(text: str) -> str:
    """Return MODULE:FUNCTION, dots allowed in either, if there is such a module, or its package; nothing is imported.

    Raises:
        argparse.ArgumentTypeError: there is none, or it is no such name.
    """
    dotted = r"[^\W\d]\w*(\.[^\W\d]\w*)*"
    if re.fullmatch(f"{dotted}:{dotted}", text) is None:
        raise argparse.ArgumentTypeError(f"{text!r}: must be MODULE:FUNCTION, such as my_module:find for my_module.py")
    top = text.partition(":")[0].partition(".")[0]
    if top not in sys.modules and PathFinder.find_spec(top, [os.getcwd(), *sys.path]) is None:  # noqa: PTH109
        raise argparse.ArgumentTypeError(f"{text!r}: there is no such module in this folder or on the path")
    return text


# --- In process_a --------------------------------------------------------------------------------


class OwnFinder:
    """Asks a person's function where the ball is, and survives it.

    Args:
        name: MODULE:FUNCTION; the module is looked for in the current folder first.
        complain: is told each fault: its kind, and what happened.
        printed: returns how many times something was written to stdout so far.

    Raises:
        OwnFinderError: it cannot be loaded.
    """

    def __init__(self, name: str, complain: Callable[[str, str], None], printed: Callable[[], int] = lambda: 0) -> None:
        self._complain = complain
        self._printed = printed
        self._told = printed()  # of what is printed
        self._warm = False  # it has been asked before: what takes long once is none of its faults
        self._function, self._format = _load(name)

    def __call__(self, image: Image) -> Point | None:
        """Return where it says that the ball is; None for nowhere, and for whatever is no answer.

        Args:
            image: (H * 3 / 2, W) uint8, I420; left as it is.
        """
        picture = _convert(image, self._format)
        began = time.monotonic()
        point = None
        try:
            answer = self._function(picture)
        except BaseException as error:  # SystemExit, too, is not for a finder to say
            self._complain("raised", _describe(error))
        else:
            try:
                point = _point_of(answer)
            except BaseException:  # whatever it returned may raise when it is looked at
                self._complain("nonsense", f"returned {_short(answer)}, which is neither None nor x and y in px")
        if self._warm and time.monotonic() - began > SLOW_S:
            self._complain(
                "slow", f"takes longer than {SLOW_S:g} s for a frame; those that wait meanwhile are replaced"
            )
        if self._printed() > self._told:
            self._told = self._printed()
            self._complain("printed", "prints; that goes to stderr, as stdout is the client's")
        self._warm = True
        return point


def _load(name: str) -> tuple[Callable[[Any], Any], str]:
    """Return a function by its name, and which of FORMATS its module asks for.

    Raises:
        OwnFinderError: it cannot be had.
    """
    module_name, _, function_name = name.partition(":")
    if os.getcwd() not in sys.path:  # noqa: PTH109  # a name as sys.path has it
        sys.path.insert(0, os.getcwd())  # noqa: PTH109
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{module_name}.".startswith(f"{error.name}."):
            raise OwnFinderError(f"there is no module {error.name} in {os.getcwd()} or on the path") from None  # noqa: PTH109
        raise OwnFinderError(f"importing {module_name} failed: {_describe(error)}") from None
    except BaseException as error:
        raise OwnFinderError(f"importing {module_name} failed: {_describe(error)}") from None
    function: Any = module
    for part in function_name.split("."):
        function = getattr(function, part, None)
    if not callable(function):
        raise OwnFinderError(f"{getattr(module, '__file__', None) or module_name} has no function {function_name}")
    wanted = getattr(module, "IMAGE", FORMATS[0])
    if not isinstance(wanted, str) or wanted not in FORMATS:
        raise OwnFinderError(f"{module_name}.IMAGE is {_short(wanted)}: must be one of {', '.join(FORMATS)}")
    return function, wanted


def _convert(image: Image, wanted: str) -> Any:
    """Return an I420 image in one of FORMATS, in memory of its own."""
    match wanted:
        case "gray":
            return planes(image)[0].copy()
        case "i420":
            return image.copy()
        case _:
            return cv2.cvtColor(image, cv2.COLOR_YUV2BGR_I420)


def _point_of(answer: Any) -> Point | None:
    """Return the point that an answer names, None for nowhere.

    Raises:
        ValueError, TypeError: it names none.

    >>> _point_of((12, 7.5)), _point_of(None)
    (Point(x=12.0, y=7.5), None)
    """
    if answer is None:
        return None
    if isinstance(answer, str | bytes | dict | set):  # they can be taken apart as well, into what is no coordinate
        raise TypeError
    x, y = (float(value) for value in answer)
    if not (math.isfinite(x) and math.isfinite(y)) or max(abs(x), abs(y)) > MAX_PIXELS:
        raise ValueError
    return Point(x, y)


def _describe(error: BaseException) -> str:
    """Return what was raised, and where, as one line."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({os.path.basename(frames[-1].filename)}, line {frames[-1].lineno})" if frames else ""  # noqa: PTH119
    if isinstance(error, SyntaxError) and error.filename:
        where = f" ({os.path.basename(error.filename)}, line {error.lineno})"  # noqa: PTH119
        return f"{type(error).__name__}: {_one_line(error.msg)}{where}"
    try:
        text = _one_line(str(error))
    except Exception:
        text = ""
    return f"{type(error).__name__}{': ' if text else ''}{text}{where}"


def _short(value: object) -> str:
    """Return a value for reading, as one line."""
    try:
        return _one_line(repr(value))
    except Exception:
        return f"a {type(value).__name__}"


def _one_line(text: str) -> str:
    """Return a text as one line, not too long, of what can be printed."""
    line = " ".join(text.split())
    return printable(line if len(line) <= LONGEST else f"{line[: LONGEST - 3]}...", LONGEST)


class _Diverted(io.TextIOWrapper):
    """A stdout that is stderr, and counts how often it is written to."""

    def __init__(self) -> None:
        super().__init__(
            io.FileIO(2, "w", closefd=False), encoding="utf-8", errors="backslashreplace", write_through=True
        )
        self.count = 0

    def write(self, text: str) -> int:
        """Write, and count it; that nobody reads stderr any more is no fault of who prints."""
        self.count += 1
        try:
            return super().write(text)
        except OSError:
            return len(text)


def divert_stdout() -> Callable[[], int]:
    """Send what this process prints to stderr, libraries in C included; return what tells how often Python did."""
    os.dup2(2, 1)
    diverted = _Diverted()
    sys.stdout = diverted
    return lambda: diverted.count


# --- In the parent -------------------------------------------------------------------------------


class Faults:
    """What a finder did wrong: counted by kind, and the first of each told.

    Args:
        name: MODULE:FUNCTION.
    """

    def __init__(self, name: str) -> None:
        self.counts: Counter[str] = Counter()
        self._name = name
        self._told: Counter[str] = Counter()
        self._known: set[tuple[str, str]] = set()

    def add(self, kind: str, text: str) -> None:
        """Count a fault; tell it unless it, or enough of its kind, has been told."""
        self.counts[kind] += 1
        if (kind, text) in self._known or self._told[kind] >= TOLD:
            return
        self._known.add((kind, text))
        self._told[kind] += 1
        last = "; further ones of this kind are only counted" if self._told[kind] == TOLD else ""
        logger.warning("%s: %s%s", self._name, text, last)

    def __str__(self) -> str:
        """Return the counts as one line."""
        counts = ", ".join(f"{kind} {count}" for kind, count in sorted(self.counts.items()))
        return f"{self._name}: faults: {counts or 'none'}"
