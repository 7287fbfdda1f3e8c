"""Run server and client together, and tell how it went: what `make run` does.

    python3 -m tools.run [--duration SECONDS] [--signaling-port PORT] [--out DIR] [an option of client.py] ...

Ends with status 0 when coordinates were scored, or a person stopped it; otherwise with another, and its last
line says which program failed, and why.
"""

import argparse
import contextlib
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
SERVER = "server.py"
NOTES = "BALL_NOTES"  # in the environment: where the server reads lines for its panel; see common/asides.py
END_TIMEOUT = 30.0  # s for one program to end after the other


class Notes:
    """Lines on their way to the program that has the terminal; to the terminal itself when that program has ended."""

    def __init__(self) -> None:
        self.reading, self._writing = os.pipe()
        os.set_blocking(self.reading, False)
        os.set_blocking(self._writing, False)
        self.environment = {**os.environ, NOTES: str(self.reading)}
        self._open = True
        self._lock = threading.Lock()

    def say(self, line: str) -> None:
        """Pass on a line."""
        with self._lock:
            if self._open:
                with contextlib.suppress(BlockingIOError):  # it is not read: then a panel would not show it either
                    os.write(self._writing, line.encode())
                return
        print(line, end="", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Take note that the program has ended; print what it has not read. Does nothing the second time."""
        with self._lock:
            if not self._open:
                return
            self._open = False
            os.close(self._writing)
            left = b""
            while data := os.read(self.reading, 65536):
                left += data
            os.close(self.reading)
        print(left.decode(errors="replace"), end="", file=sys.stderr, flush=True)


class Part:
    """One of the two programs, whose stderr is passed on, its last line kept.

    Args:
        ended: told of its end.
        name: its file.
        args: its command line.
        notes: how lines get to the terminal, if one program has it: the server, which shows its panel there.
    """

    def __init__(self, ended: "queue.Queue[Part]", name: str, args: Sequence[str], notes: Notes | None) -> None:
        self.name = name
        self.last_words = "it said nothing"
        self._notes, has_terminal = notes, notes is not None and name == SERVER
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / name), *args],
            stdout=None if notes is None or has_terminal else subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=notes.environment if notes is not None and has_terminal else None,
            pass_fds=[notes.reading] if notes is not None and has_terminal else [],
        )
        self._readers = [
            threading.Thread(target=self._pass_on, args=(stream,), daemon=True)
            for stream in (self.process.stderr, self.process.stdout)
            if stream is not None
        ]
        for reader in self._readers:
            reader.start()
        threading.Thread(target=self._tell, args=(ended, notes if has_terminal else None), daemon=True).start()

    def _pass_on(self, stream: IO[str]) -> None:
        for line in stream:
            if self._notes is not None:
                self._notes.say(line)
            else:
                sys.stderr.write(line)
                sys.stderr.flush()
            if stream is self.process.stderr:
                self.last_words = line.strip() or self.last_words

    def _tell(self, ended: "queue.Queue[Part]", notes: Notes | None) -> None:
        self.process.wait()
        if notes is not None:
            notes.close()
        for reader in self._readers:
            reader.join(1.0)  # s; a child that it left behind may hold stderr open
        ended.put(self)

    def complaint(self) -> str | None:
        """Return how it failed, or None if it did not."""
        status = self.process.returncode
        if status == 0:
            return None
        how = f"status {status}" if status > 0 else signal.Signals(-status).name
        return f"{self.name} ended with {how}: {self.last_words}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run both until both have ended; return the exit status."""
    parser = argparse.ArgumentParser(prog="tools.run", description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--duration", metavar="SECONDS", help="end after so many seconds (none: until stopped)")
    parser.add_argument("--signaling-port", type=int, default=1234, metavar="PORT", help="where they meet (1234)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="keep what the server tells of the run there (nowhere)")
    args, of_client = parser.parse_known_args(argv)
    shared = ["--signaling-port", str(args.signaling_port)]
    if args.duration is not None:
        shared += ["--duration", args.duration]
    with tempfile.TemporaryDirectory() as folder:
        kept = args.out or Path(folder)
        commands = {SERVER: [*shared, "--once", "--out", str(kept)], "client.py": [*shared, *of_client]}
        if is_taken(args.signaling_port):
            del commands["client.py"]  # it would join whoever is there; the server says what is the matter
        interrupted, failure = run_together(commands)
        if failure is None and not interrupted and not count_scored(kept / "summary.json"):
            failure = "nothing was scored"
    if failure is not None:
        print(f"make run: {failure}", file=sys.stderr)
    return 0 if failure is None else 1


def run_together(commands: Mapping[str, Sequence[str]]) -> tuple[bool, str | None]:
    """Run programs until all have ended; when one fails the others are ended.

    Args:
        commands: the arguments of each, by its file.

    Returns:
        Whether somebody stopped them, and otherwise how the first to fail did so, None if none failed.
    """
    interrupted = threading.Event()
    ended: queue.Queue[Part] = queue.Queue()
    parts: list[Part] = []
    notes = Notes() if sys.stdout.isatty() and SERVER in commands else None

    def on_signal(number: int, _: FrameType | None) -> None:
        interrupted.set()
        if number == signal.SIGTERM:  # the others come from the terminal, which tells every process
            send_all(parts, number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, on_signal)
    for name, args in commands.items():
        parts.append(Part(ended, name, args, notes))
    first = ended.get()
    if first.complaint() is not None:
        send_all(parts, signal.SIGTERM)
    complaints = [part.complaint() for part in (first, *wait_for_all(parts, ended))]
    failures = [complaint for complaint in complaints if complaint is not None]
    return interrupted.is_set(), failures[0] if failures and not interrupted.is_set() else None


def wait_for_all(parts: Sequence[Part], ended: "queue.Queue[Part]") -> list[Part]:
    """Wait for all but the first to end, and end those that do not; return them as they end."""
    others: list[Part] = []
    for number in (signal.SIGTERM, signal.SIGKILL, None):
        with contextlib.suppress(queue.Empty):
            while len(others) < len(parts) - 1:
                others.append(ended.get(timeout=END_TIMEOUT))
            break
        if number is not None:
            send_all(parts, number)
    return others


def send_all(parts: Sequence[Part], number: int) -> None:
    """Send a signal to those that still run."""
    for part in parts:
        part.process.send_signal(number)


def is_taken(port: int) -> bool:
    """Return whether somebody listens at a port of the loopback."""
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return True
    return False


def count_scored(summary: Path) -> int:
    """Return how many coordinates were scored, by the server's summary; none where it wrote none."""
    try:
        frames = json.loads(summary.read_text())["frames"]
    except FileNotFoundError:
        return 0
    return int(frames["scored"])


if __name__ == "__main__":
    sys.exit(main())
