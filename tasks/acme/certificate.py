"""The certificate of a cluster that an ACME server has issued, as it lies on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from tasks.acme.client import Client, load_client
from tasks.ca.names import dns_names, issuer_name
from tasks.core.problems import Problem, Reason, problem
from tasks.core.settings import Cluster

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

STAGING = "(STAGING)"
"""What Let's Encrypt writes into the names of its staging CAs: https://letsencrypt.org/docs/staging-environment/"""


class OrderReason(Reason):
    """Why a certificate must be ordered. Each sentence describes what is on this machine."""

    CERTIFICATE_MISSING = "none"
    CERTIFICATE_UNREADABLE = "files that cannot be read ({error})"
    CERTIFICATE_OF_OTHER_KEY = "a certificate that does not belong to the key {key}"
    CERTIFICATE_FOR_OTHER_NAMES = "one for {names}"
    CERTIFICATE_NOT_YET_VALID = "one that is not valid until {date} UTC. Is this machine's clock correct?"
    CERTIFICATE_EXPIRED = "one that expired on {date}"
    CERTIFICATE_DUE = "one that expires on {date}"


@dataclass(frozen=True)
class AcmeCertificate:
    """A certificate with its chain and key, as PEM."""

    chain: str
    key: str
    leaf: Certificate

    @property
    def issuer(self) -> str:
        return issuer_name(self.leaf)

    @property
    def is_staging(self) -> bool:
        return STAGING in self.leaf.issuer.rfc4514_string()

    @property
    def expires(self) -> datetime:
        return self.leaf.not_valid_after_utc

    @property
    def is_due(self) -> bool:
        """Whether less than a third of its life is left, as ACME clients calculate it: 30 of 90 days, 15 of 45.

        https://letsencrypt.org/docs/integration-guide/#when-to-renew
        """
        life = self.expires - self.leaf.not_valid_before_utc
        return datetime.now(timezone.utc) > self.expires - life / 3


def wanted_names(cluster: Cluster) -> set[str]:
    """The names that a cluster's certificate must have.

    Each cluster has a certificate of its own: with one for all, a browser would reuse the connection to one of them for
    the names of the others (RFC 9113, 9.1.1).
    """
    return {cluster.domain, f"*.{cluster.domain}"}


def read(client: Client) -> AcmeCertificate:
    """The certificate and its key.

    :raises OSError: if there are none. :raises ValueError: if they cannot be read.
    """
    from cryptography import x509

    chain = client.certificate.read_text()
    leaf = x509.load_pem_x509_certificates(chain.encode())[0]
    return AcmeCertificate(chain, client.key.read_text(), leaf)


def find_usable(cluster: Cluster) -> AcmeCertificate | None:
    """The certificate, if a cluster can serve it, even if it is due."""
    client = load_client(cluster)
    return None if find_defect(cluster, client) else read(client)


def find_reason_to_order(cluster: Cluster, client: Client) -> Problem | None:
    """Why a certificate must be ordered for this cluster: it has a defect, or is due."""
    if defect := find_defect(cluster, client):
        return defect
    found = read(client)
    return problem(OrderReason.CERTIFICATE_DUE, date=f"{found.expires:%Y-%m-%d}") if found.is_due else None


def find_defect(cluster: Cluster, client: Client) -> Problem | None:
    """Why the cluster cannot serve what is on this machine."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    if not (client.certificate.exists() and client.key.exists()):
        return problem(OrderReason.CERTIFICATE_MISSING)
    try:
        found = read(client)
        key = load_pem_private_key(found.key.encode(), password=None)
        belongs, names = key.public_key() == found.leaf.public_key(), dns_names(found.leaf)
    except (OSError, ValueError, TypeError, IndexError, UnsupportedAlgorithm) as error:
        return problem(OrderReason.CERTIFICATE_UNREADABLE, error=error)
    if not belongs:
        return problem(OrderReason.CERTIFICATE_OF_OTHER_KEY, key=client.key)
    if not wanted_names(cluster) <= {*names}:
        return problem(OrderReason.CERTIFICATE_FOR_OTHER_NAMES, names=", ".join(names) or "no name")
    if found.leaf.not_valid_before_utc > datetime.now(timezone.utc):
        return problem(OrderReason.CERTIFICATE_NOT_YET_VALID, date=f"{found.leaf.not_valid_before_utc:%Y-%m-%d %H:%M}")
    if found.expires < datetime.now(timezone.utc):
        return problem(OrderReason.CERTIFICATE_EXPIRED, date=f"{found.expires:%Y-%m-%d}")
    return None
