"""Run server and client side by side in many ways, and print and save what the loop costs.

    python3 bench.py                      everything
    python3 bench.py latency scale        some parts
    python3 bench.py --quick              one short round of the most telling cases, within two minutes

    part         what is compared
    latency      jitter buffers, encoders and codecs, with the floor: nothing but the encode and the decode
    accuracy     colours, radii, speeds, bit rates, sizes
    scale        1 to 32 clients of one server
    size         640x480 to 1920x1080, at 30 and 60 frames a second
    transports   the ways that frames can travel

Each case is measured once in every round, so that what drifts on the machine drifts for all; a figure is the
median of the rounds, with the lowest and the highest in brackets. Server and client run as programs, as they
are; latency, error and the share of frames scored come from the server's CSV, processor time from /proc (so this
needs Linux) in cores: 1 is one core busy all the time. Words:

    floor        one process that encodes and decodes the same frames at the same pace, by the same calls
    traced       server and client with notes taken of when each frame passes each station; see tools/tracing.py
    plain        server and client with every frame handled as a BGR image, pickled; see tools/plain.py
    crowd        clients that look at nothing, to load a server with; see tools/crowd.py
"""

import argparse
import contextlib
import csv
import itertools
import json
import os
import platform
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

import options
from ball_track import COLORS, Scene, draw
from tools.tracing import PARTS as STEPS
from tools.tracing import read_notes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROOT = Path(__file__).parent
WARM_UP = 1.0  # s, from when all clients get frames until measuring begins
OVERHEAD = 4.0  # s that a run takes besides: starting, warming up, ending; an estimate
PATIENCE = 60.0  # s for a run to get going, or to end
LIBRARIES = ("aiortc", "av", "opencv-python", "numpy")

Figures = dict[str, float]  # what one run measured, by name


class BenchError(Exception):
    """A run did not come about; the text says why."""


# --- Statistics ----------------------------------------------------------------------------------


class Spread(NamedTuple):
    """A figure over the rounds: median, lowest and highest."""

    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread | None:
    """Return the spread of a figure's values, None if there are none.

    >>> spread([4, 1, 2])
    Spread(median=2, low=1, high=4)
    """
    return Spread(statistics.median(values), min(values), max(values)) if values else None


def format_spread(values: Sequence[float], digits: int) -> str:
    """Return a figure as a table shows it: median (lowest–highest), or a dash."""  # noqa: RUF002  # the dash is meant
    whole = spread(values)
    if whole is None:
        return "–"
    median = f"{whole.median:.{digits}f}"
    return median if len(values) == 1 else f"{median} ({whole.low:.{digits}f}–{whole.high:.{digits}f})"


def quantiles(name: str, values: Sequence[float]) -> Figures:
    """Return p50, p95 and p99 of some values as figures; none if there are no values.

    >>> quantiles("ms", [1.0, 2.0, 3.0])["ms p50"]
    2.0
    """
    shares = (50, 95, 99) if values else ()
    return {f"{name} p{share}": float(np.percentile(values, share)) for share in shares}


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


# --- One run -------------------------------------------------------------------------------------


def free_port() -> int:
    """Return a TCP port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def processor_time(pid: int) -> float:
    """Return the processor time that a process has used, in s."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def process_a_of(client: int) -> int:
    """Return the process id of a client's process_a.

    Raises:
        BenchError: it has none.
    """
    for child in Path(f"/proc/{client}/task/{client}/children").read_text().split():
        if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
            return int(child)
    raise BenchError("the client has no process_a")


def processor_times(server: int, client: int) -> Figures:
    """Return the processor time (s) of a server, of a client's main process, and of its process_a."""
    pids = {"server cpu": server, "client cpu": client, "process_a cpu": process_a_of(client)}
    return {name: processor_time(pid) for name, pid in pids.items()}


class Program:
    """A Python program that runs, and is killed at the end of its with-block if it has not ended by then.

    Args:
        command: what follows the interpreter.
        log: where its stderr goes.
    """

    def __init__(self, *command: object, log: IO[str]) -> None:
        words = [str(word) for word in command]
        self._name = next(word for word in words if word.endswith(".py") or word.startswith("tools."))
        self._process = subprocess.Popen(
            [sys.executable, "-u", *words], cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True
        )
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def wait_for(self, pattern: str) -> None:
        """Wait until it prints a line that holds a pattern.

        Raises:
            BenchError: it ended without, or nothing of that kind came within PATIENCE.
        """
        watchdog = threading.Timer(PATIENCE, self._process.kill)
        watchdog.start()
        try:
            assert self._process.stdout is not None
            if not any(re.search(pattern, line) for line in self._process.stdout):
                raise BenchError(f"{self._name} never printed {pattern!r}")
        finally:
            watchdog.cancel()

    def stop(self) -> None:
        """Send it SIGINT."""
        self._process.send_signal(signal.SIGINT)

    def wait(self) -> None:
        """Wait for its end.

        Raises:
            BenchError: it does not end, or not with status 0.
        """
        try:
            self._process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            raise BenchError(f"{self._name} does not end") from None
        if self._process.returncode:
            raise BenchError(f"{self._name} ended with status {self._process.returncode}")


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
    def measure(self, seed: int, seconds: float) -> Figures:
        """Measure it once.

        Args:
            seed: of the ball's path.
            seconds: how long.

        Raises:
            BenchError: it did not come about.
        """


@dataclass(frozen=True)
class Loop(Case):
    """Server and client, as programs.

    server, client: their options; crowd: how many more clients; wrapper: tools.plain or tools.tracing, if any.
    """

    server: tuple[object, ...] = ()
    client: tuple[object, ...] = ()
    crowd: int = 0
    fps: float = 30.0
    wrapper: str | None = None

    def measure(self, seed: int, seconds: float) -> Figures:
        """Run both, and read what they leave behind."""
        with tempfile.TemporaryDirectory() as folder:
            rows, notes = Path(folder, "ledger.csv"), Path(folder, "notes")
            with Path(folder, "log").open("w+") as log:
                try:
                    figures = self._run(seed, seconds, rows, notes, log)
                except BenchError as error:
                    log.seek(0)
                    raise BenchError(f"{error}\n{log.read()[-2000:]}".rstrip()) from None
            frames = round(seconds * self.fps)
            if self.wrapper == "tools.tracing":
                with notes.open() as file:
                    return step_figures(read_notes(file)[-frames:])
            with rows.open() as file:
                return figures | ledger_figures(csv.DictReader(file), frames)

    def _run(self, seed: int, seconds: float, rows: Path, notes: Path, log: IO[str]) -> Figures:
        """Run both until all has been measured; return the processors' share."""
        port = free_port()
        before: dict[str | None, tuple[object, ...]] = {
            None: (),
            "tools.plain": ("-m", "tools.plain"),
            "tools.tracing": ("-m", "tools.tracing", notes),
        }
        where = ("--signaling-port", port)
        film = ("--fps", self.fps, "--seed", seed, "--print", "second", "--csv", rows)
        with contextlib.ExitStack() as programs:

            def run(*command: object) -> Program:
                return programs.enter_context(Program(*command, log=log))

            server = run(*before[self.wrapper], "server.py", *where, *film, *self.server)
            client = run(*before[self.wrapper], "client.py", *where, "--view", "none", *self.client)
            server.wait_for("scored [1-9]")
            crowd = [run("-m", "tools.crowd", self.crowd, port)] if self.crowd else []
            for each in crowd:
                each.wait_for("joined")
            time.sleep(WARM_UP)
            began, used = time.monotonic(), processor_times(server.pid, client.pid)
            time.sleep(seconds)
            took, total = time.monotonic() - began, processor_times(server.pid, client.pid)
            server.stop()
            for each in (server, client, *crowd):
                each.wait()
        figures = {name: (total[name] - used[name]) / took for name in total}
        return {**figures, "cpu": sum(figures.values())}


def step_figures(frames: Sequence[Mapping[str, float]]) -> Figures:
    """Return the median of each part of the latency, and of their sum, in ms."""
    if not frames:
        return {}
    figures = {step: statistics.median(frame[step] for frame in frames) for step in STEPS}
    return {**figures, "sum": statistics.median(sum(frame.values()) for frame in frames)}


@dataclass(frozen=True)
class Floor(Case):
    """Encoding and decoding alone: what no loop can go below with these codecs.

    codec: vp8 or h264; encoder: shared, or aiortc's own.
    """

    codec: str = "vp8"
    encoder: str = "shared"

    def measure(self, seed: int, seconds: float) -> Figures:
        """Encode and decode each frame when it is due: a processor that has slept is slower than one that has not."""
        scene = Scene(seed=seed)
        encode, decode = floor_codec(scene, self.codec, self.encoder)
        took: list[float] = []
        start = time.monotonic()
        for k in range(round((WARM_UP + seconds) * scene.fps)):
            image = draw(scene, scene.position(k))
            time.sleep(max(0.0, start + k / scene.fps - time.monotonic()))
            began = time.monotonic()
            decode(encode(k, image))
            took.append((time.monotonic() - began) * 1000)
        return quantiles("latency", took[round(WARM_UP * scene.fps) :])


def floor_codec(scene: Scene, codec: str, encoder: str) -> tuple[Callable[[int, Any], bytes], Callable[[bytes], Any]]:
    """Return what turns (k, I420 image) into data, and what turns that into pictures again.

    Args:
        codec, encoder: as in Floor.
    """
    import av
    from aiortc import RTCRtpCodecParameters
    from aiortc.codecs import depayload, get_decoder, get_encoder
    from aiortc.jitterbuffer import JitterFrame
    from aiortc.mediastreams import VIDEO_TIME_BASE

    from encoder import DEFAULT_BITRATE, create_codec
    from encoder import encode as encode_shared
    from media import MIME_TYPES
    from receiver import create_decoder

    if encoder == "shared":
        ours = create_codec(codec, scene.width, scene.height, scene.fps, DEFAULT_BITRATE)
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


# --- The parts -----------------------------------------------------------------------------------


Results = dict[str, dict[str, list[float]]]  # case: figure: its values, one for each round


class Column(NamedTuple):
    """A column of a table: its heading, the figure that it shows, and with how many digits."""

    heading: str
    figure: str
    digits: int


class Table(NamedTuple):
    """A table of the cases that have the figure of its first column, and the plot of the same.

    title: what stands above it; name: of the plot's file; plot: draws it, see below.
    """

    title: str
    columns: Sequence[Column]
    name: str
    plot: "Callable[[Results, Figure], None]"


class Part(NamedTuple):
    """Cases to be compared with each other, and the tables that show them."""

    cases: Sequence[Case]
    tables: Sequence[Table]


SENT = Column("sent of the film, %", "sent", 2)  # less than 100: the server itself is too slow
SCORED = Column("scored of those, %", "scored", 2)
LATENCY = tuple(Column(f"{share}, ms", f"latency {share}", 2) for share in ("p50", "p95", "p99"))
ERROR = tuple(Column(f"{share}, px", f"error {share}", 4) for share in ("p50", "p95", "p99"))
CPU = tuple(Column(f"{name}, cores", f"{name} cpu", 3) for name in ("server", "client", "process_a"))


def latency_part() -> Part:
    """Return the part about latency and its steps."""
    cases: list[Case] = []
    for codec, encoder in itertools.product(("vp8", "h264"), ("shared", "aiortc")):
        what = f"{codec} {encoder}"
        plain, floor = f"plain: {codec} aiortc stock", f"floor: {what}"
        ratios = (
            Ratio("p50 / floor", "latency p50", floor, "latency p50"),
            Ratio("p99 / floor", "latency p99", floor, "latency p50"),
            Ratio("cpu / plain", "cpu", plain, "cpu"),
        )
        server = ("--codec", codec, "--encoder", encoder)
        marker, stock = (("--jitter-buffer", buffer) for buffer in ("marker", "stock"))
        quick = what == "vp8 shared"
        cases += [
            Loop(f"{what} marker", ratios, quick, server, marker),
            Loop(f"{what} stock", ratios, server=server, client=stock),
            Loop(f"traced: {what} marker", (), quick, server, marker, wrapper="tools.tracing"),
            Floor(floor, (), quick, codec, encoder),
        ]
        if encoder == "aiortc":
            cases.append(Loop(plain, ratios, codec == "vp8", server, stock, wrapper="tools.plain"))
    columns = (
        *LATENCY,
        Column("p50 / floor", "p50 / floor", 2),
        Column("p99 / floor p50", "p99 / floor", 2),
        *CPU,
        Column("CPU / plain", "cpu / plain", 2),
        SENT,
        SCORED,
    )
    title = "from a frame's being drawn to its coordinate's return, 640x480, 30 frames a second"
    steps = tuple(Column(f"{step}, ms", step, 2) for step in (*STEPS, "sum"))
    return Part(
        cases,
        (
            Table(f"Latency {title}", columns, "latency", plot_latency),
            Table(f"Steps {title}: the median of each, with notes taken", steps, "steps", plot_steps),
        ),
    )


def accuracy_part() -> Part:
    """Return the part about accuracy: one thing changed at a time."""
    changed: dict[str, list[object]] = {
        "--color": [name for name in COLORS if name != "white"],
        "--radius": [5, 10, 40, 80],
        "--speed": [60, 960],
        "--bitrate": ["100k", "250k", "2M"],
        "--size": ["320x240", "1280x720"],
        "--codec": ["h264"],
    }
    quick = {("--color", "blue"), ("--bitrate", "100k")}
    cases = [Loop("default", quick=True)]
    cases += [
        Loop(f"{option[2:]} {value}", quick=(option, value) in quick, server=(option, value))
        for option, values in changed.items()
        for value in values
    ]
    title = (
        "Error against the truth of the very frame; the default is VP8, 500 kbit/s, 640x480, 30 frames a second, a "
        "white ball, radius 20 px, 240 px a second"
    )
    return Part(cases, (Table(title, (*ERROR, SENT, SCORED), "accuracy", plot_accuracy),))


def scale_part() -> Part:
    """Return the part about many clients: one that looks, and a crowd that does not."""
    cases = [
        Loop(
            f"{clients}",
            (Ratio("server / 1", "server cpu", "1", "server cpu"),),
            clients in {1, 8, 32},
            crowd=clients - 1,
        )
        for clients in (1, 2, 4, 8, 16, 32)
    ]
    title = (
        "Clients of one server, 640x480, 30 frames a second. One of them is client.py, whose latency this is; the "
        "others answer for every frame without looking at it. Scored: of all that was sent to all of them"
    )
    columns = (CPU[0], Column("CPU / 1 client", "server / 1", 2), *LATENCY, SENT, SCORED)
    return Part(cases, (Table(title, columns, "scale", plot_scale),))


def size_part() -> Part:
    """Return the part about large pictures at high rates."""
    bitrates = {  # kbit/s
        ("640x480", 30): 500,
        ("640x480", 60): 1000,
        ("1280x720", 30): 1500,
        ("1280x720", 60): 2500,
        ("1920x1080", 30): 3000,
        ("1920x1080", 60): 5000,
    }
    cases = [
        Loop(
            f"{size} {fps} {codec}",
            quick=codec == "vp8" and (size, fps) in {("1280x720", 60), ("1920x1080", 30), ("1920x1080", 60)},
            server=("--size", size, "--bitrate", f"{bitrate}k", "--codec", codec),
            fps=fps,
        )
        for codec in ("vp8", "h264")
        for (size, fps), bitrate in bitrates.items()
    ]
    rates = ", ".join(f"{bitrate} for {size} {fps}" for (size, fps), bitrate in bitrates.items())
    title = f"Sizes and frame rates; the bit rates are, in kbit/s, {rates}"
    return Part(cases, (Table(title, (SENT, SCORED, *LATENCY, ERROR[0], *CPU), "size", plot_latency),))


def transports_part() -> Part:
    """Return the part about the ways that frames can travel."""
    coded = {
        "media": ("--codec", {"vp8": "vp8", "h264": "h264"}),
        "datachannel": ("--quality", {"jpeg": "90", "png": "png"}),
        "tcp": ("--quality", {"jpeg": "90", "png": "png"}),
    }
    cases = [
        Loop(
            f"{transport} {name}",
            quick=name in {"vp8", "jpeg"},
            server=("--transport", transport, option, value),
            client=("--transport", transport),
        )
        for transport, (option, values) in coded.items()
        for name, value in values.items()
    ]
    title = "Ways for the frames to travel, 640x480, 30 frames a second"
    return Part(cases, (Table(title, (*LATENCY, *ERROR[:2], *CPU, SENT, SCORED), "transports", plot_latency),))


# --- All runs ------------------------------------------------------------------------------------


def measure_part(name: str, part: Part, rounds: int, seconds: float, say: Callable[[str], None]) -> tuple[Results, int]:
    """Measure all cases of a part, round by round; what fails is told and left out.

    Args:
        name: the part's.
        rounds, seconds: how many, and how long a case takes in each.
        say: is told of each run.

    Returns:
        The results, and how many runs failed.
    """
    results: Results = {case.name: {} for case in part.cases}
    failures = 0
    for number, case in in_turns(part.cases, rounds):
        try:
            figures = case.measure(seed=number, seconds=seconds)
        except BenchError as error:
            say(f"{name}, round {number}: {case.name}: FAILED: {error}")
            failures += 1
            continue
        say(f"{name}, round {number}: {case.name}: {brief(figures)}")
        for figure, value in figures.items():
            results[case.name].setdefault(figure, []).append(value)
    for case in part.cases:
        add_ratios(results, case)
    return results, failures


def in_turns(cases: Sequence[Case], rounds: int) -> Iterator[tuple[int, Case]]:
    """Return (number of the round, case), every case once in each round, every other round backwards."""
    for number in range(1, rounds + 1):
        for case in cases if number % 2 else reversed(cases):
            yield number, case


def add_ratios(results: Results, case: Case) -> None:
    """Add a case's ratios to its results, as far as both sides have been measured in every round."""
    mine = results[case.name]
    for ratio in case.ratios:
        values, of_values = mine.get(ratio.figure, []), results.get(ratio.of_case, {}).get(ratio.of_figure, [])
        if values and len(values) == len(of_values):
            mine[ratio.name] = [value / of_value for value, of_value in zip(values, of_values, strict=True)]


def brief(figures: Figures) -> str:
    """Return the figures that tell most of a run, as one line."""
    shown = (("latency p50", "ms"), ("sum", "ms"), ("error p50", "px"), ("scored", "%"), ("server cpu", "cores"))
    return ", ".join(f"{name} {figures[name]:.3g} {unit}" for name, unit in shown if name in figures)


def machine() -> dict[str, str]:
    """Return what the figures were measured on."""
    cpuinfo = Path("/proc/cpuinfo").read_text()
    models = [line.partition(":")[2].strip() for line in cpuinfo.splitlines() if line.startswith("model name")]
    return {
        "processor": models[0] if models else platform.machine(),
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        **{library: version(library) for library in LIBRARIES},
    }


# --- Tables --------------------------------------------------------------------------------------


def markdown(table: Table, results: Results) -> str:
    """Return a table in Markdown."""
    lines = [
        f"**{table.title}**",
        "",
        "| | " + " | ".join(column.heading for column in table.columns) + " |",
        "|---|" + "---:|" * len(table.columns),
    ]
    for case, figures in rows_of(table, results).items():
        cells = (format_spread(figures.get(column.figure, []), column.digits) for column in table.columns)
        lines.append(f"| {case} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def rows_of(table: Table, results: Results) -> Results:
    """Return the cases that have the figure of a table's first column, or none because they failed."""
    first = table.columns[0].figure
    return {case: figures for case, figures in results.items() if not figures or first in figures}


# --- Plots ---------------------------------------------------------------------------------------


def median(figures: Mapping[str, Sequence[float]], name: str) -> float:
    """Return a figure's median over the rounds, nan where there is none."""
    return statistics.median(figures.get(name, [])) if figures.get(name) else float("nan")


def plot_quantiles(results: Results, axes: "Axes", figure: str, unit: str) -> None:
    """Draw p50 to p99 of a figure for each case: a bar, and a line up to p99."""
    names = list(results)
    low, high = ([median(results[name], f"{figure} {share}") for name in names] for share in ("p50", "p99"))
    colors = {"floor": "0.7", "plain": "C1"}
    axes.barh(names, low, color=[colors.get(name.partition(":")[0], "C0") for name in names])
    axes.hlines(names, low, high, color="0.3")
    axes.plot(high, names, "|", color="0.3", markersize=8)
    for name, p50, p99 in zip(names, low, high, strict=True):
        text = " | ".join(f"{value:.0f}" if value >= 10 else f"{value:.2g}" for value in (p50, p99))
        axes.annotate(text, (p99, name), xytext=(5, 0), textcoords="offset points", va="center", fontsize=8)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlabel(f"{figure}, {unit}: median | 99th percentile")


def plot_latency(results: Results, figure: "Figure") -> None:
    """Draw the latency of each case."""
    plot_quantiles(results, figure.subplots(), "latency", "ms")


def plot_accuracy(results: Results, figure: "Figure") -> None:
    """Draw the error of each case, on a scale that goes by tens."""
    axes = figure.subplots()
    plot_quantiles(results, axes, "error", "px")
    axes.set_xscale("log")
    axes.set_xlim(left=0.0005)


def plot_steps(results: Results, figure: "Figure") -> None:
    """Draw the steps of each case end to end."""
    axes = figure.subplots()
    names = [name.removeprefix("traced: ") for name in results]
    left = [0.0] * len(names)
    for i, step in enumerate(STEPS):
        widths = [median(figures, step) for figures in results.values()]
        axes.barh(names, widths, left=left, label=step, color=f"C{i}")
        left = [start + width for start, width in zip(left, widths, strict=True)]
    axes.invert_yaxis()
    axes.legend(ncols=len(STEPS), fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1), frameon=False)
    axes.set_xlabel("latency, ms: the median of each step")


def plot_scale(results: Results, figure: "Figure") -> None:
    """Draw the server's processor time, and beside it the latency, over the number of clients."""
    clients = [int(name) for name in results]
    used = [median(figures, "server cpu") for figures in results.values()]
    left, right = figure.subplots(1, 2)
    left.plot(clients, used, "o-", color="C0", label="measured")
    left.plot(clients, [used[0] * n for n in clients], ":", color="0.6", label="if each client cost what one costs")
    left.set(ylabel="server CPU, cores", ylim=(0, 1.5 * max(used)))
    for share, style in (("p50", "o-"), ("p99", "o--")):
        values = [median(figures, f"latency {share}") for figures in results.values()]
        right.plot(clients, values, style, color="C0", label=share)
    right.set(ylabel="latency, ms")
    for axes in (left, right):
        axes.set(xlabel="clients", xticks=clients)
        axes.set_ylim(bottom=0)
        axes.legend(fontsize=8)


def save_plot(table: Table, results: Results, path: Path) -> None:
    """Draw a table's plot into a PNG file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = rows_of(table, results)
    figure = Figure(figsize=(9, 4 if table.plot is plot_scale else 1.5 + 0.3 * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)  # draws without a window
    table.plot(rows, figure)
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)


# --- The command line ----------------------------------------------------------------------------

PARTS: dict[str, Callable[[], Part]] = {
    "latency": latency_part,
    "accuracy": accuracy_part,
    "scale": scale_part,
    "size": size_part,
    "transports": transports_part,
}
ROUNDS, SECONDS = 3, 10.0
QUICK_SECONDS = 2.0
MAX_ROUNDS, MAX_SECONDS = 100, 300.0


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the options; exit with status 2 if they are wrong."""
    parser = options.Parser(description="Run server and client side by side, and show what the loop costs.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"what to run: {', '.join(PARTS)} (all)")
    parser.add_argument("--quick", action="store_true", help="one short round of the most telling cases")
    parser.add_argument("--rounds", type=int, metavar="N", help=f"how often each case is run ({ROUNDS}; quick: 1)")
    parser.add_argument(
        "--seconds",
        type=options.seconds,
        metavar="SECONDS",
        help=f"how long each case is measured ({SECONDS:g}; quick: {QUICK_SECONDS:g})",
    )
    parser.add_argument("--folder", type=Path, default=Path("bench"), help="where to save tables and plots (bench)")
    args = parser.parse_args(argv)
    for part in args.parts:
        if part not in PARTS:
            parser.error(f"argument PART: {part!r}: must be one of {', '.join(PARTS)}")
    args.parts = args.parts or list(PARTS)
    args.rounds = args.rounds if args.rounds is not None else 1 if args.quick else ROUNDS
    args.seconds = args.seconds or (QUICK_SECONDS if args.quick else SECONDS)
    if not 1 <= args.rounds <= MAX_ROUNDS:
        parser.error(f"argument --rounds: {args.rounds}: must be 1 to {MAX_ROUNDS}")
    if args.seconds > MAX_SECONDS:
        parser.error(f"argument --seconds: {args.seconds:g}: must be at most {MAX_SECONDS:g}")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit status: 0 all went well, 1 a run failed, 2 wrong usage."""
    args = parse_args(argv)
    parts = {name: PARTS[name]() for name in args.parts}
    if args.quick:
        parts = {name: part._replace(cases=[case for case in part.cases if case.quick]) for name, part in parts.items()}
    left = args.rounds * sum(len(part.cases) for part in parts.values())

    def say(text: str) -> None:
        nonlocal left
        left -= 1
        print(f"{text}  [{minutes(left)} left]", file=sys.stderr, flush=True)

    def minutes(runs: int) -> str:
        return f"about {runs * (args.seconds + OVERHEAD) / 60:.1f} min"

    print(f"{left} runs of {args.seconds:g} s, {args.rounds} of each case: {minutes(left)}", file=sys.stderr)
    started = datetime.now(UTC)
    args.folder.mkdir(parents=True, exist_ok=True)
    results: dict[str, Results] = {}
    failed = 0
    with contextlib.suppress(KeyboardInterrupt):  # what has been measured is shown
        for name, part in parts.items():
            results[name], failures = measure_part(name, part, args.rounds, args.seconds, say)
            failed += failures
            for table in part.tables:
                print(f"\n{markdown(table, results[name])}", flush=True)
                save_plot(table, results[name], args.folder / f"{table.name}.png")
    save(args, started, parts, results)
    print(f"saved in {args.folder}/" + (f"; {failed} runs failed" if failed else ""), file=sys.stderr)
    return 1 if failed else 0


def save(args: argparse.Namespace, started: datetime, parts: Mapping[str, Part], results: dict[str, Results]) -> None:
    """Write results.json, and the tables in Markdown."""
    facts = {"date": f"{started:%Y-%m-%d %H:%M} UTC", **machine()}
    whole = {**facts, "rounds": args.rounds, "seconds": args.seconds, "parts": results}
    (args.folder / "results.json").write_text(json.dumps(whole, indent=2) + "\n")
    how = f"{args.rounds} rounds of {args.seconds:g} s; median (lowest–highest)"
    lines = [", ".join(f"{name} {value}" for name, value in facts.items()) + f". {how}.\n"]
    lines += [markdown(table, results[name]) for name in results for table in parts[name].tables]
    (args.folder / "tables.md").write_text("\n".join(lines))


if __name__ == "__main__":
    sys.exit(main())
