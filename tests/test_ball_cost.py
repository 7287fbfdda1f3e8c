"""tools/ball_cost.py: what drawing and finding cost, as a table."""

import re

import pytest

from tools import ball_cost


def test_main_tells_both_costs_of_every_ball(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is a row with two times for each size, colour and radius."""
    monkeypatch.setattr(ball_cost, "RADII", {(64, 64): (3, 32)})
    monkeypatch.setattr(ball_cost, "keep_freed_memory", lambda: None)  # the tests' own process is none of its business
    assert ball_cost.main(["--times", "1"]) == 0
    shown = capsys.readouterr().out
    assert len(re.findall(r"radius (?:3|32) px\D+\d+\.\d{3}\D+\d+\.\d{3}", shown)) == 6


def test_main_refuses_to_measure_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Not even once is wrong usage, and the message names the option."""
    with pytest.raises(SystemExit) as end:
        ball_cost.main(["--times", "0"])
    assert end.value.code == 2
    assert "--times: 0" in capsys.readouterr().err
