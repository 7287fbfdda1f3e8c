"""names.py: names are looked up, and a name service that says nothing is waited for by nobody."""

import asyncio
import socket
import threading
import time

import pytest

from common.names import look_up


async def test_look_up_finds_what_is_there_and_tells_what_is_not() -> None:
    """Names and addresses are found; a name that nobody has is an error."""
    await look_up("localhost")
    await look_up("127.0.0.1")
    with pytest.raises(socket.gaierror):
        await look_up("no-such-host.invalid")


def test_the_end_does_not_wait_for_the_name_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who gives up waiting is done, and so is the loop; what the name service says later is of no interest."""
    answered = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: answered.wait(60))

    async def give_up() -> None:
        async with asyncio.timeout(0.05):
            await look_up("host.example")

    began = time.monotonic()
    with pytest.raises(TimeoutError):
        asyncio.run(give_up())
    assert time.monotonic() - began < 30
    answered.set()
    for thread in threading.enumerate():
        if thread.name == "look up host.example":
            thread.join(10)
            assert not thread.is_alive()
