"""messages.py: every message survives the wire, and nothing else gets in."""

import json
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from protocol.messages import (
    KINDS,
    MAX_FPS,
    MAX_LENGTH,
    MAX_PIXELS,
    MAX_REPORTS,
    MAX_SIDE,
    MAX_TICKS,
    NAMES,
    About,
    Curious,
    Film,
    Found,
    Message,
    MessageError,
    Missed,
    Named,
    Quiet,
    Reports,
    Restarted,
    Score,
    Skipped,
    Truth,
    Watched,
    encode,
    parse,
)

ticks = st.integers(-MAX_TICKS, MAX_TICKS - 1)
counts = st.integers(0, MAX_TICKS - 1)
pixels = st.floats(-MAX_PIXELS, MAX_PIXELS)
sides = st.integers(1, MAX_SIDE)
finite = st.floats(allow_nan=False, allow_infinity=False)
reports: st.SearchStrategy[Found | Missed | Skipped] = st.one_of(
    st.builds(Found, ticks, pixels, pixels), st.builds(Missed, ticks), st.builds(Skipped, ticks)
)
several = st.builds(Reports, st.lists(reports, min_size=1, max_size=MAX_REPORTS).map(tuple))
messages: st.SearchStrategy[Message] = st.one_of(
    reports,
    st.just(Restarted()),
    st.just(Quiet()),
    st.builds(About, st.text(st.characters(exclude_categories=["C", "Z"]), max_size=60)),
    st.just(Curious()),
    st.builds(Watched, counts, counts, counts, counts, counts, counts),
    st.builds(Film, sides, sides, st.floats(1, MAX_FPS), counts | st.none(), st.just(-1) | counts),
    st.builds(Score, ticks, finite | st.none(), finite, counts, counts),
    st.builds(Truth, ticks, pixels, pixels),
)
named = st.builds(Named, counts, st.booleans(), reports)
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(messages | several | named)
def test_parse_returns_what_was_encoded(message: Message) -> None:
    """Whatever can be said comes out of `parse` as it went into `encode`, of the same type."""
    heard = parse(encode(message))
    assert type(heard) is type(message)
    assert heard == message


@given(messages)
def test_encode_writes_a_flat_object_of_the_named_fields(message: Message) -> None:
    """The words on the wire are those of the protocol: a JSON object of the type's name and the fields."""
    said = json.loads(encode(message))
    assert said == {"type": type(message).__name__.lower(), **message._asdict()}
    assert len(encode(message)) <= MAX_LENGTH


@given(several)
def test_encode_writes_several_reports_as_a_list(message: Reports) -> None:
    """Each is its name and its values; the longest that can be said fits into one message."""
    said = json.loads(encode(message))
    assert said == {
        "type": "reports",
        "reports": [[type(report).__name__.lower(), *report] for report in message.reports],
    }
    assert len(encode(message)) <= MAX_LENGTH


@pytest.mark.parametrize(
    "reports",
    [
        "[]",
        "{}",
        "null",
        "1",
        '"found"',
        '["missed", 1]',
        "[[]]",
        "[null]",
        "[{}]",
        '[["missed"]]',
        '[["missed", 1, 2]]',
        '[["missed", "1"]]',
        '[["missed", 1.0]]',
        '[["missed", [1]]]',
        '[["found", 1, 2]]',
        '[["found", 1, 2, NaN]]',
        '[["found", 1, 2, 65537]]',
        '[["Missed", 1]]',
        '[[["missed"], 1]]',
        '[["restarted"]]',
        '[["quiet"]]',
        '[["score", 1, 0, 0, 0, 0]]',
        '[["reports", [["missed", 1]]]]',
        '[["missed", 1], ["found", 1]]',
        "[" + ",".join(['["missed",1]'] * (MAX_REPORTS + 1)) + "]",
    ],
)
def test_parse_refuses_reports_of_which_one_is_none(reports: str) -> None:
    """One bad report, none at all, or one too many, and nothing of the message counts."""
    with pytest.raises(MessageError):
        parse(f'{{"type": "reports", "reports": {reports}}}')


@pytest.mark.parametrize(
    "text", ["1", "null", '"' + 401 * "a" + '"', '"\\u001b[2J"', '"a\\nb"', '"\\ud800"', '"\\u202e"', "[]"]
)
def test_parse_refuses_words_that_do_something(text: str) -> None:
    """What a client says of itself is bounded, and cannot move a cursor or turn a line round."""
    with pytest.raises(MessageError):
        parse(f'{{"type": "about", "text": {text}}}')
    assert parse('{"type": "about", "text": "<b>--view none</b>"}') == About("<b>--view none</b>")


def test_kinds_and_names_are_each_other_turned_round() -> None:
    """Each kind of message has exactly one name."""
    assert {name: kind for kind, name in NAMES.items()} == KINDS
    said_by_clients = {
        "found",
        "missed",
        "skipped",
        "reports",
        "restarted",
        "quiet",
        "curious",
        "ready",
        "about",
        "named",
        "watched",
    }
    assert set(KINDS) == said_by_clients | {"score", "truth", "film"}


@given(st.text() | st.binary() | st.none() | st.integers() | st.lists(st.text()))
def test_parse_takes_nothing_that_is_no_message(data: object) -> None:
    """Arbitrary text, bytes and other objects are refused, and by no other error."""
    with pytest.raises(MessageError):
        parse(data)


@given(json_values)
def test_parse_takes_no_other_json(value: Any) -> None:
    """JSON that is no message is refused, NaN and Infinity, which Python's parser lets through, included."""
    with pytest.raises(MessageError):
        parse(json.dumps(value))


@given(st.sampled_from(sorted(KINDS.keys() - {"reports", "about", "named"})), st.data())
def test_parse_checks_every_field(name: str, data: st.DataObject) -> None:
    """A message is refused if one of its fields is anything but a number in range."""
    good = {"pts": 1, "x": 2.0, "y": 3.0, "error_px": 0.1, "latency_ms": 5.0, "scored": 7, "lost": 0}
    good |= dict.fromkeys(Watched._fields, 3) | {"width": 640, "height": 480, "fps": 29.97, "run": 9, "k": 5}
    fields: dict[str, Any] = {field: good[field] for field in KINDS[name]._fields}
    parse(json.dumps({"type": name, **fields}))
    field = data.draw(st.sampled_from([*fields, "type"]))
    bad = data.draw(json_values.filter(lambda value: isinstance(value, bool) or not isinstance(value, int | float)))
    assume(not (field in ("error_px", "run") and bad is None))
    assume(str(bad) not in KINDS)
    with pytest.raises(MessageError):
        parse(json.dumps({"type": name, **fields, field: bad}))


@pytest.mark.parametrize(
    "fields",
    [
        {"k": -1},
        {"k": 1.0},
        {"k": True},
        {"sharp": 1},
        {"sharp": None},
        {"report": ["named", 5, True, []]},
        {"report": ["found", 3000, 1.0]},
        {"report": "found"},
        {"more": 1},
    ],
)
def test_parse_refuses_a_named_report_that_is_none(fields: dict[str, Any]) -> None:
    """A report that names its frame by number has a number, whether it is sharp, and one report."""
    good = {"type": "named", "k": 5, "sharp": True, "report": ["found", 3000, 1.0, 2.0]}
    assert parse(json.dumps(good)) == Named(5, True, Found(3000, 1.0, 2.0))
    with pytest.raises(MessageError):
        parse(json.dumps(good | fields))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("pts", "1.0"),
        ("pts", "1e3"),
        ("pts", str(MAX_TICKS)),
        ("pts", str(-MAX_TICKS - 1)),
        ("pts", "9" * 400),
        ("pts", "true"),
        ("pts", "null"),
        ("x", "true"),
        ("x", "null"),
        ("x", '"1"'),
        ("x", "[1]"),
        ("x", "NaN"),
        ("x", "Infinity"),
        ("x", "-Infinity"),
        ("x", "1e999"),
        ("x", "9" * 400),
        ("x", "65537"),
        ("y", "-65536.1"),
        ("y", "-1" + "0" * 400),
    ],
)
def test_parse_refuses_a_value_out_of_range(field: str, value: str) -> None:
    """Each number has a type and a range; a whole number too large for a float is a bad one like any other."""
    fields = {"pts": "1", "x": "2", "y": "3", field: value}
    with pytest.raises(MessageError, match=field):
        parse('{"type": "found", ' + ", ".join(f'"{name}": {text}' for name, text in fields.items()) + "}")


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1e999", "9" * 400, "false"])
def test_parse_refuses_a_score_that_is_no_number(value: str) -> None:
    """The server's figures are checked as the client's are."""
    for fields in (f'"error_px": {value}, "latency_ms": 1', f'"error_px": 1, "latency_ms": {value}'):
        with pytest.raises(MessageError):
            parse(f'{{"type": "score", "pts": 1, {fields}, "scored": 1, "lost": 0}}')


@pytest.mark.parametrize("value", ["-1", "1.0", "true", "null", str(MAX_TICKS)])
def test_parse_refuses_a_count_that_is_none(value: str) -> None:
    """Counts of frames are whole numbers from 0 on."""
    for counts in (f'"scored": {value}, "lost": 0', f'"scored": 0, "lost": {value}'):
        with pytest.raises(MessageError):
            parse(f'{{"type": "score", "pts": 1, "error_px": 0, "latency_ms": 0, {counts}}}')


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "{}",
        "[]",
        "null",
        '"missed"',
        '{"pts": 1}',
        '{"type": "missed"}',
        '{"type": "missed", "pts": 1, "x": 1}',
        '{"type": "found", "pts": 1, "x": 1}',
        '{"type": "restarted", "pts": 1}',
        '{"type": "Missed", "pts": 1}',
        '{"type": ["missed"], "pts": 1}',
        '{"type": null, "pts": 1}',
        '{"type": "missed", "pts": 1} {"type": "missed", "pts": 2}',
        '{"type": "missed", "pts": 1, "pts": 2}',
        '{"type": "missed", "type": "skipped", "pts": 1}',
        '{"type": "missed", "pts": {"pts": {"pts": 1}}}',
        '{"type": "missed", "pts": 1',
        "[" * MAX_LENGTH,
    ],
)
def test_parse_refuses_wrong_fields(text: str) -> None:
    """Fields that are missing, too many, said twice or nested make it no message."""
    with pytest.raises(MessageError):
        parse(text)


def test_parse_refuses_what_is_too_long() -> None:
    """One character more than MAX_LENGTH is too long, be it only a blank."""
    text = encode(Missed(1))
    assert parse(text.ljust(MAX_LENGTH)) == Missed(1)
    with pytest.raises(MessageError, match="longer"):
        parse(text.ljust(MAX_LENGTH + 1))


def test_parse_gives_floats_for_whole_numbers() -> None:
    """Other languages write 1.0 as 1: coordinates are floats all the same, and pts stays an int."""
    found = parse('{"pts": 3, "y": 2, "x": 1, "type": "found"}')
    assert isinstance(found, Found)
    assert [type(value) for value in found] == [int, float, float]


def test_message_error_never_quotes_the_peer() -> None:
    """The reason is ours alone, so that nothing of a peer's gets into a log or a terminal."""
    for text in ('{"type": "\\u001b[2J"}', '{"type": "missed", "pts": "\\u001b[2J"}', "\x1b[2J"):
        with pytest.raises(MessageError) as caught:
            parse(text)
        assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [("width", 0), ("height", MAX_SIDE + 1), ("width", 2**62), ("fps", 0), ("fps", -30.0), ("fps", 1e308)],
)
def test_parse_refuses_a_film_that_cannot_be(field: str, value: float) -> None:
    """A client makes pictures of the size that it is told of, and reckons with the rate: both are bounded."""
    fields = {"type": "film", "width": 640, "height": 480, "fps": 30.0, "run": 7, "k": 0}
    assert parse(json.dumps(fields)) == Film(640, 480, 30.0, 7, 0)
    with pytest.raises(MessageError, match=field):
        parse(json.dumps({**fields, field: value}))
