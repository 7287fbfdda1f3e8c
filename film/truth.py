"""Where the ball truly is in a video file: a CSV of frame, x, y beside it.

Frames count from 0; x and y are px of the picture as it is shown (upright, with square pixels), and empty where no
ball is to be seen. Spreadsheets write CSV in many ways, and each of them is taken: a mark of the byte order, UTF-16,
blanks, capitals, empty lines and columns, 0.0 for 0; semicolons or tabs, and then a decimal comma.
"""

import argparse
import csv
from collections.abc import Iterator
from pathlib import Path

from ball_track import Point
from protocol.messages import MAX_PIXELS

COLUMNS = ["frame", "x", "y"]
MAX_FRAME = 2**53  # up to which whole numbers may be written as 0.0


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
        ValueError: it is no such CSV; the text names the line and says why.
        OSError: it cannot be read.
    """
    truth: dict[int, Point] = {}
    lines: dict[int, int] = {}  # of each frame
    may_be_names = True
    for line, row in _rows(path.read_bytes()):
        if may_be_names and [cell.casefold() for cell in row] == COLUMNS:
            may_be_names = False
            continue
        may_be_names = False
        try:
            frame, point = _parse_row(row)
            if frame in lines:
                raise ValueError(f"frame {frame} for the second time, after line {lines[frame]}")
        except ValueError as error:
            raise ValueError(f"line {line}: {error}") from None
        lines[frame] = line
        if point is not None:
            truth[frame] = point
    if not truth:
        raise ValueError("no frame in it has a ball")
    return truth


def _rows(data: bytes) -> Iterator[tuple[int, list[str]]]:
    """Return the rows of a CSV that are not empty, each with its line's number; cells without blanks around them.

    Raises:
        ValueError: it is none.
    """
    text = _decode(data)
    delimiter = next((each for each in "\t;" if each in text), ",")
    rows = csv.reader(text.splitlines(keepends=True), delimiter=delimiter)
    try:
        for row in rows:
            cells = [cell.strip() for cell in row]
            while len(cells) > len(COLUMNS) and not cells[-1]:
                cells.pop()
            if any(cells):
                yield rows.line_num, [cell.replace(",", ".") for cell in cells] if delimiter != "," else cells
    except csv.Error as error:
        raise ValueError(f"line {rows.line_num}: {error}") from None


def _decode(data: bytes) -> str:
    """Return a file's text.

    Raises:
        ValueError: it is none.
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", errors="replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(f"line {line}: byte {data[error.start]:#x} is no UTF-8") from None


def _parse_row(row: list[str]) -> tuple[int, Point | None]:
    """Return a row's frame and point.

    Raises:
        ValueError: it is none.
    """
    if len(row) != len(COLUMNS):
        raise ValueError(f"{len(row)} columns; must be frame, x, y")
    frame, x, y = row
    number = _number("frame", frame)
    if not number.is_integer():
        raise ValueError(f"frame {frame!r} is no whole number")
    if not 0 <= number <= MAX_FRAME:
        raise ValueError(f"frame {frame} is out of range: they count from 0")
    if not x and not y:
        return int(number), None
    point = Point(_number("x", x), _number("y", y))
    for name, cell, side in (("x", x, point.x), ("y", y, point.y)):
        if not abs(side) <= MAX_PIXELS:  # nor is it nan
            raise ValueError(f"{name} {cell} is out of range: at most {MAX_PIXELS:g} px")
    return int(number), point


def _number(name: str, cell: str) -> float:
    """Return the number in a cell.

    Raises:
        ValueError: there is none.
    """
    try:
        return float(cell)
    except ValueError:
        raise ValueError(f"{name} {cell!r} is no number" if cell else f"{name} is missing") from None
