"""Memory of server and client over time: is anything kept that should be let go?

    python3 -m tools.soak [--minutes 10]

Tells the memory of the server, the client and process_a, in MB, once a minute, and ends with status
1 if one of the programs has grown by more than LIMIT since the first minute.
"""

import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from common.options import Parser, number, seconds
from common.remaining import Remaining
from report.measured import save, take
from report.tables import Column, Results, Table, show
from tools.procfs import free_port, memory, process_a_of
from tools.program import Program

LIMIT = 5.0  # MB
TABLE = Table(
    "Memory over time", tuple(Column(f"{name}, MB", name, 1) for name in ("server", "client", "process_a")), "soak"
)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table, and save it; return the exit status."""
    parser = Parser(prog="python3 -m tools.soak", description="Watch the memory of server and client.")
    parser.add_argument("--minutes", type=number("minutes"), default=10, help="how long (10)")
    parser.add_argument("--interval", type=seconds, default=60, help="s between two rows (60)")
    parser.add_argument(
        "--folder", type=Path, help="where to save the results as well, as the benchmark does (nowhere)"
    )
    args = parser.parse_args(argv)
    results: Results = {}
    rows = max(1, math.ceil(args.minutes * 60 / args.interval))
    where = ("--signaling-port", free_port())
    with Program("server.py", *where) as server, Program("client.py", "--view", "none", *where) as client:
        server.wait_for("scored [1-9]")
        started = time.monotonic()
        with Remaining("memory", rows, args.interval) as remaining:
            for _ in range(rows):
                time.sleep(args.interval)
                used = {"server": server.pid, "client": client.pid, "process_a": process_a_of(client.pid)}
                row = {name: memory(pid) for name, pid in used.items()}
                minute = f"after {(time.monotonic() - started) / 60:.2f} min"
                results[minute] = {name: [value] for name, value in row.items()}
                remaining.done(f"{minute}: " + ", ".join(f"{name} {value:.1f} MB" for name, value in row.items()))
    show(TABLE, results)
    if args.folder is not None:
        args.folder.mkdir(parents=True, exist_ok=True)
        save(take("soak", f"python -m tools.soak --minutes {args.minutes:g}", results), args.folder)
    first, *_, last = (*results.values(), *results.values())
    return 0 if all(last[name][0] - first[name][0] <= LIMIT for name in first) else 1


if __name__ == "__main__":
    sys.exit(main())
