"""Runs the media server of relay.mjs for the length of a block."""

from collections.abc import Iterator
from contextlib import contextmanager

from support.programs import Program
from tools.procfs import ROOT, free_port


@contextmanager
def run_relay(port: int | None = None, prefix: tuple[str, ...] = (), **settings: str) -> Iterator[tuple[Program, str]]:
    """Run it; give it, and the start of its addresses, as http://127.0.0.1:PORT.

    Args:
        port: where it listens; a free one if None.
        prefix: what to run it with, such as another network's namespace.
        settings: what relay.mjs reads from its environment.
    """
    port = port or free_port()
    environment = ("env", *(f"{name}={value}" for name, value in settings.items()))
    with Program(ROOT / "tests/support/relay.mjs", port, prefix=prefix, interpreter=(*environment, "node")) as relay:
        relay.wait_for("listening")
        yield relay, f"http://127.0.0.1:{port}"
