"""Finds again what a view has drawn, by its colours alone."""

import math

import cv2
import numpy as np
import numpy.typing as npt

from ball_track import Image, Point
from views.overlay import CROSS


def film_of(picture: Image) -> Image:
    """Return what lies above the strip, of a picture of a film of 640x480."""
    return picture[:480]


def find_cross(picture: Image) -> Point | None:
    """Return the centre of the cross on a (H, W, 3) BGR picture, to half a pixel, or None.

    It is where the arms lie: at a wall one may be cut off, and all together have another middle.
    """
    rows, columns = np.nonzero(cv2.inRange(picture, np.subtract(CROSS, 60), np.add(CROSS, 60)))
    return Point(_middle(columns), _middle(rows)) if rows.size else None


def _middle(places: npt.NDArray[np.intp]) -> float:
    """Return the mean of what lies next to the median."""
    return float(places[np.abs(places - np.median(places)) <= 3].mean())


def find_white(picture: Image, radius: float = 20) -> Point | None:
    """Return where a white disc of that radius fits best, to a pixel, or None where nothing is white.

    Cross and ring are drawn over the ball, and part it; what is white around a disc speaks against it.
    """
    white = cv2.inRange(picture, np.full(3, 150), np.full(3, 255)).astype(np.float32) / 255
    if not white.any():
        return None
    reach = math.ceil(radius) + 6
    far = np.hypot(*np.mgrid[-reach : reach + 1, -reach : reach + 1])
    disc = np.where(far < radius, 1.0, np.where(far < radius + 5, -1.0, 0.0)).astype(np.float32)
    fit = cv2.GaussianBlur(cv2.filter2D(white, -1, disc, borderType=cv2.BORDER_CONSTANT), (0, 0), 1)
    y, x = np.unravel_index(int(fit.argmax()), fit.shape)
    return Point(float(x), float(y))
