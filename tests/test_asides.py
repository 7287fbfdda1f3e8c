"""common/asides.py: lines of a program beside this one."""

import os

import pytest

from common.asides import NOTES, Notes


@pytest.mark.parametrize("ended", [True, False])
async def test_notes_tell_a_last_line_that_has_no_end(monkeypatch: pytest.MonkeyPatch, ended: bool) -> None:
    """What was said last is told at the end, though whoever said it was cut off; and each line once."""
    reading, writing = os.pipe()
    monkeypatch.setenv(NOTES, str(reading))
    told = list[str]()
    notes = Notes(told.append)
    notes.open()
    os.write(writing, b"one\ntwo\nthr")
    if ended:
        os.close(writing)
    notes.close()
    notes.close()
    assert told == ["one", "two", "thr"]
    os.close(reading)
    if not ended:
        os.close(writing)
