"""A cluster's intermediate: created here, kept only in the cluster's secret."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from tasks.ca.constraints import excludes_addresses, permitted_domains
from tasks.ca.openssl import ca_config, make_key
from tasks.ca.root import RootCA, RootFiles
from tasks.ca.signatures import is_issued_by
from tasks.core.problems import Problem, Reason, problem
from tasks.core.settings import Cluster
from tasks.core.shell import Shell
from tasks.core.work_files import work_folder, write_file

INTERMEDIATE_DAYS = 730
RENEW_DAYS = 30


class IntermediateReason(Reason):
    """Why a cluster's intermediate must be replaced."""

    INTERMEDIATE_MISSING = "there was none"
    INTERMEDIATE_IS_ROOT = "the root itself was in the cluster"
    INTERMEDIATE_OF_OTHER_ROOT = "the old one was issued by another root"
    INTERMEDIATE_FOR_OTHER_DOMAIN = "the old one was for other names"
    INTERMEDIATE_CHAIN_INCOMPLETE = "the old chain did not end with the root"
    INTERMEDIATE_EXPIRES = "the old one expires on {date}"


@dataclass(frozen=True)
class Intermediate:
    """The two PEM texts of a cluster's secret: the chain (intermediate, then root) and the intermediate's key."""

    chain: str
    key: str


def find_reason_to_replace(chain_pem: bytes, root: RootCA, cluster: Cluster) -> Problem | None:
    """Why the intermediate in a cluster must be replaced; None while it stays valid for RENEW_DAYS or more."""
    from cryptography import x509

    if not chain_pem:
        return problem(IntermediateReason.INTERMEDIATE_MISSING)
    try:
        first, *rest = x509.load_pem_x509_certificates(chain_pem)
    except ValueError:
        return problem(IntermediateReason.INTERMEDIATE_OF_OTHER_ROOT)
    if first == root.certificate:
        return problem(IntermediateReason.INTERMEDIATE_IS_ROOT)
    if not is_issued_by(first, root.certificate):
        return problem(IntermediateReason.INTERMEDIATE_OF_OTHER_ROOT)
    if permitted_domains(first) != (cluster.domain,) or not excludes_addresses(first):
        return problem(IntermediateReason.INTERMEDIATE_FOR_OTHER_DOMAIN)
    if rest != [root.certificate]:
        return problem(IntermediateReason.INTERMEDIATE_CHAIN_INCOMPLETE)
    if first.not_valid_after_utc < datetime.now(timezone.utc) + timedelta(days=RENEW_DAYS):
        return problem(IntermediateReason.INTERMEDIATE_EXPIRES, date=f"{first.not_valid_after_utc:%Y-%m-%d}")
    return None


def make_intermediate(shell: Shell, cluster: Cluster, root: RootFiles) -> Intermediate:
    """Sign a new intermediate for this cluster's domain. Its key is read and its file removed at once."""
    import secrets

    settings = cluster.settings
    folder = intermediate_folder(cluster)
    discard_intermediate(shell, cluster)
    if not shell.dry:
        folder.mkdir(parents=True, mode=0o700)
    try:
        key, request, certificate = (folder / f"ca.{ending}" for ending in ("key", "csr", "crt"))
        cn = f"{settings.cert_cn} {cluster.name}"
        config = write_file(shell, folder / "ca.ini", ca_config(settings, cn, 0, (cluster.domain,)))
        # A random serial: two intermediates of one name must differ (RFC 5280, 4.1.2.2). At most 20 octets, positive.
        serial = write_file(shell, folder / "ca.srl", f"01{secrets.token_hex(15)}\n")
        make_key(shell, key)
        shell.change("openssl", "req", "-new", "-key", str(key), "-config", str(config), "-out", str(request))
        shell.change("openssl", "x509", "-req", "-sha256", "-in", str(request), "-CA", str(root.certificate),
                     "-CAkey", str(root.key), "-CAserial", str(serial), "-extfile", str(config),
                     "-extensions", "authority", "-days", str(INTERMEDIATE_DAYS), "-out", str(certificate))
        if shell.dry:
            return Intermediate("", "")
        return Intermediate(certificate.read_text() + root.certificate.read_text(), key.read_text())
    finally:
        discard_intermediate(shell, cluster)


def intermediate_folder(cluster: Cluster) -> Path:
    """Where the intermediate's key lies on its way to the cluster, and at no other time."""
    return work_folder(cluster) / "intermediate"


def discard_intermediate(shell: Shell, cluster: Cluster) -> None:
    if not shell.dry:
        shutil.rmtree(intermediate_folder(cluster), ignore_errors=True)
