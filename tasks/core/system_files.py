"""This machine: which system it is, and the files that these tasks write outside of their own folders.

Each such file begins with a line that says so and holds a hash of the rest. So they are found again without a list of
them, and one that somebody has changed since is neither overwritten nor removed.
"""

from __future__ import annotations

import re
from pathlib import Path

from invoke import Exit

from tasks.core.shell import Shell
from tasks.core.templates import short_hash
from tasks.core.well_known import MARKER
from tasks.core.work_files import work_file

ROOT = Path("/")
"""Where the system's files begin; tests choose another folder."""

NOT_OURS = {
    "foreign": "exists but was not created by these tasks",
    "changed": "was changed after these tasks created it",
}
"""States of a file in which it is neither overwritten nor removed."""


def seal(text: str) -> str:
    """The text below a first line by which `state` knows it again."""
    return f"{MARKER}, sha256 {short_hash(text)}\n{text}"


def state(file: Path) -> str:
    """`none`, `ours`, `changed` (ours, but somebody has changed it), or `foreign`."""
    try:
        first, _, rest = file.read_text(encoding="utf-8", errors="replace").partition("\n")
    except (FileNotFoundError, NotADirectoryError):
        return "none"
    except OSError:  # a folder, or a file that only others may read
        return "foreign"
    sealed = re.fullmatch(rf"{re.escape(MARKER)}, sha256 ([0-9a-f]+)", first)
    if not sealed:
        return "foreign"
    return "ours" if sealed[1] == short_hash(rest) else "changed"


def own_files(*files: Path) -> list[Path]:
    """Those of the files that these tasks wrote, also where somebody has changed them since."""
    return [file for file in files if state(file) in ("ours", "changed")]


def holds(file: Path, text: str) -> bool:
    return state(file) == "ours" and file.read_text(encoding="utf-8") == seal(text)


def refuse_foreign(*files: Path) -> None:
    """Exit names the files of these that are not ours to write."""
    others = [f"{file} {NOT_OURS[found]}." for file in files if (found := state(file)) in NOT_OURS]
    if others:
        it = "it" if len(others) == 1 else "them"
        raise Exit("\n".join([*others, f"Check {it}, move {it} away, then run this task again."]))


def stage(shell: Shell, file: Path, text: str) -> Path:
    """Write the sealed text to .work/, from where root brings it to its place. Not under --dry."""
    copy = work_file(f"host{file}")
    if not shell.stages_files:
        shell.note(f"write {copy}")
        return copy
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_text(seal(text), encoding="utf-8")
    return copy


def install(shell: Shell, file: Path, text: str, why: str) -> bool:
    """Bring the text to this file as root; False when it is there already. Exit when the file is not ours."""
    refuse_foreign(file)
    if holds(file, text):
        return False
    if not file.parent.is_dir():
        shell.sudo("mkdir", "-p", "-m", "0755", str(file.parent), why=why)
    # Not cp: sudo keeps a umask of 077, and then the next run could not read what is there.
    shell.sudo("install", "-m", "0644", str(stage(shell, file, text)), str(file), why=why)
    return True


def remove(shell: Shell, file: Path, why: str) -> bool:
    """Remove a file of ours as root; False when there is none. Exit when somebody has changed it."""
    if state(file) in ("none", "foreign"):
        return False
    refuse_foreign(file)
    shell.sudo("rm", str(file), why=why)
    return True


def remove_if_empty(shell: Shell, file: Path) -> None:
    """Remove the folder of a file that is gone, or under --dry would be; also where an earlier run has left it."""
    if file.parent.is_dir() and [*file.parent.iterdir()] in ([], [file]):
        shell.sudo("rmdir", str(file.parent), why="leave no empty folder")
