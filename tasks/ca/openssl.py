"""Keys and configuration for openssl."""

from __future__ import annotations

from pathlib import Path

from tasks.core.settings import Settings
from tasks.core.shell import Shell
from tasks.core.templates import render


def make_key(shell: Shell, file: Path) -> Path:
    """Create an EC P-256 key that only the user can read."""
    if not shell.dry:
        file.touch(mode=0o600)  # openssl keeps the mode of an existing file
    shell.change("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", str(file))
    return file


def ca_config(settings: Settings, cn: str, pathlen: int, domains: tuple[str, ...]) -> str:
    return render("ca.ini", cn=cn, o=settings.cert_o, c=settings.cert_c, pathlen=pathlen, domains=domains)
