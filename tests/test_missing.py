"""Promises of the programs where a package is missing: one line that says which, and what to do; status 1."""

import sys
from pathlib import Path

import pytest

from common import missing
from common.missing import explain
from support.programs import run
from tools.procfs import free_port

MISSING = "raise ModuleNotFoundError(\"No module named '{0}'\", name='{0}')"
UNLOADABLE = "raise ImportError('libxcb.so.1: cannot open shared object file', name='{0}', path='{0}.abi3.so')"


@pytest.mark.parametrize(
    ("program", "package", "fault", "told"),
    [
        ("client.py", "cv2", UNLOADABLE, "OpenCV cannot be loaded (libxcb.so.1: cannot open shared object file)"),
        ("client.py", "numpy", MISSING, "the package numpy is missing: `make run`"),
        ("client.py", "aiortc", MISSING, "the package aiortc is missing: `make run`"),
        ("server.py", "aiortc", MISSING, "the package aiortc is missing: `make run`"),
        ("server.py", "rich", MISSING, "the package rich is missing: `make run`"),
    ],
)
def test_program_says_which_package_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, program: str, package: str, fault: str, told: str
):
    """A package that cannot be imported is one line that names it and what to do, not a traceback."""
    (tmp_path / f"{package}.py").write_text(fault.format(package))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with run(program, "--signaling-port", free_port(), "--duration", 5) as ending:
        assert ending.wait() == 1
        assert ending.lines[-1].startswith(f"{program}: error: {told}")
        assert "Traceback" not in ending.output


def test_explain_names_the_python_that_has_the_packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Who has the packages in .venv, and starts a program with the system's Python, is told which one to take."""
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/bin/python").touch()
    monkeypatch.setattr(missing, "ROOT", tmp_path)
    error = ModuleNotFoundError("No module named 'av'", name="av")
    monkeypatch.setattr(sys, "prefix", "/usr")
    assert ".venv/bin/python" in (explain(error) or "")
    monkeypatch.setattr(sys, "prefix", str(tmp_path / ".venv"))
    assert ".venv" not in (explain(error) or "")


def test_explain_leaves_our_own_faults_alone():
    """A name that one of our modules lacks is a defect, and its traceback is wanted."""
    assert explain(ImportError("cannot import name 'nothing' from 'common.missing'", name="common.missing")) is None
    assert explain(ModuleNotFoundError("No module named 'client.nothing'", name="client.nothing")) is None
    assert explain(ImportError("something else")) is None
