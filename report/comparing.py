"""Runs beside each other: each figure, how it differs, and how far that can be trusted.

The interval is that of a bootstrap over blocks of one second: frames that follow each other have their delays in
common, so that single frames would make it too narrow. 95 % of such intervals have the true value in them.
Sources: Künsch, The jackknife and the bootstrap for general stationary observations, Annals of Statistics 1989; few
blocks make it too narrow, by about 1.7 / blocks: Hesterberg, What teachers should know about the bootstrap, 2015.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from report.runs import FIGURES, Column, Frames, Run

ROUNDS = 400  # of the bootstrap
BLOCK_S = 1.0
SHARES = {"median": 0.5, "p95": 0.95, "p99": 0.99}
PASSING = {  # what is another in every run
    "started", "command", "options.out", "options.summary", "options.csv", "options.require", "options.signaling_port",
}  # fmt: skip


class Interval(NamedTuple):
    """A value, and between what it lies in 95 of 100 cases; nan where that is not known."""

    value: float
    low: float = math.nan
    high: float = math.nan

    @property
    def known(self) -> bool:
        """Return whether there are bounds."""
        return math.isfinite(self.low) and math.isfinite(self.high)


class Row(NamedTuple):
    """One figure of two runs: what it is in each, the difference, and the ratio."""

    name: str
    base: float
    other: float
    difference: Interval
    ratio: Interval

    @property
    def differs(self) -> bool:
        """Return whether the runs differ by more than chance would have it."""
        return self.difference.known and not self.difference.low <= 0 <= self.difference.high


# --- The bootstrap -------------------------------------------------------------------------------


def blocks_of(frames: Frames, values: Column) -> list[Column]:
    """Return the values that are known, by client and second."""
    known = np.isfinite(values)
    if not known.any():
        return []
    places = np.stack([frames["client"], np.floor(frames.seconds / BLOCK_S)])[:, known]
    _, block = np.unique(places, axis=1, return_inverse=True)
    block = np.ravel(block)
    order = np.argsort(block, kind="stable")
    return np.split(values[known][order], np.flatnonzero(np.diff(block[order])) + 1)


def resample(blocks: Sequence[Column], shares: Sequence[float], random: np.random.Generator) -> NDArray[np.float64]:
    """Return quantiles of the values of as many blocks, drawn again and again: (ROUNDS, shares)."""
    drawn = np.empty((ROUNDS, len(shares)))
    for row in drawn:
        row[:] = np.quantile(
            np.concatenate([blocks[i] for i in random.integers(len(blocks), size=len(blocks))]), shares
        )
    return drawn


def resample_mean(blocks: Sequence[Column], random: np.random.Generator) -> NDArray[np.float64]:
    """Return means of the values of as many blocks, drawn again and again: (ROUNDS,)."""
    sums, counts = np.array([block.sum() for block in blocks]), np.array([len(block) for block in blocks])
    chosen = random.integers(len(blocks), size=(ROUNDS, len(blocks)))
    return np.asarray(sums[chosen].sum(axis=1) / counts[chosen].sum(axis=1))


def _row(name: str, base: float, other: float, bases: Column, others: Column, blocks: int = 1) -> Row:
    """Return a row from two values, and what they were in the rounds of the bootstrap over so many blocks."""
    with np.errstate(divide="ignore", invalid="ignore"):
        apart, ratios = others - bases, others / bases
        ratio = float(np.float64(other) / np.float64(base))
    times = _interval_of(ratio, ratios, blocks)
    if times.low < 0 <= ratio:  # few blocks make it wide
        times = times._replace(low=0.0)
    return Row(name, base, other, _interval_of(other - base, apart, blocks), times)


def _interval_of(value: float, drawn: Column, blocks: int) -> Interval:
    if not len(drawn) or not np.isfinite(drawn).all():
        return Interval(value)
    low, high = np.quantile(drawn, (0.025, 0.975))
    wider = 1 + 1.7 / blocks
    return Interval(value, float(value - wider * (value - low)), float(value + wider * (high - value)))


# --- Two runs ------------------------------------------------------------------------------------


def compare(base: Run, other: Run, seed: int = 0) -> list[Row]:
    """Return each figure that both runs have; the same each time for the same runs."""
    random, rows = np.random.default_rng(seed), list[Row]()
    for figure, title in FIGURES.items():
        both = [blocks_of(run.frames, run.frames[figure]) for run in (base, other)]
        if not all(both):
            continue
        shares = list(SHARES.values())
        values = [np.quantile(np.concatenate(blocks), shares) for blocks in both]
        drawn = [resample(blocks, shares, random) if len(blocks) > 1 else np.empty((0, 3)) for blocks in both]
        if min(map(len, drawn)) == 0:
            drawn = [np.empty((0, len(shares)))] * 2
        for i, share in enumerate(SHARES):
            numbers = (float(values[0][i]), float(values[1][i]))
            rows.append(_row(f"{title}: {share}", *numbers, drawn[0][:, i], drawn[1][:, i], min(map(len, both))))
    rows += _shares(base, other, random)
    used = [_cores(run) for run in (base, other)]
    if all(math.isfinite(value) for value in used):
        rows.append(_row("server CPU, cores", used[0], used[1], np.empty(0), np.empty(0)))
    return rows


def _shares(base: Run, other: Run, random: np.random.Generator) -> list[Row]:
    """Return the row of the share that was scored."""
    both = [blocks_of(run.frames, (run.frames.states == 0) * 100.0) for run in (base, other)]
    if not all(both):
        return []
    values = [float(np.concatenate(blocks).mean()) for blocks in both]
    drawn = [resample_mean(blocks, random) for blocks in both]
    if min(map(len, both)) < 2:
        drawn = [np.empty(0)] * 2
    return [_row("scored, %", values[0], values[1], drawn[0], drawn[1], min(map(len, both)))]


def _cores(run: Run) -> float:
    """Return how many cores the server used, nan where the summary does not tell."""
    used, seconds = run.summary.get("server_cpu_s"), run.summary.get("duration_s")
    if not run.over or not isinstance(used, int | float) or not isinstance(seconds, int | float) or not seconds:
        return math.nan
    return used / seconds


def settings_that_differ(runs: Sequence[Run]) -> dict[str, list[str]]:
    """Return the settings that are not the same in all runs that have a summary; "-" where one does not tell."""
    told = [run.settings for run in runs]
    names = dict.fromkeys(name for settings in told for name in settings if name not in PASSING)
    differing = [name for name in names if len({settings.get(name, "-") for settings in told if settings}) > 1]
    return {name: [settings.get(name, "-") for settings in told] for name in differing}


def obstacles(base: Run, other: Run) -> list[str]:
    """Return why two runs cannot be compared, or in part only; nothing where they can."""
    both = (base, other)
    lacks = [(run.name, "end" if run.summary else "summary") for run in both if not run.over]
    found = [f"{name}: no {lack}: its server still runs, or was killed" for name, lack in lacks]
    found += [f"{run.name}: no frame of it was scored" for run in both if not (run.frames.states == 0).any()]
    if None not in (base.size, other.size) and base.size != other.size:
        found.append("the films' sizes differ: a pixel of error is not the same in both")
    short = [run.name for run in both if len(run.frames) and run.frames.seconds.max() < 10 * BLOCK_S]
    found += [f"{name}: shorter than ten seconds: its intervals are too narrow" for name in short]
    return found


# --- As text -------------------------------------------------------------------------------------

HEADINGS = ("figure", "base", "this", "difference", "ratio")


def cells(row: Row) -> tuple[str, str, str, str, str]:
    """Return a row as texts, under HEADINGS; a star where the difference is more than chance."""
    star = " *" if row.differs else ""
    difference, ratio = _interval(row.difference, sign="+"), _interval(row.ratio)
    return row.name, number(row.base), number(row.other), difference + star, ratio


def number(value: float, sign: str = "-") -> str:
    """Return a number for reading, with three digits at least.

    >>> number(1234.5678), number(0.0012345), number(float("nan")), number(5, "+")
    ('1235', '0.00123', '–', '+5.00')
    """  # noqa: RUF002  # the dash is meant
    if not math.isfinite(value):
        return "–"
    digits = 3 if value == 0 else max(0, min(6, 2 - math.floor(math.log10(abs(value)))))
    return f"{value:{sign}.{digits}f}"


def _interval(interval: Interval, sign: str = "-") -> str:
    bounds = f" [{number(interval.low, sign)}, {number(interval.high, sign)}]" if interval.known else ""
    return number(interval.value, sign) + bounds


def markdown(runs: Sequence[Run], rows: Sequence[Sequence[Row]]) -> str:
    """Return a comparison as Markdown. rows: of each run but the first."""
    lines = ["| setting | " + " | ".join(_safe(run.name) for run in runs) + " |", "|---|" + "---|" * len(runs)]
    lines += [f"| {_safe(name)} | " + " | ".join(map(_safe, each)) + " |" for name, each in
              settings_that_differ(runs).items()]  # fmt: skip
    if len(lines) == 2:
        lines = ["No setting differs."]
    for run, compared in zip(runs[1:], rows, strict=True):
        lines += ["", f"{_safe(run.name)} against {_safe(runs[0].name)}", ""]
        lines += [f"- {_safe(why)}" for why in obstacles(runs[0], run)]
        lines += ["", "| " + " | ".join(HEADINGS) + " |", "|---|---:|---:|---:|---:|"]
        lines += ["| " + " | ".join(cells(row)) + " |" for row in compared]
    return "\n".join(lines) + "\n\nIn brackets: 95 % intervals. A star: more than chance.\n"


def _safe(text: str) -> str:
    """Return a text that is none of Markdown's, or HTML's, signs."""
    return "".join(f"&#{ord(sign)};" if sign in "<>&|`*_[]\\\n\r" else sign for sign in text)
