"""Two hosts on one machine, with a bad network between them.

    python3 -m tools.netlab [--seconds 20]     runs server and client through every fault, prints a table
    python3 -m tools.netlab --transports       compares the ways that frames can travel, with and without loss

`Lab` makes two network namespaces, joined by two TUN devices with a process in between that loses, delays and
reorders packets, each way by itself, and can black out altogether. No kernel module is needed (netem is not in
every kernel), only root, iproute2 and /dev/net/tun. Nothing leads out of the namespaces.

Words: loss is a share of the packets, in percent; delay and jitter are ms, one way; jitter is uniform, around
the delay; rate is kbit/s each way, and what would have to wait longer than QUEUE for it is lost.
"""

import argparse
import ctypes
import fcntl
import heapq
import itertools
import json
import os
import random
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

from tools.procfs import ROOT, children, processor_time

SERVER_ADDRESS, CLIENT_ADDRESS = "10.77.0.1", "10.77.0.2"
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000  # linux/if_tun.h
CLONE_NEWNET = 0x40000000  # linux/sched.h
MTU = 1500  # bytes
QUEUE = 0.3  # s


def missing() -> str | None:
    """Return why a lab cannot be made here, or None if it can."""
    if os.geteuid() != 0:
        return "needs root"
    if shutil.which("ip") is None:
        return "needs iproute2"
    if not Path("/dev/net/tun").exists():
        return "needs /dev/net/tun"
    probe = f"probe{os.getpid()}"
    if subprocess.run(["ip", "netns", "add", probe], capture_output=True, check=False).returncode:
        return "network namespaces are not allowed here"
    subprocess.run(["ip", "netns", "del", probe], check=True)
    return None


class Lab:
    """Two hosts, `server` and `client`, and the link between them, for the length of a with-block.

    `server` and `client` are what to put before a command to run it on that host.

    Args:
        loss: percent of the packets, each way.
        delay: ms, each way.
        jitter: ms around the delay, each way.
        rate: kbit/s, each way; none if 0.
    """

    def __init__(self, loss: float = 0, delay: float = 0, jitter: float = 0, rate: float = 0) -> None:
        name = f"lab{os.getpid()}"
        self._hosts = (f"{name}-s", f"{name}-c")
        self.server, self.client = (("ip", "netns", "exec", host) for host in self._hosts)
        self._impairments = [str(value) for value in (loss, delay, jitter, rate)]
        self._link: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        try:
            for host in self._hosts:
                _ip("netns", "add", host)
                _ip("-n", host, "link", "set", "lo", "up")
            self._link = subprocess.Popen(
                [sys.executable, "-m", "tools.netlab", "--link", *self._hosts, *self._impairments],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                text=True,
            )
            assert self._link.stdout is not None
            if not self._link.stdout.readline():
                raise RuntimeError("the link did not come up")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._link is not None:
            assert self._link.stdout is not None
            self._link.terminate()
            self._link.wait()
            self._link.stdout.close()
        for host in self._hosts:
            subprocess.run(["ip", "netns", "del", host], capture_output=True, check=False)

    def bytes_sent(self) -> int:
        """Return how many bytes the server's host has sent."""
        devices = subprocess.run([*self.server, "cat", "/proc/net/dev"], capture_output=True, text=True, check=True)
        tun = next(line for line in devices.stdout.splitlines() if "tun0:" in line)
        return int(tun.split(":")[1].split()[8])  # proc_net_dev(5)

    def black_out(self, lasting: float) -> None:
        """Lose every packet for so many seconds."""
        assert self._link is not None
        for wait in (lasting, 0):
            self._link.send_signal(signal.SIGUSR1)
            time.sleep(wait)


# --- The link ------------------------------------------------------------------------------------


class Impairment(NamedTuple):
    """What the link does to packets: loss as a share, delay and jitter in s, rate in bytes / s, 0 for no limit."""

    loss: float
    delay: float
    jitter: float
    rate: float


def run_link(hosts: Sequence[str], impairment: Impairment) -> None:
    """Carry packets between two namespaces until SIGTERM; SIGUSR1 turns a blackout on and off."""
    ends = [_open_tun(host) for host in hosts]
    for host, own, peer in zip(hosts, (SERVER_ADDRESS, CLIENT_ADDRESS), (CLIENT_ADDRESS, SERVER_ADDRESS), strict=True):
        _ip("-n", host, "addr", "add", own, "peer", peer, "dev", "tun0")
        _ip("-n", host, "link", "set", "tun0", "mtu", str(MTU), "up")
    state = {"dark": False, "over": False}
    signal.signal(signal.SIGUSR1, lambda *_: state.update(dark=not state["dark"]))
    signal.signal(signal.SIGTERM, lambda *_: state.update(over=True))
    print("up", flush=True)

    dice = random.Random(1)
    order = itertools.count()
    flying: list[tuple[float, int, int, bytes]] = []  # when it lands (s), order, to which end, packet
    busy = [0.0, 0.0]  # until when each end is sending, s
    while not state["over"]:
        wait = max(0.0, flying[0][0] - time.monotonic()) if flying else 0.2
        readable, _, _ = select.select(ends, [], [], wait)
        for end in readable:
            packet = os.read(end, 65535)
            if state["dark"] or dice.random() < impairment.loss:
                continue
            near, leaves = ends.index(end), time.monotonic()
            if impairment.rate:
                if busy[near] - leaves > QUEUE:
                    continue
                leaves = busy[near] = max(leaves, busy[near]) + len(packet) / impairment.rate
            lands = leaves + impairment.delay + dice.uniform(-1, 1) * impairment.jitter
            heapq.heappush(flying, (lands, next(order), 1 - near, packet))
        while flying and flying[0][0] <= time.monotonic():
            _, _, target, packet = heapq.heappop(flying)
            os.write(ends[target], packet)


def _open_tun(host: str) -> int:
    """Make the device tun0 in a namespace, and return its file descriptor."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/self/ns/net") as home, open(f"/run/netns/{host}") as there:  # noqa: PTH123  # descriptors
        if libc.setns(there.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
        tun = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH", b"tun0", IFF_TUN | IFF_NO_PI))
        if libc.setns(home.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns back")
    return tun


def _ip(*args: str) -> None:
    subprocess.run(["ip", *args], check=True)


# --- The table -----------------------------------------------------------------------------------


class Fault(NamedTuple):
    """One row of the table: impairments of the link as in Lab, and how long it is dark in the middle (s)."""

    name: str
    loss: float = 0
    delay: float = 0
    jitter: float = 0
    rate: float = 0
    dark: float = 0


FAULTS = (
    Fault("none"),
    Fault("1 % loss", loss=1),
    Fault("5 % loss", loss=5),
    Fault("50 ms delay", delay=50),
    Fault("5 % loss, 50 ms delay, 10 ms jitter", loss=5, delay=50, jitter=10),
    Fault("150 kbit/s", rate=150),
    Fault("5 s without network", dark=5),
    Fault("5 s without network, 50 ms delay", delay=50, dark=5),
)


WAYS = (
    ("media",),
    ("datachannel", "--quality", "90"),
    ("datachannel", "--quality", "png"),
    ("tcp", "--quality", "90"),
    ("tcp", "--quality", "png"),
)


def measure(fault: Fault, seconds: float, way: Sequence[str] = WAYS[0]) -> dict[str, Any]:
    """Run server and client through a fault.

    Args:
        way: how the frames travel, and the server's options for that.

    Returns:
        The server's summary; and, of the second half of the run, `kbit_s` that left the server, headers and
        all, and `cores` that both programs kept busy.
    """
    with (
        Lab(fault.loss, fault.delay, fault.jitter, fault.rate) as lab,
        tempfile.TemporaryDirectory() as folder,
    ):
        path = Path(folder) / "summary.json"
        where = ["--signaling-host", SERVER_ADDRESS]
        serve = [sys.executable, "server.py", *where, "--once", "--summary", str(path), "--transport", *way]
        find = [sys.executable, "client.py", *where, "--transport", way[0]]
        quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "cwd": ROOT}
        server = subprocess.Popen([*lab.server, *serve], **quiet)
        client = subprocess.Popen([*lab.client, *find], **quiet)
        try:
            time.sleep(seconds / 2)
            began, spent, sent = time.monotonic(), _processor_time(server.pid, client.pid), lab.bytes_sent()
            if fault.dark:
                lab.black_out(fault.dark)
            time.sleep(seconds / 2)
            lasted = time.monotonic() - began
            cores = (_processor_time(server.pid, client.pid) - spent) / lasted
            kbit_s = (lab.bytes_sent() - sent) * 8 / 1000 / lasted
            client.send_signal(signal.SIGINT)
            client.wait(30)
            server.wait(30)
        finally:
            client.kill()
            server.kill()
            client.wait()
            server.wait()
        summary: dict[str, Any] = json.loads(path.read_text())
        return {**summary, "kbit_s": kbit_s, "cores": cores}


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


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; return the exit status."""
    parser = argparse.ArgumentParser(description="Run server and client through a bad network.")
    parser.add_argument("--seconds", type=float, default=20, help="for each fault (20)")
    parser.add_argument("--transports", action="store_true", help="compare the ways that frames can travel")
    parser.add_argument(
        "--link", nargs=6, metavar=("HOST", "HOST", "LOSS", "DELAY", "JITTER", "RATE"), help=argparse.SUPPRESS
    )
    args = parser.parse_args(argv)
    if args.link:
        loss, delay, jitter, rate = map(float, args.link[2:])
        run_link(args.link[:2], Impairment(loss / 100, delay / 1000, jitter / 1000, rate * 1000 / 8))
        return 0
    reason = missing()
    if reason is not None:
        print(f"netlab.py: error: {reason}", file=sys.stderr)
        return 1
    if args.transports:
        print_transports(args.seconds)
        return 0
    print("| fault | sent | scored | missed | skipped | lost | error mean, px | latency p50 / p95, ms |")
    print("|---|---|---|---|---|---|---|---|")
    for fault in FAULTS:
        summary = measure(fault, args.seconds)
        frames, error, latency = summary["frames"], summary["error_px"], summary["latency_ms"]
        shares = " | ".join(
            f"{frames[state] / frames['sent']:.1%}" for state in ("scored", "missed", "skipped", "lost")
        )
        figures = f"{error['mean']:.4f} | {latency['p50']:.1f} / {latency['p95']:.1f}" if error else "- | -"
        print(f"| {fault.name} | {frames['sent']} | {shares} | {figures} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
