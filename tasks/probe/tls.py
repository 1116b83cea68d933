"""The certificate that a cluster's HTTPS port serves for a name."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasks.core.settings import Cluster
from tasks.probe.example_page import port
from tasks.probe.requests import SECONDS, tls_trusting_all, tls_trusting_root

if TYPE_CHECKING:
    import ssl

    from cryptography.x509 import Certificate

# https://docs.openssl.org/3.0/man3/X509_STORE_CTX_get_error/
PERMITTED_VIOLATION, EXCLUDED_VIOLATION = 47, 48


@dataclass(frozen=True)
class ServedCertificate:
    """A leaf, and the result when OpenSSL verifies it, with the chain that was sent along, against our root alone."""

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

    from cryptography import x509

    number = port(cluster, "https", front_door)
    der = handshake(cluster.address, number, host, tls_trusting_all(cluster))
    code, error = 0, ""
    try:
        handshake(cluster.address, number, host, tls_trusting_root(cluster))
    except ssl.SSLCertVerificationError as refused:
        code, error = refused.verify_code, refused.verify_message
    return ServedCertificate(x509.load_der_x509_certificate(der), code, error)


def handshake(address: str, port: int, host: str, context: ssl.SSLContext) -> bytes:
    """The leaf, as DER."""
    with (socket.create_connection((address, port), timeout=SECONDS) as plain,
          context.wrap_socket(plain, server_hostname=host) as secure):
        return secure.getpeercert(binary_form=True) or b""


def is_answering(cluster: Cluster) -> bool:
    """Whether the HTTPS port completes a handshake, with whichever certificate."""
    try:
        handshake(cluster.address, cluster.https_port, f"proof.{cluster.domain}", tls_trusting_all(cluster))
    except OSError:
        return False
    return True


def issuer_name(certificate: Certificate) -> str:
    """The common name of its issuer."""
    from cryptography.x509.oid import NameOID

    names = certificate.issuer.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else certificate.issuer.rfc4514_string()


def dns_names(certificate: Certificate) -> list[str]:
    """The DNS names that it is valid for."""
    from cryptography import x509

    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return names.get_values_for_type(x509.DNSName)
