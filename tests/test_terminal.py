"""terminal.py: what the server prints, in each of its modes."""

import asyncio
import math
import re
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console

from ball_track import Point
from protocol.matching import stamp
from protocol.messages import Found
from scoring import terminal
from scoring.ledger import Frame, Ledger, State, Tally
from scoring.terminal import NEWEST, Terminal, coordinate_line, counts, format_number, summary_line, summary_tables

FRAME = Frame(41, 123456, 1.0, Point(100.25, 200.5), State.SCORED, 7, Point(100.5, 201), 0.559017, 8.125, 1.5)
LINE = "client 3  k 41  x 100.500  y 201.000  true x 100.250  true y 200.500  error 0.559 px  latency 8.125 ms"
EVIL = "[bold red]1.2.3.4[/]:5[/nonsense] [link=http://x]"
DEADLINE = 20.0  # s


def scored() -> Tally:
    """Return the tally of a client of which 9 frames of 10 came back."""
    ledger = Ledger(lambda _: Point(0, 0))
    for k in range(10):
        ledger.sent(Frame(k, stamp(k, 30), k / 30, Point(3, 4)))
    for k in range(9):
        ledger.report(Found(stamp(k, 30), 3.25, 4), k / 30 + 0.01)
    ledger.close("bye")
    return ledger.tally


def printed(*objects: Any) -> str:
    """Return what rich makes of something, as one reads it."""
    console = Console(width=200, highlight=False)
    with console.capture() as capture:
        console.print(*objects)
    return capture.get()


@pytest.fixture(params=[24, 50])
def height(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Let stdout be a terminal, of 80 columns and so many lines."""
    lines = int(request.param)

    def create(**options: Any) -> Console:
        return Console(force_terminal=True, width=80, height=lines, **options)

    monkeypatch.setattr(terminal, "Console", create)
    return lines


async def run_until(running: Terminal, condition: Callable[[], bool]) -> None:
    """Let a terminal print until something is so, and end it as the server does."""
    printing = asyncio.create_task(running.run())
    async with asyncio.timeout(DEADLINE):
        while not condition():  # noqa: ASYNC110  # what is printed sets no event
            await asyncio.sleep(0.01)
    printing.cancel()
    await asyncio.wait([printing])
    assert printing.cancelled()


def test_describe_has_every_figure_of_a_coordinate() -> None:
    """One line tells k, x, y, the truth, the error and the latency."""
    assert coordinate_line(3, FRAME) == LINE


def test_counts_has_every_state() -> None:
    """One line tells how many were sent, and what became of them."""
    assert counts(scored()) == "sent 10  scored 9  missed 0  skipped 0  lost 1  late 0"


def test_format_number_has_a_dash_for_nothing() -> None:
    """What is not known is not nought."""
    assert [format_number(number) for number in (None, 0, 1 / 3, 1234.5678)] == ["-", "0.000", "0.333", "1234.568"]


def test_summary_tables_hold_states_and_figures() -> None:
    """The tables say that the states add up, and give each figure with its unit."""
    became, figures = summary_tables(scored().summary())
    text = printed(became)
    assert "frames sent = scored + missed + skipped + lost" in text
    assert re.findall(r"\d+", text) == ["10", "9", "0", "0", "1", "0", "0", "0"]
    text = printed(figures)
    assert re.search(r"0\.3 s, 30\.00 frames a second", text)
    for name, mean in (
        ("error, px", "0.250"),
        ("latency, ms", "10.000"),
        ("live error, px", f"{math.hypot(3.25, 4):.3f}"),
        ("predicted, px", f"{math.hypot(3.25, 4):.3f}"),
    ):
        row = next(line for line in text.splitlines() if re.search(rf"[│┃] {name}", line))
        assert re.findall(r"[\d.]+", row)[0] == mean
        assert len(re.findall(r"[\d.]+", row)) == 5


def test_summary_line_holds_states_and_figures() -> None:
    """Where nobody sees a table, one line tells what became of the frames, and the figures."""
    assert summary_line(scored().summary()) == (
        "sent 10  scored 9  missed 0  skipped 0  lost 1  unmatched 0  late 0"
        " | error px  p50 0.250  p99 0.250 | latency ms  p50 10.000  p99 10.000"
        f" | live error px  p50 {math.hypot(3.25, 4):.3f}  p99 {math.hypot(3.25, 4):.3f}"
        f" | predicted px  p50 {math.hypot(3.25, 4):.3f}  p99 {math.hypot(3.25, 4):.3f}"
    )
    assert summary_line(Tally().summary()) == "sent 0  scored 0  missed 0  skipped 0  lost 0  unmatched 0  late 0"


def test_summary_is_one_line_where_stdout_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """A client that leaves costs a container's log one line."""
    Terminal("auto", Tally).summary("client 1 from here: bye", scored().summary())
    out = capsys.readouterr().out
    assert out.startswith("client 1 from here: bye | sent 10  scored 9 ")
    assert out.count("\n") == 1


def test_summary_tables_of_nothing_have_dashes() -> None:
    """Where nothing was scored there are no figures, and there is no error."""
    assert printed(*summary_tables(Tally().summary())).count(" - ") == 25


def test_every_prints_each_coordinate_on_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """With --print every a line is there as soon as its coordinate is, however narrow the terminal."""
    running = Terminal("every", Tally)
    running.coordinate(3, FRAME)
    assert capsys.readouterr().out == LINE + "\n"
    running.coordinate(4, FRAME)
    assert capsys.readouterr().out == LINE.replace("client 3", "client 4") + "\n"


async def test_every_prints_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    """The lines are all there is: running ends at once."""
    await Terminal("every", scored).run()
    assert capsys.readouterr().out == ""


async def test_second_prints_counts_and_the_newest(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Into a pipe goes one line after the other, each with the counts and the newest coordinate, in plain text."""
    monkeypatch.setitem(terminal.REFRESH_S, "second", 0.01)
    running = Terminal("auto", scored)
    running.coordinate(3, FRAME)
    out = ""

    def two_lines() -> bool:
        nonlocal out
        out += capsys.readouterr().out
        return out.count("\n") >= 2

    await run_until(running, two_lines)
    assert set(out.splitlines()) == {f"sent 10  scored 9  missed 0  skipped 0  lost 1  late 0 | {LINE}"}


async def test_second_says_nothing_before_the_first_frame(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While nobody watches there is nothing to tell; with frames and no coordinate that is told."""
    monkeypatch.setitem(terminal.REFRESH_S, "second", 0.01)
    tallies = [Tally(), Tally(), Tally()]
    sent = Tally()
    sent.frames["sent"] = 1
    out = ""

    def a_line() -> bool:
        nonlocal out
        out += capsys.readouterr().out
        return "\n" in out

    await run_until(Terminal("second", lambda: tallies.pop() if tallies else sent), a_line)
    assert not tallies
    assert out.splitlines()[0] == "sent 1  scored 0  missed 0  skipped 0  lost 0  late 0 | no coordinate yet"


async def test_live_shows_a_panel_that_fits(
    height: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a terminal there are the newest coordinates and all figures, be it small, and the cursor is given back."""
    monkeypatch.setitem(terminal.REFRESH_S, "live", 0.01)
    running = Terminal("auto", scored)
    for k in range(NEWEST + 5):
        running.coordinate(3, Frame(1000 + k, 0, 0, FRAME.truth, State.SCORED, 0, FRAME.found, 0.125, 8.0, 1.0))
    out = ""

    def shown() -> bool:
        nonlocal out
        out += capsys.readouterr().out
        return "live error" in out

    await run_until(running, shown)
    out += capsys.readouterr().out
    assert "newest coordinates" in out
    assert "frames sent = scored + missed + skipped + lost" in out
    for k in range(NEWEST + 5):
        assert (str(1000 + k) in out) == (k >= 5 + (6 if height == 24 else 0))
    for figure in ("100.250", "200.500", "100.500", "201.000", "0.125", "8.000"):
        assert figure in out
    assert out.count("\x1b[?25l") == out.count("\x1b[?25h") == 1  # the cursor is hidden, and shown again


@pytest.mark.parametrize("mode", ["live", "second", "every"])
@pytest.mark.usefixtures("height")
def test_say_and_summary_take_text_as_it_is(mode: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What a peer calls itself is no markup: it can neither colour a line nor break the printing."""
    running = Terminal(mode, Tally)
    running.say(EVIL)
    running.summary(f"client 1 from {EVIL}: {EVIL}", Tally().summary())
    assert capsys.readouterr().out.count(EVIL) == 3


def test_say_prints_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    """Nor can it ring a bell, go back in the line or clear the screen."""
    Terminal("second", Tally).say("a\x07b\x08c\x0bd")
    out = capsys.readouterr().out
    assert not set(out) & set("\x07\x08\x0b")
