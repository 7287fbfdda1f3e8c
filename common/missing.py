"""What to do where a package is missing or cannot be loaded: one line in place of a traceback, and status 1."""

import sys
from pathlib import Path
from types import TracebackType

ROOT = Path(__file__).resolve().parent.parent

NOT_INSTALLED = "`make run` installs it, or pip install -r requirements.txt"
# what OpenCV's build with windows wants of Debian, tried in a minimal Debian 12; tools/setup.py says it too
NO_DESKTOP = (
    "apt-get install libgl1 libglib2.0-0, or, for a page in place of windows, pip install opencv-python-headless in"
    " place of opencv-python; `make run` sees to it"
)


def tell_missing_packages(program: str) -> None:
    """End this program in one line where a package that it needs cannot be imported, from now on.

    Args:
        program: its name, which the line begins with.
    """

    def tell(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        told = explain(error) if isinstance(error, ImportError) else None
        if told is None:
            sys.__excepthook__(kind, error, traceback)
        else:
            print(f"{program}: error: {told}", file=sys.stderr)

    sys.excepthook = tell


def explain(error: ImportError) -> str | None:
    """Return what is missing and what to do about it; None for a fault of our own modules, which wants a traceback.

    >>> explain(ModuleNotFoundError("No module named 'av'", name="av"))
    'the package av is missing: `make run` installs it, or pip install -r requirements.txt'
    """
    package = (error.name or "").partition(".")[0]
    if not package or (ROOT / package).is_dir() or (ROOT / f"{package}.py").exists():
        return None
    if isinstance(error, ModuleNotFoundError):
        return f"the package {package} is missing: {NOT_INSTALLED}{_other_python()}"
    name, advice = ("OpenCV", NO_DESKTOP) if package == "cv2" else (package, NOT_INSTALLED)
    return f"{name} cannot be loaded ({error}): {advice}"


def _other_python() -> str:
    """Return what to say where packages were installed for another Python than this one: in .venv, by `make run`."""
    venv = ROOT / ".venv"
    if not (venv / "bin/python").exists() or Path(sys.prefix).resolve() == venv.resolve():
        return ""
    return "; what is installed in .venv is there for .venv/bin/python, not for this python3"
