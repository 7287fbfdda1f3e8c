"""Make the animation that the README shows inline from a recording: its first seconds, smaller and coarser.

python3 -m tools.animate demo.mp4 docs/demo.webp
"""

import sys

import av
import cv2

START, SECONDS = 2.0, 5.0  # of the recording
EVERY = 2  # of so many frames one is taken
WIDTH = 480  # px
QUALITY = 70


def main(recording: str, animation: str) -> int:
    """Write the animation; return the exit status."""
    pictures, times = [], []
    with av.open(recording) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if frame.time is not None and START <= frame.time < START + SECONDS and number % EVERY == 0:
                size = (WIDTH, WIDTH * frame.height // frame.width)
                pictures.append(cv2.resize(frame.to_ndarray(format="bgr24"), size, interpolation=cv2.INTER_AREA))
                times.append(1000 * frame.time)  # ms
    movie = cv2.Animation()
    movie.frames = pictures
    movie.durations = [
        round(after) - round(before)
        for before, after in zip(times, [*times[1:], 2 * times[-1] - times[-2]], strict=True)
    ]
    return 0 if cv2.imwriteanimation(animation, movie, [cv2.IMWRITE_WEBP_QUALITY, QUALITY]) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
