"""One run of the benchmark: a server and clients as programs, or the codecs alone, and what they cost.

Processor time comes from /proc, so this needs Linux. All figures of a run have a name each; parts.py says what
is compared with what, and which tables show it.
"""

import contextlib
import csv
import signal
import statistics
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ball_track import Scene, draw
from bench.tracing import PARTS as STEPS
from bench.tracing import read_notes
from tools.procfs import free_port, process_a_of, processor_time
from tools.program import Program, ProgramError, run_folder

WARM_UP = 1.0  # s, from when all clients get frames until measuring begins

ROWS = "frames.csv"  # as --out calls it

Figures = dict[str, float]  # what one run measured, by name


class BenchError(Exception):
    """A run did not come about; the text says why."""


class Ratio(NamedTuple):
    """A figure divided by a figure of another case, round by round."""

    name: str
    figure: str
    of_case: str
    of_figure: str


@dataclass(frozen=True)
class Case(ABC):
    """One thing to measure.

    name: what the tables call it, unique in its part; ratios: what to compare it with; quick: whether a quick
    run has it as well.
    """

    name: str
    ratios: tuple[Ratio, ...] = ()
    quick: bool = False

    @abstractmethod
    def measure(self, seed: int, seconds: float, keep: Path | None = None) -> Figures:
        """Measure it once.

        Args:
            seed: of the ball's path.
            seconds: how long.
            keep: the folder in which the run stays, as the server's --out makes it; None: nowhere.

        Raises:
            BenchError: it did not come about.
        """


# --- Programs ------------------------------------------------------------------------------------


def processor_times(server: int, client: int) -> Figures:
    """Return the processor time (s) of a server, of a client's main process, and of its process_a.

    Raises:
        BenchError: one of them is not there.
    """
    try:
        pids = {"server cpu": server, "client cpu": client, "process_a cpu": process_a_of(client)}
        return {name: processor_time(pid) for name, pid in pids.items()}
    except OSError as error:
        raise BenchError(f"a program ended too soon: {error}") from None


def kept_rows(folder: Path, keep: Path | None) -> tuple[object, ...]:
    """Return the server's option that writes the rows, and with a run that stays all else."""
    return ("--csv", folder / ROWS) if keep is None else ("--out", folder)


@dataclass(frozen=True)
class Loop(Case):
    """Server and client, as programs.

    server, client: their options; crowd: how many more clients; wrapper: bench.plain or bench.tracing, if any.
    """

    server: tuple[object, ...] = ()
    client: tuple[object, ...] = ()
    crowd: int = 0
    fps: float = 30.0
    wrapper: str | None = None

    def measure(self, seed: int, seconds: float, keep: Path | None = None) -> Figures:
        """Run both, and read what they leave behind."""
        with run_folder(keep) as folder:
            rows, notes = folder / ROWS, folder / "notes"
            try:
                figures = self._run(seed, seconds, kept_rows(folder, keep), notes)
            except ProgramError as error:
                raise BenchError(str(error)[-2000:]) from None
            frames = round(seconds * self.fps)
            if self.wrapper == "bench.tracing":
                with notes.open() as file:
                    return step_figures(read_notes(file)[-frames:])
            with rows.open() as file:
                return figures | ledger_figures(csv.DictReader(file), frames)

    def _run(self, seed: int, seconds: float, rows: Sequence[object], notes: Path) -> Figures:
        """Run both until all has been measured; return the processors' share. rows: the option that keeps the rows."""
        port = free_port()
        before: dict[str | None, tuple[object, ...]] = {
            None: (),
            "bench.plain": ("-m", "bench.plain"),
            "bench.tracing": ("-m", "bench.tracing", notes),
        }
        where = ("--signaling-port", port)
        film = ("--fps", self.fps, "--seed", seed, "--print", "second", *rows)
        with contextlib.ExitStack() as programs:

            def run(*command: object) -> Program:
                return programs.enter_context(Program(*command))

            server = run(*before[self.wrapper], "server.py", *where, *film, *self.server)
            client = run(*before[self.wrapper], "client.py", *where, "--view", "none", *self.client)
            server.wait_for("scored [1-9]")
            crowd = [run("-m", "bench.crowd", self.crowd, port)] if self.crowd else []
            for each in crowd:
                each.wait_for("joined")
            time.sleep(WARM_UP)
            began, used = time.monotonic(), processor_times(server.pid, client.pid)
            time.sleep(seconds)
            took, total = time.monotonic() - began, processor_times(server.pid, client.pid)
            server.process.send_signal(signal.SIGINT)
            for each in (server, client, *crowd):
                if each.wait():
                    raise BenchError(f"a program failed:\n{each.output[-2000:]}")
        figures = {name: (total[name] - used[name]) / took for name in total}
        return {**figures, "cpu": sum(figures.values())}


def step_figures(frames: Sequence[Mapping[str, float]]) -> Figures:
    """Return the median of each part of the latency, and of their sum, in ms."""
    if not frames:
        return {}
    figures = {step: statistics.median(frame[step] for frame in frames) for step in STEPS}
    return {**figures, "sum": statistics.median(sum(frame.values()) for frame in frames)}


def ledger_figures(rows: Iterable[Mapping[str, str]], frames: int) -> Figures:
    """Return what the ledger's rows say of the last frames of the film.

    Args:
        rows: the server's CSV. Errors and latencies are taken from client 1, who really looks.
        frames: how many frames of the film count.

    Returns:
        Which share of the film client 1 was sent, and which share of what all clients were sent is scored, both in
        percent; the quantiles of error (px) and latency (ms).
    """
    kept = list(rows)
    last = max((int(row["k"]) for row in kept), default=0)
    kept = [row for row in kept if int(row["k"]) > last - frames]
    scored = [row for row in kept if row["state"] == "scored"]
    seen = [row for row in scored if row["client"] == "1"]
    return {
        "sent": 100 * sum(row["client"] == "1" for row in kept) / frames,
        "scored": 100 * len(scored) / len(kept) if kept else 0.0,
        **quantiles("error", [float(row["error_px"]) for row in seen]),
        **quantiles("latency", [float(row["latency_ms"]) for row in seen]),
    }


def quantiles(name: str, values: Sequence[float]) -> Figures:
    """Return p50, p95 and p99 of some values as figures; none if there are no values.

    >>> quantiles("ms", [1.0, 2.0, 3.0])["ms p50"]
    2.0
    """
    shares = (50, 95, 99) if values else ()
    return {f"{name} p{share}": float(np.percentile(values, share)) for share in shares}


# --- The floor -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Coded(Case):
    """A drawn film that goes through a codec.

    codec: vp8 or h264; width, height: px; fps: frames / s; bitrate: bit / s.
    """

    codec: str = "vp8"
    width: int = 640
    height: int = 480
    fps: float = 30.0
    bitrate: int = 500_000

    def scene(self, seed: int) -> Scene:
        """Return what is filmed. seed: of the ball's path."""
        return Scene(self.width, self.height, self.fps, seed=seed)


@dataclass(frozen=True)
class Floor(Coded):
    """Encoding and decoding alone: what no loop can go below with these codecs.

    encoder: shared, or aiortc's own, which takes no bit rate.
    """

    encoder: str = "shared"

    def measure(self, seed: int, seconds: float, keep: Path | None = None) -> Figures:  # noqa: ARG002  # no run
        """Encode and decode each frame when it is due: a processor that has slept is slower than one that has not."""
        scene = self.scene(seed)
        encode, decode = floor_codec(scene, self.codec, self.encoder, self.bitrate)
        took: list[float] = []
        start = time.monotonic()
        for k in range(round((WARM_UP + seconds) * scene.fps)):
            image = draw(scene, scene.position(k))
            time.sleep(max(0.0, start + k / scene.fps - time.monotonic()))
            began = time.monotonic()
            decode(encode(k, image))
            took.append((time.monotonic() - began) * 1000)
        return quantiles("latency", took[round(WARM_UP * scene.fps) :])


def floor_codec(
    scene: Scene, codec: str, encoder: str, bitrate: int
) -> tuple[Callable[[int, Any], bytes], Callable[[bytes], Any]]:
    """Return what turns (k, I420 image) into data, and what turns that into pictures again.

    Args:
        codec, encoder, bitrate: as in Coded and Floor.
    """
    import av
    from aiortc import RTCRtpCodecParameters
    from aiortc.codecs import depayload, get_decoder, get_encoder
    from aiortc.jitterbuffer import JitterFrame
    from aiortc.mediastreams import VIDEO_TIME_BASE

    from film.video_encoder import create_codec
    from film.video_encoder import encode as encode_shared
    from transport.media import MIME_TYPES
    from transport.receiver import create_decoder

    if encoder == "shared":
        ours = create_codec(codec, scene.width, scene.height, scene.fps, bitrate)
        decoder = create_decoder(codec.upper())
        return lambda k, image: encode_shared(ours, k, image, k == 0), lambda data: decoder.decode(av.Packet(data))
    parameters = RTCRtpCodecParameters(mimeType=MIME_TYPES[codec], clockRate=90_000, payloadType=96)
    theirs, their_decoder = get_encoder(parameters), get_decoder(parameters)

    def encode_theirs(k: int, image: Any) -> bytes:
        frame = av.VideoFrame.from_ndarray(image, format="yuv420p")
        frame.pts, frame.time_base = k * 3000, VIDEO_TIME_BASE
        payloads, _ = theirs.encode(frame, k == 0)
        return b"".join(depayload(parameters, payload) for payload in payloads)

    return encode_theirs, lambda data: their_decoder.decode(JitterFrame(data, 0))
