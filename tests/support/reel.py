"""A film in which time goes by in frames."""

import asyncio

from ball_track import Image, Scene, draw
from film.drawn import Film, Shot
from protocol.matching import stamp


class Reel(Film):
    """A film whose every frame is due as soon as it is asked for: time goes by in frames."""

    async def next(self, after: int) -> Shot:
        """Return the next frame."""
        await asyncio.sleep(0)
        k = after + 1
        truth = self.scene.position(k)
        return Shot(k, stamp(k, self.scene.fps), k / self.scene.fps, truth, image_of(self.scene, k))


def image_of(scene: Scene, k: int) -> Image:
    """Return the image of frame k."""
    return draw(scene, scene.position(k))
