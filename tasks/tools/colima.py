"""Colima, the Docker engine that macOS gets with Homebrew. What was installed is listed in Homebrew's own etc.

So it can be removed later, and nothing that was there before; neither needs root.
"""

from __future__ import annotations

from pathlib import Path

from tasks.core import system_files
from tasks.core.shell import Shell
from tasks.core.well_known import MANAGER
from tasks.core.work_files import write_file
from tasks.tools import packages

FORMULAS = ("colima", "docker")

SIZE = "a virtual machine with 2 processors and 4 GiB of memory, which is enough for one cluster"

START = ("colima", "start", "--cpu", "2", "--memory", "4")
"""https://github.com/abiosoft/colima#customizing-the-vm"""


def install(shell: Shell) -> None:
    with shell.step("", "Colima") as this:
        missing = tuple(name for name in FORMULAS if not has_formula(shell, name))
        if missing:
            add_to_record(shell, missing)
            shell.change("brew", "install", *missing)
        shell.change(*START)
        this.outcome = "installed and started. For more clusters: colima stop; colima start --cpu 4 --memory 8"


def has_formula(shell: Shell, name: str) -> bool:
    return bool(shell.look("brew", "list", "--versions", name).ok)


def record_file(shell: Shell) -> Path | None:
    """None without Homebrew."""
    prefix = shell.look("brew", "--prefix").stdout.strip() if shell.find("brew") else ""
    return Path(prefix) / "etc" / MANAGER / "packages" if prefix else None


def list_installed(shell: Shell) -> tuple[str, ...]:
    """The formulas that these tasks installed."""
    file = record_file(shell)
    return packages.read_record(file).packages if file else ()


def add_to_record(shell: Shell, new: tuple[str, ...]) -> None:
    """List this before it is done, so that it can be undone even after an interruption."""
    if file := record_file(shell):
        system_files.refuse_foreign(file)
        write_file(shell, file, system_files.seal(packages.render_record(packages.Record(
            tuple(dict.fromkeys([*list_installed(shell), *new]))))))


def remove(shell: Shell) -> None:
    """Remove what these tasks installed; Docker's images and volumes stay."""
    file, installed = record_file(shell), list_installed(shell)
    if not file:
        return
    with shell.step("", "packages from Homebrew") as this:
        system_files.refuse_foreign(file)
        if "colima" in installed and shell.look("colima", "status").ok:
            shell.change("colima", "stop")
        if there := [name for name in installed if has_formula(shell, name)]:
            shell.change("brew", "uninstall", *there)
        shell.change("rm", "-r", str(file.parent))
        this.outcome = "removed" + (". Docker's images and volumes stay in ~/.colima" if "colima" in installed else "")
