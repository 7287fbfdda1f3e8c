"""The files that a run leaves behind: what became of every frame, and the figures; see common/files.py."""

import csv
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common.files import Draft, WholeFile, replaces
from scoring.tally import FIGURES, Frame

COLUMNS = ("client", "k", "pts", "state", "x", "y", "true_x", "true_y", *FIGURES, "seconds")


class LedgerFile:
    """The CSV of all frames of all clients, a row each as soon as its state is final; see COLUMNS.

    Args:
        path: of the file.
        began: s of the film's clock, from which the frames' `seconds` are counted.
    """

    def __init__(self, path: Path, began: float = 0.0) -> None:
        self._began = began
        self._file = WholeFile(path)
        self._rows = csv.writer(self._file, lineterminator="\n")
        self._rows.writerow(COLUMNS)

    @property
    def failed(self) -> bool:
        """Return whether it could not be written."""
        return self._file.failed

    def write(self, client: int, frame: Frame) -> None:
        """Write one frame; numbers unrounded, what is not known left empty."""
        found = frame.found or (None, None)
        figures = (getattr(frame, figure) for figure in FIGURES)
        true, seconds = frame.truth or (None, None), frame.drawn - self._began
        self._rows.writerow((client, frame.k, frame.pts, frame.state, *found, *true, *figures, seconds))

    def flush(self) -> None:
        """Let what is written outlive this process."""
        self._file.flush()

    def close(self) -> None:
        """Give the file its name. Does nothing the second time."""
        self._file.close()


def write_summary(path: Path, summary: dict[str, Any]) -> bool:
    """Write summary.json; return whether that went well."""
    with WholeFile(path) as file:
        file.write(_json(summary))
    return not file.failed


def _json(summary: dict[str, Any]) -> str:
    return json.dumps(summary, indent=2, allow_nan=False) + "\n"


class Records:
    """Both files of a run, each where it was asked for.

    Nothing is touched before `open`: the port may not be had, and there is no run at all.

    Args:
        summary: where summary.json goes; None: nowhere.
        csv: where the CSV goes.
        folder: in which both are, if somebody asked for that.
        clock: returns monotonic seconds, those of the frames.
    """

    def __init__(
        self,
        summary: Path | None,
        csv: Path | None,
        folder: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._summary, self._csv, self._folder = summary, csv, folder
        self._rows: LedgerFile | None = None
        self._draft = Draft(summary) if summary is not None else None

    def open(self, say: Callable[[str], None]) -> None:
        """Begin the CSV, and say what will be replaced."""
        files = (("--csv", self._csv), ("--summary", self._summary))
        replaced = [(option, path) for option, path in files if path is not None and replaces(path)]
        if replaced and self._folder is not None:
            replaced = [("--out", self._folder)]
        for option, path in replaced:
            say(f"{option}: {path} is there already; the end of this run replaces it")
        if self._csv is not None:
            self._rows = LedgerFile(self._csv, self._clock())

    def write(self, client: int, frame: Frame) -> None:
        """Write a frame whose state is final."""
        if self._rows is not None:
            self._rows.write(client, frame)

    def flush(self) -> None:
        """Let the rows so far outlive this process."""
        if self._rows is not None:
            self._rows.flush()

    def draft(self, summary: dict[str, Any]) -> None:
        """Keep the summary so far, for when this process is killed."""
        if self._draft is not None:
            self._draft.write(_json(summary))

    def close(self, summary: dict[str, Any]) -> bool:
        """Write what is left; return whether all went well."""
        if self._rows is not None:
            self._rows.close()
        written = self._rows is None or not self._rows.failed
        written = (self._summary is None or write_summary(self._summary, summary)) and written
        if self._draft is not None:
            self._draft.close()
        return written
