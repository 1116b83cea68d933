"""What an entry in a trust store shows: the domains that its root may sign for, and the file that it came from."""

from __future__ import annotations

import re
import ssl
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.ca.constraints import has_our_form, read_constraints
from tasks.core.copies import text_to_path

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

ROOT_OF = "# root of "
"""The start of a line in a file in the system's store: the path of the root follows."""

NAME_CONSTRAINTS = bytes.fromhex("0603551d1e")
"""Their identifier in a certificate: RFC 5280, 4.2.1.10."""

CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----\n.*?-----END CERTIFICATE-----", re.DOTALL)


def find_origin(text: str) -> Path | None:
    """The file that a root came from; None if the entry does not show it."""
    line = re.search(rf"^{ROOT_OF}(.+)$", text, re.MULTILINE)
    return text_to_path(line[1]) if line else None


def read(text: str) -> Certificate | None:
    """The first certificate in a text; None if there is none, or it cannot be parsed."""
    from cryptography import x509

    pem = CERTIFICATE.search(text)
    with suppress(ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        if pem:
            certificate = x509.load_pem_x509_certificate(pem[0].encode())
            _ = certificate.extensions  # parsed only when they are read
            return certificate
    return None


def find_domains(text: str) -> tuple[str, ...]:
    """The domains that the root in this text may sign for; empty if it cannot be parsed."""
    certificate = read(text)
    return (read_constraints(certificate).permitted or ()) if certificate else ()


def has_form_of_our_root(pem: str) -> bool:
    """Whether it looks like a root that a copy of these tasks created.

    The roots of a whole system are searched for one. Few of them have name constraints, so few are parsed; parsing may
    also warn about an old root that is no concern of ours.
    """
    with suppress(ValueError):
        if NAME_CONSTRAINTS not in ssl.PEM_cert_to_DER_cert(pem):
            return False
    certificate = read(pem)
    return certificate is not None and certificate.subject == certificate.issuer and has_our_form(certificate)


def describe(text: str) -> str:
    """The domains and the file of an entry's root, for a message; empty if the entry does not show them."""
    file, names = find_origin(text), find_domains(text)
    return ", ".join([*([f"for {', '.join(names)}"] if names else []), *([f"from {file}"] if file else [])])
