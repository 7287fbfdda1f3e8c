"""tools/reporters.py: where nothing was reported there is no figure, and that is what is said."""

import asyncio

import pytest

from tools import reporters
from tools.program import Program


def test_reporters_say_that_nothing_was_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A film of which no frame came divides nothing by nought: one line, status 1."""

    async def report(_port: int, _lines: int, _seconds: float, server: Program) -> tuple[float, float]:
        await asyncio.to_thread(server.wait_for, "filming")
        return 0.0, 0.0

    monkeypatch.setattr(reporters, "report", report)
    assert reporters.main(["--clients", "2", "--seconds", "1"]) == 1
    assert "reporters: error: 2 lines: nothing was reported" in capsys.readouterr().err
