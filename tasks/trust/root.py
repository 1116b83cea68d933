"""The root as trust stores know it."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tasks.ca import RootFiles, is_made_here, read_certificate
from tasks.render import MANAGER
from tasks.settings import Settings


@dataclass(frozen=True)
class Root:
    """A root certificate: its file, its text, and its fingerprints in lower-case hexadecimal."""

    file: Path
    pem: str
    sha256: str
    sha1: str

    @property
    def label(self) -> str:
        """What our entry in a store is called: what is ours is known by the beginning, which root it is by the rest."""
        return f"{MANAGER}-{self.sha256[:12]}"


def roots_at_hand(settings: Settings) -> list[Root]:
    """The root of this TLD, those of other TLDs that these tasks have made, and those before them.

    What cannot be read is left out.
    """
    roots, folder = [], settings.cert_folder
    of_this_tld = [RootFiles(settings, retiring).certificate for retiring in (False, True)]
    for file in (*sorted(folder.glob("*-ca.crt")), *sorted(folder.glob("*-ca.retiring.crt"))):
        with suppress(OSError, ValueError):
            chosen = file in of_this_tld or is_made_here(read_certificate(file))
            # Without its key it may be your company's.
            if chosen and (file.with_suffix(".key").exists() or file.name.endswith(".retiring.crt")):
                roots.append(read(file))
    return roots


def read(file: Path) -> Root:
    from cryptography.hazmat.primitives.serialization import Encoding

    certificate = read_certificate(file)
    der = certificate.public_bytes(Encoding.DER)
    return Root(file, certificate.public_bytes(Encoding.PEM).decode(), hashlib.sha256(der).hexdigest(),
                hashlib.sha1(der, usedforsecurity=False).hexdigest())
