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
from tasks.trust.entries import CERTIFICATE, has_form_of_our_root

KEYCHAIN = "/Library/Keychains/System.keychain"

ENFORCES_CONSTRAINTS = True


def find_places(shell: Shell) -> list[str]:
    return [KEYCHAIN] if is_macos(shell) else []


def check_tools(shell: Shell, certificate: Path) -> str:
    return ""


def accepts(shell: Shell, place: str, leaf: Leaf) -> bool:
    """Whether macOS accepts the leaf for a web server of its name. The root may be present, but not trusted."""
    return bool(verify_cert(shell, "-p", "ssl", "-n", leaf.name, "-c", str(leaf.file)).ok)


def install(shell: Shell, place: str, roots: list[RootCA]) -> None:
    """macOS 11 and later ask the user to confirm this. If they decline, the next run tries again."""
    for root in roots:
        try:
            shell.sudo("security", "add-trusted-cert", "-d", "-r", "trustRoot", "-k", place,
                       str(root.files.certificate), why="trust the root in the system keychain")
        except Exit as error:
            raise Exit(f"{error.message}\nThe root is not trusted by macOS yet. Try again with: inv trust") from None


def list_entries(shell: Shell, place: str, roots: list[RootCA]) -> list[str]:
    """The files of the roots that are in the keychain, and the labels of others that have the form of ours.

    An entry in a keychain cannot be named.
    """
    known = find_roots(shell, place, roots)
    return [*(str(root.files.certificate) for root in known),
            *find_unknown_roots(shell, place, {root.label for root in known})]


def find_roots(shell: Shell, place: str, roots: list[RootCA]) -> list[RootCA]:
    listed = shell.look("security", "find-certificate", "-a", "-Z", place).stdout.lower()
    return [root for root in roots if root.sha1 in listed]


def find_unknown_roots(shell: Shell, place: str, known: set[str]) -> dict[str, str]:
    """The roots in it that these tasks created for another folder: label and certificate."""
    text = shell.look("security", "find-certificate", "-a", "-p", place).stdout.replace("\r\n", "\n")
    labelled = {label(pem): pem for pem in CERTIFICATE.findall(text) if has_form_of_our_root(pem)}
    return {name: pem for name, pem in labelled.items() if name not in known}


def label(pem: str) -> str:
    return f"{MANAGER}-{hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()[:12]}"


def find_entry(shell: Shell, place: str, root: RootCA) -> str:
    return "".join(str(root.files.certificate) for root in find_roots(shell, place, [root]))


def read_certificate(shell: Shell, place: str, entry: str) -> str:
    file = Path(entry)
    if file.is_file():
        return file.read_text(errors="replace")
    return find_unknown_roots(shell, place, set()).get(entry, "")


def remove(shell: Shell, place: str, entries: list[str]) -> None:
    for entry in entries:
        remove_one(shell, place, entry)


def remove_one(shell: Shell, place: str, entry: str) -> None:
    """Remove its trust settings first: they would remain and still apply. https://openradar.appspot.com/13875232

    `delete-certificate -t` is not used, because it keeps the certificate if the root user has no trust settings.
    https://github.com/apple-oss-distributions/Security/blob/main/SecurityTool/macOS/keychain_delete.c
    """
    why, text = "remove the root from the system keychain", read_certificate(shell, place, entry)
    # `security` needs a file to remove the settings.
    file = Path(entry) if Path(entry).is_file() else write_file(shell, work_file(f"{entry}.crt"), f"{text}\n")
    if not file.is_file() or is_trusted(shell, str(file)):  # a dry run has not written the file
        shell.sudo("security", "remove-trusted-cert", "-d", str(file), why=why)
    pem = CERTIFICATE.search(text)
    sha1 = hashlib.sha1(ssl.PEM_cert_to_DER_cert(pem[0]), usedforsecurity=False).hexdigest().upper() if pem else ""
    shell.sudo("security", "delete-certificate", "-Z", sha1, place, why=why)
    if file != Path(entry) and not shell.dry:
        file.unlink()


def is_trusted(shell: Shell, root: str) -> bool:
    """A root can be in the keychain without trust settings."""
    return bool(verify_cert(shell, "-l", "-c", root).ok)


def verify_cert(shell: Shell, *words: str) -> Result:
    """`-L` uses no network. https://github.com/apple-oss-distributions/Security/blob/main/SecurityTool/macOS/verify_cert.c"""
    return shell.look("security", "verify-cert", "-L", "-q", *words)
