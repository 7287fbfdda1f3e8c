"""What a bad network costs: server and client on two hosts with one between them, as a table.

    python3 -m tools.netlab [--seconds 20]     runs server and client over every bad link
    python3 -m tools.netlab --transports       compares the ways that frames can travel, with and without loss

Each row stands beside the same link without loss, measured in the same run, and tells p95 and p99 as multiples of
its. The words are those of tools/lab.py.
"""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tools.lab import SERVER_ADDRESS, Lab, missing
from tools.procfs import ROOT, children, processor_time


class Fault(NamedTuple):
    """One row of the table: impairments of the link as in Lab, and how long it is dark in the middle (s)."""

    name: str
    loss: float = 0
    delay: float = 0
    jitter: float = 0
    rate: float = 0
    dark: float = 0
    burst: float = 1

    def calm(self) -> "Fault":
        """Return the same link without loss."""
        delay = f"{self.delay:g} ± {self.jitter:g} ms" if self.delay else "none"
        return Fault(delay if not self.rate else self.name, delay=self.delay, jitter=self.jitter, rate=self.rate)


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
)


WAYS = (
    ("media",),
    ("datachannel", "--quality", "90"),
    ("datachannel", "--quality", "png"),
    ("tcp", "--quality", "90"),
    ("tcp", "--quality", "png"),
)


def measure(
    fault: Fault, seconds: float, way: Sequence[str] = WAYS[0], options: Sequence[str] = (), seed: int = 1
) -> dict[str, Any]:
    """Run server and client through a fault.

    Args:
        way: how the frames travel, and the server's options for that.
        options: more of the server's.
        seed: of loss and delay.

    Returns:
        The server's summary; and, of the second half of the run, `kbit_s` that left the server, headers and
        all, `kbit_s_back` that came to it, and `cores` that both programs kept busy.
    """
    impairments = (fault.loss, fault.delay, fault.jitter, fault.rate, fault.burst, seed)
    with Lab(*impairments) as lab, tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "summary.json"
        where = ["--signaling-host", SERVER_ADDRESS]
        serve = ["server.py", *where, "--once", "--summary", str(path), "--transport", *way, *options]
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


def print_transports(seconds: float) -> None:
    """Print the table of the ways that frames can travel."""
    print("| frames travel by | loss | scored | error mean, px | latency p50 / p95, ms | kbit/s | cores |")
    print("|---|---|---|---|---|---|---|")
    for loss in (0, 5):
        for way in WAYS:
            summary = measure(Fault("", loss=loss), seconds, way)
            frames, error, latency = summary["frames"], summary["error_px"], summary["latency_ms"]
            figures = f"{error['mean']:.4f} | {latency['p50']:.1f} / {latency['p95']:.1f}" if error else "- | -"
            print(
                f"| {' '.join(way)} | {loss} % | {frames['scored'] / frames['sent']:.1%} | {figures}"
                f" | {summary['kbit_s']:.0f} | {summary['cores']:.2f} |",
                flush=True,
            )


def print_links(faults: Iterable[Fault], seconds: float, options: Sequence[str], seed: int) -> None:
    """Print the table of the bad links, each beside the same link without loss.

    Args:
        faults: its rows.
        seconds: for each run.
        options: more of the server's options.
        seed: of loss and delay.
    """
    print("| link | sent | scored | missed | skipped | lost | error mean, px | latency p50 / p95 / p99, ms", end=" | ")
    print("p95 and p99, without loss = 1 | kbit/s there / back | cores | rung, changes | again: asked / unasked |")
    print("|---|---|---|---|---|---|---|---|---|---|---|---|---|")
    calm: dict[Fault, dict[str, Any]] = {}
    for fault in faults:
        without_loss = fault.calm()
        if without_loss not in calm and without_loss != fault:
            calm[without_loss] = measure(without_loss, seconds, options=options, seed=seed)
            print_row(without_loss, calm[without_loss], calm[without_loss])
        summary = measure(fault, seconds, options=options, seed=seed)
        calm.setdefault(fault, summary)
        print_row(fault, summary, calm[without_loss])


def print_row(fault: Fault, summary: dict[str, Any], calm: dict[str, Any]) -> None:
    """Print what came of one link, beside what came of it without loss."""
    frames, error, latency = summary["frames"], summary["error_px"], summary["latency_ms"]
    shares = " | ".join(f"{frames[state] / frames['sent']:.1%}" for state in ("scored", "missed", "skipped", "lost"))
    figures = "- | - | -"
    if latency and calm["latency_ms"]:
        ratios = " / ".join(f"{latency[name] / calm['latency_ms'][name]:.2f}" for name in ("p95", "p99"))
        quantiles = " / ".join(f"{latency[name]:.1f}" for name in ("p50", "p95", "p99"))
        figures = f"{error['mean']:.4f} | {quantiles} | {ratios}"
    network = summary["clients"][0].get("network", {})
    print(
        f"| {fault.name} | {frames['sent']} | {shares} | {figures}"
        f" | {summary['kbit_s']:.0f} / {summary['kbit_s_back']:.0f} | {summary['cores']:.2f}"
        f" | {network.get('rung', '-')}, {network.get('rung_changes', '-')}"
        f" | {network.get('resent_asked', '-')} / {network.get('resent_unasked', '-')} |",
        flush=True,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; return the exit status."""
    parser = argparse.ArgumentParser(description="Run server and client through a bad network.")
    parser.add_argument("--seconds", type=float, default=20, help="for each fault (20)")
    parser.add_argument("--transports", action="store_true", help="compare the ways that frames can travel")
    parser.add_argument("--only", default="", metavar="TEXT", help="the links whose name has it (all)")
    parser.add_argument("--seed", type=int, default=1, help="of loss and delay (1)")
    parser.add_argument("--codec", default="vp8", help="of the video (vp8)")
    args = parser.parse_args(argv)
    reason = missing()
    if reason is not None:
        print(f"netlab.py: error: {reason}", file=sys.stderr)
        return 1
    if args.transports:
        print_transports(args.seconds)
    else:
        faults = [fault for fault in FAULTS if args.only in fault.name]
        print_links(faults, args.seconds, ("--codec", args.codec), args.seed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
