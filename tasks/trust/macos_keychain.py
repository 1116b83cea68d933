"""The system keychain of macOS, through `security`."""

from __future__ import annotations

import hashlib
import ssl
from pathlib import Path

from invoke import Exit
from invoke.runners import Result

from tasks.ca.probe_leaves import Leaf
from tasks.ca.root import RootCA
from tasks.core.operating_system import is_macos
from tasks.core.shell import Shell
from tasks.core.well_known import MANAGER
from tasks.core.work_files import work_file, write_file
from tasks.trust.entries import CERTIFICATE, is_of_our_form

KEYCHAIN = "/Library/Keychains/System.keychain"

ENFORCES_CONSTRAINTS = True


def places(shell: Shell) -> list[str]:
    return [KEYCHAIN] if is_macos(shell) else []


def missing(shell: Shell, certificate: Path) -> str:
    return ""


def accepts(shell: Shell, place: str, leaf: Leaf) -> bool:
    """Whether macOS takes the leaf for a web server of its name. Presence of the root would not tell: see `trusted`."""
    return bool(verify_cert(shell, "-p", "ssl", "-n", leaf.name, "-c", str(leaf.file)).ok)


def install(shell: Shell, place: str, roots: list[RootCA]) -> None:
    """Since version 11 macOS asks a person for this, so it may be refused: the next run tries again."""
    for root in roots:
        try:
            shell.sudo("security", "add-trusted-cert", "-d", "-r", "trustRoot", "-k", place,
                       str(root.files.certificate), why="trust the root in the system keychain")
        except Exit as error:
            raise Exit(f"{error.message}\nThe root is not trusted by macOS yet. Try again with: inv trust") from None


def found(shell: Shell, place: str, roots: list[RootCA]) -> list[str]:
    """The files of those roots at hand that lie in it, and the labels of others that have our form.

    A keychain has no name of ours for an entry.
    """
    there = in_keychain(shell, place, roots)
    return [*(str(root.files.certificate) for root in there), *others(shell, place, {root.label for root in there})]


def in_keychain(shell: Shell, place: str, roots: list[RootCA]) -> list[RootCA]:
    listed = shell.look("security", "find-certificate", "-a", "-Z", place).stdout.lower()
    return [root for root in roots if root.sha1 in listed]


def others(shell: Shell, place: str, known: set[str]) -> dict[str, str]:
    """The roots in it that these tasks made for another folder: of each label the certificate."""
    text = shell.look("security", "find-certificate", "-a", "-p", place).stdout.replace("\r\n", "\n")
    labelled = {label(pem): pem for pem in CERTIFICATE.findall(text) if is_of_our_form(pem)}
    return {name: pem for name, pem in labelled.items() if name not in known}


def label(pem: str) -> str:
    return f"{MANAGER}-{hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()[:12]}"


def entry(shell: Shell, place: str, root: RootCA) -> str:
    return "".join(str(root.files.certificate) for root in in_keychain(shell, place, [root]))


def certificate(shell: Shell, place: str, entry: str) -> str:
    file = Path(entry)
    return file.read_text(errors="replace") if file.is_file() else others(shell, place, set()).get(entry, "")


def remove(shell: Shell, place: str, entries: list[str]) -> None:
    for entry in entries:
        remove_one(shell, place, entry)


def remove_one(shell: Shell, place: str, entry: str) -> None:
    """First its trust settings, which would outlive it and still count: https://openradar.appspot.com/13875232

    They are not left to `delete-certificate -t`: that leaves the certificate where root has no settings of its own.
    https://github.com/apple-oss-distributions/Security/blob/main/SecurityTool/macOS/keychain_delete.c
    """
    why, text = "take the root out of the system keychain", certificate(shell, place, entry)
    # `security` takes the settings away by a file.
    file = Path(entry) if Path(entry).is_file() else write_file(shell, work_file(f"{entry}.crt"), f"{text}\n")
    if not file.is_file() or trusted(shell, str(file)):  # a rehearsal has not written it
        shell.sudo("security", "remove-trusted-cert", "-d", str(file), why=why)
    pem = CERTIFICATE.search(text)
    sha1 = hashlib.sha1(ssl.PEM_cert_to_DER_cert(pem[0]), usedforsecurity=False).hexdigest().upper() if pem else ""
    shell.sudo("security", "delete-certificate", "-Z", sha1, place, why=why)
    if file != Path(entry) and not shell.dry:
        file.unlink()


def trusted(shell: Shell, root: str) -> bool:
    """A root can lie in the keychain with its trust settings cleared."""
    return bool(verify_cert(shell, "-l", "-c", root).ok)


def verify_cert(shell: Shell, *words: str) -> Result:
    """`-L` asks no network. https://github.com/apple-oss-distributions/Security/blob/main/SecurityTool/macOS/verify_cert.c"""
    return shell.look("security", "verify-cert", "-L", "-q", *words)
