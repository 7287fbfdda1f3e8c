"""A budget: what the figures of a run have to be, such as `latency_ms.p95 <= 50` or `scored >= 99 %`.

    NAME RELATION NUMBER [%]

    NAME        a figure of summary.json, by the way to it: latency_ms.p95, network.kbit_s, late; frames.scored
                is scored for short
    RELATION    <=, <, >=, > or ==
    %           a share of the frames sent: of scored, missed, skipped and lost; late is one of sent and late together

Where nothing was scored nothing holds: a run that measured nothing has kept no budget.
"""

import difflib
import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from scoring.tally import FIGURES, State, Tally

RELATIONS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    "<": operator.lt,
    ">=": operator.ge,
    ">": operator.gt,
    "==": operator.eq,
}
FORM = re.compile(r"\s*([a-z]\w*(?:\.\w+)*)\s*(<=|>=|==|<|>)\s*([+-]?\d+(?:\.\d*)?|[+-]?\.\d+)\s*(%?)\s*", re.ASCII)
SHARES = ("scored", "missed", "skipped", "lost", "late")


class Verdict(NamedTuple):
    """What came of one requirement: whether it holds, and how that is told."""

    held: bool
    text: str


@dataclass(frozen=True)
class Requirement:
    """One line of a budget.

    text: as it was written; name: the figure's, by the way to it; limit: in %, where `share` is set, of the frames.
    """

    text: str
    name: str
    relation: str
    limit: float
    share: bool

    def __str__(self) -> str:
        return self.text

    def judge(self, summary: Mapping[str, Any]) -> Verdict:
        """Return whether a summary keeps to it, and by how much."""
        if not summary["frames"][State.SCORED]:
            return Verdict(False, f"not held: {self.text}: nothing was scored")
        value = self._value(summary)
        if value is None or not math.isfinite(value):
            return Verdict(False, f"not held: {self.text}: there is no such figure of this run")
        held = RELATIONS[self.relation](value, self.limit)
        unit = " %" if self.share else ""
        if value == self.limit:
            apart = "just that"
        else:
            apart = f"{_plain(abs(value - self.limit))}{unit} {'above' if value > self.limit else 'below'} it"
        return Verdict(held, f"{'held' if held else 'not held'}: {self.text}: {_plain(value)}{unit}, {apart}")

    def _value(self, summary: Mapping[str, Any]) -> float | None:
        value: Any = summary
        for part in self.name.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if value is None or not self.share:
            return None if value is None else float(value)
        late = summary["late"] if self.name == "late" else 0
        return float(100 * value / (summary["frames"]["sent"] + late))


def parse_requirement(text: str) -> Requirement:
    """Return the requirement that a text states.

    Raises:
        ValueError: it has another form, or speaks of no figure of the summary; says which there are.

    >>> parse_requirement("scored >= 99 %")
    Requirement(text='scored >= 99 %', name='frames.scored', relation='>=', limit=99.0, share=True)
    """
    match = FORM.fullmatch(text)
    if match is None:
        raise ValueError(
            "must be NAME <= NUMBER, such as 'latency_ms.p95 <= 50' or 'scored >= 99 %' (<=, <, >=, >, ==)"
        )
    short, relation, number, percent = match.groups()
    names = figure_names()
    name = f"frames.{short}" if f"frames.{short}" in names else short
    if name not in names:
        near = difflib.get_close_matches(short, [*names, *Tally.COUNTS], n=1)
        meant = f" (is {near[0]} meant?)" if near else ""
        raise ValueError(f"there is no figure {short!r}{meant}; there are {', '.join(names)}")
    if percent and name.removeprefix("frames.") not in SHARES:
        raise ValueError(f"{short!r} is no share; those that may have a % are {', '.join(SHARES)}")
    return Requirement(" ".join(text.split()), name, relation, float(number), bool(percent))


def figure_names() -> list[str]:
    """Return what a budget may speak of: the way to each number of a summary."""
    tally = Tally()
    for figure in FIGURES:
        getattr(tally, figure).add(1.0)
    return [*_ways(tally.summary()), "server_cpu_s"]


def judge(requirements: Sequence[Requirement], summary: Mapping[str, Any], say: Callable[[str], None]) -> bool:
    """Say of each requirement whether a summary keeps to it; return whether it does to all."""
    verdicts = [requirement.judge(summary) for requirement in requirements]
    for verdict in verdicts:
        say(verdict.text)
    return all(verdict.held for verdict in verdicts)


def _ways(summary: Mapping[str, Any], before: str = "") -> Iterator[str]:
    for name, value in summary.items():
        if isinstance(value, Mapping):
            yield from _ways(value, f"{before}{name}.")
        else:
            yield f"{before}{name}"


def _plain(value: float) -> str:
    """Return a number for reading, to three digits behind the point but never as nought where it is not."""
    return f"{value:.3g}" if abs(value) < 0.001 else f"{value:.3f}".rstrip("0").rstrip(".")
