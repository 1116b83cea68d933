"""What an entry in a trust store says about itself: for which domains its root signs, and from which file it came."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.ca.constraints import has_our_form, read_constraints
from tasks.core.copies import text_to_path

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

ROOT_OF = "# root of "
"""Begins the line of a file in the system's store that says where its root lies."""

CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----\n.*?-----END CERTIFICATE-----", re.DOTALL)


def origin(text: str) -> Path | None:
    """The file that a root came from; None where the entry does not tell."""
    line = re.search(rf"^{ROOT_OF}(.+)$", text, re.MULTILINE)
    return text_to_path(line[1]) if line else None


def read(text: str) -> Certificate | None:
    """The first certificate in a text; None where there is none that can be read."""
    from cryptography import x509

    pem = CERTIFICATE.search(text)
    with suppress(ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        if pem:
            certificate = x509.load_pem_x509_certificate(pem[0].encode())
            _ = certificate.extensions  # parsed only when they are read
            return certificate
    return None


def domains(text: str) -> tuple[str, ...]:
    """Those that the root in this text may sign for; none where that cannot be read."""
    certificate = read(text)
    return (read_constraints(certificate).permitted or ()) if certificate else ()


def is_of_our_form(pem: str) -> bool:
    """Whether it is a root as these tasks make it, whichever copy has done so."""
    certificate = read(pem)
    return certificate is not None and certificate.subject == certificate.issuer and has_our_form(certificate)


def describe(text: str) -> str:
    """Whose root an entry is, for people to read; empty where it does not tell."""
    file, names = origin(text), domains(text)
    return ", ".join([*([f"for {', '.join(names)}"] if names else []), *([f"from {file}"] if file else [])])
