"""Promises of the set-up: what a machine lacks is one line that names it and what to do about it."""

import sys

import pytest

from tools import setup

UNREACHED = """\
WARNING: Retrying (Retry(total=0, connect=None, read=None)) after connection broken by 'NewConnectionError(...)'
ERROR: Could not find a version that satisfies the requirement aiortc<1.17,>=1.16 (from versions: none)
ERROR: No matching distribution found for aiortc<1.17,>=1.16
"""
PROXY = """\
WARNING: Retrying (Retry(total=4)) after connection broken by 'ProxyError('Cannot connect to proxy.', OSError())'
ERROR: Could not find a version that satisfies the requirement aiortc<1.17,>=1.16 (from versions: none)
"""
NO_WHEEL = """\
Collecting aiortc<1.17,>=1.16
ERROR: Could not find a version that satisfies the requirement opencv-python<6,>=5.0 (from versions: none)
ERROR: No matching distribution found for opencv-python<6,>=5.0
"""
FULL = (
    "Installing collected packages: numpy, av\nERROR: Could not install packages: [Errno 28] No space left on device\n"
)


@pytest.mark.parametrize(
    ("printed", "named", "advice"),
    [
        (UNREACHED, "aiortc", "https_proxy"),
        (PROXY, "aiortc", "https_proxy"),
        (NO_WHEEL, "opencv-python", "no build of it for this machine"),
        (FULL, "No space left", "make room"),
        ("Something new\n\n", "Something new", ""),
        ("", "it said nothing", ""),
    ],
)
def test_explain_says_what_failed_and_what_to_do(printed: str, named: str, advice: str):
    """Each way in which pip fails becomes one line."""
    line = setup.explain(printed)
    assert named in line
    assert advice in line
    assert "\n" not in line


def test_check_python_names_both_versions():
    """A Python that is too old is told with what it is and what it should be; the oldest good one is not."""
    setup.check_python(setup.OLDEST)
    setup.check_python((3, 14))
    with pytest.raises(setup.SetupError, match=r"Python 3\.10 is too old, 3\.11 or newer"):
        setup.check_python((3, 10))


def test_make_environment_without_ensurepip_names_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path):
    """Debian's Python without python3-venv is told by that name."""
    python = tmp_path / "python3"
    python.write_text("#!/bin/sh\nexit 1\n")
    python.chmod(0o755)
    monkeypatch.setattr(setup, "PYTHON", tmp_path / "none")
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(setup.SetupError, match="install Debian's package python3-venv"):
        setup.make_environment()


def test_main_refuses_what_it_does_not_know(capsys: pytest.CaptureFixture[str]):
    """A word too many is wrong usage."""
    assert setup.main(["everything"]) == 2
    assert "usage" in capsys.readouterr().err
