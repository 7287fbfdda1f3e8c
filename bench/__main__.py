"""Run server and client side by side in many ways, and print and save what the loop costs.

    python3 -m bench                      everything
    python3 -m bench latency scale        some parts
    python3 -m bench --quick              one short round of the most telling cases, within two minutes

    part         what is compared
    latency      jitter buffers, encoders and codecs, with the floor: nothing but the encode and the decode
    accuracy     colours, radii, speeds, bit rates, sizes
    scale        1 to 32 clients of one server
    size         640x480 to 1920x1080, at 30 and 60 frames a second
    transports   the ways that frames can travel
    finders      the usual ways to find a ball, beside ours, on the same decoded frames
    browser      client.py, and the page in Chromium, with and without a jitter buffer (needs chromium)
    prediction   a coordinate as it is when it arrives, and predicted to the present, over slow links (needs root)

Each case is measured once in every round, so that what drifts on the machine drifts for all; a figure is the
median of the rounds, with the lowest and the highest in brackets. Server and client run as programs, as they
are; latency, error and the share of frames scored come from the server's CSV, processor time from /proc (so this
needs Linux) in cores: 1 is one core busy all the time. Words:

    floor        one process that encodes and decodes the same frames at the same pace, by the same calls
    traced       server and client with notes taken of when each frame passes each station; see bench/tracing.py
    plain        server and client with every frame handled as a BGR image, pickled; see bench/plain.py
    crowd        clients that look at nothing, to load a server with; see bench/crowd.py
"""

import argparse
import contextlib
import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from bench.parts import PARTS, Part
from bench.rounds import machine, measure_part
from bench.tables import Results, markdown, save_plot
from common import options
from tools.browser import CHROMEDRIVER, CHROMIUM
from tools.lab import missing

OVERHEAD = 4.0  # s that a run takes besides: starting, warming up, ending; an estimate

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
    parser.add_argument(
        "--folder", type=Path, default=Path("measured"), help="where to save tables and plots (measured)"
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
