"""The certificates of ACME servers, which several copies of this folder may have in one CERT_FOLDER."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tasks.acme.client import folder_of
from tasks.acme.order import OWNER
from tasks.core.settings import Settings
from tasks.core.shell import Shell
from tasks.uninstall.removal import Removal, do_nothing

CERTIFICATES = (".crt", ".pem", ".cer", ".cert", ".p12", ".pfx")
"""The endings of certificates, which the files of an account do not have."""


def find_public_certificates(settings: Settings) -> Iterator[Removal]:
    """Those of the clusters of these settings; with the last ones of a server also the client's account there."""
    domains = [settings.cluster_domain(number) for number in settings.numbers]
    for owner in sorted(folder_of(settings).parent.glob(f"*/{OWNER}")):
        folder = owner.parent
        files = [file for file in sorted(folder.rglob("*")) if file.is_symlink() or file.is_file()]
        own = [file for file in files if is_named_after(file.relative_to(folder), domains)]
        others = [file for file in files if file.suffix in CERTIFICATES and file not in own]
        if others:
            yield Removal(f"certificates of an ACME server: {', '.join(map(str, others))}", do_nothing, foreign=True)
        if own or not others:
            yield Removal(f"certificates of an ACME server, with their keys: {folder}",
                          partial(delete, folder=folder, files=own if others else [folder]), last=True)


def is_named_after(file: Path, domains: list[str]) -> bool:
    """Whether a client named it, or its folder, after the certificate, and that after its cluster's domain."""
    return any(part == domain or part.startswith((f"{domain}.", f"{domain}-"))
               for part in file.parts for domain in domains)


def delete(shell: Shell, folder: Path, files: list[Path]) -> None:
    with shell.step("", "certificates of an ACME server") as this:
        for file in files:
            shell.note(f"remove {file}")
            if not shell.dry:
                shutil.rmtree(file) if file == folder else file.unlink()
        if not (shell.dry or any(folder.parent.iterdir())):
            folder.parent.rmdir()
        this.outcome = "removed"
