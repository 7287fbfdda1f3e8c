"""What a media server costs: one server, and two clients of it at once, one straight and one behind a media server.

All on the loopback, in one run; the media server is tests/support/relay.mjs, on werift. See tools/netlab.py.
"""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from report.tables import Column, Results, Table
from tools.procfs import ROOT, free_port
from tools.program import Program, kept_summary, run_folder

MEDIA_SERVER = ROOT / "tests/support/relay.mjs"
MEDIA_TABLE = Table(
    "Through a media server, beside the straight way in the same run",
    (
        Column("sent", "sent", 0),
        Column("scored, %", "scored", 1),
        Column("unmatched", "unmatched", 0),
        Column("error mean, px", "error mean", 4),
        Column("latency p50 / p95 / p99, ms", "latency p50", 1, ("latency p95", "latency p99")),
        Column("p50, straight = 1", "p50 ratio", 2),
    ),
    "media-server",
)


def run_clients(seconds: float, options: Sequence[str] = (), keep: Path | None = None) -> list[dict[str, Any]]:
    """Return what the summary tells of the straight client, and of the other.

    Args:
        seconds: that both are there.
        options: more of the server's.
        keep: the folder in which the run stays, as the server's --out makes it; None: nowhere.
    """
    media, port = free_port(), free_port()
    url, find = f"http://127.0.0.1:{media}", ("client.py", "--signaling-port", port, "--view", "none")
    with Program(MEDIA_SERVER, media, interpreter=("node",)) as relay, run_folder(keep) as out:
        relay.wait_for("listening")
        serve = ("server.py", "--signaling-port", port, "--whip", f"{url}/whip", *kept_summary(out, keep), *options)
        with Program(*serve) as server:
            server.wait_for("published at")
            with Program(*find) as straight, Program(*find, "--whep", f"{url}/whep") as behind:
                for client in (straight, behind):
                    client.wait_for("^watching")
                time.sleep(seconds)
                for client in (straight, behind):
                    client.end()
            server.end()
        clients: list[dict[str, Any]] = json.loads((out / "summary.json").read_text())["clients"]
        return sorted(clients, key=lambda client: str(client["transport"]) == "elsewhere")


def measure_media_server(seconds: float, options: Sequence[str] = (), keep: Path | None = None) -> Results:
    """Return what came of both ways; the arguments are those of run_clients."""
    results: Results = {}
    straight, behind = run_clients(seconds, options, keep)
    for name, client in (("straight", straight), ("through a media server", behind)):
        frames, latency, error = client["frames"], client["latency_ms"] or {}, client["error_px"] or {}
        figures = {
            "sent": frames["sent"],
            "scored": 100 * frames["scored"] / max(1, frames["sent"]),
            "unmatched": frames["unmatched"],
            **{f"latency {share}": value for share, value in latency.items()},
            **{f"error {share}": value for share, value in error.items()},
        }
        if latency and straight["latency_ms"]:
            figures["p50 ratio"] = latency["p50"] / straight["latency_ms"]["p50"]
        results[name] = {figure: [float(value)] for figure, value in figures.items()}
    return results
