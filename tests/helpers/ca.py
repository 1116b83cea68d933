"""Certificates for tests, made with `cryptography`: roots of other tools, broken ones, and what an issuer signs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from ipaddress import ip_address, ip_network
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tasks.ca.load import read_certificate
from tasks.ca.root import RootCA, RootFiles

NOW = datetime.now(timezone.utc).replace(microsecond=0)
DAY = timedelta(days=1)

AN_AUTHORITY = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "An authority")])
EVERY_ADDRESS = [x509.IPAddress(ip_network("0.0.0.0/0")), x509.IPAddress(ip_network("::/0"))]


@dataclass(frozen=True)
class Signed:
    """A certificate and the key that belongs to it."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    def belongs_together(self) -> bool:
        return self.certificate.public_key() == self.key.public_key()

    def key_pem(self, password: bytes = b"") -> bytes:
        hidden: KeySerializationEncryption = BestAvailableEncryption(password) if password else NoEncryption()
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, hidden)


def read(certificate: bytes, key: bytes) -> Signed:
    """The first certificate of a PEM text, and its key."""
    private = load_pem_private_key(key, password=None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    return Signed(x509.load_pem_x509_certificates(certificate)[0], private)


def authority(
    *permitted: str,
    issuer: Signed | None = None,
    subject: x509.Name | None = None,
    ca: bool = True,
    pathlen: int | None = 1,
    excluded: list[x509.IPAddress] = EVERY_ADDRESS,
    identifier: bool = True,
    starts: datetime = NOW - DAY,
    ends: datetime = NOW + 365 * DAY,
) -> Signed:
    """A certificate authority for these domains, all names where there are none; signed by itself or by an issuer."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _begin(key, subject or AN_AUTHORITY, issuer, starts, ends)
    builder = builder.add_extension(x509.BasicConstraints(ca, pathlen if ca else None), critical=True)
    builder = builder.add_extension(usage(key_cert_sign=True, crl_sign=True), critical=True)
    if permitted or excluded:
        names = [x509.DNSName(name) for name in permitted]
        builder = builder.add_extension(x509.NameConstraints(names or None, excluded or None), critical=True)
    if identifier:
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    return _sign(builder, key, issuer)


def root_of_the_original(tld: str) -> Signed:
    """What the original Taskfile makes with macOS' own openssl: the whole TLD behind a dot, and no key identifier."""
    return authority(f".{tld}", pathlen=None, excluded=[], identifier=False)


def leaf(
    issuer: Signed, *names: str, starts: datetime = NOW - 2 * DAY, ends: datetime = NOW + 90 * DAY
) -> Signed:
    """A leaf as cert-manager makes it for an Ingress: no subject, all names (or addresses) in the critical SAN."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _begin(key, x509.Name([]), issuer, starts, ends)
    for extension, critical in (
        (x509.SubjectAlternativeName([general_name(name) for name in names]), True),
        (x509.BasicConstraints(False, None), True),
        (usage(digital_signature=True, key_encipherment=True), True),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
        (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
    ):
        builder = builder.add_extension(extension, critical)
    return _sign(builder, key, issuer)


def put(folder: Path, certificate: bytes, key: bytes, tld: str = "internal") -> None:
    """Lay a root where `inv cert` looks for it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    (folder / f"{tld}-ca.key").write_bytes(key)
    (folder / f"{tld}-ca.key").chmod(0o600)
    (folder / f"{tld}-ca.crt").write_bytes(certificate)


def root_in(file: Path) -> RootCA:
    """The root in this file, as the product knows it; without its key."""
    tld, _, retiring = file.stem.removesuffix("-ca").partition("-ca.")
    return RootCA(RootFiles(file.parent, tld, bool(retiring)), read_certificate(file))


def _begin(
    key: ec.EllipticCurvePrivateKey,
    subject: x509.Name,
    issuer: Signed | None,
    starts: datetime,
    ends: datetime,
) -> x509.CertificateBuilder:
    return x509.CertificateBuilder(
        issuer_name=issuer.certificate.subject if issuer else subject,
        subject_name=subject,
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=starts,
        not_valid_after=ends,
    )


def _sign(builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey, issuer: Signed | None) -> Signed:
    signer = issuer.key if issuer else key
    if issuer:
        by = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
        builder = builder.add_extension(by, critical=False)
    return Signed(builder.sign(signer, SHA256()), key)


def usage(**allowed: bool) -> x509.KeyUsage:
    every = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
             "key_cert_sign", "crl_sign", "encipher_only", "decipher_only")
    return x509.KeyUsage(**{usage: allowed.get(usage, False) for usage in every})


def general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)
