"""publisher.py: when the film is published once more, and when it never will be."""

from argparse import Namespace

import pytest

from common.ice import IceServer
from common.sessions import SlowPeerError
from programs.publisher import Publisher


async def test_publisher_tries_the_relay_that_the_answer_has_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the two have not reached each other, and a relay was named meanwhile, that is tried; nothing else is."""
    publisher = Publisher(Namespace(whip="http://media.example/whip"), lambda _: pytest.fail("no track"), print)
    attempts: list[int] = []

    async def publish() -> str:
        attempts.append(len(publisher._named))
        publisher._named = (IceServer("turn:turn.example", "me", "pass"),)
        raise SlowPeerError("the two have not reached each other")

    monkeypatch.setattr(publisher, "_publish", publish)
    with pytest.raises(SlowPeerError):
        await publisher.run()
    assert attempts == [0, 1]
