"""Edit a file that other programs write too, at any moment and without a lock. No line of theirs is lost.

- The new file and the old one swap names in one system call. Then the old one is compared with what was read. If
  another program wrote in between, its version is swapped back, and the edit starts again from that.
- A file that cannot be swapped, such as the one that Docker mounts into a container, is written in place while a lease
  keeps other programs from opening it. What is only appended is appended with a single write.
- After a kill, the next run finds the old file beside the new one, and adds the lines that only the old one has.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

Change = Callable[[bytes], bytes]
"""The new content of a file, from its content."""

Merge = Callable[[bytes, bytes], bytes]
"""The new content of a file: its content, and the lines that only another one has."""

LEFTOVER = ".{name}.dev-cluster-tasks-{ending}"

CANNOT_SWAP = {errno.EBUSY, errno.EXDEV, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOSYS, errno.EINVAL,
               errno.ENOTSUP, errno.EMLINK}
"""A mounted file, a folder that cannot be written, or a system that cannot swap files."""

PATIENCE_SECONDS = 30


def edit(file: Path, change: Change, merge: Merge) -> str:
    """Apply a change to a file. Returns why it was written in place; empty if it was not.

    :raises OSError: if the file does not exist or cannot be written, or if other programs keep it busy.
    """
    file.stat()
    with one_at_a_time(file.parent):
        try:
            finish_killed_run(file, merge)
            swap(file, change, merge)
            return ""
        except OSError as error:
            if error.errno not in CANNOT_SWAP:
                raise
            why = error.strerror or str(error)
        write_in_place(file, change)
        return f"written in place, because it cannot be replaced: {why}"


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Only one run of this program edits a file in that folder. The kernel frees the lock of a killed process."""
    handle, deadline = os.open(folder, os.O_RDONLY), time.monotonic() + PATIENCE_SECONDS
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"another program keeps {folder} locked") from None
                time.sleep(0.05)
        yield
    finally:
        os.close(handle)


def swap(file: Path, change: Change, merge: Merge) -> None:
    """Write a new file, and let the two swap names, until no other program writes in between."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (file.exists() and try_to_swap(file, change, merge)):
        if time.monotonic() > deadline:
            raise TimeoutError("other programs keep changing it")
        time.sleep(0.02)


def try_to_swap(file: Path, change: Change, merge: Merge) -> bool:
    """False if another program wrote in between, or deleted the file to create it again."""
    with suppress(FileNotFoundError):
        before = file.read_bytes()
        after = change(before)
        if after == before:
            return True
        new = write_beside(file, after)
        try:
            exchange(new, file)
        except OSError:
            new.unlink()
            raise
        if new.read_bytes() == before:
            new.unlink()
            return True
        exchange(new, file)  # the other program's version is the one to start from
        if new.read_bytes() != after:  # and ours was changed too, as long as it was there
            take_lines(new, file, merge)
        new.unlink()
    return False


def write_beside(file: Path, content: bytes) -> Path:
    """A new file with mode, owner and attributes of this one. Its name has its inode: so it shows after a kill
    whether it is the new one or the old one.
    """
    if file.stat().st_nlink > 1:
        raise OSError(errno.EMLINK, "it has several names")
    unfinished = leftover(file, "unfinished")
    unfinished.unlink(missing_ok=True)
    with unfinished.open("xb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(opened.fileno())
        inode = os.fstat(opened.fileno()).st_ino
    shutil.copystat(file, unfinished)  # with the label of SELinux
    os.chown(unfinished, file.stat().st_uid, file.stat().st_gid)
    os.utime(unfinished)
    return unfinished.rename(leftover(file, str(inode)))


def leftover(file: Path, ending: str) -> Path:
    return file.with_name(LEFTOVER.format(name=file.name, ending=ending))


def finish_killed_run(file: Path, merge: Merge) -> None:
    """An old file that was not compared yet may have lines of another program that are nowhere else."""
    for left in sorted(file.parent.glob(leftover(file, "*").name)):
        if left not in (leftover(file, "unfinished"), leftover(file, str(left.stat().st_ino))):
            take_lines(left, file, merge)
        left.unlink()


def take_lines(other: Path, file: Path, merge: Merge) -> None:
    lines = other.read_bytes()
    write_in_place(file, lambda content: merge(content, lines))


def exchange(one: Path, other: Path) -> None:
    """Let two files swap names, in one step: renameat2(2) on Linux, renamex_np(2) on macOS."""
    libc = ctypes.CDLL(None, use_errno=True)
    current_folder, swap_names = -100, 2
    try:
        failed = (libc.renamex_np(bytes(one), bytes(other), swap_names) if sys.platform == "darwin" else
                  libc.renameat2(current_folder, bytes(one), current_folder, bytes(other), swap_names))
    except AttributeError:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS)) from None
    if failed:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(other))


def write_in_place(file: Path, change: Change) -> None:
    """Write only from the first byte that differs. What gets shorter is first filled with line ends, then cut."""
    handle = os.open(file, os.O_RDWR)
    try:
        with alone(handle):
            before = os.pread(handle, os.fstat(handle).st_size, 0)
            after = change(before)
            same = common_length(before, after)
            if same == len(before):
                fcntl.fcntl(handle, fcntl.F_SETFL, os.O_APPEND)
                os.write(handle, after[same:])
            else:
                os.pwrite(handle, after[same:] + b"\n" * (len(before) - len(after)), same)
                if os.fstat(handle).st_size == len(before):
                    os.ftruncate(handle, len(after))
            os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def alone(handle: int) -> Iterator[None]:
    """Keep other programs from opening the file; they wait until this ends: F_SETLEASE in fcntl(2), on Linux.

    Where there are no leases, or a program keeps the file open, the work is done all the same.
    """
    signal.signal(signal.SIGIO, signal.SIG_IGN)  # by which the kernel reports that another program waits
    deadline = time.monotonic() + 2
    while hasattr(fcntl, "F_SETLEASE"):
        try:
            fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_WRLCK)
            break
        except OSError as error:
            if error.errno != errno.EAGAIN or time.monotonic() > deadline:
                break
            time.sleep(0.05)
    yield  # closing the file ends the lease


def common_length(one: bytes, other: bytes) -> int:
    """How many bytes are the same from the beginning."""
    return next((at for at, (first, second) in enumerate(zip(one, other, strict=False)) if first != second),
                min(len(one), len(other)))
