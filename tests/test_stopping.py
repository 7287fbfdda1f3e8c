"""common/stopping.py: from its first line to its last, a program that is stopped ends in order and in silence."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from common.stopping import SIGNALS
from support.marks import find_cross
from support.programs import PATIENCE, read_summary, run
from support.screen import run_screen, wait_until
from tools.procfs import ROOT, children, free_port

OWN_SHM = ("unshare", "--mount", "sh", "-c", 'mount --bind "$0" /dev/shm && exec "$@"')


def maps(pid: int, library: str) -> bool:
    """Return whether a process has a library."""
    try:
        return library in Path(f"/proc/{pid}/maps").read_text()
    except OSError:
        return False


def count_children(pid: int) -> int:
    """Return how many children of multiprocessing a process has."""
    count = 0
    for child in children(pid):
        with contextlib.suppress(OSError):  # it has ended
            count += b"from multiprocessing" in Path(f"/proc/{child}/cmdline").read_bytes()
    return count


@contextlib.contextmanager
def run_group(name: str, shm: Path, *args: object) -> "Iterator[subprocess.Popen[str]]":
    """Run a program as a shell does: in a group of its own, with a /dev/shm of its own where that can be had."""
    shm.mkdir()
    prefix = (*OWN_SHM, str(shm)) if os.geteuid() == 0 else ()
    # what measures coverage imports a lot before a program's first line
    unmeasured = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    with subprocess.Popen(
        [*prefix, sys.executable, str(ROOT / name), *map(str, args)], env=unmeasured,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def when(process: "subprocess.Popen[str]", condition: Callable[[], bool]) -> None:
    """Wait until something is so in a program that says nothing of it."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.001)


def stop(process: "subprocess.Popen[str]", number: int) -> str:
    """Send a signal to the whole group, as a terminal does; return what was printed, when all have ended."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)
    output, _ = process.communicate(timeout=PATIENCE)  # to the end: every process of the group has let go of it
    assert process.returncode == 0, output
    return output


pytestmark = pytest.mark.slow


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("library", ["_socket", "numpy", "libavcodec"])
def test_server_that_is_stopped_while_it_imports_says_nothing(tmp_path: Path, library: str, number: int) -> None:
    """A signal in the first second is a normal end, wherever it meets the imports."""
    with run_group("server.py", tmp_path / "shm", "--signaling-port", free_port()) as process:
        when(process, lambda: maps(process.pid, library))
        assert "Traceback" not in stop(process, number)


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("moment", ["numpy", "cv2", "first child", "second child", "third child", "libavcodec"])
def test_client_that_is_stopped_while_it_starts_says_nothing(tmp_path: Path, moment: str, number: int) -> None:
    """Nor do its children, be they only just there; and nothing stays in shared memory."""
    shm, port = tmp_path / "shm", free_port()
    page = ("--view", "web", "--http", f"127.0.0.1:{free_port()}")
    counts = {"first child": 1, "second child": 2, "third child": 3}
    with run_group("client.py", shm, "--signaling-port", port, *page) as process:
        if moment in counts:
            when(process, lambda: count_children(process.pid) >= counts[moment])
        else:
            when(process, lambda: maps(process.pid, moment))
        output = stop(process, number)
    allowed = ("page: ", "received 0 frames, ")
    assert all(line.startswith(allowed) for line in output.splitlines()), output
    assert list(shm.iterdir()) == []


@pytest.mark.parametrize("number", SIGNALS)
def test_session_that_is_stopped_as_a_group_ends_in_order(tmp_path: Path, number: int) -> None:
    """Ctrl-C, `kill`, a terminal that is closed: files are written, goodbyes said, and nothing else is left."""
    port, files = free_port(), tmp_path / "files"
    files.mkdir()
    names = ("--summary", files / "s.json", "--csv", files / "s.csv")
    page = ("--view", "web", "--http", f"127.0.0.1:{free_port()}")
    with (
        run_group("server.py", tmp_path / "a", "--signaling-port", port, "--print", "every", *names) as serving,
        run_group("client.py", tmp_path / "b", "--signaling-port", port, *page, "--record", files / "r.mp4") as finding,
    ):
        assert serving.stdout is not None
        while "latency" not in serving.stdout.readline():
            assert serving.poll() is None
        output = stop(finding, number)
        assert [line.split(" ", 1)[0] for line in output.splitlines()] == [
            "page:",
            "watching",
            "recording:",
            "received",
        ]
        output = stop(serving, number)
    assert ": bye" in output
    assert "Traceback" not in output
    assert read_summary(files / "s.json")["frames"]["scored"] > 0
    assert sorted(path.name for path in files.iterdir()) == ["r.mp4", "s.csv", "s.json"]
    assert list((tmp_path / "a").iterdir()) == list((tmp_path / "b").iterdir()) == []


@pytest.mark.screen
@pytest.mark.parametrize("number", SIGNALS)
def test_window_that_is_stopped_as_a_group_ends_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """The window's process gets the signal too, and is not taken for one that has died."""
    port = free_port()
    with run_screen() as screen, run("server.py", "--signaling-port", port):
        monkeypatch.setenv("DISPLAY", screen.display)
        with run_group("client.py", tmp_path / "shm", "--signaling-port", port, "--view", "window") as process:
            wait_until(lambda: find_cross(screen.picture()) is not None, "a cross on the screen")
            output = stop(process, number)
    told = [line for line in output.splitlines() if "no server at" not in line]  # its server may be slow to come
    words = [line.split(" ", 1)[0] for line in told]
    assert (words[0], set(words[1:])) == ("watching", {"received"}), output  # now and then, and at the end
    assert list((tmp_path / "shm").iterdir()) == []


@pytest.mark.parametrize("name", ["server.py", "client.py"])
def test_program_that_is_stopped_over_and_over_ends_in_order(tmp_path: Path, name: str) -> None:
    """Whoever presses Ctrl-C until it is over changes nothing of how it ends."""
    with run_group(name, tmp_path / "shm", "--signaling-port", free_port()) as process:
        when(process, lambda: maps(process.pid, "libavcodec"))
        while process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
            time.sleep(0.002)
        assert "Traceback" not in stop(process, 0)


def test_program_under_nohup_outlives_its_terminal(tmp_path: Path) -> None:
    """SIGHUP that is ignored from the start stays so."""
    port = free_port()
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with run_group("server.py", tmp_path / "shm", "--signaling-port", port) as process:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("filming at ")
            os.killpg(process.pid, signal.SIGHUP)
            with socket.create_connection(("127.0.0.1", port)):
                pass
            while "left before it began" not in process.stdout.readline():
                assert process.poll() is None
            stop(process, signal.SIGTERM)
    finally:
        signal.signal(signal.SIGHUP, before)
