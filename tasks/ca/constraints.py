"""What a certificate may sign for: basic constraints and name constraints (RFC 5280, 4.2.1.9 and 4.2.1.10)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.x509 import Certificate


@dataclass(frozen=True)
class Constraints:
    """The basic and name constraints of a certificate, each as without constraint where the extension is missing."""

    is_ca: bool = False
    path_length: int | None = None
    """How many intermediates may follow below it; None for any number."""
    permitted: tuple[str, ...] | None = None
    """The permitted DNS names; None if DNS names are not constrained."""
    excludes_addresses: bool = False
    """Whether all IPv4 and all IPv6 addresses are excluded."""


def read_constraints(certificate: Certificate) -> Constraints:
    from cryptography import x509

    is_ca, path_length, permitted, excluded = False, None, None, set()
    for extension in certificate.extensions:
        match extension.value:
            case x509.BasicConstraints() as basic:
                is_ca, path_length = basic.ca, basic.path_length
            case x509.NameConstraints() as names:
                permitted = tuple(name.value for name in names.permitted_subtrees or []
                                  if isinstance(name, x509.DNSName)) or None
                excluded = {str(name.value) for name in names.excluded_subtrees or []
                            if isinstance(name, x509.IPAddress)}
    return Constraints(is_ca, path_length, permitted, {"0.0.0.0/0", "::/0"} <= excluded)


def has_our_form(root: Certificate) -> bool:
    """Whether a root has the form that `create_root` gives it, with any names and dates. Other tools' roots do not."""
    found = read_constraints(root)
    return (found.path_length == 1 and found.excludes_addresses
            and found.permitted is not None and not any(name.startswith(".") for name in found.permitted))


def covers(permitted: tuple[str, ...] | None, domain: str) -> bool:
    """Whether a constraint permits a domain and all names below it. A leading dot, as in the original, is ignored."""
    if permitted is None:
        return True
    return any(f".{domain}".endswith(f".{name.lower().strip('.')}") for name in permitted)
