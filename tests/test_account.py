"""account.py: what a client says is entered, and one that says nothing of use is shown the door."""

import logging
from collections.abc import Iterator

import pytest

from ball_track import Point
from protocol.matching import MAX_STRAYS, stamp
from protocol.messages import Missed, encode
from scoring.account import MANY_REJECTED, MAX_ASTRAY_S, Account
from scoring.ledger import Ledger
from scoring.tally import Frame

FPS = 30.0


class Client:
    """A client, and what comes of what it says, in a time that goes by in frames."""

    def __init__(self) -> None:
        self.now = 0.0
        self.expelled: list[str] = []
        self.ledger = Ledger(lambda _: Point(0, 0))
        self.account = Account(
            "client 3", self.ledger, FPS, lambda: self.now, lambda _: None, self.expelled.append, lambda _: None
        )
        self._frames = self._film()

    def _film(self) -> Iterator[int]:
        k = 0
        while True:
            self.now = k / FPS
            self.ledger.sent(Frame(k, stamp(k, FPS), self.now, Point(0, 0)))
            yield k
            k += 1

    def report(self, count: int, off: int | None) -> None:
        """Report the next frames, by a pts that is off by so many ticks; None for one that fits nothing."""
        for _ in range(count):
            k = next(self._frames)
            self.account.on_message(encode(Missed(3000 * k if off is None else stamp(k, FPS) + off)))


def test_a_client_whose_reports_fit_nothing_is_told_of_once_and_expelled(caplog: pytest.LogCaptureFixture) -> None:
    """One line when that is plain, the end when it goes on for so long, and nothing is ever scored."""
    client = Client()
    client.report(MAX_STRAYS - 1, None)
    assert caplog.text == ""
    client.report(int((MAX_ASTRAY_S - 2) * FPS), None)
    assert caplog.text.count("client 3: its reports fit no frame sent in the last 10 s") == 1
    assert "time stamps do not survive the path" in caplog.text
    assert "server.py --code" in caplog.text  # what to do about it
    assert client.expelled == []
    client.report(int(3 * FPS), None)
    assert set(client.expelled) == {"expelled: its reports fit no frame"}
    assert client.ledger.tally.frames["missed"] == 0
    assert len(caplog.records) == 1
    assert caplog.records[0].levelno == logging.WARNING


def test_a_client_that_comes_right_is_kept() -> None:
    """Reports that fit nothing for a while, and then do, are forgiven; so is a decoder that begins anew."""
    client = Client()
    for off in (5, 999_999, 123):
        client.report(int(20 * FPS), None)
        client.report(int(20 * FPS), off)
    assert client.expelled == []
    assert client.ledger.tally.frames["missed"] >= 3 * 20 * FPS - 30


def test_a_flood_is_expelled_with_its_reason() -> None:
    """Messages beyond any reason end the session, and say why."""
    client = Client()
    for _ in range(10_000):
        client.account.on_message("x")
    assert set(client.expelled) == {"expelled: too many messages"}


def test_a_client_whose_messages_are_none_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    """One line for messages that are rejected one after the other, with the reason; none for one now and then."""
    client = Client()
    for _ in range(3 * MANY_REJECTED):
        client.account.on_message('{"type": "found"}')
        client.report(1, 0)
        client.now += 0.1
    assert caplog.text == ""
    for _ in range(3 * MANY_REJECTED):
        client.now += 0.1
        client.account.on_message('{"type": "found\x1b[2J"}')
    assert len(caplog.records) == 1
    assert "client 3: its last 10 messages are rejected, the newest as" in caplog.text
    assert "docs/protocol.md" in caplog.text
    assert "\x1b" not in caplog.text
    assert client.ledger.tally.rejected == 6 * MANY_REJECTED
