"""The system's store of Linux, which curl, git, wget, OpenSSL and most languages read."""

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
from tasks.trust.entries import CERTIFICATE, ROOT_OF, is_of_our_form


class Family(NamedTuple):
    """Where a family of distributions keeps further roots, what takes them up, and what that makes of them."""

    anchors: str
    ending: str
    update: tuple[str, ...]
    bundle: str


FAMILIES = (
    # Fedora, RHEL: update-ca-trust(8)
    Family("etc/pki/ca-trust/source/anchors", "pem", ("update-ca-trust",),
           "etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem"),
    # Arch: https://wiki.archlinux.org/title/TLS
    Family("etc/ca-certificates/trust-source/anchors", "crt", ("update-ca-trust",),
           "etc/ca-certificates/extracted/tls-ca-bundle.pem"),
    # openSUSE: https://github.com/openSUSE/ca-certificates
    Family("etc/pki/trust/anchors", "pem", ("update-ca-certificates",), "var/lib/ca-certificates/ca-bundle.pem"),
    # Debian, Ubuntu, Alpine: update-ca-certificates(8). Only --fresh drops what is no longer there.
    Family("usr/local/share/ca-certificates", "crt", ("update-ca-certificates", "--fresh"),
           "etc/ssl/certs/ca-certificates.crt"),
)

ENFORCES_CONSTRAINTS = True


def places(shell: Shell) -> list[str]:
    here = family()
    return [str(system_files.ROOT / here.anchors)] if here and not is_macos(shell) else []


def family() -> Family | None:
    return next((family for family in FAMILIES if (system_files.ROOT / family.anchors).is_dir()), None)


def bundle() -> Path | None:
    """The file with all roots that this system trusts."""
    here = family()
    return system_files.ROOT / here.bundle if here else None


def missing(shell: Shell, certificate: Path) -> str:
    for tool, package in ((known().update[0], "ca-certificates"), ("openssl", "openssl")):
        if not shell.find(tool):
            return f"{tool} is not installed: it comes with the package {package}"
    return ""


def accepts(shell: Shell, place: str, leaf: Leaf) -> bool:
    """Whether OpenSSL takes the leaf with the bundle that this system has made of its store."""
    return bool(shell.look("openssl", "verify", "-purpose", "sslserver", "-verify_hostname", leaf.name,
                           "-CAfile", str(system_files.ROOT / known().bundle), str(leaf.file)).ok)


def install(shell: Shell, place: str, roots: list[RootCA]) -> None:
    for root in roots:
        text = f"{ROOT_OF}{path_to_text(root.files.certificate)}\n{root.pem}"
        system_files.install(shell, anchor(place, root), text, why="trust the root in the system's store")
    update(shell)


def update(shell: Shell) -> None:
    """It takes many seconds, so it comes once after all files of a run."""
    shell.sudo(*known().update, why="have the system take up what has changed in its store")


def found(shell: Shell, place: str, roots: list[RootCA]) -> list[str]:
    """Our files; and the bundle, where it still holds a root whose file is gone, because the update was broken off."""
    files = [str(file) for file in system_files.own_files(*sorted(Path(place).glob(f"{MANAGER}-*")))]
    return files + ([str(system_files.ROOT / known().bundle)] if lost(Path(place), roots) else [])


def lost(anchors: Path, roots: list[RootCA]) -> bool:
    """Whether the bundle holds a root of these tasks that is in no file of the folder: one at hand, or of our form."""
    file = system_files.ROOT / known().bundle
    text = file.read_text(errors="replace") if file.is_file() else ""
    candidates = [root.pem for root in roots if root.pem in text]
    candidates += [pem for pem in CERTIFICATE.findall(text) if is_of_our_form(pem)]
    there = "".join(other.read_text(errors="replace") for other in anchors.rglob("*")
                    if os.access(other, os.R_OK) and other.is_file()) if candidates else ""
    return any(pem.strip() not in there for pem in candidates)


def entry(shell: Shell, place: str, root: RootCA) -> str:
    """Its file; or the bundle, where the update was broken off that would have dropped it."""
    file = anchor(place, root)
    if system_files.own_files(file):
        return str(file)
    bundle = system_files.ROOT / known().bundle
    missing = bundle.is_file() and root.pem in bundle.read_text(errors="replace") and lost(Path(place), [root])
    return str(bundle) if missing else ""


def anchor(place: str, root: RootCA) -> Path:
    return Path(place) / f"{root.label}.{known().ending}"


def certificate(shell: Shell, place: str, entry: str) -> str:
    return Path(entry).read_text(errors="replace") if Path(entry).parent == Path(place) else ""


def remove(shell: Shell, place: str, entries: list[str]) -> None:
    """Take out the files, past one that somebody has changed, and then have the system do so once for all of them."""
    failures = []
    for entry in entries:
        if Path(entry).parent == Path(place):  # else it is the bundle, which the update makes anew
            try:
                system_files.remove(shell, Path(entry), why="take the root out of the system's store")
            except Exit as error:
                failures.append(str(error.message))
    if len(failures) < len(entries):
        update(shell)
    if failures:
        raise Exit("\n".join(failures))


def known() -> Family:
    """The family of this system, where `places` has found one."""
    here = family()
    assert here
    return here
