"""What the server prints: coordinates as they arrive, running figures, and what came of the run at its end.

live    a panel that fills the terminal while it runs, and leaves nothing behind: what was to be said meanwhile is said
        when it has gone
second  one line a second, if there is something new; where stdout is a pipe, a container's log or a simple terminal
every   one line for each coordinate

At the end there is a table for each client that has something to say, and one for all if there were several; where
nobody sees a table, each is one line.
"""

import asyncio
import contextlib
import os
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

from common.asides import Notes, log_to
from scoring.panel import NEWEST, NOTES, Scene, panel
from scoring.tally import Frame, Tally
from scoring.wording import coordinate_line, counts, counts_table, figures_table, headline, summary_line, watched_table

MODES = ("auto", "live", "second", "every")
REFRESH_S = {"live": 0.25, "second": 1.0}
MAX_HELD = 100  # lines and tables that wait for the panel to go


class Terminal:
    """Prints one run of the server.

    Args:
        mode: one of MODES; auto chooses by what stdout is.
        total: returns the counts and figures of all clients together, as of now.
        clients: returns those of each client that is here, by its number.
    """

    def __init__(self, mode: str, total: Callable[[], Tally], clients: Callable[[], Mapping[int, Tally]]) -> None:
        if sys.stdout.isatty():
            for stale in ("COLUMNS", "LINES"):  # of when the shell exported them; the terminal itself knows its size
                os.environ.pop(stale, None)
        self._console = Console(highlight=False, soft_wrap=True)
        able = self._console.is_terminal and not self._console.is_dumb_terminal
        self._mode = "live" if mode in ("auto", "live") and able else "second" if mode in ("auto", "live") else mode
        self._total, self._clients = total, clients
        self._where = ""
        self._newest: deque[tuple[int, Frame]] = deque(maxlen=NEWEST)
        self._arrived = asyncio.Event()  # a coordinate, since it was last cleared
        self._live: Live | None = None
        self._left = 0  # clients
        self._notes: deque[str] = deque(maxlen=NOTES)  # what the panel tells of what is held
        self._held: deque[Callable[[], None]] = deque(maxlen=MAX_HELD)  # what is printed when the panel has gone
        self._dropped = 0  # of them there was no room for so many
        self._last = ""  # line of mode second
        self._beside = Notes(self.say)

    def begin(self, where: str) -> None:
        """Say where the server can be had; the panel will say it too."""
        self._where = where
        self.say(where)
        self._beside.open()

    def say(self, text: str) -> None:
        """Print a line of plain text."""
        self._tell(text, lambda: self._console.print(Text(text)))

    def _tell(self, note: str, tell: Callable[[], None]) -> None:
        """Print something, now or when the panel has gone; the panel has a note of it."""
        if self._live is None:
            tell()
            return
        self._notes.append(note)
        self._dropped += len(self._held) == MAX_HELD
        self._held.append(tell)

    def coordinate(self, client: int, frame: Frame) -> None:
        """Take note of a frame that was scored."""
        self._newest.append((client, frame))
        self._arrived.set()
        if self._mode == "every":
            self._console.print(Text(coordinate_line(client, frame)))

    async def run(self) -> None:
        """Keep printing until cancelled."""
        if self._mode not in REFRESH_S:
            return
        with self._panel() if self._mode == "live" else contextlib.nullcontext():
            while True:
                await asyncio.sleep(REFRESH_S[self._mode])
                # the panel takes 10 ms of the event loop: the pause behind a coordinate is the time for it
                self._arrived.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(REFRESH_S[self._mode]):
                        await self._arrived.wait()
                self._refresh()

    @contextlib.contextmanager
    def _panel(self) -> Iterator[None]:
        """Fill the terminal for the length of a block, and print what was said meanwhile."""
        # refreshed from here, not from rich's own thread: the thread would take the GIL in mid-frame
        live = Live(
            console=self._console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
        )
        try:
            with log_to(self.say), live:
                self._live = live
                self._refresh()
                yield
        finally:
            self._live = None
            if self._dropped:
                self.say(f"of what was said meanwhile, the first {self._dropped} lines and tables are left out")
            while self._held:
                self._held.popleft()()

    def _refresh(self) -> None:
        if self._live is not None:
            scene = Scene(self._where, self._total(), self._clients(), self._left, list(self._newest), self._notes)
            self._live.update(panel(scene, self._console), refresh=True)
        elif self._clients() and (tally := self._total()).frames["sent"]:
            last = coordinate_line(*self._newest[-1]) if self._newest else "no coordinate yet"
            line = f"{counts(tally)} | {last}"
            if line != self._last:
                self._console.print(Text(line))
            self._last = line

    def left(self, client: int, end: str, summary: dict[str, Any]) -> None:
        """Tell of a client that has gone; its coordinates go too."""
        self._left += 1
        kept = [each for each in self._newest if each[0] != client]
        self._newest.clear()
        self._newest.extend(kept)
        self._tell(end, lambda: self._summary(end, summary))

    def end(self, summary: dict[str, Any]) -> None:
        """Tell what all clients add up to, if there was not just one that has told it already."""
        self._beside.close()
        if self._left > 1:
            self._summary(f"all {self._left} clients", summary)
        elif not self._left:
            self.say("no client came")

    def _summary(self, title: str, summary: dict[str, Any]) -> None:
        """Print what came of the frames: a table in a terminal, else one line."""
        if not summary["frames"]["sent"]:
            self._console.print(Text(f"{title}; no frame was sent"))
        elif not self._console.is_terminal:
            self._console.print(Text(f"{title} | {summary_line(summary)}"))
        else:
            self._console.print(Text(f"\n{title}\n{headline(summary)}"))
            watched = [watched_table(summary)] if summary["watched"]["pictures"] else []
            self._console.print(counts_table(summary), *watched, figures_table(summary), soft_wrap=False)
