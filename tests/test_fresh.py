"""Promises of the set-up: the two commands of the README on a machine that has nothing on it yet."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.procfs import ROOT

# one worker has them all, as they share the machine
pytestmark = [pytest.mark.fresh, pytest.mark.timeout(1200), pytest.mark.xdist_group("fresh")]

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "ball-over-webrtc"
SUITE = "bookworm"  # Debian 12
PACKAGES = "python3,python3-venv,make,git,ca-certificates"  # the README's prerequisites
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
FOLDER = "/root/ball over webrtc"  # with a space in it
PASSED_ON = ("http_proxy", "https_proxy", "no_proxy", "PIP_INDEX_URL", "PIP_DEFAULT_TIMEOUT")


class Machine:
    """A minimal Debian in a folder, with a clone of this repository."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def run(self, command: str, *, network: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command in the clone and return its end; nothing that it started outlives it.

        Args:
            command: for the shell.
            network: whether there is one.
        """
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "PIP_CERT": CERTIFICATES}
        environment |= {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        mounts = " && ".join(  # the root is a mount itself, as a machine's is: some tests mount in it
            (
                'mount --bind "$0" "$0"',
                'mount -t proc proc "$0/proc"',
                'mount -t tmpfs tmpfs "$0/dev/shm"',
                'mount -t devpts devpts "$0/dev/pts"',
                'mount --bind "$1" "$0/root/.cache"',
                'exec chroot "$0" sh -c "cd \'$2\' && $3"',
            )
        )
        isolated = ["unshare", "--mount", "--pid", "--fork", "--kill-child", *([] if network else ["--net"])]
        return subprocess.run(
            [*isolated, "sh", "-c", mounts, str(self.root), str(CACHE), FOLDER, command],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )


def install_debian() -> Path:
    """Return a tar of a minimal Debian, made by debootstrap unless an earlier run has left it."""
    packed = CACHE / f"{SUITE}.tar"
    if not packed.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        folder = CACHE / f"{SUITE}.{os.getpid()}"
        try:
            command = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, str(folder)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
            subprocess.run(["tar", "-C", folder, "-cf", packed.with_suffix(".part"), "."], check=True)
            packed.with_suffix(".part").rename(packed)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    return packed


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """Return a machine that is fresh but for what the tests before have done to it."""
    root = tmp_path_factory.mktemp("debian")
    subprocess.run(["tar", "-C", root, "-xf", install_debian()], check=True)
    clone = root / FOLDER[1:]
    subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
    changes = subprocess.run(["git", "diff", "--binary", "HEAD"], cwd=ROOT, check=True, capture_output=True).stdout
    if changes:
        subprocess.run(["git", "apply", "--index"], cwd=clone, input=changes, check=True)
        author = ("-c", "user.name=nobody", "-c", "user.email=nobody@localhost")
        subprocess.run(["git", *author, "commit", "-q", "-m", "What is not committed yet"], cwd=clone, check=True)
    (root / "root/.cache").mkdir(exist_ok=True)
    (root / "etc/hosts").write_text("127.0.0.1 localhost\n::1 localhost\n")  # debootstrap leaves it to the installer
    for source, target in (
        ("/etc/resolv.conf", "etc/resolv.conf"),
        (os.environ.get("PIP_CERT", CERTIFICATES), CERTIFICATES[1:]),
    ):
        shutil.copyfile(source, root / target)
    yield Machine(root)
    shutil.rmtree(root)


def test_make_run_scores_on_a_fresh_machine(machine: Machine) -> None:
    """`make run` sets up what running needs, says what there is in place of a window, and scores."""
    first = machine.run("make run DURATION=5")
    assert first.returncode == 0, first.stdout + first.stderr
    set_up = [line for line in first.stdout.splitlines() if line.startswith("set-up: ")]
    assert len(set_up) == 3, first.stdout
    assert "libxcb.so.1" in set_up[2]
    assert "--view web" in set_up[2]
    assert "apt-get install libgl1" in set_up[2]
    again = machine.run("HOME=/proc make run DURATION=5")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "set-up" not in again.stdout


@pytest.mark.parametrize(
    ("lacking", "network", "told"),
    [
        (
            "mv /usr/lib/python3.11/ensurepip /tmp; trap 'mv /tmp/ensurepip /usr/lib/python3.11' EXIT;",
            True,
            "python3-venv",
        ),
        ("", False, "the package index was not reached: set https_proxy"),
        ("PYTHON=python3.99;", True, "no python3.99 here: install Debian's packages python3 and python3-venv"),
    ],
    ids=["ensurepip", "network", "python"],
)
def test_make_run_names_what_is_lacking(machine: Machine, lacking: str, network: bool, told: str) -> None:
    """What the set-up needs and does not find is one line that names it, and what to do."""
    clone = f"export PYTHON=python3; {lacking} rm -rf /tmp/new; git clone -q . /tmp/new && cd /tmp/new"
    done = machine.run(f"{clone} && make run", network=network)
    assert done.returncode == 2, done.stdout + done.stderr
    errors = [line for line in done.stderr.splitlines() if not line.startswith("make: ")]
    assert len(errors) == 1, done.stderr
    assert told in errors[0]


def test_make_test_passes_on_a_fresh_machine(machine: Machine) -> None:
    """`make test` passes, without root's packages, with an OpenCV that has no windows."""
    done = machine.run("make test")
    assert done.returncode == 0, done.stdout[-20000:] + done.stderr
