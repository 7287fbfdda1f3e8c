"""The usual ways to find a ball with OpenCV, each as its documentation teaches it.

    python3 client.py --find examples.finders:hough

A finder is a function of one image that returns (x, y), or None where it sees no ball. It runs in process_a alone.

    image    (H, W, 3) uint8, BGR. With IMAGE = "gray" in this module it would be (H, W) uint8, the luma as it came
             (black is 16, white 235), with IMAGE = "i420" (H * 3 / 2, W) uint8: both cost less than BGR.
    x, y     px from the top left pixel's centre, to the right and down

Copy one, and make it yours. What each costs in px and ms says `python -m bench finders`. None of them is tuned
beyond what its source does; where a source leaves a parameter to the reader, what was taken is said.
"""

from functools import cache
from typing import Any

import cv2
import numpy as np

IMAGE = "bgr"  # what the functions here are given: bgr, gray or i420

RADIUS = 20.0  # px, of the ball; only template matching has to know it
WHITE = (
    (0, 0, 120),
    (179, 60, 255),
)  # HSV as OpenCV counts it (hue 0 to 179), from and to: bright, and hardly any colour
BLUE = (100, 100, 60), (140, 255, 255)


def hough(image: Any) -> tuple[float, float] | None:
    """Take the circle with the most votes.

    Source: docs.opencv.org, tutorial "Hough Circle Transform": a median of 5, dp 1, minDist an eighth of the rows,
    param1 100, param2 30; the radii, 5 to 60 px, are left to the reader there. (The other tutorial, with minDist 20,
    param1 50 and any radius, takes 20 s for a picture with texture.)
    """
    gray = cv2.medianBlur(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), 5)
    apart = gray.shape[0] / 8
    circles = cv2.HoughCircles(gray, cv2.HOUGH_GRADIENT, 1, apart, param1=100, param2=30, minRadius=5, maxRadius=60)
    if circles is None:
        return None
    x, y, _ = circles.reshape(-1, 3)[0]
    return float(x), float(y)


def threshold(image: Any) -> tuple[float, float] | None:
    """Take the centroid of all that is bright.

    Source: docs.opencv.org, "Image Thresholding" (a Gaussian of 5 x 5, then Otsu) and "Contour Features" (moments).
    """
    blurred = cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), (5, 5), 0)
    _, mask = cv2.threshold(blurred, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    return _centroid(cv2.moments(mask, binaryImage=True))


def contours(image: Any) -> tuple[float, float] | None:
    """Take the circle around the largest bright thing.

    Source: docs.opencv.org, "Contour Features" (minimum enclosing circle); the mask is that of `threshold`.
    """
    blurred = cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), (5, 5), 0)
    _, mask = cv2.threshold(blurred, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    outline = _largest(mask)
    if outline is None:
        return None
    (x, y), radius = cv2.minEnclosingCircle(outline)
    return (x, y) if radius > 2 else None


def hsv_white(image: Any) -> tuple[float, float] | None:
    """Take the largest thing that is white; see `_of_color`."""
    return _of_color(image, *WHITE)


def hsv_blue(image: Any) -> tuple[float, float] | None:
    """Take the largest thing that is blue; see `_of_color`."""
    return _of_color(image, *BLUE)


def _of_color(image: Any, low: tuple[int, ...], high: tuple[int, ...]) -> tuple[float, float] | None:
    """Take the centroid of the largest thing of a colour.

    Source: pyimagesearch.com, "Ball Tracking with OpenCV": a Gaussian of 11 x 11, inRange, erode and dilate twice,
    the largest contour, its moments, radius above 10 (here 5: there are smaller balls). The colour is one's own.
    """
    hsv = cv2.cvtColor(cv2.GaussianBlur(image, (11, 11), 0), cv2.COLOR_BGR2HSV)
    mask = cv2.inRange(hsv, np.array(low), np.array(high))
    mask = cv2.dilate(cv2.erode(mask, np.ones((3, 3)), iterations=2), np.ones((3, 3)), iterations=2)
    outline = _largest(mask)
    if outline is None or cv2.minEnclosingCircle(outline)[1] <= 5:
        return None
    return _centroid(cv2.moments(outline))


def blob(image: Any) -> tuple[float, float] | None:
    """Take the largest of the round bright blobs.

    Source: learnopencv.com, "Blob Detection Using OpenCV": thresholds from 10 to 200 by 10, circularity 0.1, convexity
    0.87, inertia 0.01; the area, 100 to 50,000 px, and the bright blobs (blobColor) are left to the reader there.
    """
    found = _blob_detector().detect(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY))
    return max(found, key=lambda each: each.size).pt if found else None


@cache
def _blob_detector() -> Any:
    """Return the detector, made once."""
    parameters = cv2.SimpleBlobDetector.Params()
    parameters.minThreshold, parameters.maxThreshold, parameters.thresholdStep = 10, 200, 10
    parameters.filterByColor, parameters.blobColor = True, 255
    parameters.filterByArea, parameters.minArea, parameters.maxArea = True, 100, 50_000
    parameters.filterByCircularity, parameters.minCircularity = True, 0.1
    parameters.filterByConvexity, parameters.minConvexity = True, 0.87
    parameters.filterByInertia, parameters.minInertiaRatio = True, 0.01
    return cv2.SimpleBlobDetector.create(parameters)


def template(image: Any, radius: float = RADIUS) -> tuple[float, float] | None:
    """Take the place that looks most like a picture of the ball.

    Source: docs.opencv.org, "Template Matching": TM_CCOEFF_NORMED, the maximum of the result, at least 0.8.
    """
    picture = _picture_of_ball(radius)
    result = cv2.matchTemplate(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), picture, cv2.TM_CCOEFF_NORMED)
    _, best, _, (left, top) = cv2.minMaxLoc(result)
    middle = picture.shape[0] // 2
    return (left + middle, top + middle) if best >= 0.8 else None


@cache
def _picture_of_ball(radius: float) -> Any:
    """Return a bright disc on black with a rim of 4 px around it, (H, W) uint8."""
    middle = round(radius) + 4
    picture = np.zeros((2 * middle + 1, 2 * middle + 1), np.uint8)
    cv2.circle(picture, (middle, middle), round(radius), 255, cv2.FILLED, cv2.LINE_AA)
    return picture


class Background:
    """Takes the largest thing that moves; what stands still becomes background.

    Source: docs.opencv.org, "How to Use Background Subtraction Methods": MOG2 with its defaults (history 500,
    varThreshold 16), opened with 3 x 3; shadows, which it marks with 127, are not counted.
    """

    def __init__(self) -> None:
        self._subtractor = cv2.createBackgroundSubtractorMOG2()

    def __call__(self, image: Any) -> tuple[float, float] | None:
        """Look at the next image."""
        _, mask = cv2.threshold(self._subtractor.apply(image), 200, 255, cv2.THRESH_BINARY)
        outline = _largest(cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((3, 3))))
        return None if outline is None else _centroid(cv2.moments(outline))


background = Background()


def _largest(mask: Any) -> Any:
    """Return the outline of the largest thing in a mask, None if there is nothing in it."""
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return max(outlines, key=cv2.contourArea, default=None)


def _centroid(moments: Any) -> tuple[float, float] | None:
    """Return the centre of what the moments were taken of, None of nothing."""
    area = moments["m00"]
    return (moments["m10"] / area, moments["m01"] / area) if area else None
