"""How many reports a second one server carries over the line of reports, as behind a media server that fans out.

    python3 -m tools.reporters [--clients 50 100 200] [--seconds 15] [--fps 30] [--folder FOLDER]

One client sees the film, and everything that it finds is reported over so many lines: each has a ledger of its own in
the server. The processor time is that of the whole server: drawing and encoding the film, once, are in it.
"""

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ball_track import Image, find
from common.ice import IceConfig
from common.options import Parser, seconds, whole_number
from common.remaining import Remaining
from common.sessions import End
from protocol.messages import Found, Missed, Quiet, encode
from report.measured import save, take
from report.tables import Column, Results, Table, show
from tools.procfs import free_port, processor_time
from tools.program import Program, ProgramError, kept_summary, run_folder
from transport.dialling import create_answer, dial
from transport.line import ClientLine

PATIENCE = 60.0  # s
OVERHEAD = 8.0  # s that a row takes besides; an estimate
TABLE = Table(
    "Reports over lines of their own, all into one server",
    (
        Column("reports a second", "reports", 0),
        Column("scored, %", "scored", 2),
        Column("latency p50 / p95 / p99, ms", "latency p50", 1, ("latency p95", "latency p99")),
        Column("the server's core, %", "core", 0),
        Column("that core, of one report, µs", "cost", 0),
    ),
    "reporters",
)


class Nowhere:
    """A way of frames that has none: they are seen once for all lines."""

    flowing = True

    async def open(self) -> bool:
        """Begin."""
        return True

    async def until_end(self) -> End:
        """Wait for ever."""
        await asyncio.Event().wait()
        return End.STOPPED

    async def close(self) -> None:
        """End."""

    def on_round_trip(self, seconds: float) -> None:
        """Do nothing."""


async def report(port: int, lines: int, seconds: float, server: Program) -> tuple[float, float]:
    """Report what one client sees over so many lines; return the reports and the processor time of a second, s."""
    async with contextlib.AsyncExitStack() as stack:
        links: list[ClientLine] = []
        for _ in range(lines):
            link = ClientLine(await dial("127.0.0.1", port, PATIENCE), lambda _: None, Nowhere())
            stack.push_async_callback(link.close)
            assert await link.open()
            link.send(encode(Quiet()))
            links.append(link)
        reports = 0

        def on_frame(pts: int, seen: tuple[Image, ...]) -> None:
            nonlocal reports
            point = find(np.concatenate([plane.ravel() for plane in seen]).reshape(-1, seen[0].shape[1]))
            text = encode(Missed(pts) if point is None else Found(pts, *point))
            reports += sum(link.send(text) for link in links)

        signaling = await dial("127.0.0.1", port, PATIENCE)
        seeing = create_answer(
            "media", signaling, lambda _: None, on_frame, lambda _: None, ice=IceConfig(), jitter_buffer="marker"
        )
        stack.push_async_callback(seeing.close)
        assert await seeing.open()
        await asyncio.sleep(2)  # until the server knows what each line speaks of
        began, spent, before = time.monotonic(), processor_time(server.pid), reports
        await asyncio.sleep(seconds)
        lasted = time.monotonic() - began
        rates = (reports - before) / lasted, (processor_time(server.pid) - spent) / lasted
        for link in links:
            await link.goodbye()
        return rates


def measure(lines: int, seconds: float, fps: float, keep: Path | None = None) -> dict[str, list[float]]:
    """Return the figures of one row. keep: the folder in which the run stays; None: nowhere."""
    port = free_port()
    with run_folder(keep) as out:
        serve = ("--signaling-port", port, "--fps", fps, *kept_summary(out, keep), "--print", "second")
        with Program("server.py", *serve) as server:
            reports, core = asyncio.run(report(port, lines, seconds, server))
            server.end()
        clients = [
            each
            for each in json.loads((out / "summary.json").read_text())["clients"]
            if each["transport"] == "elsewhere"
        ]
        sent, scored = (sum(client["frames"][name] for client in clients) for name in ("sent", "scored"))
        latency = clients[len(clients) // 2]["latency_ms"] if clients else None
        if not reports or latency is None:
            raise ProgramError(f"{lines} lines: nothing was reported, or nothing scored, within {seconds:g} s")
        figures = {
            "reports": reports,
            "scored": 100 * scored / sent,
            **{f"latency {share}": latency[share] for share in ("p50", "p95", "p99")},
            "core": 100 * core,
            "cost": core / reports * 1e6,
        }
        return {name: [value] for name, value in figures.items()}


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; return the exit status."""
    parser = Parser(prog="python3 -m tools.reporters", description="Report over many lines at once.")
    parser.add_argument("--clients", type=whole_number, nargs="+", default=[50, 100, 200], help="lines (50 100 200)")
    parser.add_argument("--seconds", type=seconds, default=15, help="for each (15)")
    parser.add_argument("--fps", type=seconds, default=30, help="of the film (30)")
    parser.add_argument("--folder", type=Path, help="where to save the results as well (nowhere)")
    parser.add_argument(
        "--keep", type=Path, metavar="FOLDER", help="keep each run there, for python3 -m report RUN [RUN ...] (nowhere)"
    )
    args = parser.parse_args(argv)
    results: Results = {}
    with Remaining("reporters", len(args.clients), args.seconds + OVERHEAD) as remaining:
        for lines in args.clients:
            try:
                keep = args.keep / f"{lines}-clients" if args.keep is not None else None
                results[f"{lines} clients"] = row = measure(lines, args.seconds, args.fps, keep)
            except ProgramError as error:
                print(f"reporters: error: {error}", file=sys.stderr)
                return 1
            remaining.done(f"{lines} clients: {row['reports'][0]:.0f} reports a second")
    show(TABLE, results)
    if args.folder is None:
        return 0
    args.folder.mkdir(parents=True, exist_ok=True)
    asked = " ".join(map(str, args.clients))
    command = f"python -m tools.reporters --clients {asked} --seconds {args.seconds:g} --fps {args.fps:g}"
    return 0 if save(take("reporters", command, results), args.folder) else 1


if __name__ == "__main__":
    sys.exit(main())
