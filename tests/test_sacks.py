"""Acknowledgements of SCTP: for every second packet, in time, and at once where something is missing."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiortc import RTCPeerConnection, rtcsctptransport

from support.connections import PATIENCE, connected, send_text
from transport import mending, sacks
from transport.sacks import acknowledge_in_pairs

MESSAGES = 20
SENT_AGAIN = rtcsctptransport.SCTP_RTO_MIN  # s after which a packet is sent again, at least


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Send no packet again because the machine was busy: it would be acknowledged at once."""
    for name in ("SCTP_RTO_INITIAL", "SCTP_RTO_MIN"):
        monkeypatch.setattr(rtcsctptransport, name, 10 * PATIENCE)


async def acknowledgements(sender: RTCPeerConnection, receiver: RTCPeerConnection) -> int:
    """Send some messages, one after the other has come, and return how often they were acknowledged."""
    acknowledge, count = sender.sctp._receive_sack_chunk, 0  # type: ignore[union-attr]

    async def counting(chunk: Any) -> None:
        nonlocal count
        count += 1
        await acknowledge(chunk)

    sender.sctp._receive_sack_chunk = counting  # type: ignore[union-attr,method-assign]
    for number in range(MESSAGES):
        assert await send_text(sender, receiver, str(number)) == str(number)
    await until_acknowledged(sender)
    return count


async def until_acknowledged(sender: RTCPeerConnection) -> None:
    """Wait until nothing that was sent is on its way."""
    async with asyncio.timeout(PATIENCE):
        while sender.sctp._sent_queue:  # type: ignore[union-attr]  # noqa: ASYNC110  # nothing tells
            await asyncio.sleep(0.01)


async def test_stock_acknowledges_each() -> None:
    """The library sends one for each packet, and so needs what is here."""
    async with connected() as (offerer, answerer):
        assert await acknowledgements(offerer, answerer) >= MESSAGES


async def test_every_second_packet_is_acknowledged() -> None:
    """Half as many acknowledgements do, and a few for packets that had to wait for another one."""
    async with connected() as (offerer, answerer):
        assert answerer.sctp is not None
        assert acknowledge_in_pairs(answerer.sctp)
        answerer.sctp._send_sack.__self__._delay = PATIENCE  # type: ignore[attr-defined]  # speed is not the matter
        assert await acknowledgements(offerer, answerer) == MESSAGES / 2


async def test_last_packet_is_acknowledged_in_time() -> None:
    """A packet after which none comes is acknowledged all the same, before anybody sends it again."""
    async with connected() as (offerer, answerer):
        assert answerer.sctp is not None
        assert acknowledge_in_pairs(answerer.sctp)
        assert await send_text(offerer, answerer, "alone") == "alone"
        await until_acknowledged(offerer)
    assert sacks.DELAY < SENT_AGAIN / 2


class Transport(SimpleNamespace):
    """The parts of a transport that this looks at."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__(_sack_needed=True, _sack_misordered=set(), _sack_duplicates=[])
        self.sent = asyncio.Event()
        self.error = error

    async def _send_sack(self) -> None:
        self.sent.set()
        if self.error is not None:
            raise self.error


@pytest.mark.parametrize("parts", [{"_sack_misordered": {7}}, {"_sack_duplicates": [7]}], ids=["gap", "duplicate"])
async def test_loss_is_told_at_once(parts: dict[str, Any]) -> None:
    """Where something is missing, or came twice, the sender learns of it with this very packet."""
    transport = Transport()
    assert acknowledge_in_pairs(transport)  # type: ignore[arg-type]
    vars(transport).update(parts)
    await transport._send_sack()
    assert transport.sent.is_set()


async def test_connection_that_has_ended_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A packet may wait for its acknowledgement when the connection ends."""
    monkeypatch.setattr(sacks, "DELAY", 0.0)
    transport = Transport(ConnectionError("closed"))
    assert acknowledge_in_pairs(transport)  # type: ignore[arg-type]
    acknowledging = transport._send_sack.__self__  # type: ignore[attr-defined]
    await transport._send_sack()
    await asyncio.wait_for(transport.sent.wait(), PATIENCE)
    await acknowledging._sending  # does not raise


async def test_other_aiortc_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the parts that it needs, nothing is changed, and that is told."""
    told: list[str] = []
    monkeypatch.setattr(mending.logger, "warning", lambda _, name: told.append(name))
    assert not acknowledge_in_pairs(SimpleNamespace())  # type: ignore[arg-type]
    assert told == ["RTCSctpTransport._send_sack"]
