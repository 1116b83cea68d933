"""Create the root certificate authority."""

from __future__ import annotations

import shutil
from pathlib import Path

from invoke import Exit

from tasks.ca.openssl import ca_config, make_key
from tasks.ca.root import NEW_KEY, RootFiles, load_key, load_root
from tasks.ca.weaknesses import find_loose_permissions, find_weaknesses
from tasks.core.settings import Settings
from tasks.core.shell import Shell
from tasks.core.work_files import write_file

ROOT_DAYS = 3650


def ensure_root(shell: Shell, settings: Settings) -> None:
    """Make the root where there is none, else say until when it is good and what is weak about it."""
    files = RootFiles(settings)
    with shell.step("", "root certificate") as this, shell.one_at_a_time("CA folder", settings.cert_folder):
        for file in (files.key, files.certificate):
            if file.is_symlink() and not file.exists():
                raise Exit(f"{file} leads to {file.readlink()}, which is not there. Is a disk not mounted?")
        if files.certificate.exists():
            root = load_root(settings)
            this.skip(f"already there: {files.certificate}, until {root.not_valid_after_utc:%Y-%m-%d}")
            weak = [*find_weaknesses(root, settings), *find_loose_permissions(files)]
            if weak:
                this.warn("\n".join([f"already there, and weaker than it need be: {files.certificate}",
                                     *(f"    - {weakness}" for weakness in weak),
                                     f"    For a new one: {NEW_KEY}"]))
        else:
            make_root(shell, settings)
            this.outcome = f"made: {files.certificate}, only for {', '.join(settings.owned_domains)}"


def make_root(shell: Shell, settings: Settings) -> None:
    """Make key, request and certificate under temporary names, and move them into place once they are whole.

    A key that is there already is used and never replaced.
    """
    files = RootFiles(settings)
    if files.key.exists():
        load_key(files)
    new = new_folder(shell, files)
    key = files.key if files.key.exists() else make_key(shell, new / files.key.name)
    sign_root(shell, settings, key, new)
    move_into_place(shell, files, new)


def new_folder(shell: Shell, files: RootFiles) -> Path:
    """An empty folder for what is not whole yet. What a run left there that was broken off is gone."""
    new = files.unfinished
    if not shell.dry:
        files.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(mode=0o700)
    return new


def sign_root(shell: Shell, settings: Settings, key: Path, new: Path) -> None:
    """A request and a root certificate for this key, for our domains alone."""
    files = RootFiles(settings)
    request, certificate = new / files.request.name, new / files.certificate.name
    config = write_file(shell, new / "ca.ini", ca_config(settings, settings.cert_cn, 1, settings.owned_domains))
    shell.change("openssl", "req", "-new", "-key", str(key), "-config", str(config), "-out", str(request))
    shell.change("openssl", "req", "-x509", "-in", str(request), "-key", str(key), "-config", str(config),
                 "-extensions", "authority", "-days", str(ROOT_DAYS), "-out", str(certificate))


def move_into_place(shell: Shell, files: RootFiles, new: Path) -> None:
    """What was made, the certificate last: by it a root is known."""
    if shell.dry:
        shell.note(f"move what was made to {files.folder}")
        return
    for file in (files.key, files.request, files.certificate):
        if (new / file.name).exists():
            (new / file.name).rename(file)
    shutil.rmtree(new)
    load_root(files.settings)
