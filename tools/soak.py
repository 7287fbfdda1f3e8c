"""Memory of server and client over time: is anything kept that should be let go?

    python3 -m tools.soak [--minutes 10]

Prints the memory of the server, the client and process_a, in MB, once a minute, and ends with status
1 if one of the programs has grown by more than LIMIT since the first minute.
"""

import argparse
import sys
import time
from collections.abc import Sequence

from tools.procfs import free_port, memory, process_a_of
from tools.program import Program

LIMIT = 5.0  # MB


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; return the exit status."""
    parser = argparse.ArgumentParser(description="Watch the memory of server and client.")
    parser.add_argument("--minutes", type=float, default=10, help="how long (10)")
    parser.add_argument("--interval", type=float, default=60, help="s between two rows (60)")
    args = parser.parse_args(argv)
    where = ("--signaling-port", free_port())
    with Program("server.py", *where) as server, Program("client.py", "--view", "none", *where) as client:
        server.wait_for("scored [1-9]")
        print("| minute | server, MB | client, MB | process_a, MB |\n|---|---|---|---|")
        rows: list[tuple[float, ...]] = []
        started = time.monotonic()
        while time.monotonic() - started < args.minutes * 60:
            time.sleep(args.interval)
            rows.append(tuple(memory(pid) for pid in (server.pid, client.pid, process_a_of(client.pid))))
            minute = (time.monotonic() - started) / 60
            print(f"| {minute:.1f} | " + " | ".join(f"{value:.1f}" for value in rows[-1]) + " |", flush=True)
    return 0 if all(last - first <= LIMIT for first, last in zip(rows[0], rows[-1], strict=True)) else 1


if __name__ == "__main__":
    sys.exit(main())
