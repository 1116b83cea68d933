"""The current user's roots of Windows, from Linux inside of it (WSL), through programs of Windows."""

from __future__ import annotations

from pathlib import Path

from tasks.ca.probe_leaves import Leaf
from tasks.ca.root import RootCA
from tasks.core.operating_system import is_macos, is_wsl
from tasks.core.progress import say
from tasks.core.setting_types import PROJECT
from tasks.core.shell import Shell

ENFORCES_CONSTRAINTS = True

PLACE = "Windows, for you (CurrentUser\\Root)"


ADD = ("certutil.exe", "-user", "-addstore", "Root")


VERIFY = PROJECT / "templates" / "trust" / "windows-verify.ps1"


def places(shell: Shell) -> list[str]:
    # A container below WSL has its kernel, but not this program, and no Windows of its own.
    return [PLACE] if not is_macos(shell) and is_wsl(shell) and shell.find("wslpath") else []


def missing(shell: Shell, certificate: Path) -> str:
    if shell.find("certutil.exe") and shell.find("powershell.exe"):
        return ""
    return ("no program of Windows runs here ([interop] in /etc/wsl.conf). In PowerShell on Windows, type:\n    "
            + in_powershell(shell, certificate))


def accepts(shell: Shell, place: str, leaf: Leaf) -> bool:
    """Whether Windows builds a chain for the leaf; its name is not compared."""
    if not shell.find("powershell.exe"):
        return False
    return bool(shell.look("powershell.exe", "-NoProfile", "-NonInteractive", "-ExecutionPolicy", "Bypass",
                           "-File", windows_path(shell, VERIFY), windows_path(shell, leaf.file)).ok)


def install(shell: Shell, place: str, roots: list[RootCA]) -> None:
    """Windows may ask a person, so it may be refused: the next run tries again.

    https://learn.microsoft.com/windows-server/administration/windows-commands/certutil#-addstore
    """
    for root in roots:
        if not shell.dry:
            say(f"Windows may ask in a window of its own: answer Yes. This is the same as, in PowerShell:\n"
                f"    {in_powershell(shell, root.files.certificate)}")
        shell.change(*ADD, windows_path(shell, root.files.certificate),
                     hint="Was the question refused? Try again with: inv trust")


def found(shell: Shell, place: str, roots: list[RootCA]) -> list[str]:
    """The SHA-1 of those roots at hand that Windows has: it knows an entry by that."""
    if not shell.find("certutil.exe"):
        return []
    return [root.sha1 for root in roots if shell.look("certutil.exe", "-user", "-store", "Root", root.sha1).ok]


def entry(shell: Shell, place: str, root: RootCA) -> str:
    return "".join(found(shell, place, [root]))


def certificate(shell: Shell, place: str, entry: str) -> str:
    """Not told: only roots whose files are at hand are found here."""
    return ""


def remove(shell: Shell, place: str, entries: list[str]) -> None:
    for entry in entries:
        if not shell.dry:
            say("Windows may ask in a window of its own: answer Yes.")
        shell.change("certutil.exe", "-user", "-delstore", "Root", entry,
                     hint="Was the question refused? Try again with: inv untrust")


def in_powershell(shell: Shell, certificate: Path) -> str:
    path = windows_path(shell, certificate).replace("'", "''")
    return f"{' '.join(ADD)} '{path}'"


def windows_path(shell: Shell, file: Path) -> str:
    return shell.look("wslpath", "-w", str(file)).stdout.strip()
