"""The server, whose film stands still after its first second for each client."""

import asyncio
import itertools
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import server


class StallingTrack(server.BallVideoTrack):
    """A track that gives so many frames, and then no more."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._numbers = itertools.count()

    async def recv(self) -> Any:
        """Return the next frame, or wait for ever."""
        if next(self._numbers) >= 30:
            await asyncio.Event().wait()
        return await super().recv()


if __name__ == "__main__":
    server.BallVideoTrack = StallingTrack  # type: ignore[misc,assignment]  # what this is for
    sys.exit(server.main())
