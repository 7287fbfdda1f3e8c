"""common/files.py: what a run leaves behind is whole, wherever it is written, and nothing else stays."""

import errno
import logging
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from common import files
from common.files import Draft, WholeFile, check_writable, drafts_of
from common.outflow import MAX_WAITING
from tools.procfs import ROOT


def write(path: Path, text: str = "whole\n") -> bool:
    """Write a file; return whether that went well."""
    with WholeFile(path) as file:
        file.write(text)
    return not file.failed


def test_whole_file_appears_when_it_is_closed(tmp_path: Path) -> None:
    """Until then there is nothing under its name; then there is everything, and nothing else."""
    path = tmp_path / "out.txt"
    with WholeFile(path) as file:
        file.write("one\n")
        file.write("zwölf\n")
        assert not path.exists()
    assert path.read_bytes() == "one\nzwölf\n".encode()
    assert list(tmp_path.iterdir()) == [path]
    assert not file.failed


def test_whole_file_leaves_the_old_one_until_it_is_whole(tmp_path: Path) -> None:
    """What was there before is there until the new one takes its place."""
    path = tmp_path / "out.txt"
    path.write_text("old")
    file = WholeFile(path)
    file.write("new")
    assert path.read_text() == "old"
    file.close()
    assert path.read_text() == "new"


def test_whole_file_is_not_there_after_an_exception(tmp_path: Path) -> None:
    """A block that fails leaves the old file, no part of the new one, and its exception goes on."""
    path = tmp_path / "out.txt"
    path.write_text("old")

    def fail() -> None:
        with WholeFile(path) as file:
            file.write("new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_whole_file_close_is_harmless_twice(tmp_path: Path) -> None:
    """A second close, or a write after the first, changes nothing."""
    path = tmp_path / "out.txt"
    file = WholeFile(path)
    file.write("whole")
    file.close()
    file.close()
    file.write("more")
    file.close()
    assert path.read_text() == "whole"
    assert not file.failed


@pytest.mark.parametrize("when", ["write", "close"])
@pytest.mark.usefixtures("full_disk")
def test_whole_file_on_a_full_disk_is_not_there(tmp_path: Path, when: str, caplog: pytest.LogCaptureFixture) -> None:
    """A disk that is full is told in one line, leaves nothing behind, and never raises."""
    path = tmp_path / "out.txt"
    file = WholeFile(path)
    for _ in range(10 if when == "write" else 1):
        file.write("x" * (100_000 if when == "write" else 1))
    assert file.failed == (when == "write")
    file.close()
    file.close()
    assert file.failed
    assert list(tmp_path.iterdir()) == []
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert str(path) in caplog.text
    assert os.strerror(errno.ENOSPC) in caplog.text


@pytest.mark.parametrize("place", ["no/such/folder/out.txt", "file/out.txt", "folder"])
def test_whole_file_that_cannot_be_written_is_told(
    tmp_path: Path, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A folder that is not there, or that is none, or a name that a folder has, costs one line and no exception."""
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    before = sorted(tmp_path.iterdir())
    with WholeFile(tmp_path / place) as file:
        file.write("new")
    assert file.failed
    assert len(caplog.records) == 1
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_whole_file_in_a_folder_without_permission_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """So does a folder that one may not write to."""
    tmp_path.chmod(0o500)
    with WholeFile(tmp_path / "out.txt") as file:
        file.write("new")
    tmp_path.chmod(0o700)
    assert file.failed
    assert len(caplog.records) == 1


def test_whole_file_follows_links_and_keeps_the_mode(tmp_path: Path) -> None:
    """A link stays a link, its target gets the text, and who may read it stays as it was."""
    target, link = tmp_path / "deep" / "target", tmp_path / "link"
    target.parent.mkdir()
    target.write_text("old")
    target.chmod(0o600)
    link.symlink_to(target)
    assert write(link)
    assert link.is_symlink()
    assert target.read_text() == "whole\n"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert list(target.parent.iterdir()) == [target]


def test_whole_file_through_a_link_that_leads_nowhere_makes_its_target(tmp_path: Path) -> None:
    """The file that a link names and that is not there yet is there afterwards."""
    (tmp_path / "link").symlink_to("target")
    assert write(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text() == "whole\n"


def test_whole_file_writes_a_device_as_it_is(tmp_path: Path) -> None:
    """/dev/null is a device before and after."""
    assert write(Path("/dev/null"))
    assert Path("/dev/null").is_char_device()


def test_whole_file_on_a_full_device_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """A device that takes nothing costs one line."""
    assert not write(Path("/dev/full"))
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert os.strerror(errno.ENOSPC) in caplog.text


def test_whole_file_writes_to_who_reads_a_fifo(tmp_path: Path) -> None:
    """A FIFO is one before and after; its reader, who may come late, gets everything and then the end."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    with WholeFile(path) as file:
        file.write("one\n")
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        file.write("two\n")
    assert path.is_fifo()
    with os.fdopen(reader) as reading:
        assert reading.read() == "one\ntwo\n"
    assert not file.failed


@pytest.mark.parametrize("count", [1, 40])
def test_whole_file_waits_for_nobody_who_does_not_read_a_fifo(
    tmp_path: Path, count: int, caplog: pytest.LogCaptureFixture
) -> None:
    """A FIFO that nobody reads is told in one line, be there little or much for it, and holds nobody up."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    with WholeFile(path) as file:
        for _ in range(count):
            file.write("x" * (MAX_WAITING // 10))
    assert file.failed
    assert [record.getMessage() for record in caplog.records] == [f"cannot write {path}: nobody reads it"]


@pytest.mark.parametrize("name", ["/dev/stdout", "/proc/self/fd/1", "/dev/fd/1"])
def test_whole_file_goes_to_stdout_without_beginning_it_again(tmp_path: Path, name: str) -> None:
    """What stdout leads to keeps what was printed before, and gets what is printed behind."""
    program = (
        "import sys; from pathlib import Path; from common.files import WholeFile; print('before', flush=True)\n"
        f"with WholeFile(Path('{name}')) as file: file.write('whole\\n')\n"
        "print('behind'); sys.exit(file.failed)"
    )
    path = tmp_path / "out"
    with path.open("w") as out:
        subprocess.run([sys.executable, "-c", program], cwd=ROOT, stdout=out, check=True)
    assert path.read_text() == "before\nwhole\nbehind\n"
    assert list(tmp_path.iterdir()) == [path]


def refuse(*_: object) -> None:
    """Stand for a file that is mounted by itself."""
    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))


def test_whole_file_that_cannot_be_replaced_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the rename is refused, as of a file that is mounted by itself, the file itself gets the text."""
    monkeypatch.setattr(Path, "replace", refuse)
    path = tmp_path / "mounted"
    path.write_text("something that was longer\n")
    inode = path.stat().st_ino
    assert write(path)
    assert (path.read_text(), path.stat().st_ino) == ("whole\n", inode)
    assert list(tmp_path.iterdir()) == [path]


def test_whole_file_in_a_folder_that_takes_no_other_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file on a root that is read-only and is itself writable (docker run --read-only -v f:/f) gets the text."""
    real = Path.open

    def read_only(self: Path, mode: str = "r", *rest: object, **options: object) -> object:
        if self.suffix == ".part":
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return real(self, mode, *rest, **options)  # type: ignore[call-overload]  # as they came

    monkeypatch.setattr(Path, "open", read_only)
    path = tmp_path / "mounted"
    path.write_text("something that was longer\n")
    assert write(path)
    assert path.read_text() == "whole\n"
    assert not write(tmp_path / "new")


def test_whole_file_with_a_name_as_long_as_can_be(tmp_path: Path) -> None:
    """A name that leaves no room for another beside it is written all the same, if it is there."""
    path = tmp_path / ("x" * 255)
    path.touch()
    assert write(path)
    assert path.read_text() == "whole\n"


@pytest.mark.root
def test_whole_file_that_is_mounted_by_itself_is_written(tmp_path: Path) -> None:
    """The kernel's own EBUSY: a file that is a mount of its own gets the text."""
    (tmp_path / "outside").write_text("old\n")
    (tmp_path / "inside").touch()
    program = (
        "import sys; from pathlib import Path; from common.files import WholeFile\n"
        f"with WholeFile(Path('{tmp_path}/inside')) as file: file.write('whole\\n')\n"
        "sys.exit(file.failed)"
    )
    script = f'mount --bind {tmp_path}/outside {tmp_path}/inside && exec "{sys.executable}" -c "$0"'
    subprocess.run(["unshare", "--mount", "sh", "-c", script, program], cwd=ROOT, check=True)
    assert (tmp_path / "outside").read_text() == "whole\n"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["inside", "outside"]


def test_whole_file_clears_what_the_dead_left_and_nothing_else(tmp_path: Path) -> None:
    """A part whose process was killed goes when the file is written again; one that is being written stays."""
    path = tmp_path / "out.csv"
    program = (
        "import os, signal; from pathlib import Path; from common.files import WholeFile\n"
        f"file = WholeFile(Path('{path}')); file.write('half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 1
    other = tmp_path / ".other.csv.1234.part"
    other.touch()
    first = WholeFile(path)
    first.write("first\n")
    assert len(list(tmp_path.iterdir())) == 2
    assert write(path, "second\n")
    first.close()
    assert not first.failed
    assert path.read_text() == "first\n"
    assert sorted(tmp_path.iterdir()) == [other, path]


def test_what_was_flushed_outlives_a_kill_and_so_does_the_newest_draft(tmp_path: Path) -> None:
    """A process that is killed leaves both under names of their own, for whoever knows the file's."""
    table, told = tmp_path / "out.csv", tmp_path / "told.json"
    program = (
        "import os, signal; from pathlib import Path; from common.files import Draft, WholeFile\n"
        f"file, draft = WholeFile(Path('{table}')), Draft(Path('{told}'))\n"
        "file.write('one\\n'); file.flush(); draft.write('first, long'); draft.write('second')\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False)
    assert [path.read_text() for path in drafts_of(table)] == ["one\n"]
    assert [path.read_text() for path in drafts_of(told)] == ["second"]
    draft = Draft(told)
    draft.write("third")
    draft.close()
    draft.close()
    assert [path.name for path in tmp_path.iterdir()] == [drafts_of(table)[0].name]


@pytest.mark.usefixtures("full_disk")
def test_draft_on_a_full_disk_is_none(tmp_path: Path) -> None:
    """It costs nothing and leaves nothing: that the file cannot be written is told when it is."""
    draft = Draft(tmp_path / "told.json")
    draft.write("x" * 100)
    draft.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda folder: folder, "is a folder"),
        (lambda folder: folder / "no" / "file", "there is no folder"),
        (lambda folder: Path("/"), "is a folder"),
        (lambda folder: folder / ("x" * 300), os.strerror(errno.ENAMETOOLONG)),
        (lambda folder: folder / "file" / "file", "there is no folder"),
        (lambda folder: folder / "around", "leads to itself"),
        (lambda folder: folder / "astray", "there is no folder"),
    ],
)
def test_check_writable_says_why_not(tmp_path: Path, make: Callable[[Path], Path], reason: str) -> None:
    """What cannot become a file is known before the run."""
    (tmp_path / "file").touch()
    (tmp_path / "around").symlink_to("around")
    (tmp_path / "astray").symlink_to("no/file")
    with pytest.raises(ValueError, match=reason):
        check_writable(make(tmp_path))


def test_check_writable_takes_what_can_be_written(tmp_path: Path) -> None:
    """A new file, an old one, a device and a FIFO pass, and nothing is made of it."""
    (tmp_path / "old").touch()
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "new", tmp_path / "old", Path("/dev/null"), tmp_path / "fifo"):
        check_writable(path)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["fifo", "old"]


def test_is_plain_knows_what_is_no_file(tmp_path: Path) -> None:
    """Only a file, or what is not there yet, can be replaced and sought in."""
    os.mkfifo(tmp_path / "fifo")
    assert files.is_plain(tmp_path / "new")
    assert not any(files.is_plain(Path(each)) for each in (tmp_path / "fifo", "/dev/null", "/dev/stdout"))
