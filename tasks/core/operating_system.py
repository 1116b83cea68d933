"""Which operating system this is."""

from __future__ import annotations

from tasks.core.shell import Shell


def is_macos(shell: Shell) -> bool:
    return shell.look("uname", "-s").stdout.strip() == "Darwin"


def is_wsl(shell: Shell) -> bool:
    """Whether this is Linux inside of Windows: https://github.com/microsoft/WSL/issues/423"""
    return "microsoft" in shell.look("uname", "-r").stdout.lower()
