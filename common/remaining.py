"""How far something is that takes longer than ten seconds, and how long it will still take, on stderr."""

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

REFRESHES = 2.0  # of the bar, a second: it takes time from what is measured


class Remaining:
    """A bar in a terminal, a line for each step elsewhere, with the time that is left.

    The time is that of the steps so far, for each that is left; before the first it is an estimate.

    Args:
        title: what is being done.
        steps: how many steps it has.
        estimate: s that a step takes, as far as one knows before; None: nothing is said before the first.
        console: where to, stderr unless it says otherwise.
        quiet: whether nothing is said where that is no terminal.
    """

    def __init__(
        self,
        title: str,
        steps: int,
        estimate: float | None = None,
        console: Console | None = None,
        quiet: bool = False,
    ) -> None:
        self._console = console or Console(file=sys.stderr, highlight=False, soft_wrap=True)
        self._steps, self._estimate, self._quiet = steps, estimate, quiet
        self._done = 0
        self._began = self._last = time.monotonic()
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:.0f} of {task.total:.0f}"),
        )
        self._bar = Progress(
            *columns,
            _Left(self),
            console=self._console,
            refresh_per_second=REFRESHES,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task(title, total=steps)

    def __enter__(self) -> Self:
        self._began = self._last = time.monotonic()
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._bar.stop()

    def done(self, text: str = "") -> None:
        """Take note of a step that is done, and say what came of it."""
        self._done += 1
        self._last = time.monotonic()
        self._bar.update(self._task, advance=1)
        if self._console.is_terminal:
            if text:
                self._console.print(Text(text))
        elif not self._quiet:
            told = f"{text}  " if text else ""
            self._console.print(Text(f"{told}[{self._done} of {self._steps}{self._left_told()}]"))

    def pause(self) -> None:
        """Take the bar away until the next `resume`: something else is printed."""
        self._bar.stop()

    def resume(self) -> None:
        """Show the bar again."""
        self._bar.start()

    def left(self) -> float | None:
        """Return how long the rest will take, s; None where that is not known."""
        each = (self._last - self._began) / self._done if self._done else self._estimate
        if each is None:
            return None
        return max(0.0, each * (self._steps - self._done) - (time.monotonic() - self._last))

    def _left_told(self) -> str:
        left = self.left()
        return "" if left is None or self._done >= self._steps else f", about {told_time(left)} left"


class _Left(ProgressColumn):
    """The time that is left, as the bar shows it."""

    def __init__(self, remaining: Remaining) -> None:
        super().__init__()
        self._remaining = remaining

    def render(self, task: Task) -> Text:  # noqa: ARG002  # rich's
        """Return it as text."""
        left = self._remaining.left()
        return Text("" if left is None else f"{told_time(left)} left")


def told_time(seconds: float) -> str:
    """Return a time as people say it.

    >>> told_time(4.2), told_time(75), told_time(4000)
    ('4 s', '1 min 15 s', '67 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} min {whole % 60} s" if whole < 600 else f"{round(seconds / 60)} min"
