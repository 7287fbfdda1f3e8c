"""What a coordinate is worth by the time it is there, and what reckoning with its age makes of it.

Server and client on two hosts (tools/lab.py, which needs root), with delay, jitter and loss between them. All figures
are px, against where the ball is when a coordinate arrives:

    raw        the coordinate as it is: the live error
    straight   predicted by constant velocity; `between` are those for which no wall was met from the frame before the
               newest to the present, which nobody can know without the walls
    walls      predicted by who knows the walls

The first second is not counted: a prediction needs two coordinates, and the loop comes up in it.
"""

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import TimeoutExpired
from typing import TYPE_CHECKING

import numpy as np

from ball_track import Scene
from bench.cases import ROWS, BenchError, Case, Figures
from report.case_plots import draw_dots, lay_out, set_log
from report.plots import LINES
from report.tables import Column, Results, Table, median
from tools.lab import missing
from tools.netlab import WAYS, Fault, measure
from tools.program import run_folder

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WARM_UP = 1.0  # s that are not counted


@dataclass(frozen=True)
class Aged(Case):
    """A ball seen over a slow link. delay, jitter: ms, one way; loss: percent; speed: px / s."""

    delay: float = 50
    jitter: float = 10
    loss: float = 0
    speed: float = 240

    def measure(self, seed: int, seconds: float, keep: Path | None = None) -> Figures:
        """Run both programs, and read what the server wrote of each frame."""
        reason = missing()
        if reason is not None:
            raise BenchError(reason)
        scene = Scene(speed=self.speed, seed=seed)
        fault = Fault(self.name, self.loss, self.delay, self.jitter)
        with run_folder(keep) as folder:
            options = ("--speed", f"{self.speed:g}", "--seed", f"{seed}")
            try:
                measure(fault, seconds + WARM_UP, WAYS[0], options, seed, folder)
            except (OSError, RuntimeError, TimeoutExpired) as error:
                raise BenchError(f"the programs did not run: {error}") from None
            with (folder / ROWS).open() as file:
                return aged_figures(csv.DictReader(file), scene)


def aged_figures(rows: Iterable[Mapping[str, str]], scene: Scene) -> Figures:
    """Return the figures of a server's CSV, but for the first second of its film."""
    scored = [row for row in rows if row["state"] == "scored"]
    first = min((int(row["k"]) for row in scored), default=0)
    counted = [row for row in scored if int(row["k"]) > first + WARM_UP * scene.fps]
    between = [row for row in counted if not meets_wall(scene, row)]
    figures: Figures = {}
    for name, column, chosen in (
        ("latency", "latency_ms", counted),
        ("raw", "live_error_px", counted),
        ("straight", "predicted_error_px", counted),
        ("between", "predicted_error_px", between),
        ("walls", "predicted_walls_error_px", counted),
    ):
        values = [float(row[column]) for row in chosen if row[column]]
        if values:
            p50, p95, p99 = (float(value) for value in np.percentile(values, (50, 95, 99)))
            shares = {"mean": float(np.mean(values)), "p50": p50, "p95": p95, "p99": p99}
            figures |= {f"{name} {share}": value for share, value in shares.items()}
    return figures


def meets_wall(scene: Scene, row: Mapping[str, str]) -> bool:
    """Return whether a ball met a wall between the frame before that of a row of the CSV and its arrival."""
    k = int(row["k"])
    now = k + float(row["latency_ms"]) / 1000 * scene.fps
    return turns(scene, k - 1, now)


def turns(scene: Scene, since: float, until: float) -> bool:
    """Return whether the ball bounces between two times (frames): the way is longer than the distance, along x or y."""
    steps = np.linspace(since, until, 64)
    path = np.array([scene.position(k) for k in steps])
    ways, distances = np.abs(np.diff(path, axis=0)).sum(axis=0), np.abs(path[-1] - path[0])
    return bool((ways > distances + 1e-6).any())


def aged_cases() -> list[Case]:
    """Return a case for each delay, and those with a fast ball and with loss."""
    cases: list[Case] = [
        Aged(f"{delay} ms" + (f" ± {jitter} ms" if jitter else ""), quick=delay == 50, delay=delay, jitter=jitter)
        for delay, jitter in ((0, 0), (20, 4), (50, 10), (100, 20), (200, 40))
    ]
    cases.append(Aged("50 ± 10 ms, 5 % loss", loss=5))
    cases.append(Aged("50 ± 10 ms, 960 px/s", speed=960))
    cases.append(Aged("50 ± 10 ms, 960 px/s, 5 % loss", speed=960, loss=5))
    return cases


COLUMNS: Sequence[Column] = (
    Column("latency p50, ms", "latency p50", 1),
    Column("p99, ms", "latency p99", 1),
    Column("as it is: mean, px", "raw mean", 2),
    Column("p99, px", "raw p99", 2),
    Column("constant velocity: mean, px", "straight mean", 3),
    Column("p99, px", "straight p99", 2),
    Column("p95 between bounces, px", "between p95", 3),
    Column("with walls: mean, px", "walls mean", 3),
    Column("p99, px", "walls p99", 3),
)


def draw_aged(results: Results, figure: "Figure") -> None:
    """Draw the error of each case as it is, and predicted both ways."""
    axes = figure.subplots()
    places = lay_out(axes, results)
    ways = (("raw", "as it is"), ("straight", "constant velocity"), ("walls", "with walls"))
    for i, (name, label) in enumerate(ways):
        pairs = {places[case] + 0.25 * (i - 1): (median(figures, f"{name} mean"), median(figures, f"{name} p99"))
                 for case, figures in results.items()}  # fmt: skip
        draw_dots(axes, pairs, LINES[i], label)
    set_log(axes)
    axes.set(xlim=(0.0003, 2000), xlabel="px off where the ball is: mean (full), p99 (hollow)")
    axes.grid(axis="x", alpha=0.25)
    axes.legend(fontsize=8, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1), frameon=False)


TABLE = Table(
    "How far off the ball a coordinate is when it arrives, as it is and predicted to the present, over links with a"
    " delay each way; 640x480, VP8, 30 frames a second, 240 px a second unless it says otherwise",
    COLUMNS,
    "prediction",
    draw_aged,
    "How far off the ball a coordinate is when it arrives",
    lines=2.2,
)
