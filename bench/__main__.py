"""Run server and client side by side in many ways, and print and save what the loop costs.

    python3 -m bench                      everything
    python3 -m bench latency scale        some parts; --help names them all
    python3 -m bench --quick              one short round of the most telling cases, in three minutes

Each case is measured once in every round, so that what drifts on the machine drifts for all; a figure is the
median of the rounds, with the lowest and the highest in brackets. Server and client run as programs, as they
are; latency, error and the share of frames scored come from the server's CSV, processor time from /proc (so this
needs Linux) in cores: 1 is one core busy all the time. Words:

    floor        one process that encodes and decodes the same frames at the same pace, by the same calls
    chain        the same work as a chain of blocking calls in three processes; see bench/chain.py
    traced       server and client with notes taken of when each frame passes each station; see bench/tracing.py
    plain        server and client with every frame handled as a BGR image, pickled; see bench/plain.py
    crowd        clients that look at nothing, to load a server with; see bench/crowd.py
"""

import argparse
import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.parts import PARTS, Part
from bench.rounds import measure_part
from common import options
from common.remaining import Remaining, told_time
from report import case_plots
from report.measured import Measured, save, take
from report.tables import markdown, show
from tools.browser import CHROMEDRIVER, CHROMIUM
from tools.lab import missing

OVERHEAD = 5.0  # s that a run takes besides: starting, warming up, ending; an estimate

ROUNDS, SECONDS = 3, 10.0
QUICK_SECONDS = 2.0
MAX_ROUNDS, MAX_SECONDS = 100, 300.0


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the options; exit with status 2 if they are wrong."""
    parser = options.Parser(
        prog="python3 -m bench",
        description="Run server and client side by side, and show what the loop costs.",
        epilog=parts_told(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help="what to run, see below (all that this machine can)")
    parser.add_argument("--quick", action="store_true", help="one short round of the most telling cases")
    parser.add_argument("--rounds", type=int, metavar="N", help=f"how often each case is run ({ROUNDS}; quick: 1)")
    parser.add_argument(
        "--seconds",
        type=options.seconds,
        metavar="SECONDS",
        help=f"how long each case is measured ({SECONDS:g}; quick: {QUICK_SECONDS:g})",
    )
    parser.add_argument(
        "--folder", type=Path, default=Path("measured"), help="where to save results, tables and plots (measured)"
    )
    parser.add_argument(
        "--keep", type=Path, metavar="FOLDER", help="keep each run there, for python3 -m report RUN [RUN ...] (nowhere)"
    )
    args = parser.parse_args(argv)
    for part in args.parts:
        if part not in PARTS:
            parser.error(f"argument PART: {part!r}: must be one of {', '.join(PARTS)}")
    args.parts = args.parts or [part for part in PARTS if part not in lacking()]
    args.rounds = args.rounds if args.rounds is not None else 1 if args.quick else ROUNDS
    args.seconds = args.seconds or (QUICK_SECONDS if args.quick else SECONDS)
    if not 1 <= args.rounds <= MAX_ROUNDS:
        parser.error(f"argument --rounds: {args.rounds}: must be 1 to {MAX_ROUNDS}")
    if args.seconds > MAX_SECONDS:
        parser.error(f"argument --seconds: {args.seconds:g}: must be at most {MAX_SECONDS:g}")
    return args


def lacking() -> set[str]:
    """Return the parts for which this machine lacks something."""
    lacks = {"prediction": missing() is not None, "browser": CHROMIUM is None or CHROMEDRIVER is None}
    return {part for part, lacks_it in lacks.items() if lacks_it}


def parts_told() -> str:
    """Return what each part compares, and how many runs a round of it is, for --help."""
    lines = []
    for name, create in PARTS.items():
        part = create()
        lines.append(f"  {name:<12}{part.about}; {len(part.cases)} runs a round")
    return "parts:\n" + "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit status: 0 all went well, 1 a run failed, 2 wrong usage."""
    args = parse_args(argv)
    parts = {name: PARTS[name]() for name in args.parts}
    if args.quick:
        parts = {name: part._replace(cases=[case for case in part.cases if case.quick]) for name, part in parts.items()}
    runs = args.rounds * sum(len(part.cases) for part in parts.values())
    each = args.seconds + OVERHEAD
    print(
        f"{runs} runs of {args.seconds:g} s, {args.rounds} of each case: about {told_time(runs * each)}",
        file=sys.stderr,
    )
    args.folder.mkdir(parents=True, exist_ok=True)
    failed = 0

    def runs_of(name: str) -> Path | None:
        return args.keep / name if args.keep is not None else None

    with contextlib.suppress(KeyboardInterrupt), Remaining("benchmark", runs, each) as remaining:
        for name, part in parts.items():
            results, failures = measure_part(name, part, args.rounds, args.seconds, remaining.done, runs_of(name))
            failed += failures
            command = f"python -m bench {name} --rounds {args.rounds} --seconds {args.seconds:g}"
            remaining.pause()
            failed += not keep(take(name, command, results), part, args.folder)
            remaining.resume()
    print(f"saved in {args.folder}/" + (f"; {failed} runs failed" if failed else ""), file=sys.stderr)
    return 1 if failed else 0


def keep(measured: Measured, part: Part, folder: Path) -> bool:
    """Print a part's tables, and save its results, tables and plots; return whether the results were saved."""
    for table in part.tables:
        show(table, measured.results)
        if table.draw is not None:
            case_plots.save(table, measured.results, folder / f"{table.name}.svg", measured.digest)
    told = [f"**{table.title}**\n\n{markdown(table, measured.results)}" for table in part.tables]
    (folder / f"{measured.part}.md").write_text("\n".join([f"{measured.where}\n", *told]), encoding="utf-8")
    return save(measured, folder)


if __name__ == "__main__":
    sys.exit(main())
