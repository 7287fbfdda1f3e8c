"""Run server and client side by side in many ways, and print and save what the loop costs.

    python3 bench.py                      everything
    python3 bench.py latency scale        some parts
    python3 bench.py --quick              one short round of the most telling cases, within two minutes

    part         what is compared
    latency      jitter buffers, encoders and codecs, with the floor: nothing but the encode and the decode
    accuracy     colours, radii, speeds, bit rates, sizes
    scale        1 to 32 clients of one server
    size         640x480 to 1920x1080, at 30 and 60 frames a second
    transports   the ways that frames can travel

Each case is measured once in every round, so that what drifts on the machine drifts for all; a figure is the
median of the rounds, with the lowest and the highest in brackets. Server and client run as programs, as they
are; latency, error and the share of frames scored come from the server's CSV, processor time from /proc (so this
needs Linux) in cores: 1 is one core busy all the time. Words:

    floor        one process that encodes and decodes the same frames at the same pace, by the same calls
    traced       server and client with notes taken of when each frame passes each station; see tools/tracing.py
    plain        server and client with every frame handled as a BGR image, pickled; see tools/plain.py
    crowd        clients that look at nothing, to load a server with; see tools/crowd.py
"""

import argparse
import contextlib
import itertools
import json
import os
import platform
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import options
from ball_track import COLORS
from tools.cases import BenchError, Case, Figures, Floor, Loop, Ratio
from tools.tables import (
    Column,
    Results,
    Table,
    markdown,
    plot_accuracy,
    plot_latency,
    plot_scale,
    plot_steps,
    save_plot,
)
from tools.tracing import PARTS as STEPS

OVERHEAD = 4.0  # s that a run takes besides: starting, warming up, ending; an estimate
LIBRARIES = ("aiortc", "av", "opencv-python", "numpy")

# --- The parts -----------------------------------------------------------------------------------


class Part(NamedTuple):
    """Cases to be compared with each other, and the tables that show them."""

    cases: Sequence[Case]
    tables: Sequence[Table]


SENT = Column("sent of the film, %", "sent", 2)  # less than 100: the server itself is too slow
SCORED = Column("scored of those, %", "scored", 2)
LATENCY = tuple(Column(f"{share}, ms", f"latency {share}", 2) for share in ("p50", "p95", "p99"))
ERROR = tuple(Column(f"{share}, px", f"error {share}", 4) for share in ("p50", "p95", "p99"))
CPU = tuple(Column(f"{name}, cores", f"{name} cpu", 3) for name in ("server", "client", "process_a"))


def latency_part() -> Part:
    """Return the part about latency and its steps."""
    cases: list[Case] = []
    for codec, encoder in itertools.product(("vp8", "h264"), ("shared", "aiortc")):
        what = f"{codec} {encoder}"
        plain, floor = f"plain: {codec} aiortc stock", f"floor: {what}"
        ratios = (
            Ratio("p50 / floor", "latency p50", floor, "latency p50"),
            Ratio("p99 / floor", "latency p99", floor, "latency p50"),
            Ratio("cpu / plain", "cpu", plain, "cpu"),
        )
        server = ("--codec", codec, "--encoder", encoder)
        marker, stock = (("--jitter-buffer", buffer) for buffer in ("marker", "stock"))
        quick = what == "vp8 shared"
        cases += [
            Loop(f"{what} marker", ratios, quick, server, marker),
            Loop(f"{what} stock", ratios, server=server, client=stock),
            Loop(f"traced: {what} marker", (), quick, server, marker, wrapper="tools.tracing"),
            Floor(floor, (), quick, codec, encoder),
        ]
        if encoder == "aiortc":
            cases.append(Loop(plain, ratios, codec == "vp8", server, stock, wrapper="tools.plain"))
    columns = (
        *LATENCY,
        Column("p50 / floor", "p50 / floor", 2),
        Column("p99 / floor p50", "p99 / floor", 2),
        *CPU,
        Column("CPU / plain", "cpu / plain", 2),
        SENT,
        SCORED,
    )
    title = "from a frame's being drawn to its coordinate's return, 640x480, 30 frames a second"
    steps = tuple(Column(f"{step}, ms", step, 2) for step in (*STEPS, "sum"))
    return Part(
        cases,
        (
            Table(f"Latency {title}", columns, "latency", plot_latency),
            Table(f"Steps {title}: the median of each, with notes taken", steps, "steps", plot_steps),
        ),
    )


def accuracy_part() -> Part:
    """Return the part about accuracy: one thing changed at a time."""
    changed: dict[str, list[object]] = {
        "--color": [name for name in COLORS if name != "white"],
        "--radius": [5, 10, 40, 80],
        "--speed": [60, 960],
        "--bitrate": ["100k", "250k", "2M"],
        "--size": ["320x240", "1280x720"],
        "--codec": ["h264"],
    }
    quick = {("--color", "blue"), ("--bitrate", "100k")}
    cases = [Loop("default", quick=True)]
    cases += [
        Loop(f"{option[2:]} {value}", quick=(option, value) in quick, server=(option, value))
        for option, values in changed.items()
        for value in values
    ]
    title = (
        "Error against the truth of the very frame; the default is VP8, 500 kbit/s, 640x480, 30 frames a second, a "
        "white ball, radius 20 px, 240 px a second"
    )
    return Part(cases, (Table(title, (*ERROR, SENT, SCORED), "accuracy", plot_accuracy),))


def scale_part() -> Part:
    """Return the part about many clients: one that looks, and a crowd that does not."""
    cases = [
        Loop(
            f"{clients}",
            (Ratio("server / 1", "server cpu", "1", "server cpu"),),
            clients in {1, 8, 32},
            crowd=clients - 1,
        )
        for clients in (1, 2, 4, 8, 16, 32)
    ]
    title = (
        "Clients of one server, 640x480, 30 frames a second. One of them is client.py, whose latency this is; the "
        "others answer for every frame without looking at it. Scored: of all that was sent to all of them"
    )
    columns = (CPU[0], Column("CPU / 1 client", "server / 1", 2), *LATENCY, SENT, SCORED)
    return Part(cases, (Table(title, columns, "scale", plot_scale),))


def size_part() -> Part:
    """Return the part about large pictures at high rates."""
    bitrates = {  # kbit/s
        ("640x480", 30): 500,
        ("640x480", 60): 1000,
        ("1280x720", 30): 1500,
        ("1280x720", 60): 2500,
        ("1920x1080", 30): 3000,
        ("1920x1080", 60): 5000,
    }
    cases = [
        Loop(
            f"{size} {fps} {codec}",
            quick=codec == "vp8" and (size, fps) in {("1280x720", 60), ("1920x1080", 30), ("1920x1080", 60)},
            server=("--size", size, "--bitrate", f"{bitrate}k", "--codec", codec),
            fps=fps,
        )
        for codec in ("vp8", "h264")
        for (size, fps), bitrate in bitrates.items()
    ]
    rates = ", ".join(f"{bitrate} for {size} {fps}" for (size, fps), bitrate in bitrates.items())
    title = f"Sizes and frame rates; the bit rates are, in kbit/s, {rates}"
    return Part(cases, (Table(title, (SENT, SCORED, *LATENCY, ERROR[0], *CPU), "size", plot_latency),))


def transports_part() -> Part:
    """Return the part about the ways that frames can travel."""
    coded = {
        "media": ("--codec", {"vp8": "vp8", "h264": "h264"}),
        "datachannel": ("--quality", {"jpeg": "90", "png": "png"}),
        "tcp": ("--quality", {"jpeg": "90", "png": "png"}),
    }
    cases = [
        Loop(
            f"{transport} {name}",
            quick=name in {"vp8", "jpeg"},
            server=("--transport", transport, option, value),
            client=("--transport", transport),
        )
        for transport, (option, values) in coded.items()
        for name, value in values.items()
    ]
    title = "Ways for the frames to travel, 640x480, 30 frames a second"
    return Part(cases, (Table(title, (*LATENCY, *ERROR[:2], *CPU, SENT, SCORED), "transports", plot_latency),))


# --- All runs ------------------------------------------------------------------------------------


def measure_part(name: str, part: Part, rounds: int, seconds: float, say: Callable[[str], None]) -> tuple[Results, int]:
    """Measure all cases of a part, round by round; what fails is told and left out.

    Args:
        name: the part's.
        rounds, seconds: how many, and how long a case takes in each.
        say: is told of each run.

    Returns:
        The results, and how many runs failed.
    """
    results: Results = {case.name: {} for case in part.cases}
    failures = 0
    for number, case in in_turns(part.cases, rounds):
        try:
            figures = case.measure(seed=number, seconds=seconds)
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
    shown = (("latency p50", "ms"), ("sum", "ms"), ("error p50", "px"), ("scored", "%"), ("server cpu", "cores"))
    return ", ".join(f"{name} {figures[name]:.3g} {unit}" for name, unit in shown if name in figures)


def machine() -> dict[str, str]:
    """Return what the figures were measured on."""
    cpuinfo = Path("/proc/cpuinfo").read_text()
    models = [line.partition(":")[2].strip() for line in cpuinfo.splitlines() if line.startswith("model name")]
    return {
        "processor": models[0] if models else platform.machine(),
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        **{library: version(library) for library in LIBRARIES},
    }


# --- The command line ----------------------------------------------------------------------------

PARTS: dict[str, Callable[[], Part]] = {
    "latency": latency_part,
    "accuracy": accuracy_part,
    "scale": scale_part,
    "size": size_part,
    "transports": transports_part,
}
ROUNDS, SECONDS = 3, 10.0
QUICK_SECONDS = 2.0
MAX_ROUNDS, MAX_SECONDS = 100, 300.0


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the options; exit with status 2 if they are wrong."""
    parser = options.Parser(description="Run server and client side by side, and show what the loop costs.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"what to run: {', '.join(PARTS)} (all)")
    parser.add_argument("--quick", action="store_true", help="one short round of the most telling cases")
    parser.add_argument("--rounds", type=int, metavar="N", help=f"how often each case is run ({ROUNDS}; quick: 1)")
    parser.add_argument(
        "--seconds",
        type=options.seconds,
        metavar="SECONDS",
        help=f"how long each case is measured ({SECONDS:g}; quick: {QUICK_SECONDS:g})",
    )
    parser.add_argument("--folder", type=Path, default=Path("bench"), help="where to save tables and plots (bench)")
    args = parser.parse_args(argv)
    for part in args.parts:
        if part not in PARTS:
            parser.error(f"argument PART: {part!r}: must be one of {', '.join(PARTS)}")
    args.parts = args.parts or list(PARTS)
    args.rounds = args.rounds if args.rounds is not None else 1 if args.quick else ROUNDS
    args.seconds = args.seconds or (QUICK_SECONDS if args.quick else SECONDS)
    if not 1 <= args.rounds <= MAX_ROUNDS:
        parser.error(f"argument --rounds: {args.rounds}: must be 1 to {MAX_ROUNDS}")
    if args.seconds > MAX_SECONDS:
        parser.error(f"argument --seconds: {args.seconds:g}: must be at most {MAX_SECONDS:g}")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit status: 0 all went well, 1 a run failed, 2 wrong usage."""
    args = parse_args(argv)
    parts = {name: PARTS[name]() for name in args.parts}
    if args.quick:
        parts = {name: part._replace(cases=[case for case in part.cases if case.quick]) for name, part in parts.items()}
    left = args.rounds * sum(len(part.cases) for part in parts.values())

    def say(text: str) -> None:
        nonlocal left
        left -= 1
        print(f"{text}  [{minutes(left)} left]", file=sys.stderr, flush=True)

    def minutes(runs: int) -> str:
        return f"about {runs * (args.seconds + OVERHEAD) / 60:.1f} min"

    print(f"{left} runs of {args.seconds:g} s, {args.rounds} of each case: {minutes(left)}", file=sys.stderr)
    started = datetime.now(UTC)
    args.folder.mkdir(parents=True, exist_ok=True)
    results: dict[str, Results] = {}
    failed = 0
    with contextlib.suppress(KeyboardInterrupt):  # what has been measured is shown
        for name, part in parts.items():
            results[name], failures = measure_part(name, part, args.rounds, args.seconds, say)
            failed += failures
            for table in part.tables:
                print(f"\n{markdown(table, results[name])}", flush=True)
                save_plot(table, results[name], args.folder / f"{table.name}.png")
    save(args, started, parts, results)
    print(f"saved in {args.folder}/" + (f"; {failed} runs failed" if failed else ""), file=sys.stderr)
    return 1 if failed else 0


def save(args: argparse.Namespace, started: datetime, parts: Mapping[str, Part], results: dict[str, Results]) -> None:
    """Write results.json, and the tables in Markdown."""
    facts = {"date": f"{started:%Y-%m-%d %H:%M} UTC", **machine()}
    whole = {**facts, "rounds": args.rounds, "seconds": args.seconds, "parts": results}
    (args.folder / "results.json").write_text(json.dumps(whole, indent=2) + "\n")
    how = f"{args.rounds} rounds of {args.seconds:g} s; median (lowest–highest)"
    lines = [", ".join(f"{name} {value}" for name, value in facts.items()) + f". {how}.\n"]
    lines += [markdown(table, results[name]) for name in results for table in parts[name].tables]
    (args.folder / "tables.md").write_text("\n".join(lines))


if __name__ == "__main__":
    sys.exit(main())
