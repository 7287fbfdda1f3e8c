"""Asking a peer whether it is there, and a media server's silence; over real connections."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiortc import RTCPeerConnection

from support.connections import PATIENCE, connected
from transport import aiortc_internals as internals
from transport import media_server
from transport.aiortc_ice import asker, connection_of
from transport.media_server import HttpOffer


@pytest.fixture(autouse=True)
def mended() -> None:
    """Take note of what is heard."""
    assert internals.mend()


def vanish(pc: RTCPeerConnection) -> None:
    """Let a peer be gone without a word, as if it were killed."""
    for protocol in connection_of(pc)._protocols:
        protocol.transport.abort()


async def test_a_peer_that_is_asked_is_heard_if_it_is_there() -> None:
    """Its answer is heard; one that has vanished is asked in vain, and that is no error, nor is a closed connection."""
    async with connected() as (one, two):
        ask = asker(one)
        assert ask is not None
        before = internals.last_heard(one)
        await ask()
        assert internals.last_heard(one) > before
        vanish(two)
        before = internals.last_heard(one)
        await ask()
        assert internals.last_heard(one) == before
    await ask()


def test_a_peer_that_cannot_be_asked_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    """Where aioice is not built as expected there is no asking, and that is told."""
    dtls = SimpleNamespace(transport=SimpleNamespace(_connection=object()))
    pc: Any = SimpleNamespace(sctp=SimpleNamespace(transport=dtls))
    assert asker(pc) is None
    assert "not built as expected: Connection.build_request" in caplog.text


async def test_a_media_server_that_says_nothing_is_asked_before_it_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that answers is there, however little it says; one that does not is gone."""
    monkeypatch.setattr(media_server, "ASK_AFTER", 0.5)
    monkeypatch.setattr(media_server, "SILENCE", 1.5)
    async with connected() as (one, two):
        last_heard = lambda: internals.last_heard(one)  # noqa: E731
        offer: Any = SimpleNamespace(_pc=one, _last_heard=last_heard, _cut_off=asyncio.Event(), _why=None)
        watching = asyncio.create_task(HttpOffer._watch_silence(offer))
        await asyncio.wait([watching], timeout=4.0)  # aioice itself asks every 4 to 6 s, and nobody sends anything
        assert not offer._cut_off.is_set()
        vanish(two)
        await asyncio.wait_for(watching, PATIENCE)
        assert offer._cut_off.is_set()
