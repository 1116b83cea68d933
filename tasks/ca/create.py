"""Create the root certificate authority."""

from __future__ import annotations

import shutil
from pathlib import Path

from invoke import Exit

from tasks.ca.load import load_key, load_root
from tasks.ca.openssl import ca_config, make_key
from tasks.ca.root import NEW_KEY, RootFiles
from tasks.ca.weaknesses import find_loose_permissions, find_weaknesses
from tasks.core.problems import describe
from tasks.core.settings import Settings
from tasks.core.shell import Shell
from tasks.core.work_files import write_file

ROOT_DAYS = 3650


def ensure_root(shell: Shell, settings: Settings) -> None:
    """Create the root if there is none; otherwise report its expiry date and its weaknesses."""
    files = RootFiles.of(settings)
    with shell.step("", "root certificate") as this, shell.one_at_a_time("CA folder", settings.cert_folder):
        for file in (files.key, files.certificate):
            if file.is_symlink() and not file.exists():
                raise Exit(f"{file} points to {file.readlink()}, which does not exist. Is a disk not mounted?")
        if files.certificate.exists():
            root = load_root(settings)
            this.skip(f"already exists: {files.certificate}, valid until {root.expires:%Y-%m-%d}")
            weak = [*find_weaknesses(root, settings), *find_loose_permissions(files)]
            if weak:
                this.warn("\n".join([f"already exists, with weaknesses: {files.certificate}",
                                     *(f"    - {describe(weakness)}" for weakness in weak),
                                     f"    To replace it: {NEW_KEY}"]))
        else:
            create_root(shell, settings)
            this.outcome = f"created: {files.certificate}, only for {', '.join(settings.owned_domains)}"


def create_root(shell: Shell, settings: Settings) -> None:
    """Create key, request and certificate in a temporary folder, and move them into place once all are complete.

    An existing key is used, never replaced.
    """
    files = RootFiles.of(settings)
    if files.key.exists():
        load_key(files)
    folder = make_temporary_folder(shell, files)
    key = files.key if files.key.exists() else make_key(shell, folder / files.key.name)
    sign_root(shell, settings, key, folder)
    move_into_place(shell, settings, folder)


def make_temporary_folder(shell: Shell, files: RootFiles) -> Path:
    """Make an empty folder for files that are not complete yet. Files of an interrupted run are removed."""
    folder = files.unfinished
    if not shell.dry:
        files.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
    return folder


def sign_root(shell: Shell, settings: Settings, key: Path, folder: Path) -> None:
    """Create the request and the root certificate for this key, restricted to the domains of these settings."""
    files = RootFiles.of(settings)
    request, certificate = folder / files.request.name, folder / files.certificate.name
    config = write_file(shell, folder / "ca.ini", ca_config(settings, settings.cert_cn, 1, settings.owned_domains))
    shell.change("openssl", "req", "-new", "-key", str(key), "-config", str(config), "-out", str(request))
    shell.change("openssl", "req", "-x509", "-in", str(request), "-key", str(key), "-config", str(config),
                 "-extensions", "authority", "-days", str(ROOT_DAYS), "-out", str(certificate))


def move_into_place(shell: Shell, settings: Settings, folder: Path) -> None:
    """Move the complete files, the certificate last: a root exists once its certificate does."""
    files = RootFiles.of(settings)
    if shell.dry:
        shell.note(f"move the new files to {files.folder}")
        return
    for file in (files.key, files.request, files.certificate):
        if (folder / file.name).exists():
            (folder / file.name).rename(file)
    shutil.rmtree(folder)
    load_root(settings)
