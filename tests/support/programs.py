"""Runs server.py and client.py as a user does: as processes, watched by what they print."""

import csv
import json
import os
import select
from pathlib import Path
from typing import Any

from tools.program import PATIENCE, Program

__all__ = ["PATIENCE", "Program", "is_alive", "read_rows", "read_summary", "run", "wait_until_gone"]


def run(name: str, *args: object, prefix: tuple[str, ...] = ()) -> Program:
    """Run a program of ours, for the length of a with-block."""
    return Program(name, *args, prefix=prefix)


def is_alive(pid: int) -> bool:
    """Return whether a process runs; one that has ended and is not reaped yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in {"Z", "X"}
    except FileNotFoundError:
        return False


def wait_until_gone(pid: int) -> None:
    """Wait until a process has ended, whosever child it is."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        readable, _, _ = select.select([descriptor], [], [], PATIENCE)
        assert readable, f"process {pid} did not end"
    finally:
        os.close(descriptor)


def read_summary(path: Path) -> dict[str, Any]:
    """Return a summary.json, checked to add up."""
    summary: dict[str, Any] = json.loads(path.read_text())
    for part in (summary, *summary["clients"]):
        frames = part["frames"]
        assert frames["sent"] == frames["scored"] + frames["missed"] + frames["skipped"] + frames["lost"]
    for name in ("sent", "scored", "missed", "skipped", "lost", "unmatched"):
        assert summary["frames"][name] == sum(client["frames"][name] for client in summary["clients"])
    return summary


def read_rows(path: Path, client: int | None = None) -> list[dict[str, str]]:
    """Return a client's rows of a CSV, or all, in the order of the frames, checked to tell of each frame once."""
    rows = list(csv.DictReader(path.read_text().splitlines()))
    if client is not None:
        rows = [row for row in rows if row["client"] == str(client)]
    assert len({(row["client"], row["k"]) for row in rows}) == len(rows)
    return sorted(rows, key=lambda row: (int(row["client"]), int(row["k"])))
