"""Linux: says what to type. The system's store is what curl, git, wget and most languages read."""

from __future__ import annotations

import shlex
from pathlib import Path

from tasks.shell import Shell

# The folder that a distribution reads further roots from, and the command that takes them up.
FOLDERS = {
    "/usr/local/share/ca-certificates": "update-ca-certificates",  # Debian, Ubuntu
    "/etc/pki/ca-trust/source/anchors": "update-ca-trust",  # Fedora, RHEL
    "/etc/ca-certificates/trust-source/anchors": "update-ca-trust",  # Arch
    "/etc/pki/trust/anchors": "update-ca-certificates",  # openSUSE
}


def install(shell: Shell, certificate: Path) -> str:
    return f"not yet. To add the root to the system's store, type:\n    {command(certificate)}"


def verify(shell: Shell, certificate: Path) -> bool:
    """Whether openssl finds the root in its default store."""
    return bool(shell.look("openssl", "verify", str(certificate)).ok)


def command(certificate: Path) -> str:
    folder = next((folder for folder in FOLDERS if Path(folder).is_dir()), "")
    if not folder:
        return f"add {certificate} to the trust store of your system"
    target = f"{folder}/dev-clusters-{certificate.stem}.crt"
    return f"sudo cp {shlex.quote(str(certificate))} {target} && sudo {FOLDERS[folder]}"
