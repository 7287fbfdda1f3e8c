"""common/remaining.py: how far something is, in a terminal and in a pipe."""

import io

from rich.console import Console

from common.remaining import Remaining


def test_a_pipe_gets_a_line_for_each_step() -> None:
    """Each step is said once, with how many there are; the last promises no more time."""
    file = io.StringIO()
    with Remaining("runs", 2, 100.0, Console(file=file)) as remaining:
        assert 190 < (remaining.left() or 0) <= 200
        remaining.done("first")
        remaining.done("second")
    first, second = file.getvalue().splitlines()
    assert first.startswith("first  [1 of 2, about ")
    assert second == "second  [2 of 2]"


def test_nothing_is_promised_before_anything_is_known() -> None:
    """Without an estimate the time that is left is unknown until a step is done."""
    with Remaining("runs", 3, console=Console(file=io.StringIO())) as remaining:
        assert remaining.left() is None
        remaining.done()
        assert remaining.left() is not None


def test_a_terminal_gets_a_bar_that_goes_away() -> None:
    """A bar shows the time that is left; what is said of a step stays, the bar does not."""
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=70, legacy_windows=False)
    with Remaining("runs", 2, 100.0, console) as remaining:
        remaining.done("first [with brackets]")
        remaining.pause()
        console.print("a table")
        remaining.resume()
    text = file.getvalue()
    assert "first [with brackets]" in text
    assert "1 of 2" in text
    assert " left" in text
    assert text.endswith("\x1b[2K")  # the bar's line is erased
