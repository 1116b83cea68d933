"""The Windows roots of the current user, from Linux on Windows (WSL), with Windows programs."""

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


def find_places(shell: Shell) -> list[str]:
    # A container on WSL has its kernel, but not this program, and cannot reach Windows.
    return [PLACE] if not is_macos(shell) and is_wsl(shell) and shell.find("wslpath") else []


def check_tools(shell: Shell, certificate: Path) -> str:
    if shell.find("certutil.exe") and shell.find("powershell.exe"):
        return ""
    return ("Windows programs cannot run here ([interop] in /etc/wsl.conf). In PowerShell on Windows, run:\n    "
            + in_powershell(shell, certificate))


def accepts(shell: Shell, place: str, leaf: Leaf) -> bool:
    """Whether Windows builds a chain for the leaf. Its name is not compared."""
    if not shell.find("powershell.exe"):
        return False
    return bool(shell.look("powershell.exe", "-NoProfile", "-NonInteractive", "-ExecutionPolicy", "Bypass",
                           "-File", windows_path(shell, VERIFY), windows_path(shell, leaf.file)).ok)


def install(shell: Shell, place: str, roots: list[RootCA]) -> None:
    """Windows may ask the user to confirm this. If they decline, the next run tries again.

    https://learn.microsoft.com/windows-server/administration/windows-commands/certutil#-addstore
    """
    for root in roots:
        if not shell.dry:
            say(f"Windows may ask for confirmation in a separate window: answer Yes. The same in PowerShell:\n"
                f"    {in_powershell(shell, root.files.certificate)}")
        shell.change(*ADD, windows_path(shell, root.files.certificate),
                     hint="If you answered No, try again with: inv trust")


def list_entries(shell: Shell, place: str, roots: list[RootCA]) -> list[str]:
    """The SHA-1 of each root that Windows has. It identifies the entry."""
    if not shell.find("certutil.exe"):
        return []
    return [root.sha1 for root in roots if shell.look("certutil.exe", "-user", "-store", "Root", root.sha1).ok]


def find_entry(shell: Shell, place: str, root: RootCA) -> str:
    return "".join(list_entries(shell, place, [root]))


def read_certificate(shell: Shell, place: str, entry: str) -> str:
    """Not available: only roots whose files are present are found here."""
    return ""


def remove(shell: Shell, place: str, entries: list[str]) -> None:
    for entry in entries:
        if not shell.dry:
            say("Windows may ask for confirmation in a separate window: answer Yes.")
        shell.change("certutil.exe", "-user", "-delstore", "Root", entry,
                     hint="If you answered No, try again with: inv untrust")


def in_powershell(shell: Shell, certificate: Path) -> str:
    path = windows_path(shell, certificate).replace("'", "''")
    return f"{' '.join(ADD)} '{path}'"


def windows_path(shell: Shell, file: Path) -> str:
    return shell.look("wslpath", "-w", str(file)).stdout.strip()
