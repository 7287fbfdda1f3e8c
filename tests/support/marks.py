"""Finds again what a view has drawn, by its colours alone."""

import cv2
import numpy as np

from ball_track import Image, Point
from views.overlay import CROSS


def find_cross(picture: Image) -> Point | None:
    """Return the centre of the cross on a (H, W, 3) BGR picture, to half a pixel, or None."""
    rows, columns = np.nonzero(cv2.inRange(picture, np.subtract(CROSS, 60), np.add(CROSS, 60)))
    return Point(float(columns.mean()), float(rows.mean())) if rows.size else None


def find_white(picture: Image) -> Point | None:
    """Return the centre of the largest white thing, the ball behind a cross that is centred on it, or None."""
    white = cv2.inRange(picture, np.full(3, 150), np.full(3, 255))
    _, _, stats, centroids = cv2.connectedComponentsWithStats(white)
    if len(stats) < 2:
        return None
    return Point(*centroids[1 + stats[1:, cv2.CC_STAT_AREA].argmax()])
