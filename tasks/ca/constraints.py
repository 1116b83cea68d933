"""What a certificate says that it may sign for (RFC 5280, 4.2.1.9 and 4.2.1.10)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.x509 import BasicConstraints, Certificate, NameConstraints


def has_our_form(root: Certificate) -> bool:
    """Whether it has the form that `make_root` gives it, whatever its names and age: another tool's has not."""
    basic, permitted = basic_constraints(root), permitted_domains(root)
    return (basic is not None and basic.path_length == 1 and excludes_addresses(root)
            and permitted is not None and not any(name.startswith(".") for name in permitted))


def basic_constraints(certificate: Certificate) -> BasicConstraints | None:
    from cryptography import x509

    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        return None


def permitted_domains(certificate: Certificate) -> tuple[str, ...] | None:
    """The DNS names of the name constraint; None where nothing constrains DNS names."""
    from cryptography import x509

    constraints = name_constraints(certificate)
    if constraints is None or constraints.permitted_subtrees is None:
        return None
    names = tuple(name.value for name in constraints.permitted_subtrees if isinstance(name, x509.DNSName))
    return names or None


def excludes_addresses(certificate: Certificate) -> bool:
    """Whether all IPv4 and all IPv6 addresses are excluded."""
    from cryptography import x509

    constraints = name_constraints(certificate)
    excluded = (constraints.excluded_subtrees or []) if constraints else []
    networks = {str(name.value) for name in excluded if isinstance(name, x509.IPAddress)}
    return {"0.0.0.0/0", "::/0"} <= networks


def name_constraints(certificate: Certificate) -> NameConstraints | None:
    from cryptography import x509

    try:
        return certificate.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        return None


def covers(permitted: tuple[str, ...] | None, domain: str) -> bool:
    """Whether a constraint allows a domain and all below it; a leading dot, as the original has it, is no hindrance."""
    if permitted is None:
        return True
    return any(f".{domain}".endswith(f".{name.lower().strip('.')}") for name in permitted)
