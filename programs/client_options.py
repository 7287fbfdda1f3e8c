"""The client's command line."""

import argparse
import colorsys
import re
from collections.abc import Sequence

from common import options
from common.strangers import printable
from common.urls import WHEP_TOKEN, http_url
from common.versions import versions
from finding import color
from finding.own import finder_name
from protocol.messages import MAX_ABOUT
from views.views import kinds

HUE_SPREAD = 15  # degrees to either side of a colour that was given
MIN_SATURATION, MIN_VALUE = 0.35, 40  # of 1, of 255; of such a colour


def hues(text: str) -> tuple[float, float] | None:
    """Return a range of hues in degrees from a colour's name, FROM-TO or RRGGBB; None for auto.

    Raises:
        argparse.ArgumentTypeError: it is none of these.
    """
    if text == "auto":
        return None
    if text in color.HUES:
        return color.HUES[text]
    if re.fullmatch(r"#?[0-9a-fA-F]{6}", text):
        hue, saturation, value = colorsys.rgb_to_hsv(*bytes.fromhex(text.removeprefix("#")))
        if saturation < MIN_SATURATION or value < MIN_VALUE:
            raise argparse.ArgumentTypeError(f"{text!r}: has no hue to be told by; auto finds a ball on black")
        return (round(hue * 360) - HUE_SPREAD) % 360, (round(hue * 360) + HUE_SPREAD) % 360
    match = re.fullmatch(r"(\d{1,3})-(\d{1,3})", text, re.ASCII)
    if match is None or int(match[1]) > 360 or int(match[2]) > 360:
        names = ", ".join(color.HUES)
        rule = f"must be auto, {names}, hues FROM-TO in degrees such as 340-20, or a colour such as #ff0000"
        raise argparse.ArgumentTypeError(f"{text!r}: {rule}")
    return int(match[1]), int(match[2])


def watched(text: str) -> str:
    """Return what is to be watched.

    Raises:
        argparse.ArgumentTypeError: it is nothing.
    """
    if not text:
        raise argparse.ArgumentTypeError("'': must be a camera, screen, :0.0+X,Y, a URL or a file")
    return text


def option_of(text: str) -> tuple[str, str]:
    """Return name and value of an option of FFmpeg's.

    Raises:
        ValueError: it is none.

    >>> option_of("video_size=1280x720")
    ('video_size', '1280x720')
    """
    name, equals, value = text.partition("=")
    if not re.fullmatch(r"\w+", name, re.ASCII) or not equals:
        raise ValueError(f"{text!r}: must be NAME=VALUE")
    return name, value


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the options; exit with status 2 if they are wrong."""
    parser = options.Parser(description="Find the ball in what a server films, and tell it where it is.")
    options.add_shared(parser)
    add, conditional = parser.add_argument, options.Conditional
    add(
        "--wait",
        type=options.patience,
        default=30.0,
        metavar="SECONDS",
        help="how long to wait for a server that is not there yet; 0: try once (30)",
    )
    add(
        "--stay",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="dial again even when the server says goodbye: there will be another one (no)",
    )
    add(
        "--jitter-buffer",
        choices=["marker", "stock"],
        help="release a frame when its last packet is there, or as aiortc does with the first of the next (marker)",
    )
    add(
        "--view",
        type=kinds,
        default="auto",
        metavar="auto|window|web|none",
        help="what to show, several with commas between; auto: a window if there is a display (auto)",
    )
    add(
        "--http",
        type=options.address,
        metavar="[HOST:]PORT",
        help="serve /healthz, /readyz, /metrics there, and with --view web the page (nowhere; page: 127.0.0.1:8080)",
    )
    add(
        "--color",
        type=hues,
        metavar="auto|NAME|FROM-TO|RRGGBB",
        help="of the ball in a real scene: a name, a range of hues in degrees, a colour; auto: any, on black (auto)",
    )
    add(
        "--find",
        type=finder_name,
        metavar="MODULE:FUNCTION",
        help="a finder of your own: a function of a BGR image that returns x, y or None (ours)",
    )
    add(
        "--record",
        type=options.recording_file,
        metavar="FILE.mp4",
        help="record the pictures, with what was found (nowhere)",
    )
    add(
        "--whep",
        type=http_url,
        metavar="URL",
        help=f"see the film at a media server by WHEP, a bearer token for it in {WHEP_TOKEN}, and report here (no)",
    )
    add(
        "--watch",
        type=watched,
        metavar="CAMERA|screen|:0.0+X,Y|URL|FILE",
        help="see the film in what a camera, a screen or a URL shows, by the numbers of server.py --code (no)",
    )
    add(
        "--watch-option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="of FFmpeg's, for what --watch opens, such as video_size=1280x720; may be given again and again",
    )
    args = parser.parse_args(argv)
    options.settle(
        parser,
        args,
        conditional("jitter_buffer", args.transport == "media", "--transport media", "marker"),
        conditional("whep", args.transport == "media", "--transport media"),
        *(
            conditional(name, args.transport != "tcp", "--transport media or datachannel", parser.get_default(name))
            for name in options.ICE
        ),
    )
    options.check_token(parser, args, "whep", WHEP_TOKEN)
    options.check_ice(parser, args)
    try:
        args.watch_option = dict(option_of(text) for text in args.watch_option)
    except ValueError as error:
        parser.error(f"argument --watch-option: {error}")
    if args.watch is None and args.watch_option:
        parser.error("argument --watch-option: has an effect with --watch only")
    if args.watch is not None and args.whep is not None:
        parser.error("argument --watch: goes without --whep")
    if args.find is not None and args.color is not None:
        parser.error("argument --find: goes without --color")
    return args


def about(args: argparse.Namespace) -> str:
    """Return how the client was started, for whoever reads the server's summary: what changes its figures, no names.

    Nothing of it is a path, an address or a password.
    """
    jitter_buffer = f"--jitter-buffer {args.jitter_buffer} " if args.jitter_buffer else ""
    color = f"--color {args.color[0]:g}-{args.color[1]:g} " if args.color else ""
    find = f"--find {args.find} " if args.find else ""
    seen = "--whep " if args.whep else "--watch " if args.watch else ""  # an address is nobody's business
    told = f"{seen}{jitter_buffer}{color}{find}--view {','.join(args.view) or 'none'}"
    text = f"{told}; " + ", ".join(f"{name} {number}" for name, number in versions().items())
    return printable(text.encode("ascii", "replace").decode(), MAX_ABOUT)
