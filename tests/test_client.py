"""The client as a program: it waits for its server, comes back to it, and leaves nothing behind."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

import client
from common.sessions import End
from programs import client_options
from protocol.messages import About, Curious, Message, Quiet, Score, encode, parse
from support.programs import PATIENCE, read_summary, run, wait_until_gone
from tools.procfs import ROOT, free_port, process_a_of
from transport import dialling
from views.views import Views


@pytest.mark.parametrize("number", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGTERM])
def test_client_stopped_ends_in_order(number: int):
    """A signal to the client ends it normally, leaves no process behind, and the server goes on."""
    port = free_port()
    with (
        run("server.py", "--signaling-port", port) as serving,
        run("client.py", "--signaling-port", port) as finding,
    ):
        serving.wait_for(r"scored [1-9]")
        children = finding.children()
        assert finding.end(number) == 0
        for child in children:
            wait_until_gone(child)
        serving.wait_for(r"^client 1 from .*: bye")
        assert serving.process.poll() is None


def test_client_and_server_end_together_on_ctrl_c(tmp_path: Path):
    """Ctrl-C reaches the whole group at once, process_a included, and all end in order."""
    port, path = free_port(), tmp_path / "s.json"
    script = (
        f"'{sys.executable}' client.py --signaling-port {port} & "
        f"exec '{sys.executable}' -u server.py --signaling-port {port} --summary {path} --print every"
    )
    shell = subprocess.Popen(
        ["bash", "-c", f"trap 'wait' INT; {{ {script}; }} & wait"],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    assert shell.stdout is not None
    try:
        while "latency" not in shell.stdout.readline():
            assert shell.poll() is None
        os.killpg(shell.pid, signal.SIGINT)
        output = shell.stdout.read()  # to the end: every process of the group has let go of it
    finally:
        shell.kill()
        shell.wait()
        shell.stdout.close()
    assert "Traceback" not in output
    assert "p50" in output
    assert read_summary(path)["frames"]["scored"] > 0


def test_client_gives_up_when_there_is_no_server():
    """Without a server, the client waits as long as it is told, says so in one line, and ends with status 1."""
    port = free_port()
    with run("client.py", "--signaling-port", port, "--wait", "0.5", "--view", "none") as finding:
        assert finding.wait() == 1
    assert finding.lines[0].startswith(f"client.py: error: no server at 127.0.0.1:{port} within 0.5 s: ")
    assert finding.lines[1:] == ["received 0 frames, sent 0 coordinates, skipped 0; the server scored 0\n"]


@pytest.mark.slow
def test_client_that_is_not_to_wait_tries_once():
    """`--wait 0` finds the server that is there, and ends with what is wrong where there is none."""
    port = free_port()
    with run("client.py", "--signaling-port", port, "--wait", "0", "--view", "none") as finding:
        assert finding.wait() == 1
    assert finding.lines[0].startswith(f"client.py: error: no server at 127.0.0.1:{port}: Connect")
    with run("server.py", "--signaling-port", port, "--duration", "60") as serving:
        serving.wait_for("^filming at")
        with run("client.py", "--signaling-port", port, "--wait", "0") as finding:
            finding.wait_for("^watching ")
            assert finding.end() == 0


def test_client_comes_back_to_a_server_that_was_killed(tmp_path: Path):
    """A server killed outright and started again is found again, and its frames are scored."""
    port, path = free_port(), tmp_path / "s.json"
    with run("client.py", "--signaling-port", port) as finding:
        with run("server.py", "--signaling-port", port) as serving:
            serving.wait_for(r"scored [1-9]")
            serving.process.kill()
            finding.wait_for("session ended: vanished; dialling again")
        with run("server.py", "--signaling-port", port, "--summary", path) as serving:
            serving.wait_for(r"scored [1-9]")
            assert serving.end() == 0
        assert finding.wait() == 0
    assert read_summary(path)["frames"]["unmatched"] == 0


@pytest.mark.root
@pytest.mark.parametrize(
    ("size", "line"),
    [
        pytest.param("4k", "process_a: it cannot be started", marks=pytest.mark.slow),
        ("300k", "no shared memory"),
    ],
)
def test_client_says_that_shared_memory_is_full(size: str, line: str):
    """Where /dev/shm has no room, for process_a or for a frame, that is one line and exit status 1, and no SIGBUS."""
    port = free_port()
    small = ("unshare", "--mount", "sh", "-c", f'mount -t tmpfs -o size={size} tmpfs /dev/shm && exec "$@"', "sh")
    with (
        run("server.py", "--signaling-port", port),
        run("client.py", "--signaling-port", port, "--view", "none", prefix=small) as finding,
    ):
        assert finding.wait() == 1
        (last,) = finding.wait_for("client.py: error: ")
        assert line in last
        assert "No space left on device" in last
        assert "Traceback" not in finding.output


@pytest.mark.slow
def test_client_that_stays_dials_again_after_a_goodbye(tmp_path: Path):
    """With --stay a server that ends in order is followed by the next one, and frames are scored by that."""
    port, path = free_port(), tmp_path / "s.json"
    with run("client.py", "--signaling-port", port, "--stay") as finding:
        for _ in range(2):
            with run("server.py", "--signaling-port", port, "--summary", path) as serving:
                serving.wait_for_new_scores()
                assert serving.end() == 0
            assert read_summary(path)["clients"][0]["end"] == "stopped"
        finding.wait_for("session ended: bye; dialling again")  # the second time says nothing new
        assert finding.end() == 0
        assert "Traceback" not in finding.output


@pytest.mark.slow
def test_client_is_watched_without_a_page():
    """--http is served whenever it is given, also where nothing is shown: health, readiness and metrics, no page."""
    port, watched = free_port(), free_port()
    options = ("--signaling-port", port, "--view", "none", "--http", f"127.0.0.1:{watched}")
    with run("client.py", *options) as finding, run("server.py", "--signaling-port", port) as serving:
        serving.wait_for_new_scores()
        for path, status in (("healthz", 200), ("readyz", 200), ("metrics", 200), ("", 404)):
            wire = HTTPConnection("127.0.0.1", watched, timeout=PATIENCE)
            wire.request("GET", f"/{path}")
            assert wire.getresponse().status == status
            wire.close()
        assert finding.end() == 0


def test_client_starts_process_a_again(tmp_path: Path):
    """process_a killed or stopped in mid-run is started again, told in one line, and counted in the summary."""
    port, path = free_port(), tmp_path / "s.json"
    with (
        run("server.py", "--signaling-port", port, "--summary", path) as serving,
        run("client.py", "--signaling-port", port) as finding,
    ):
        serving.wait_for(r"scored [1-9]\d")
        for number, line in (
            (signal.SIGKILL, "process_a: its process ended with SIGKILL"),
            (signal.SIGSTOP, "process_a: it hung, and was killed"),
        ):
            os.kill(process_a_of(finding.process.pid), number)
            finding.wait_for(line)
            serving.wait_for_new_scores()
        assert serving.end() == 0
        assert finding.wait() == 0
    assert read_summary(path)["restarts"] == 2


@pytest.mark.slow
def test_client_ends_after_its_duration():
    """--duration ends the client by itself, with status 0."""
    port = free_port()
    with (
        run("server.py", "--signaling-port", port),
        run("client.py", "--signaling-port", port, "--duration", "2") as finding,
    ):
        assert finding.wait() == 0
        finding.wait_for(f"watching 127.0.0.1:{port} by host to host; stop with Ctrl-C")
        finding.wait_for(r"received \d+ frames, sent \d+ coordinates")


class Wire:
    """Stands where the client has its link to a server that says some scores, and ends.

    Args:
        on_message: takes what the server says.
        scored: of how many scored frames each score tells.
        end: why it ends then.
    """

    pair = None

    def __init__(self, on_message: Callable[[object], None], scored: list[int], end: End) -> None:
        self.heard: list[Message] = []
        self._on_message, self._scored, self._end = on_message, scored, end

    async def open(self, _: float) -> bool:
        """Open."""
        return True

    def send(self, text: str) -> None:
        """Keep what the client says."""
        self.heard.append(parse(text))

    async def until_end(self) -> End:
        """Say the scores, and end."""
        for count in self._scored:
            self._on_message(encode(Score(3000 * count, 0.0, 5.0, count, 0)))
        return self._end

    async def close(self) -> None:
        """Do nothing."""


@pytest.mark.parametrize("watched", [False, True])
async def test_client_is_quiet_if_nobody_looks_and_counts_over_sessions(
    watched: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """Scores may be left out, come late or be those of another session: what the server has scored is counted."""
    finding = client.Client(client_options.parse_args(["--view", "none"]))
    wires = [
        Wire(finding._on_message, [2, 9, 5], End.VANISHED),
        Wire(finding._on_message, [4], End.BYE),
    ]
    coming: Iterator[Wire] = iter(wires)

    async def do_nothing(*_: object) -> object:
        return object()

    monkeypatch.setattr(dialling, "dial", do_nothing)
    monkeypatch.setattr(dialling, "close_signaling", do_nothing)
    monkeypatch.setattr(client.Client, "_create_link", lambda *_: next(coming))
    monkeypatch.setattr(Views, "watched", watched)
    assert await finding.run() == 0
    assert "the server scored 13\n" in capsys.readouterr().out
    said = About(client_options.about(client_options.parse_args(["--view", "none"])))
    heard = [list(dict.fromkeys(wire.heard)) for wire in wires]  # a busy machine's says some of it again
    assert heard == [[Curious() if watched else Quiet(), said]] * 2


def test_parse_args_takes_what_one_would_expect():
    """A port alone is this machine's, a colour has a hue, no time to wait is a time, and defaults are there."""
    args = client_options.parse_args(["--view", "web", "--http", "8080", "--color", "#ff0000", "--wait", "0"])
    assert (args.http, args.color, args.wait) == (("127.0.0.1", 8080), (345, 15), 0)
    assert args.jitter_buffer == "marker"
    assert client_options.parse_args(["--color", "0000ff"]).color == (225, 255)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--wait", "-1"], "--wait: '-1': must be seconds"),
        (["--jitter-buffer", "none"], "--jitter-buffer: invalid choice: 'none'"),
        (["--signaling-port", "x"], "--signaling-port: 'x': must be a port"),
        (["--find", "eyes.py"], "--find: 'eyes.py': must be MODULE:FUNCTION, such as my_module:find"),
        (["--find", "nothing_there:find"], "--find: 'nothing_there:find': there is no such module in this folder"),
        (["--find", "examples.finders:blob", "--color", "red"], "--find: goes without --color"),
        (["--transport", "tcp", "--jitter-buffer", "stock"], "--jitter-buffer: has an effect with --transport media"),
        (["--transport", "tcp", "--stun", "stun:a:1"], "--stun: has an effect with --transport media or datachannel"),
        (["--color", "#777777"], "--color: '#777777': has no hue"),
        (["--color", "puce"], "--color: 'puce': must be auto"),
    ],
)
def test_parse_args_names_option_value_and_rule(capsys: pytest.CaptureFixture[str], args: list[str], words: str):
    """Wrong usage is one line on stderr and exit status 2."""
    with pytest.raises(SystemExit) as stopped:
        client_options.parse_args(args)
    assert stopped.value.code == 2
    complaint = capsys.readouterr().err
    assert words in complaint
    assert complaint.count("\n") == 1


@pytest.mark.parametrize(
    "given", [["--whep", "http://me.example/whep?token=secret"], ["--watch", "rtsp://me:secret@camera/1"]]
)
def test_about_tells_no_address_and_no_password(given: list[str]):
    """What the server keeps of a client's options says how it sees, not where; it is bounded and printable."""
    told = client_options.about(client_options.parse_args(["--view", "none", *given]))
    assert told.startswith(f"{given[0]} --jitter-buffer marker --view none; python 3.")
    assert "secret" not in told
    assert "camera" not in told
    assert parse(encode(About(told))) == About(told)
