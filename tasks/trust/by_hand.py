"""Linux: says what to type. OpenSSL's default store is what curl, git and Python read."""

from __future__ import annotations

import shlex
from pathlib import Path

from tasks.shell import Shell

# The folder that a distribution reads further roots from, and the command that takes them up.
STORES = {
    "/usr/local/share/ca-certificates": "update-ca-certificates",  # Debian, Ubuntu
    "/etc/pki/ca-trust/source/anchors": "update-ca-trust",  # Fedora, RHEL
    "/etc/ca-certificates/trust-source/anchors": "update-ca-trust",  # Arch
    "/etc/pki/trust/anchors": "update-ca-certificates",  # openSUSE
}


def install(shell: Shell, certificate: Path) -> tuple[str, bool]:
    if not shell.dry and verify(shell, certificate):
        return "already in the system's store", False
    return f"not yet. To add the root to the system's store:\n    {command(certificate)}", True


def verify(shell: Shell, certificate: Path) -> bool:
    """Whether openssl finds the root in its default store."""
    return shell.look("openssl", "verify", str(certificate)).ok


def command(certificate: Path) -> str:
    folder = next((folder for folder in STORES if Path(folder).is_dir()), "")
    if not folder:
        return f"add {certificate} to your system's trust store"
    target = f"{folder}/dev-clusters-{certificate.stem}.crt"
    return f"sudo cp {shlex.quote(str(certificate))} {target} && sudo {STORES[folder]}"
