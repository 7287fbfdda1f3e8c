"""One page, in one file: nothing in it is asked for anywhere, and nothing that a run says becomes markup."""

from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import numpy as np

from report.comparing import HEADINGS, Row, cells, number, obstacles, settings_that_differ
from report.plots import Plots, frames_error
from report.runs import FIGURES, STATES, Frames, Run

MAX_CLIENTS = 10  # that get a part of their own
WORST = 8  # frames of each figure
QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
CLIENT = ("peer", "kind", "end", "transport", "codec", "about")  # what is told of each
POLICY = "default-src 'none'; style-src 'unsafe-inline'"
STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #fff; --line: #ccd3da; --dim: #59636e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ec; --paper: #14171a; --line: #3a424a; --dim: #9aa4ae; } }
@media print { :root { --ink: #000; --paper: #fff; --line: #bbb; --dim: #444; color-scheme: light; }
 nav { display: none; } section + section { break-before: page; } figure, tr { break-inside: avoid; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 12px; max-width: 1080px; color: var(--ink); background: var(--paper);
 font: 15px/1.45 "DejaVu Sans", Verdana, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.4em; } h2 { font-size: 1.2em; border-top: 1px solid var(--line); padding-top: .6em; }
h3 { font-size: 1em; margin: 1.2em 0 .3em; } p.dim, caption { color: var(--dim); }
nav a { margin-right: .8em; color: inherit; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 340px), 1fr)); gap: 12px; }
figure { margin: 0; min-width: 0; } svg { width: 100%; height: auto; overflow: visible; color: var(--ink); }
svg text { font-family: "DejaVu Sans", Verdana, sans-serif !important; }
table { border-collapse: collapse; font-size: .87em; width: 100%; }
th, td { text-align: right; padding: .2em .4em; border-bottom: 1px solid var(--line); vertical-align: top; }
th:first-child, td:first-child, .texts td, .texts th { text-align: left; }
.texts td:first-child { overflow-wrap: normal; }
@media (min-width: 700px) { .clients th, .clients td:not(:last-child) { overflow-wrap: normal; } }
"""


def render(title: str, body: Sequence[str]) -> str:
    """Return a whole page from its parts, which are HTML."""
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>",
            f"<h1>{escape(title)}</h1>",
            *body,
            "</body></html>\n",
        ]
    )


def table(heads: Sequence[str], rows: Sequence[Sequence[object]], kind: str = "") -> str:
    """Return a table of texts."""
    head = "".join(f"<th>{escape(head)}</th>" for head in heads)
    lines = ("".join(f"<td>{escape(str(cell))}</td>" for cell in row) for row in rows)
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f'<table class="{kind}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


# --- One run -------------------------------------------------------------------------------------


def parts_of(run: Run) -> int:
    """Return how many parts the page of a run has: one of all clients, and if there are several one of each."""
    count = len(run.frames.clients)
    return 1 + (min(count, MAX_CLIENTS) if count > 1 else 0)


def run_page(run: Run, on_part: Callable[[], None] = lambda: None) -> str:
    """Return the page of one run: of all clients together, then of each.

    Args:
        run: what was run.
        on_part: called whenever a part is done.
    """
    frames = run.frames
    clients = frames.clients if len(frames.clients) > 1 else []
    shown = clients[: parts_of(run) - 1]
    plots = Plots(1 + len(shown))
    links = [f'<a href="#client-{client}">client {client}</a>' for client in shown]
    body = ['<nav><a href="#all">all</a>' + "".join(links) + '<a href="#settings">settings</a></nav>']
    body += [*_complaints(run), '<section id="all">', *_part(run, frames, plots)]
    body += [*_clients(run), "</section>"]
    on_part()
    if len(clients) > len(shown):
        body.append(f'<p class="dim">The first {len(shown)} of {len(clients)} clients have a part of their own.</p>')
    for client in shown:
        body += [f'<section id="client-{client}"><h2>Client {client}</h2>']
        body += [*_part(run, frames.where(frames["client"] == client), plots), "</section>"]
        on_part()
    body += ['<section id="settings"><h2>What was run</h2>', *_settings(run), "</section>"]
    return render(f"Run {run.name}", body)


def _complaints(run: Run) -> list[str]:
    said = []
    if not run.summary:
        said.append("There is no summary: the server did not come to its end. These are the frames of which it told.")
    elif not run.over:
        said.append("The server did not come to its end: these are the frames of which it told.")
    if run.summary.get("failure"):
        said.append(f"The film ended: {run.summary['failure']}")
    if not len(run.frames):
        said.append("No frame was sent, or there is no CSV: there is nothing to draw.")
    return [f"<p><strong>{escape(text)}</strong></p>" for text in said]


def _part(run: Run, frames: Frames, plots: Plots) -> list[str]:
    """Return figures and plots of some of the frames."""
    if not len(frames):
        return []
    counts = [int((frames.states == code).sum()) for code in range(len(STATES))]
    shares = [f"{count} ({100 * count / len(frames):.1f} %)" for count in counts]
    known = {figure: title for figure, title in FIGURES.items() if np.isfinite(frames[figure]).any()}
    body = [table(("sent", *STATES), [(len(frames), *shares)])]
    if known:
        rows = [(title, *_quantiles(frames, figure)) for figure, title in known.items()]
        body += ["<h3>Figures</h3>", table(("", "mean", *QUANTILES, "max"), rows)]
    at, error = frames_error(frames)
    if len(error):
        bias = ", ".join(number(float(value), "+") for value in error.mean(axis=0))
        body.append(f'<p class="dim">Mean error in x, y: {bias} px.</p>')
    drawn = [plots.states(frames)]
    for figure, title in list(known.items())[:2]:
        drawn += [plots.over_time(frames, figure, title), plots.tails({title: frames[figure]}, title)]
    if len(at):
        width, height = at.max(axis=0).astype(int) + 1
        drawn.append(plots.vectors(frames, run.size or (int(width), int(height))))
    body.append('<div class="plots">' + "".join(f"<figure>{svg}</figure>" for svg in drawn) + "</div>")
    return body + _worst(frames, known)


def _quantiles(frames: Frames, figure: str) -> list[str]:
    values = frames[figure][np.isfinite(frames[figure])]
    told = (values.mean(), *np.quantile(values, list(QUANTILES.values())), values.max())
    return [number(float(value)) for value in told]


def _worst(frames: Frames, known: dict[str, str]) -> list[str]:
    """Return the frames that were worst, by their numbers."""
    body = []
    for figure, title in list(known.items())[:2]:
        values = np.where(np.isfinite(frames[figure]), frames[figure], -np.inf)
        order = [i for i in np.argsort(-values, kind="stable")[:WORST] if values[i] > -np.inf]
        rows = [
            (int(frames["k"][i]), int(frames["client"][i]), f"{frames.seconds[i]:.2f}", number(float(values[i])))
            for i in order
        ]
        body += [f"<h3>Worst frames: {escape(title)}</h3>", table(("k", "client", "s", title), rows)]
    return body


def _clients(run: Run) -> list[str]:
    told = run.summary.get("clients")
    if not isinstance(told, list) or not told:
        return []
    rows = [[_told(client, name) for name in CLIENT] for client in told]
    return ["<h3>Clients, as they left</h3>", table(CLIENT, rows[:100], "texts clients")]


def _told(values: Any, name: str) -> str:
    value = values.get(name) if isinstance(values, dict) else None
    return "–" if value is None else str(value)


def _settings(run: Run) -> list[str]:
    if not run.settings:
        return ["<p>The summary does not tell.</p>"]
    return [table(("", ""), list(run.settings.items()), "texts")]


# --- Several -------------------------------------------------------------------------------------


def comparison_page(runs: Sequence[Run], rows: Sequence[Sequence[Row]]) -> str:
    """Return the page of a comparison. rows: of each run but the first."""
    differing = settings_that_differ(runs)
    body = ["<h2>Settings that differ</h2>"]
    heads = ("", *(run.name for run in runs))
    body.append(
        table(heads, [(name, *each) for name, each in differing.items()], "texts") if differing else "<p>None.</p>"
    )
    for run, compared in zip(runs[1:], rows, strict=True):
        body.append(f"<h2>{escape(run.name)} against {escape(runs[0].name)}</h2>")
        body += [f"<p><strong>{escape(why)}</strong></p>" for why in obstacles(runs[0], run)]
        body.append(table(HEADINGS, [cells(row) for row in compared]))
    body.append('<p class="dim">In brackets: 95 % intervals. A star: more than chance.</p>')
    body += [f"<p>Run {i} is {escape(run.name)}</p>" for i, run in enumerate(runs, 1)]
    body.append('<div class="plots">')
    plots = Plots()
    for figure, title in list(FIGURES.items())[:2]:
        series = {
            f"{i}: run": run.frames[figure] for i, run in enumerate(runs, 1) if np.isfinite(run.frames[figure]).any()
        }
        if series:
            body.append(f"<figure>{plots.tails(series, title)}</figure>")
    return render("Comparison", [*body, "</div>"])
