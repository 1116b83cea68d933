"""The certificate that a cluster's HTTPS port serves for a name."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasks.core.settings import Cluster
from tasks.probe.example_page import port
from tasks.probe.requests import SECONDS, tls_trusting_all, tls_trusting_issuers

if TYPE_CHECKING:
    import ssl

    from cryptography.x509 import Certificate

# https://docs.openssl.org/3.0/man3/X509_STORE_CTX_get_error/
PERMITTED_VIOLATION, EXCLUDED_VIOLATION = 47, 48


@dataclass(frozen=True)
class ServedCertificate:
    """A leaf, and the result when OpenSSL verifies it, with the chain that was sent along, for this cluster."""

    leaf: Certificate
    code: int
    """OpenSSL's error code; 0 when it is accepted."""
    error: str

    @property
    def by_traefik(self) -> bool:
        """Whether it is the default certificate, which Traefik serves where it has no other."""
        return "TRAEFIK DEFAULT CERT" in self.leaf.issuer.rfc4514_string()

    @property
    def violates_constraint(self) -> bool:
        return self.code in (PERMITTED_VIOLATION, EXCLUDED_VIOLATION)


def fetch_certificate(cluster: Cluster, host: str, front_door: bool = False) -> ServedCertificate:
    """Fetch it from the cluster's address, without verification and with it; OSError when there is no TLS."""
    import ssl

    leaf, code, error = fetch_leaf(cluster, host, front_door), 0, ""
    try:
        handshake(cluster.address, port(cluster, "https", front_door), host, tls_trusting_issuers(cluster))
    except ssl.SSLCertVerificationError as refused:
        code, error = refused.verify_code, refused.verify_message
    return ServedCertificate(leaf, code, error)


def fetch_leaf(cluster: Cluster, host: str, front_door: bool = False) -> Certificate:
    """Fetch it from the cluster's address, without verification; OSError when there is no TLS."""
    from cryptography import x509

    return x509.load_der_x509_certificate(
        handshake(cluster.address, port(cluster, "https", front_door), host, tls_trusting_all(cluster)))


def handshake(address: str, port: int, host: str, context: ssl.SSLContext) -> bytes:
    """The leaf, as DER."""
    with (socket.create_connection((address, port), timeout=SECONDS) as plain,
          context.wrap_socket(plain, server_hostname=host) as secure):
        return secure.getpeercert(binary_form=True) or b""


def is_served(cluster: Cluster, host: str, leaf: Certificate) -> bool:
    """Whether the cluster's HTTPS port serves this certificate for a name."""
    try:
        return fetch_leaf(cluster, host) == leaf
    except OSError:
        return False


def is_answering(cluster: Cluster) -> bool:
    """Whether the HTTPS port completes a handshake, with whichever certificate."""
    try:
        handshake(cluster.address, cluster.https_port, f"proof.{cluster.domain}", tls_trusting_all(cluster))
    except OSError:
        return False
    return True
