"""common/stdio.py: whoever reads what is printed, or does not, the program goes on."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from common.outflow import MAX_WAITING, Outflow
from common.stdio import unhurried
from support.programs import PATIENCE, read_summary, run
from tools.procfs import ROOT, free_port

HEAD = """
import logging, sys
from common.stdio import unhurried
with unhurried():
    logging.basicConfig()
"""


@contextmanager
def running(body: str, **where: object) -> Iterator[subprocess.Popen[str]]:
    """Run some lines, with what they print being nobody's concern, for the length of a block."""
    program = HEAD + "".join(f"    {line}\n" for line in body.splitlines())
    process = subprocess.Popen(  # type: ignore[call-overload]  # where they come from and go to
        [sys.executable, "-c", program], cwd=ROOT, text=True, stdin=subprocess.PIPE,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **where},
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_reader_that_left_is_told_once_and_ends_nothing() -> None:
    """`| head`: one line on stderr, and the program goes on to its own end and status."""
    with running("input()\nfor n in range(1000): print(n)\nprint('over', file=sys.stderr)") as process:
        assert process.stdout is not None
        process.stdout.close()
        process.stdout = None
        _, errors = process.communicate("\n")
    assert process.returncode == 0
    assert errors.splitlines() == [
        "WARNING:common.stdio:stdout is gone (Broken pipe): going on without printing",
        "over",
    ]


def test_both_streams_gone_is_no_reason_to_end_either() -> None:
    """`2>&1 | head`: there is nobody to tell, and the status is the program's own."""
    reading, writing = os.pipe()
    with running("input()\nprint('x')\nprint('y', file=sys.stderr)\nsys.exit(7)", stdout=writing, stderr=writing) as it:
        os.close(reading)
        os.close(writing)
        it.communicate("\n")
    assert it.returncode == 7


def test_reader_that_does_not_read_holds_nothing_up() -> None:
    """`| less`, Ctrl-S: what there is no room for is left out, line by line, and that is told at the end."""
    lines = 4 * MAX_WAITING // 64
    body = f"for n in range({lines}): print(f'{{n:063}}')\nprint('over', file=sys.stderr)"
    with running(body) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        errors = process.stderr.read()  # to its end: that of the program
        got = process.stdout.read().splitlines()
    assert process.returncode == 0
    assert errors.splitlines() == ["over", "WARNING:common.stdio:stdout was not read: not all was printed"]
    assert 0 < len(got) < lines
    assert all(line == f"{n:063}" for n, line in enumerate(got))


def test_terminal_that_was_closed_ends_nothing() -> None:
    """A terminal that is gone answers with an error of its own."""
    ours, theirs = os.openpty()
    with running("input()\nprint('x')\nprint(sys.stdout.isatty(), file=sys.stderr)", stdout=theirs) as process:
        os.close(theirs)
        os.close(ours)
        _, errors = process.communicate("\n")
    assert process.returncode == 0
    assert errors.splitlines()[0].startswith("WARNING:common.stdio:stdout is gone (")
    assert len(errors.splitlines()) == 2


def test_full_disk_ends_nothing() -> None:
    """`> file` on a full disk is a reader that left."""
    with open("/dev/full", "w") as full, running("print('x')\nprint('y')", stdout=full) as process:  # noqa: PTH123
        _, errors = process.communicate()
    assert process.returncode == 0
    assert errors == "WARNING:common.stdio:stdout is gone (No space left on device): going on without printing\n"


@pytest.mark.parametrize("number", [1, 2])
def test_stream_that_was_closed_from_the_start_stays_closed(number: int) -> None:
    """`>&-`, `2>&-`: nothing is printed there, nothing breaks."""
    program = HEAD + "    print('x')\n    logging.warning('y')\n"
    done = subprocess.run(
        ["sh", "-c", f'exec "$0" -c "$1" {number}>&-', sys.executable, program],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0
    assert done.stdout + done.stderr == ("WARNING:root:y\n" if number == 1 else "x\n")


def test_descriptor_that_was_closed_from_the_start_is_nobody_elses() -> None:
    """A socket that got the number of stdout would get what is written to /dev/stdout."""
    program = HEAD + "    import socket; print(socket.socket().fileno() > 2, file=sys.stderr)\n"
    done = subprocess.run(
        ["sh", "-c", 'exec "$0" -c "$1" 0<&- 1>&-', sys.executable, program],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "True\n")


def test_what_a_locale_cannot_spell_is_printed_all_the_same() -> None:
    """An ASCII locale costs escapes, not an exception."""
    with running("print('zwölf')", env={**os.environ, "PYTHONIOENCODING": "ascii"}) as process:
        out, errors = process.communicate()
    assert (out, errors, process.returncode) == ("zw\\xf6lf\n", "", 0)


def test_streams_are_given_back() -> None:
    """After the block, stdout and stderr are what they were."""
    before = sys.stdout, sys.stderr
    with contextlib.suppress(KeyError), unhurried():
        raise KeyError
    assert (sys.stdout, sys.stderr) == before


def test_outflow_goes_on_when_its_reader_does() -> None:
    """What waits is written, in order, when the reader takes it; a write is out whole or left out whole."""
    reading, writing = os.pipe()
    outflow = Outflow(writing)
    for n in range(2 * MAX_WAITING // 100):
        outflow.write(f"{n:099}\n".encode())
    assert outflow.left_out
    assert not outflow.finish(0)
    got = b""
    while not outflow.finish(0) and outflow._waiting:
        got += os.read(reading, MAX_WAITING)
    os.close(writing)
    while piece := os.read(reading, MAX_WAITING):
        got += piece
    os.close(reading)
    assert got.splitlines() == [f"{n:099}".encode() for n in range(len(got) // 100)]


@contextmanager
def watched(name: str, *args: object) -> Iterator[subprocess.Popen[str]]:
    """Run a program of ours with a pipe at stdout and another one at stderr for the length of a block."""
    command = [sys.executable, str(ROOT / name), *map(str, args)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def leave(process: subprocess.Popen[str], after: str) -> None:
    """Read what a program prints up to a line, and no further."""
    assert process.stdout is not None
    while not process.stdout.readline().startswith(after):
        assert process.poll() is None
    process.stdout.close()


@pytest.mark.slow
def test_programs_go_on_when_nobody_reads_what_they_print(tmp_path: Path) -> None:
    """`server.py --print every | head -4` serves on, to its summary; so does a client whose reader has left."""
    port, path = free_port(), tmp_path / "s.json"
    gone = "stdout is gone (Broken pipe): going on without printing\n"
    with (
        watched("server.py", "--signaling-port", port, "--print", "every", "--summary", path) as serving,
        watched("client.py", "--signaling-port", port, "--view", "none") as finding,
    ):
        leave(serving, "client 1 ")
        leave(finding, "watching ")
        assert serving.stderr is not None
        assert finding.stderr is not None
        assert serving.stderr.readline().endswith(gone)
        with run("client.py", "--signaling-port", port, "--view", "none", "--duration", "2") as another:
            assert another.wait() == 0
            assert "the server scored 0" not in another.output
        finding.send_signal(signal.SIGINT)
        assert finding.stderr.read().endswith(gone)
        assert finding.wait(PATIENCE) == 0
        serving.send_signal(signal.SIGINT)
        assert serving.stderr.read() == ""
        assert serving.wait(PATIENCE) == 0
    assert [client["end"] for client in read_summary(path)["clients"]] == ["bye", "bye"]
