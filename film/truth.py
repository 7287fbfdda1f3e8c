"""Where the ball truly is in a video file: a CSV of frame, x, y beside it.

Frames count from 0; x and y are px, and empty where no ball is to be seen.
"""

import argparse
import csv
from collections.abc import Iterator
from pathlib import Path

from ball_track import Point
from protocol.messages import MAX_PIXELS


def truth_file(text: str) -> dict[int, Point]:
    """Return where the ball is in each frame of a video file, named on the command line.

    Raises:
        argparse.ArgumentTypeError: it cannot be read, or is none.
    """
    try:
        return read_truth(Path(text))
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error.strerror}") from None
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error}") from None


def read_truth(path: Path) -> dict[int, Point]:
    """Return where the ball is in the frames of a file, from a CSV of frame, x, y.

    A first line of names may be there. Rows without x and y say that the ball is not to be seen.

    Raises:
        ValueError: it is no such CSV; the text names the line.
        OSError: it cannot be read.
    """
    truth: dict[int, Point] = {}
    seen: set[int] = set()
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.reader(file)
        for row in _each(rows):
            if not row or (rows.line_num == 1 and row == ["frame", "x", "y"]):
                continue
            frame, point = _parse_row(row, rows.line_num)
            if frame in seen:
                raise ValueError(f"line {rows.line_num}: frame {frame} for the second time")
            seen.add(frame)
            if point is not None:
                truth[frame] = point
    if not truth:
        raise ValueError("no frame in it has a ball")
    return truth


def _each(rows: Iterator[list[str]]) -> Iterator[list[str]]:
    """Return the rows of a CSV.

    Raises:
        ValueError: it is none.
    """
    try:
        yield from rows
    except csv.Error as error:
        raise ValueError(str(error)) from None


def _parse_row(row: list[str], line: int) -> tuple[int, Point | None]:
    """Return a row's frame and point.

    Raises:
        ValueError: it is none.
    """
    try:
        frame, x, y = row
        number = int(frame)
        point = Point(float(x), float(y)) if x or y else None
    except ValueError:
        raise ValueError(f"line {line}: must be frame, x, y: a whole number and two numbers or nothing") from None
    if number < 0 or (point is not None and not all(abs(side) <= MAX_PIXELS for side in point)):
        raise ValueError(f"line {line}: out of range")
    return number, point
