"""tools/figures.py: the tables and plots of README and docs are those of the results that are kept."""

import dataclasses
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from bench.parts import PARTS
from report import case_plots, measured
from report.measured import Measured
from report.runs import ReportError
from tools import figures, measure

KEPT = figures.read_kept()
TABLES = figures.tables()


@pytest.mark.parametrize("page", figures.PAGES, ids=lambda page: page.name)
def test_page_shows_what_was_measured(page: Path):
    """No table of a page differs from its results: `make figures` writes them anew."""
    text = page.read_text(encoding="utf-8")
    assert figures.filled(text, KEPT) == text
    assert text.count("<!-- figures: ") == text.count("<!-- end of figures -->") == len(figures.MARKED.findall(text))


def test_every_result_is_shown_and_every_table_has_one_place():
    """What was measured stands in a page; the same table twice only where the README shows it too."""
    shown = [name for page in figures.PAGES for _, name, _ in figures.MARKED.findall(page.read_text(encoding="utf-8"))]
    assert set(KEPT) == {TABLES[name][0] for name in set(shown) - {"base"}}
    assert {name for name in shown if shown.count(name) > 1} == {"overview"}


@pytest.mark.parametrize("name", [name for name, (part, table) in TABLES.items() if table.draw and part in KEPT])
def test_plot_is_of_the_results(name: str):
    """Each plot was drawn from the results that its table shows."""
    part, _ = TABLES[name]
    assert case_plots.digest_of(figures.KEPT / f"{name}.svg") == KEPT[part].digest


def test_a_result_that_changed_is_noticed():
    """One value that is another makes another table, and another plot."""
    part = KEPT["latency"]
    results = {case: dict(each) for case, each in part.results.items()}
    results["this project: VP8"]["latency p50"] = [123.456]
    other = dataclasses.replace(part, results=results)
    page = figures.PAGES[0].read_text(encoding="utf-8")
    assert "123.5" in figures.filled(page, KEPT | {"latency": other})
    assert other.digest != part.digest


@pytest.mark.parametrize("name", ["nothing", "latency"])
def test_what_was_not_measured_is_one_line(name: str):
    """A mark for which there are no results is named."""
    with pytest.raises(ReportError, match=name):
        figures.filled(f"<!-- figures: {name} -->\n<!-- end of figures -->", {})


def test_results_are_read_as_they_were_kept(tmp_path: Path):
    """What is saved comes back, to six digits; what is damaged is one error."""
    taken = measured.take("part", "python -m bench part", {"a: b": {"ms": [1 / 3, 2e-7]}})
    assert measured.save(taken, tmp_path)
    assert measured.read(tmp_path / "part.json") == taken
    assert taken.results["a: b"]["ms"] == [0.333333, 2e-7]
    for text in ("{", "[]", '{"part": 1}'):
        (tmp_path / "part.json").write_text(text)
        with pytest.raises(ReportError, match=r"part\.json"):
            measured.read(tmp_path / "part.json")


def test_base_is_the_range_of_the_parts():
    """The sentence about the defaults names the quickest and the slowest part."""

    def part(name: str, ms: float) -> Measured:
        return Measured(name, "", "", {}, {figures.DEFAULTS[name]: {"latency p50": [ms]}})

    text = figures.base({name: part(name, ms) for name, ms in (("latency", 4.0), ("scale", 5.5), ("size", 5.0))})
    assert re.search(r"3 of the parts.*4\.0 ms \(in `latency`\) and 5\.5 ms \(in `scale`\)", text, re.DOTALL)


def test_new_results_are_taken_of_known_parts_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """What else is in the folder is left there; what failed and what is missing is told."""
    kept, new = tmp_path / "kept", tmp_path / "new"
    kept.mkdir()
    new.mkdir()
    monkeypatch.setattr(figures, "KEPT", kept)
    (new / "results.json").write_text("of another program")
    assert measured.save(measured.take("scale", "", {"1": {"ms": [1.0]}, "2": {}}), new)
    figures.take(new)
    assert [path.name for path in kept.iterdir()] == ["scale.json"]
    told = capsys.readouterr().out
    assert "nothing was measured of '2'" in told
    assert "latency.json: is not there" in told


def test_what_is_shown_can_be_measured_again(capsys: pytest.CaptureFixture[str]):
    """One command measures every part that a page shows, and says before how long it takes."""
    assert set(measure.STEPS) == {part for part, _ in TABLES.values()}
    assert measure.main(["--list"]) == 0
    told = capsys.readouterr().out
    for name, step in measure.STEPS.items():
        assert re.search(rf" min  {name} +python3 -m {re.escape(step.command)}\n", told)
    with pytest.raises(SystemExit) as raised:
        measure.main(["nothing"])
    assert raised.value.code == 2


def test_measuring_goes_on_after_a_failure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """A step that fails is named, the others are measured, and the status is 1."""
    good = measure.Step("tools.measure --list", 0.0)
    monkeypatch.setattr(measure, "STEPS", {"bad": measure.Step("tools.nothing", 0.0), "good": good})
    asked: list[list[str]] = []
    run = subprocess.run

    def watched(command: list[str], **settings: Any) -> Any:
        asked.append(command)
        return run(command, **settings)

    monkeypatch.setattr(subprocess, "run", watched)
    assert measure.main(["--folder", str(tmp_path)]) == 1
    assert [command[2] for command in asked] == ["tools.nothing", "tools.measure"]


def test_defaults_are_cases_of_their_parts():
    """The case that is nothing but the defaults is there in each part that says so."""
    for part, case in figures.DEFAULTS.items():
        assert case in {each.name for each in PARTS[part]().cases}
