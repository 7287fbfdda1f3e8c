"""Addresses of media servers, and the tokens that they want: nothing secret in what is told of them."""

import argparse
import os
import re
from urllib.parse import urlsplit

WHIP_TOKEN, WHEP_TOKEN = "BALL_WHIP_TOKEN", "BALL_WHEP_TOKEN"  # in the environment: a command line can be read by all
CREDENTIALS = re.compile(r"(?<=://)[^/?#]*@")  # a password may have an @, for FFmpeg, and a space
LONG = re.compile(r"(?<=/)[\w-]{20,}(?=[/?#]|$)")  # a part of a path that may be a key; some services have it there
KEYS = re.compile(r"(?<=[?&])([^=&\s]*(?:token|key|jwt|auth|secret|pass|sig)[^=&\s]*=)[^&\s]+", re.IGNORECASE)
PRINTABLE = re.compile(r"[\x21-\x7e]+")


def http_url(text: str) -> str:
    """Return an address of HTTP.

    Raises:
        argparse.ArgumentTypeError: it is none; the text has nothing of what may be a password.
    """
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise argparse.ArgumentTypeError("must be http://HOST[:PORT]/PATH or https://...") from None
    named = parts.scheme in ("http", "https") and parts.hostname and port != 0
    told = f"'{parts.scheme}://{parts.hostname}{parts.path}': "
    if not named or not PRINTABLE.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{told if named else ''}must be http://HOST[:PORT]/PATH or https://...")
    if parts.username is not None or parts.password is not None:
        raise argparse.ArgumentTypeError(f"{told}goes without name and password; a token is in the environment")
    return text


def token(variable: str) -> str | None:
    """Return the token that the environment has; None if it has none.

    Raises:
        ValueError: it cannot be one; the text has nothing of it.
    """
    value = os.environ.get(variable) or None
    if value is not None and not PRINTABLE.fullmatch(value):
        raise ValueError(f"{variable}: has a character that no token has, maybe the line break of a file")
    return value


def source_name(source: str) -> str:
    """Return what is filmed or watched as it may be told: a URL without secrets, anything else as it is.

    >>> source_name("rtsp://me:secret@camera/1"), source_name("clips/is it #1?.mp4")
    ('rtsp://camera/1', 'clips/is it #1?.mp4')
    """
    return without_secrets(source) if "://" in source else source


def without_secrets(url: str) -> str:
    """Return an address as it may be told: without name, password, keys, and whatever follows a question mark.

    >>> without_secrets("https://me:secret@media.example/film/whip?token=secret")
    'https://media.example/film/whip'
    >>> without_secrets("https://customer.example/c29c3af7da2b64a561ccffac37aedbee/webRTC/publish")
    'https://customer.example/.../webRTC/publish'
    """
    return LONG.sub("...", CREDENTIALS.sub("", url)).partition("?")[0].partition("#")[0]
