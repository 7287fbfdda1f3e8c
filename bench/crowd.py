"""Many clients in one process, to load a server with.

    python3 -m bench.crowd CLIENTS PORT

Each is a connection of its own, with client.py's own link: what it costs the server is what client.py costs it.
But nobody looks at the pictures: they are not decoded, and the ball is reported to be at (0, 0) in each of them.
So all of them together take less than one processor, and their errors mean nothing. Prints a line when all have
joined; ends when the server does.
"""

import asyncio
import sys
from typing import Any

from av import Packet, VideoFrame

from protocol.messages import Found, Quiet, encode
from transport import receiver
from transport.dialling import dial
from transport.media import MediaAnswer
from transport.signaling import close_signaling

WAIT = 30.0  # s for the server to come up
AT_ONCE = 8  # clients that shake hands; a server turns away what comes from one address in larger crowds


class Blind:
    """Stands in for a decoder: takes an encoded frame, and gives a small grey one."""

    def decode(self, packet: "Packet[Any]") -> list[VideoFrame]:
        """Return one frame with the pts of the encoded one."""
        frame = VideoFrame(16, 16, "yuv420p")
        frame.pts = packet.pts
        return [frame]


async def attend(port: int, door: asyncio.Semaphore, joined: asyncio.Semaphore) -> None:
    """Be one client until the server ends the session; release `joined` when it has begun.

    Args:
        door: held while shaking hands.

    Raises:
        ConnectionError: it was turned away.
    """

    def report(pts: int) -> None:
        link.send(encode(Found(pts, 0.0, 0.0)))

    async with door:
        signaling = await dial("127.0.0.1", port, WAIT)
        link = MediaAnswer(signaling, lambda _: None, None, lambda pts, _: report(pts), "marker")
        opened = await link.open()
    try:
        if not opened:
            raise ConnectionError("turned away")
        link.send(encode(Quiet()))
        joined.release()
        await link.until_end()
    finally:
        await link.close()
        await close_signaling(signaling)


async def run(clients: int, port: int) -> None:
    """Be so many clients."""
    door, joined = asyncio.Semaphore(AT_ONCE), asyncio.Semaphore(0)
    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(attend(port, door, joined))
        for _ in range(clients):
            await joined.acquire()
        print(f"{clients} joined", flush=True)


def main() -> int:
    """Run the crowd that the command line asks for; return the exit status."""
    receiver.create_decoder = lambda _: Blind()  # type: ignore[assignment,return-value]  # what this is for
    asyncio.run(run(int(sys.argv[1]), int(sys.argv[2])))
    return 0


if __name__ == "__main__":
    sys.exit(main())
