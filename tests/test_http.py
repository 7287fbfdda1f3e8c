"""http.py: whoever connects and says nothing, or half of something, takes nothing from who asks."""

import asyncio
import contextlib
import errno
import os
import resource
import socket
import time
from collections.abc import AsyncIterator

import pytest
from prometheus_client import CollectorRegistry, Counter

from common import accepting, http
from tools.procfs import free_port

PATIENCE = 120.0  # s


@contextlib.asynccontextmanager
async def served() -> AsyncIterator[int]:
    """Give the port at which a ready program is watched."""
    registry = CollectorRegistry()
    Counter("balls", "Balls", registry=registry).inc(3)
    port = free_port()
    async with http.serve(("127.0.0.1", port), lambda: True, registry):
        yield port


async def ask(port: int, path: str, *headers: str) -> tuple[int, bytes]:
    """Ask for something over a connection of its own; return the status and the body."""
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        lines = [f"GET {path} HTTP/1.1", "Host: x", "Connection: close", *headers, "", ""]
        writer.write("\r\n".join(lines).encode())
        answer = await reader.read()
        writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


@pytest.mark.parametrize("said", [b"", b"G", b"GET /healthz HTTP/1.1\r\nHost: x\r\n", b"\x16\x03\x01"])
async def test_half_a_request_has_a_deadline(monkeypatch: pytest.MonkeyPatch, said: bytes) -> None:
    """A connection that never comes to the point is closed; one that asks is answered all the while."""
    monkeypatch.setattr(http, "REQUEST_TIMEOUT", 0.3)
    monkeypatch.setattr(http, "KEEP_ALIVE", 3600)
    async with served() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(said)
        async with asyncio.timeout(PATIENCE):
            with contextlib.suppress(ConnectionError):
                await reader.read()
        writer.close()
        assert await ask(port, "/healthz") == (200, b"ok\n")


async def test_half_of_a_second_request_has_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also a connection that was once served is closed when it says no more."""
    monkeypatch.setattr(http, "KEEP_ALIVE", 0.3)
    async with served() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /healthz HTTP/1.1\r\nHo")
        async with asyncio.timeout(PATIENCE):
            assert b"ok\n" in await reader.read()
        writer.close()


async def test_silent_connections_make_room_for_who_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many are opened and say nothing, there is a bound to them, and a probe gets its answer."""
    monkeypatch.setattr(http, "MAX_CONNECTIONS", 10)
    async with served() as port, contextlib.AsyncExitStack() as stack:
        before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208  # the folder itself is one of them
        readers = []
        for _ in range(50):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            stack.callback(writer.close)
            readers.append(reader)
        assert await ask(port, "/healthz") == (200, b"ok\n")
        async with asyncio.timeout(PATIENCE):
            for reader in readers[:30]:
                with contextlib.suppress(ConnectionError):
                    assert await reader.read() == b""
        assert len(os.listdir("/proc/self/fd")) - before <= 50 + 12  # noqa: PTH208  # our ends are among them
        assert await ask(port, "/readyz") == (200, b"ready\n")


async def test_who_has_asked_is_not_sent_away_for_a_newcomer(monkeypatch: pytest.MonkeyPatch) -> None:
    """When all connections are taken by those who have asked, it is the newcomer who has to leave."""
    monkeypatch.setattr(http, "MAX_CONNECTIONS", 3)
    async with served() as port, contextlib.AsyncExitStack() as stack:
        asking = []
        for _ in range(3):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            stack.callback(writer.close)
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"ok\n" in await reader.read(4096)
            asking.append((reader, writer))
        newcomer, writer = await asyncio.open_connection("127.0.0.1", port)
        stack.callback(writer.close)
        async with asyncio.timeout(PATIENCE):
            with contextlib.suppress(ConnectionError):
                assert await newcomer.read() == b""
        for reader, writer in asking:
            writer.write(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"ready\n" in await reader.read(4096)


async def test_no_descriptors_left_is_told_once_a_second(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """While no connection can be accepted, that is a line for each pause; and who waited is served afterwards."""
    monkeypatch.setattr(accepting, "PAUSE", 0.2)
    async with served() as port:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        waiting = []
        for _ in range(20):
            connection = socket.socket()
            connection.setblocking(False)
            waiting.append(connection)
        highest = max(int(name) for name in os.listdir("/proc/self/fd"))  # noqa: PTH208
        filling = [os.open(os.devnull, os.O_RDONLY)]
        while filling[-1] <= highest:
            filling.append(os.open(os.devnull, os.O_RDONLY))
        resource.setrlimit(resource.RLIMIT_NOFILE, (filling[-1] + 1, hard))
        began = time.monotonic()
        try:
            for connection in waiting:
                with contextlib.suppress(BlockingIOError):
                    connection.connect(("127.0.0.1", port))
            async with asyncio.timeout(PATIENCE):
                while len(caplog.records) < 3:  # noqa: ASYNC110  # a log sets no event
                    await asyncio.sleep(0.01)
            told, took = len(caplog.records), time.monotonic() - began
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for descriptor in filling:
                os.close(descriptor)
        assert told <= took / 0.2 + 1
        assert {record.getMessage() for record in caplog.records} == {
            f"port {port}: a connection cannot be accepted: {os.strerror(errno.EMFILE)}"
        }
        assert await ask(port, "/healthz") == (200, b"ok\n")
        for connection in waiting:
            connection.close()


@pytest.mark.parametrize(
    "accept", ["q=zz", "text/plain;q=zz", ";;;", "*/*;q=", "\x7f", "a" * 8000, "text/plain;version=x"]
)
async def test_metrics_bear_with_any_accept(accept: str) -> None:
    """Whatever a client says it takes, it gets the metrics in one form or another, and no 500."""
    async with served() as port:
        status, body = await ask(port, "/metrics", f"Accept: {accept}")
        assert status in {200, 400}
        if status == 200:
            assert b"balls_total 3" in body
        assert await ask(port, "/healthz") == (200, b"ok\n")


async def test_open_listens_at_every_address_of_a_name() -> None:
    """A name is listened at as it is written, as asyncio does it: localhost is both families where there are two."""
    port = free_port()
    async with http.serve(("localhost", port), lambda: True, CollectorRegistry()):
        addresses = {str(info[4][0]) for info in socket.getaddrinfo("localhost", port, type=socket.SOCK_STREAM)}
        for address in addresses:
            _, writer = await asyncio.open_connection(address, port)
            writer.close()
