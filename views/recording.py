"""The recording: what a view shows, as H.264 in an MP4 file, at the stream's own pace.

It is made in a process of its own (see views.py), which outlives a client that is killed for as long as it
takes to close the file. Should this process be killed as well, the file plays all the same, up to its last
fragment: it is written in fragments of a second, and becomes a plain MP4 when it is closed.
"""

from fractions import Fraction
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import cv2
import numpy as np

from ball_track import Image
from views.overlay import compose
from views.screens import Failed, Idle, Picture

# av takes a while to import, and the client need not: it names `record` as what the process runs, no more
if TYPE_CHECKING:
    from av import VideoFrame, VideoStream

TICK = Fraction(1, 90_000)  # s
GAP = 3_000  # ticks between the last frame of a session and the first of the next one
KEY_FRAME_TICKS = 90_000  # 1 s from one key frame, and so from one fragment, to the next
X264 = {"preset": "veryfast", "crf": "23", "forced-idr": "1"}


def record(connection: Connection, path: Path) -> None:
    """Write pictures to a file until there are no more, or the client is gone."""
    try:
        with Recording(path) as recording:
            connection.send(Idle())
            while (picture := _receive(connection)) is not None:
                recording.add(picture.pts, compose(picture.image, picture.figures, picture.trail))
                del picture  # its memory may be gone when the next one comes
                connection.send(Idle())
    except ConnectionError:  # the client was killed just now; the file is closed
        return
    except OSError as error:
        connection.send(Failed(f"cannot write {path}: {error.strerror or error}"))


def _receive(connection: Connection) -> Picture | None:
    """Return the next picture, or None if there are no more; a client that was killed has no more."""
    try:
        picture: Picture | None = connection.recv()
    except (EOFError, ConnectionError):
        return None
    return picture


class Recording:
    """An MP4 file of H.264, yuv420p. Use it as `with Recording(path) as recording`.

    Raises:
        OSError: it cannot be written; here, or in any later use.
    """

    def __init__(self, path: Path) -> None:
        import av

        path.open("wb").close()  # tells better than av what is wrong with the path
        options = {"movflags": "hybrid_fragmented", "flush_packets": "1"}
        # the whole path, or FFmpeg takes what stands before a colon for a protocol
        self._container = av.open(str(path.absolute()), "w", format="mp4", options=options)
        self._stream: VideoStream | None = None
        self._broken = False  # a write has failed
        self._time = 0  # ticks; the last frame's in the file
        self._shift: int | None = None  # ticks from a frame's pts to its time in the file
        self._next_key = 0  # ticks

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def add(self, pts: int, picture: Image) -> None:
        """Add a picture.

        Args:
            pts: when it is to be seen, in ticks, counted from anywhere.
            picture: (H, W, 3) uint8, BGR; fitted to the size of the first one.
        """
        import av
        from av.video.frame import PictureType

        if self._stream is None:
            self._stream = self._open_stream(*picture.shape[1::-1])
        size = (self._stream.width, self._stream.height)
        if picture.shape[1::-1] != size:
            picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
        image = cv2.cvtColor(picture, cv2.COLOR_BGR2YUV_I420).astype(np.uint8, copy=False)
        frame = av.VideoFrame.from_ndarray(image, format="yuv420p")
        frame.pts, frame.time_base = self._place(pts), TICK
        if frame.pts >= self._next_key:
            frame.pict_type = PictureType.I
            self._next_key = frame.pts + KEY_FRAME_TICKS
        self._mux(frame)

    def _mux(self, frame: "VideoFrame | None") -> None:
        """Encode a frame, None for the end, and write what comes of it."""
        assert self._stream is not None
        try:
            self._container.mux(self._stream.encode(frame))
        except OSError:
            self._broken = True
            raise

    def _place(self, pts: int) -> int:
        """Return the time in the file, in ticks, of a frame; a new session goes on where the last one ended."""
        if self._shift is None:
            self._shift = -pts
        elif pts + self._shift <= self._time:
            self._shift = self._time + GAP - pts
        self._time = pts + self._shift
        return self._time

    def _open_stream(self, width: int, height: int) -> "VideoStream":
        stream = self._container.add_stream("libx264", options=X264)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.time_base = TICK
        codec = stream.codec_context
        codec.time_base = TICK
        codec.max_b_frames = 0  # so a frame's time in the file is simply its time
        codec.gop_size = 2**31 - 1  # key frames come by the clock
        codec.thread_count = 1
        return stream

    def close(self) -> None:
        """Encode what is left, and close the file. Does nothing the second time."""
        if self._stream is not None and not self._broken:
            self._mux(None)
        self._stream = None
        if not self._broken:  # or closing it would end this process with SIGSEGV
            self._container.close()
