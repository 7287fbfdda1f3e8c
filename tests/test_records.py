"""records.py: a file is there whole, or not at all."""

import csv
import errno
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ball_track import Point
from scoring.ledger import Frame, State
from scoring.records import COLUMNS, LedgerFile, WholeFile, write_summary

OPEN = Frame(3, 9016, 0.1, Point(1.5, 2.25))
FIGURES = 1 / 7, 8.25, 2 / 7, 1 / 9, 1 / 11
SCORED = Frame(4, 12000, 0.2, Point(1 / 3, 2 / 3), State.SCORED, 12007, Point(0.1, 0.2), *FIGURES)


class FullDisk:
    """A text file that takes no more, as /dev/full: every flush fails, and so does closing with data in it."""

    def __init__(self, path: Path) -> None:
        path.touch()
        self._full = Path("/dev/full").open("w", encoding="utf-8")  # noqa: SIM115  # it is closed below

    def __getattr__(self, name: str) -> Any:
        return getattr(self._full, name)


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every file that is opened for writing be on a disk that is full."""
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    real = Path.open

    def opened(self: Path, mode: str = "r", **options: Any) -> Any:
        return FullDisk(self) if "w" in mode and self != Path("/dev/full") else real(self, mode, **options)

    monkeypatch.setattr(Path, "open", opened)


def test_whole_file_appears_when_it_is_closed(tmp_path: Path) -> None:
    """Until then there is nothing under its name; then there is everything, and nothing else."""
    path = tmp_path / "out.txt"
    with WholeFile(path) as file:
        file.write("one\n")
        file.write("zwölf\n")
        assert not path.exists()
    assert path.read_bytes() == "one\nzwölf\n".encode()
    assert list(tmp_path.iterdir()) == [path]
    assert not file.failed


def test_whole_file_leaves_the_old_one_until_it_is_whole(tmp_path: Path) -> None:
    """What was there before is there until the new one takes its place."""
    path = tmp_path / "out.txt"
    path.write_text("old")
    file = WholeFile(path)
    file.write("new")
    assert path.read_text() == "old"
    file.close()
    assert path.read_text() == "new"


def test_whole_file_is_not_there_after_an_exception(tmp_path: Path) -> None:
    """A block that fails leaves the old file, no part of the new one, and its exception goes on."""
    path = tmp_path / "out.txt"
    path.write_text("old")

    def fail() -> None:
        with WholeFile(path) as file:
            file.write("new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_whole_file_close_is_harmless_twice(tmp_path: Path) -> None:
    """A second close, or a write after the first, changes nothing."""
    path = tmp_path / "out.txt"
    file = WholeFile(path)
    file.write("whole")
    file.close()
    file.close()
    file.write("more")
    file.close()
    assert path.read_text() == "whole"
    assert not file.failed


@pytest.mark.parametrize("when", ["write", "close"])
@pytest.mark.usefixtures("full_disk")
def test_whole_file_on_a_full_disk_is_not_there(tmp_path: Path, when: str, caplog: pytest.LogCaptureFixture) -> None:
    """A disk that is full is told in one line, leaves nothing behind, and never raises."""
    path = tmp_path / "out.txt"
    file = WholeFile(path)
    for _ in range(10 if when == "write" else 1):
        file.write("x" * (100_000 if when == "write" else 1))
    assert file.failed == (when == "write")
    file.close()
    file.close()
    assert file.failed
    assert list(tmp_path.iterdir()) == []
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert str(path) in caplog.text
    assert os.strerror(errno.ENOSPC) in caplog.text


@pytest.mark.parametrize("place", ["no/such/folder/out.txt", "file/out.txt", "folder"])
def test_whole_file_that_cannot_be_written_is_told(
    tmp_path: Path, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A folder that is not there, or that is none, or a name that a folder has, costs one line and no exception."""
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    before = sorted(tmp_path.iterdir())
    with WholeFile(tmp_path / place) as file:
        file.write("new")
    assert file.failed
    assert len(caplog.records) == 1
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_whole_file_in_a_folder_without_permission_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """So does a folder that one may not write to."""
    tmp_path.chmod(0o500)
    with WholeFile(tmp_path / "out.txt") as file:
        file.write("new")
    tmp_path.chmod(0o700)
    assert file.failed
    assert len(caplog.records) == 1


def test_ledger_file_holds_every_frame(tmp_path: Path) -> None:
    """A row for each frame, numbers to the last digit, what is not known left empty."""
    path = tmp_path / "ledger.csv"
    file = LedgerFile(path)
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
    assert numbers == [0.1, 0.2, 1 / 3, 2 / 3, *FIGURES]


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
