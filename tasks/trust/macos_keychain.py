"""The system keychain of macOS, through `security`."""

from __future__ import annotations

from pathlib import Path

from invoke import Exit

from tasks.shell import Shell

KEYCHAIN = "/Library/Keychains/System.keychain"


def install(shell: Shell, certificate: Path) -> tuple[str, bool]:
    """Trust the root; returns what was done, and whether the user should look at it.

    macOS asks a person for this since version 11, so it may be refused: the next run tries again.
    """
    if verify(shell, certificate):
        return "already in the system keychain", False
    try:
        shell.sudo("security", "add-trusted-cert", "-d", "-r", "trustRoot", "-k", KEYCHAIN, str(certificate),
                   why="trust the root in the system keychain")
    except Exit as error:
        raise Exit(f"{error.message}\nThe root is not trusted on this machine yet. Try again with: inv cert") from None
    if not shell.dry and not verify(shell, certificate):
        raise Exit(f"macOS took {certificate}, and still does not trust it. Look at it in Keychain Access, System.")
    return "now in the system keychain", False


def verify(shell: Shell, certificate: Path) -> bool:
    """Whether macOS accepts it as a trust anchor; presence alone would not tell (`man security`, verify-cert)."""
    return shell.look("security", "verify-cert", "-l", "-L", "-q", "-c", str(certificate)).ok
