"""What the server's panel shows on a terminal of some size, from 60 columns and 15 lines on.

Figures come first; what room is left goes to the newest coordinates, then to a row for each client, then to air.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from scoring.tally import Frame, State, Tally
from scoring.wording import counts_table, figures_table, is_judged, plain_table, rate, short_number

NEWEST = 8  # coordinates that are shown, where there is room for them
FEW = 3  # of them come before the clients' rows
NOTES = 3  # of the newest lines that are shown
TRUTH_WIDTH = 80  # columns from which on the true position is shown as well
CLIENT_FIGURES = ("error_px", "latency_ms")


class Scene(NamedTuple):
    """What there is to show.

    where: at which addresses the server can be had; total: all clients together; clients: those that are here, by
    number; left: how many have gone; newest: the coordinates of those that are here, oldest first; notes: what was
    said since the panel is up.
    """

    where: str
    total: Tally
    clients: Mapping[int, Tally]
    left: int
    newest: Sequence[tuple[int, Frame]]
    notes: Sequence[str]


def panel(scene: Scene, console: Console) -> RenderableType:
    """Return what fits a console of this size."""
    width, height = console.size
    summary = scene.total.summary()
    where = Text(scene.where, style="dim")
    head = [*where.wrap(console, width)[:2], Text(_presence(scene), no_wrap=True, overflow="ellipsis")]
    if not is_judged(summary):
        head.append(Text("no truth is known, so no error"))
    notes = [Text(note, style="yellow", no_wrap=True, overflow="ellipsis") for note in scene.notes]
    figures = figures_table(summary)
    room = height - len(head) - 2 - (figures.row_count + 1) - bool(notes)
    coordinates = _take(room, len(scene.newest), FEW)
    room -= coordinates
    clients = _take(room, len(scene.clients)) if len(scene.clients) > 1 else 0
    room -= clients
    more = max(0, min(room, NEWEST + 1 - coordinates, len(scene.newest) + 1 - coordinates)) if coordinates else 0
    coordinates, room = coordinates + more, room - more
    notes = notes[-max(1, min(NOTES, 1 + room)) :]
    room -= max(0, len(notes) - 1)
    blocks: list[list[RenderableType]] = [list(head), [counts_table(summary)], [figures]]
    if clients:
        blocks.append([_clients_table(scene.clients, clients - 1)])
    if coordinates:
        blocks.append([_newest_table(scene.newest[1 - coordinates :], width)])
    if notes:
        blocks.append(list(notes))
    if room >= len(blocks) - 1:
        blocks = [[*block, Text()] for block in blocks]
    return Group(*itertools.chain.from_iterable(blocks))


def _take(room: int, rows: int, most: int = NEWEST) -> int:
    """Return how many lines a table with a heading takes of those that are left; it needs one row at least."""
    return min(rows, most, room - 1) + 1 if rows and room > 1 else 0


def _presence(scene: Scene) -> str:
    """Return how many clients there are, and how many frames a second each one gets."""
    number = len(scene.clients)
    parts = [f"{number or 'no'} client{'s' * (number != 1)}"]
    if scene.left:
        parts.append(f"{scene.left} {'has' if scene.left == 1 else 'have'} left")
    if number:
        fps = rate((tally.fps, tally.duration_s) for tally in scene.clients.values())
        parts.append(f"{fps:.2f} frames a second" + (" to each" if number > 1 else ""))
    return ", ".join(parts)


def _clients_table(clients: Mapping[int, Tally], rows: int) -> Table:
    """Return a row for each of the newest clients."""
    table = plain_table("client", "fps", "sent", "scored", "skipped", "lost", "error px", "latency ms")
    for number in sorted(clients)[-rows:]:
        tally = clients[number]
        counts = (tally.frames[name] for name in ("sent", State.SCORED, State.SKIPPED, State.LOST))
        medians = (getattr(tally, figure).summary() for figure in CLIENT_FIGURES)
        table.add_row(
            str(number),
            f"{tally.fps:.2f}",
            *map(str, counts),
            *(short_number(values and values["p50"]) for values in medians),
        )
    return table


def _newest_table(newest: Sequence[tuple[int, Frame]], width: int) -> Table:
    """Return a row for each coordinate."""
    truth = width >= TRUTH_WIDTH
    table = plain_table("client", "k", "x", "y", *(("true x", "true y") if truth else ()), "error px", "latency ms")
    for column in table.columns[1:]:
        column.min_width = 8
    for client, frame in newest:
        assert frame.found is not None
        true = frame.truth or (None, None)
        numbers = (*frame.found, *(true if truth else ()), frame.error_px, frame.latency_ms)
        table.add_row(str(client), str(frame.k), *map(short_number, numbers))
    return table
