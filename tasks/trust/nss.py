"""The databases of NSS: one for each Firefox profile, and one that Chromium browsers share on Linux.

They belong to the user, so nothing here needs root. Every command has `-f /dev/null`: without it, certutil would prompt
for the primary password of a database that has one.
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

# Below the home folder. Since version 146, Chromium uses the second if the first does not exist.
# https://source.chromium.org/chromium/chromium/src/+/main:crypto/nss_util_unittest.cc
CHROMIUM = (
    ".pki/nssdb",
    ".local/share/pki/nssdb",
    "snap/chromium/current/.pki/nssdb",
    "snap/chromium/current/.local/share/pki/nssdb",
    ".var/app/*/.pki/nssdb",
    ".var/app/*/data/pki/nssdb",
)

# The folders of profiles.ini and of the profiles, which are in Profiles on macOS. The second since Firefox 147.
FIREFOX = (
    ".mozilla/firefox",
    ".config/mozilla/firefox",
    "snap/firefox/common/.mozilla/firefox",
    ".var/app/org.mozilla.firefox/.mozilla/firefox",
    ".var/app/org.mozilla.firefox/config/mozilla/firefox",
    "Library/Application Support/Firefox",
)

DATABASES = (*CHROMIUM, *(f"{folder}/{profiles}" for folder in FIREFOX for profiles in ("*", "Profiles/*")))

# A browser that was never started has no database yet.
BROWSERS = ("google-chrome", "google-chrome-stable", "chromium", "chromium-browser", "brave-browser", "microsoft-edge",
            "vivaldi")

PACKAGES = {"apt-get": "libnss3-tools", "dnf": "nss-tools", "zypper": "mozilla-nss-tools", "pacman": "nss",
            "brew": "nss"}

FILES = ("cert9.db", "key4.db", "pkcs11.txt")
"""The files of a database: certificates, keys, and the modules that NSS loads with it."""

MADE = f"made-by-{MANAGER}"
"""A file in each folder that these tasks created, and the entry that stands for that folder."""

ENFORCES_CONSTRAINTS = True


def find_places(shell: Shell) -> list[str]:
    """Each database once, and the one of Chrome if such a browser is installed."""
    folders = [folder for folder in list_candidates()
               if any(os.access(folder / name, os.R_OK) and (folder / name).is_file() for name in (FILES[0], MADE))]
    first, second = (Path.home() / folder for folder in CHROMIUM[:2])
    if (first.is_dir() or not second.is_dir()) and any(map(shell.find, BROWSERS)) and not is_macos(shell):
        folders.append(first)
    return [*{folder.resolve(): str(folder) for folder in folders}.values()]


def list_candidates() -> Iterator[Path]:
    for pattern in DATABASES:
        yield from sorted(Path.home().glob(pattern))
    for folder in FIREFOX:
        yield from read_profile_paths(Path.home() / folder / "profiles.ini")


def read_profile_paths(file: Path) -> Iterator[Path]:
    """The profiles in a folder that the user chose: http://kb.mozillazine.org/Profiles.ini_file"""
    import configparser

    profiles = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        profiles.read(file, encoding="utf-8")
    except (configparser.Error, OSError, UnicodeDecodeError):
        return
    for section in profiles.values():
        path = section.get("Path", "")
        if path.startswith("/") and "\0" not in path:
            yield Path(path)


def check_tools(shell: Shell, certificate: Path) -> str:
    if shell.find("certutil"):
        return ""
    packages = [package for manager, package in PACKAGES.items() if shell.find(manager)] or [*PACKAGES.values()]
    return f"certutil is not installed. It is in the package {packages[0]}"


def accepts(shell: Shell, place: str, leaf: Leaf) -> bool:
    """Whether NSS accepts the leaf for a web server. Its name is not compared.

    certutil checks only what is in a database, so the leaf is added to a copy. The copy has no pkcs11.txt, because the
    module of a smart card would prompt for a PIN.
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
    if not is_complete(Path(place)):
        create(shell, Path(place))
    elif "SEC_ERROR_BAD_PASSWORD" in certutil(shell, place, "-K").stderr and not shell.dry:
        # Without the password, certutil would add the root, but not trust it.
        raise Exit(f"{place} has a primary password, which only you can enter. Run this yourself:\n"
                   + "\n".join(f"  {shlex.join(command)}" for command in words))
    for command in words:
        shell.change(*command, "-f", "/dev/null")


def is_complete(database: Path) -> bool:
    """False if there is none, or if a run of these tasks was interrupted while it created one."""
    files = FILES if (database / MADE).is_file() else FILES[:1]
    return all((database / name).is_file() for name in files)


def create(shell: Shell, database: Path) -> None:
    """An empty database, as Chrome creates it. Each folder that is created is marked with a file."""
    for folder in (database.parent, database):
        if folder == database or not folder.exists():
            write_file(shell, folder / MADE, "Created by `inv trust`. `inv untrust` removes it, if it is unused.\n")
    shell.change("certutil", "-d", f"sql:{database}", "-N", "--empty-password")


def list_entries(shell: Shell, place: str, roots: list[RootCA]) -> list[str]:
    """Our labels; if there are none, the database itself if these tasks created it and it is empty."""
    ours, others = list_labels(shell, place)
    return ours or ([MADE] if not others and is_unused(shell, Path(place)) else [])


def list_labels(shell: Shell, place: str) -> tuple[list[str], int]:
    """Our labels in it, and the number of other entries."""
    lines = [line for line in certutil(shell, place, "-L").stdout.splitlines() if line.strip()][2:]  # 2: the heading
    ours = [line.split()[0] for line in lines if line.startswith(f"{MANAGER}-")]
    return ours, len(lines) - len(ours)


def is_unused(shell: Shell, database: Path) -> bool:
    """Whether these tasks created it, and it contains no key, and no module or file that they did not create."""
    if not (database / MADE).is_file() or any(file.name not in (*FILES, MADE) for file in database.iterdir()):
        return False
    modules = (database / FILES[2]).read_text(errors="replace") if (database / FILES[2]).is_file() else ""
    return modules.count("library=") <= 1 and (
        not is_complete(database) or "no keys found" in certutil(shell, str(database), "-K").stdout)


def find_entry(shell: Shell, place: str, root: RootCA) -> str:
    return root.label if root.label in list_entries(shell, place, []) else ""


def read_certificate(shell: Shell, place: str, entry: str) -> str:
    return "" if entry == MADE else str(certutil(shell, place, "-L", "-a", "-n", entry).stdout)


def remove(shell: Shell, place: str, entries: list[str]) -> None:
    """With the last entry, remove the database too if these tasks created it."""
    ours, others = list_labels(shell, place)
    last = not others and {*ours} <= {*entries} and is_unused(shell, Path(place))
    for entry in entries:
        if entry != MADE:
            shell.change("certutil", "-d", f"sql:{place}", "-D", "-n", entry, "-f", "/dev/null")
    if last:
        parent = Path(place).parent
        is_empty = (parent / MADE).is_file() and {file.name for file in parent.iterdir()} == {MADE, Path(place).name}
        shell.change("rm", "-r", str(parent) if is_empty else place)


def certutil(shell: Shell, database: str, *words: str) -> Result:
    """A query that does not change the database."""
    return shell.look("certutil", "-d", f"sql:{database}", *words, "-f", "/dev/null")
