"""Where the two programs meet, and when they part, as far from a quiet network as can be."""

import os
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from support import siege
from support.programs import read_summary, run
from tools.lab import SERVER_ADDRESS, Lab
from tools.procfs import free_port

TRANSPORTS = ("media", "datachannel", "tcp")


@contextmanager
def lonely_host() -> Iterator[tuple[str, ...]]:
    """Give what to put before a command to run it on a host that has no network but itself."""
    name = f"lonely{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True)
        yield "ip", "netns", "exec", name
    finally:
        subprocess.run(["ip", "netns", "del", name], check=False)


@pytest.mark.hosts
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_the_two_meet_on_a_machine_without_a_network(tmp_path: Path, host: str):
    """With the loopback alone, frames are scored."""
    path = tmp_path / "s.json"
    where = ("--signaling-host", host, "--signaling-port", free_port())
    with (
        lonely_host() as prefix,
        run("server.py", *where, "--once", "--summary", path, prefix=prefix) as serving,
        run("client.py", *where, "--view", "none", prefix=prefix) as client,
    ):
        serving.wait_for_new_scores()
        assert client.end() == 0
        assert serving.wait() == 0
    assert read_summary(path)["clients"][0]["end"] == "bye"


def test_nothing_is_opened_to_the_outside_by_a_session_over_the_loopback():
    """Where signaling is on 127.0.0.1, so is every UDP port of both programs."""
    port = free_port()
    with (
        run("server.py", "--signaling-port", port) as serving,
        run("client.py", "--signaling-port", port, "--view", "none") as client,
    ):
        serving.wait_for_new_scores(1)
        for program in (serving, client):
            assert {host for host, _ in siege.udp_addresses(program.process.pid)} == {"127.0.0.1"}
        assert client.end() == 0
        assert serving.end() == 0


@pytest.mark.hosts
@pytest.mark.slow
def test_a_client_comes_back_after_forty_seconds_without_network(tmp_path: Path):
    """WebRTC gives the way up: both sides say so, neither takes it for a goodbye, and the client is scored again."""
    with Lab(delay=5) as lab, ExitStack() as stack:
        pairs = []
        for transport in TRANSPORTS:
            where = ("--signaling-host", SERVER_ADDRESS, "--signaling-port", free_port())
            shared, path = (*where, "--transport", transport), tmp_path / transport
            serving = stack.enter_context(run("server.py", *shared, "--summary", path, prefix=lab.server))
            client = stack.enter_context(run("client.py", *shared, "--view", "none", prefix=lab.client))
            pairs.append((serving, client, path))
        for serving, _, _ in pairs:
            serving.wait_for_new_scores()
        lab.black_out(40)
        for serving, client, path in pairs:
            client.wait_for("no frame for 5 s, nor anything else")
            client.wait_for("session ended: (connection failed|vanished); dialling again")
            serving.wait_for("client 1 from .*: (connection failed|vanished)")
            serving.wait_for_new_scores()
            assert client.end() == 0
            assert serving.end() == 0
            assert [each["end"] for each in read_summary(path)["clients"]][1:] == ["bye"]


def test_a_client_says_in_time_that_there_is_no_server_but_something_else():
    """--wait 3 against an HTTP server: exit status 1, long before a handshake's deadline, with the reason."""
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_address[1]
        with run("client.py", "--signaling-port", port, "--view", "none", "--wait", 3) as client:
            assert client.wait() == 1
            assert client.wait_for(
                rf"^client\.py: error: no session with 127\.0\.0\.1:{port} within 3 s: .*says nothing"
            )
        server.shutdown()


@pytest.mark.slow
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_client_leaves_a_server_that_stands_still(transport: str):
    """A film that stands still costs the client its readiness, and it looks for another server."""
    port = free_port()
    shared = ("--signaling-port", port, "--transport", transport)
    with (
        run("tests/support/stalling_server.py", *shared) as serving,
        run("client.py", *shared, "--view", "none") as client,
    ):
        serving.wait_for("^filming at ")
        began = time.monotonic()
        client.wait_for("^watching ")
        client.wait_for("no frame for 5 s")
        client.wait_for("session ended: no frames came; dialling again")
        assert time.monotonic() - began < 45
        client.wait_for("^watching ", 2)
        assert client.end() == 0
