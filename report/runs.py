"""What a run left behind, read again: its summary.json and its CSV.

A run is a folder as `server.py --out` makes it, or a summary and its CSV. Where the server was killed, or still runs,
both have names of their own yet (common/files.py), and may be cut off: what there is of them is read.
"""

import contextlib
import csv
import io
import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.files import drafts_of

STATES = ("scored", "missed", "skipped", "lost")
FIGURES = {"latency_ms": "latency, ms", "error_px": "error, px", "live_error_px": "live error, px"}
NUMBERS = ("client", "k", "pts", "x", "y", "true_x", "true_y", *FIGURES)
DRAFT = re.compile(r"\.(.+)\.[0-9a-f]+\.part")  # the name of what is not finished: common/files.py
CLOCK_RATE = 90_000  # ticks of a pts in a second

Column = NDArray[np.float64]


class ReportError(Exception):
    """A run cannot be read; the text says which file, and why."""


@dataclass(frozen=True)
class Frames:
    """The rows of a run's CSV, by column; nan where a row has no number.

    numbers: column: (N,) float64, for each of NUMBERS; states: (N,) index into STATES, -1 for another.
    """

    numbers: dict[str, Column]
    states: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.states)

    def __getitem__(self, name: str) -> Column:
        return self.numbers[name]

    def where(self, chosen: NDArray[np.bool_]) -> "Frames":
        """Return those rows that are chosen, (N,) bool."""
        return Frames({name: values[chosen] for name, values in self.numbers.items()}, self.states[chosen])

    @property
    def clients(self) -> list[int]:
        """Return the numbers of the clients, rising."""
        return [int(client) for client in np.unique(self["client"])]

    @property
    def seconds(self) -> Column:
        """Return when each frame was due, (N,), s since the first of all."""
        pts = self["pts"]
        return (pts - pts.min()) / CLOCK_RATE if len(pts) else pts


@dataclass(frozen=True)
class Run:
    """One run. name: its folder's or its summary's; summary: {} where there is none; frames: none without a CSV.

    over: whether the summary is that of its end.
    """

    name: str
    summary: dict[str, Any]
    frames: Frames
    over: bool = True

    @property
    def size(self) -> tuple[int, int] | None:
        """Return the film's width and height, px, if they are known."""
        width, _, height = str(self.summary.get("size")).partition("x")
        return (int(width), int(height)) if width.isdigit() and height.isdigit() else None

    @property
    def settings(self) -> dict[str, str]:
        """Return all that the summary tells of how the run was made, by name, as texts."""
        told = self.summary.get("settings")
        names: dict[str, Any] = {
            name: self.summary[name] for name in ("size", "transport", "codec") if name in self.summary
        }
        return _flat(names | self._of_clients() | (told if isinstance(told, dict) else {}))

    def _of_clients(self) -> dict[str, Any]:
        """Return how the clients were started, in their own words, where all say the same."""
        clients = self.summary.get("clients")
        told = [each.get("about") for each in clients if isinstance(each, dict)] if isinstance(clients, list) else []
        words = {each for each in told if isinstance(each, str)}
        return {"client": words.pop()} if len(words) == 1 else {}


def read_runs(paths: Sequence[Path]) -> list[Run]:
    """Return the runs at these places: folders, and summaries each followed by its CSV.

    Raises:
        ReportError: one cannot be read.
    """
    runs = list[Run]()
    rest = list(paths)
    while rest:
        path = _finished(rest.pop(0))
        if path.is_dir():
            runs.append(_read_folder(path))
            continue
        follows = _finished(rest[0]).suffix == ".csv" if rest else False
        table = _finished(rest.pop(0)) if path.suffix == ".json" and follows else None
        if path.suffix == ".csv":
            runs.append(Run(str(path), {}, _read_table(path), over=False))
        else:
            summary, over = _read_newest(path)
            runs.append(Run(str(path), summary, _read_table(table) if table else no_frames(), over))
    return runs


def _read_folder(folder: Path) -> Run:
    files = summary, table = folder / "summary.json", folder / "frames.csv"
    if not any(_newest(path) for path in files):
        raise ReportError(f"{folder}: has neither summary.json nor frames.csv: not a run's folder")
    told, over = _read_newest(summary) if _newest(summary) else ({}, False)
    return Run(str(folder), told, _read_table(table) if _newest(table) else no_frames(), over)


def _finished(path: Path) -> Path:
    """Return the name that a file gets, or would have got, at the end."""
    draft = DRAFT.fullmatch(path.name)
    return path.with_name(draft[1]) if draft else path


def _newest(path: Path) -> list[Path]:
    """Return what there is of a file, the newest first: itself, and what a killed server has left instead."""
    if path.exists():
        return [*drafts_of(path.resolve(), after=path.stat().st_mtime_ns), path]
    return drafts_of(path.resolve())


def _read_newest(path: Path) -> tuple[dict[str, Any], bool]:
    """Return the newest summary that is whole, and whether it is that of a run's end.

    Raises:
        ReportError: it cannot be read.
    """
    before = list[Path]()
    while True:
        drafts = _newest(path)
        if not drafts or drafts[0] == path:
            return read_summary(path), True
        for draft in drafts:
            if draft != path:
                with contextlib.suppress(ReportError):
                    return read_summary(draft), False
        if drafts == before:  # else the server may have begun the next one meanwhile, and ended the last
            return {}, False
        before = drafts


def _read_table(path: Path) -> Frames:
    """Return the newest rows that there are.

    Raises:
        ReportError: they cannot be read.
    """
    while True:
        newest = next(iter(_newest(path)), path)
        try:
            return read_frames(newest, broken=newest != path)
        except ReportError:
            if newest == path or newest.exists() or newest.is_symlink():  # else the server has named it
                raise


def read_summary(path: Path) -> dict[str, Any]:
    """Return a summary.json.

    Raises:
        ReportError: it cannot be read.
    """
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ReportError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    if not isinstance(summary, dict):
        raise ReportError(f"{path}: is no summary")
    return summary


def no_frames() -> Frames:
    """Return the rows of no CSV."""
    return Frames({name: np.empty(0) for name in NUMBERS}, np.empty(0, np.int64))


def read_frames(path: Path, broken: bool = False) -> Frames:
    """Return the rows of a CSV.

    Args:
        path: where it is.
        broken: whether it was never finished: its last row, or its first, may be cut off.

    Raises:
        ReportError: it cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
        rows = list(csv.reader(io.StringIO(text)))
    except (OSError, ValueError, csv.Error) as error:
        raise ReportError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    heads = rows.pop(0) if rows else []
    if missing := [name for name in ("state", *NUMBERS) if name not in heads]:
        if broken:
            return no_frames()
        raise ReportError(f"{path}: has no column {', '.join(missing)}")
    if rows and not text.endswith("\n") and (broken or len(rows[-1]) != len(heads)):
        rows.pop()
    if wrong := next((i for i, row in enumerate(rows, 2) if len(row) != len(heads)), None):
        raise ReportError(f"{path}: line {wrong} has not the columns of the first")
    columns = dict(zip(heads, zip(*rows, strict=True), strict=True)) if rows else dict.fromkeys(heads, ())
    try:
        numbers = {name: np.array([float(text or "nan") for text in columns[name]]) for name in NUMBERS}
    except ValueError as error:
        raise ReportError(f"{path}: {error}") from None
    if not all(np.isfinite(numbers[name]).all() for name in ("client", "k", "pts")):
        raise ReportError(f"{path}: a row has no client, k or pts")
    codes = {state: code for code, state in enumerate(STATES)}
    states = np.array([codes.get(state, -1) for state in columns["state"]], np.int64)
    order = np.lexsort((numbers["k"], numbers["client"]))  # lost frames come later than those after them
    return Frames({name: values[order] for name, values in numbers.items()}, states[order])


def _flat(values: dict[str, Any], before: str = "") -> dict[str, str]:
    flat = dict[str, str]()
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{before}{name}.")
        else:
            join = shlex.join if name == "command" else " ".join
            flat[f"{before}{name}"] = join(map(str, value)) if isinstance(value, list) else str(value)
    return flat
