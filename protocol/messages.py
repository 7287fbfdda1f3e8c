"""The words on the wire: what client and server say to each other about frames.

Every message is one JSON object in one text message of a data channel. The client names a frame by the pts
that it received; the server finds out which frame that is (see matching.py).

    channel        from     message
    coordinates    client   {"type": "found", "pts": ticks, "x": px, "y": px}   the ball is there
                            {"type": "missed", "pts": ticks}                    looked at, no ball in it
                            {"type": "skipped", "pts": ticks}                   passed over to stay current
                            {"type": "reports", "reports": [["found", ticks, px, px], ["missed", ticks], ...]}
                                                                                the newest of these three, and the
                                                                                last few before it once more
                            {"type": "restarted"}                               process_a died and is back
                            {"type": "quiet"}                                   nobody looks at the scores
                            {"type": "curious"}                                 send the truth with each score
                            {"type": "ready"}                                   the channel is open: film
                            {"type": "named", "k": frame, "sharp": true, "report": ["found", ticks, px, px]}
                                                                                the same of the frame whose number was
                                                                                read in the picture (picture_code.py)
                            {"type": "watched", "pictures": n, "again": n, "unread": n, "mixed": n, "torn": n,
                             "foreign": n}                                      what was read in pictures so far
                            {"type": "about", "text": "..."}                    how it was started, for people
    scores         server   {"type": "score", "pts": ticks, "error_px": px or null, "latency_ms": ms,
                             "scored": frames, "lost": frames}                  what came of it, and so far;
                                                                                to who is quiet, one a second
                            {"type": "film", "width": px, "height": px, "fps": frames a second, "run": mask or null,
                             "k": frame}                                        what numbers can be seen; every second,
                                                                                to who sees the film elsewhere
                            {"type": "truth", "pts": ticks, "x": px, "y": px}   where the ball was, just before the
                                                                                score; to who is curious

A tick is 1 / 90000 s. `parse` believes nothing: size, JSON, type, fields and ranges are checked.
"""

import json
import math
from typing import Any, NamedTuple

COORDINATES = "coordinates"  # label of the client's channel
COORDINATES_ID = 64  # of the stream that the server offers for it; far above those that channels opened by DCEP get
SCORES = "scores"  # label of the channel that the server opens
MAX_LENGTH = 1024  # characters; an honest report has about 120, and 60 among several
MAX_REPORTS = 8  # in one message
MAX_ABOUT = 400  # characters
MAX_PIXELS = 65536.0  # a coordinate beyond it is nonsense
MAX_TICKS = 2**63
MAX_SIDE, MAX_FPS = 16384, 1000.0  # px, frames a second; a film beyond them is nonsense


class MessageError(ValueError):
    """What arrived is not a message."""


class Found(NamedTuple):
    """The ball's centre in the frame that arrived with `pts` (ticks), in px."""

    pts: int
    x: float
    y: float


class Missed(NamedTuple):
    """The frame with `pts` (ticks) was looked at, and no ball was found."""

    pts: int


class Skipped(NamedTuple):
    """The frame with `pts` (ticks) was passed over."""

    pts: int


Report = Found | Missed | Skipped  # what a client says of one frame


class Reports(NamedTuple):
    """Several reports at once, the newest last: those that were said before may have been lost."""

    reports: tuple[Report, ...]


class Restarted(NamedTuple):
    """process_a died and was started again."""


class Quiet(NamedTuple):
    """Nobody looks at the scores: one a second is enough, for the counts."""


class Curious(NamedTuple):
    """Somebody looks closely: the truth of a frame is wanted with its score."""


class Ready(NamedTuple):
    """The client's end of the negotiated channel is open; said again until a frame comes."""


class About(NamedTuple):
    """How the client was started, in words for people: its options, its versions; MAX_ABOUT characters, printable."""

    text: str


class Named(NamedTuple):
    """What is said of frame `k`, whose number was read in the picture; its pts is whatever the client calls it by.

    sharp: no other frame was to be seen in the picture, so that the coordinate is worth an error.
    """

    k: int
    sharp: bool
    report: Report


class Watched(NamedTuple):
    """What a client has read in the pictures of a camera, a screen or a URL so far.

    pictures: all of them; again: that showed a frame which was seen before; unread, mixed, torn: see
    picture_code.Legibility; foreign: with a number that is none of the film's.
    """

    pictures: int
    again: int
    unread: int
    mixed: int
    torn: int
    foreign: int


class Film(NamedTuple):
    """What a client that sees the film elsewhere has to look for.

    width, height: px; fps: frames a second; run: the mask of the numbers in its pictures, None if they have none;
    k: the newest frame, -1 before the first.
    """

    width: int
    height: int
    fps: float
    run: int | None
    k: int


class Score(NamedTuple):
    """What the server made of the report for `pts` (ticks): error in px (None: truth unknown), latency in ms.

    scored, lost: how many of the client's frames have ended in these states so far.
    """

    pts: int
    error_px: float | None
    latency_ms: float
    scored: int
    lost: int


class Truth(NamedTuple):
    """Where the ball truly was in the frame that the client calls `pts` (ticks), in px; said once it has reported."""

    pts: int
    x: float
    y: float


Message = Report | Reports | Restarted | Quiet | Curious | Ready | About | Named | Watched | Film | Score | Truth
KINDS: dict[str, type[Message]] = {
    "found": Found,
    "missed": Missed,
    "skipped": Skipped,
    "reports": Reports,
    "restarted": Restarted,
    "quiet": Quiet,
    "curious": Curious,
    "ready": Ready,
    "about": About,
    "named": Named,
    "watched": Watched,
    "film": Film,
    "score": Score,
    "truth": Truth,
}
NAMES = {kind: name for name, kind in KINDS.items()}
REPORTS = (Found, Missed, Skipped)  # what may be among several
COUNTS = ("scored", "lost", *Watched._fields)


def encode(message: Message) -> str:
    """Return the message as it goes over the wire.

    >>> encode(Missed(3000))
    '{"type": "missed", "pts": 3000}'
    >>> encode(Reports((Missed(3000), Found(6000, 1.0, 2.5))))
    '{"type": "reports", "reports": [["missed",3000],["found",6000,1.0,2.5]]}'
    """
    if isinstance(message, Reports):
        several = json.dumps([[NAMES[type(each)], *each] for each in message.reports], separators=(",", ":"))
        return f'{{"type": "reports", "reports": {several}}}'
    fields = message._asdict()
    if isinstance(message, Named):
        fields["report"] = [NAMES[type(message.report)], *message.report]
    return json.dumps({"type": NAMES[type(message)], **fields})


def parse(data: object) -> Message:
    """Return the message that `data` is.

    Raises:
        MessageError: it is none; the text says why, without quoting the peer.

    >>> parse('{"type": "found", "pts": 3000, "x": 1, "y": 2.5}')
    Found(pts=3000, x=1.0, y=2.5)
    """
    if not isinstance(data, str):
        raise MessageError("not text")
    if len(data) > MAX_LENGTH:
        raise MessageError(f"longer than {MAX_LENGTH} characters")
    try:
        fields = DECODER.decode(data)
    except (ValueError, RecursionError):
        raise MessageError("not JSON") from None
    if not isinstance(fields, dict):
        raise MessageError("not an object")
    kind = _kind_of(fields)
    if kind is Reports:
        return Reports(_several(fields["reports"]))
    if kind is Named:
        return _named(**fields)
    if kind is About:
        return About(_words(fields["text"]))
    values: dict[str, Any] = {field: _checked(field, value) for field, value in fields.items()}
    return kind(**values)


def _kind_of(fields: dict[str, object]) -> type[Message]:
    """Return what kind of message has these fields, and take its type away from them.

    Raises:
        MessageError: none has.
    """
    name = fields.pop("type", None)
    kind = KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise MessageError("unknown type")
    if fields.keys() != set(kind._fields):
        raise MessageError("wrong fields")
    return kind


def _words(text: object) -> str:
    """Return a text for people.

    Raises:
        MessageError: it is none, too long, or would do something to a terminal.
    """
    if not isinstance(text, str) or len(text) > MAX_ABOUT or not text.isprintable():
        raise MessageError(f"not a printable text of at most {MAX_ABOUT} characters")
    return text


def _named(k: object, sharp: object, report: object) -> Named:
    """Return the message that names its frame by number.

    Raises:
        MessageError: it is none.
    """
    if not isinstance(sharp, bool):
        raise MessageError("sharp is not true or false")
    return Named(_whole("k", k, 0), sharp, _report(report))


def _several(reports: object) -> tuple[Report, ...]:
    """Return the reports of a message that has several.

    Raises:
        MessageError: they are none, or too many.
    """
    if not isinstance(reports, list) or not 1 <= len(reports) <= MAX_REPORTS:
        raise MessageError(f"not 1 to {MAX_REPORTS} reports")
    return tuple(_report(each) for each in reports)


def _report(listed: object) -> Report:
    """Return the report that a list of its name and its values is.

    Raises:
        MessageError: it is none.
    """
    name, values = (listed[0], listed[1:]) if isinstance(listed, list) and listed else (None, [])
    kind = next((each for each in REPORTS if NAMES[each] == name), None)
    if kind is None or len(values) != len(kind._fields):
        raise MessageError("not a report")
    checked: dict[str, Any] = {field: _checked(field, value) for field, value in zip(kind._fields, values, strict=True)}
    return kind(**checked)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return a JSON object's fields; Python's parser would let the last of two with one name win.

    Raises:
        ValueError: two have the same name.
    """
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError("a field twice")
    return fields


DECODER = json.JSONDecoder(object_pairs_hook=_unique)  # json.loads would make one for each message


def _whole(field: str, value: object, least: int) -> int:
    """Return a whole number that is not below the least.

    Raises:
        MessageError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value < MAX_TICKS:
        raise MessageError(f"{field} is not a 64-bit integer, or a count below {least}")
    return value


def _checked(field: str, value: object) -> float | None:
    """Return a field's value as its message wants it: pts and counts ints, all others finite floats or null.

    Raises:
        MessageError: it has the wrong type, or is out of range.
    """
    if field in ("error_px", "run") and value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise MessageError(f"{field} is not a number")
    if field in ("pts", "k", "run", "width", "height", *COUNTS):
        whole = _whole(field, value, -MAX_TICKS if field == "pts" else -1 if field == "k" else 0)
        if field in ("width", "height") and not 0 < whole <= MAX_SIDE:
            raise MessageError(f"{field} is out of range")
        return whole
    try:
        number = float(value)
    except OverflowError:  # a whole number of hundreds of digits
        raise MessageError(f"{field} is out of range") from None
    if not math.isfinite(number):
        raise MessageError(f"{field} is not finite")
    if (field in ("x", "y") and abs(number) > MAX_PIXELS) or (field == "fps" and not 0 < number <= MAX_FPS):
        raise MessageError(f"{field} is out of range")
    return number
