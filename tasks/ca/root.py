"""The root as trust stores know it."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from invoke import Exit

from tasks.ca.constraints import basic_constraints, covers, has_our_form, permitted_domains
from tasks.core.settings import Settings
from tasks.core.well_known import MANAGER

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
    from cryptography.x509 import Certificate

NEW_KEY = "inv cert-renew --new-key"


@dataclass(frozen=True)
class RootFiles:
    """Where the root lies: `<CERT_FOLDER>/<TLD>-ca.key`, `.csr` and `.crt`, as in the original.

    `retiring`: the one that it took the place of, as `<TLD>-ca.retiring.*`. While that is there it is trusted too.
    """

    settings: Settings
    retiring: bool = False

    @property
    def folder(self) -> Path:
        return self.settings.cert_folder

    @property
    def key(self) -> Path:
        return self._named("key")

    @property
    def request(self) -> Path:
        return self._named("csr")

    @property
    def certificate(self) -> Path:
        return self._named("crt")

    def _named(self, ending: str) -> Path:
        return self.folder / f"{self.settings.tld}-ca{'.retiring' if self.retiring else ''}.{ending}"

    @property
    def unfinished(self) -> Path:
        """Where a new root lies until it is whole, and stays when the run is broken off."""
        return self.folder / ".new"


def load_root(settings: Settings, retiring: bool = False, at_any_time: bool = False) -> Certificate:
    """The root's certificate, checked; Exit names the files and the way out when it cannot be used.

    `at_any_time`: also one that has ended.
    """
    files = RootFiles(settings, retiring)
    root, now = read_root(files), datetime.now(timezone.utc)
    if root.not_valid_after_utc <= now and not at_any_time:
        raise unusable(files, f"ended: the certificate was good until {root.not_valid_after_utc:%Y-%m-%d}",
                       "inv cert-renew")
    if root.not_valid_before_utc > now and not at_any_time:
        raise unusable(files, f"begin only on {root.not_valid_before_utc:%Y-%m-%d}: is this machine's clock right?",
                       "inv cert-renew")
    basic = basic_constraints(root)
    if basic is None or not basic.ca:
        raise unusable(files, "are no certificate authority (basicConstraints says so)", NEW_KEY)
    if basic.path_length == 0:
        raise unusable(files, "may have no intermediate below them (pathlen 0), and every cluster gets one", NEW_KEY)
    permitted = permitted_domains(root)
    outside = [name for name in settings.owned_domains if not covers(permitted, name)]
    if outside:
        allowed = ", ".join(permitted or ())
        raise unusable(files, f"do not cover {', '.join(outside)}: the certificate may sign for {allowed} only",
                       NEW_KEY)
    return root


def read_root(files: RootFiles) -> Certificate:
    """The root's certificate, of which no more is known than that its key is there; Exit as above."""
    if not files.certificate.exists():
        raise Exit(f"There is no root certificate authority ({files.certificate} is missing). Make it with: inv cert")
    if not files.key.exists():
        raise unusable(files, "cannot be used: the key is missing")
    try:
        root = read_certificate(files.certificate)
    except ValueError as error:
        raise unusable(files, f"cannot be used: the certificate cannot be read: {error}") from None
    if load_key(files).public_key() != root.public_key():
        raise unusable(files, "do not belong together: the certificate is for another key")
    return root


def read_certificate(file: Path) -> Certificate:
    """The first certificate of a PEM file. ValueError when it cannot be read, or one of its extensions cannot."""
    from cryptography import x509

    certificate = x509.load_pem_x509_certificate(file.read_bytes())
    try:
        _ = certificate.extensions  # read only when they are asked for
    except (x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise ValueError(str(error)) from None
    return certificate


def load_retiring(settings: Settings) -> Certificate | None:
    """The certificate of the root before this one, while clusters may still need it; Exit when it cannot be read."""
    file = RootFiles(settings, retiring=True).certificate
    if not file.exists():
        return None
    try:
        return read_certificate(file)
    except ValueError as error:
        raise Exit(f"{file} cannot be read: {error}.\nIt holds the root before this one, which clusters and trust "
                   "stores may still need. Bring it back from a backup.\nWhere there is none: remove it, then "
                   "inv k3d-cluster-configure --all, and inv untrust trust.") from None


def roots_to_trust(settings: Settings) -> list[RootFiles]:
    """The root, and while it is renewed the one before it as long as that is good for something."""
    roots = [RootFiles(settings)]
    with suppress(Exit):
        if load_root(settings, retiring=True) != load_root(settings):
            roots.append(RootFiles(settings, retiring=True))
    return roots


def load_key(files: RootFiles) -> PrivateKeyTypes:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        return load_pem_private_key(files.key.read_bytes(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise unusable(files, f"cannot be used: the key cannot be read: {error}") from None


def unusable(files: RootFiles, why: str, way: str = "") -> Exit:
    if RootFiles(files.settings, retiring=True).certificate.exists():
        way = "inv cert-renew, which was broken off and goes on"
    return Exit(f"{files.certificate} and {files.key.name} {why}.\nNothing was changed. For a new one: "
                f"{way or manual_steps(files)}\nOr choose another TLD or CERT_FOLDER in .env.")


def manual_steps(files: RootFiles) -> str:
    return (f"move {files.key}, {files.request.name} and {files.certificate.name} away, then: inv cert, "
            "and inv k3d-cluster-configure for every cluster")


@dataclass(frozen=True)
class RootIdentity:
    """A root certificate: its file, its text, and its fingerprints in lower-case hexadecimal."""

    file: Path
    pem: str
    sha256: str
    sha1: str

    @property
    def label(self) -> str:
        """What our entry in a store is called: what is ours is known by the beginning, which root it is by the rest."""
        return f"{MANAGER}-{self.sha256[:12]}"


def known_roots(settings: Settings) -> list[RootIdentity]:
    """The root of this TLD, those of other TLDs that these tasks have made, and those before them.

    What cannot be read is left out.
    """
    roots, folder = [], settings.cert_folder
    of_this_tld = [RootFiles(settings, retiring).certificate for retiring in (False, True)]
    for file in (*sorted(folder.glob("*-ca.crt")), *sorted(folder.glob("*-ca.retiring.crt"))):
        with suppress(OSError, ValueError):
            chosen = file in of_this_tld or has_our_form(read_certificate(file))
            # Without its key it may be your company's.
            if chosen and (file.with_suffix(".key").exists() or file.name.endswith(".retiring.crt")):
                roots.append(load_identity(file))
    return roots


def load_identity(file: Path) -> RootIdentity:
    from cryptography.hazmat.primitives.serialization import Encoding

    certificate = read_certificate(file)
    der = certificate.public_bytes(Encoding.DER)
    return RootIdentity(file, certificate.public_bytes(Encoding.PEM).decode(), hashlib.sha256(der).hexdigest(),
                hashlib.sha1(der, usedforsecurity=False).hexdigest())
