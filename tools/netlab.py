"""What a bad network costs: server and client on two hosts with one between them, as a table.

    python3 -m tools.netlab [--seconds 20]     runs server and client over every bad link
    python3 -m tools.netlab --transports       compares the ways that frames can travel, with and without loss
    python3 -m tools.netlab --relays           compares what comes through a TURN relay with what comes straight
    python3 -m tools.netlab --media-server     compares what comes through a media server with what comes straight

Each row stands behind the same link without loss, measured in the same run, and tells p95 and p99 as multiples of
its. The words are those of tools/lab.py.
"""

import itertools
import json
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from common.options import Parser, seconds, whole_number
from common.remaining import Remaining
from report.measured import save, take
from report.tables import Column, Results, Table, folder_name, show
from tools.lab import SERVER_ADDRESS, Lab, missing
from tools.media_server import MEDIA_TABLE, measure_media_server
from tools.neighbour import measure_neighbour
from tools.procfs import ROOT, children, processor_time
from tools.relays import RELAYS_TABLE, measure_relays
from tools.stacks import lacking_node
from tools.turn import missing as turn_missing


class Fault(NamedTuple):
    """One row of the table: impairments of the link as in Lab, and how long it is dark in the middle (s).

    beside: the row is another client's, which is on the server's own host beside the one behind this link; without a
    fault, it is there alone.
    """

    name: str
    loss: float = 0
    delay: float = 0
    jitter: float = 0
    rate: float = 0
    dark: float = 0
    burst: float = 1
    beside: bool = False

    def calm(self) -> "Fault":
        """Return the same link without loss; for a client beside another one, itself alone."""
        if self.beside:
            return ALONE
        delay = f"{self.delay:g} ± {self.jitter:g} ms" if self.delay else "none"
        return Fault(delay if not self.rate else self.name, delay=self.delay, jitter=self.jitter, rate=self.rate)


ALONE = Fault("a good client alone", beside=True)
FAULTS = (
    Fault("none"),
    Fault("1 % loss", loss=1),
    Fault("5 % loss", loss=5),
    Fault("1 % loss, 50 ± 10 ms", loss=1, delay=50, jitter=10),
    Fault("5 % loss, 50 ± 10 ms", loss=5, delay=50, jitter=10),
    Fault("5 % loss in bursts of 3, 50 ± 10 ms", loss=5, delay=50, jitter=10, burst=3),
    Fault("10 % loss, 20 ± 5 ms", loss=10, delay=20, jitter=5),
    Fault("150 kbit/s", rate=150),
    Fault("80 kbit/s", rate=80),
    Fault("5 s without network", dark=5),
    Fault("5 s without network, 50 ± 0 ms", delay=50, dark=5),
    Fault("a good client beside a narrow one", rate=80, beside=True),
    Fault("a good client beside a lossy one", loss=10, delay=20, jitter=5, beside=True),
)


WAYS = (
    ("media",),
    ("datachannel", "--quality", "90"),
    ("datachannel", "--quality", "png"),
    ("tcp", "--quality", "90"),
    ("tcp", "--quality", "png"),
)

STATES = ("scored", "missed", "skipped", "lost")
OVERHEAD = 5.0  # s that a run takes besides; an estimate

LINKS_COLUMNS = (
    Column("sent", "sent", 0),
    Column("scored, %", "scored", 1),
    Column("missed / skipped / lost, %", "missed", 1, ("skipped", "lost")),
    Column("error mean, px", "error mean", 4),
    Column("latency p50 / p95 / p99, ms", "latency p50", 1, ("latency p95", "latency p99")),
    Column("p95 / p99, without loss = 1", "p95 ratio", 2, ("p99 ratio",)),
    Column("kbit/s there / back", "kbit_s", 0, ("kbit_s_back",)),
    Column("cores", "cores", 2),
    Column("rung / its changes", "rung", 0, ("rung_changes",)),
    Column("sent again: asked / unasked", "resent_asked", 0, ("resent_unasked",)),
)
LINKS_TABLE = Table("Bad links, each behind the same link without loss, VP8", LINKS_COLUMNS, "links")
LINKS_H264_TABLE = Table("Bad links, each behind the same link without loss, H.264", LINKS_COLUMNS, "links-h264")
WAYS_TABLE = Table(
    "Ways for the frames to travel, without and with loss",
    (
        Column("scored, %", "scored", 1),
        Column("error mean, px", "error mean", 4),
        Column("latency p50 / p95, ms", "latency p50", 1, ("latency p95",)),
        Column("kbit/s", "kbit_s", 0),
        Column("cores", "cores", 2),
    ),
    "ways",
)


def measure(
    fault: Fault,
    seconds: float,
    way: Sequence[str] = WAYS[0],
    options: Sequence[str] = (),
    seed: int = 1,
    keep: Path | None = None,
) -> dict[str, Any]:
    """Run server and client through a fault.

    Args:
        way: how the frames travel, and the server's options for that.
        options: more of the server's.
        seed: of loss and delay.
        keep: the folder in which the run stays, as the server's --out makes it; None: nowhere.

    Returns:
        The server's summary, or where two clients are there that of the one on its host; and, of the second half of
        the run, `kbit_s` that left the server, headers and all, `kbit_s_back` that came to it (of a client on its
        host: what its film took in all, and nothing), and `cores` that all programs kept busy.
    """
    impairments = (fault.loss, fault.delay, fault.jitter, fault.rate, fault.burst, seed)
    with Lab(*impairments) as lab, tempfile.TemporaryDirectory() as folder:
        if fault.beside:
            return measure_neighbour(lab, seconds, options, keep, alone=fault == ALONE)
        out = keep or Path(folder)
        out.mkdir(parents=True, exist_ok=True)
        path, where = out / "summary.json", ["--signaling-host", SERVER_ADDRESS]
        serve = ["server.py", *where, "--once", "--out", str(out), "--transport", *way, *options]
        find = ["client.py", *where, "--transport", way[0], "--view", "none"]
        server = subprocess.Popen([*lab.server, sys.executable, *serve], stdout=subprocess.DEVNULL, cwd=ROOT)
        client = subprocess.Popen([*lab.client, sys.executable, *find], stdout=subprocess.PIPE, cwd=ROOT, text=True)
        assert client.stdout is not None
        try:
            if not client.stdout.readline():  # what it says when the film begins
                raise RuntimeError("the client met no server")
            time.sleep(seconds / 2)
            began, spent, carried = time.monotonic(), _processor_time(server.pid, client.pid), lab.bytes_carried()
            if fault.dark:
                lab.black_out(fault.dark)
            time.sleep(seconds / 2)
            lasted = time.monotonic() - began
            cores = (_processor_time(server.pid, client.pid) - spent) / lasted
            rates = [
                (after - before) * 8 / 1000 / lasted for before, after in zip(carried, lab.bytes_carried(), strict=True)
            ]
            client.send_signal(signal.SIGINT)
            client.communicate(timeout=30)
            server.wait(30)
        finally:
            client.kill()
            server.kill()
            client.wait()
            client.stdout.close()
            server.wait()
        summary: dict[str, Any] = json.loads(path.read_text())
        return {**summary, "kbit_s": rates[0], "kbit_s_back": rates[1], "cores": cores}


def _processor_time(*pids: int) -> float:
    """Return the processor time of processes and all of their children, s."""
    return sum(processor_time(pid) + _processor_time(*children(pid)) for pid in pids)


def figures_of(summary: dict[str, Any]) -> dict[str, float]:
    """Return what came of a run, as figures for the tables."""
    frames, network = summary["frames"], (summary["clients"] or [{}])[0].get("network", {})
    shares = {state: 100 * frames[state] / max(1, frames["sent"]) for state in STATES}
    told = {"error": summary["error_px"] or {}, "latency": summary["latency_ms"] or {}}
    figures = {f"{name} {share}": value for name, values in told.items() for share, value in values.items()}
    counts = {name: float(value) for name, value in network.items() if isinstance(value, int | float)}
    rates = {name: float(summary[name]) for name in ("kbit_s", "kbit_s_back", "cores") if name in summary}
    return {"sent": float(frames["sent"]), **shares, **figures, **counts, **rates}


def kept(figures: dict[str, float]) -> dict[str, list[float]]:
    """Return one round's figures as results have them."""
    return {name: [value] for name, value in figures.items()}


def brief(figures: dict[str, float]) -> str:
    """Return what tells most of a run."""
    quantiles = ", ".join(
        f"{name} {figures[f'latency {name}']:.1f} ms" for name in ("p50", "p95") if "latency p50" in figures
    )
    return f"scored {figures['scored']:.1f} %" + (f", {quantiles}" if quantiles else "")


def measure_transports(seconds: float, keep: Path | None = None) -> Results:
    """Return what came of the ways that frames can travel, without and with loss.

    Args:
        seconds: for each run.
        keep: the folder in which the runs stay, one folder each; None: nowhere.
    """
    results: Results = {}
    with Remaining("ways to travel", 2 * len(WAYS), seconds + OVERHEAD) as remaining:
        for loss, way in itertools.product((0, 5), WAYS):
            name = f"{loss} % loss: {' '.join(way)}"
            figures = figures_of(measure(Fault(name, loss=loss), seconds, way, keep=run_folder(keep, name)))
            results[name] = kept(figures)
            remaining.done(f"{name}: {brief(figures)}")
    return results


def run_folder(keep: Path | None, name: str) -> Path | None:
    """Return where a run stays."""
    return keep / folder_name(name) if keep is not None else None


def measure_links(
    faults: Sequence[Fault], seconds: float, options: Sequence[str], seed: int, keep: Path | None = None
) -> Results:
    """Return what came of the bad links, each behind the same link without loss.

    Args:
        faults: the links.
        seconds: for each run.
        options: more of the server's options.
        seed: of loss and delay.
        keep: the folder in which the runs stay, one folder each; None: nowhere.
    """
    links = list(dict.fromkeys(link for fault in faults for link in (fault.calm(), fault)))
    results: Results = {}
    with Remaining("links", len(links), seconds + OVERHEAD) as remaining:
        for link in links:
            place = run_folder(keep, link.name)
            figures = figures_of(measure(link, seconds, options=options, seed=seed, keep=place))
            calm = results.get(link.calm().name, kept(figures))
            for share in ("p95", "p99"):
                if f"latency {share}" in figures and f"latency {share}" in calm:
                    figures[f"{share} ratio"] = figures[f"latency {share}"] / calm[f"latency {share}"][0]
            results[link.name] = kept(figures)
            remaining.done(f"{link.name}: {brief(figures)}")
    return results


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table, and save it; return the exit status."""
    parser = Parser(prog="python3 -m tools.netlab", description="Run server and client through a bad network.")
    parser.add_argument("--seconds", type=seconds, default=20, help="for each fault (20)")
    parser.add_argument("--transports", action="store_true", help="compare the ways that frames can travel")
    parser.add_argument("--relays", action="store_true", help="compare a TURN relay with the straight way")
    parser.add_argument("--media-server", action="store_true", help="compare a media server with the straight way")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="TEXT",
        help="the links whose name has it; any number (all)",
    )
    parser.add_argument("--seed", type=whole_number, default=1, help="of loss and delay (1)")
    parser.add_argument("--codec", choices=["vp8", "h264"], default="vp8", help="of the video (vp8)")
    parser.add_argument(
        "--folder", type=Path, help="where to save the results as well, as the benchmark does (nowhere)"
    )
    parser.add_argument(
        "--keep", type=Path, metavar="FOLDER", help="keep each run there, for python3 -m report RUN [RUN ...] (nowhere)"
    )
    args = parser.parse_args(argv)
    for text in args.only:
        if not any(text in fault.name for fault in FAULTS):
            names = "; ".join(fault.name for fault in FAULTS)
            parser.error(f"argument --only: {text!r}: no link's name has it; they are: {names}")
    reason = turn_missing() if args.relays else lacking_node() if args.media_server else missing()
    if reason is not None:
        print(f"netlab.py: error: {reason}", file=sys.stderr)
        return 1
    command = f"python -m tools.netlab --seconds {args.seconds:g}"
    if args.transports:
        part, table, command = "ways", WAYS_TABLE, f"{command} --transports"
        results = measure_transports(args.seconds, args.keep)
    elif args.relays:
        part, table, command = "relays", RELAYS_TABLE, f"{command} --relays"
        results = measure_relays(args.seconds, args.keep)
    elif args.media_server:
        part, table = "media-server", MEDIA_TABLE
        command = f"{command} --media-server --codec {args.codec}"
        results = measure_media_server(args.seconds, ("--codec", args.codec), args.keep)
    else:
        part, table = ("links", LINKS_TABLE) if args.codec == "vp8" else ("links-h264", LINKS_H264_TABLE)
        chosen = [*(("--only", text) for text in args.only), ("--seed", args.seed), ("--codec", args.codec)]
        command = " ".join([command, *(f"{name} {shlex.quote(str(value))}" for name, value in chosen)])
        faults = [fault for fault in FAULTS if not args.only or any(text in fault.name for text in args.only)]
        results = measure_links(faults, args.seconds, ("--codec", args.codec), args.seed, args.keep)
    show(table, results)
    if args.folder is None:
        return 0
    args.folder.mkdir(parents=True, exist_ok=True)
    return 0 if save(take(part, command, results), args.folder) else 1


if __name__ == "__main__":
    sys.exit(main())
