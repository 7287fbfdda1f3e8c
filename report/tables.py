"""Figures of several cases and rounds as tables: in a terminal of any width, and as Markdown.

Words:

    case      what was measured, such as "this project: VP8"; what stands before the colon is its group
    figure    a name and its values, one for each round
"""

import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Results = dict[str, dict[str, list[float]]]  # case: figure: its values, one for each round
PADDING = 3  # columns of the terminal, around a cell


class Column(NamedTuple):
    """A column of a table: its heading, the figure that it shows, and with how many digits.

    also: further figures in the same cells, behind a slash each; such cells show no spread.
    """

    heading: str
    figure: str
    digits: int
    also: tuple[str, ...] = ()


class Table(NamedTuple):
    """A table of the cases that have the figure of its first column, and the plot of the same.

    title: what stands above it; name: of its place in a page, and of the plot's file; draw: draws the plot, see
    plots.py, None where there is none; caption: stands above the plot; rows: which cases it has, and what they are
    called in it, None: all, by their names; lines: how many lines of the plot a case takes.
    """

    title: str
    columns: Sequence[Column]
    name: str
    draw: "Callable[[Results, Figure], None] | None" = None
    caption: str = ""
    rows: Mapping[str, str] | None = None
    lines: float = 1.0


def rows_of(table: Table, results: Results) -> Results:
    """Return the cases that have the figure of a table's first column, or none because they failed."""
    if table.rows is not None:
        return {name: results[case] for case, name in table.rows.items() if case in results}
    first = table.columns[0].figure
    return {case: figures for case, figures in results.items() if not figures or first in figures}


def cell(figures: Mapping[str, Sequence[float]], column: Column) -> str:
    """Return what a column shows of a case."""
    if not column.also:
        return format_spread(figures.get(column.figure, []), column.digits)
    told = (figures.get(figure) for figure in (column.figure, *column.also))
    return " / ".join(f"{statistics.median(values):.{column.digits}f}" if values else "–" for values in told)


def format_spread(values: Sequence[float], digits: int) -> str:
    """Return a figure over the rounds as a table shows it: its median, and the lowest and the highest if they differ.

    >>> format_spread([4, 1, 2], 0)
    '2 (1–4)'
    """  # noqa: RUF002  # the dash is meant
    if not values:
        return "–"
    median, low, high = (f"{value:.{digits}f}" for value in (statistics.median(values), min(values), max(values)))
    return median if low == high else f"{median} ({low}–{high})"


def grid(table: Table, results: Results) -> list[tuple[str, ...]]:
    """Return a table's rows as texts, the case first."""
    rows = rows_of(table, results).items()
    return [(case, *(cell(figures, column) for column in table.columns)) for case, figures in rows]


def markdown(table: Table, results: Results) -> str:
    """Return a table in Markdown, without its title."""
    lines = ["| | " + " | ".join(column.heading for column in table.columns) + " |"]
    lines.append("|---|" + "---:|" * len(table.columns))
    lines += ["| " + " | ".join(row) + " |" for row in grid(table, results)]
    return "\n".join(lines) + "\n"


def show(table: Table, results: Results, console: Console | None = None) -> None:
    """Print a table on stdout: as Markdown where that is no terminal, otherwise as wide as there is room.

    Columns for which there is no room stand in a second table below the first, and so on.
    """
    console = console or Console(highlight=False)
    if not console.is_terminal:
        print(f"\n**{table.title}**\n\n{markdown(table, results)}", flush=True)
        return
    rows = grid(table, results)
    console.print()
    console.print(Text(table.title, style="bold"))
    for columns in packed([_width(table, rows, i) for i in range(len(table.columns))], _room(rows, console.width)):
        part = RichTable()
        part.add_column("", overflow="fold", max_width=max(10, console.width // 2))
        for i in columns:
            part.add_column(Text(table.columns[i].heading), justify="right", overflow="fold")
        for row in rows:
            part.add_row(Text(row[0]), *(Text(row[i + 1]) for i in columns))
        console.print(part)


def _width(table: Table, rows: Sequence[Sequence[str]], i: int) -> int:
    """Return the room that a column needs: of its widest cell, and of the longest word of its heading."""
    cells = [row[i + 1] for row in rows]
    return PADDING + max(map(len, (*cells, *table.columns[i].heading.split())), default=0)


def _room(rows: Sequence[Sequence[str]], width: int) -> int:
    """Return what the column of the cases leaves of a terminal's width."""
    return width - PADDING - 1 - min(max((len(row[0]) for row in rows), default=0), max(10, width // 2))


def packed(widths: Sequence[int], room: int) -> list[list[int]]:
    """Return which columns go into one table each: as many as there is room for, one at least.

    >>> packed([10, 10, 30, 5], 25)
    [[0, 1], [2], [3]]
    """
    tables: list[list[int]] = []
    left = 0
    for i, width in enumerate(widths):
        if not tables or width > left:
            tables.append([])
            left = room
        tables[-1].append(i)
        left -= width
    return tables


def folder_name(case: str) -> str:
    """Return a case's name as a folder's.

    >>> folder_name("this project: H.264, blue ball")
    'this-project-H.264-blue-ball'
    """
    return re.sub(r"[^\w.]+", "-", case).strip("-")


def median(figures: Mapping[str, Sequence[float]], name: str) -> float:
    """Return a figure's median over the rounds, nan where there is none."""
    return statistics.median(figures.get(name, [])) if figures.get(name) else float("nan")
