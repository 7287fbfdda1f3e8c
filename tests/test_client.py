"""The client as a program: it waits for its server, comes back to it, and leaves nothing behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import client
from programs import ROOT, free_port, read_summary, run, wait_until_gone


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
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
        f"{sys.executable} client.py --signaling-port {port} & "
        f"exec {sys.executable} -u server.py --signaling-port {port} --summary {path} --print every"
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
    assert "frames sent = scored" in output
    assert read_summary(path)["frames"]["scored"] > 0


def test_client_gives_up_when_there_is_no_server():
    """Without a server, the client waits as long as it is told, says so in one line, and ends with status 1."""
    port = free_port()
    with run("client.py", "--signaling-port", port, "--wait", "0.5") as finding:
        assert finding.wait() == 1
        finding.wait_for(f"client.py: error: no server at 127.0.0.1:{port} within 0.5 s: ")
        assert "Traceback" not in finding.output


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


def test_client_starts_process_a_again(tmp_path: Path):
    """process_a killed in mid-run is started again, told in one line, and counted in the summary."""
    port, path = free_port(), tmp_path / "s.json"
    with (
        run("server.py", "--signaling-port", port, "--summary", path) as serving,
        run("client.py", "--signaling-port", port) as finding,
    ):
        serving.wait_for(r"scored [1-9]")
        (victim,) = (pid for pid in finding.children() if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes())
        os.kill(victim, signal.SIGKILL)
        finding.wait_for("process_a ended with status -9")
        before = len(serving.lines)
        serving.wait_for(r"scored [1-9]", 2, after=before)
        assert serving.end() == 0
        assert finding.wait() == 0
    assert read_summary(path)["restarts"] == 1


def test_client_ends_after_its_duration():
    """--duration ends the client by itself, with status 0."""
    port = free_port()
    with (
        run("server.py", "--signaling-port", port),
        run("client.py", "--signaling-port", port, "--duration", "2") as finding,
    ):
        assert finding.wait() == 0
        finding.wait_for(f"watching 127.0.0.1:{port}; stop with Ctrl-C")
        finding.wait_for(r"received \d+ frames, sent \d+ coordinates")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--wait", "-1"], "--wait: '-1': must be seconds"),
        (["--jitter-buffer", "none"], "--jitter-buffer: invalid choice: 'none'"),
        (["--signaling-port", "x"], "--signaling-port: 'x': must be a port"),
    ],
)
def test_parse_args_names_option_value_and_rule(capsys: pytest.CaptureFixture[str], args: list[str], words: str):
    """Wrong usage is one line on stderr and exit status 2."""
    with pytest.raises(SystemExit) as stopped:
        client.parse_args(args)
    assert stopped.value.code == 2
    complaint = capsys.readouterr().err
    assert words in complaint
    assert complaint.count("\n") == 1
