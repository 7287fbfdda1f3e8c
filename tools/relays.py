"""What a TURN relay costs: server and client on two hosts, straight and by coturn on a third; see tools/turn.py.

Straight, what the two send each other crosses the same two links: the host in the middle is a router then. Relayed,
both go by the relay only, so that each packet passes it twice. Each round has every way once, and its ratios are to
its own straight one.
"""

import contextlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from common.ice import SECRET as SECRET_VARIABLE
from common.remaining import Remaining
from report.tables import Column, Results, Table, folder_name
from tools.program import Program, kept_summary, run_folder
from tools.turn import MIDDLE_ADDRESS, SECRET, SERVER_ADDRESS, Apart, Turn

ROUNDS = 3
OVERHEAD = 6.0  # s that a run takes besides; an estimate
WAYS = {"straight": "", "TURN over UDP": "udp", "TURN over TCP": "tcp", "TURN over TLS": "tls"}
RELAYS_TABLE = Table(
    "Through a TURN relay on both sides, beside the straight way in the same run",
    (
        Column("sent", "sent", 0),
        Column("scored, %", "scored", 1),
        Column("error mean, px", "error mean", 4),
        Column("latency p50, ms", "latency p50", 2),
        Column("latency p95, ms", "latency p95", 1),
        Column("p50, straight = 1", "p50 ratio", 2),
        Column("joined after, s", "joined", 1),
    ),
    "relays",
)


def run_once(way: str, seconds: float, keep: Path | None = None) -> dict[str, Any]:
    """Return the summary of a run, with `joined`: how long (s) it took the two to meet, from their start.

    Args:
        way: how to talk to the relay: udp, tcp or tls; none: straight.
        seconds: that the client is there.
        keep: the folder in which the run stays, as the server's --out makes it; None: nowhere.
    """
    with (
        run_folder(keep) as out,
        Apart(direct=not way) as apart,
        Turn(address=MIDDLE_ADDRESS, prefix=apart.middle) as turn,
        environment({SECRET_VARIABLE: SECRET, "SSL_CERT_FILE": str(turn.ca)}),
    ):
        options = ("--ice-server", turn.url(way), "--relay-only") if way else ()
        serve = ("server.py", "--signaling-host", SERVER_ADDRESS, "--once", *kept_summary(out, keep), *options)
        find = ("client.py", "--signaling-host", MIDDLE_ADDRESS, "--view", "none", *options)
        began = time.monotonic()
        with Program(*serve, prefix=apart.server) as server, Program(*find, prefix=apart.client) as client:
            client.wait_for("^watching")
            joined = time.monotonic() - began
            time.sleep(seconds)
            client.end()
            server.wait()
        return {**json.loads((out / "summary.json").read_text()), "joined": joined}


@contextlib.contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set variables of the environment for the length of a with-block."""
    before = {name: os.environ[name] for name in variables if name in os.environ}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in variables:
            del os.environ[name]
        os.environ.update(before)


def measure_relays(seconds: float, keep: Path | None = None) -> Results:
    """Return what came of each way, so many seconds each in each of ROUNDS rounds.

    Args:
        seconds: for each run.
        keep: the folder in which the runs stay, one folder each; None: nowhere.
    """
    results: Results = {name: {} for name in WAYS}
    with Remaining("ways through a relay", ROUNDS * len(WAYS), seconds + OVERHEAD) as remaining:
        for number in range(1, ROUNDS + 1):
            straight = 0.0
            for name, way in WAYS.items():
                place = keep / f"{folder_name(name)}-{number}" if keep is not None else None
                summary = run_once(way, seconds, place)
                frames, latency, error = summary["frames"], summary["latency_ms"], summary["error_px"]
                straight = straight or latency["p50"]
                figures = {
                    "sent": frames["sent"],
                    "scored": 100 * frames["scored"] / frames["sent"],
                    **{f"latency {share}": value for share, value in latency.items()},
                    **{f"error {share}": value for share, value in error.items()},
                    "p50 ratio": latency["p50"] / straight,
                    "joined": summary["joined"],
                }
                for figure, value in figures.items():
                    results[name].setdefault(figure, []).append(float(value))
                remaining.done(f"{name}: scored {figures['scored']:.1f} %, p50 {latency['p50']:.2f} ms")
    return results
