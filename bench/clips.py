"""Renders scenes that look like real ones, with the truth about the ball in them.

A ball lit from one side, with a highlight and a dark rim, flies before a textured background, blurred by its
motion, in light that changes in strength and colour; a second ball of another colour flies there too; for half
a second the first one is hidden. Everything is drawn at twice the size and shrunk.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from ball_track import Image, Point, Scene

EXPOSURE = 0.5  # of a frame interval
STEPS = 6  # places that a moving ball is drawn at in one frame

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Clip:
    """What to render. color, other: of the balls, BGR; hidden: the frames in which the first is not to be seen."""

    seed: int
    color: tuple[int, int, int]
    other: tuple[int, int, int]
    width: int = 640
    height: int = 480
    frames: int = 45
    radius: float = 20.0
    speed: float = 360.0
    noise: float = 4.0
    hidden: range = range(20, 35)

    def render(self) -> Iterator[tuple[Image, Point | None]]:
        """Return each frame, (H * 3 / 2, W) uint8 I420, and where the ball is in it, None where it is hidden."""
        dice = np.random.default_rng(self.seed)
        scenes = [
            Scene(self.width, self.height, radius=self.radius * size, speed=self.speed, seed=self.seed * 2 + n)
            for n, size in enumerate((1, 1.4))
        ]
        background = self._background(dice)
        for k in range(self.frames):
            picture = background.copy()
            _draw_ball(picture, scenes[1], k, self.other)
            if k not in self.hidden:
                _draw_ball(picture, scenes[0], k, self.color)
            light = 0.8 + 0.25 * math.sin(2 * math.pi * (k / 50 + self.seed / 7))
            tint = 1 + 0.06 * math.sin(2 * math.pi * k / 35)
            picture *= np.array([light / tint, light, light * tint], np.float32)
            picture += self.noise * dice.standard_normal(picture.shape, np.float32)
            bgr = np.clip(np.rint(picture), 0, 255).astype(np.uint8)
            # the ball moves while the shutter is open: its centre is that of the middle of the exposure
            truth = scenes[0].position(k + EXPOSURE / 2 * (STEPS - 1) / STEPS)
            yield to_i420(bgr), None if k in self.hidden else truth

    def _background(self, dice: np.random.Generator) -> Floats:
        """Return a texture of spots of all sizes, with edges, little colour, and no ball."""
        size = (self.width, self.height)
        texture = np.full((size[1], size[0], 3), 110, np.float32)
        for cells, strength in ((4, 25), (16, 18), (64, 12), (200, 8)):
            grey = dice.normal(0, strength, (cells, cells, 1))
            colored = dice.normal(0, strength / 4, (cells, cells, 3))
            texture += cv2.resize((grey + colored).astype(np.float32), size, interpolation=cv2.INTER_CUBIC)
        for _ in range(12):
            corner = dice.integers(0, size)
            far = corner + dice.integers(20, 250, 2)
            shade = [float(level) for level in dice.uniform(40, 190) + dice.normal(0, 6, 3)]
            cv2.rectangle(texture, corner.tolist(), far.tolist(), shade, cv2.FILLED)
        return np.clip(texture, 20, 220).astype(np.float32)


def _draw_ball(picture: Floats, scene: Scene, k: int, color: tuple[int, int, int]) -> None:
    """Draw a ball as it looks over the time of one exposure, from frame number `k` on."""
    places = [scene.position(k + EXPOSURE * step / STEPS) for step in range(STEPS)]
    reach = scene.radius + 2
    left, right = min(p.x for p in places) - reach, max(p.x for p in places) + reach
    top, bottom = min(p.y for p in places) - reach, max(p.y for p in places) + reach
    rows: Floats = np.arange(max(0, int(top)), min(scene.height, math.ceil(bottom)), dtype=np.float32)[:, None]
    columns: Floats = np.arange(max(0, int(left)), min(scene.width, math.ceil(right)), dtype=np.float32)
    box = slice(int(rows[0, 0]), int(rows[-1, 0]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
    painted = np.zeros_like(picture[box])
    covered = np.zeros(painted.shape[:2], np.float32)
    for place in places:
        x, y = (columns - place.x) / scene.radius, (rows - place.y) / scene.radius
        squared = x * x + y * y
        alpha = np.clip((1 - np.sqrt(squared)) * scene.radius + 0.5, 0, 1)
        depth = np.sqrt(np.maximum(0, 1 - squared))
        lit = 0.55 + 0.45 * np.clip(-0.4 * x - 0.5 * y + 0.77 * depth, 0, 1)
        shine = 120 * np.clip(-0.35 * x - 0.45 * y + 0.82 * depth, 0, 1) ** 40
        covered += alpha / STEPS
        painted += alpha[..., None] / STEPS * (lit[..., None] * np.array(color, np.float32) + shine[..., None])
    picture[box] = picture[box] * (1 - covered[..., None]) + painted


def to_i420(bgr: npt.NDArray[np.uint8]) -> Image:
    """Return a BGR picture (H, W, 3) as a camera would store it: I420, each chroma sample the mean of four pixels."""
    picture = bgr.astype(np.float32)
    blue, green, red = picture[..., 0], picture[..., 1], picture[..., 2]
    luma = 16 + (65.481 * red + 128.553 * green + 24.966 * blue) / 255
    u = 128 + (-37.797 * red - 74.203 * green + 112.0 * blue) / 255
    v = 128 + (112.0 * red - 93.786 * green - 18.214 * blue) / 255
    height, width = luma.shape
    chroma = [plane.reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3)).reshape(-1, width) for plane in (u, v)]
    image: Image = np.rint(np.vstack([luma, *chroma])).astype(np.uint8)
    return image
