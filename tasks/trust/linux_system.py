"""The system's trust store on Linux, which curl, git, wget, OpenSSL and most languages use."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from invoke import Exit

from tasks.ca.probe_leaves import Leaf
from tasks.ca.root import RootCA
from tasks.core import system_files
from tasks.core.copies import path_to_text
from tasks.core.operating_system import is_macos
from tasks.core.shell import Shell
from tasks.core.well_known import MANAGER
from tasks.trust.entries import CERTIFICATE, ROOT_OF, has_form_of_our_root


class Family(NamedTuple):
    """A family of distributions: the folder for additional roots, the command that applies them, and its result."""

    anchors: str
    ending: str
    update: tuple[str, ...]
    bundle: str


# The first whose folder exists is used.
FAMILIES = (
    # Fedora, RHEL: update-ca-trust(8)
    Family("etc/pki/ca-trust/source/anchors", "pem", ("update-ca-trust",),
           "etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem"),
    # Arch: https://wiki.archlinux.org/title/TLS
    Family("etc/ca-certificates/trust-source/anchors", "crt", ("update-ca-trust",),
           "etc/ca-certificates/extracted/tls-ca-bundle.pem"),
    # openSUSE: https://github.com/openSUSE/ca-certificates
    Family("etc/pki/trust/anchors", "pem", ("update-ca-certificates",), "var/lib/ca-certificates/ca-bundle.pem"),
    # Debian, Ubuntu, Alpine: update-ca-certificates(8). Only --fresh removes roots whose files were deleted.
    Family("usr/local/share/ca-certificates", "crt", ("update-ca-certificates", "--fresh"),
           "etc/ssl/certs/ca-certificates.crt"),
)

ENFORCES_CONSTRAINTS = True


def find_places(shell: Shell) -> list[str]:
    family = find_family()
    return [str(system_files.ROOT / family.anchors)] if family and not is_macos(shell) else []


def find_family() -> Family | None:
    return next((family for family in FAMILIES if (system_files.ROOT / family.anchors).is_dir()), None)


def find_bundle() -> Path | None:
    """The file with all roots that this system trusts."""
    family = find_family()
    return system_files.ROOT / family.bundle if family else None


def check_tools(shell: Shell, certificate: Path) -> str:
    for tool, package in ((known_family().update[0], "ca-certificates"), ("openssl", "openssl")):
        if not shell.find(tool):
            return f"{tool} is not installed. It is in the package {package}"
    return ""


def accepts(shell: Shell, place: str, leaf: Leaf) -> bool:
    """Whether OpenSSL accepts the leaf with the bundle that this system generated from its store."""
    return bool(shell.look("openssl", "verify", "-purpose", "sslserver", "-verify_hostname", leaf.name,
                           "-CAfile", str(system_files.ROOT / known_family().bundle), str(leaf.file)).ok)


def install(shell: Shell, place: str, roots: list[RootCA]) -> None:
    for root in roots:
        text = f"{ROOT_OF}{path_to_text(root.files.certificate)}\n{root.pem}"
        system_files.install(shell, anchor(place, root), text, why="trust the root in the system's store")
    update(shell)


def update(shell: Shell) -> None:
    """It takes many seconds, so it runs once, after all changes to files."""
    shell.sudo(*known_family().update, why="apply the changes to the system's store")


def list_entries(shell: Shell, place: str, roots: list[RootCA]) -> list[str]:
    """Our files, and the bundle if it still contains a root without a file, because an update was interrupted."""
    files = [str(file) for file in system_files.own_files(*sorted(Path(place).glob(f"{MANAGER}-*")))]
    bundle = str(system_files.ROOT / known_family().bundle)
    return [*files, *([bundle] if has_root_without_file(Path(place), roots) else [])]


def has_root_without_file(anchors: Path, roots: list[RootCA]) -> bool:
    """Whether the bundle contains a root, known or in the form of ours, that is in no file of the folder."""
    file = system_files.ROOT / known_family().bundle
    text = file.read_text(errors="replace") if file.is_file() else ""
    candidates = [root.pem for root in roots if root.pem in text]
    candidates += [pem for pem in CERTIFICATE.findall(text) if has_form_of_our_root(pem)]
    in_files = "".join(other.read_text(errors="replace") for other in anchors.rglob("*")
                       if os.access(other, os.R_OK) and other.is_file()) if candidates else ""
    return any(pem.strip() not in in_files for pem in candidates)


def find_entry(shell: Shell, place: str, root: RootCA) -> str:
    """Its file, or the bundle if the update that would have removed the root from it was interrupted."""
    file = anchor(place, root)
    if system_files.own_files(file):
        return str(file)
    bundle = system_files.ROOT / known_family().bundle
    without_file = (bundle.is_file() and root.pem in bundle.read_text(errors="replace")
                    and has_root_without_file(Path(place), [root]))
    return str(bundle) if without_file else ""


def anchor(place: str, root: RootCA) -> Path:
    return Path(place) / f"{root.label}.{known_family().ending}"


def read_certificate(shell: Shell, place: str, entry: str) -> str:
    return Path(entry).read_text(errors="replace") if Path(entry).parent == Path(place) else ""


def remove(shell: Shell, place: str, entries: list[str]) -> None:
    """Remove the files, except for any that was edited, and then apply that once for all of them."""
    failures = []
    for entry in entries:
        if Path(entry).parent == Path(place):  # else it is the bundle, which the update regenerates
            try:
                system_files.remove(shell, Path(entry), why="remove the root from the system's store")
            except Exit as error:
                failures.append(str(error.message))
    if len(failures) < len(entries):
        update(shell)
    if failures:
        raise Exit("\n".join(failures))


def known_family() -> Family:
    """The family of this system, after `find_places` found one."""
    family = find_family()
    assert family
    return family
