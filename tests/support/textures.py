"""Renders surfaces of strong texture and colour in which a person sees no ball: wood, grass, brick, foliage."""

import math
from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.float32]  # (H, W, 3) BGR, 0 to 255
SIZE = (480, 640)  # rows, columns


def spots(dice: np.random.Generator, cells: tuple[int, int], strength: float) -> npt.NDArray[np.float32]:
    """Return smooth noise with so many cells down and across, (H, W)."""
    noise = cv2.resize(dice.normal(0, strength, cells).astype(np.float32), SIZE[::-1], interpolation=cv2.INTER_CUBIC)
    return np.asarray(noise, np.float32)


def wood(dice: np.random.Generator) -> Picture:
    """Return a board: bent rings of two browns, with knots."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]].astype(np.float32)
    bent = rows + spots(dice, (4, 4), 25)
    for _ in range(3):
        x, y, size = dice.uniform(0, SIZE[1]), dice.uniform(0, SIZE[0]), dice.uniform(15, 50)
        bent += size * np.exp(-((columns - x) ** 2 / 4 + (rows - y) ** 2) / size**2)
    rings = 0.5 + 0.5 * np.sin(bent * dice.uniform(0.1, 0.5) + spots(dice, (60, 8), 0.5))
    light, dark = np.array([90, 150, 215]), np.array([25, 65, 140])
    board = dark + rings[..., None] * (light - dark) + spots(dice, (240, 40), 6)[..., None]
    return np.asarray(board, np.float32)


def grass(dice: np.random.Generator) -> Picture:
    """Return a lawn: thousands of blades in all greens, and flowers."""
    picture = np.full((*SIZE, 3), (25, 80, 40), np.uint8)
    for _ in range(4000):
        x, y, length, lean = (
            dice.uniform(0, SIZE[1]),
            dice.uniform(0, SIZE[0]),
            dice.uniform(8, 30),
            dice.normal(0, 0.5),
        )
        end = (round(x + length * math.sin(lean)), round(y - length * math.cos(lean)))
        shade = dice.uniform(0.4, 1.2) * np.array([dice.uniform(20, 70), dice.uniform(110, 190), dice.uniform(40, 110)])
        cv2.line(
            picture, (round(x), round(y)), end, np.minimum(shade, 255).tolist(), int(dice.integers(1, 4)), cv2.LINE_AA
        )
    for _ in range(int(dice.integers(0, 12))):
        x, y, color = int(dice.uniform(0, SIZE[1])), int(dice.uniform(0, SIZE[0])), dice.uniform(0, 255, 3)
        for petal in range(5):
            away = (round(x + 7 * math.cos(1.26 * petal)), round(y + 7 * math.sin(1.26 * petal)))
            cv2.ellipse(picture, away, (6, 4), 72 * petal, 0, 360, color.tolist(), cv2.FILLED, cv2.LINE_AA)
    return picture.astype(np.float32)


def brick(dice: np.random.Generator) -> Picture:
    """Return a wall of bricks of all reds, in mortar."""
    picture = np.full((*SIZE, 3), (150, 155, 160), np.float32)
    height, width = int(dice.integers(20, 60)), int(dice.integers(40, 130))
    for row in range(SIZE[0] // height + 1):
        for column in range(-1, SIZE[1] // width + 1):
            left, top = column * width + row % 2 * width // 2, row * height
            shade = dice.uniform(0.7, 1.2) * np.array(
                [dice.uniform(30, 70), dice.uniform(50, 90), dice.uniform(140, 210)]
            )
            picture[max(0, top) : top + height - 5, max(0, left) : max(0, left + width - 5)] = shade
    return picture + spots(dice, (120, 160), 12)[..., None]


def foliage(dice: np.random.Generator) -> Picture:
    """Return leaves of green, yellow and red, over each other."""
    picture = np.full((*SIZE, 3), (20, 45, 25), np.uint8)
    kinds = np.array([(40, 140, 60), (30, 170, 200), (30, 60, 200), (40, 110, 220), (60, 190, 90)])
    for _ in range(700):
        center = (int(dice.uniform(0, SIZE[1])), int(dice.uniform(0, SIZE[0])))
        length = dice.uniform(6, 45)
        axes = (round(length), max(2, round(length * dice.uniform(0.25, 0.7))))
        shade = dice.uniform(0.5, 1.2) * kinds[dice.integers(len(kinds))]
        turn = dice.uniform(0, 360)
        cv2.ellipse(picture, center, axes, turn, 0, 360, np.minimum(shade, 255).tolist(), cv2.FILLED, cv2.LINE_AA)
        angle = math.radians(turn)
        tip = (round(center[0] + length * math.cos(angle)), round(center[1] + length * math.sin(angle)))
        cv2.line(picture, center, tip, (shade * 0.7).tolist(), 1, cv2.LINE_AA)
    return picture.astype(np.float32)


SURFACES: dict[str, Callable[[np.random.Generator], Picture]] = {
    "wood": wood,
    "grass": grass,
    "brick": brick,
    "foliage": foliage,
}


def surface(name: str, seed: int) -> npt.NDArray[np.uint8]:
    """Return a picture of a surface, (H, W, 3) uint8 BGR, in some light and with a camera's blur and noise."""
    dice = np.random.default_rng(seed)
    picture = SURFACES[name](dice) * dice.uniform(0.7, 1.1)
    picture = cv2.GaussianBlur(picture, (0, 0), dice.uniform(0.5, 1.5)) + dice.normal(0, 4, picture.shape)
    return np.clip(picture, 0, 255).astype(np.uint8)
