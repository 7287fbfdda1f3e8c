"""Write the tables and plots of README and docs from what was measured: what `make figures` does.

    python3 -m tools.figures [--take measured]

The results are docs/measured/*.json, as the benchmark, netlab and the others keep them; `--take` copies new ones
from a folder first. A table stands in a page between two marks,

    <!-- figures: latency -->
    ...
    <!-- end of figures -->

and is replaced as a whole; a plot is docs/measured/latency.svg. `base` is a sentence: how far apart the parts
measured the defaults.
"""

import argparse
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.parts import PARTS
from common.options import Parser
from report import case_plots
from report.measured import Measured, read
from report.runs import ReportError
from report.tables import Table, markdown, median
from tools import interop, netlab, reporters, soak, views_cost
from tools.media_server import MEDIA_TABLE
from tools.procfs import ROOT
from tools.relays import RELAYS_TABLE

KEPT = ROOT / "docs" / "measured"
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
MARKED = re.compile(r"(<!-- figures: ([\w-]+) -->\n).*?(<!-- end of figures -->)", re.DOTALL)
DEFAULTS = {  # part: the case of it that is nothing but the defaults
    "latency": "this project: VP8",
    "accuracy": "the defaults",
    "scale": "1",
    "size": "VP8: 640x480, 30 fps",
    "transports": "media: VP8",
    "browser": "client.py: as it is",
}


def tables() -> dict[str, tuple[str, Table]]:
    """Return every table by its name, with the part that it shows."""
    parts = {name: create().tables for name, create in PARTS.items()}
    of_netlab = (netlab.LINKS_TABLE, netlab.LINKS_H264_TABLE, netlab.WAYS_TABLE, MEDIA_TABLE, RELAYS_TABLE)
    parts |= {table.name: (table,) for table in of_netlab}
    parts |= {table.name: (table,) for table in (soak.TABLE, views_cost.TABLE, reporters.TABLE, interop.TABLE)}
    return {table.name: (part, table) for part, theirs in parts.items() for table in theirs}


def read_kept(folder: Path = KEPT) -> dict[str, Measured]:
    """Return what was measured, by part.

    Raises:
        ReportError: a file cannot be read.
    """
    return {path.stem: read(path) for path in sorted(folder.glob("*.json"))}


def figures(name: str, kept: Mapping[str, Measured]) -> str:
    """Return what stands between two marks.

    Raises:
        ReportError: nothing of that name was measured.
    """
    if name == "base":
        return base(kept)
    part, table = tables().get(name, ("", None))
    if table is None or part not in kept:
        raise ReportError(f"there are no figures {name!r}" + (f": no {KEPT.name}/{part}.json" if part else ""))
    return f"{markdown(table, kept[part].results)}\n{kept[part].where}\n"


def base(kept: Mapping[str, Measured]) -> str:
    """Return how far apart the parts measured the defaults."""
    values = {part: median(kept[part].results[case], "latency p50") for part, case in DEFAULTS.items() if part in kept}
    low, high = (choose(values, key=lambda part: values[part]) for choose in (min, max))
    told = [f"{values[part]:.1f} ms (in `{part}`)" for part in (low, high)]
    return (
        f"{len(values)} of the parts measure the defaults again, beside what they are compared with there. Their\n"
        f"median latency was between {told[0]} and {told[1]}, as the machine is not the same\n"
        "from minute to minute: compare within a table. The README shows the part `latency`.\n"
    )


def filled(page: str, kept: Mapping[str, Measured]) -> str:
    """Return a page with its figures as they were measured.

    Raises:
        ReportError: it has marks for what was not measured.
    """
    return MARKED.sub(lambda match: f"{match[1]}\n{figures(match[2], kept)}\n{match[3]}", page)


def take(folder: Path) -> None:
    """Copy new results into the project, of the parts that a table shows, and say what is missing in them.

    Raises:
        ReportError: a file cannot be read.
    """
    for part in sorted({part for part, _ in tables().values()}):
        path = folder / f"{part}.json"
        if not path.exists():
            print(f"{path}: is not there; {part} stays as it was")
            continue
        for case, measured in read(path).results.items():
            if not measured:
                print(f"{path}: nothing was measured of {case!r}")
        shutil.copyfile(path, KEPT / path.name)
        print(f"{path}: taken")


def main(argv: Sequence[str] | None = None) -> int:
    """Write all of them; return the exit status: 0 done, 1 something is missing."""
    parser = Parser(
        prog="python3 -m tools.figures",
        description="Write the tables and plots of README and docs from docs/measured/*.json.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--take", type=Path, metavar="FOLDER", help="copy the results of a benchmark from there first")
    args = parser.parse_args(argv)
    try:
        if args.take is not None:
            take(args.take)
        kept = read_kept()
        pages = {page: filled(page.read_text(encoding="utf-8"), kept) for page in PAGES}
    except ReportError as error:
        print(f"figures: error: {error}", file=sys.stderr)
        return 1
    for page, text in pages.items():
        if text != page.read_text(encoding="utf-8"):
            page.write_text(text, encoding="utf-8")
            print(f"{page.relative_to(ROOT)}: written")
    for name, (part, table) in tables().items():
        if table.draw is not None and part in kept:
            case_plots.save(table, kept[part].results, KEPT / f"{name}.svg", kept[part].digest)
    return 0


if __name__ == "__main__":
    sys.exit(main())
