"""Who signed what."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.x509 import Certificate


def chain_belongs_to(chain_pem: bytes, root: Certificate) -> bool:
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


def is_issued_by(leaf_pem: bytes, chain_pem: bytes) -> bool:
    """Whether the first certificate was signed by the first of the chain."""
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature

    try:
        issuer = x509.load_pem_x509_certificates(chain_pem)[0]
        x509.load_pem_x509_certificates(leaf_pem)[0].verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
