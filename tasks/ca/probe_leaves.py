"""Two short-lived leaves issued by a root: one for a name that it may sign for, and one for a name that it may not."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from tasks.ca.root import RootCA
from tasks.core.settings import Settings

OUTSIDE = "proof.example.com"


@dataclass(frozen=True)
class Leaf:
    """A certificate for one name. Its key is discarded, because no server uses it."""

    name: str
    file: Path


@dataclass(frozen=True)
class ProbeLeaves:
    permitted: Leaf
    outside: Leaf


@contextmanager
def issue_probe_leaves(root: RootCA, settings: Settings) -> Iterator[ProbeLeaves]:
    """Create both in a folder that is deleted afterwards. They are valid for an hour."""
    with tempfile.TemporaryDirectory() as folder:
        permitted = Leaf(f"proof.{settings.cluster_domain(0)}", Path(folder) / "permitted.crt")
        outside = Leaf(OUTSIDE, Path(folder) / "outside.crt")
        for leaf in (permitted, outside):
            leaf.file.write_bytes(sign(root, leaf.name))
        yield ProbeLeaves(permitted, outside)


def sign(root: RootCA, name: str) -> bytes:
    """Sign a web server's leaf, as PEM. Not with openssl, because req(1) of macOS cannot sign with another key."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import Encoding
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(timezone.utc)
    leaf = x509.CertificateBuilder(
        issuer_name=root.certificate.subject,
        subject_name=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "dev-cluster-tasks proof")]),
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=now - timedelta(minutes=5),
        not_valid_after=now + timedelta(hours=1),
    )
    for extension, critical in (
        (x509.BasicConstraints(False, None), True),
        (x509.KeyUsage(True, False, False, False, False, False, False, False, False), True),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
        (x509.SubjectAlternativeName([x509.DNSName(name)]), False),
        (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(root.certificate.public_key()), False),  # type: ignore[arg-type]
    ):
        leaf = leaf.add_extension(extension, critical)
    algorithm = None if isinstance(root.key, (Ed25519PrivateKey, Ed448PrivateKey)) else SHA256()
    return leaf.sign(root.key, algorithm).public_bytes(Encoding.PEM)  # type: ignore[arg-type]
