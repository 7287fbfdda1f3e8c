"""A browser as the client, beside client.py: Chromium with a jitter buffer of its own choice, and with none.

Where the time goes is what the page says of a median frame; see browser/parts.js.
"""

import csv
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.cases import ROWS, WARM_UP, BenchError, Case, Figures, Loop, kept_rows, ledger_figures
from report.case_plots import draw_latency, draw_steps
from report.tables import Column, Table
from tools.browser import CHROMEDRIVER, CHROMIUM, run_browser
from tools.procfs import free_port, processor_time
from tools.program import Program, ProgramError, run_folder

PARTS = ("there", "buffer", "decode", "handover", "find", "back")  # as the page calls them
NAMES = ("film, encoding, network", "jitter buffer", "decoder", "waiting to be found", "finding", "way back")
COMPOSITOR_WARM_UP = 4.0  # s more, until the browser's own jitter buffer has settled


@dataclass(frozen=True)
class Page(Case):
    """A server and the page that is a client, in Chromium.

    query: of the page's address, such as buffer=own; server: the server's options.
    """

    query: str = ""
    server: tuple[object, ...] = ()

    def measure(self, seed: int, seconds: float, keep: Path | None = None) -> Figures:
        """Open the page, and read what the server's ledger and the page itself say."""
        if CHROMIUM is None or CHROMEDRIVER is None:
            raise BenchError("needs Debian's packages chromium and chromium-driver")
        with run_folder(keep) as folder, run_folder(None) as profile:
            port = free_port()
            where = ("--signaling-port", free_port(), "--http", f"127.0.0.1:{port}")
            film = ("--seed", seed, "--print", "second", *kept_rows(folder, keep))
            try:
                with Program("server.py", *where, *film, *self.server) as server, run_browser(profile) as browser:
                    server.wait_for("filming")
                    browser.get(f"http://127.0.0.1:{port}/?{self.query}")
                    server.wait_for("scored [1-9]")
                    time.sleep(WARM_UP + COMPOSITOR_WARM_UP)
                    began, used = time.monotonic(), processor_time(server.pid)
                    time.sleep(seconds)
                    cpu = (processor_time(server.pid) - used) / (time.monotonic() - began)
                    parts = browser.execute_script("return client.parts")
                    if server.end():
                        raise BenchError(f"the server failed:\n{server.output[-2000:]}")
            except ProgramError as error:
                raise BenchError(str(error)[-2000:]) from None
            with (folder / ROWS).open() as file:
                figures = ledger_figures(csv.DictReader(file), round(seconds * 30))
        named = {name: float(parts[part]) for part, name in zip(PARTS, NAMES, strict=True)}
        return {**figures, **named, "sum": sum(named.values()), "server cpu": cpu}


def browser_cases() -> list[Case]:
    """Return client.py with both of its jitter buffers, and the page in its ways."""
    marker, stock = (("--jitter-buffer", buffer) for buffer in ("marker", "stock"))
    cases: list[Case] = [
        Loop("client.py: as it is", quick=True, client=marker),
        Loop("client.py: aiortc's jitter buffer", client=stock),
        Page("Chromium: jitter buffer of 0 ms", quick=True),
        Page("Chromium: its own jitter buffer", query="buffer=own"),
        Page("Chromium: frames from a canvas", query="frames=canvas"),
        Page("Chromium: H.264", query="codec=h264"),
    ]
    return cases


TABLES = (
    Table(
        "A browser as the client, 640x480, 30 frames a second",
        (
            *(Column(f"{share}, ms", f"latency {share}", 2) for share in ("p50", "p95", "p99")),
            *(Column(f"{share}, px", f"error {share}", 4) for share in ("p50", "p99")),
            Column("scored, %", "scored", 2),
            Column("server, cores", "server cpu", 3),
        ),
        "browser",
        draw_latency,
        "A browser as the client",
    ),
    Table(
        "Where the time goes in the browser: a median frame",
        tuple(Column(f"{name}, ms", name, 2) for name in (*NAMES, "sum")),
        "browser-parts",
        partial(draw_steps, steps=NAMES),
        "Where the time goes in the browser",
    ),
)
