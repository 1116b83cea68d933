"""A cluster's intermediate: made here, kept in the cluster's secret only."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.ca.constraints import excludes_addresses, permitted_domains
from tasks.ca.openssl import ca_config, make_key
from tasks.ca.root import RootFiles
from tasks.core.settings import Cluster
from tasks.core.shell import Shell
from tasks.core.work_files import work_folder, write_file

if TYPE_CHECKING:
    from cryptography.x509 import Certificate


INTERMEDIATE_DAYS = 730


RENEW_DAYS = 30


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
        config = write_file(shell, folder / "ca.ini", ca_config(settings, cn, 0, (cluster.domain,)))
        # A random serial: two intermediates of one name must differ (RFC 5280, 4.1.2.2). At most 20 octets, positive.
        serial = write_file(shell, folder / "ca.srl", f"01{secrets.token_hex(15)}\n")
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
