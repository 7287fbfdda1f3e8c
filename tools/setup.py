"""Make .venv: the environment that the programs, and with `tests` the tests, run in.

    python3 tools/setup.py [tests]

`make run` and `make test` call it; nothing but Python's standard library is needed, neither root nor a compiler.
What the machine lacks is told in one line, with what to do about it. Where OpenCV cannot be loaded, since it
wants libraries of a desktop, its build without windows takes its place, in the same version.

This file is read by whatever `python3` is, and has to get as far as telling that it is too old.
"""

from __future__ import annotations

import platform
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
OLDEST = (3, 11)

WINDOWED, HEADLESS = "opencv-python", "opencv-python-headless"
WINDOW_PACKAGES = "libgl1 libglib2.0-0"  # Debian's, tried in a minimal Debian 12: what they need comes along

# what pip says, and what to do about it; the first that fits
ADVICE = (
    (r"No space left", "make room, or move the clone"),
    (
        r"ProxyError|ConnectTimeout|NewConnection|ConnectionError|SSLError|CERTIFICATE|Max retries|Retrying",
        "the package index was not reached: set https_proxy where there is a proxy, PIP_CERT for its certificate,"
        " PIP_INDEX_URL for an index of your own",
    ),
    (
        r"No matching distribution found|Failed to build|has no wheel",
        "there is no build of it for this machine ({machine}, Python {python}): Python 3.11 to 3.13 on Linux with glibc"
        " 2.28 or newer has them all, or use the containers (compose.yaml)",
    ),
)


class SetupError(Exception):
    """The environment cannot be made; says why, and what to do."""


def main(argv: list[str] | None = None) -> int:
    """Make the environment; return the exit status."""
    arguments = sys.argv[1:] if argv is None else argv
    if arguments not in ([], ["tests"]):
        print("usage: python3 tools/setup.py [tests]", file=sys.stderr)
        return 2
    try:
        check_python(sys.version_info[:2])
        make_environment()
        if arguments:
            say("installing what the tests and checks need into .venv ...")
            install("-r", str(ROOT / "requirements-dev.txt"))
        else:
            install_requirements()
    except SetupError as error:
        print(f"set-up: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("set-up: stopped; the next make goes on", file=sys.stderr)
        return 1
    return 0


def say(line: str) -> None:
    """Tell what is being done, at once."""
    print(f"set-up: {line}", flush=True)


def check_python(version: tuple[int, ...]) -> None:
    """Refuse a Python that is too old.

    Raises:
        SetupError: it is.
    """
    if version < OLDEST:
        found, wanted = (".".join(map(str, numbers)) for numbers in (version, OLDEST))
        raise SetupError(f"Python {found} is too old, {wanted} or newer is needed: make PYTHON=python3.12 ...")


def make_environment() -> None:
    """Make .venv unless there is one that works; one that does not, since its Python is gone, is made anew.

    Raises:
        SetupError: it cannot be made.
    """
    if PYTHON.exists() and run([str(PYTHON), "-m", "pip", "--version"]).returncode == 0:
        return
    if run([sys.executable, "-c", "import ensurepip, venv"]).returncode:
        raise SetupError(
            f"{sys.executable} cannot make an environment: install Debian's package python3-venv, or take another"
            " Python: make PYTHON=python3.12 ..."
        )
    say(f"making .venv with Python {platform.python_version()}")
    made = run([sys.executable, "-m", "venv", "--clear", str(VENV)])
    if made.returncode:
        raise SetupError(f"{VENV} cannot be made: {last_line(made.stdout)}")


def install_requirements() -> None:
    """Install what running needs, with the OpenCV that this machine can load.

    Raises:
        SetupError: it cannot be installed, or no OpenCV can be loaded.
    """
    requirements = (ROOT / "requirements.txt").read_text()
    headless = version_of(HEADLESS) is not None
    if headless:
        requirements = requirements.replace(WINDOWED, HEADLESS)
    chosen = VENV / "requirements.txt"
    chosen.write_text(requirements)
    say("installing what running needs into .venv, once: some 420 MB ...")
    install("-r", str(chosen))
    reason = why_not_loaded("cv2")
    if reason and not headless:
        replace_by_headless(reason)
        reason = why_not_loaded("cv2")
    if reason:
        raise SetupError(f"OpenCV cannot be loaded: {reason}")


def replace_by_headless(reason: str) -> None:
    """Put OpenCV's build without windows in the place of the other, in the same version.

    Raises:
        SetupError: it cannot be installed.
    """
    version = version_of(WINDOWED)
    say(
        f"OpenCV's windows cannot be had here ({reason}): taking {HEADLESS} {version}, which has none;"
        f" `client.py --view web` shows a page instead. For windows: apt-get install {WINDOW_PACKAGES}; make clean"
    )
    run([str(PYTHON), "-m", "pip", "uninstall", "--yes", WINDOWED])
    install(f"{HEADLESS}=={version}")


def install(*arguments: str) -> None:
    """Let pip install something, from wheels alone: nothing is compiled here.

    Raises:
        SetupError: pip failed.
    """
    done = run(
        [
            str(PYTHON),
            "-m",
            "pip",
            "install",
            "--disable-pip-version-check",
            "--no-user",
            "--only-binary=:all:",
            *arguments,
        ]
    )
    if done.returncode:
        raise SetupError(explain(done.stdout))


def explain(output: str) -> str:
    """Return in one line why pip failed and what to do, from what it printed.

    >>> explain("ERROR: [Errno 28] No space left on device")
    'pip: [Errno 28] No space left on device: make room, or move the clone'
    """
    words = {"machine": describe_machine(), "python": platform.python_version()}
    advice = next((text.format(**words) for pattern, text in ADVICE if re.search(pattern, output)), None)
    errors = [line for line in output.splitlines() if line.startswith("ERROR:")]
    reason = (errors or [last_line(output)])[-1].replace("ERROR: ", "")
    return f"pip: {reason}" + (f": {advice}" if advice else "")


def describe_machine() -> str:
    """Return processor and C library, such as `x86_64 glibc 2.36`, or `aarch64 musl`."""
    library = " ".join(platform.libc_ver()).strip() or "musl or another C library"
    return f"{platform.machine()} {library}"


def version_of(package: str) -> str | None:
    """Return the version of a package in .venv, or None if it is not there."""
    code = f"import importlib.metadata as m; print(m.version({package!r}))"
    asked = run([str(PYTHON), "-c", code])
    return asked.stdout.strip() if asked.returncode == 0 else None


def why_not_loaded(module: str) -> str | None:
    """Return why a module cannot be imported in .venv, in one line, or None if it can."""
    tried = run([str(PYTHON), "-c", f"import {module}"])
    return last_line(tried.stdout) if tried.returncode else None


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a command and return its end, with all that it printed as stdout."""
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)


def last_line(text: str) -> str:
    """Return the last line that says something."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "it said nothing")


if __name__ == "__main__":
    sys.exit(main())
