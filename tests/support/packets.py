"""RTP packets and a clock for what takes them in."""

from aiortc.rtp import RtpPacket


class Clock:
    """A clock that stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """Return the time, s."""
        return self.now


def packet(number: int, timestamp: int, data: bytes, marker: bool) -> RtpPacket:
    """Return a packet as the receiver hands it to its jitter buffer."""
    made = RtpPacket(sequence_number=number % 65536, timestamp=timestamp % 2**32, marker=int(marker), payload=data)
    made._data = data  # type: ignore[attr-defined]  # set by the receiver: the depayloaded part
    return made
