"""Make a page of a run, or hold runs beside each other.

    python3 -m report RUN               a page, report.html, in the run's folder
    python3 -m report RUN RUN ...       a table of what differs from the first, in the terminal

A RUN is a folder that `server.py --out` has made, or a summary followed by its CSV. Results that the benchmark, netlab
and the others have saved (part.json) are held beside each other in the same way, by the medians of their rounds.
"""

import argparse
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from common.files import WholeFile
from common.options import Parser, output_file
from common.remaining import Remaining
from report.comparing import HEADINGS, Row, cells, compare, markdown, obstacles, settings_that_differ
from report.measured import differences, is_kept, read
from report.page import comparison_page, parts_of, run_page
from report.runs import ReportError, Run, read_runs


def main(argv: Sequence[str] | None = None) -> int:
    """Make what is asked for; return the exit status: 0 done, 1 a run cannot be read or a page not be written."""
    parser = Parser(
        prog="report",
        usage="python3 -m report [-h] [--out FILE] RUN [RUN ...]",
        description="Make a page of a run, or compare runs with the first.",
    )
    parser.add_argument(
        "runs",
        nargs="+",
        type=Path,
        metavar="RUN",
        help="a folder that server.py --out has made, or SUMMARY.json FRAMES.csv",
    )
    parser.add_argument(
        "--out",
        type=page,
        action="append",
        default=[],
        metavar="FILE",
        help="where to write: .html, a comparison also .md (a page: report.html in the run's folder)",
    )
    args = parser.parse_args(argv)
    try:
        if len(args.runs) > 1 and all(map(is_kept, args.runs)):
            return _compare_kept(args.runs, args.out)
        runs = read_runs(args.runs)
        return _report(runs[0], args) if len(runs) == 1 else _compare(runs, args.out)
    except ReportError as error:
        print(f"report: error: {error}", file=sys.stderr)
        return 1


def page(text: str) -> Path:
    """Return the path of a page to be written.

    Raises:
        argparse.ArgumentTypeError: it cannot, or is none.
    """
    path = output_file(text)
    if path.suffix not in {".html", ".md"}:
        raise argparse.ArgumentTypeError(f"{text!r}: must end with .html or .md")
    return path


def _report(run: Run, args: argparse.Namespace) -> int:
    """Write the page of one run."""
    folder = args.runs[0] if args.runs[0].is_dir() else args.runs[0].parent
    paths = args.out or [folder / "report.html"]
    if wrong := [path for path in paths if path.suffix != ".html"]:
        raise ReportError(f"{wrong[0]}: one run has no comparison; its page is .html")
    _can_draw()
    with Remaining("page", parts_of(run), quiet=True) as remaining:
        text = run_page(run, remaining.done)
    return max(_write(path, text) for path in paths)


def _compare(runs: Sequence[Run], paths: Sequence[Path]) -> int:
    """Print the comparison, and write it where that is asked for."""
    rows = list[list[Row]]()
    with Remaining("comparison", len(runs) - 1, quiet=True) as remaining:
        for run in runs[1:]:
            rows.append(compare(runs[0], run))
            remaining.done()
    _print(runs, rows)
    status = 0
    for path in paths:
        if path.suffix == ".md":
            status = max(status, _write(path, markdown(runs, rows)))
        elif _can_draw():
            status = max(status, _write(path, comparison_page(runs, rows)))
    return status


def _compare_kept(paths: Sequence[Path], pages: Sequence[Path]) -> int:
    """Print how saved results differ from the first."""
    if pages:
        raise ReportError(f"{pages[0]}: of saved results there is no page")
    base, *others = (read(path) for path in paths)
    console = Console(highlight=False)
    for path, other in zip(paths[1:], others, strict=True):
        console.print(Text(f"{paths[0]}: {base.where}\n{path}: {other.where}"))
        rows = differences(base, other)
        if not rows:
            raise ReportError(f"{path}: has no case in common with {paths[0]}")
        _print_rows(console, f"{path} against {paths[0]}", rows)
    return 0


def _print_rows(console: Console, title: str, rows: Sequence[Row]) -> None:
    figures = Table(title=Text(title), title_justify="left")
    for head in HEADINGS:
        figures.add_column(head, justify="left" if head == HEADINGS[0] else "right", overflow="fold")
    for row in rows:
        figures.add_row(*map(Text, cells(row)))
    console.print(figures)


def _print(runs: Sequence[Run], rows: Sequence[Sequence[Row]]) -> None:
    console = Console(highlight=False)
    settings = Table(title="settings that differ", title_justify="left")
    for head in ("", *(run.name for run in runs)):
        settings.add_column(Text(head), overflow="fold")
    for name, values in settings_that_differ(runs).items():
        settings.add_row(*map(Text, (name, *values)))
    console.print(settings if settings.row_count else "no setting differs")
    for run, compared in zip(runs[1:], rows, strict=True):
        for why in obstacles(runs[0], run):
            console.print(Text(why))
        _print_rows(console, f"{run.name} against {runs[0].name}", compared)
    console.print(Text("in brackets: 95 % intervals; a star: more than chance"))


def _can_draw() -> bool:
    """Return True: there is what plots take.

    Raises:
        ReportError: there is not.
    """
    if find_spec("matplotlib") is None:
        raise ReportError("the plots need matplotlib: python3 -m pip install -r requirements-report.txt")
    return True


def _write(path: Path, text: str) -> int:
    with WholeFile(path) as file:
        file.write(text)
    print(
        f"{path}: {'cannot be written' if file.failed else 'written'}", file=sys.stderr if file.failed else sys.stdout
    )
    return int(file.failed)


if __name__ == "__main__":
    sys.exit(main())
