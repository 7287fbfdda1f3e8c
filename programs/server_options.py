"""The server's command line."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec

from ball_track import Scene
from common import options
from common.decoding import camera_of
from common.urls import WHIP_TOKEN, http_url
from film.truth import truth_file
from film.video_encoder import CODECS, DEFAULT_BITRATE
from protocol.images import DEFAULT_QUALITY
from protocol.picture_code import layout_of
from scoring.budget import Requirement, parse_requirement
from scoring.terminal import MODES

BALL = "ball"  # the source that is drawn
SUMMARY, CSV, LOG = "summary.json", "frames.csv", "server.log"  # what --out keeps


def parse_args(argv: Sequence[str] | None = None) -> tuple[argparse.Namespace, Scene]:
    """Return the options and the scene that they describe; exit with status 2 if they are wrong."""
    parser = options.Parser(description="Film a bouncing ball and keep the score of who finds it.")
    options.add_shared(parser)
    add, number, scene = parser.add_argument, options.number, Scene()
    add("--size", type=options.size, metavar="WxH", help="of the film, px (640x480)")
    add("--fps", type=number("1 to 240 frames a second"), metavar="N", help="of the film, frames a second (30)")
    add("--radius", type=number("px, 3 to half the shorter side"), metavar="PX", help="of the ball, px (20)")
    add("--speed", type=number("px a second, 0 or more"), metavar="N", help="of the ball, px a second (240)")
    add("--color", type=options.color, help="of the ball: a name or RRGGBB (white)")
    add("--seed", type=options.whole_number, metavar="N", help="chooses the ball's path (0)")
    add(
        "--source",
        default=BALL,
        metavar="ball|CAMERA|FILE",
        help="what to film: the drawn ball, a camera such as 0 or /dev/video0, or a video file, again and again (ball)",
    )
    add(
        "--truth",
        type=truth_file,
        metavar="FILE.csv",
        help="where the ball is in the file: columns frame, x, y, in px (unknown)",
    )
    add(
        "--code",
        action="store_true",
        help="write each frame's number into its picture, for client.py --watch and any other camera (no)",
    )
    add("--codec", choices=CODECS, help="video codec (vp8)")
    add("--bitrate", type=options.bitrate, metavar="BIT/S", help="of the video, such as 500k or 2M (500k)")
    add(
        "--encoder",
        choices=["shared", "aiortc"],
        help="encode once for all clients, or let aiortc do it for each, at a bit rate of its own (shared)",
    )
    add(
        "--quality",
        type=options.quality,
        default=options.UNSET,
        metavar="1-100|png",
        help="of the images that datachannel and tcp send: JPEG's, or png, which is lossless (90)",
    )
    add("--once", action="store_true", help="end after the first client (no)")
    add(
        "--print",
        choices=MODES,
        default="auto",
        help="live: a panel; second: one line a second; every: one for each coordinate; auto: live in a terminal, else "
        "second (auto)",
    )
    add(
        "--summary", type=options.output_file, metavar="FILE.json", help="write the figures to a file at the end (none)"
    )
    add("--csv", type=options.output_file, metavar="FILE.csv", help="write what became of each frame to a file (none)")
    add(
        "--out",
        type=options.output_folder,
        metavar="DIR",
        help=f"keep {SUMMARY}, {CSV} and {LOG} of the run in a folder, for python3 -m report (none)",
    )
    add(
        "--require",
        type=requirement,
        action="append",
        default=[],
        metavar="'FIGURE <= N'",
        help="a budget: end with status 3 unless a figure of the summary keeps it, such as 'latency_ms.p95 <= 50' or "
        "'scored >= 99 %%'; any number of them (none)",
    )
    add(
        "--http",
        type=options.address,
        metavar="[HOST:]PORT",
        help="serve there a page that is a client, its signaling (/whep), /healthz, /readyz and /metrics (nowhere)",
    )
    add(
        "--whip",
        type=http_url,
        metavar="URL",
        help=f"publish the film at a media server by WHIP, a bearer token for it in {WHIP_TOKEN} (nowhere)",
    )
    args = parser.parse_args(argv)
    settle_options(parser, args)
    try:
        width, height = args.size
        scene = Scene(
            width, height, fps=args.fps, radius=args.radius, speed=args.speed, color=args.color, seed=args.seed
        )
        if args.code and args.source == BALL:
            scene = leave_room_for_code(parser, scene)
    except ValueError as error:
        parser.error(f"argument --{error}")
    if args.out is not None:
        make_folder(parser, args)
    return args, scene


def leave_room_for_code(parser: options.Parser, scene: Scene) -> Scene:
    """Return a scene whose ball stays out of the margins that the frame's number takes.

    Raises:
        ValueError: the ball is too large for what is left.
    """
    try:
        margins = layout_of(scene.width, scene.height).margins
    except ValueError as error:
        parser.error(f"argument --code: size {error}")
    return replace(scene, margins=margins)


def requirement(text: str) -> Requirement:
    """Return a line of the budget.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    try:
        return parse_requirement(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error}") from None


def make_folder(parser: options.Parser, args: argparse.Namespace) -> None:
    """Make the folder of the run; summary and CSV go there."""
    try:
        args.out.mkdir(exist_ok=True)
    except OSError as error:
        parser.error(f"argument --out: '{args.out}': {error.strerror}")
    for name, file in (("summary", SUMMARY), ("csv", CSV), ("out", LOG)):
        try:
            path = options.output_file(str(args.out / file))
        except argparse.ArgumentTypeError as error:
            parser.error(f"argument --out: {error}")
        if name != "out":
            setattr(args, name, path)


def settle_options(parser: options.Parser, args: argparse.Namespace) -> None:
    """Refuse options that do not go together, and fill in the defaults of those that were not given."""
    media, drawn, scene = args.transport == "media", args.source == BALL, Scene()
    asked = drawn or camera_of(args.source) is not None  # a file has a size and a rate of its own
    shared = media and args.encoder != "aiortc"
    peers, way = args.transport != "tcp" or bool(args.http), "--transport media or datachannel, or --http"
    conditional = options.Conditional
    if not media and find_spec("cv2") is None:
        parser.error(f"argument --transport: {args.transport} needs OpenCV, which is not installed here")
    options.settle(
        parser,
        args,
        conditional("codec", media, "--transport media", "vp8"),
        conditional("bitrate", shared, "--transport media and --encoder shared", DEFAULT_BITRATE),
        conditional("encoder", media, "--transport media", "shared"),
        conditional("quality", not media, "--transport datachannel or tcp", DEFAULT_QUALITY),
        *(conditional(name, peers, way, parser.get_default(name)) for name in options.ICE),
        conditional("size", asked, "the drawn ball or a camera as --source", (scene.width, scene.height)),
        conditional("fps", asked, "the drawn ball or a camera as --source", scene.fps),
        *(conditional(each, drawn, "the drawn ball", getattr(scene, each)) for each in ("radius", "speed", "color")),
        conditional("seed", drawn, "the drawn ball", scene.seed),
        conditional("whip", media, "--transport media"),
        conditional("truth", not asked, "a video file as --source"),
    )
    options.check_ice(parser, args)
    options.check_token(parser, args, "whip", WHIP_TOKEN)
    for name in ("summary", "csv"):
        if args.out is not None and getattr(args, name) is not None:
            parser.error(f"argument --{name}: has an effect without --out only, which writes that as well")
    options.refuse_one_file_twice(parser, args, "summary", "csv")
