"""common/memory.py: what is freed is kept for the next frame, where the C library can do so."""

import ctypes
import platform
import subprocess
import sys

import pytest

from common import memory
from common.memory import keep_freed_memory
from tools.procfs import ROOT

FREE_A_PICTURE = """
import sys
import numpy as np
from common.memory import keep_freed_memory
if sys.argv[1] == "kept":
    assert keep_freed_memory()
picture = np.full((1620, 1920), 16, np.uint8)
address = picture.ctypes.data + picture.nbytes // 2
del picture
spans = [line.split()[0].split("-") for line in open("/proc/self/maps")]
print(any(int(begin, 16) <= address < int(end, 16) for begin, end in spans))
"""


def is_kept(how: str) -> bool:
    """Return whether the memory of a picture of 1920x1080 is still the process's after it was freed."""
    command = [sys.executable, "-c", FREE_A_PICTURE, how]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=60).stdout == b"True\n"


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has mallopt")
def test_keep_freed_memory_keeps_what_a_picture_had() -> None:
    """A picture takes the memory that the one before it had, and not new pages for each."""
    assert is_kept("kept")
    assert not is_kept("as it is")


@pytest.mark.parametrize("error", [OSError, AttributeError, TypeError])
def test_keep_freed_memory_does_without(monkeypatch: pytest.MonkeyPatch, error: type[Exception]) -> None:
    """Where the C library has no such thing, it says so, and nothing fails."""

    def fail(name: str | None) -> None:
        raise error

    monkeypatch.setattr(ctypes, "CDLL", fail)
    assert not keep_freed_memory()


def test_keep_freed_memory_takes_what_an_older_library_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A library that takes 32 MB at most is asked for that."""
    asked: list[tuple[int, int]] = []

    class Old:
        """A C library."""

        @staticmethod
        def mallopt(option: int, size: int) -> int:
            """Take 32 MB at most."""
            asked.append((option, size))
            return int(size <= 1 << 25)

    monkeypatch.setattr(ctypes, "CDLL", lambda name: Old)
    assert keep_freed_memory()
    assert {option for option, size in asked if size <= 1 << 25} == {memory.M_TRIM_THRESHOLD, memory.M_MMAP_THRESHOLD}
