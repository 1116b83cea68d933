"""Which certificate issued which."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.x509 import Certificate


def is_issued_by(certificate: Certificate, issuer: Certificate) -> bool:
    """Whether the issuer's key signed the certificate, and the names match."""
    from cryptography.exceptions import InvalidSignature

    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def load_chain(pem: bytes) -> list[Certificate]:
    """The certificates in a PEM text; none when it holds none, or cannot be read."""
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        return []


def chain_belongs_to(chain_pem: bytes, root: Certificate) -> bool:
    """Whether a chain holds this very root, or starts with a certificate that its key signed."""
    chain = load_chain(chain_pem)
    return root in chain or (bool(chain) and is_issued_by(chain[0], root))


def leaf_belongs_to(leaf_pem: bytes, chain_pem: bytes) -> bool:
    """Whether the first certificate was issued by the first of the chain."""
    leaf, chain = load_chain(leaf_pem), load_chain(chain_pem)
    return bool(leaf and chain) and is_issued_by(leaf[0], chain[0])
