"""The databases of NSS: Firefox's, one for each profile, and the one that Chrome and its relatives share on Linux.

All of it belongs to the user: nothing here needs root. `-f /dev/null` goes with every command: without it certutil
would ask the terminal for the primary password of a database that has one, and wait.
"""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from invoke import Exit
from invoke.runners import Result

from tasks.ca.probe_leaves import Leaf
from tasks.ca.root import RootCA
from tasks.core.operating_system import is_macos
from tasks.core.shell import Shell
from tasks.core.well_known import MANAGER
from tasks.core.work_files import write_file

# Below the home folder. Chromium takes the second, since version 146, where there is no folder at the first.
# https://source.chromium.org/chromium/chromium/src/+/main:crypto/nss_util_unittest.cc
CHROMIUM = (
    ".pki/nssdb",
    ".local/share/pki/nssdb",
    "snap/chromium/current/.pki/nssdb",
    "snap/chromium/current/.local/share/pki/nssdb",
    ".var/app/*/.pki/nssdb",
    ".var/app/*/data/pki/nssdb",
)


# Where profiles.ini lies, and the profiles: here, or on macOS in Profiles. The second since Firefox 147.
FIREFOX = (
    ".mozilla/firefox",
    ".config/mozilla/firefox",
    "snap/firefox/common/.mozilla/firefox",
    ".var/app/org.mozilla.firefox/.mozilla/firefox",
    ".var/app/org.mozilla.firefox/config/mozilla/firefox",
    "Library/Application Support/Firefox",
)


DATABASES = (*CHROMIUM, *(f"{folder}/{profiles}" for folder in FIREFOX for profiles in ("*", "Profiles/*")))

# A browser that has never run has no database yet.
BROWSERS = ("google-chrome", "google-chrome-stable", "chromium", "chromium-browser", "brave-browser", "microsoft-edge",
            "vivaldi")

PACKAGES = {"apt-get": "libnss3-tools", "dnf": "nss-tools", "zypper": "mozilla-nss-tools", "pacman": "nss",
            "brew": "nss"}

FILES = ("cert9.db", "key4.db", "pkcs11.txt")
"""What a database consists of: certificates, keys, and the modules that NSS loads with it."""

MADE = f"made-by-{MANAGER}"
"""The file in a folder that these tasks made, and the entry that stands for that folder."""

ENFORCES_CONSTRAINTS = True


def places(shell: Shell) -> list[str]:
    """Each database once; and Chrome's, where a browser is to find one."""
    folders = [folder for folder in candidates()
               if any(os.access(folder / name, os.R_OK) and (folder / name).is_file() for name in (FILES[0], MADE))]
    first, second = (Path.home() / folder for folder in CHROMIUM[:2])
    if (first.is_dir() or not second.is_dir()) and any(map(shell.find, BROWSERS)) and not is_macos(shell):
        folders.append(first)
    return [*{folder.resolve(): str(folder) for folder in folders}.values()]


def candidates() -> Iterator[Path]:
    for pattern in DATABASES:
        yield from sorted(Path.home().glob(pattern))
    for folder in FIREFOX:
        yield from profiles_elsewhere(Path.home() / folder / "profiles.ini")


def profiles_elsewhere(file: Path) -> Iterator[Path]:
    """The profiles that the user has put into a folder of their own choice: http://kb.mozillazine.org/Profiles.ini_file"""
    import configparser

    listed = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        listed.read(file, encoding="utf-8")
    except (configparser.Error, OSError, UnicodeDecodeError):
        return
    for section in listed.values():
        path = section.get("Path", "")
        if path.startswith("/") and "\0" not in path:
            yield Path(path)


def missing(shell: Shell, certificate: Path) -> str:
    if shell.find("certutil"):
        return ""
    packages = [package for manager, package in PACKAGES.items() if shell.find(manager)] or [*PACKAGES.values()]
    return f"certutil is not installed: it comes with the package {packages[0]}"


def accepts(shell: Shell, place: str, leaf: Leaf) -> bool:
    """Whether NSS takes the leaf for a web server; its name is not compared.

    certutil looks only at what lies in a database, so the leaf goes to a copy. That has no pkcs11.txt: a smart card's
    module would ask for a PIN.
    """
    with tempfile.TemporaryDirectory() as folder:
        for name in FILES[:2]:
            if os.access(Path(place) / name, os.R_OK):
                shutil.copy(Path(place) / name, folder)
        return (certutil(shell, folder, "-A", "-t", ",,", "-n", leaf.name, "-i", str(leaf.file)).ok
                and certutil(shell, folder, "-V", "-u", "V", "-n", leaf.name).ok)


def install(shell: Shell, place: str, roots: list[RootCA]) -> None:
    words = [("certutil", "-d", f"sql:{place}", "-A", "-t", "C,,", "-n", root.label, "-i", str(root.files.certificate))
             for root in roots]
    if not complete(Path(place)):
        make(shell, Path(place))
    elif "SEC_ERROR_BAD_PASSWORD" in certutil(shell, place, "-K").stderr and not shell.dry:
        # Without the password certutil would leave the root there, not trusted.
        raise Exit(f"{place} has a primary password, which only you can type. Run this yourself:\n"
                   + "\n".join(f"  {shlex.join(command)}" for command in words))
    for command in words:
        shell.change(*command, "-f", "/dev/null")


def complete(database: Path) -> bool:
    """False where there is none, and where a run of these tasks was broken off while it made one."""
    files = FILES if (database / MADE).is_file() else FILES[:1]
    return all((database / name).is_file() for name in files)


def make(shell: Shell, database: Path) -> None:
    """An empty database as Chrome makes it. What is made gets a file that says so."""
    for folder in (database.parent, database):
        if folder == database or not folder.exists():
            write_file(shell, folder / MADE, "`inv trust` made this; `inv untrust` removes it, unless others use it.\n")
    shell.change("certutil", "-d", f"sql:{database}", "-N", "--empty-password")


def found(shell: Shell, place: str, roots: list[RootCA]) -> list[str]:
    """Our labels; without any the database itself, where these tasks made it and nothing is in it."""
    ours, others = listed(shell, place)
    return ours or ([MADE] if not others and nobody_uses(shell, Path(place)) else [])


def listed(shell: Shell, place: str) -> tuple[list[str], int]:
    """Our labels in it, and the number of entries of others."""
    lines = [line for line in certutil(shell, place, "-L").stdout.splitlines() if line.strip()][2:]  # 2: the heading
    ours = [line.split()[0] for line in lines if line.startswith(f"{MANAGER}-")]
    return ours, len(lines) - len(ours)


def nobody_uses(shell: Shell, database: Path) -> bool:
    """Whether these tasks made it, and it holds no key, no module and no file of others."""
    if not (database / MADE).is_file() or any(file.name not in (*FILES, MADE) for file in database.iterdir()):
        return False
    modules = (database / FILES[2]).read_text(errors="replace") if (database / FILES[2]).is_file() else ""
    return modules.count("library=") <= 1 and (
        not complete(database) or "no keys found" in certutil(shell, str(database), "-K").stdout)


def entry(shell: Shell, place: str, root: RootCA) -> str:
    return root.label if root.label in found(shell, place, []) else ""


def certificate(shell: Shell, place: str, entry: str) -> str:
    return "" if entry == MADE else str(certutil(shell, place, "-L", "-a", "-n", entry).stdout)


def remove(shell: Shell, place: str, entries: list[str]) -> None:
    """With the last entry goes the database too, where these tasks made it."""
    ours, others = listed(shell, place)
    last = not others and {*ours} <= {*entries} and nobody_uses(shell, Path(place))
    for entry in entries:
        if entry != MADE:
            shell.change("certutil", "-d", f"sql:{place}", "-D", "-n", entry, "-f", "/dev/null")
    if last:
        above = Path(place).parent
        whole = (above / MADE).is_file() and {file.name for file in above.iterdir()} == {MADE, Path(place).name}
        shell.change("rm", "-r", str(above) if whole else place)


def certutil(shell: Shell, database: str, *words: str) -> Result:
    """A look into a database."""
    return shell.look("certutil", "-d", f"sql:{database}", *words, "-f", "/dev/null")
