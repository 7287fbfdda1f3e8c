"""Two hosts on one machine, joined by a network as bad as it is asked for.

`Lab` makes two network namespaces, joined by two TUN devices with a process in between that loses, delays and
reorders packets, each way by itself, and can black out altogether. No kernel module is needed (netem is not in
every kernel), only root, iproute2 and /dev/net/tun. Nothing leads out of the namespaces.

Words: loss is a share of the packets, in percent; burst is how many packets in a row one loss takes, on average;
delay and jitter are ms, one way; jitter is uniform, around the delay; rate is kbit/s each way, and what would have
to wait longer than QUEUE for it is lost. Loss and delay come from a seed: packet n of a direction meets the same
fate in every run.
"""

import ctypes
import fcntl
import heapq
import itertools
import os
import random
import select
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Self

from tools.procfs import ROOT

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
        burst: packets that one loss takes, on average; 1: each packet meets its own fate.
        seed: of what is lost and delayed.
    """

    def __init__(
        self, loss: float = 0, delay: float = 0, jitter: float = 0, rate: float = 0, burst: float = 1, seed: int = 1
    ) -> None:
        name = f"lab{os.getpid()}"
        self._hosts = (f"{name}-s", f"{name}-c")
        self.server, self.client = (("ip", "netns", "exec", host) for host in self._hosts)
        self._impairments = [str(value) for value in (loss, delay, jitter, rate, burst, seed)]
        self._link: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        try:
            for host in self._hosts:
                _ip("netns", "add", host)
                _ip("-n", host, "link", "set", "lo", "up")
            self._link = subprocess.Popen(
                [sys.executable, "-m", "tools.lab", *self._hosts, *self._impairments],
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

    def bytes_carried(self) -> tuple[int, int]:
        """Return how many bytes the server's host has sent to the client's, and received from it."""
        devices = subprocess.run([*self.server, "cat", "/proc/net/dev"], capture_output=True, text=True, check=True)
        tun = next(line for line in devices.stdout.splitlines() if "tun0:" in line).split(":")[1].split()
        return int(tun[8]), int(tun[0])  # proc_net_dev(5)

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
    burst: float = 1
    seed: int = 1


class Direction:
    """One way over the link: which packets it loses, and when the others land.

    Loss has two states, as Gilbert and Elliott have it: in the bad one every packet is lost, in the good one none.
    A burst ends with probability 1 / burst, and begins as often as the loss asks for.

    Args:
        impairment: what it does.
        seed: of its dice; each direction has its own, so that what one carries changes nothing for the other.
    """

    def __init__(self, impairment: Impairment, seed: str) -> None:
        self._impairment = impairment
        self._dice = random.Random(seed)
        self._bad = False
        self._busy = 0.0  # until when (s) it is sending

    def landing(self, size: int, now: float) -> float | None:
        """Return when (s) a packet of `size` bytes lands that is sent at time `now`; None if it is lost."""
        loss, delay, jitter, rate, burst, _ = self._impairment
        kept = max(1 - loss, 1e-9)
        ends = min(1 / burst, kept)  # the latter: as if there were no states
        begins = ends * loss / kept  # so that the share of the bad state is the loss
        dice = self._dice.random()
        self._bad = dice >= ends if self._bad else dice < begins
        late = delay + self._dice.uniform(-1, 1) * jitter
        if self._bad:
            return None
        if rate:
            if self._busy - now > QUEUE:
                return None
            now = self._busy = max(now, self._busy) + size / rate
        return now + late


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

    directions = [Direction(impairment, f"{impairment.seed} {way}") for way in ("there", "back")]
    order = itertools.count()
    flying: list[tuple[float, int, int, bytes]] = []  # when it lands (s), order, to which end, packet
    while not state["over"]:
        wait = max(0.0, flying[0][0] - time.monotonic()) if flying else 0.2
        readable, _, _ = select.select(ends, [], [], wait)
        for end in readable:
            packet, near = os.read(end, 65535), ends.index(end)
            lands = directions[near].landing(len(packet), time.monotonic())
            if lands is not None and not state["dark"]:
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


if __name__ == "__main__":
    LOSS, DELAY, JITTER, RATE, BURST, SEED = map(float, sys.argv[3:])
    run_link(sys.argv[1:3], Impairment(LOSS / 100, DELAY / 1000, JITTER / 1000, RATE * 1000 / 8, BURST, int(SEED)))
