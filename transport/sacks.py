"""Acknowledgements of SCTP, fewer: one for every second packet, as the protocol wants it, and not one for each.

aiortc acknowledges every packet at once. A client that reports on every frame would be woken, and the server would
send, once more a frame for that: a quarter of what many clients cost.

Source: RFC 9260, section 6.2: for at least every second packet, within 200 ms, and at once where something is missing.
"""

import asyncio
import contextlib
from typing import Any

from aiortc import RTCSctpTransport

from transport.mending import unexpected

DELAY = 0.1  # s that a packet may wait for another one to be acknowledged with
PARTS = ("_send_sack", "_sack_needed", "_sack_misordered", "_sack_duplicates")


class Acknowledging:
    """Stands where a transport sends an acknowledgement after each packet, and sends it after every second one.

    Args:
        sctp: the transport; it keeps this one.
    """

    def __init__(self, sctp: Any) -> None:
        self._sctp = sctp
        self._send = sctp._send_sack
        self._delay = DELAY
        self._timer: asyncio.TimerHandle | None = None
        self._sending: asyncio.Task[None] | None = None

    async def on_packet(self) -> None:
        """Acknowledge a packet that has come, and the one before it, or wait for the next one."""
        sctp = self._sctp
        if self._timer is None and not sctp._sack_misordered and not sctp._sack_duplicates:
            sctp._sack_needed = False
            self._timer = asyncio.get_running_loop().call_later(self._delay, self._on_late)
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        await self._send()

    def _on_late(self) -> None:
        self._timer = None
        self._sending = asyncio.create_task(self._send_late())

    async def _send_late(self) -> None:
        with contextlib.suppress(ConnectionError):  # it has ended meanwhile
            await self._send()


def acknowledge_in_pairs(sctp: RTCSctpTransport) -> bool:
    """Let a transport acknowledge every second packet; return whether it can be had."""
    if not all(hasattr(sctp, part) for part in PARTS):
        return unexpected("RTCSctpTransport._send_sack")
    sctp._send_sack = Acknowledging(sctp).on_packet  # type: ignore[method-assign]  # of this one only
    return True
