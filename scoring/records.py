"""The files that a run leaves behind: written whole, or not at all.

A file is written under a name of its own beside the final one, and takes the final name when it is complete.
A disk that is full or a folder that is not there costs one line on stderr and the exit status, never the run.
"""

import contextlib
import csv
import json
import logging
import os
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from scoring.ledger import FIGURES, Frame

logger = logging.getLogger(__name__)

COLUMNS = ("client", "k", "pts", "state", "x", "y", "true_x", "true_y", *FIGURES)


class WholeFile:
    """A text file that appears under its name when it is closed in order, complete.

    `failed` says that it could not be written; it has been told in one line by then, and every further
    write is passed over.
    """

    def __init__(self, path: Path) -> None:
        self.failed = False
        self._path = path
        self._part = path.with_name(f".{path.name}.{os.getpid()}.part")
        self._file: TextIO | None = None
        try:
            self._file = self._part.open("w", newline="", encoding="utf-8")
        except OSError as error:
            self._fail(error)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._discard()

    def write(self, text: str) -> None:
        """Write text, as a file does."""
        if self._file is None:
            return
        try:
            self._file.write(text)
        except OSError as error:
            self._fail(error)

    def close(self) -> None:
        """Give the file its name. Does nothing the second time."""
        if self._file is None:
            return
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._part.replace(self._path)
            self._file = None
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError) -> None:
        self.failed = True
        logger.error("cannot write %s: %s", self._path, error.strerror or error)
        self._discard()

    def _discard(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):  # closing flushes, and fails again where the disk is full
                file.close()
            self._part.unlink(missing_ok=True)


class LedgerFile:
    """The CSV of all frames of all clients, a row each as they leave their ledgers; see COLUMNS."""

    def __init__(self, path: Path) -> None:
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
        self._rows.writerow((client, frame.k, frame.pts, frame.state, *found, *(frame.truth or (None, None)), *figures))

    def close(self) -> None:
        """Give the file its name. Does nothing the second time."""
        self._file.close()


def write_summary(path: Path, summary: dict[str, Any]) -> bool:
    """Write summary.json; return whether that went well."""
    with WholeFile(path) as file:
        file.write(json.dumps(summary, indent=2, allow_nan=False) + "\n")
    return not file.failed
