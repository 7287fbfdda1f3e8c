"""What a run was made with, for whoever wants to compare it or to do it again: the `settings` of summary.json."""

import os
import platform
import re
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from common.urls import CREDENTIALS, KEYS, LONG
from common.versions import versions

HTTP = re.compile(r"https?://\S+")  # may have keys where a camera's address has none


class Settings:
    """Takes note of how a run began.

    Args:
        options: the command line's, by name.
        command: what was typed.
    """

    def __init__(self, options: Mapping[str, Any], command: Sequence[str] = ()) -> None:
        self._settings = {  # read now: at the end there may be no descriptor left to read it with
            "started": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "command": [plain(word) for word in command],
            "options": {name: plain(value) for name, value in options.items()},
            "versions": versions(),
            "machine": {"system": platform.platform(), "processor": processor(), "cores": os.cpu_count()},
        }
        self._used = time.process_time()

    def summary(self) -> dict[str, Any]:
        """Return what summary.json tells of it, as plain values, with the processor time used since (s)."""
        return {"server_cpu_s": time.process_time() - self._used, "settings": self._settings}


def plain(value: Any) -> Any:
    """Return a value as JSON has it; of a URL without the name, password and keys in it.

    >>> plain((640, 480)), plain("rtsp://me:secret@camera/1")
    ([640, 480], 'rtsp://camera/1')
    >>> plain("--whip=https://media/whip?room=7&access_token=secret")
    '--whip=https://media/whip?room=7&access_token=...'
    """
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return HTTP.sub(lambda url: LONG.sub("...", KEYS.sub(r"\1...", url[0])), CREDENTIALS.sub("", str(value)))


def processor() -> str:
    """Return what the processor calls itself, as far as that can be told."""
    try:
        told = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    except (OSError, ValueError):
        told = None
    return told[1] if told else platform.machine()


def command_line() -> list[str]:
    """Return what was typed to start this program."""
    return ["python3", *sys.argv]
