"""Packets that are sent again, over real connections: counted, asked or unasked, and only while there is loss."""

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from aiortc import RTCRtpSender

from support.links import lose_packets, meeting
from support.programs import PATIENCE
from transport import resending
from transport.aiortc_internals import tap_sender
from transport.copies import APART, CopyRule
from transport.media import MediaAnswer, MediaOffer
from transport.resending import MAX_BUDGET, MAX_PACKETS, ROUND_TRIP, USEFUL


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
    """Over a good connection the bytes are counted, and that is all."""
    async with filming() as (offer, _, arrived):
        await take(arrived, 30)
        assert offer.traffic["bytes_sent"] > 30 * 12
        assert offer.traffic["resent_asked"] == 0
        assert offer.traffic["resent_unasked"] == 0


async def test_packets_are_sent_twice_as_soon_as_some_are_asked_for():
    """Loss begins it; from then on no frame is missed, though every fifth packet is lost."""
    async with filming(every=5) as (offer, _, arrived):
        await take(arrived, 20)
        while offer.traffic["resent_unasked"] == 0:
            await take(arrived, 1)
        pts = await take(arrived, 30)
        assert offer.traffic["resent_asked"] >= 2
        assert [round((after - before) / 3000) for before, after in itertools.pairwise(pts)] == [1] * 29


async def test_copies_end_at_once_where_latency_grows():
    """Told of congestion, the server sends no packet twice for a while."""
    async with filming(every=5) as (offer, _, arrived):
        while offer.traffic["resent_unasked"] == 0:
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


# --- The resender by itself, with a clock that stands still ----------------------------------------


class Sender:
    """What the resender asks of a sender: what the receiver reports."""

    async def getStats(self) -> dict[str, Any]:  # noqa: N802  # aiortc's name
        """Return nothing: no report has come."""
        return {}


class Line:
    """A resender, and what goes over its line.

    Args:
        patch: to put the line where aiortc's is.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.again: list[int] = []  # numbers of the packets that were sent again unasked
        self.traffic: Counter[str] = Counter()
        patch.setattr(resending, "tap_sender", self._tap)
        self.resender = resending.Resender(Sender(), self.traffic, lambda: self.now)  # type: ignore[arg-type]

    def _tap(self, _: object, *callbacks: Any) -> Any:
        self.send, self.count_again, self.ask = callbacks
        return self._send_again

    async def _send_again(self, number: int) -> None:
        self.again.append(number)
        self.count_again(100)

    async def pass_time(self, seconds: float) -> None:
        """Let time pass, and what is due be sent."""
        self.now += seconds
        async with asyncio.timeout(PATIENCE):
            while self.resender._due and self.resender._due[0][0] <= self.now:  # noqa: ASYNC110
                await asyncio.sleep(0.001)  # nothing tells of it


@pytest.fixture
async def line(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Line]:
    """Give a resender whose first packets are sent, some time ago."""
    made = Line(monkeypatch)
    for number in range(20):
        made.send(number, 1000)
    await made.pass_time(10)
    made.again.clear()
    made.traffic.clear()
    yield made
    await made.resender.close()


async def test_all_bytes_are_counted(line: Line):
    """What is sent, what is asked for and what is sent unasked: bytes of all, and packets of each."""
    line.send(100, 1000)
    line.count_again(300)
    assert line.traffic == {"bytes_sent": 1300, "resent_asked": 1}
    line.resender.on_picture_lost()
    line.send(101, 1000)
    await line.pass_time(0.01)
    assert line.again == [101]
    assert line.traffic == {"bytes_sent": 2400, "resent_asked": 1, "resent_unasked": 1}


async def test_packet_is_sent_again_once_a_round_trip(line: Line):
    """However often it is asked for; and asking twice is a sign of loss, which brings a copy of what is sent next."""
    line.send(7, 1000)
    assert line.ask(7)
    line.now += ROUND_TRIP / 2
    assert not line.ask(7)
    line.send(100, 1000)
    line.now += ROUND_TRIP
    assert line.ask(7)
    await line.pass_time(0.01)
    assert line.again == [100, 7]  # and what is asked for while there is loss is sent twice as well


async def test_packet_that_would_come_too_late_is_not_sent_again(line: Line):
    """Half a second and two round trips later nobody waits for it, nor for one that was never sent."""
    line.send(100, 1000)
    line.now += 0.9 * USEFUL
    assert line.ask(100)
    line.now += 0.2 * USEFUL + 2 * ROUND_TRIP
    assert not line.ask(100)
    assert not line.ask(999)


async def test_what_was_sent_before_congestion_is_not_sent_again(line: Line):
    """The film goes on at a key frame then: what is asked for of the time before would only fill the queue again."""
    line.send(100, 1000)
    line.resender.on_congested()
    assert not line.ask(100)
    line.send(101, 1000)
    assert line.ask(101)


async def test_no_more_than_half_of_the_packets_is_sent_again(line: Line):
    """Who asks for everything gets a burst, and then one packet for two that are new, however long it was silent."""
    for number in range(100, 1000):
        line.send(number, 1000)
    assert sum(line.ask(number) for number in range(1000)) == MAX_BUDGET
    for number in range(1000, 1100):
        line.send(number, 1000)
    assert sum(line.ask(number) for number in range(1000, 1100)) == 50


async def test_requests_are_remembered_within_bounds(line: Line):
    """As many as aiortc remembers packets; the newest of all."""
    for number in range(3 * MAX_PACKETS):
        line.now += ROUND_TRIP / 1000
        for _ in range(2):
            line.send(number, 1000)
        line.ask(number)
    assert len(line.resender._resent) == MAX_PACKETS
    assert not line.ask(3 * MAX_PACKETS - 1)


async def test_packets_that_are_asked_for_are_a_sign_of_loss(line: Line):
    """Two of them, some time apart: what is sent from then on is sent twice."""
    for number in (100, 101):
        line.send(number, 1000)
        line.now += 2 * APART
        assert line.ask(number)
    await line.pass_time(0.01)
    line.again.clear()
    line.send(102, 1000)
    await line.pass_time(0.01)
    assert line.again == [102]


async def test_copy_does_not_wait_for_another_that_is_due_long_after_it(line: Line):
    """Where one is waited for already, another that is due earlier is sent when its time has come."""
    line.resender._schedule(99, [3600.0])
    await asyncio.sleep(0.01)  # it is waited for
    line.resender.on_picture_lost()
    line.send(100, 1000)
    await line.pass_time(0.01)
    assert line.again == [100]


async def test_copies_that_are_due_are_not_sent_into_a_queue(line: Line):
    """What was to be sent again is not, once latency grows; and nothing is for a while."""
    line.resender.on_picture_lost()
    line.send(100, 1000)
    line.resender.on_congested()
    await line.pass_time(1)
    line.resender.on_picture_lost()
    line.send(101, 1000)
    await line.pass_time(1)
    assert line.again == []


async def test_copy_that_cannot_be_sent_is_not_the_last(line: Line, monkeypatch: pytest.MonkeyPatch):
    """A connection that is lost for a moment ends no copies."""

    async def fail(_: int) -> None:
        raise ConnectionError

    send_again = line.resender._retransmit
    line.resender.on_picture_lost()
    monkeypatch.setattr(line.resender, "_retransmit", fail)
    line.send(100, 1000)
    await line.pass_time(0.01)
    monkeypatch.setattr(line.resender, "_retransmit", send_again)
    line.send(101, 1000)
    await line.pass_time(0.01)
    assert line.again == [101]


async def test_failure_is_told(line: Line, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    """Copies do not end in silence; and a resender that is closed has not failed."""

    async def fail(_: int) -> None:
        raise RuntimeError("no line")

    line.resender.on_picture_lost()
    monkeypatch.setattr(line.resender, "_retransmit", fail)
    line.send(100, 1000)
    await line.pass_time(0.01)
    async with asyncio.timeout(PATIENCE):
        while "no line" not in caplog.text:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    assert "packets are not sent twice any more" in caplog.text
    caplog.clear()
    await line.resender.close()
    assert caplog.text == ""


async def test_reports_of_the_receiver_begin_the_copies(monkeypatch: pytest.MonkeyPatch):
    """What it says of lost packets, and of the round trip, is heard; the same report twice is one."""
    told: list[tuple[int, int]] = []
    heard = asyncio.Event()
    report = SimpleNamespace(
        type="remote-inbound-rtp", timestamp=1, packetsReceived=90, packetsLost=10, roundTripTime=0.3
    )

    async def stats(_: Sender) -> dict[str, Any]:
        heard.set()
        return {"report": report}

    monkeypatch.setattr(Sender, "getStats", stats)
    monkeypatch.setattr(resending, "STATS_INTERVAL", 0.001)
    monkeypatch.setattr(CopyRule, "on_report", lambda _, sent, lost, now: told.append((sent, lost)))
    line = Line(monkeypatch)
    async with asyncio.timeout(PATIENCE):
        for _ in range(3):
            heard.clear()
            await heard.wait()
    assert told == [(100, 10)]
    line.send(1, 1000)
    assert line.ask(1)
    line.now += 0.2
    assert not line.ask(1)
    await line.resender.close()
