"""Runs server.py or client.py with the frames handled as most programs do: as whole BGR images.

    python3 -m bench.plain server.py --encoder aiortc [its options]
    python3 -m bench.plain client.py --jitter-buffer stock [its options]

The server draws in BGR with OpenCV, and aiortc converts each frame to YUV. The client converts it back to BGR,
in its main thread, and pickles the image into the Queue; process_a converts it once more, to where it looks for the
ball. The rest is the same, so it is what the benchmark compares the cost of the two programs with.
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


def to_yuv(image: Image) -> Image:
    """Return an (H, W, 3) uint8 BGR image as (H * 3 / 2, W) uint8 I420."""
    return cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420)  # type: ignore[return-value]  # its stub says any number


def main() -> int:
    """Run the program that the command line names; return its exit status."""
    program, *options = sys.argv[1:]
    if Path(program).stem == "server":
        from av import VideoFrame

        import server
        from film import drawn as film

        class BgrFrame:
            @staticmethod
            def from_ndarray(array: Any, **_: Any) -> VideoFrame:
                return VideoFrame.from_ndarray(array, format="bgr24")

        film.draw = draw  # type: ignore[attr-defined]  # what this program is for
        server.VideoFrame = BgrFrame  # type: ignore[assignment,attr-defined]  # what this is for
        return server.main(options)

    import client
    from common import processes

    images: list[Image] = []  # the newest, BGR
    processes.SharedImage.__reduce__ = (  # type: ignore[method-assign]  # what this is for
        lambda _: (to_yuv, (images[-1],))  # type: ignore[assignment,return-value]  # as far as pickle is concerned
    )
    create_link = client.Client._create_link

    def create_converting_link(*args: Any) -> Any:
        from transport import media

        def planes_of(frame: Any) -> tuple[Image, ...]:
            images[:] = [frame.to_ndarray(format="bgr24")]
            return planes(frame)

        link, planes = create_link(*args), media.planes_of
        media.planes_of = planes_of
        return link

    client.Client._create_link = create_converting_link  # type: ignore[assignment,method-assign]  # what this is for
    return client.main(options)


if __name__ == "__main__":
    sys.exit(main())
