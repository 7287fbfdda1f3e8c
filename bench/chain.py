"""The same work as a chain of blocking calls: no asyncio, no WebRTC, no Queue. What a loop in Python can be held to.

    films ── encoded frame ──▶ decodes ── name of the shared memory ──▶ finds
      ◀───── coordinate ──────────────── coordinate ───────────────────

Three processes, as server, client and process_a are, that wait for each other in pipes.
"""

import math
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from ball_track import Point, Scene, draw, find
from bench.cases import WARM_UP, BenchError, Coded, Figures, floor_codec, quantiles
from common.memory import keep_freed_memory
from common.processes import context, share

PATIENCE = 20.0  # s for a process to come up, and for a coordinate
NOTHING = Point(math.nan, math.nan)


@dataclass(frozen=True)
class Chain(Coded):
    """Draw, encode, decode, share, find and report, one blocking call after the other, in three processes."""

    def measure(self, seed: int, seconds: float, keep: Path | None = None) -> Figures:  # noqa: ARG002  # no run
        """Film, and wait for each frame's coordinate."""
        scene = self.scene(seed)
        ours, theirs = context.Pipe()
        decoding = context.Process(target=decode_and_share, args=(theirs, scene, self.codec, self.bitrate))
        decoding.start()
        theirs.close()
        try:
            return quantiles("latency", self._film(scene, ours, seconds))
        except (EOFError, OSError) as error:
            raise BenchError(f"the chain broke: {error!r}") from None
        finally:
            ours.close()
            decoding.join(PATIENCE)
            decoding.kill()

    def _film(self, scene: Scene, connection: Connection, seconds: float) -> list[float]:
        """Return the latency (ms) of each frame after the first ones."""
        keep_freed_memory()
        encode, _ = floor_codec(scene, self.codec, "shared", self.bitrate)
        answer(connection)
        took = []
        start = time.monotonic()
        for k in range(round((WARM_UP + seconds) * scene.fps)):
            time.sleep(max(0.0, start + k / scene.fps - time.monotonic()))
            began = time.monotonic()
            connection.send_bytes(encode(k, draw(scene, scene.position(k))))
            answer(connection)
            took.append((time.monotonic() - began) * 1000)
        return took[round(WARM_UP * scene.fps) :]


def answer(connection: Connection) -> object:
    """Wait for what the next process has to say, and return it.

    Raises:
        EOFError: it has ended, or says nothing for too long.
    """
    if not connection.poll(PATIENCE):
        raise EOFError(f"nothing for {PATIENCE:g} s")
    return connection.recv()


def decode_and_share(connection: Connection, scene: Scene, codec: str, bitrate: int) -> None:
    """Decode what comes, let another process find the ball in it, and pass on where it is, until nothing comes."""
    from transport.media import planes_of

    keep_freed_memory()
    _, decode = floor_codec(scene, codec, "shared", bitrate)
    ours, theirs = context.Pipe()
    finding = context.Process(target=find_shared, args=(theirs,), daemon=True)
    finding.start()
    theirs.close()
    image = None
    connection.send(answer(ours))
    try:
        while True:
            (frame,) = decode(connection.recv_bytes())
            image = share(planes_of(frame), image)
            ours.send(image)
            connection.send(ours.recv())
    except EOFError:
        return
    finally:
        ours.close()
        if image is not None:
            image.close()


def find_shared(connection: Connection) -> None:
    """Find the ball in each frame that is shared, until there are no more."""
    import cv2

    keep_freed_memory()
    cv2.setNumThreads(1)
    find(draw(Scene(), Point(100, 100)))
    connection.send(None)
    try:
        while True:
            connection.send(find(connection.recv()) or NOTHING)
    except EOFError:
        return
