"""A cluster's intermediate: created on this machine, stored only in the cluster's secret."""

from __future__ import annotations

import secrets
import shutil
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from tasks.ca.constraints import read_constraints
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
    """Why a cluster needs a new intermediate. Each sentence describes what the cluster has."""

    INTERMEDIATE_MISSING = "no intermediate"
    INTERMEDIATE_IS_ROOT = "the root itself instead of an intermediate"
    INTERMEDIATE_OF_OTHER_ROOT = "an intermediate issued by another root"
    INTERMEDIATE_FOR_OTHER_DOMAIN = "an intermediate for other names"
    INTERMEDIATE_CHAIN_INCOMPLETE = "a chain that does not end with the root"
    INTERMEDIATE_EXPIRES = "an intermediate that expires on {date}"


@dataclass(frozen=True)
class Intermediate:
    """The two PEM texts of a cluster's secret: the chain (intermediate, then root) and the intermediate's key."""

    chain: str
    key: str


def find_reason_to_replace(chain_pem: bytes, root: RootCA, cluster: Cluster) -> Problem | None:
    """Why a cluster needs a new intermediate; None while its own is valid for another RENEW_DAYS."""
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
    constraints = read_constraints(first)
    if constraints.permitted != (cluster.domain,) or not constraints.excludes_addresses:
        return problem(IntermediateReason.INTERMEDIATE_FOR_OTHER_DOMAIN)
    if rest != [root.certificate]:
        return problem(IntermediateReason.INTERMEDIATE_CHAIN_INCOMPLETE)
    if first.not_valid_after_utc < datetime.now(timezone.utc) + timedelta(days=RENEW_DAYS):
        return problem(IntermediateReason.INTERMEDIATE_EXPIRES, date=f"{first.not_valid_after_utc:%Y-%m-%d}")
    return None


def make_intermediate(shell: Shell, cluster: Cluster, root: RootFiles) -> Intermediate:
    """Create and sign an intermediate for this cluster's domain. Its files are deleted before this returns."""
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
    """Where the intermediate's key is stored until the cluster has it; the folder is deleted afterwards."""
    return work_folder(cluster) / "intermediate"


def discard_intermediate(shell: Shell, cluster: Cluster) -> None:
    if not shell.dry:
        shutil.rmtree(intermediate_folder(cluster), ignore_errors=True)
