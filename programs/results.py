"""What came of a run: the clients that came, what they add up to, and how that is told while it runs and at its end."""

import argparse
import asyncio
import logging
import sys
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

from aiohttp import web

from common.pages import HEADERS
from common.waiting import start
from film.drawn import Footage
from programs.session import ELSEWHERE, VIEWER, Session
from scoring.budget import judge
from scoring.metrics import ServerMetrics
from scoring.records import Records
from scoring.settings import Settings, command_line
from scoring.tally import Frame, State, Tally, total
from scoring.terminal import Terminal

logger = logging.getLogger(__name__)

FLUSH_INTERVAL = 0.5  # s that a row waits to be written at most: what a killed server loses
DRAFT_AFTER = 1.0  # s from a client's leaving to the summary with it: each costs some ms, which frames wait for
MAX_DRAFTED = 10  # clients of which that one tells
MAX_CLIENTS_TOLD = 1000  # clients of which the summary tells one by one, the last that have left; the totals are of all


class Results:
    """The score of all sessions, and the terminal, files and metrics that tell it.

    Args:
        args: the server's command line.
        film: what the clients get to see.
        codec: in which those see it who come by TCP.
        on_client_left: called whenever a client has left that was no viewer.
    """

    def __init__(
        self, args: argparse.Namespace, film: Footage, codec: str, on_client_left: Callable[[], object]
    ) -> None:
        self._args = args
        self._film, self._codec = film, codec
        self._on_client_left = on_client_left
        self.metrics = ServerMetrics(
            self._tallies,
            lambda: sum(session.kind != VIEWER for session in self.sessions),
            lambda: Counter(session.rung for session in self.sessions),
            lambda: sum(session.kind == VIEWER for session in self.sessions),
            lambda: Counter(session.pair for session in self.sessions if session.pair is not None),
        )
        self._printing_failed = False
        self._terminal = Terminal(args.print, self.tally, self._present)
        self._records = Records(args.summary, args.csv, args.out, film.clock)
        self._flushing: asyncio.TimerHandle | None = None
        self._drafting: asyncio.TimerHandle | None = None
        self._settings = Settings(vars(args), command_line())
        self.sessions: set[Session] = set()  # that have joined and not left
        self._ended = Tally()  # of the clients that have left
        self.clients: deque[dict[str, Any]] = deque(maxlen=MAX_CLIENTS_TOLD)  # their summaries
        self.left = 0  # of them there were so many
        self.viewers = 0  # that have left

    def begin(self, line: str) -> asyncio.Task[None]:
        """Say a line, and tell from now on how it goes; return the task that does, to be cancelled at the end."""
        self._terminal.begin(line)
        self._records.open(self._terminal.say)
        self._draft()
        return start(self._terminal.run(), self._on_printing_failed)

    def say(self, line: str) -> None:
        """Tell a line."""
        self._terminal.say(line)

    def _on_printing_failed(self, error: Exception) -> None:
        self._printing_failed = True
        logger.error("nothing more is printed until the end: %r", error, exc_info=error)

    def tally(self) -> Tally:
        """Return the counts and figures of all clients together, as of now."""
        return total(self._tallies())

    def _tallies(self) -> tuple[Tally, ...]:
        """Return the tally of the clients that have left, and that of each one that has not."""
        return self._ended, *(session.ledger.tally for session in self.sessions)

    def _present(self) -> dict[int, Tally]:
        """Return the tally of each client that has joined and not left, by its number."""
        return {each.number: each.ledger.tally for each in self.sessions if each.kind != VIEWER}

    def add_routes(self, app: web.Application) -> None:
        """Serve what those clients have read so far that see the film elsewhere, as JSON: a list, by their numbers."""

        async def watched(_: web.Request) -> web.Response:
            present = sorted(self._present().items())
            told = [
                {"client": number, **tally.watched, "scored": tally.frames[State.SCORED], "unjudged": tally.unjudged}
                for number, tally in present
                if tally.watched
            ]
            return web.json_response(told, headers=HEADERS)

        app.router.add_get("/watched.json", watched)

    def on_joined(self, session: Session) -> None:
        """Take note of a client that is ready for the film."""
        self.sessions.add(session)
        way = f" by {session.pair}" if session.pair is not None else ""
        logger.info("%s %d: joined from %s%s", session.kind, session.number, session.peer, way)

    def on_scored(self, session: Session, frame: Frame) -> None:
        """Show a coordinate that was scored."""
        self.metrics.on_scored(frame)
        self._terminal.coordinate(session.number, frame)

    def on_frame_final(self, session: Session, frame: Frame) -> None:
        """Write a frame whose state is final."""
        self._records.write(session.number, frame)
        if self._flushing is None:
            self._flushing = asyncio.get_running_loop().call_later(FLUSH_INTERVAL, self._flush)

    def _flush(self) -> None:
        self._flushing = None
        self._records.flush()

    def _draft(self) -> None:
        """Keep the summary of the clients that have left so far; of the others the rows tell."""
        self._drafting = None
        self._records.draft(self._summary(list(self.clients)[-MAX_DRAFTED:]))

    def on_left(self, session: Session) -> None:
        """Take note of a client that has left, if it ever joined."""
        if session not in self.sessions:
            return
        self.sessions.discard(session)
        self._ended.merge(session.ledger.tally)
        way = ", film seen elsewhere" if session.transport == ELSEWHERE else ""
        end = f"{session.kind} {session.number} from {session.peer}{way}: {session.ledger.end}"
        if session.kind == VIEWER:
            self.viewers += 1
            self._terminal.say(end)
            return
        facts = {"peer": session.peer, "kind": session.kind, "end": session.ledger.end}
        summary = {**facts, **self._facts(session.transport, session.codec), **session.summary()}
        self.clients.append(summary)
        self.left += 1
        if self._drafting is None:
            self._drafting = asyncio.get_running_loop().call_later(DRAFT_AFTER, self._draft)
        self._terminal.left(session.number, end, summary)
        self._on_client_left()

    def _facts(self, transport: str, codec: str) -> dict[str, str]:
        """Return what the summaries say of the film, and of how it travels."""
        return {"size": f"{self._film.width}x{self._film.height}", "transport": transport, "codec": codec}

    def _summary(
        self, clients: list[dict[str, Any]], failure: str | None = None, published: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return what summary.json tells of the clients that have left, of some of them one by one."""
        return {
            **self._ended.summary(),
            **self._facts(self._args.transport, self._codec),
            **self._settings.summary(),
            "failure": failure,
            "viewers": self.viewers,
            "published": published,
            "clients": clients,
            "clients_left_out": self.left - len(clients),
        }

    def close(self, failure: str | None, published: dict[str, Any] | None = None) -> int:
        """Print and write what is left to be told; return the exit status.

        Args:
            failure: why the film is gone for everybody, if it is.
            published: what is told of the media server, if there is one.
        """
        for timer in (self._flushing, self._drafting):
            if timer is not None:
                timer.cancel()
        summary = self._summary(list(self.clients), failure, published)
        self._terminal.end(summary)
        if self.left > len(self.clients):
            self._terminal.say(f"the summary tells of the last {len(self.clients)} clients one by one")
        if failure is not None:
            print(f"server.py: error: {failure}", file=sys.stderr)
        kept = judge(self._args.require, summary, self._terminal.say)
        written = self._records.close(summary)
        if failure is not None or self._printing_failed or not written:
            return 1
        return 0 if kept else 3
