"""What a client behind a bad link costs another one that has a good one: nothing, its figures should say.

The other one runs on the server's own host, so what it meets is the server's doing alone.
"""

import contextlib
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tools.lab import SERVER_ADDRESS, Lab
from tools.procfs import descendants, processor_time
from tools.program import Program

OPENED = "^watching "  # what a client says when the film begins


def measure_neighbour(
    lab: Lab, seconds: float, options: Sequence[str] = (), keep: Path | None = None, *, alone: bool
) -> dict[str, Any]:
    """Run a server with a client on its own host, and one behind the link.

    Args:
        lab: the two hosts.
        seconds: for which the client on the server's host is watched.
        options: the server's.
        keep: the folder in which the run stays; None: nowhere.
        alone: leave the client behind the link out.

    Returns:
        The summary of the client on the server's host, as a server's summary has it, and the `cores` that all
        programs kept busy.
    """
    where = ("--signaling-host", SERVER_ADDRESS)
    with contextlib.ExitStack() as stack:
        out = keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(Program("server.py", *where, "--out", out, *options, prefix=lab.server))
        programs = [server]
        if not alone:
            far = stack.enter_context(Program("client.py", *where, "--view", "none", prefix=lab.client))
            far.wait_for(OPENED)
            programs.append(far)
        near = stack.enter_context(Program("client.py", *where, "--view", "none", prefix=lab.server))
        programs.append(near)
        near.wait_for(OPENED)
        began, spent = time.monotonic(), _spent(programs)
        time.sleep(seconds)
        cores = (_spent(programs) - spent) / (time.monotonic() - began)
        for program in reversed(programs):
            program.end()
        clients = json.loads((out / "summary.json").read_text())["clients"]
    ours = next(client for client in clients if client["peer"].startswith(f"{SERVER_ADDRESS}:"))
    return {**ours, "clients": [ours], "kbit_s": ours["network"]["kbit_s"], "cores": cores}


def _spent(programs: Sequence[Program]) -> float:
    """Return the processor time of programs and all of their children, s."""
    return sum(processor_time(pid) for each in programs for pid in (each.pid, *descendants(each.pid)))
