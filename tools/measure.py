"""Measure again what README and docs show, on a machine with nothing else to do: what `make measure` does.

    python3 -m tools.measure --list            what there is, and how long each takes
    python3 -m tools.measure                   all of it, into measured/
    python3 -m tools.measure latency links     some of it

What fails is told, and the rest goes on. `make figures TAKE=measured` puts the results into README and docs.
"""

import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from common.options import Parser
from common.remaining import told_time
from tools.procfs import ROOT


class Step(NamedTuple):
    """Something to be measured: a module and its options, and how long it takes, min on two cores with nothing else."""

    command: str
    minutes: float
    screen: bool = False


STEPS = {  # the most telling first: whoever stops half-way has these
    "latency": Step("bench latency --rounds 1 --seconds 10", 4.6),
    "scale": Step("bench scale --rounds 1 --seconds 6", 1.6),
    "browser": Step("bench browser --rounds 1 --seconds 6", 1.4),
    "size": Step("bench size --rounds 1 --seconds 4", 2.8),
    "transports": Step("bench transports --rounds 1 --seconds 6", 1.1),
    "links": Step("tools.netlab --seconds 12", 4.0),
    "radius": Step("bench radius --rounds 1 --seconds 3", 2.8),
    "views": Step("tools.views_cost --rounds 1", 1.0, screen=True),
    "media-server": Step("tools.netlab --media-server --seconds 12", 0.4),
    "reporters": Step("tools.reporters --clients 50 100 200 --seconds 8", 0.8),
    "relays": Step("tools.netlab --relays --seconds 4", 2.0),
    "interop": Step("tools.interop --seconds 5", 3.0),
    "ways": Step("tools.netlab --transports --seconds 8", 2.2),
    "links-h264": Step("tools.netlab --seconds 12 --codec h264 --only '5 % loss, 50' --only 150", 0.9),
    "prediction": Step("bench prediction --rounds 1 --seconds 8", 1.8),
    "accuracy": Step("bench accuracy --rounds 1 --seconds 4", 3.4),
    "finders": Step("bench finders --rounds 1 --seconds 4", 2.5),
    "soak": Step("tools.soak --minutes 10", 10.2),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure; return the exit status: 0 all went well, 1 something failed."""
    parser = Parser(prog="python3 -m tools.measure", description="Measure again what README and docs show.")
    parser.add_argument("steps", nargs="*", metavar="STEP", help="what to measure; see --list (all)")
    parser.add_argument("--list", action="store_true", help="say what there is, and how long each takes")
    parser.add_argument("--folder", type=Path, default=Path("measured"), help="where to save the results (measured)")
    args = parser.parse_args(argv)
    if wrong := [name for name in args.steps if name not in STEPS]:
        parser.error(f"argument STEP: {wrong[0]!r}: must be one of {', '.join(STEPS)}")
    names = args.steps or list(STEPS)
    if args.list:
        for name in names:
            print(f"{STEPS[name].minutes:5.1f} min  {name:<13} python3 -m {STEPS[name].command}")
        print(f"{sum(STEPS[name].minutes for name in names):5.1f} min")
        return 0
    failed = []
    for i, name in enumerate(names):
        left = sum(STEPS[each].minutes for each in names[i:])
        print(f"\n=== {name}: {i + 1} of {len(names)}, about {told_time(60 * left)} left", file=sys.stderr, flush=True)
        began = time.monotonic()
        status = subprocess.run(command_of(STEPS[name], args.folder), cwd=ROOT, check=False).returncode
        print(f"=== {name}: status {status} after {told_time(time.monotonic() - began)}", file=sys.stderr, flush=True)
        failed += [name] * (status != 0)
    print(f"measured in {args.folder}/" + (f"; failed: {', '.join(failed)}" if failed else ""), file=sys.stderr)
    return 1 if failed else 0


def command_of(step: Step, folder: Path) -> list[str]:
    """Return what to run, with a screen of its own if it wants one and there can be one."""
    screen = ["xvfb-run", "-a"] if step.screen and shutil.which("xvfb-run") else []
    return [*screen, sys.executable, "-m", *shlex.split(step.command), "--folder", str(folder.resolve())]


if __name__ == "__main__":
    sys.exit(main())
