"""The files of the certificate authority, and the keys of others beside them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tasks.ca.constraints import has_our_form
from tasks.ca.load import read_certificate
from tasks.ca.root import RootFiles
from tasks.core.settings import Settings
from tasks.core.shell import Shell
from tasks.uninstall.removal import Removal, do_nothing


def find_authority(settings: Settings) -> Iterator[Removal]:
    for files in (RootFiles.of(settings, retiring=True), RootFiles.of(settings)):
        rest = [] if files.retiring else [files.unfinished]
        existing = [file for file in (files.key, files.request, files.certificate, *rest) if file.exists()]
        if existing and is_foreign(files):
            yield Removal(", ".join(map(str, existing)), do_nothing,
                          "not created by these tasks. Remove it yourself if nobody needs it", last=True)
        elif existing:
            yield Removal(f"certificate authority, with its key: {', '.join(map(str, existing))}",
                          partial(delete_authority, files=files, existing=existing), last=True)
    for key in sorted(settings.cert_folder.glob("*-ca.key")):
        if key != RootFiles.of(settings).key:
            yield Removal(str(key), do_nothing,
                          "the key of another TLD, which only the copy that uses it removes", foreign=True)


def is_foreign(files: RootFiles) -> bool:
    """Whether the root differs from those that these tasks create, or nothing shows that they created it."""
    if not files.certificate.exists():
        return not files.unfinished.is_dir()  # left by an interrupted run
    try:
        return not has_our_form(read_certificate(files.certificate))
    except (OSError, ValueError):
        return True


def delete_authority(shell: Shell, files: RootFiles, existing: list[Path]) -> None:
    with shell.step("", "certificate authority") as this:
        for file in existing:
            shell.note(f"remove {file}")
            if not shell.dry:
                shutil.rmtree(file) if file == files.unfinished else file.unlink()
        if not (shell.dry or files.folder.is_symlink() or any(files.folder.iterdir())):
            files.folder.rmdir()
        this.outcome = "removed"
