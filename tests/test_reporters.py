"""tools/reporters.py: where nothing was reported there is no figure, and that is what is said."""

import asyncio
from pathlib import Path

import pytest

from tools import reporters
from tools.program import Program


def test_reporters_say_that_nothing_was_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A film of which no frame came divides nothing by nought: one line, status 1; a run that is kept stays."""

    async def report(_port: int, _lines: int, _seconds: float, server: Program) -> tuple[float, float]:
        await asyncio.to_thread(server.wait_for, "filming")
        return 0.0, 0.0

    monkeypatch.setattr(reporters, "report", report)
    assert reporters.main(["--clients", "2", "--seconds", "1", "--keep", str(tmp_path)]) == 1
    assert "reporters: error: 2 lines: nothing was reported" in capsys.readouterr().err
    kept = {path.name for path in (tmp_path / "2-clients").iterdir()}
    assert kept >= {"summary.json", "frames.csv"}
