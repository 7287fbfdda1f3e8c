"""Which WebRTC stacks a server of ours was tried with: each one that is installed here as its client, as a table.

    python3 -m tools.interop [--seconds 10] [--only TEXT]

The server is at this machine's own address, as some stacks gather no loopback address. Clients that decode nothing
say that the ball is in the middle: they have no error. See stacks.py for what is run.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from selenium.common.exceptions import WebDriverException

from common.options import Parser, seconds
from common.remaining import Remaining
from report.measured import save, take
from report.tables import Column, Results, Table, folder_name, show
from tools.firefox import FirefoxError
from tools.procfs import free_port
from tools.program import Program, ProgramError, kept_summary, run_folder
from tools.stacks import Place, Stack, own_address, stacks

TABLE = Table(
    "Stacks as clients of server.py, each with the codecs that it knows",
    (
        Column("sent", "sent", 0),
        Column("scored, %", "scored", 1),
        Column("missed / skipped / lost, %", "missed", 1, ("skipped", "lost")),
        Column("latency p50 / p95, ms", "latency p50", 1, ("latency p95",)),
        Column("error p50, px", "error p50", 4),
    ),
    "interop",
)
OVERHEAD = 6.0  # s that a run takes besides; an estimate
NAMES = {"vp8": "VP8", "h264": "H.264"}


def measure(stack: Stack, codec: str, wanted: float, host: str, keep: Path | None) -> dict[str, list[float]]:
    """Let a stack be the client for a while, and return what came of it.

    Args:
        stack: the client.
        codec: of the film.
        wanted: s, from its first scores on.
        host: of the server.
        keep: the folder in which the run stays, as the server's --out makes it; None: nowhere.

    Raises:
        ProgramError: it was not scored at all.
    """
    with run_folder(None) as folder, run_folder(keep) as out:
        port, page = free_port(), free_port()
        where = ("--signaling-host", host, "--signaling-port", port, "--http", f"{host}:{page}")
        with Program("server.py", *where, "--codec", codec, "--print", "second", *kept_summary(out, keep)) as server:
            server.wait_for("filming")
            with stack.play(Place(host, port, f"http://{host}:{page}/", folder)):
                server.wait_for("scored [1-9]")
                time.sleep(wanted)
            if server.end():
                raise ProgramError(f"the server failed:\n{server.output[-2000:]}")
        return figures_of(json.loads((out / "summary.json").read_text()), stack.finds)


def figures_of(summary: dict[str, Any], finds: bool) -> dict[str, list[float]]:
    """Return what the table shows of a server's summary.

    Args:
        summary: the server's.
        finds: whether the client looked for the ball.
    """
    frames = summary["frames"]
    shares = {state: [100 * frames[state] / frames["sent"]] for state in ("scored", "missed", "skipped", "lost")}
    latency = {f"latency {share}": [summary["latency_ms"][share]] for share in ("p50", "p95")}
    return {
        "sent": [frames["sent"]],
        **shares,
        **latency,
        **({"error p50": [summary["error_px"]["p50"]]} if finds else {}),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table, and save it; return the exit status: 1 where a stack that is here was not scored."""
    parser = Parser(prog="python3 -m tools.interop", description="Try the server with the WebRTC stacks that are here.")
    parser.add_argument("--seconds", type=seconds, default=10, help="for each stack and codec (10)")
    parser.add_argument("--only", default="", metavar="TEXT", help="the stacks whose name has it (all)")
    parser.add_argument("--folder", type=Path, help="where to save the results as well (nowhere)")
    parser.add_argument(
        "--keep", type=Path, metavar="FOLDER", help="keep each run there, for python3 -m report RUN [RUN ...] (nowhere)"
    )
    args = parser.parse_args(argv)
    host = own_address() or "127.0.0.1"
    results, missing, failed = try_all(args, host)
    show(TABLE, results)
    for name, reason in missing.items():
        print(f"{name}: not tried: {reason}")
    for name, reason in failed.items():
        print(f"{name}: {reason}", file=sys.stderr)
    if args.folder is not None:
        args.folder.mkdir(parents=True, exist_ok=True)
        command = f"python -m tools.interop --seconds {args.seconds:g}"
        if not save(take("interop", command, results), args.folder):
            return 1
    return 1 if failed else 0


def try_all(args: argparse.Namespace, host: str) -> tuple[Results, dict[str, str], dict[str, str]]:
    """Return the figures of each stack and codec, which stacks are not here, and which were not scored, and why."""
    chosen = [stack for stack in stacks() if args.only in stack.name]
    missing = {stack.name: reason for stack in chosen if (reason := stack.lacking())}
    runs = [(stack, codec) for stack in chosen if stack.name not in missing for codec in stack.codecs]
    results: Results = {}
    failed: dict[str, str] = {}
    with Remaining("stacks", len(runs), args.seconds + OVERHEAD) as remaining:
        for stack, codec in runs:
            name = f"{stack.name} ({stack.version()}), {NAMES[codec]}"
            try:
                keep = args.keep / folder_name(name) if args.keep is not None else None
                results[name] = measure(stack, codec, args.seconds, host, keep)
            except (ProgramError, FirefoxError, WebDriverException) as error:
                failed[name], results[name] = str(error)[-500:], {}
            remaining.done(name)
    return results, missing, failed


if __name__ == "__main__":
    sys.exit(main())
