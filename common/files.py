"""The files that a run leaves behind: written whole, or not at all, wherever that can be had.

    a file, or none yet     written under a name of its own beside it, which takes its name when it is complete;
                            links are followed, and the mode stays what it was
    no rename to be had     (mounted by itself, a folder that takes no new file) the file itself is written
    no file                 (/dev/stdout, a FIFO, a device) written to as it is, without waiting for a reader

A disk that is full, or a reader that is not there, costs one line on stderr and the exit status, never the run.
"""

import contextlib
import errno
import fcntl
import logging
import os
import re
import secrets
import select
import shutil
import stat
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol, Self

from common.outflow import Outflow

logger = logging.getLogger(__name__)

PATIENCE = 1.0  # s at the end for a reader to take the rest
NO_PART = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG)  # why a folder takes no new file beside another
OWN_DESCRIPTOR = re.compile(r"/dev/(?:fd/(\d{1,6})|std(?:out|err))|/proc/self/fd/(\d{1,6})", re.ASCII)


# --- At the start --------------------------------------------------------------------------------


def check_writable(path: Path) -> None:
    """Check that a file can be written, as far as that can be told before it is.

    Raises:
        ValueError: it cannot; the text says why.
    """
    try:
        folder = path.resolve().parent
        if path.is_dir():
            raise ValueError("is a folder")
        if not folder.is_dir():
            raise ValueError(f"there is no folder {folder}")
        writable = os.access(path, os.W_OK) if path.exists() else os.access(folder, os.W_OK | os.X_OK)
    except OSError as error:
        raise ValueError(error.strerror) from None
    except RuntimeError:
        raise ValueError("is a link that leads to itself") from None
    if not writable:
        raise ValueError("no permission to write it")


def replaces(path: Path) -> bool:
    """Return whether writing a file takes the place of what is in it now."""
    return is_plain(path) and path.exists() and path.stat().st_size > 0


def is_plain(path: Path) -> bool:
    """Return whether a name is a file's, or nobody's yet: no device, FIFO or descriptor of this process."""
    return OWN_DESCRIPTOR.fullmatch(str(path)) is None and (path.is_file() or not path.exists())


# --- Whole files ---------------------------------------------------------------------------------


class WholeFile:
    """A text file that appears under its name when it is closed in order, complete.

    `failed` says that it could not be written; it has been told in one line by then, and every further
    write is passed over.
    """

    def __init__(self, path: Path) -> None:
        self.failed = False
        self._path = path
        self._sink: _Sink | None = None
        try:
            self._sink = _open(path)
        except OSError as error:
            self._fail(error)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._discard()

    def write(self, text: str) -> None:
        """Write text, as a file does."""
        if self._sink is None:
            return
        try:
            self._sink.write(text.encode())
        except OSError as error:
            self._fail(error)

    def flush(self) -> None:
        """Let what is written so far outlive this process."""
        if self._sink is None:
            return
        try:
            self._sink.flush()
        except OSError as error:
            self._fail(error)

    def close(self) -> None:
        """Give the file its name. Does nothing the second time."""
        if self._sink is None:
            return
        try:
            self._sink.finish()
        except OSError as error:
            self._fail(error)
        self._discard()

    def _fail(self, error: OSError) -> None:
        self.failed = True
        logger.error("cannot write %s: %s", self._path, error.strerror or error)
        self._discard()

    def _discard(self) -> None:
        sink, self._sink = self._sink, None
        if sink is not None:
            with contextlib.suppress(OSError):  # closing flushes, and fails again where the disk is full
                sink.close()


class Draft:
    """What a file would be by now, beside its place, for whoever asks for it when this process was killed.

    The one before goes when the next is there, so one of them is whole. Where there can be none there is none.

    Args:
        path: of the file that will be.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._part: _Part | None = None

    def write(self, text: str) -> None:
        """Keep a text instead of the one before."""
        if not is_plain(self._path):
            return
        with contextlib.suppress(OSError):
            part = _Part(self._path.resolve())
            try:
                part.write(text.encode())
                part.flush()
            except OSError:
                part.close()
                raise
            self.close()
            self._part = part

    def close(self) -> None:
        """Keep it no longer. Does nothing the second time."""
        part, self._part = self._part, None
        if part is not None:
            part.close()


def drafts_of(path: Path, after: int = 0) -> list[Path]:
    """Return what is there of a file that is not finished, or never was, and changed after a time (ns): newest first.

    Each may be gone by the time that it is asked for: who writes it has begun the next one, or ended.
    """
    pattern = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]+\.part")
    while True:
        try:
            found = [(each.lstat().st_mtime_ns, each) for each in path.parent.iterdir() if pattern.fullmatch(each.name)]
        except FileNotFoundError:  # one of them, just now; or the folder
            if path.parent.exists():
                continue
            return []
        except OSError:
            return []
        return [each for changed, each in sorted(found, reverse=True) if changed > after]


class _Sink(Protocol):
    """Where the bytes of a file go. All may raise OSError."""

    def write(self, data: bytes) -> None:
        """Write bytes."""

    def flush(self) -> None:
        """Leave nothing in this process."""

    def finish(self) -> None:
        """Write what is left, and make it last; once, before `close`."""

    def close(self) -> None:
        """Free everything."""


def _open(path: Path) -> _Sink:
    """Open what stands behind a name, as it has to be written.

    Raises:
        OSError: it cannot be opened.
    """
    if (own := OWN_DESCRIPTOR.fullmatch(str(path))) is not None:
        number = own[1] or own[2] or {"/dev/stdout": 1, "/dev/stderr": 2}[str(path)]
        return _Special(os.dup(int(number)))  # opened by its name, a file that it leads to would begin again
    if path.exists() and not path.is_file():
        return _open_special(path)
    target = path.resolve()
    try:
        return _Part(target)
    except OSError as error:
        if error.errno not in NO_PART or not target.exists():
            raise
        return _InPlace(target)


def _open_special(path: Path) -> "_Special":
    """Open a FIFO or a device.

    Raises:
        OSError: it cannot be opened.
    """
    flags = os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    return _Fifo(path, flags) if path.is_fifo() else _Special(os.open(path, os.O_WRONLY | flags))


class _Special:
    """What is no file: written to as it is."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._outflow = Outflow(descriptor)

    def write(self, data: bytes) -> None:
        self._outflow.write(data)
        if self._outflow.left_out:
            raise OSError("nobody reads it")

    def flush(self) -> None:
        """Do nothing: what is not out by now waits for its reader."""

    def finish(self) -> None:
        if not self._outflow.finish(PATIENCE):
            raise OSError("nobody reads it")

    def close(self) -> None:
        os.close(self._descriptor)


class _Fifo(_Special):
    """A FIFO, whose reader may come later: we have an end to read from until then, so it keeps what is written."""

    def __init__(self, path: Path, flags: int) -> None:
        super().__init__(os.open(path, os.O_RDWR | flags))  # opens at once, as Linux has it
        self._path, self._flags = path, flags

    def finish(self) -> None:
        super().finish()
        writing = os.open(self._path, os.O_WRONLY | self._flags)
        self.close()  # the last end to read from, if nobody has come
        self._descriptor = writing
        poll = select.poll()
        poll.register(writing, select.POLLOUT)
        if any(event & select.POLLERR for _, event in poll.poll(0)):
            raise OSError("nobody reads it")


class _InPlace:
    """A file that no other can take the place of."""

    def __init__(self, target: Path) -> None:
        self._file = target.open("wb")

    def write(self, data: bytes) -> None:
        self._file.write(data)

    def flush(self) -> None:
        self._file.flush()

    def finish(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


class _Part:
    """A file under a name of its own, which takes the place of `target` when it is finished.

    It is locked while it is being written: one that is not was left behind by a process that was killed.
    """

    def __init__(self, target: Path) -> None:
        _clear_parts(target)
        self._target = target
        self._part, self._file = _create_part(target)
        try:
            self._take_mode()
        except OSError:
            self.close()
            raise

    def _take_mode(self) -> None:
        """Take the mode of the file whose place it takes, and its owner as far as one may."""
        with contextlib.suppress(FileNotFoundError):
            old = self._target.stat()
            with contextlib.suppress(PermissionError):
                os.fchown(self._file.fileno(), old.st_uid, old.st_gid)
            os.fchmod(self._file.fileno(), stat.S_IMODE(old.st_mode))

    def write(self, data: bytes) -> None:
        self._file.write(data)

    def flush(self) -> None:
        self._file.flush()

    def finish(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        try:
            self._part.replace(self._target)
        except OSError:  # mounted by itself, for one
            with self._part.open("rb") as whole, self._target.open("wb") as place:
                shutil.copyfileobj(whole, place)
                place.flush()
                os.fsync(place.fileno())

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._part.unlink()  # there is none any more after a rename
        self._file.close()


def _create_part(target: Path) -> tuple[Path, BinaryIO]:
    """Return a new file beside `target`, locked."""
    while True:
        path = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
        file = path.open("xb")
        fcntl.flock(file, fcntl.LOCK_EX)
        if path.exists():  # and was not cleared away before it was locked
            return path, file
        file.close()


def _clear_parts(target: Path) -> None:
    """Delete what processes that were killed have left of the same file."""
    for path in drafts_of(target):
        with contextlib.suppress(OSError), path.open("rb") as left:
            fcntl.flock(left, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
