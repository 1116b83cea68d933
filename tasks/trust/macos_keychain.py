"""The system keychain of macOS, through `security`."""

from __future__ import annotations

from pathlib import Path

from invoke import Exit

from tasks.shell import Shell

KEYCHAIN = "/Library/Keychains/System.keychain"


def install(shell: Shell, certificate: Path) -> str:
    """Since version 11 macOS asks a person for this, so it may be refused: the next run tries again."""
    try:
        shell.sudo("security", "add-trusted-cert", "-d", "-r", "trustRoot", "-k", KEYCHAIN, str(certificate),
                   why="trust the root in the system keychain")
    except Exit as error:
        raise Exit(f"{error.message}\nThe root is not trusted on this machine yet. Try again with: inv cert") from None
    if not shell.dry and not verify(shell, certificate):
        raise Exit(f"macOS took {certificate}, and still does not trust it. Look at it in Keychain Access, System.")
    return "now in the system keychain"


def verify(shell: Shell, certificate: Path) -> bool:
    """Presence alone would not tell: a root can lie in the keychain with its trust settings cleared."""
    return bool(shell.look("security", "verify-cert", "-l", "-L", "-q", "-c", str(certificate)).ok)


def command(certificate: Path) -> str:
    return "inv cert"
