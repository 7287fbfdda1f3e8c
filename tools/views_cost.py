"""What does looking cost the loop? Latency with each view and without, in turn, in one run.

    python3 -m tools.views_cost [--rounds 3] [--seconds 7]

Prints a table. The window needs a display; the page is watched by one viewer over HTTP.
"""

import argparse
import http.client
import json
import os
import statistics
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tools.procfs import free_port
from tools.program import PATIENCE, Program, ProgramError


def watch(port: int, client: Program) -> None:
    """Be a viewer of the page's picture until the client ends."""
    while client.process.poll() is None:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/picture")
            answer = connection.getresponse()
            while answer.read1(65536):
                pass
        except OSError:  # not there yet, or not any more
            client.process.poll()


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


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; return the exit status."""
    parser = argparse.ArgumentParser(description="Measure what the views cost.")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured (3)")
    parser.add_argument("--seconds", type=float, default=7, help="for how long each time (7)")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        record = ["--record", str(Path(name, "film.mp4"))]
        kinds = {"none": ["--view", "none"], "web": ["--view", "web"], "record": ["--view", "none", *record]}
        if os.environ.get("DISPLAY"):
            kinds |= {"window": ["--view", "window"], "all three": ["--view", "window,web", *record]}
        runs: dict[str, list[dict[str, Any]]] = {kind: [] for kind in kinds}
        for _ in range(args.rounds):
            for kind, options in kinds.items():
                runs[kind].append(measure(options, args.seconds, Path(name)))
    print("| view | latency p50, ms | p95, ms | frames sent | scored |\n|---|---|---|---|---|")
    for kind, summaries in runs.items():
        p50, p95 = (statistics.median(s["latency_ms"][q] for s in summaries) for q in ("p50", "p95"))
        sent, scored = (sum(s["frames"][q] for s in summaries) for q in ("sent", "scored"))
        print(f"| {kind} | {p50:.1f} | {p95:.1f} | {sent} | {scored} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
