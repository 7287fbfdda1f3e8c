"""terminal.py, panel.py and wording.py: what the server prints, in each of its modes, on terminals of any size."""

import asyncio
import io
import logging
import math
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console, RenderableType

from ball_track import Point
from common.asides import log_to
from protocol.matching import stamp
from protocol.messages import Found
from scoring import terminal
from scoring.ledger import Ledger
from scoring.panel import NEWEST, Scene, panel
from scoring.tally import Frame, State, Tally
from scoring.terminal import Terminal
from scoring.wording import (
    coordinate_line,
    counts,
    counts_table,
    figures_table,
    format_number,
    headline,
    summary_line,
)
from support.programs import run
from support.tty import in_terminal
from tools.procfs import free_port

FRAME = Frame(41, 123456, 1.0, Point(100.25, 200.5), State.SCORED, 7, Point(100.5, 201), 0.559017, 8.125, 1.5)
LINE = "client 3  k 41  x 100.500  y 201.000  true x 100.250  true y 200.500  error 0.559 px  latency 8.125 ms"
EVIL = "[bold red]1.2.3.4[/]:5[/nonsense] [link=http://x]"
DEADLINE = 120.0  # s
AWAY = "\x1b[?1049l"  # the panel's screen is left


def scored() -> Tally:
    """Return the tally of a client of which 9 frames of 10 came back."""
    ledger = Ledger(lambda _: Point(0, 0))
    for k in range(10):
        ledger.sent(Frame(k, stamp(k, 30), k / 30, Point(3, 4)))
    for k in range(9):
        ledger.report(Found(stamp(k, 30), 3.25, 4), k / 30 + 0.01)
    ledger.close("bye")
    return ledger.tally


def one() -> dict[int, Tally]:
    """Return that one client is here."""
    return {3: scored()}


def printed(*objects: RenderableType, width: int = 200, height: int = 50) -> str:
    """Return what rich makes of something, as one reads it."""
    console = Console(width=width, height=height, highlight=False, file=io.StringIO())
    with console.capture() as capture:
        console.print(*objects)
    return capture.get()


def scene(clients: int = 1, notes: int = 0) -> Scene:
    """Return what a panel shows of some clients, the newest coordinates all of the first one."""
    frames = [Frame(1000 + k, 0, 0, FRAME.truth, State.SCORED, 0, FRAME.found, 0.125, 8.0, 1.0) for k in range(NEWEST)]
    where = "filming at 127.0.0.1:1234, for browsers at http://127.0.0.1:8080/; stop with Ctrl-C"
    here = dict.fromkeys(range(1, clients + 1), scored())
    said = [f"note {n} {'x' * 200}" for n in range(notes)]
    return Scene(where, scored(), here, 0, [(1, frame) for frame in frames], said)


def shown(scene: Scene, width: int, height: int) -> str:
    """Return the panel on a terminal of some size."""
    return printed(panel(scene, Console(width=width, height=height)), width=width, height=height)


def create_console(term: str = "xterm") -> Callable[..., Console]:
    """Return what makes the console of a terminal."""

    def create(**options: Any) -> Console:
        return Console(force_terminal=True, width=80, height=24, _environ={"TERM": term}, **options)

    return create


@pytest.fixture
def console(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let stdout be a terminal."""
    monkeypatch.setattr(terminal, "Console", create_console())


async def run_until(running: Terminal, condition: Callable[[], bool]) -> None:
    """Let a terminal print until something is so, and end it as the server does."""
    printing = asyncio.create_task(running.run())
    async with asyncio.timeout(DEADLINE):
        while not condition():  # noqa: ASYNC110  # what is printed sets no event
            await asyncio.sleep(0.01)
    printing.cancel()
    await asyncio.wait([printing])
    assert printing.cancelled()


# --- Words ---------------------------------------------------------------------------------------


def test_describe_has_every_figure_of_a_coordinate() -> None:
    """One line tells k, x, y, the truth, the error and the latency."""
    assert coordinate_line(3, FRAME) == LINE


def test_counts_has_every_state() -> None:
    """One line tells how many were sent, and what became of them."""
    assert counts(scored()) == "sent 10  scored 9  missed 0  skipped 0  lost 1  late 0"


def test_format_number_has_a_dash_for_nothing() -> None:
    """What is not known is not nought."""
    assert [format_number(number) for number in (None, 0, 1 / 3, 1234.5678)] == ["-", "0.000", "0.333", "1234.568"]


def test_tables_hold_states_and_figures() -> None:
    """The tables say what became of the frames, and give each figure with its unit."""
    names, numbers = printed(counts_table(scored().summary())).splitlines()
    assert names.split() == ["sent", "scored", "missed", "skipped", "lost", "unmatched", "rejected", "late"]
    assert numbers.split() == ["10", "9", "0", "0", "1", "0", "0", "0"]
    text = printed(figures_table(scored().summary()))
    for name, mean in (
        ("error, px", "0.250"),
        ("latency, ms", "10.000"),
        ("live error, px", f"{math.hypot(3.25, 4):.3f}"),
        ("predicted, px", f"{math.hypot(3.25, 4):.3f}"),
    ):
        row = next(line for line in text.splitlines() if line.startswith(name))
        assert re.findall(r"[\d.]+", row)[0] == mean
        assert len(re.findall(r"[\d.]+", row)) == 5


def test_tables_fit_60_columns_whatever_they_hold() -> None:
    """Neither a million frames nor an error of a hundred thousand pixels costs a digit that counts."""
    summary = scored().summary()
    for state in ("sent", "scored"):
        summary["frames"][state] = 1234567
    for figure in ("error_px", "latency_ms"):
        summary[figure] = dict.fromkeys(("mean", "p50", "p95", "p99", "max"), 123456.789)
    text = printed(counts_table(summary), figures_table(summary), width=60)
    assert text.count("1234567") == 2
    assert text.count("123456.8") == 10
    assert "…" not in text
    assert all(len(line) <= 60 for line in text.splitlines())
    assert len(text.splitlines()) == 8


def test_figures_of_nothing_are_dashes() -> None:
    """Where nothing was scored there are no figures, and there is no error."""
    assert len(re.findall(r" -\b|-$| -", printed(figures_table(Tally().summary())))) == 25


def test_headline_tells_the_rate_of_each_client() -> None:
    """Two clients of 30 frames a second are no client of 60."""
    assert headline(scored().summary()) == "0.3 s, 30.00 frames a second"
    together = {**scored().summary(), "fps": 60.0, "clients": [scored().summary(), scored().summary()]}
    assert headline(together) == "0.3 s, 30.00 frames a second to each client"


def test_summary_line_tells_what_was_read_in_pictures() -> None:
    """Of one who watches a camera, a screen or a URL the line has what its pictures were."""
    tally = Tally()
    tally.watched.update({"pictures": 8, "again": 3, "mixed": 1})
    tally.unjudged = 2
    told = "late 0 | pictures 8  again 3  unread 0  mixed 1  torn 0  foreign 0  unjudged 2"
    assert summary_line(tally.summary()).endswith(told)


def test_summary_line_holds_states_and_figures() -> None:
    """Where nobody sees a table, one line tells what became of the frames, and the figures."""
    assert summary_line(scored().summary()) == (
        "sent 10  scored 9  missed 0  skipped 0  lost 1  unmatched 0  late 0"
        " | error px  p50 0.250  p99 0.250 | latency ms  p50 10.000  p99 10.000"
        f" | live error px  p50 {math.hypot(3.25, 4):.3f}  p99 {math.hypot(3.25, 4):.3f}"
        f" | predicted px  p50 {math.hypot(3.25, 4):.3f}  p99 {math.hypot(3.25, 4):.3f}"
    )
    assert summary_line(Tally().summary()) == "sent 0  scored 0  missed 0  skipped 0  lost 0  unmatched 0  late 0"


# --- The panel -----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(60, 15), (80, 24), (120, 40), (200, 100)])
@pytest.mark.parametrize("clients", [0, 1, 2, 50])
@pytest.mark.parametrize("notes", [0, 9])
def test_panel_fits_and_holds_every_figure(size: tuple[int, int], clients: int, notes: int) -> None:
    """At any size from 60 x 15 the figures are whole, and nothing is cut off, at the right or below."""
    lines = shown(scene(clients, notes), *size).splitlines()
    assert len(lines) <= size[1]
    assert all(len(line) <= size[0] for line in lines)
    text = "\n".join(line for line in lines if not line.startswith("note"))
    assert "…" not in text
    for told in ("127.0.0.1:1234", "http://127.0.0.1:8080/", f"{clients or 'no'} client", "sent", "lost"):
        assert told in text
    for figure in ("error, px", "latency, ms", "live error, px", "predicted, px", "with walls, px"):
        assert figure in text
    assert any(line.startswith("note") for line in lines) == bool(notes)


@pytest.mark.parametrize(("size", "rows"), [((60, 15), 3), ((60, 16), 4), ((80, 24), NEWEST), ((120, 40), NEWEST)])
def test_panel_shows_the_newest_coordinates_as_room_is_left(size: tuple[int, int], rows: int) -> None:
    """The figures first: three coordinates on 15 lines, and those the newest."""
    text = shown(scene(), *size)
    assert re.findall(r"\b10\d\d\b", text) == [str(1000 + k) for k in range(NEWEST - rows, NEWEST)]
    for figure in ("100.500", "201.000", "0.125", "8.000"):
        assert figure in text
    assert ("true x" in text) == (size[0] >= 80) == ("100.250" in text)


def test_panel_has_a_row_for_each_of_several_clients() -> None:
    """Frames a second, counts and medians are each client's own."""
    text = shown(scene(clients=3), 80, 30)
    assert "3 clients, 30.00 frames a second to each" in text
    assert len(re.findall(r"^ +[123] 30\.00 +10 +9 +0 +1 +0\.250 +(?:10\.0|9\.9)", text, re.MULTILINE)) == 3


def test_panel_takes_what_is_said_as_it_is() -> None:
    """What a peer calls itself is no markup there, and no control character moves the cursor."""
    text = shown(scene()._replace(notes=[EVIL + "\x07\x08\x0b"]), 120, 40)
    assert EVIL in text
    assert not set(text) & set("\x07\x08\x0b")


@pytest.mark.usefixtures("console")
async def test_live_fills_the_terminal_and_leaves_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The panel is on the other screen, which is left; what was said meanwhile comes then, once."""
    monkeypatch.setitem(terminal.REFRESH_S, "live", 0.01)
    running = Terminal("auto", scored, one)
    running.coordinate(3, FRAME)
    out = ""

    def up() -> bool:
        nonlocal out
        out += capsys.readouterr().out
        if "live error" in out and not running._left:
            running.say("meanwhile")
            running.left(3, "client 3: bye", scored().summary())
        return "client 3: bye" in out

    await run_until(running, up)
    out += capsys.readouterr().out
    during, left, after = out.partition(AWAY)
    assert during.count("\x1b[?1049h") == 1
    assert left
    assert out.count("\x1b[?25l") == out.count("\x1b[?25h") == 1  # the cursor is hidden, and shown again
    assert "100.500" in during
    assert after.count("meanwhile") == after.count("client 3: bye") == after.count("latency, ms") == 1


@pytest.mark.usefixtures("console")
async def test_live_forgets_the_coordinates_of_a_client_that_has_gone() -> None:
    """What stays are those of the clients that are here."""
    running = Terminal("live", scored, one)
    for client in (3, 4, 3):
        running.coordinate(client, FRAME)
    running.left(3, "client 3: bye", scored().summary())
    assert [client for client, _ in running._newest] == [4]


@pytest.mark.usefixtures("console")
async def test_live_keeps_what_is_said_within_bounds(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand clients that come and go leave a hundred tables, and a line that says how many are left out."""
    monkeypatch.setattr(terminal, "MAX_HELD", 3)
    running = Terminal("live", scored, dict)

    def say() -> bool:
        if running._live is None:
            return False
        for n in range(10):
            running.say(f"line {n}")
        return True

    await run_until(running, say)
    after = capsys.readouterr().out.partition(AWAY)[2]
    assert re.findall(r"line \d", after) == ["line 7", "line 8", "line 9"]
    assert "the first 7 lines and tables are left out" in after


@pytest.mark.parametrize(("term", "live"), [("xterm", True), ("dumb", False)])
async def test_auto_has_no_panel_where_the_cursor_cannot_be_moved(
    term: str, live: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A terminal that can do nothing gets lines, even where the panel is asked for."""
    monkeypatch.setattr(terminal, "Console", create_console(term))
    for mode in ("auto", "live"):
        assert (Terminal(mode, Tally, dict)._mode == "live") == live


def test_log_is_handed_over_while_a_panel_is_up(tmp_path: Path) -> None:
    """What would be logged over the panel is handed over line by line; afterwards it goes where it went."""

    class Tty(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen, file, lines = Tty(), io.StringIO(), list[str]()
    unopened = logging.FileHandler(tmp_path / "later.log", delay=True)
    handlers: list[logging.Handler] = [logging.StreamHandler(screen), logging.StreamHandler(file), unopened]
    root = logging.getLogger()
    root.handlers += handlers
    try:
        with log_to(lines.append):
            root.warning("one\ntwo")
        root.warning("three")
    finally:
        root.handlers = [each for each in root.handlers if each not in handlers]
    assert lines == ["one", "two"]
    assert screen.getvalue() == "three\n"
    unopened.close()
    assert file.getvalue() == (tmp_path / "later.log").read_text() == "one\ntwo\nthree\n"


# --- Lines, and the end --------------------------------------------------------------------------


def test_summary_is_one_line_where_stdout_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """A client that leaves costs a container's log one line, and if it was the only one the end says no more."""
    running = Terminal("auto", Tally, dict)
    running.left(1, "client 1 from here: bye", scored().summary())
    running.end(scored().summary())
    out = capsys.readouterr().out
    assert out.startswith("client 1 from here: bye | sent 10  scored 9 ")
    assert out.count("\n") == 1


@pytest.mark.usefixtures("console")
def test_end_says_each_thing_once(capsys: pytest.CaptureFixture[str]) -> None:
    """A table for each client that was sent something, one for all of several, and a line where there was none."""
    Terminal("every", Tally, dict).end(Tally().summary())
    assert "no client came" in capsys.readouterr().out
    running = Terminal("every", Tally, dict)
    running.left(1, "client 1: bye", scored().summary())
    running.end(scored().summary())
    assert capsys.readouterr().out.count("latency, ms") == 1
    running.left(2, "client 2: vanished", Tally().summary())
    assert capsys.readouterr().out == "client 2: vanished; no frame was sent\n"
    running.end(scored().summary())
    out = capsys.readouterr().out
    assert "all 2 clients" in out
    assert out.count("latency, ms") == 1


def test_every_prints_each_coordinate_on_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """With --print every a line is there as soon as its coordinate is, however narrow the terminal."""
    running = Terminal("every", Tally, dict)
    running.coordinate(3, FRAME)
    assert capsys.readouterr().out == LINE + "\n"
    running.coordinate(4, FRAME)
    assert capsys.readouterr().out == LINE.replace("client 3", "client 4") + "\n"


async def test_every_prints_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    """The lines are all there is: running ends at once."""
    await Terminal("every", scored, one).run()
    assert capsys.readouterr().out == ""


async def test_second_prints_counts_and_the_newest(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Into a pipe goes one line after the other, each with the counts and the newest coordinate, in plain text."""
    monkeypatch.setitem(terminal.REFRESH_S, "second", 0.01)
    tally, out = scored(), ""

    def grow() -> Tally:
        tally.late += 1
        return tally

    def two_lines() -> bool:
        nonlocal out
        out += capsys.readouterr().out
        return out.count("\n") >= 2

    running = Terminal("auto", grow, one)
    running.coordinate(3, FRAME)
    await run_until(running, two_lines)
    assert out.splitlines()[:2] == [
        f"sent 10  scored 9  missed 0  skipped 0  lost 1  late {late} | {LINE}" for late in (1, 2)
    ]


async def test_second_says_a_thing_once(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that says what the last one said is not said again; nor is anything when the last client has gone."""
    monkeypatch.setitem(terminal.REFRESH_S, "second", 0.01)
    here, tally, turns = one(), scored(), 0

    def clients() -> dict[int, Tally]:
        nonlocal turns
        turns += 1
        return here

    running = Terminal("auto", lambda: tally, clients)
    await run_until(running, lambda: turns > 5)
    running.left(3, "client 3: bye", scored().summary())
    here.clear()
    tally.late, turns = 7, 0
    await run_until(running, lambda: turns > 5)
    told = [line.partition(" |")[0] for line in capsys.readouterr().out.splitlines()]
    assert told == [counts(scored()), "client 3: bye"]


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

    await run_until(Terminal("second", lambda: tallies.pop() if tallies else sent, one), a_line)
    assert not tallies
    assert out.splitlines()[0] == "sent 1  scored 0  missed 0  skipped 0  lost 0  late 0 | no coordinate yet"


@pytest.mark.parametrize("mode", ["live", "second", "every"])
@pytest.mark.usefixtures("console")
def test_what_is_said_is_taken_as_it_is(mode: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What a peer calls itself is no markup: it can neither colour a line nor break the printing."""
    running = Terminal(mode, Tally, dict)
    running.say(EVIL)
    for summary in (Tally().summary(), scored().summary()):
        running.left(1, f"client 1 from {EVIL}: {EVIL}", summary)
    assert capsys.readouterr().out.count(EVIL) == 5


def test_say_prints_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    """Nor can it ring a bell, go back in the line or clear the screen."""
    Terminal("second", Tally, dict).say("a\x07b\x08c\x0bd")
    out = capsys.readouterr().out
    assert not set(out) & set("\x07\x08\x0b")


# --- The program, in a terminal ------------------------------------------------------------------


@pytest.mark.slow
def test_server_in_a_small_terminal_that_is_resized() -> None:
    """On 60 x 15 all can be read, on 80 x 24 too, with nothing left of before; and Ctrl-C ends in order."""
    port = free_port()
    with (
        in_terminal(60, 15, "server.py", "--signaling-port", port) as serving,
        run("client.py", "--signaling-port", port, "--view", "none") as finding,
    ):
        text = serving.wait_for(lambda text: re.search(r"1 client, .* frames a second", text) and "error px" in text)
        assert f"filming at 127.0.0.1:{port}" in text
        assert "with walls, px" in text
        serving.resize(80, 24)
        serving.wait_for(lambda text: "true x" in text and text.count("filming at") == 1)
        assert serving.text.count("with walls, px") == 1
        assert finding.end() == 0
        text = serving.wait_for(lambda text: "no clients, 1 has left" in text and "client 1 from" in text)
        serving.wait_for(lambda text: "error px" not in text)  # its coordinates are gone
        serving.process.send_signal(signal.SIGINT)
        text = serving.end()
        assert serving.process.returncode == 0
        assert text.startswith("filming at")
        assert text.count("client 1 from") == text.count("latency, ms") == 1
        assert "no clients" not in text
