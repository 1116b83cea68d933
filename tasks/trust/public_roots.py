"""Public roots, to distinguish them from a company's roots in the same file.

A distribution installs them separately from roots that are added to a machine. Python's certifi contains Mozilla's.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.core import system_files
from tasks.core.ca_bundle import BLOCK, without_text
from tasks.core.operating_system import is_macos
from tasks.core.shell import Shell

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

DELIVERED = (
    "usr/share/ca-certificates/mozilla/*.crt",  # Debian, Ubuntu, Alpine
    "usr/share/pki/ca-trust-source/*.p11-kit",  # Fedora, RHEL
    "usr/share/pki/trust/*.p11-kit",  # openSUSE
    "usr/share/ca-certificates/trust-source/*.p11-kit",  # Arch
)

MACOS_KEYCHAIN = "/System/Library/Keychains/SystemRootCertificates.keychain"


def is_public(shell: Shell, certificate: Certificate) -> bool:
    from cryptography.hazmat.primitives.serialization import Encoding

    der = certificate.public_bytes(Encoding.DER)
    return any(without_text(body) == der for pem in public_pems(shell) for _, body in BLOCK.findall(pem))


def public_pems(shell: Shell) -> Iterator[bytes]:
    for pattern in DELIVERED:
        yield from (file.read_bytes() for file in system_files.ROOT.glob(pattern) if file.is_file())
    for package in ("certifi", "pip._vendor.certifi"):
        try:
            found = find_spec(package)
        except ModuleNotFoundError:  # the package that would contain it
            continue
        if found and found.origin:
            file = Path(found.origin).with_name("cacert.pem")
            if file.is_file():
                yield file.read_bytes()
    if is_macos(shell):
        yield shell.look("security", "find-certificate", "-a", "-p", MACOS_KEYCHAIN).stdout.encode()
