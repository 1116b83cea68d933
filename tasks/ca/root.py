"""The root: where it lies, how it is loaded, and what makes it unusable.

openssl makes keys and certificates, `cryptography` reads and checks them. The root's key never leaves CERT_FOLDER.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from invoke import Exit

from tasks.ca.constraints import basic_constraints, covers, has_our_form, permitted_domains
from tasks.core.problems import Problem, ProblemExit, Reason, problem
from tasks.core.settings import Settings
from tasks.core.well_known import MANAGER

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
    from cryptography.x509 import Certificate

RENEW = "inv cert-renew"
NEW_KEY = "inv cert-renew --new-key"

ROOT_EXPIRES_SOON = timedelta(days=90)


class RootReason(Reason):
    """Why a root cannot be used."""

    ROOT_MISSING = "There is no root CA: {certificate} does not exist."
    ROOT_KEY_MISSING = "The root CA's key {key} is missing."
    ROOT_UNREADABLE = "The root CA {certificate} cannot be read: {error}."
    ROOT_KEY_UNREADABLE = "The root CA's key {key} cannot be read: {error}."
    ROOT_KEY_MISMATCH = "The root CA {certificate} does not belong to the key {key}."
    ROOT_EXPIRED = "The root CA {certificate} expired on {date}."
    ROOT_NOT_YET_VALID = "The root CA {certificate} is not valid until {date}. Is this machine's clock correct?"
    ROOT_NOT_A_CA = "{certificate} is not a certificate authority (basicConstraints)."
    ROOT_WITHOUT_INTERMEDIATES = ("The root CA {certificate} cannot sign intermediates (pathlen 0), "
                                  "which every cluster needs.")
    ROOT_FOR_OTHER_DOMAINS = "The root CA {certificate} does not cover {domains}: it may sign only for {permitted}."
    RETIRING_ROOT_UNREADABLE = "The former root CA {certificate} cannot be read: {error}."


@dataclass(frozen=True)
class RootFiles:
    """Where a root lies: `<CERT_FOLDER>/<TLD>-ca.key`, `.csr` and `.crt`, as in the original.

    `retiring`: the former root, as `<TLD>-ca.retiring.*`. While that is there it is trusted too.
    """

    folder: Path
    tld: str
    retiring: bool = False

    @classmethod
    def of(cls, settings: Settings, retiring: bool = False) -> RootFiles:
        return cls(settings.cert_folder, settings.tld, retiring)

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
        return self.folder / f"{self.tld}-ca{'.retiring' if self.retiring else ''}.{ending}"

    @property
    def unfinished(self) -> Path:
        """Where a new root lies until it is complete; an interrupted run leaves it there."""
        return self.folder / ".new"


@dataclass(frozen=True, eq=False)
class RootCA:
    """A root: its files, its certificate, and its key where that was read. Loaded once, then handed down."""

    files: RootFiles
    certificate: Certificate
    key: PrivateKeyTypes | None = None

    @cached_property
    def pem(self) -> str:
        from cryptography.hazmat.primitives.serialization import Encoding

        return self.certificate.public_bytes(Encoding.PEM).decode()

    @cached_property
    def der(self) -> bytes:
        from cryptography.hazmat.primitives.serialization import Encoding

        return self.certificate.public_bytes(Encoding.DER)

    @cached_property
    def sha256(self) -> str:
        """The fingerprint in lower-case hexadecimal, as is `sha1`."""
        return hashlib.sha256(self.der).hexdigest()

    @cached_property
    def sha1(self) -> str:
        return hashlib.sha1(self.der, usedforsecurity=False).hexdigest()

    @property
    def label(self) -> str:
        """The name of our entry in a trust store: its start tells that it is ours, the rest which root it is."""
        return f"{MANAGER}-{self.sha256[:12]}"

    @property
    def expires(self) -> datetime:
        return self.certificate.not_valid_after_utc

    def has_key_of(self, other: RootCA) -> bool:
        return bool(self.certificate.public_key() == other.certificate.public_key())


class Roots(NamedTuple):
    """What clusters are configured with: the root, and during a renewal the former one."""

    current: RootCA | None
    """None only in a dry run that would create it."""
    retiring: RootCA | None = None

    @property
    def have_one_key(self) -> bool:
        """Whether what one of them signed is valid for the other too."""
        return bool(self.current and self.retiring and self.current.has_key_of(self.retiring))


# --- loading ----------------------------------------------------------------------------------------------------------


def load_root(settings: Settings, retiring: bool = False, ignore_dates: bool = False) -> RootCA:
    """The root, checked.

    :raises ProblemExit: with a RootReason, the files and the way out, when it cannot be used.
    """
    root = read_root(RootFiles.of(settings, retiring))
    why = None if ignore_dates else find_date_problem(root)
    if why:
        raise unusable(root.files, why, RENEW)
    why = find_form_problem(root, settings)
    if why:
        raise unusable(root.files, why, NEW_KEY)
    return root


def find_date_problem(root: RootCA) -> Problem | None:
    now, certificate = datetime.now(timezone.utc), root.certificate
    if certificate.not_valid_after_utc <= now:
        return problem(RootReason.ROOT_EXPIRED, certificate=root.files.certificate, date=f"{root.expires:%Y-%m-%d}")
    if certificate.not_valid_before_utc > now:
        return problem(RootReason.ROOT_NOT_YET_VALID, certificate=root.files.certificate,
                       date=f"{certificate.not_valid_before_utc:%Y-%m-%d}")
    return None


def find_form_problem(root: RootCA, settings: Settings) -> Problem | None:
    """Why this certificate cannot be the root of these domains, whatever its dates."""
    file, basic, permitted = root.files.certificate, basic_constraints(root.certificate), permitted_domains(
        root.certificate)
    if basic is None or not basic.ca:
        return problem(RootReason.ROOT_NOT_A_CA, certificate=file)
    if basic.path_length == 0:
        return problem(RootReason.ROOT_WITHOUT_INTERMEDIATES, certificate=file)
    outside = [name for name in settings.owned_domains if not covers(permitted, name)]
    if outside:
        return problem(RootReason.ROOT_FOR_OTHER_DOMAINS, certificate=file, domains=", ".join(outside),
                       permitted=", ".join(permitted or ()))
    return None


def read_root(files: RootFiles) -> RootCA:
    """Certificate and key, which belong together; nothing else is checked. Raises as `load_root` does."""
    if not files.certificate.exists():
        raise ProblemExit(problem(RootReason.ROOT_MISSING, certificate=files.certificate), "Create it with: inv cert")
    if not files.key.exists():
        raise unusable(files, problem(RootReason.ROOT_KEY_MISSING, key=files.key))
    try:
        certificate = read_certificate(files.certificate)
    except ValueError as error:
        raise unusable(files, problem(RootReason.ROOT_UNREADABLE, certificate=files.certificate, error=error)
                       ) from None
    key = load_key(files)
    if key.public_key() != certificate.public_key():
        raise unusable(files, problem(RootReason.ROOT_KEY_MISMATCH, certificate=files.certificate, key=files.key))
    return RootCA(files, certificate, key)


def read_certificate(file: Path) -> Certificate:
    """The first certificate of a PEM file.

    :raises ValueError: when it cannot be read, or one of its extensions cannot.
    """
    from cryptography import x509

    certificate = x509.load_pem_x509_certificate(file.read_bytes())
    try:
        _ = certificate.extensions  # parsed only when they are asked for
    except (x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise ValueError(str(error)) from None
    return certificate


def load_key(files: RootFiles) -> PrivateKeyTypes:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        return load_pem_private_key(files.key.read_bytes(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise unusable(files, problem(RootReason.ROOT_KEY_UNREADABLE, key=files.key, error=error)) from None


def unusable(files: RootFiles, why: Problem, command: str = "") -> ProblemExit:
    if RootFiles(files.folder, files.tld, retiring=True).certificate.exists():
        command = f"{RENEW}, which resumes the interrupted renewal"
    by_hand = (f"move {files.key}, {files.request.name} and {files.certificate.name} away, then run: inv cert, "
               "and inv k3d-cluster-configure for every cluster")
    return ProblemExit(why, f"Nothing was changed. To replace it: {command or by_hand}\n"
                            "Or set another TLD or CERT_FOLDER in .env.")


# --- other roots ------------------------------------------------------------------------------------------------------


def load_retiring(settings: Settings) -> RootCA | None:
    """The former root, without its key, while clusters may still need it; None when no renewal is under way.

    :raises ProblemExit: when its certificate cannot be read.
    """
    files = RootFiles.of(settings, retiring=True)
    if not files.certificate.exists():
        return None
    try:
        return RootCA(files, read_certificate(files.certificate))
    except ValueError as error:
        raise ProblemExit(
            problem(RootReason.RETIRING_ROOT_UNREADABLE, certificate=files.certificate, error=error),
            "Clusters and trust stores may still need it: restore it from a backup.\nWithout a backup: remove it, then "
            "run: inv k3d-cluster-configure --all, and inv untrust trust") from None


def load_roots(settings: Settings, missing_ok: bool = False) -> Roots:
    """The root and the former one. `missing_ok` is for a dry run, which has not created the root.

    :raises ProblemExit: as `load_root` and `load_retiring` do.
    """
    if missing_ok and not RootFiles.of(settings).certificate.exists():
        return Roots(None, None)
    return Roots(load_root(settings), load_retiring(settings))


def roots_to_trust(settings: Settings) -> list[RootCA]:
    """The root, and during a renewal the former one too as long as it is usable."""
    roots = [load_root(settings)]
    with suppress(Exit):
        retiring = load_root(settings, retiring=True)
        if retiring.certificate != roots[0].certificate:
            roots.append(retiring)
    return roots


def known_roots(settings: Settings) -> list[RootCA]:
    """The root of this TLD, those of other TLDs that these tasks created, and their former ones; without their keys.

    Files that cannot be read are left out.
    """
    roots = []
    for files in list_root_files(settings.cert_folder):
        with suppress(OSError, ValueError):
            certificate = read_certificate(files.certificate)
            ours = files.tld == settings.tld or has_our_form(certificate)
            if ours and (files.key.exists() or files.retiring):  # without its key it may be your company's
                roots.append(RootCA(files, certificate))
    return roots


def list_root_files(folder: Path) -> list[RootFiles]:
    """Every root in the folder by its file's name; former ones last."""
    return [RootFiles(folder, file.name.removesuffix(ending), retiring)
            for ending, retiring in (("-ca.crt", False), ("-ca.retiring.crt", True))
            for file in sorted(folder.glob(f"*{ending}"))]
