"""Finds again what a view has drawn, by its colours alone."""

import math

import cv2
import numpy as np

from ball_track import Image, Point
from views.overlay import CROSS


def find_cross(picture: Image) -> Point | None:
    """Return the centre of the cross on a (H, W, 3) BGR picture, to half a pixel, or None."""
    rows, columns = np.nonzero(cv2.inRange(picture, np.subtract(CROSS, 60), np.add(CROSS, 60)))
    return Point(float(columns.mean()), float(rows.mean())) if rows.size else None


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
