"""publisher.py: when the film is published once more, and when it never will be."""

import asyncio
import itertools
import re
from argparse import Namespace

import pytest

from common.ice import IceServer
from common.sessions import End, SlowPeerError
from programs import publisher as publishing
from programs.publisher import Publisher
from support.programs import PATIENCE
from transport import media_server


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


async def test_publisher_leaves_a_server_that_drops_it_at_once_more_and_more_time(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The pauses double while sessions end at once, and that is told once; one that lasted begins anew, and is told."""
    monkeypatch.setattr(media_server, "PAUSE_FIRST", 0.02)
    monkeypatch.setattr(media_server, "PAUSE_MAX", 0.2)
    monkeypatch.setattr(publishing, "WELL_AFTER", 30.0)
    said, begun, lasting = list[str](), list[float](), asyncio.Event()
    publisher = Publisher(Namespace(whip="http://media.example/whip"), lambda _: pytest.fail("no track"), said.append)
    loop = asyncio.get_running_loop()

    async def publish() -> str:
        begun.append(loop.time())
        publisher._sessions += 1
        publisher._tell_published(None)
        if len(begun) == 7:
            monkeypatch.setattr(publishing, "WELL_AFTER", 0.0)
        if len(begun) == 8:
            monkeypatch.setattr(publishing, "WELL_AFTER", 30.0)
            lasting.set()
            await asyncio.Event().wait()
        return End.FAILED

    monkeypatch.setattr(publisher, "_publish", publish)
    running = asyncio.create_task(publisher.run())
    async with asyncio.timeout(PATIENCE):
        await lasting.wait()
    running.cancel()
    await asyncio.wait([running])
    gaps = [later - earlier for earlier, later in itertools.pairwise(begun)]
    assert all(gap >= least - 0.005 for gap, least in zip(gaps, (0.02, 0.04, 0.08, 0.16, 0.2, 0.2), strict=False))
    lost = [record.getMessage() for record in caplog.records]
    assert [re.sub(r".*whip: ", "", line) for line in lost] == [
        "connection failed as soon as it was; once more in 0.02 s", "connection failed; once more in 0.02 s",
    ]  # fmt: skip
    assert said == ["published at http://media.example/whip"] * 3
