"""What the tools need to run our programs and to watch them: a port, and what Linux says in /proc of a process."""

import contextlib
import os
import random
import socket
from pathlib import Path

ROOT = Path(__file__).parent.parent


def free_port() -> int:
    """Return a TCP port of the loopback that nobody listens on.

    It is below those that Linux gives to outgoing connections, so that none of them takes it before it is used;
    and it is drawn, as others on this machine look for one at the same time.
    """
    while True:
        port = random.SystemRandom().randrange(10_000, 32_768)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def children(pid: int) -> list[int]:
    """Return the process ids of a process's children."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def descendants(pid: int) -> list[int]:
    """Return the process ids of a process's children, whichever of its threads has them, of theirs, and so on."""
    found: list[int] = []
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in map(int, (task / "children").read_text().split()):
                found += [child, *descendants(child)]
    return found


def process_a_of(client: int) -> int:
    """Return the process id of a client's process_a.

    Raises:
        ProcessLookupError: it has none.
    """
    for child in children(client):
        if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
            return child
    raise ProcessLookupError("the client has no process_a")


def processor_time(pid: int) -> float:
    """Return the processor time that a process has used, user and system, in s. Source: proc_pid_stat(5)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(pid: int) -> float:
    """Return a process's anonymous memory, in MB: what it has allocated; no library, whoever else maps that."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
    return int(fields["Anonymous"].split()[0]) / 1024
