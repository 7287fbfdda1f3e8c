"""What does looking cost the loop? Latency with each view and without, in turn, in one run.

    python3 -m tools.views_cost [--rounds 3] [--seconds 7]

Prints a table. The window needs a display; the page is watched by one viewer over HTTP.
"""

import http.client
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common.options import Parser, seconds, whole_number
from common.remaining import Remaining
from report.measured import save, take
from report.tables import Column, Results, Table, show
from tools.procfs import free_port
from tools.program import PATIENCE, Program, ProgramError

RETRY_INTERVAL = 0.05  # s between two attempts to get the page: they must not cost what is measured
OVERHEAD = 4.0  # s that a run takes besides; an estimate
TABLE = Table(
    "What the views cost",
    (
        Column("latency p50, ms", "latency p50", 1),
        Column("p95, ms", "latency p95", 1),
        Column("frames sent", "sent", 0),
        Column("scored, %", "scored", 1),
    ),
    "views",
)


def watch(port: int, client: Program) -> None:
    """Be a viewer of the page's picture until the client ends."""
    while client.process.poll() is None:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/picture")
            answer = connection.getresponse()
            while answer.read1(65536):
                pass
        except (OSError, http.client.HTTPException):  # not there yet, or not any more
            time.sleep(RETRY_INTERVAL)


def measure(views: Sequence[str], seconds: float, folder: Path) -> dict[str, Any]:
    """Return the summary of one run with the given options of the client."""
    signaling, page, summary = free_port(), free_port(), folder / "summary.json"
    where = ("--signaling-port", signaling)
    finding = ("client.py", *where, "--duration", seconds, *views, "--http", f"127.0.0.1:{page}")
    with Program(*finding) as client, Program("server.py", *where, "--once", "--summary", summary) as server:
        if any("web" in option for option in views):
            threading.Thread(target=watch, args=(page, client), daemon=True).start()
        for program in (server, client):
            if program.wait(seconds + PATIENCE):
                raise ProgramError(program.output)
    result: dict[str, Any] = json.loads(summary.read_text())
    return result


def figures_of(summary: dict[str, Any]) -> dict[str, float]:
    """Return what the table shows of a run."""
    latency, frames = summary["latency_ms"], summary["frames"]
    return {
        "latency p50": latency["p50"],
        "latency p95": latency["p95"],
        "sent": frames["sent"],
        "scored": 100 * frames["scored"] / frames["sent"],
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table, and save it; return the exit status."""
    parser = Parser(prog="python3 -m tools.views_cost", description="Measure what the views cost.")
    parser.add_argument("--rounds", type=whole_number, default=3, help="how often each is measured (3)")
    parser.add_argument("--seconds", type=seconds, default=7, help="for how long each time (7)")
    parser.add_argument(
        "--folder", type=Path, help="where to save the results as well, as the benchmark does (nowhere)"
    )
    args = parser.parse_args(argv)
    results: Results = {}
    with tempfile.TemporaryDirectory() as name:
        record = ["--record", str(Path(name, "film.mp4"))]
        kinds = {"none": ["--view", "none"], "web": ["--view", "web"], "record": ["--view", "none", *record]}
        if os.environ.get("DISPLAY"):
            kinds |= {"window": ["--view", "window"], "all three": ["--view", "window,web", *record]}
        with Remaining("views", args.rounds * len(kinds), args.seconds + OVERHEAD) as remaining:
            for _ in range(args.rounds):
                for kind, options in kinds.items():
                    figures = figures_of(measure(options, args.seconds, Path(name)))
                    for figure, value in figures.items():
                        results.setdefault(kind, {}).setdefault(figure, []).append(value)
                    remaining.done(f"{kind}: latency p50 {figures['latency p50']:.1f} ms")
    show(TABLE, results)
    if args.folder is None:
        return 0
    args.folder.mkdir(parents=True, exist_ok=True)
    command = f"python -m tools.views_cost --rounds {args.rounds} --seconds {args.seconds:g}"
    return 0 if save(take("views", command, results), args.folder) else 1


if __name__ == "__main__":
    sys.exit(main())
