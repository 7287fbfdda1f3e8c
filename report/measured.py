"""What was measured, kept: one JSON file for each part of a benchmark, from which tables and plots are made again."""

import hashlib
import json
import math
import os
import platform
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from common.files import WholeFile
from common.versions import versions
from report.comparing import Interval, Row
from report.runs import ReportError
from report.tables import Results

LIBRARIES = ("aiortc", "av", "opencv-python", "opencv-python-headless", "numpy")  # of OpenCV one is there
DIGITS = 6  # that count, of each value


@dataclass(frozen=True)
class Measured:
    """One part's results. command: what makes them again; date: when, UTC; machine: what it is, by name."""

    part: str
    command: str
    date: str
    machine: Mapping[str, str]
    results: Results

    @property
    def where(self) -> str:
        """Return when, where and how it was measured, as a sentence of Markdown."""
        cores = self.machine.get("cores", "?")
        names = ("processor", "system", "python", *LIBRARIES)
        told = [f"{'' if name in {'processor', 'system'} else name + ' '}{self.machine[name]}" for name in names
                if name in self.machine]  # fmt: skip
        return f"`{self.command}`, {self.date}, {cores} cores ({', '.join(told)})."

    @property
    def digest(self) -> str:
        """Return what tells these results from others, for the plots made of them."""
        return hashlib.sha256(json.dumps(self.results, sort_keys=True).encode()).hexdigest()[:16]


def take(part: str, command: str, results: Results) -> Measured:
    """Return results as what was measured here and now, their values rounded."""
    rounded = {
        case: {name: [float(f"{value:.{DIGITS}g}") for value in values] for name, values in figures.items()}
        for case, figures in results.items()
    }
    return Measured(part, command, f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC", machine(), rounded)


def save(measured: Measured, folder: Path) -> bool:
    """Write it into a folder, under its part's name; return whether that went well."""
    with WholeFile(folder / f"{measured.part}.json") as file:
        file.write(json.dumps(vars(measured), indent=1, ensure_ascii=False) + "\n")
    return not file.failed


def read(path: Path) -> Measured:
    """Return what was kept in a file.

    Raises:
        ReportError: it cannot be read.
    """
    try:
        kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return Measured(**kept)
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise ReportError(f"{path}: {getattr(error, 'strerror', None) or error}") from None


def is_kept(path: Path) -> bool:
    """Return whether a file has results, and is no summary of a run."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8")) if path.suffix == ".json" else None
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(kept, dict) and {"part", "results"} <= kept.keys()


def differences(base: Measured, other: Measured) -> list[Row]:
    """Return each figure of each case that both have, by the medians of their rounds."""
    rows = []
    for case, figures in base.results.items():
        for figure, values in figures.items():
            others = other.results.get(case, {}).get(figure)
            if values and others:
                before, now = statistics.median(values), statistics.median(others)
                ratio = Interval(now / before if before else math.nan)
                rows.append(Row(f"{case}: {figure}", before, now, Interval(now - before), ratio))
    return rows


def machine() -> dict[str, str]:
    """Return what is measured on."""
    cpuinfo = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    models = [line.partition(":")[2].strip() for line in cpuinfo.splitlines() if line.startswith("model name")]
    return {
        "processor": models[0] if models else platform.machine(),
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}",
        **versions(),
    }
