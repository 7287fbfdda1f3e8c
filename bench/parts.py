"""The parts of the benchmark: what is compared with what, and the tables that show it."""

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

from ball_track import COLORS
from bench import browser, finders, prediction
from bench.cases import Case, Floor, Loop, Ratio
from bench.tables import Column, Table, plot_accuracy, plot_latency, plot_scale, plot_steps
from bench.tracing import PARTS as STEPS

# --- The parts -----------------------------------------------------------------------------------


class Part(NamedTuple):
    """Cases to be compared with each other, and the tables that show them."""

    cases: Sequence[Case]
    tables: Sequence[Table]


SENT = Column("sent of the film, %", "sent", 2)  # less than 100: the server itself is too slow
SCORED = Column("scored of those, %", "scored", 2)
LATENCY = tuple(Column(f"{share}, ms", f"latency {share}", 2) for share in ("p50", "p95", "p99"))
FLOOR = Column("p50 / floor", "p50 / floor", 2)
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
            Loop(f"traced: {what} marker", (), quick, server, marker, wrapper="bench.tracing"),
            Floor(floor, (), quick, codec, encoder),
        ]
        if encoder == "aiortc":
            cases.append(Loop(plain, ratios, codec == "vp8", server, stock, wrapper="bench.plain"))
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
        "--radius": [5, 10, 40, 80, 160, 240],
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
    large = ("--size", "1920x1080", "--bitrate", "3M", "--radius", 540, "--speed", 200)
    cases.append(Loop("radius 540, 1920x1080", server=large))
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
    cases: list[Case] = []
    for codec, ((size, fps), bitrate) in itertools.product(("vp8", "h264"), bitrates.items()):
        name, floor = f"{size} {fps} {codec}", f"floor: {size} {fps} {codec}"
        quick = codec == "vp8" and (size, fps) in {("1280x720", 60), ("1920x1080", 30), ("1920x1080", 60)}
        ratios = (Ratio("p50 / floor", "latency p50", floor, "latency p50"),)
        server = ("--size", size, "--bitrate", f"{bitrate}k", "--codec", codec)
        width, height = (int(side) for side in size.split("x"))
        cases += [
            Loop(name, ratios, quick, server, fps=fps),
            Floor(floor, (), quick, codec, width=width, height=height, fps=fps, bitrate=bitrate * 1000),
        ]
    rates = ", ".join(f"{bitrate} for {size} {fps}" for (size, fps), bitrate in bitrates.items())
    title = f"Sizes and frame rates; the bit rates are, in kbit/s, {rates}"
    return Part(cases, (Table(title, (SENT, SCORED, *LATENCY, FLOOR, ERROR[0], *CPU), "size", plot_latency),))


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


def finders_part() -> Part:
    """Return the part about the usual ways to find a ball, beside ours."""
    return Part(finders.finders_cases(), (finders.TABLE,))


def prediction_part() -> Part:
    """Return the part about where the ball is by the time a coordinate arrives."""
    return Part(prediction.aged_cases(), (prediction.TABLE,))


def browser_part() -> Part:
    """Return the part about a browser as the client."""
    return Part(browser.browser_cases(), browser.TABLES)


# --- All of them ---------------------------------------------------------------------------------

PARTS: dict[str, Callable[[], Part]] = {
    "latency": latency_part,
    "accuracy": accuracy_part,
    "scale": scale_part,
    "size": size_part,
    "transports": transports_part,
    "finders": finders_part,
    "prediction": prediction_part,
    "browser": browser_part,
}
