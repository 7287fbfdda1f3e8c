"""The files that a run leaves behind: what became of every frame, and the figures; see common/files.py."""

import csv
import json
from pathlib import Path
from typing import Any

from common.files import WholeFile
from scoring.ledger import FIGURES, Frame

COLUMNS = ("client", "k", "pts", "state", "x", "y", "true_x", "true_y", *FIGURES)


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
