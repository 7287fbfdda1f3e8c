"""report/: what a run left behind, as a page and beside others; written by the server's own hand, then read back."""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ball_track import Point
from common.files import Draft, WholeFile
from protocol.matching import stamp
from report.__main__ import main
from report.comparing import HEADINGS, blocks_of, cells, compare, markdown, number, obstacles, settings_that_differ
from report.measured import save, take
from report.page import comparison_page, run_page
from report.plots import TAIL_POINTS, tail
from report.runs import Frames, ReportError, Run, read_frames, read_runs
from scoring.records import Records
from scoring.settings import Settings
from scoring.tally import FIGURES, Frame, Span, State, Tally
from support.programs import PATIENCE, run
from tools.browser import run_browser
from tools.procfs import ROOT, free_port

FPS = 30
HOSTILE = "</style><script>document.title='hit'</script><img src=x onerror=alert(1)>&amp;\"'|`"


def write_run(
    folder: Path, frames: int, clients: int = 1, seed: int = 0, added_ms: float = 0.0, loss: float = 0.02,
    bias: float = 0.0, facts: dict[str, Any] | None = None,
) -> Path:  # fmt: skip
    """Write a run as the server does: latencies that depend on those before them, some frames lost."""
    folder.mkdir(exist_ok=True)
    random, tally = np.random.default_rng(seed), Tally()
    records = Records(folder / "summary.json", folder / "frames.csv")
    records.open(lambda _: None)
    for client in range(1, clients + 1):
        slow = 0.0
        for k in range(frames):
            slow = 0.7 * slow + random.normal(0, 0.15)
            truth = Point(320 + 250 * np.sin(k / 40), 240 + 180 * np.cos(k / 31))
            frame = Frame(k, stamp(k, FPS), k / FPS, truth, State.LOST)
            if random.random() >= loss:
                frame.state, frame.reported = State.SCORED, frame.pts
                frame.latency_ms = 8 * float(np.exp(slow + random.normal(0, 0.2))) + added_ms
                x, y = random.normal(0, 0.05, 2)
                frame.found = Point(truth.x + x + bias, truth.y + y)
                frame.error_px = float(np.hypot(x + bias, y))
                frame.live_error_px = frame.error_px + 0.24 * frame.latency_ms
                for figure in FIGURES[:3]:
                    getattr(tally, figure).add(getattr(frame, figure))
            tally.frames.update(["sent", frame.state])
            records.write(client, frame)
    tally.span = Span(0.0, max(0, frames - 1) / FPS)
    command = ["server.py", "--seed", str(seed), "--require", "lost < 5 %"]
    made = Settings({"fps": FPS, "seed": seed}, command).summary()
    peers = [{"peer": f"127.0.0.1:{9000 + i}", "kind": "client", "end": "bye"} for i in range(clients)]
    common = {"size": "640x480", "transport": "media", "codec": "vp8", "failure": None, "clients": peers}
    assert records.close({**tally.summary(), **common, **made, **(facts or {})})
    return folder


def read(folder: Path) -> Run:
    """Return the run in a folder."""
    (run,) = read_runs([folder])
    return run


class Page(HTMLParser):
    """Takes a page apart: its elements, what it would ask for, its ids, its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags, self.ids, self.asked, self.words = list[str](), list[str](), list[str](), ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take note of an element."""
        self.tags.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in {"src", "href", "xlink:href", "srcset", "data"} and not (value or "").startswith("#"):
                self.asked.append(f"{tag} {value}")
            assert not name.startswith("on")

    def handle_data(self, data: str) -> None:
        """Take note of text."""
        self.words += data


def check(text: str) -> Page:
    """Return a page, checked to stand by itself."""
    page = Page(text)
    assert page.asked == []
    assert not {"script", "img", "link", "iframe", "object"} & set(page.tags)
    assert len(page.ids) == len(set(page.ids))
    references = set(re.findall(r"url\(#([^)]+)\)", text)) | set(re.findall(r'href="#([^"]+)"', text))
    assert references <= set(page.ids)
    return page


# --- Pages ---------------------------------------------------------------------------------------


def test_page_tells_all_of_a_run(tmp_path: Path) -> None:
    """Every figure, a plot of each kind, the worst frames by number, the settings; a bias shows as one."""
    run = read(write_run(tmp_path / "run", 300, bias=0.5))
    page = check(run_page(run))
    assert page.tags.count("svg") == 6
    worst = int(run.frames["k"][np.nanargmax(run.frames["latency_ms"])])
    assert re.search(rf"Worst frames: latency.*?latency, ms\s*{worst}", page.words, re.DOTALL)
    bias = re.search(r"Mean error in x, y: \+(\d\.\d+), ", page.words)
    assert bias is not None
    assert float(bias[1]) == pytest.approx(0.5, abs=0.02)
    assert "server.py --seed 0 --require 'lost < 5 %'" in page.words
    lost = int((run.frames.states == 3).sum())
    assert f"{lost} ({100 * lost / 300:.1f} %)" in page.words


@pytest.mark.parametrize(
    ("frames", "clients"),
    [(0, 0), (0, 1), (1, 1), (2, 1), (40, 2), pytest.param(40, 11, marks=pytest.mark.slow)],
)
def test_page_of_any_run(tmp_path: Path, frames: int, clients: int) -> None:
    """No client, one frame, ten clients, more than have a part of their own: a page each time, a part for each."""
    page = check(run_page(read(write_run(tmp_path / "run", frames, clients))))
    assert len([each for each in page.ids if each.startswith("client-")]) == (min(clients, 10) if clients > 1 else 0)
    assert ("nothing to draw" in page.words) == (frames == 0)


def test_page_of_a_run_without_a_score(tmp_path: Path) -> None:
    """Where every frame was lost there is no figure, and what became of them is drawn all the same."""
    page = check(run_page(read(write_run(tmp_path / "run", 90, loss=1.1))))
    assert page.tags.count("svg") == 1
    assert "90 (100.0 %)" in page.words


def test_page_of_a_crash_in_the_middle(tmp_path: Path) -> None:
    """A server that was killed leaves a CSV under another name, its last row cut off: the rest is shown."""
    folder = write_run(tmp_path / "run", 200)
    whole = (folder / "frames.csv").read_bytes()
    (folder / "frames.csv").unlink()
    (folder / "summary.json").unlink()
    (folder / ".frames.csv.0123abcd.part").write_bytes(whole[: len(whole) * 2 // 3])
    run = read(folder)
    assert 120 < len(run.frames) < 145
    assert "did not come to its end" in check(run_page(run)).words
    (folder / ".frames.csv.0123abcd.part").write_bytes(whole[:20])
    assert "nothing to draw" in check(run_page(read(folder))).words


@pytest.mark.parametrize("finished", [True, False])
def test_files_of_a_killed_server_are_read_by_the_names_that_they_would_have_got(
    tmp_path: Path, finished: bool
) -> None:
    """Also where an older run has these names; cut off anywhere, they are read as far as they go."""
    folder = write_run(tmp_path / "run", 90, seed=3)
    rows, summary = (folder / "frames.csv").read_bytes(), (folder / "summary.json").read_bytes()
    for name in ("frames.csv", "summary.json"):
        if finished:
            os.utime(folder / name, (0, 0))
        else:
            (folder / name).unlink()
    table, told = folder / ".frames.csv.01ab.part", folder / ".summary.json.02cd.part"
    table.write_bytes(rows[: rows.index(b"\n40,") if b"\n40," in rows else rows.index(b"\n1,40,") + 4])
    told.write_bytes(summary)
    for paths in ([folder], [folder / "summary.json", folder / "frames.csv"], [told, table]):
        (run,) = read_runs(paths)
        assert (len(run.frames), run.over, run.settings["options.seed"]) == (40, False, "3")
        assert "did not come to its end" in check(run_page(run)).words
        (why,) = obstacles(run, run)[:1]
        assert why.endswith("no end: its server still runs, or was killed")
    for end in range(0, len(summary), 97):
        told.write_bytes(summary[:end])
        assert (read(folder).over, read(folder).summary) == (False, {})
    for end in range(0, len(rows), 97):
        table.write_bytes(rows[:end])
        assert len(read(folder).frames) <= rows[:end].count(b"\n")


def test_run_is_read_while_its_server_writes(tmp_path: Path) -> None:
    """Whenever one looks there is a summary so far, and no error: the next one is there before the last one goes."""
    folder = write_run(tmp_path / "run", 30)
    rows, summary = (folder / "frames.csv").read_text(), (folder / "summary.json").read_text()
    (folder / "summary.json").unlink()
    draft, over = Draft(folder / "summary.json"), threading.Event()
    draft.write(summary)

    def go_on() -> None:
        while not over.is_set():
            draft.write(summary)
            with WholeFile(folder / "frames.csv") as table:
                table.write(rows)

    writer = threading.Thread(target=go_on)
    writer.start()
    try:
        for _ in range(300):
            run = read(folder)
            assert (run.over, run.summary) == (False, json.loads(summary))
            assert len(run.frames) in {0, 30}
    finally:
        over.set()
        writer.join()
        draft.close()


def test_rows_are_read_in_the_order_of_the_frames(tmp_path: Path) -> None:
    """A lost frame's row comes ten seconds after those of its neighbours."""
    path = write_run(tmp_path / "run", 30, clients=2) / "frames.csv"
    head, *rows = path.read_text().splitlines(keepends=True)
    path.write_text("".join((head, *rows[::-1])))
    frames = read_frames(path)
    assert frames["client"].tolist() == [1.0] * 30 + [2.0] * 30
    assert frames["k"].tolist() == [*map(float, range(30))] * 2


def test_hostile_text_is_no_markup(tmp_path: Path) -> None:
    """What a peer calls itself, a setting, a failure, a folder's name: text, on both pages and in Markdown."""
    peers = [{"peer": HOSTILE, "kind": HOSTILE, "end": HOSTILE, "about": HOSTILE}, HOSTILE, None]
    settings = {"options": {HOSTILE: HOSTILE}, "command": [HOSTILE], "versions": HOSTILE}
    facts = {"clients": peers, "settings": settings, "failure": HOSTILE, "size": HOSTILE, "codec": HOSTILE}
    read_back = read(write_run(tmp_path / "run", 60, facts=facts))
    run = Run(HOSTILE, read_back.summary, read_back.frames)
    plain = read(write_run(tmp_path / "plain", 60))
    for text in (run_page(run), comparison_page([plain, run], [compare(plain, run)])):
        page = check(text)
        assert HOSTILE in page.words
        assert "<script" not in text
    told = markdown([plain, run], [compare(plain, run)])
    assert "<" not in told
    assert {line.count("|") for line in told.splitlines() if line.startswith("|")} <= {4, 6}


@pytest.mark.slow
def test_ten_minutes_are_a_small_page(tmp_path: Path) -> None:
    """However long the run, the plots have a bounded number of points: under 1 MB, ten clients too."""
    assert len(run_page(read(write_run(tmp_path / "long", 600 * FPS))).encode()) < 1_000_000
    assert len(run_page(read(write_run(tmp_path / "wide", 3000, clients=10))).encode()) < 1_000_000


def test_tail_keeps_the_ends() -> None:
    """The smallest, the largest and the shares of both are exact, whatever was left out between."""
    values = np.random.default_rng(1).normal(size=5000)
    x, above = tail(values)
    assert len(x) <= TAIL_POINTS
    assert (x[0], above[0], x[-1], above[-1]) == (values.min(), 1.0, values.max(), 1 / 5000)
    assert [(values >= each).mean() for each in x] == pytest.approx(above)


# --- Saved results -------------------------------------------------------------------------------


def test_saved_results_are_held_beside_each_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of two files of the same part each figure of each case that both have is told, by the medians of its rounds."""
    paths = []
    for name, latency, case in (("old", [4.0, 5.0, 90.0], "a"), ("new", [6.0], "b")):
        (tmp_path / name).mkdir()
        figures = {"latency p50": latency, "zero": [0.0]}
        assert save(take("part", "make it", {"both": figures, case: figures}), tmp_path / name)
        paths.append(str(tmp_path / name / "part.json"))
    assert main(paths) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert re.search(r"both: latency p50 \S 5.00 \S 6.00 \S \+1.00 \S 1.20", said)
    assert "both: zero" in said
    assert not re.search(r"\b[ab]: latency", said)
    assert main([*paths, "--out", str(tmp_path / "x.md")]) == 1
    assert save(take("part", "make it", {"other": figures}), tmp_path / "old")
    assert main(paths) == 1
    assert "has no case in common" in capsys.readouterr().err


# --- Comparisons ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_equal_runs_compare_as_equal(tmp_path: Path) -> None:
    """Nineteen times of twenty, two runs that differ by chance alone are not told to differ."""
    rows = dict[str, list[bool]]()
    for pair in range(60):
        base, other = (read(write_run(tmp_path / str(i), 900, seed=2 * pair + i)) for i in (0, 1))
        for row in compare(base, other):
            if row.difference.known:
                rows.setdefault(row.name, []).append(row.differs)
    assert len(rows) == 10
    for differing in rows.values():
        assert sum(differing) <= 9  # of 60: 3 are expected; more than 9 come once in a thousand times
    assert sum(map(sum, rows.values())) <= 0.08 * 60 * 10


def test_five_milliseconds_show_as_five(tmp_path: Path) -> None:
    """A delay that was added is told as what it is, with its interval, and the error as unchanged."""
    base = read(write_run(tmp_path / "a", 1800, seed=1))
    other = read(write_run(tmp_path / "b", 1800, seed=2, added_ms=5))
    rows = {row.name: row for row in compare(base, other)}
    median = rows["latency, ms: median"]
    assert median.differs
    assert median.difference.low < 5 < median.difference.high
    assert median.difference.value == pytest.approx(5, abs=1)
    assert median.ratio.low < median.ratio.value < median.ratio.high
    assert not rows["error, px: median"].differs
    assert rows["latency, ms: p95"].difference.low < 5 < rows["latency, ms: p95"].difference.high


def test_ratio_of_short_runs_is_above_nought(tmp_path: Path) -> None:
    """However little two runs say, none has a latency that is a negative multiple of the other's."""
    both = [read(write_run(tmp_path / str(seed), 150, seed=seed)) for seed in (0, 1)]
    for each in both:
        each.frames["latency_ms"][each.frames.seconds < 1] *= 30  # as in the second of a start
    known = [row.ratio for row in compare(both[0], both[1]) if row.ratio.known]
    assert known
    assert all(0 <= ratio.low <= ratio.value for ratio in known)


def test_blocks_of_a_second_are_wider_than_frames(tmp_path: Path) -> None:
    """Frames of one second have their delay in common; taken one by one they would seem to say more than they do."""
    run = read(write_run(tmp_path / "run", 900, clients=2))
    blocks = blocks_of(run.frames, run.frames["latency_ms"])
    assert len(blocks) == 2 * 30
    assert sum(map(len, blocks)) == np.isfinite(run.frames["latency_ms"]).sum()
    together = np.concatenate(blocks)
    assert np.std([block.mean() for block in blocks]) > 1.5 * together.std() / 30**0.5


def test_what_differs_is_told(tmp_path: Path) -> None:
    """A setting that is another stands on top, one that is not does not; and so does what cannot be compared."""
    base = read(write_run(tmp_path / "a", 600, seed=1))
    other = read(write_run(tmp_path / "b", 60, seed=2, loss=1.1, facts={"size": "320x240", "codec": "h264"}))
    assert settings_that_differ([base, other]) == {
        "size": ["640x480", "320x240"], "codec": ["vp8", "h264"], "options.seed": ["1", "2"],
    }  # fmt: skip
    assert [why.rpartition(": ")[2] for why in obstacles(base, other)] == [
        "no frame of it was scored", "a pixel of error is not the same in both", "its intervals are too narrow",
    ]  # fmt: skip
    assert obstacles(base, base) == []
    assert [row.name for row in compare(base, other)] == ["scored, %", "server CPU, cores"]


def test_run_without_a_summary_says_so_and_differs_in_no_setting(tmp_path: Path) -> None:
    """A run whose server still runs has rows and no summary: one line tells it, and nothing is made up of it."""
    base, other = read(write_run(tmp_path / "a", 600)), write_run(tmp_path / "b", 600)
    (other / "summary.json").unlink()
    assert settings_that_differ([base, read(other)]) == {}
    (why,) = obstacles(base, read(other))
    assert why.endswith("b: no summary: its server still runs, or was killed")


def test_clients_that_were_started_otherwise_are_told(tmp_path: Path) -> None:
    """What the clients say of themselves is a setting, where all of a run say the same."""
    said = ("--jitter-buffer marker", "--jitter-buffer stock", None)
    facts = [{"clients": [{"peer": "a", "about": each}, {"peer": "b"}]} for each in said]
    runs = [read(write_run(tmp_path / str(i), 60, facts=each)) for i, each in enumerate(facts)]
    assert settings_that_differ(runs)["client"] == [*said[:2], "-"]
    two = {"clients": [{"about": each} for each in said]}
    assert "client" not in read(write_run(tmp_path / "two", 60, facts=two)).settings


def test_comparison_is_the_same_everywhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Terminal, Markdown and page have the same rows; three runs make two tables."""
    folders = [write_run(tmp_path / name, 400, seed=seed) for seed, name in enumerate("abc")]
    out = [tmp_path / "c.html", tmp_path / "c.md"]
    assert main([*map(str, folders), "--out", str(out[0]), "--out", str(out[1])]) == 0
    page, text = check(out[0].read_text()), out[1].read_text()
    runs = read_runs(folders)
    for other in runs[1:]:
        for row in compare(runs[0], other):
            assert " | ".join(cells(row)) in text
            assert all(cell in page.words for cell in cells(row))
    printed = capsys.readouterr().out
    assert printed.count("latency, ms: p99") == 2 or printed.count("latency") >= 6
    assert page.tags.count("svg") == 2
    assert text.count(" | ".join(HEADINGS)) == 2


@pytest.mark.parametrize("value", [0.0, 1e-7, 0.00123, 0.5, 1.0, 9.9999, 123.456, 1e9, -3.5])
def test_number_keeps_three_digits(value: float) -> None:
    """A number is told to within half a percent, or to a millionth."""
    assert float(number(value)) == pytest.approx(value, rel=0.005, abs=1e-6)


# --- Reading -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (shutil.rmtree, "No such file"),
        (lambda folder: (folder / "summary.json").write_text("{"), "summary.json"),
        (lambda folder: (folder / "summary.json").write_text("[]"), "is no summary"),
        (lambda folder: (folder / "summary.json").write_text("[" * 100_000), "summary.json"),
        (lambda folder: (folder / "frames.csv").write_text("a,b\n1,2\n"), "has no column state, client"),
        (lambda folder: (folder / "frames.csv").write_bytes(b"\xff\xfe\x00"), "frames.csv"),
        (lambda folder: _append(folder, "1,2\n"), "has not the columns of the first"),
        (lambda folder: _append(folder, "1,2,3,lost,one,,,,,,,,,\n"), "could not convert string to float"),
        (lambda folder: _append(folder, ",2,3,lost,,,,,,,,,,\n"), "a row has no client, k or pts"),
        (lambda folder: [file.unlink() for file in folder.iterdir()], "not a run's folder"),
    ],
)
def test_what_cannot_be_read_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[Path], object], words: str
) -> None:
    """A file that is damaged or missing is named, with why, and the status is 1."""
    folder = write_run(tmp_path / "run", 30)
    damage(folder)
    assert main([str(folder)]) == 1
    complaint = capsys.readouterr().err
    assert complaint.startswith("report: error: ")
    assert words in complaint
    assert complaint.count("\n") == 1


def _append(folder: Path, text: str) -> None:
    with (folder / "frames.csv").open("a") as file:
        file.write(text)


def test_summary_and_csv_are_a_run_too(tmp_path: Path) -> None:
    """Files that were kept by --summary and --csv are read like a folder; a summary alone is a run without frames."""
    folder = write_run(tmp_path / "run", 50)
    summary, table = folder / "summary.json", folder / "frames.csv"
    runs = read_runs([summary, table, folder, summary])
    assert [len(run.frames) for run in runs] == [50, 50, 0]
    assert len(read_frames(table)) == 50
    with pytest.raises(ReportError):
        read_runs([tmp_path / "none.json"])


def test_report_is_a_command(tmp_path: Path) -> None:
    """`python -m report run` writes report.html into the folder, and says so."""
    folder = write_run(tmp_path / "run", 60)
    command = [sys.executable, "-m", "report", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{folder / 'report.html'}: written\n"
    check((folder / "report.html").read_text())
    again = json.loads((folder / "summary.json").read_text())
    assert again["frames"]["sent"] == 60


def test_page_of_a_server_that_nobody_came_to(tmp_path: Path) -> None:
    """It says that there is nothing to draw, and with which settings."""
    alone = tmp_path / "alone"
    with run("server.py", "--signaling-port", free_port(), "--duration", 0.3, "--out", alone) as serving:
        assert serving.wait() == 0
    page = check(run_page(read(alone)))
    assert "nothing to draw" in page.words
    assert "options.duration" in page.words


@pytest.mark.slow
def test_summary_of_a_server_that_was_killed_has_who_had_left(tmp_path: Path) -> None:
    """A client that has come and gone is in the summary that is left, as it would be in that of the end."""
    path, where = tmp_path / "s.json", ("--signaling-port", free_port())
    with run("server.py", *where, "--summary", path) as serving:
        with run("client.py", *where, "--view", "none") as finding:
            serving.wait_for_new_scores()
            assert finding.end() == 0
        deadline = time.monotonic() + PATIENCE
        while not (summary := read_runs([path])[0].summary)["clients"]:
            assert time.monotonic() < deadline
            time.sleep(0.05)  # nothing tells of it
        serving.process.kill()
        serving.process.wait()
    assert not path.exists()
    assert (summary["clients"][0]["end"], summary["clients_left_out"]) == ("bye", 0)
    assert summary["frames"] == summary["clients"][0]["frames"]
    assert read_runs([path])[0].summary == summary


@pytest.mark.slow
def test_page_of_a_server_that_was_killed(tmp_path: Path) -> None:
    """Killed in mid-film it has lost a second at most, and knows its settings; the page says that it had no end."""
    killed = tmp_path / "killed"
    where = ("--signaling-port", free_port())
    server = run("server.py", *where, "--out", killed, "--print", "second", "--fps", "5", "--seed", "77")
    with server as serving, run("client.py", *where, "--view", "none"):
        (told,) = serving.wait_for(r"scored +[1-9]")[:1]
        counted = int(re.findall(r"scored +(\d+)", told)[0])
        assert counted < 50  # or ten seconds are over, and the first frames would be there anyway
        serving.wait_for(r"scored +[1-9]", 2)  # a second later
        serving.process.kill()
        serving.process.wait()
    left = read(killed)
    assert left.frames.states.tolist().count(0) >= counted
    assert left.settings["options.seed"] == "77"
    page = check(run_page(left))
    assert "did not come to its end" in page.words
    assert page.tags.count("svg") == 6
    assert main([str(killed)]) == 0


@pytest.mark.slow
def test_a_client_says_how_it_was_started(tmp_path: Path) -> None:
    """The summary has each client's own options and versions, and a page shows them."""
    folder, port = tmp_path / "run", free_port()
    where = ("--signaling-port", port)
    with (
        run("server.py", *where, "--once", "--out", folder) as serving,
        run("client.py", *where, "--view", "none", "--jitter-buffer", "stock", "--duration", 2),
    ):
        assert serving.wait() == 0
    said = read(folder).settings["client"]
    assert said.startswith("--jitter-buffer stock --view none; python 3.")
    assert said in check(run_page(read(folder))).words


@pytest.mark.browser
def test_page_in_a_browser(tmp_path: Path) -> None:
    """Chromium shows every plot at 380 px, no text is cut off, nothing is asked for, in the light and in the dark."""
    page = tmp_path / "report.html"
    page.write_text(run_page(read(write_run(tmp_path / "run", 900, clients=2, facts={"failure": HOSTILE}))))
    with run_browser(tmp_path) as browser:
        for theme in ("light", "dark"):
            features = [{"name": "prefers-color-scheme", "value": theme}]
            browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
            metrics = {"width": 380, "height": 800, "deviceScaleFactor": 1, "mobile": True}
            browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
            browser.get(page.as_uri())
            seen = browser.execute_script(
                """
                const inside = each => { const box = each.getBoundingClientRect();
                    return box.width > 0 && box.left >= 0 && box.right <= innerWidth; };
                const plots = [...document.querySelectorAll("svg")];
                const texts = [...document.querySelectorAll("svg text, td, th, h1, h2, h3, p, a")];
                return {plots: plots.length, shown: plots.filter(inside).length, title: document.title,
                    cut: texts.filter(each => each.textContent.trim() && !inside(each)).map(each => each.textContent),
                    wide: document.documentElement.scrollWidth, width: innerWidth,
                    asked: performance.getEntriesByType("resource").length,
                    ink: getComputedStyle(document.querySelector("svg text")).fill,
                    paper: getComputedStyle(document.body).backgroundColor};
                """
            )
            assert (seen["plots"], seen["shown"], seen["cut"], seen["asked"]) == (18, 18, [], 0)
            assert seen["wide"] <= seen["width"] == 380
            assert seen["title"].startswith("Run ")
            ink, paper = (sum(map(int, re.findall(r"\d+", seen[name])[:3])) for name in ("ink", "paper"))
            assert (ink > paper) == (theme == "dark")
            assert abs(ink - paper) > 400
        log = browser.get_log("browser")  # type: ignore[no-untyped-call]  # selenium has no types for it
        assert [entry for entry in log if entry["level"] == "SEVERE"] == []


def test_frames_are_chosen_together(tmp_path: Path) -> None:
    """A client's rows are its own, in every column."""
    frames = read(write_run(tmp_path / "run", 20, clients=3)).frames
    mine: Frames = frames.where(frames["client"] == 2)
    assert frames.clients == [1, 2, 3]
    assert len(mine) == 20
    assert set(mine["client"]) == {2.0}
    assert list(mine["k"]) == list(range(20))
