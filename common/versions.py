"""The versions of what a program runs on, for whoever has to know what a run was made with."""

import platform
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("aiortc", "aioice", "av", "numpy", "opencv-python", "opencv-python-headless")


def versions() -> dict[str, str]:
    """Return the version of Python, and of each of PACKAGES that is here."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
