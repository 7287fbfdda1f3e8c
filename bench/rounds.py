"""All cases of a part, measured in rounds."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bench.cases import BenchError, Case, Figures
from bench.parts import Part
from report.tables import Results, folder_name


def measure_part(
    name: str, part: Part, rounds: int, seconds: float, say: Callable[[str], None], keep: Path | None = None
) -> tuple[Results, int]:
    """Measure all cases of a part, round by round; what fails is told and left out.

    Args:
        name: the part's.
        rounds, seconds: how many, and how long a case takes in each.
        say: is told of each run.
        keep: the folder in which the runs stay, one folder each; None: nowhere.

    Returns:
        The results, and how many runs failed.
    """
    results: Results = {case.name: {} for case in part.cases}
    failures = 0
    for number, case in in_turns(part.cases, rounds):
        try:
            place = keep / f"{folder_name(case.name)}-{number}" if keep is not None else None
            figures = case.measure(number, seconds, place)
        except BenchError as error:
            say(f"{name}, round {number}: {case.name}: FAILED: {error}")
            failures += 1
            continue
        say(f"{name}, round {number}: {case.name}: {brief(figures)}")
        for figure, value in figures.items():
            results[case.name].setdefault(figure, []).append(value)
    for case in part.cases:
        add_ratios(results, case)
    return results, failures


def in_turns(cases: Sequence[Case], rounds: int) -> Iterator[tuple[int, Case]]:
    """Return (number of the round, case), every case once in each round, every other round backwards."""
    for number in range(1, rounds + 1):
        for case in cases if number % 2 else reversed(cases):
            yield number, case


def add_ratios(results: Results, case: Case) -> None:
    """Add a case's ratios to its results, as far as both sides have been measured in every round."""
    mine = results[case.name]
    for ratio in case.ratios:
        values, of_values = mine.get(ratio.figure, []), results.get(ratio.of_case, {}).get(ratio.of_figure, [])
        if values and len(values) == len(of_values):
            mine[ratio.name] = [value / of_value for value, of_value in zip(values, of_values, strict=True)]


def brief(figures: Figures) -> str:
    """Return the figures that tell most of a run, as one line."""
    shown = (
        ("latency p50", "ms"),
        ("sum", "ms"),
        ("error p50", "px"),
        ("scored", "%"),
        ("server cpu", "cores"),
        ("walls mean", "px"),
        ("black error mean", "px"),
        ("black ms", "ms"),
    )
    return ", ".join(f"{name} {figures[name]:.3g} {unit}" for name, unit in shown if name in figures)
