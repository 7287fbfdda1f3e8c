"""Packets that are sent again, over real connections: counted, asked or unasked, and only while there is loss."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiortc import RTCRtpSender

from support.links import lose_packets, meeting
from support.programs import PATIENCE
from transport import resending
from transport.aiortc_internals import tap_sender
from transport.media import MediaAnswer, MediaOffer


@asynccontextmanager
async def filming(**lost: Any) -> AsyncIterator[tuple[MediaOffer, MediaAnswer, "asyncio.Queue[int]"]]:
    """Give both ends of a film that loses packets as `lose_packets` says, and the pts of the frames that arrive."""
    arrived: asyncio.Queue[int] = asyncio.Queue()
    async with meeting(on_frame=lambda pts, _: arrived.put_nowait(pts)) as (offer, answer):
        lose_packets(offer, **lost)
        yield offer, answer, arrived


async def take(arrived: "asyncio.Queue[int]", count: int) -> list[int]:
    """Return the pts of so many frames, in ticks."""
    async with asyncio.timeout(PATIENCE):
        return [await arrived.get() for _ in range(count)]


async def test_nothing_is_sent_again_without_loss():
    """Over a good connection the bytes are counted, and that is all, but for the first packet's copy."""
    async with filming() as (offer, _, arrived):
        await take(arrived, 30)
        assert offer.traffic["bytes_sent"] > 30 * 12
        assert offer.traffic["resent_asked"] == 0
        assert offer.traffic["resent_unasked"] == 1


async def test_packets_are_sent_twice_as_soon_as_some_are_asked_for():
    """Loss begins it; from then on no frame is missed, though every fifth packet is lost."""
    async with filming(every=5) as (offer, _, arrived):
        await take(arrived, 20)
        while offer.traffic["resent_unasked"] < 2:  # the first is sent twice in any case
            await take(arrived, 1)
        pts = await take(arrived, 30)
        assert offer.traffic["resent_asked"] >= 2
        assert [round((after - before) / 3000) for before, after in itertools.pairwise(pts)] == [1] * 29


async def test_copies_end_at_once_where_latency_grows():
    """Told of congestion, the server sends no packet twice for a while."""
    async with filming(every=5) as (offer, _, arrived):
        while offer.traffic["resent_unasked"] < 2:  # the first is sent twice in any case
            await take(arrived, 1)
        offer.on_congested()
        before = offer.traffic["resent_unasked"]
        await take(arrived, 20)
        assert offer.traffic["resent_unasked"] <= before + 1  # one may have been under way


async def test_receiver_tells_of_loss_and_of_copies():
    """The client learns of loss from what is missing, and from what comes twice."""
    signs: list[None] = []
    async with filming(every=5) as (_, answer, arrived):
        answer.on_loss = lambda: signs.append(None)
        while len(signs) < 10:
            await take(arrived, 1)


async def test_close_twice_leaves_no_task():
    """Closing ends the copies; twice does no harm."""
    async with filming(every=5) as (offer, _, arrived):
        await take(arrived, 5)
        await offer.close()
        await offer.close()
        assert offer._resender is not None
        assert all(task.done() for task in offer._resender._tasks)


@pytest.mark.parametrize("name", ["_retransmit", "_rtx_ssrc", "_RTCRtpSender__rtx_payload_type"])
async def test_other_aiortc_is_left_alone(name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    """Where a private name is missing nothing is touched, one line says so, and the film flows as ever."""
    tapped: list[object] = []

    def tap(sender: RTCRtpSender, *callbacks: Any) -> object:
        value = getattr(sender, name)
        monkeypatch.delattr(RTCRtpSender, name, raising=False)
        if name in vars(sender):
            delattr(sender, name)
        tapped.append(tap_sender(sender, *callbacks))
        setattr(sender, name, value)
        return tapped[-1]

    monkeypatch.setattr(resending, "tap_sender", tap)
    async with filming() as (offer, _, arrived):
        await take(arrived, 5)
        assert tapped == [None]
        assert "not built as expected" in caplog.text
        assert not offer.traffic
