"""The parts of the benchmark: what is compared with what, and the tables that show it."""

import itertools
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from ball_track import COLORS
from bench import browser, finders, prediction
from bench.cases import Case, Floor, Loop, Ratio
from bench.chain import Chain
from bench.tracing import PARTS as STEPS
from report.case_plots import draw_error, draw_latency, draw_scale, draw_steps
from report.tables import Column, Table

# --- The parts -----------------------------------------------------------------------------------


class Part(NamedTuple):
    """Cases to be compared with each other, the tables that show them, and what the part is about, for --help."""

    cases: Sequence[Case]
    tables: Sequence[Table]
    about: str = ""


SENT = Column("sent of the film, %", "sent", 2)  # less than 100: the server itself is too slow
SCORED = Column("scored of those, %", "scored", 2)
LATENCY = tuple(Column(f"{share}, ms", f"latency {share}", 2) for share in ("p50", "p95", "p99"))
FLOOR, FLOOR_P99 = Column("p50 / floor", "p50 / floor", 2), Column("p99 / floor p50", "p99 / floor", 2)
CHAIN = Column("p50 / chain", "p50 / chain", 2)
ERROR = tuple(Column(f"{share}, px", f"error {share}", 4) for share in ("p50", "p95", "p99"))
CPU = tuple(Column(f"{name}, cores", f"{name} cpu", 3) for name in ("server", "client", "process_a"))


CODEC_NAMES = {"vp8": "VP8", "h264": "H.264"}
OVERVIEW = {  # the rows of the README's table: case, and how to get it
    "this project: VP8": "the defaults: VP8, marker",
    "one thing as aiortc has it: VP8, its jitter buffer": "`--jitter-buffer stock`: aiortc's own",
    "this project: VP8, blue ball": "`--color blue`",
    "this project: H.264": "`--codec h264`",
    "the usual way: VP8": "`--encoder aiortc`, `--jitter-buffer stock`",
}


def latency_part() -> Part:
    """Return the part about latency and its steps."""
    cases: list[Case] = []
    marker, stock = (("--jitter-buffer", buffer) for buffer in ("marker", "stock"))
    for codec, name in CODEC_NAMES.items():
        floors = {each: f"encoding and decoding alone: {name}{suffix}" for each, suffix in
                  (("shared", ""), ("aiortc", ", aiortc's encoder"))}  # fmt: skip
        plain, quick = f"the usual way: {name}, BGR images through the Queue", codec == "vp8"
        ours, theirs = (("--codec", codec, "--encoder", encoder) for encoder in ("shared", "aiortc"))
        chain = f"a chain of blocking calls: {name}"
        of_ours, of_theirs = (ratios_to(floors[encoder], chain, plain) for encoder in ("shared", "aiortc"))
        cases += [
            Loop(f"this project: {name}", of_ours, quick, ours, marker),
            *([Loop(f"this project: {name}, blue ball", of_ours, server=(*ours, "--color", "blue"))] if quick else []),
            Loop(f"one thing as aiortc has it: {name}, its jitter buffer", of_ours, quick, ours, stock),
            Loop(f"one thing as aiortc has it: {name}, its encoder", of_theirs, server=theirs, client=marker),
            Loop(f"the usual way: {name}", of_theirs, server=theirs, client=stock),
            Loop(plain, of_theirs, quick, theirs, stock, wrapper="bench.plain"),
            *(Floor(floor, (), quick and each == "shared", codec, encoder=each) for each, floor in floors.items()),
            Chain(chain, ratios_to(floors["shared"]), quick, codec),
            Loop(f"this project, traced: {name}", (), quick, ours, marker, wrapper="bench.tracing"),
            Loop(f"aiortc's encoder, traced: {name}", server=theirs, client=marker, wrapper="bench.tracing"),
        ]
    columns = (
        *LATENCY,
        FLOOR,
        FLOOR_P99,
        CHAIN,
        *CPU,
        Column("CPU / plain", "cpu / plain", 2),
        SENT,
        SCORED,
    )
    overview = (
        Column("of the film sent, %", "sent", 1),
        Column("of that scored, %", "scored", 1),
        Column("error p50 / p99, px", "error p50", 4, ("error p99",)),
        Column("latency p50 / p99, ms", "latency p50", 1, ("latency p99",)),
        Column("CPU of all, cores", "cpu", 2),
    )
    title = "from the start of a frame's drawing to its coordinate's return, 640x480, 30 frames a second"
    steps = tuple(Column(f"{step}, ms", step, 2) for step in (*STEPS, "sum"))
    return Part(
        cases,
        (
            Table(f"Latency {title}", columns, "latency", draw_latency, "Latency, 640x480, 30 frames a second"),
            Table(
                f"Steps {title}: the median of each, with notes taken",
                steps,
                "steps",
                partial(draw_steps, steps=STEPS),
                "Where the latency comes from",
            ),
            Table("The defaults, and one thing changed at a time", overview, "overview", rows=OVERVIEW),
        ),
        "jitter buffers, encoders and codecs, beside encoding and decoding alone and the usual way; the steps",
    )


def ratios_to(floor: str, chain: str | None = None, plain: str | None = None) -> tuple[Ratio, ...]:
    """Return what a case is compared with.

    Args:
        floor: encoding and decoding alone.
        chain: the same work as a chain of blocking calls.
        plain: the usual way with BGR images.
    """
    return (
        Ratio("p50 / floor", "latency p50", floor, "latency p50"),
        Ratio("p99 / floor", "latency p99", floor, "latency p50"),
        *([Ratio("p50 / chain", "latency p50", chain, "latency p50")] if chain else []),
        *([Ratio("cpu / plain", "cpu", plain, "cpu")] if plain else []),
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
    cases = [Loop("the defaults", quick=True)]
    cases += [
        Loop(f"{option[2:]}: {value}", quick=(option, value) in quick, server=(option, value))
        for option, values in changed.items()
        for value in values
    ]
    large = ("--size", "1920x1080", "--bitrate", "3M", "--radius", 540, "--speed", 200)
    cases.append(Loop("radius: 540 at 1920x1080", server=large))
    title = (
        "Error against the truth of the very frame; the default is VP8, 500 kbit/s, 640x480, 30 frames a second, a "
        "white ball, radius 20 px, 240 px a second"
    )
    table = Table(title, (*ERROR, SENT, SCORED), "accuracy", draw_error, "Error, one thing changed at a time")
    return Part(cases, (table,), "colours, radii, speeds, bit rates, sizes")


def scale_part() -> Part:
    """Return the part about many clients: one that looks, and a crowd that does not."""
    cases = [
        Loop(
            f"{clients}",
            (
                Ratio("server / 1", "server cpu", "1", "server cpu"),
                Ratio("p50 / 1", "latency p50", "1", "latency p50"),
            ),
            clients in {1, 8, 32},
            crowd=clients - 1,
        )
        for clients in (1, 2, 4, 8, 16, 32, 64, 100)
    ]
    title = (
        "Clients of one server, 640x480, 30 frames a second. One of them is client.py, whose latency this is; the "
        "others answer for every frame without looking at it. Scored: of all that was sent to all of them"
    )
    columns = (
        CPU[0],
        Column("CPU / 1 client", "server / 1", 2),
        *LATENCY,
        Column("p50 / 1 client", "p50 / 1", 2),
        SENT,
        SCORED,
    )
    table = Table(title, columns, "scale", draw_scale, "Many clients of one server")
    return Part(cases, (table,), "1 to 100 clients of one server")


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
        name, floor, chain = (f"{what}{CODEC_NAMES[codec]}: {size}, {fps} fps" for what in ("", "alone, ", "chain, "))
        quick = codec == "vp8" and (size, fps) in {("1280x720", 60), ("1920x1080", 30), ("1920x1080", 60)}
        server = ("--size", size, "--bitrate", f"{bitrate}k", "--codec", codec)
        width, height = (int(side) for side in size.split("x"))
        cases += [
            Loop(name, ratios_to(floor, chain), quick, server, fps=fps),
            Floor(floor, (), quick, codec, width, height, fps, bitrate * 1000),
            Chain(chain, ratios_to(floor), quick, codec, width, height, fps, bitrate * 1000),
        ]
    rates = ", ".join(f"{bitrate} for {size} {fps}" for (size, fps), bitrate in bitrates.items())
    title = f"Sizes and frame rates; the bit rates are, in kbit/s, {rates}"
    columns = (SENT, SCORED, *LATENCY, FLOOR, FLOOR_P99, CHAIN, ERROR[0], *CPU, Column("all three, cores", "cpu", 3))
    table = Table(title, columns, "size", draw_latency, "Latency by size and frame rate")
    return Part(cases, (table,), "640x480 to 1920x1080, at 30 and 60 frames a second")


def radius_part() -> Part:
    """Return the part about large balls: from the smallest to one that fills the picture."""
    pictures = {"640x480": (500, (3, 20, 80, 160, 240)), "1920x1080": (3000, (3, 20, 100, 240, 380, 540))}  # kbit/s, px
    cases = [
        Loop(
            f"{size}, {color}: radius {radius} px",
            quick=radius > 200 and color == "white",
            server=("--size", size, "--bitrate", f"{bitrate}k", "--radius", radius, "--color", color),
        )
        for size, (bitrate, radii) in pictures.items()
        for color in ("white", "red")
        for radius in radii
    ]
    columns = (SENT, SCORED, *LATENCY, *ERROR, *CPU)
    table = Table("Radii, 30 frames a second", columns, "radius", draw_latency, "Latency by the ball's radius")
    return Part(cases, (table,), "balls of every radius, white and red, at 640x480 and 1920x1080")


def transports_part() -> Part:
    """Return the part about the ways that frames can travel."""
    coded = {
        "media": ("--codec", {"VP8": "vp8", "H.264": "h264"}),
        "datachannel": ("--quality", {"JPEG": "90", "PNG": "png"}),
        "tcp": ("--quality", {"JPEG": "90", "PNG": "png"}),
    }
    cases = [
        Loop(
            f"{transport}: {name}",
            quick=name in {"VP8", "JPEG"},
            server=("--transport", transport, option, value),
            client=("--transport", transport),
        )
        for transport, (option, values) in coded.items()
        for name, value in values.items()
    ]
    title = "Ways for the frames to travel, 640x480, 30 frames a second"
    columns = (*LATENCY, *ERROR[:2], *CPU, SENT, SCORED)
    table = Table(title, columns, "transports", draw_latency, "Latency by the way that frames travel")
    return Part(cases, (table,), "the ways that frames can travel: media, datachannel, tcp")


def finders_part() -> Part:
    """Return the part about the usual ways to find a ball, beside ours."""
    return Part(
        finders.finders_cases(), (finders.TABLE,), "the usual ways to find a ball, beside ours, on the same frames"
    )


def prediction_part() -> Part:
    """Return the part about where the ball is by the time a coordinate arrives."""
    about = "a coordinate as it is when it arrives, and predicted to the present, over slow links (needs root)"
    return Part(prediction.aged_cases(), (prediction.TABLE,), about)


def browser_part() -> Part:
    """Return the part about a browser as the client."""
    about = "client.py beside the page in Chromium, with and without a jitter buffer (needs chromium)"
    return Part(browser.browser_cases(), browser.TABLES, about)


# --- All of them ---------------------------------------------------------------------------------

PARTS: dict[str, Callable[[], Part]] = {
    "latency": latency_part,
    "accuracy": accuracy_part,
    "scale": scale_part,
    "size": size_part,
    "radius": radius_part,
    "transports": transports_part,
    "finders": finders_part,
    "prediction": prediction_part,
    "browser": browser_part,
}
