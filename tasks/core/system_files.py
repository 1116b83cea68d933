"""The files that these tasks write outside their own folders.

Each begins with a marker line that contains a hash of the rest. So they are found again without a list, and a file that
was edited since is neither overwritten nor removed.
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
"""The root of the file system; tests use another folder."""

NOT_OURS = {
    "foreign": "exists but was not created by these tasks",
    "changed": "was changed after these tasks created it",
}
"""States in which a file is neither overwritten nor removed."""


def seal(text: str) -> str:
    """The text, below a first line by which `state` recognizes it."""
    return f"{MARKER}, sha256 {short_hash(text)}\n{text}"


def state(file: Path) -> str:
    """`none`, `ours`, `changed` (ours, but edited since), or `foreign`."""
    try:
        first, _, rest = file.read_text(encoding="utf-8", errors="replace").partition("\n")
    except (FileNotFoundError, NotADirectoryError):
        return "none"
    except OSError:  # a folder, or a file that only another user may read
        return "foreign"
    sealed = re.fullmatch(rf"{re.escape(MARKER)}, sha256 ([0-9a-f]+)", first)
    if not sealed:
        return "foreign"
    return "ours" if sealed[1] == short_hash(rest) else "changed"


def own_files(*files: Path) -> list[Path]:
    """The files that these tasks wrote, even if they were edited since."""
    return [file for file in files if state(file) in ("ours", "changed")]


def holds(file: Path, text: str) -> bool:
    return state(file) == "ours" and file.read_text(encoding="utf-8") == seal(text)


def refuse_foreign(*files: Path) -> None:
    """Exit with the files that these tasks may not overwrite, if there are any."""
    foreign = [f"{file} {NOT_OURS[found]}." for file in files if (found := state(file)) in NOT_OURS]
    if foreign:
        it = "it" if len(foreign) == 1 else "them"
        raise Exit("\n".join([*foreign, f"Check {it}, move {it} away, then run this task again."]))


def stage(shell: Shell, file: Path, text: str, sealed: bool = True) -> Path:
    """Write the text to .work/, from where root installs it. Not under --dry."""
    copy = work_file(f"host{file}")
    if not shell.stages_files:
        shell.note(f"write {copy}")
        return copy
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_text(seal(text) if sealed else text, encoding="utf-8")
    return copy


def install(shell: Shell, file: Path, text: str, why: str) -> bool:
    """Write the text to this file as root. False if the file already has it. Exit if the file is not ours."""
    refuse_foreign(file)
    if holds(file, text):
        return False
    if not file.parent.is_dir():
        shell.sudo("mkdir", "-p", "-m", "0755", str(file.parent), why=why)
    # Not cp, because sudo keeps a umask of 077, and the next run could not read the file.
    shell.sudo("install", "-m", "0644", str(stage(shell, file, text)), str(file), why=why)
    return True


def remove(shell: Shell, file: Path, why: str) -> bool:
    """Remove our file as root. False if there is none. Exit if it was edited since."""
    if state(file) in ("none", "foreign"):
        return False
    refuse_foreign(file)
    shell.sudo("rm", str(file), why=why)
    return True
