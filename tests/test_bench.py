"""The benchmark: its sums, its tables, and one very short run of each kind."""

import html
import io
import json
import math
import multiprocessing
import re
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from ball_track import Scene
from bench import __main__ as bench
from bench import cases, chain, parts, rounds, tracing
from report import case_plots, measured, tables
from report.__main__ import main as report
from support import workers


def row(client: int, k: int, state: str = "scored", error: float = 0.0, latency: float = 0.0) -> dict[str, str]:
    """Return a row of the server's CSV."""
    return {"client": str(client), "k": str(k), "state": state, "error_px": str(error), "latency_ms": str(latency)}


# --- Sums ----------------------------------------------------------------------------------------


def test_format_spread_shows_median_lowest_and_highest():
    """A figure of several rounds shows its spread, if there is any; of one, itself; of none, a dash."""
    assert tables.format_spread([4.0, 1.0, 2.0], 1) == "2.0 (1.0–4.0)"
    assert tables.format_spread([4.0], 2) == "4.00"
    assert tables.format_spread([1.004, 0.996, 1.0], 2) == "1.00"
    assert tables.format_spread([], 2) == "–"


def test_ledger_figures_counts_every_client_and_measures_the_first():
    """The share scored is that of all clients; errors and latencies are those of the one who looks."""
    rows = [row(1, 10, error=1, latency=5), row(1, 11, error=3, latency=7), row(2, 10, error=500), row(2, 11, "lost")]
    figures = cases.ledger_figures(rows, frames=2)
    assert figures["scored"] == 75
    assert (figures["error p50"], figures["latency p50"]) == (2, 6)


def test_ledger_figures_leaves_out_the_beginning():
    """Only the last frames of the film count, whatever order the rows are in."""
    rows = [row(1, 12, latency=1), row(1, 0, "lost"), row(1, 11, latency=1), row(1, 10, latency=99)]
    assert cases.ledger_figures(rows, frames=2) == {
        "sent": 100, "scored": 100, "error p50": 0, "error p95": 0, "error p99": 0,
        "latency p50": 1, "latency p95": 1, "latency p99": 1,
    }  # fmt: skip


def test_ledger_figures_tells_a_slow_server_from_a_slow_client():
    """Frames of the film that were never sent are not sent; those that were, may still all be scored."""
    figures = cases.ledger_figures([row(1, 10), row(1, 13)], frames=4)
    assert (figures["sent"], figures["scored"]) == (50, 100)


def test_ledger_figures_of_nothing_are_no_share_and_no_quantiles():
    """A run in which no frame was sent scored nothing."""
    assert cases.ledger_figures([], frames=10) == {"sent": 0, "scored": 0}


class Counted(cases.Case):
    """A case that returns what it was told to, in turn; nothing, where a run is to fail."""

    def __init__(self, name: str, *values: float, ratios: tuple[cases.Ratio, ...] = ()) -> None:
        super().__init__(name, ratios)
        self.values = list(values)

    def measure(self, seed: int, seconds: float, keep: Path | None = None) -> cases.Figures:
        """Return the next value."""
        value = self.values[seed - 1]
        if value < 0:
            raise cases.BenchError("as it was told to")
        return {"ms": value}


def test_in_turns_runs_every_case_once_a_round_and_turns_round():
    """Rounds are interleaved, and no case always comes first."""
    first, second = Counted("first"), Counted("second")
    order = [(number, case.name) for number, case in rounds.in_turns([first, second], 2)]
    assert order == [(1, "first"), (1, "second"), (2, "second"), (2, "first")]


def test_measure_part_divides_round_by_round():
    """A ratio compares two cases within one round, so what drifts between rounds cancels out."""
    ratio = cases.Ratio("ms / base", "ms", "base", "ms")
    part = parts.Part((Counted("twice", 2, 20, ratios=(ratio,)), Counted("base", 1, 10)), ())
    results, failures = rounds.measure_part("some", part, rounds=2, seconds=1, say=lambda _: None)
    assert results == {"twice": {"ms": [2, 20], "ms / base": [2, 2]}, "base": {"ms": [1, 10]}}
    assert failures == 0


def test_measure_part_goes_on_after_a_failure():
    """A run that fails is told and counted; the others stand, and no ratio mixes rounds."""
    ratio = cases.Ratio("ms / base", "ms", "base", "ms")
    part = parts.Part((Counted("case", -1, 20, ratios=(ratio,)), Counted("base", 1, 10)), ())
    said: list[str] = []
    results, failures = rounds.measure_part("some", part, rounds=2, seconds=1, say=said.append)
    assert results == {"case": {"ms": [20]}, "base": {"ms": [1, 10]}}
    assert failures == 1
    assert "FAILED: as it was told to" in said[0]


def test_read_notes_splits_a_latency_into_steps_that_add_up():
    """The steps of a frame add up to its latency; a frame that lacks a station is left out."""
    notes = [
        ["drawn", 7, 1.001], ["encoded", 21000, 1.003], ["decode", 90, 1.006], ["seen", 90, 1.010],
        ["search", None, 1.015], ["found", None, 1.021], ["scored", [7, 21000, 90, 1.0, 1.028], 1.03],
        ["drawn", 8, 2.0], ["scored", [8, 24000, 93, 2.0, 2.1], 2.1],
    ]  # fmt: skip
    (steps,) = tracing.read_notes(json.dumps(note) for note in notes)
    assert list(steps) == list(tracing.PARTS)
    assert list(steps.values()) == pytest.approx([1, 2, 3, 4, 5, 6, 7])


# --- Tables, plots, options ----------------------------------------------------------------------


def test_markdown_shows_the_cases_that_have_the_first_figure():
    """A table leaves out cases of another kind, and keeps one that failed as dashes."""
    table = tables.Table("Times", (tables.Column("p50, ms", "ms", 1),), "times")
    text = tables.markdown(table, {"a": {"ms": [1.0]}, "other": {"px": [2.0]}, "failed": {}})
    assert text.splitlines() == ["| | p50, ms |", "|---|---:|", "| a | 1.0 |", "| failed | – |"]


@pytest.mark.parametrize("name", parts.PARTS)
def test_parts_have_distinct_cases_and_ratios_to_existing_ones(name: str):
    """Every case can be told by its name, every ratio has something to be taken of, every quick run has cases."""
    part = parts.PARTS[name]()
    names = [case.name for case in part.cases]
    assert len(set(names)) == len(names)
    assert {ratio.of_case for case in part.cases for ratio in case.ratios} <= set(names)
    assert any(case.quick for case in part.cases)


@pytest.mark.parametrize("failed", [0, pytest.param(-1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", parts.PARTS)
def test_every_plot_is_drawn(name: str, failed: int, tmp_path: Path):
    """Each plot shows all cases of its table in their groups, also where a case failed, and knows its results."""
    part = parts.PARTS[name]()
    figures = [f"{what} {share}" for what in ("latency", "error") for share in ("p50", "p99")]
    figures += [*tracing.PARTS, "server cpu", *(column.figure for table in part.tables for column in table.columns)]
    results = {case.name: {figure: [1.0, 2.0] for figure in figures} for case in part.cases}
    results[part.cases[failed].name] = {}
    for table in part.tables:
        if table.draw is None:
            continue
        path = tmp_path / f"{table.name}.svg"
        case_plots.save(table, results, path, "0123abcd")
        text = path.read_text()
        assert case_plots.digest_of(path) == "0123abcd"
        assert html.escape(table.caption, quote=False) in text
        for case in tables.rows_of(table, results):
            assert html.escape(case_plots.group_of(case)[1], quote=False) in text


def test_help_explains_every_part(capsys: pytest.CaptureFixture[str]):
    """--help says what each part compares."""
    with pytest.raises(SystemExit) as raised:
        bench.parse_args(["--help"])
    assert raised.value.code == 0
    told = capsys.readouterr().out
    for name, create in parts.PARTS.items():
        assert re.search(rf"^  {name} +{re.escape(create().about)}; \d+ runs a round$", told, re.MULTILINE)


def test_the_rows_of_the_overview_are_cases():
    """The README's rows are figures that another table shows as well: one figure for one thing."""
    part = parts.PARTS["latency"]()
    assert set(parts.OVERVIEW) <= {case.name for case in part.cases}


@pytest.mark.parametrize("width", [40, 80, 240])
def test_a_terminal_of_any_width_shows_all_columns(width: int):
    """Where there is no room for all columns they stand one table below the other; no cell is cut off."""
    columns = [tables.Column(f"figure {i}, ms", f"f{i}", 2) for i in range(12)]
    results = {f"this project: case {n}": {f"f{i}": [n + i / 100, n + 1.5] for i in range(12)} for n in range(3)}
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=width, legacy_windows=False, no_color=True)
    tables.show(tables.Table("Figures", columns, "figures"), results, console)
    lines = re.sub(r"\x1b\[[\d;]*m", "", file.getvalue()).splitlines()
    assert max(map(len, lines)) <= width
    for figures in results.values():
        for column in columns:
            assert tables.cell(figures, column) in file.getvalue()


def test_a_pipe_gets_markdown(capsys: pytest.CaptureFixture[str]):
    """What is no terminal gets the table as the file has it."""
    table = tables.Table("Times", (tables.Column("p50, ms", "ms", 1),), "times")
    tables.show(table, {"a": {"ms": [1.0]}})
    assert "**Times**\n\n| | p50, ms |\n|---|---:|\n| a | 1.0 |" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (["speed"], "argument PART: 'speed': must be one of"),
        (["--rounds", "0"], "argument --rounds: 0: must be 1 to"),
        (["--seconds", "0"], "argument --seconds: '0': must be seconds"),
        (["--seconds", "301"], "argument --seconds: 301: must be at most"),
    ],
)
def test_parse_args_refuses_nonsense(argv: list[str], complaint: str, capsys: pytest.CaptureFixture[str]):
    """Wrong usage is one line on stderr, and status 2."""
    with pytest.raises(SystemExit) as raised:
        bench.parse_args(argv)
    assert raised.value.code == 2
    assert complaint in capsys.readouterr().err


def test_parse_args_lets_a_quick_run_be_one_short_round_of_everything():
    """--quick changes what is not given, and nothing else."""
    args = bench.parse_args(["--quick"])
    assert (args.parts, args.rounds, args.seconds) == (
        [part for part in parts.PARTS if part not in bench.lacking()],
        1,
        bench.QUICK_SECONDS,
    )
    assert bench.parse_args(["--quick", "--rounds", "2", "scale"]).rounds == 2


# --- Real runs -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("codec", "encoder"), [("vp8", "shared"), ("vp8", "aiortc"), ("h264", "shared")])
def test_floor_measures_encode_and_decode(codec: str, encoder: str):
    """The floor has the figures that a loop is compared with."""
    figures = cases.Floor("floor", codec=codec, encoder=encoder).measure(seed=1, seconds=0.2)
    assert 0 < figures["latency p50"] <= figures["latency p99"]


@pytest.mark.slow
@pytest.mark.parametrize("codec", ["vp8", "h264"])
def test_chain_finds_the_ball_in_every_frame(codec: str, monkeypatch: pytest.MonkeyPatch):
    """The chain of blocking calls does the same work: it knows where the ball is in each frame, and leaves nothing."""
    answers: list[Any] = []
    answer = chain.answer

    def noting(connection: Connection) -> object:
        answers.append(answer(connection))
        return answers[-1]

    monkeypatch.setattr(chain, "answer", noting)
    figures = chain.Chain("chain", codec=codec).measure(seed=1, seconds=0.2)
    assert 0 < figures["latency p50"] <= figures["latency p99"]
    scene = Scene(seed=1)
    assert len(answers) == 1 + round((cases.WARM_UP + 0.2) * scene.fps)  # the first says that it is ready
    for k, point in enumerate(answers[1:]):
        assert math.dist(point, scene.position(k)) < 0.1
    assert not multiprocessing.active_children()


def test_chain_that_breaks_is_told(monkeypatch: pytest.MonkeyPatch):
    """A process of the chain that ends is an error with its reason, and nothing is waited for."""
    monkeypatch.setattr(chain, "decode_and_share", workers.end_at_once)
    with pytest.raises(cases.BenchError, match="the chain broke"):
        chain.Chain("chain").measure(seed=1, seconds=0.2)


@pytest.mark.slow
def test_loop_measures_programs_and_a_crowd():
    """Server, client and two more clients run, and every figure of the tables comes out of it."""
    figures = cases.Loop("loop", crowd=2).measure(seed=1, seconds=0.5)
    assert figures.keys() == {
        "server cpu", "client cpu", "process_a cpu", "cpu", "sent", "scored",
        "error p50", "error p95", "error p99", "latency p50", "latency p95", "latency p99",
    }  # fmt: skip
    assert figures["scored"] > 50
    assert 0 < figures["latency p50"] <= figures["latency p99"]
    assert figures["error p50"] < 1  # of client.py: the crowd says (0, 0) of every frame


@pytest.mark.slow
@pytest.mark.parametrize("encoder", ["shared", "aiortc"])
def test_loop_traced_measures_every_step(encoder: str):
    """With notes taken, every step of the latency takes some time."""
    loop = cases.Loop("traced", server=("--encoder", encoder), wrapper="bench.tracing")
    figures = loop.measure(seed=1, seconds=0.5)
    assert figures.keys() == {*tracing.PARTS, "sum"}
    assert min(figures.values()) > 0


@pytest.mark.slow
def test_loop_plain_scores_as_well():
    """The plain way of handling frames brings the coordinates back too."""
    server, client = ("--encoder", "aiortc"), ("--jitter-buffer", "stock")
    figures = cases.Loop("plain", server=server, client=client, wrapper="bench.plain").measure(seed=1, seconds=0.5)
    assert figures["scored"] > 50
    assert figures["error p50"] < 1


@pytest.mark.slow
def test_runs_that_are_kept_are_compared_as_any_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """A benchmark that keeps its runs leaves folders of which pages and comparisons are made."""
    stock = cases.Loop("stock", client=("--jitter-buffer", "stock"))
    part = parts.Part((cases.Loop("a: marker"), stock), ())
    results, failures = rounds.measure_part("some", part, 1, 3, lambda _: None, tmp_path)
    assert failures == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a-marker-1", "stock-1"]
    assert report([str(tmp_path / "a-marker-1"), str(tmp_path / "stock-1")]) == 0
    told = capsys.readouterr().out
    assert "--jitter-buffer stock" in re.sub(r"[\s│]+", " ", told)
    assert results["stock"]["latency p50"][0] > results["a: marker"]["latency p50"][0]


def test_loop_says_what_a_program_complained_of():
    """A run that cannot begin ends at once, with the program's own words."""
    with pytest.raises(cases.BenchError, match=r"server\.py[^$]*--fps"):
        cases.Loop("loop", fps=0).measure(seed=1, seconds=0.5)


def test_main_saves_results_tables_and_plots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A part leaves its results, its tables in Markdown and its plots; the results can be read again."""
    columns = (tables.Column("p50, ms", "latency p50", 1),)
    table = tables.Table("Times", columns, "times", case_plots.draw_latency, "Times of it")
    part = parts.Part((cases.Floor("floor", quick=True),), (table,))
    monkeypatch.setattr(bench, "PARTS", {"floors": lambda: part})
    assert bench.main(["--seconds", "0.2", "--quick", "--folder", str(tmp_path)]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"floors.json", "floors.md", "times.svg"}
    kept = measured.read(tmp_path / "floors.json")
    assert len(kept.results["floor"]["latency p50"]) == 1
    assert kept.command == "python -m bench floors --rounds 1 --seconds 0.2"
    assert kept.digest == case_plots.digest_of(tmp_path / "times.svg")
    assert "| floor | " in (tmp_path / "floors.md").read_text()
