"""Windows beside WSL: its browsers resolve the names with a block in Windows' own hosts file.

The ports need nothing. In both networking modes of WSL 2, Windows reaches what listens on 127.0.0.1 in Linux at its own
127.0.0.1: in NAT mode by localhostForwarding, which is on by default, and in mirrored mode with Docker 27.3 or newer
(https://github.com/moby/moby/issues/48056).
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from invoke import Exit

from tasks.core import copies
from tasks.core.copies import path_to_text
from tasks.core.operating_system import is_macos, is_wsl
from tasks.core.progress import say
from tasks.core.settings import Settings
from tasks.core.shell import CommandFailed, Shell
from tasks.core.templates import render
from tasks.core.work_files import work_file, write_file
from tasks.dns.edit_hosts.blocks import Block, find_blocks, with_block
from tasks.dns.hosts_file import NO_WILDCARD, list_names, names_in, text_of
from tasks.dns.resolver import is_public

WINDOWS_FILE = r"C:\Windows\System32\drivers\etc\hosts"

WRITTEN_BY_OTHERS = 3
"""The exit code of the script if the file was written since it was read."""


def find_file(shell: Shell) -> Path | None:
    """Windows' hosts file, which everybody may read; None if this is not WSL, or a container on it."""
    if is_macos(shell) or not is_wsl(shell) or not shell.find("wslpath"):
        return None
    file = Path(shell.look("wslpath", "-u", WINDOWS_FILE).stdout.strip())
    return file if file.is_file() else None


def this_copy(shell: Shell) -> str:
    """The name of this copy's block: its folder as Windows sees it, which contains the distribution."""
    return path_to_text(Path(windows_path(shell, copies.this_copy()).replace("\\", "/")))


def own_block(shell: Shell, file: Path) -> Block | None:
    name = this_copy(shell)
    return next((block for block in find_blocks(file.read_bytes()) if block.copy == name), None)


def is_outdated(shell: Shell, settings: Settings) -> bool:
    """Whether this copy has a block there, and its names differ from those of the clusters."""
    file = find_file(shell)
    block = own_block(shell, file) if file else None
    return block is not None and block.body != text_of(settings, list_names(shell, settings, names_in(block)))


def install(shell: Shell, settings: Settings) -> None:
    """Write the names, unless public DNS has them. A failure is printed: Linux needs none of this."""
    file = find_file(shell)
    if file is None or is_public(settings):
        return
    with shell.step("", "Windows' hosts file") as this:
        block = own_block(shell, file)
        names = list_names(shell, settings, names_in(block) if block else [])
        if block and block.body == text_of(settings, names) and not block.edited:
            this.skip(f"already has {len(names)} names")
        elif failure := replace(shell, file, text_of(settings, names)):
            this.warn(f"not changed. {failure}")
        else:
            this.warn(f"{len(names)} names written\n{NO_WILDCARD}")


def remove(shell: Shell) -> None:
    """Remove the block of this copy.

    :raises Exit: if it is still there.
    """
    file = find_file(shell)
    if file is None or own_block(shell, file) is None:
        return
    with shell.step("", "Windows' hosts file") as this:
        if failure := replace(shell, file, ""):
            raise Exit(f"Windows' hosts file was not changed. {failure}")
        this.outcome = "removed"


def replace(shell: Shell, file: Path, body: str) -> str:
    """Have Windows replace its file by one with this body in the block. Returns why that did not happen."""
    before = file.read_bytes()
    try:
        after = with_block(before, this_copy(shell), body)
    except ValueError as error:
        return f"In {WINDOWS_FILE}, {error}. Move your lines out of them, or delete all of them, then: inv dns"
    command = script_command(shell, after, hashlib.sha256(before).hexdigest())
    if not shell.find("powershell.exe"):
        return ("Windows programs cannot run here ([interop] in /etc/wsl.conf). In a PowerShell of an administrator on "
                f"Windows, run:\n    powershell.exe {command}")
    if not shell.dry:
        say(f"Windows asks whether this may change your device: answer Yes. It runs, as administrator:\n"
            f"    powershell.exe {command}")
    try:
        shell.change("powershell.exe", "-NoProfile", "-NonInteractive", "-Command", as_administrator(command))
    except CommandFailed as error:
        return ("Another program wrote it at the same time. Try again with: inv dns"
                if error.result.exited == WRITTEN_BY_OTHERS else
                f"If you answered No, try again with: inv dns\n{error.message}")
    return ""


def script_command(shell: Shell, content: bytes, sha256: str) -> str:
    """The arguments of PowerShell that replace the file by one with this content, if it has that hash."""
    new = work_file("windows-hosts")
    script = write_file(shell, work_file("windows-hosts.ps1"), render("dns/windows-hosts.ps1"))
    if not shell.dry:
        new.write_bytes(content)
    script_path, new_path = (windows_path(shell, path) for path in (script, new))
    return f'-NoProfile -ExecutionPolicy Bypass -File "{script_path}" -New "{new_path}" -Sha256 {sha256}'


def as_administrator(arguments: str) -> str:
    """A PowerShell command that asks for consent, runs PowerShell with these arguments, and returns its exit code."""
    quoted = arguments.replace("'", "''")
    return ("exit (Start-Process powershell.exe -Verb RunAs -Wait -PassThru -ErrorAction Stop -WindowStyle Hidden "
            f"-ArgumentList '{quoted}').ExitCode")


def windows_path(shell: Shell, path: Path) -> str:
    return shell.look("wslpath", "-w", str(path)).stdout.strip()
