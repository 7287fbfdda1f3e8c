"""Runs server.py or client.py with the frames handled as most programs do: as whole BGR images.

    python3 -m tools.plain server.py --encoder aiortc [its options]
    python3 -m tools.plain client.py --jitter-buffer stock [its options]

The server draws in BGR with OpenCV, and aiortc converts each frame to YUV; the client converts it back to BGR,
in its main thread. It is what the benchmark compares the cost of the two programs with. (The ball is still found
in the decoder's planes, so that the rest is the same.)
"""

import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ball_track import Image, Point, Scene


def draw(scene: Scene, center: Point) -> Image:
    """Draw the ball as an (H, W, 3) uint8 BGR image."""
    image = np.zeros((scene.height, scene.width, 3), np.uint8)
    x, y, radius = (round(16 * value) for value in (*center, scene.radius))  # OpenCV's sub-pixels: 4 bits
    cv2.circle(image, (x, y), radius, scene.color, -1, cv2.LINE_AA, 4)
    return image


def main() -> int:
    """Run the program that the command line names; return its exit status."""
    program, *options = sys.argv[1:]
    if Path(program).stem == "server":
        from av import VideoFrame

        import film
        import server

        class BgrFrame:
            @staticmethod
            def from_ndarray(array: Any, **_: Any) -> VideoFrame:
                return VideoFrame.from_ndarray(array, format="bgr24")

        film.draw = draw  # type: ignore[attr-defined]  # what this program is for
        server.VideoFrame = BgrFrame  # type: ignore[assignment,attr-defined]  # what this is for
        return server.main(options)

    import client

    create_link = client.Client._create_link

    def create_converting_link(*args: Any) -> Any:
        import media

        def planes_of(frame: Any) -> tuple[Image, ...]:
            frame.to_ndarray(format="bgr24")
            return planes(frame)

        link, planes = create_link(*args), media.planes_of
        media.planes_of = planes_of
        return link

    client.Client._create_link = create_converting_link  # type: ignore[assignment,method-assign]  # what this is for
    return client.main(options)


if __name__ == "__main__":
    sys.exit(main())
