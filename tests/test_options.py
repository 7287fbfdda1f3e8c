"""options.py: both programs spell the same option in the same way, and say in one line what is wrong."""

import argparse
import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import options


def parser() -> options.Parser:
    """Return a parser with the options that both programs have."""
    parser = options.Parser(prog="ball.py")
    options.add_shared(parser)
    return parser


def test_add_shared_has_the_defaults_of_the_documentation() -> None:
    """Without a word both programs meet at 127.0.0.1:1234 and go on until stopped."""
    args = vars(parser().parse_args([]))
    expected = {
        "signaling": "tcp-socket",
        "signaling_host": "127.0.0.1",
        "signaling_port": 1234,
        "transport": "media",
        "stun": None,
        "duration": None,
        "verbose": 0,
    }
    assert {name: args[name] for name in expected} == expected


def test_add_shared_takes_every_option() -> None:
    """Each option is typed and lands where it belongs."""
    text = "-s tcp-socket --signaling-host ::1 --signaling-port 65535 --stun stun:host:3478 --duration 2.5 -vv"
    args = parser().parse_args(text.split())
    assert (args.signaling_host, args.signaling_port) == ("::1", 65535)
    assert (args.stun, args.duration, args.verbose) == ("stun:host:3478", 2.5, 2)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--signaling", "carrier-pigeon"),
        ("--signaling-port", "0"),
        ("--signaling-port", "65536"),
        ("--signaling-port", "http"),
        ("--transport", "pipe"),
        ("--stun", "turn:host:1"),
        ("--duration", "0"),
        ("--duration", "-1"),
        ("--duration", "nan"),
    ],
)
def test_parser_complains_in_one_line(option: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One line on stderr names option, value and rule; the status is 2."""
    with pytest.raises(SystemExit) as caught:
        parser().parse_args([f"{option}={value}"])
    assert caught.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("ball.py: error: argument ")
    assert err.count("\n") == 1
    assert option in err
    assert value in err


def test_help_says_the_default_of_each_option(capsys: pytest.CaptureFixture[str]) -> None:
    """Help is a normal end, and every option with a value tells what it is without one."""
    with pytest.raises(SystemExit) as caught:
        parser().parse_args(["--help"])
    assert caught.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    for default in ("(tcp-socket)", "(127.0.0.1)", "(1234)", "(none)", "(none: until stopped)"):
        assert default in text


@given(st.integers(1, 65535))
def test_port_takes_every_port(number: int) -> None:
    """A port is 1 to 65535."""
    assert options.port(str(number)) == number


@pytest.mark.parametrize(
    "text", ["", "0", "-1", "+1", "65536", "1.0", "1e3", " 1", "0x10", "one", "٣", "²", "9" * 5000]
)
def test_port_takes_nothing_else(text: str) -> None:
    """What is no port is refused, in its own words, be it digits of another script or thousands of them."""
    with pytest.raises(argparse.ArgumentTypeError, match="must be a port, 1 to 65535"):
        options.port(text)


@given(st.floats(min_value=0, exclude_min=True, allow_infinity=False))
def test_seconds_takes_every_time(value: float) -> None:
    """Times are finite and above nought."""
    assert options.seconds(repr(value)) == value


@pytest.mark.parametrize("text", ["", "0", "-1", "nan", "inf", "-inf", "1s", "1e999", "ten"])
def test_seconds_takes_nothing_else(text: str) -> None:
    """What is no time is refused, in its own words."""
    with pytest.raises(argparse.ArgumentTypeError, match="must be seconds, a number above 0"):
        options.seconds(text)


@pytest.mark.parametrize("text", ["0", "00", "0.", "0.0"])
def test_patience_may_be_none(text: str) -> None:
    """Whoever is not to wait says 0."""
    assert options.patience(text) == 0


@pytest.mark.parametrize("text", ["", "-1", "-0", "nan", "inf", "ten"])
def test_patience_takes_nothing_else(text: str) -> None:
    """What is refused is told the rule that holds here, where 0 is one of the times."""
    with pytest.raises(argparse.ArgumentTypeError, match="must be seconds, 0 or more"):
        options.patience(text)


@pytest.mark.parametrize("text", ["stun:stun.example.org:3478", "stun:192.0.2.1:1", "stun:host"])
def test_stun_takes_an_address(text: str) -> None:
    """An address is a host, by name or number, and maybe a port."""
    assert options.stun(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "", "stun", "stun:", "stun:host:", "stun::3478", "host:3478", "turn:host:3478",
        "stun:host:x", "stun:host:0", "stun:host:65536", "stun:host:²", "stun:[2001:db8::1]:3478",
    ],
)  # fmt: skip
def test_stun_takes_nothing_else(text: str) -> None:
    """What is no address is refused, in its own words."""
    with pytest.raises(argparse.ArgumentTypeError, match=r"must be stun:HOST"):
        options.stun(text)


def test_log_file_keeps_the_newest_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much is logged there are two files of a bounded size, the last line in the first; old ones go."""
    root = logging.getLogger()
    before, path, older = root.level, tmp_path / "server.log", tmp_path / "server.log.1"
    older.write_text("of another run")
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(options, "MAX_LOG", 2000)
    try:
        options.configure_logging(0, file=path)
        assert not older.exists()
        for i in range(300):
            logging.getLogger("ball").info("line %d", i)
        logging.getLogger("ball").info("x" * 5000)
        logging.getLogger("ball").info("the last line")
    finally:
        root.setLevel(before)
        for handler in root.handlers:
            handler.close()
    assert path.read_text().endswith("the last line\n")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["server.log", "server.log.1"]
    assert path.stat().st_size + older.stat().st_size < 10_000


@pytest.mark.parametrize(("verbose", "level"), [(0, logging.WARNING), (1, logging.INFO), (2, logging.DEBUG), (9, 10)])
def test_configure_logging_shows_more_when_asked(
    verbose: int, level: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Warnings always, what happens with -v, everything with -vv; on stderr, since stdout is the product."""
    root = logging.getLogger()
    before = root.level
    monkeypatch.setattr(root, "handlers", [])
    try:
        options.configure_logging(verbose)
        assert root.level == level
        logging.getLogger("ball").warning("watch %s", "out")
    finally:
        root.setLevel(before)
    out, err = capsys.readouterr()
    assert out == ""
    assert "WARNING ball: watch out" in err
