"""One command at a time for what is shared: a cluster, a kubeconfig, a network, the root's folder.

The locks lie in the user's home folder and not in the project's, because copies of the project share those things too.
Not in $XDG_RUNTIME_DIR or $TMPDIR: which folder that is, or whether there is one, differs between two terminals of the
same user. A lock's file goes with the lock. What it holds is for the one who waits; the kernel frees the lock of a
process that is killed. (The package filelock would take a second file for the holder, and save ten lines.)
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from tasks.core import setting_types
from tasks.core.console import say
from tasks.core.templates import short_hash
from tasks.core.well_known import MANAGER

PAUSE_SECONDS = 0.2

UNKNOWN_SECONDS = 1
"""How long a holder may take to write down who it is."""


@contextmanager
def hold(kind: str, thing: str | Path, command: str, pause: Callable[[float], None]) -> Iterator[None]:
    """Hold the lock of a thing, such as `cluster`, `cl1`. Whoever comes second waits, and is told for whom.

    `command` is what the next one is told; `pause` waits, and may end the waiting by an error.
    """
    file, told, since = lock_file(kind, thing), False, time.monotonic()
    while (lock := take(file)) is None:
        holder = read_holder(file)
        known = bool(holder) or time.monotonic() - since > UNKNOWN_SECONDS
        if known and not told and holder.get("process") != os.getpid():  # steps of one command are soon done with it
            say(f"{kind} {thing} is in use by {describe(holder)}. Waiting for it to finish.")
            told = True
        pause(PAUSE_SECONDS)
    with lock:
        json.dump({"command": command, "process": os.getpid(), "folder": str(setting_types.PROJECT)}, lock)
        lock.flush()
        try:
            yield
        finally:
            file.unlink(missing_ok=True)


def lock_file(kind: str, thing: str | Path) -> Path:
    name = thing if isinstance(thing, str) else short_hash(str(thing.resolve()))
    return folder() / f"{kind.replace(' ', '-')}-{name}.lock"


def folder() -> Path:
    return Path.home() / ".cache" / MANAGER


def take(file: Path) -> TextIO | None:
    """The file, opened and locked; None while another one has it, or when it is being removed."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = file.open("a+", encoding="utf-8")
    except (FileNotFoundError, FileExistsError):
        if file.parent.exists() and not file.parent.is_dir():
            raise
        return None
    with suppress(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(lock.fileno()).st_nlink:
            lock.truncate(0)
            return lock
    lock.close()
    return None


def remove_leftovers() -> None:
    """Remove what killed commands have left, and the folder if no lock is held."""
    for file in folder().glob("*.lock"):
        if lock := take(file):
            with lock:
                file.unlink(missing_ok=True)
    with suppress(OSError):
        folder().rmdir()


def read_holder(file: Path) -> dict[str, object]:
    with suppress(OSError, ValueError):
        found = json.loads(file.read_text(encoding="utf-8"))
        if isinstance(found, dict):
            return found
    return {}


def describe(holder: dict[str, object]) -> str:
    if not holder:
        return "another command"
    return "`{command}` (process {process}, in {folder})".format(**holder)
