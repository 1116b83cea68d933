"""Load the root and check whether it can be used.

openssl creates keys and certificates; `cryptography` reads and checks them.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from invoke import Exit

from tasks.ca.constraints import covers, has_our_form, read_constraints
from tasks.ca.root import NEW_KEY, RENEW, RootCA, RootFiles, Roots
from tasks.core.problems import Problem, ProblemExit, Reason, problem
from tasks.core.settings import Settings

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
    from cryptography.x509 import Certificate


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


def load_root(settings: Settings, retiring: bool = False, ignore_dates: bool = False) -> RootCA:
    """The root, checked.

    :raises ProblemExit: with a RootReason and the remedy, if it cannot be used.
    """
    root = read_root(RootFiles.of(settings, retiring))
    why = None if ignore_dates else find_date_problem(root)
    if why:
        raise root_error(root.files, why, RENEW)
    why = find_form_problem(root, settings)
    if why:
        raise root_error(root.files, why, NEW_KEY)
    return root


def find_date_problem(root: RootCA) -> Problem | None:
    """Whether it has expired or is not valid yet."""
    now, certificate = datetime.now(timezone.utc), root.certificate
    if certificate.not_valid_after_utc <= now:
        return problem(RootReason.ROOT_EXPIRED, certificate=root.files.certificate, date=f"{root.expires:%Y-%m-%d}")
    if certificate.not_valid_before_utc > now:
        return problem(RootReason.ROOT_NOT_YET_VALID, certificate=root.files.certificate,
                       date=f"{certificate.not_valid_before_utc:%Y-%m-%d}")
    return None


def find_form_problem(root: RootCA, settings: Settings) -> Problem | None:
    """Why this certificate cannot be the root for these domains, regardless of its dates."""
    file, constraints = root.files.certificate, read_constraints(root.certificate)
    if not constraints.is_ca:
        return problem(RootReason.ROOT_NOT_A_CA, certificate=file)
    if constraints.path_length == 0:
        return problem(RootReason.ROOT_WITHOUT_INTERMEDIATES, certificate=file)
    outside = [name for name in settings.owned_domains if not covers(constraints.permitted, name)]
    if outside:
        return problem(RootReason.ROOT_FOR_OTHER_DOMAINS, certificate=file, domains=", ".join(outside),
                       permitted=", ".join(constraints.permitted or ()))
    return None


def read_root(files: RootFiles) -> RootCA:
    """Read certificate and key, and check that they match, but nothing else.

    :raises ProblemExit: as `load_root` does.
    """
    if not files.certificate.exists():
        raise ProblemExit(problem(RootReason.ROOT_MISSING, certificate=files.certificate), "Create it with: inv cert")
    if not files.key.exists():
        raise root_error(files, problem(RootReason.ROOT_KEY_MISSING, key=files.key))
    try:
        certificate = read_certificate(files.certificate)
    except ValueError as error:
        why = problem(RootReason.ROOT_UNREADABLE, certificate=files.certificate, error=error)
        raise root_error(files, why) from None
    key = load_key(files)
    if key.public_key() != certificate.public_key():
        raise root_error(files, problem(RootReason.ROOT_KEY_MISMATCH, certificate=files.certificate, key=files.key))
    return RootCA(files, certificate, key)


def read_certificate(file: Path) -> Certificate:
    """The first certificate in a PEM file.

    :raises ValueError: if it or one of its extensions cannot be read.
    """
    from cryptography import x509

    certificate = x509.load_pem_x509_certificate(file.read_bytes())
    try:
        _ = certificate.extensions  # parsed only on access
    except (x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise ValueError(str(error)) from None
    return certificate


def load_key(files: RootFiles) -> PrivateKeyTypes:
    """The key. Raises as `load_root` does."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        return load_pem_private_key(files.key.read_bytes(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise root_error(files, problem(RootReason.ROOT_KEY_UNREADABLE, key=files.key, error=error)) from None


def root_error(files: RootFiles, why: Problem, command: str = "") -> ProblemExit:
    """The error for a root that cannot be used. `command` replaces it; without one, the files must be moved away."""
    if RootFiles(files.folder, files.tld, retiring=True).certificate.exists():
        command = f"{RENEW}, which resumes the interrupted renewal"
    by_hand = (f"move {files.key}, {files.request.name} and {files.certificate.name} away, then run: inv cert, "
               "and inv k3d-cluster-configure for every cluster")
    return ProblemExit(why, f"Nothing was changed. To replace it: {command or by_hand}\n"
                            "Or set another TLD or CERT_FOLDER in .env.")


# --- former roots, and those of other TLDs ----------------------------------------------------------------------------


def load_retiring(settings: Settings) -> RootCA | None:
    """The former root without its key, while clusters may still need it; None if no renewal is in progress.

    :raises ProblemExit: if its certificate cannot be read.
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
    """The current and the former root. `missing_ok` is for a dry run, which has not created the root.

    :raises ProblemExit: as `load_root` and `load_retiring` do.
    """
    if missing_ok and not RootFiles.of(settings).certificate.exists():
        return Roots(None, None)
    return Roots(load_root(settings), load_retiring(settings))


def load_roots_to_trust(settings: Settings) -> list[RootCA]:
    """The current root, and during a renewal the former one too, if it is usable."""
    roots = [load_root(settings)]
    with suppress(Exit):
        retiring = load_root(settings, retiring=True)
        if retiring.certificate != roots[0].certificate:
            roots.append(retiring)
    return roots


def load_known_roots(settings: Settings) -> list[RootCA]:
    """The root of this TLD, roots of other TLDs that these tasks created, and their former roots; without their keys.

    Unreadable files are skipped.
    """
    roots = []
    for files in list_root_files(settings.cert_folder):
        with suppress(OSError, ValueError):
            certificate = read_certificate(files.certificate)
            ours = files.tld == settings.tld or has_our_form(certificate)
            if ours and (files.key.exists() or files.retiring):  # without a key it may be your company's
                roots.append(RootCA(files, certificate))
    return roots


def list_root_files(folder: Path) -> list[RootFiles]:
    """The files of every root in the folder, sorted by name, former roots last."""
    return [RootFiles(folder, file.name.removesuffix(ending), retiring)
            for ending, retiring in (("-ca.crt", False), ("-ca.retiring.crt", True))
            for file in sorted(folder.glob(f"*{ending}"))]
