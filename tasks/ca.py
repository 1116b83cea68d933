"""The certificate authority: a root on this host, and an intermediate for each cluster.

openssl makes keys and certificates, `cryptography` reads and checks them. The root's key never leaves CERT_FOLDER;
an intermediate's key exists in its cluster's secret only.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from invoke import Exit

from tasks.constraints import basic_constraints, covers, excludes_addresses, permitted_domains
from tasks.render import render, work_folder, write
from tasks.settings import Cluster, Settings
from tasks.shell import Shell

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
    from cryptography.x509 import Certificate

ROOT_DAYS = 3650
INTERMEDIATE_DAYS = 730
RENEW_DAYS = 30

NEW_KEY = "inv cert-renew --new-key"


# --- the root ---------------------------------------------------------------------------------------------------------


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


def ensure_root(shell: Shell, settings: Settings) -> None:
    """Make the root where there is none, else say until when it is good and what is weak about it."""
    files = RootFiles(settings)
    with shell.step("", "root certificate") as this, shell.one_at_a_time():
        for file in (files.key, files.certificate):
            if file.is_symlink() and not file.exists():
                raise Exit(f"{file} leads to {file.readlink()}, which is not there. Is a disk not mounted?")
        if files.certificate.exists():
            root = load_root(settings)
            this.skip(f"already there: {files.certificate}, until {root.not_valid_after_utc:%Y-%m-%d}")
            weak = [*weaknesses(root, settings), *open_to_others(files)]
            if weak:
                this.warn("\n".join([f"already there, and weaker than it need be: {files.certificate}",
                                     *(f"    - {weakness}" for weakness in weak),
                                     f"    For a new one: {NEW_KEY}"]))
        else:
            make_root(shell, settings)
            this.outcome = f"made: {files.certificate}, only for {', '.join(settings.owned_domains)}"


def make_root(shell: Shell, settings: Settings) -> None:
    """Make key, request and certificate under temporary names, and move them into place once they are whole.

    A key that is there already is used and never replaced.
    """
    files = RootFiles(settings)
    if files.key.exists():
        load_key(files)
    new = new_folder(shell, files)
    key = files.key if files.key.exists() else make_key(shell, new / files.key.name)
    sign_root(shell, settings, key, new)
    move_into_place(shell, files, new)


def new_folder(shell: Shell, files: RootFiles) -> Path:
    """An empty folder for what is not whole yet. What a run left there that was broken off is gone."""
    new = files.unfinished
    if not shell.dry:
        files.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(mode=0o700)
    return new


def sign_root(shell: Shell, settings: Settings, key: Path, new: Path) -> None:
    """A request and a root certificate for this key, for our domains alone."""
    files = RootFiles(settings)
    request, certificate = new / files.request.name, new / files.certificate.name
    config = write(shell, new / "ca.ini", ca_config(settings, settings.cert_cn, 1, settings.owned_domains))
    shell.change("openssl", "req", "-new", "-key", str(key), "-config", str(config), "-out", str(request))
    shell.change("openssl", "req", "-x509", "-in", str(request), "-key", str(key), "-config", str(config),
                 "-extensions", "authority", "-days", str(ROOT_DAYS), "-out", str(certificate))


def move_into_place(shell: Shell, files: RootFiles, new: Path) -> None:
    """What was made, the certificate last: by it a root is known."""
    if shell.dry:
        return shell.note(f"move what was made to {files.folder}")
    for file in (files.key, files.request, files.certificate):
        if (new / file.name).exists():
            (new / file.name).rename(file)
    shutil.rmtree(new)
    load_root(files.settings)


def make_key(shell: Shell, file: Path) -> Path:
    """An EC P-256 key, readable by the user alone."""
    if not shell.dry:
        file.touch(mode=0o600)  # openssl keeps the mode of a file that is there
    shell.change("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", str(file))
    return file


def ca_config(settings: Settings, cn: str, pathlen: int, domains: tuple[str, ...]) -> str:
    return render("ca.ini", cn=cn, o=settings.cert_o, c=settings.cert_c, pathlen=pathlen, domains=domains)


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
                f"{way or by_hand(files)}\nOr choose another TLD or CERT_FOLDER in .env.")


def by_hand(files: RootFiles) -> str:
    return (f"move {files.key}, {files.request.name} and {files.certificate.name} away, then: inv cert, "
            "and inv k3d-cluster-configure for every cluster")


def is_made_here(root: Certificate) -> bool:
    """Whether it has the form that `make_root` gives it, whatever its names and age: another tool's has not."""
    basic, permitted = basic_constraints(root), permitted_domains(root)
    return (basic is not None and basic.path_length == 1 and excludes_addresses(root)
            and permitted is not None and not any(name.startswith(".") for name in permitted))


def weaknesses(root: Certificate, settings: Settings) -> Iterator[str]:
    """What a root of the original, or of another tool, allows or lacks; each in a sentence."""
    from cryptography import x509

    permitted = permitted_domains(root)
    if permitted is None:
        yield "it may sign for every name on the Internet (no name constraint)"
        permitted = ()
    if any(name.startswith(".") for name in permitted):
        yield "its constraint begins with a dot, which is no valid form for a DNS name and fails in some verifiers"
    wide = [name for name in permitted if name.strip(".") not in settings.owned_domains]
    if wide:
        yield f"it may sign for all of {', '.join(wide)}, not only for {', '.join(settings.owned_domains)}"
    if not excludes_addresses(root):
        yield "it may sign for every IP address"
    if not any(isinstance(extension.value, x509.SubjectKeyIdentifier) for extension in root.extensions):
        yield "it has no subject key identifier, which Python 3.13 and newer demand of its leaves"


def open_to_others(files: RootFiles) -> Iterator[str]:
    """Which of folder and key others may read, each in a sentence."""
    for file, allowed in ((files.folder, 0o700), (files.key, 0o600)):
        mode = file.stat().st_mode & 0o777
        if mode & ~allowed:
            yield f"others may read {file} (mode {mode:o}): chmod {allowed:o} {file}"


# --- a cluster's intermediate -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Intermediate:
    """The two PEM texts of a cluster's secret: the chain (intermediate, then root) and the intermediate's key."""

    chain: str
    key: str


def why_not_kept(chain_pem: bytes, root: Certificate, cluster: Cluster) -> str:
    """Why the intermediate in a cluster is to be replaced; empty when it is good for another RENEW_DAYS."""
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature

    if not chain_pem:
        return "there was none"
    try:
        first, *rest = x509.load_pem_x509_certificates(chain_pem)
        if first == root:
            return "the root itself was in the cluster"
        first.verify_directly_issued_by(root)
    except (ValueError, TypeError, InvalidSignature):
        return "the old one was of another root"
    if permitted_domains(first) != (cluster.domain,) or not excludes_addresses(first):
        return "the old one was for other names"
    if rest != [root]:
        return "the old chain did not end in the root"
    if first.not_valid_after_utc < datetime.now(timezone.utc) + timedelta(days=RENEW_DAYS):
        return f"the old one ends on {first.not_valid_after_utc:%Y-%m-%d}"
    return ""


def make_intermediate(shell: Shell, cluster: Cluster) -> Intermediate:
    """Sign a new intermediate for this cluster's domain. Its key is read and its file removed at once."""
    import secrets

    settings, files = cluster.settings, RootFiles(cluster.settings)
    folder = intermediate_folder(cluster)
    discard_intermediate(shell, cluster)
    if not shell.dry:
        folder.mkdir(parents=True, mode=0o700)
    try:
        key, request, certificate = (folder / f"ca.{ending}" for ending in ("key", "csr", "crt"))
        cn = f"{settings.cert_cn} {cluster.name}"
        config = write(shell, folder / "ca.ini", ca_config(settings, cn, 0, (cluster.domain,)))
        # A random serial: two intermediates of one name must differ (RFC 5280, 4.1.2.2). At most 20 octets, positive.
        serial = write(shell, folder / "ca.srl", f"01{secrets.token_hex(15)}\n")
        make_key(shell, key)
        shell.change("openssl", "req", "-new", "-key", str(key), "-config", str(config), "-out", str(request))
        shell.change("openssl", "x509", "-req", "-sha256", "-in", str(request), "-CA", str(files.certificate),
                     "-CAkey", str(files.key), "-CAserial", str(serial), "-extfile", str(config),
                     "-extensions", "authority", "-days", str(INTERMEDIATE_DAYS), "-out", str(certificate))
        if shell.dry:
            return Intermediate("", "")
        return Intermediate(certificate.read_text() + files.certificate.read_text(), key.read_text())
    finally:
        discard_intermediate(shell, cluster)


def intermediate_folder(cluster: Cluster) -> Path:
    """Where the intermediate's key lies on its way to the cluster, and at no other time."""
    return work_folder(cluster) / "intermediate"


def discard_intermediate(shell: Shell, cluster: Cluster) -> None:
    if not shell.dry:
        shutil.rmtree(intermediate_folder(cluster), ignore_errors=True)


def is_of(chain_pem: bytes, root: Certificate) -> bool:
    """Whether a chain holds this very root, or begins with what its key has signed."""
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature

    try:
        chain = x509.load_pem_x509_certificates(chain_pem)
        if root not in chain:
            chain[0].verify_directly_issued_by(root)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def leaf_is_of(leaf_pem: bytes, chain_pem: bytes) -> bool:
    """Whether the first certificate was signed by the first of the chain."""
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature

    try:
        issuer = x509.load_pem_x509_certificates(chain_pem)[0]
        x509.load_pem_x509_certificates(leaf_pem)[0].verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
