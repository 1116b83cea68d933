"""ADDITIONAL_CA_BUNDLE_FILE: the certificates in it, or what else it is and the command that converts it.

Nodes mount the file as it is, and containerd, which is written in Go, reads only blocks that begin with
`-----BEGIN CERTIFICATE-----` at the start of a line. It passes over all else without a message, so that is refused.
"""

from __future__ import annotations

import base64
import binascii
import re
import shlex
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

DER_LENGTH = rb"(?:[\x00-\x80]|\x81.|\x82..|\x83...|\x84....)"

# ContentInfo with signedData, and PFX: https://www.rfc-editor.org/rfc/rfc5652#section-3, rfc7292#section-4
PKCS7 = re.compile(rb"\x30" + DER_LENGTH + rb"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02", re.DOTALL)
PKCS12 = re.compile(rb"\x30" + DER_LENGTH + rb"\x02\x01\x03\x30", re.DOTALL)
JKS = b"\xfe\xed\xfe\xed"

# What Go takes for the beginning of a certificate: https://pkg.go.dev/encoding/pem#Decode
READ_BY_GO = re.compile(rb"(?:\A|\n)-----BEGIN CERTIFICATE-----[ \t\r]*\n")

BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]*)-----(.*?)-----END \1-----", re.DOTALL)

EXPECTED = "one or more PEM certificates"


def read_ca_bundle(file: Path) -> list[Certificate]:
    """The certificates of the file; ValueError says what it is instead, and how it is converted."""
    content = file.read_bytes()
    if other := find_other_form(file, content):
        raise ValueError(other)
    try:
        found = load_certificates(content)
    except ValueError as error:
        raise ValueError(f"{EXPECTED} ({error})") from None
    if len(found) > len(READ_BY_GO.findall(content)):
        raise ValueError(f"{EXPECTED} that each begin at the start of a line, or nodes pass over them. "
                         f"{convert(file, *cleaned(file))}")
    return found


def load_certificates(pem: bytes) -> list[Certificate]:
    """Of any PEM text, without the library's warning about serial numbers, which some roots of every system have."""
    from cryptography import x509
    from cryptography.utils import CryptographyDeprecationWarning

    warnings.filterwarnings("ignore", category=CryptographyDeprecationWarning)
    return x509.load_pem_x509_certificates(pem)


def find_other_form(file: Path, content: bytes) -> str:
    """What the file is where it is not a PEM file of certificates, and the command that makes one; else empty."""
    der = without_text(content)
    pipe = () if der is content else ("openssl", "base64", "-d", "-in", str(file), "|")
    source = () if pipe else ("-in", str(file))
    if not content.strip(b"\xef\xbb\xbf\xff\xfe\0 \t\r\n"):
        return f"{EXPECTED} (this file is empty)"
    marked = content[:2] in (b"\xff\xfe", b"\xfe\xff")
    if marked or b"\0-\0-\0-\0-" in content:
        code = "UTF-16" if marked else "UTF-16BE" if content[:1] == b"\0" else "UTF-16LE"
        return (f"{EXPECTED} in ASCII, but this is UTF-16. "
                f"{convert(file, 'iconv', '-f', code, '-t', 'UTF-8', file, '>')}")
    if b"<plist" in content:
        return (f"{EXPECTED}, but this is a configuration profile. Export the certificate from Keychain Access as "
                "a .pem file instead")
    if re.search(rb"<(!doctype )?html", content[:2000], re.IGNORECASE):
        return f"{EXPECTED}, but this is an HTML page. Was it downloaded without logging in?"
    if b"PRIVATE KEY-----" in content:
        command = f". {convert(file, *only_certificates(file))}" if b"CERTIFICATE-----" in content else ""
        return f"certificates only, but this file contains a private key{command}"
    if PKCS7.match(der):
        return (f"{EXPECTED}, but this is PKCS#7 (.p7b). "
                f"{convert(file, *pipe, 'openssl', 'pkcs7', '-inform', 'der', *source, '-print_certs', '-out')}")
    if PKCS12.match(der):
        return (f"{EXPECTED}, but this is PKCS#12 (.pfx, .p12), which may hold a private key. "
                f"{convert(file, *pipe, 'openssl', 'pkcs12', *source, '-nokeys', '-out')}")
    if content.startswith(JKS):
        return (f"{EXPECTED}, but this is a Java key store. "
                f"{convert(file, 'keytool', '-list', '-rfc', '-keystore', file, '>')}")
    if is_der_certificate(der):
        return (f"{EXPECTED}, but this is {'Base64 without its BEGIN line' if pipe else 'a DER certificate'}. "
                f"{convert(file, *pipe, 'openssl', 'x509', '-inform', 'der', *source, '-out')}")
    return find_other_block(file, content)


def find_other_block(file: Path, content: bytes) -> str:
    """The same for a PEM file with blocks that are not, or not called, certificates."""
    blocks = BLOCK.findall(content)
    labels = {label.decode() for label, _ in blocks}
    if labels & {"PKCS7", "CMS"} or any(PKCS7.match(without_text(body)) for _, body in blocks):
        return (f"{EXPECTED}, but this is PKCS#7. "
                f"{convert(file, 'openssl', 'pkcs7', '-in', file, '-print_certs', '-out')}")
    if others := labels & {"TRUSTED CERTIFICATE", "X509 CERTIFICATE"}:
        return (f"{EXPECTED} that begin with -----BEGIN CERTIFICATE-----, but this file has {sorted(others)[0]}, which "
                f"nodes pass over. {convert(file, *only_certificates(file))}")
    if labels and "CERTIFICATE" not in labels:
        return f"{EXPECTED}, but this file has {', '.join(sorted(labels))}"
    return ""


def without_text(content: bytes) -> bytes:
    """What Base64 without BEGIN and END stands for; the content itself where it is anything else."""
    if content.startswith(b"\x30"):
        return content
    try:
        return base64.b64decode(re.sub(rb"\s", b"", content), validate=True)
    except binascii.Error:
        return content


def is_der_certificate(content: bytes) -> bool:
    from cryptography import x509

    try:
        return bool(x509.load_der_x509_certificate(content))
    except ValueError:
        return False


# --- the command that converts it -------------------------------------------------------------------------------------


def convert(file: Path, *words: str | Path) -> str:
    """The sentence with the command; its last word is the file to make."""
    new = file.with_suffix(".pem")
    if new.exists():
        new = file.with_name(f"{file.stem}-converted.pem")
    command = " ".join(word if word in ("|", ">", "<") else shlex.quote(str(word)) for word in [*words, new])
    return f"Convert it, and name the new file here: {command}"


def only_certificates(file: Path) -> tuple[str | Path, ...]:
    """openssl reads all kinds of blocks, and leaves out what is not a certificate."""
    return ("openssl", "crl2pkcs7", "-nocrl", "-certfile", file, "|", "openssl", "pkcs7", "-print_certs", "-out")


def cleaned(file: Path) -> tuple[str | Path, ...]:
    """For a byte order mark, blanks before a line, and lines that end as on an old Mac."""
    content = file.read_bytes()
    if b"\n" not in content:
        return ("tr", r"\r", r"\n", "<", file, ">")
    if re.search(rb"^[ \t]+-----BEGIN", content, re.MULTILINE):
        return ("sed", "s/^[[:space:]]*//", file, ">")
    return only_certificates(file)
