"""The system keychain of macOS, through `security`."""

from __future__ import annotations

from pathlib import Path

from invoke import Exit
from invoke.runners import Result

from tasks.ca.load import read_certificate
from tasks.ca.probe_leaves import Leaf
from tasks.ca.root import RootCA
from tasks.core.operating_system import is_macos
from tasks.core.shell import Shell

KEYCHAIN = "/Library/Keychains/System.keychain"

ENFORCES_CONSTRAINTS = True


def places(shell: Shell) -> list[str]:
    return [KEYCHAIN] if is_macos(shell) else []


def missing(shell: Shell, certificate: Path) -> str:
    return ""


def accepts(shell: Shell, place: str, leaf: Leaf) -> bool:
    """Whether macOS takes the leaf for a web server of its name. Presence of the root would not tell: see `trusted`."""
    return bool(verify_cert(shell, "-p", "ssl", "-n", leaf.name, "-c", str(leaf.file)).ok)


def install(shell: Shell, place: str, root: RootCA) -> None:
    """Since version 11 macOS asks a person for this, so it may be refused: the next run tries again."""
    try:
        shell.sudo("security", "add-trusted-cert", "-d", "-r", "trustRoot", "-k", place, str(root.files.certificate),
                   why="trust the root in the system keychain")
    except Exit as error:
        raise Exit(f"{error.message}\nThe root is not trusted by macOS yet. Try again with: inv trust") from None


def found(shell: Shell, place: str, roots: list[RootCA]) -> list[str]:
    """The files of those roots at hand that lie in it: a keychain has no name of ours for an entry."""
    listed = shell.look("security", "find-certificate", "-a", "-Z", place).stdout.lower()
    return [str(root.files.certificate) for root in roots if root.sha1 in listed]


def entry(shell: Shell, place: str, root: RootCA) -> str:
    return "".join(found(shell, place, [root]))


def remove(shell: Shell, place: str, entry: str) -> None:
    """First its trust settings, which would outlive it and still count: https://openradar.appspot.com/13875232

    They are not left to `delete-certificate -t`: that leaves the certificate where root has no settings of its own.
    https://github.com/apple-oss-distributions/Security/blob/main/SecurityTool/macOS/keychain_delete.c
    """
    why = "take the root out of the system keychain"
    if trusted(shell, entry):
        shell.sudo("security", "remove-trusted-cert", "-d", entry, why=why)
    shell.sudo("security", "delete-certificate", "-Z", fingerprint(Path(entry)), place, why=why)


def fingerprint(certificate: Path) -> str:
    """Its SHA-1, as `security` takes it."""
    from cryptography.hazmat.primitives.hashes import SHA1

    return read_certificate(certificate).fingerprint(SHA1()).hex().upper()


def trusted(shell: Shell, root: str) -> bool:
    """A root can lie in the keychain with its trust settings cleared."""
    return bool(verify_cert(shell, "-l", "-c", root).ok)


def verify_cert(shell: Shell, *words: str) -> Result:
    """`-L` asks no network. https://github.com/apple-oss-distributions/Security/blob/main/SecurityTool/macOS/verify_cert.c"""
    return shell.look("security", "verify-cert", "-L", "-q", *words)
