"""Command-line options that both programs spell in the same way."""

import argparse
import contextlib
import json
import logging
import math
import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from ball_track import COLORS
from common import files, ice, urls
from protocol.images import PNG

MAX_LOG = 10_000_000  # bytes of a log file; there are two at most
UNSET = object()  # where None is a value
ICE = ("ice_server", "stun", "relay_only")  # how peers find each other, where they are connected at all


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaint is one line: option, value and rule."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, **settings)

    def error(self, message: str) -> NoReturn:
        """Print the complaint on stderr and exit with status 2."""
        print(f"{self.prog}: error: {message}", file=sys.stderr)
        sys.exit(2)


def add_shared(parser: argparse.ArgumentParser) -> None:
    """Add the options that server and client have in common."""
    parser.add_argument(
        "-s", "--signaling", choices=["tcp-socket"], default="tcp-socket", help="how to meet (tcp-socket)"
    )
    parser.add_argument("--signaling-host", default="127.0.0.1", metavar="HOST", help="host to meet at (127.0.0.1)")
    parser.add_argument("--signaling-port", type=port, default=1234, metavar="PORT", help="TCP port to meet at (1234)")
    parser.add_argument(
        "--transport",
        choices=["media", "datachannel", "tcp"],
        default="media",
        help="how frames travel: a MediaStreamTrack, images over an RTCDataChannel, or over plain TCP (media)",
    )
    parser.add_argument(
        "--ice-server",
        type=ice_server,
        action="append",
        default=[],
        metavar="URL",
        help="STUN or TURN server to ask: stun:HOST:PORT, turn:HOST:PORT?transport=udp|tcp or turns:HOST:PORT, one of "
        f"each kind; name and password of a TURN server are in the environment, {ice.USERNAME} and {ice.CREDENTIAL} or "
        f"{ice.SECRET} (none)",
    )
    parser.add_argument(
        "--stun", type=stun, metavar="stun:HOST:PORT", help="the same as --ice-server, for a STUN server (none)"
    )
    parser.add_argument(
        "--relay-only", action="store_true", help="go through the TURN server even where there is a direct way (no)"
    )
    parser.add_argument(
        "--duration", type=seconds, metavar="SECONDS", help="end after so many seconds (none: until stopped)"
    )
    parser.add_argument(
        "--log-format", choices=["text", "json"], default="text", help="how the log on stderr is written (text)"
    )
    parser.add_argument("-v", "--verbose", action="count", default=0, help="log more; twice: everything")


class Conditional(NamedTuple):
    """An option that has an effect together with others only; its default in the parser is None, or UNSET.

    name: as in the parsed arguments; holds: whether those others are there; rule: which they are.
    """

    name: str
    holds: bool
    rule: str
    default: object = None


def settle(parser: Parser, args: argparse.Namespace, *conditionals: Conditional) -> None:
    """Refuse what was asked for and would have no effect; fill in the defaults of what was not asked for."""
    for name, holds, rule, default in conditionals:
        if getattr(args, name) is parser.get_default(name):
            setattr(args, name, default)
        elif not holds:
            parser.error(f"argument --{name.replace('_', '-')}: has an effect with {rule} only")


def refuse_one_file_twice(parser: Parser, args: argparse.Namespace, *names: str) -> None:
    """Refuse two options that would write the same file."""
    seen: dict[Path, str] = {}
    for name in names:
        path = getattr(args, name)
        if path is None or not files.is_plain(path):
            continue
        if (other := seen.setdefault(path.resolve(), name)) != name:
            parser.error(f"argument --{name}: '{path}': is what --{other} writes")


def configure_logging(verbose: int, log_format: str = "text", file: Path | None = None) -> None:
    """Log to stderr: warnings, with -v what happens, with -vv everything; as lines of text or of JSON.

    Args:
        verbose: how often -v was given.
        log_format: text or json.
        file: where to log to as well, what happens at least; one that is there begins anew; it is bounded.
    """
    level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    root = logging.getLogger()
    if file is not None:
        for handler in root.handlers:
            handler.setLevel(level)
        root.setLevel(min(level, logging.INFO))
        root.addHandler(_LogFile(file))
    for handler in root.handlers:
        if log_format == "json":
            handler.setFormatter(JsonFormatter())
        elif file is not None:
            handler.setFormatter(root.handlers[0].formatter)


class _LogFile(RotatingFileHandler):
    """A log in a file, opened with its first line; where that cannot be written, nothing is made of it.

    It keeps the newest: a file that has MAX_LOG bytes gets the name of the one before it, FILE.1, in its place.
    """

    def __init__(self, path: Path) -> None:
        for old in (path, path.with_name(f"{path.name}.1")):  # another run's
            with contextlib.suppress(OSError):
                old.unlink()
        super().__init__(path, maxBytes=MAX_LOG, backupCount=1, encoding="utf-8", errors="backslashreplace", delay=True)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # logging's name
        """Say nothing: it would be said in the log; the other files of the run tell of a full disk."""


class JsonFormatter(logging.Formatter):
    """Makes each record one line of JSON: time (ISO 8601, UTC), level, logger, message, and the traceback if any."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's line."""
        fields = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return json.dumps(fields)


def port(text: str) -> int:
    """Return a TCP port, 1 to 65535.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    if re.fullmatch(r"\d{1,5}", text, re.ASCII) is None or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r}: must be a port, 1 to 65535")
    return int(text)


def address(text: str) -> tuple[str, int]:
    """Return host and TCP port from HOST:PORT, an IPv6 address in brackets; from PORT alone, on this machine only.

    Raises:
        argparse.ArgumentTypeError: it is not of that form.

    >>> address("0.0.0.0:8080"), address("[::1]:8080"), address("8080")
    (('0.0.0.0', 8080), ('::1', 8080), ('127.0.0.1', 8080))
    """
    if re.fullmatch(r"\d+", text, re.ASCII):
        return "127.0.0.1", port(text)
    host, _, number = text.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not bare or (":" in bare and bare == host):
        raise argparse.ArgumentTypeError(f"{text!r}: must be PORT, or HOST:PORT such as 0.0.0.0:8080")
    return bare, port(number)


def seconds(text: str) -> float:
    """Return a time in seconds, above 0.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r}: must be seconds, a number above 0")
    return value


def patience(text: str) -> float:
    """Return a time in seconds, 0 or more.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    if re.fullmatch(r"0+(\.0*)?", text, re.ASCII):
        return 0.0
    try:
        return seconds(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"{text!r}: must be seconds, 0 or more") from None


def number(rule: str) -> Callable[[str], float]:
    """Return what makes a number of a text; which ones are good, as `rule` says, is checked elsewhere."""

    def convert(text: str) -> float:
        try:
            return float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r}: must be {rule}") from None

    return convert


def whole_number(text: str) -> int:
    """Return a whole number.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    if not re.fullmatch(r"[+-]?\d{1,18}", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"{text!r}: must be a whole number")
    return int(text)


def output_file(text: str) -> Path:
    """Return the path of a file to be written, which can be, as far as that can be told before.

    Raises:
        argparse.ArgumentTypeError: it cannot.
    """
    if not text or text.endswith("/"):
        raise argparse.ArgumentTypeError(f"{text!r}: must be the name of a file")
    try:
        files.check_writable(Path(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error}") from None
    return Path(text)


def output_folder(text: str) -> Path:
    """Return the path of a folder to write files in, which is there or can be made, as far as that can be told before.

    Raises:
        argparse.ArgumentTypeError: it cannot.
    """
    path = Path(text)
    try:
        if not text:
            raise ValueError("must be the name of a folder")
        if path.exists() and not path.is_dir():
            raise ValueError("is no folder")
        files.check_writable(path / "file" if path.is_dir() else path)
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error.strerror}") from None
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error}") from None
    return path


def recording_file(text: str) -> Path:
    """Return the path of a recording to be written.

    Raises:
        argparse.ArgumentTypeError: it cannot, or is none.
    """
    path = output_file(text)
    if path.suffix.lower() != ".mp4" or not files.is_plain(path):
        raise argparse.ArgumentTypeError(f"{text!r}: must be a file whose name ends with .mp4")
    return path


def ice_server(text: str) -> str:
    """Return the URL of a STUN or TURN server.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    try:
        ice.check_url(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def stun(text: str) -> str:
    """Return the URL of a STUN server.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    if not text.startswith("stun:") and "@" not in text:  # what may be a password is never shown
        raise argparse.ArgumentTypeError(f"{text!r}: must be stun:HOST:PORT; --ice-server takes TURN servers as well")
    return ice_server(text)


def check_token(parser: Parser, args: argparse.Namespace, name: str, variable: str) -> None:
    """Refuse a token that cannot be one, for the option that needs it."""
    try:
        if getattr(args, name) is not None:
            urls.token(variable)
    except ValueError as error:
        parser.error(f"argument --{name}: {error}")


def check_ice(parser: Parser, args: argparse.Namespace) -> None:
    """Refuse STUN and TURN servers that do not go together, and a name and a password that are none."""
    urls = ice.urls_of(args)
    for scheme in ("stun", "turn"):
        several = [url for url in urls if url.startswith(scheme)]
        if len(several) > 1:
            name = scheme.upper()
            parser.error(f"argument --ice-server: {several[1]!r}: is a second {name} server, and aiortc asks only one")
    if args.relay_only and not any(url.startswith("turn") for url in urls):
        parser.error("argument --relay-only: goes with a TURN server only, as --ice-server turn:HOST")
    if args.relay_only and any(url.startswith("stun") for url in urls):
        parser.error("argument --relay-only: goes without a STUN server, which shows direct ways")
    try:
        ice.ice_config(args)
    except ValueError as error:
        parser.error(f"environment variable {error}")


def size(text: str) -> tuple[int, int]:
    """Return width and height from WIDTHxHEIGHT.

    Raises:
        argparse.ArgumentTypeError: it is not of that form.
    """
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text, re.ASCII)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r}: must be WIDTHxHEIGHT, such as 640x480")
    return int(match[1]), int(match[2])


def color(text: str) -> tuple[int, int, int]:
    """Return blue, green and red from a name or RRGGBB in hexadecimal digits, with or without a # before them.

    Raises:
        argparse.ArgumentTypeError: it is neither.
    """
    if text in COLORS:
        return COLORS[text]
    if re.fullmatch(r"#?[0-9a-fA-F]{6}", text):
        red, green, blue = bytes.fromhex(text.removeprefix("#"))
        return blue, green, red
    raise argparse.ArgumentTypeError(f"{text!r}: must be one of {', '.join(COLORS)}, or RRGGBB such as ff8000")


def bitrate(text: str) -> int:
    """Return bits a second from a number, with k or M behind it for thousands or millions.

    Raises:
        argparse.ArgumentTypeError: it is none, or not from 50k to 50M.
    """
    match = re.fullmatch(r"(\d{1,8})([kM]?)", text, re.ASCII)
    value = int(match[1]) * {"": 1, "k": 1000, "M": 1_000_000}[match[2]] if match else 0
    if not 50_000 <= value <= 50_000_000:
        raise argparse.ArgumentTypeError(f"{text!r}: must be 50k to 50M bits a second")
    return value


def quality(text: str) -> int | None:
    """Return JPEG's quality from 1 to 100, or PNG.

    Raises:
        argparse.ArgumentTypeError: it is neither.
    """
    if text == "png":
        return PNG
    if not re.fullmatch(r"\d{1,3}", text, re.ASCII) or not 1 <= int(text) <= 100:
        raise argparse.ArgumentTypeError(f"{text!r}: must be 1 to 100 for JPEG, or png, which is lossless")
    return int(text)
