"""scoring/records.py: what became of every frame, and the figures, to the last digit."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ball_track import Point
from scoring.records import COLUMNS, LedgerFile, Records, write_summary
from scoring.tally import Frame, State

OPEN = Frame(3, 9016, 0.1, Point(1.5, 2.25))
FIGURES = 1 / 7, 8.25, 2 / 7, 1 / 9, 1 / 11
SCORED = Frame(4, 12000, 0.2, Point(1 / 3, 2 / 3), State.SCORED, 12007, Point(0.1, 0.2), *FIGURES)


def test_ledger_file_holds_every_frame(tmp_path: Path) -> None:
    """A row for each frame, numbers to the last digit, what is not known left empty."""
    path = tmp_path / "ledger.csv"
    file = LedgerFile(path, began=0.05)
    file.write(1, OPEN)
    file.write(2, SCORED)
    file.close()
    file.close()
    assert not file.failed
    with path.open(newline="") as text:
        rows = list(csv.DictReader(text))
    assert tuple(rows[0]) == COLUMNS
    assert [row["client"] for row in rows] == ["1", "2"]
    assert rows[0]["state"] == "open"
    assert {name for name, value in rows[0].items() if not value} == {
        "x", "y", "error_px", "latency_ms", "live_error_px", "predicted_error_px", "predicted_walls_error_px",
    }  # fmt: skip
    assert (rows[1]["state"], int(rows[1]["k"]), int(rows[1]["pts"])) == ("scored", 4, 12000)
    numbers = [float(rows[1][name]) for name in COLUMNS[4:]]
    assert numbers == [0.1, 0.2, 1 / 3, 2 / 3, *FIGURES, 0.2 - 0.05]


@pytest.mark.usefixtures("full_disk")
def test_ledger_file_on_a_full_disk_does_not_stop_the_run(tmp_path: Path) -> None:
    """Rows go on being written, to nowhere, and at the end one is told that it failed."""
    file = LedgerFile(tmp_path / "ledger.csv")
    for _ in range(1000):
        file.write(1, SCORED)
    file.close()
    assert file.failed
    assert list(tmp_path.iterdir()) == []


def test_write_summary_writes_json(tmp_path: Path) -> None:
    """What is read is what was written, numbers unrounded."""
    path = tmp_path / "summary.json"
    summary = {"frames": {"sent": 3}, "error_px": {"mean": 1 / 3}, "latency_ms": None, "clients": [{"peer": "a:1"}]}
    assert write_summary(path, summary)
    assert json.loads(path.read_text()) == summary
    assert path.read_text().endswith("}\n")


def test_write_summary_writes_no_invalid_json(tmp_path: Path) -> None:
    """JSON has no nan: a summary with one in it is a mistake of ours, and leaves no file."""
    with pytest.raises(ValueError, match="JSON"):
        write_summary(tmp_path / "summary.json", {"error_px": float("nan")})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", [lambda folder: folder / "no" / "summary.json", lambda folder: folder])
def test_write_summary_tells_that_it_failed(tmp_path: Path, place: Callable[[Path], Path]) -> None:
    """Its result is what the exit status is made of."""
    assert not write_summary(place(tmp_path), {})


@pytest.mark.parametrize("folder", [True, False])
def test_records_say_once_what_they_replace(tmp_path: Path, folder: bool) -> None:
    """Files of their own are named one by one; of a folder that has a run, the folder."""
    summary, table, said = tmp_path / "summary.json", tmp_path / "frames.csv", list[str]()
    for _ in range(2):
        records = Records(summary, table, tmp_path if folder else None)
        records.open(said.append)
        assert records.close({})
    assert [line.split(":")[0] for line in said] == (["--out"] if folder else ["--csv", "--summary"])
