"""The root: its files, its certificate and its key. The key never leaves CERT_FOLDER."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tasks.core.settings import Settings
from tasks.core.well_known import MANAGER

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
    from cryptography.x509 import Certificate

RENEW = "inv cert-renew"
NEW_KEY = "inv cert-renew --new-key"

ROOT_EXPIRES_SOON = timedelta(days=90)


@dataclass(frozen=True)
class RootFiles:
    """The files of a root: `<CERT_FOLDER>/<TLD>-ca.key`, `.csr` and `.crt`, as in the original.

    `retiring`: the files of the former root, `<TLD>-ca.retiring.*`. While they exist, it is trusted too.
    """

    folder: Path
    tld: str
    retiring: bool = False

    @classmethod
    def of(cls, settings: Settings, retiring: bool = False) -> RootFiles:
        return cls(settings.cert_folder, settings.tld, retiring)

    @property
    def key(self) -> Path:
        return self._named("key")

    @property
    def request(self) -> Path:
        return self._named("csr")

    @property
    def certificate(self) -> Path:
        return self._named("crt")

    def _named(self, ending: str) -> Path:
        return self.folder / f"{self.tld}-ca{'.retiring' if self.retiring else ''}.{ending}"

    @property
    def unfinished(self) -> Path:
        """The temporary folder for a new root until it is complete; an interrupted run leaves it behind."""
        return self.folder / ".new"


@dataclass(frozen=True, eq=False)
class RootCA:
    """A root: its files, its certificate, and its key if that was read. A task loads it once and passes it on."""

    files: RootFiles
    certificate: Certificate
    key: PrivateKeyTypes | None = None

    @cached_property
    def pem(self) -> str:
        from cryptography.hazmat.primitives.serialization import Encoding

        return self.certificate.public_bytes(Encoding.PEM).decode()

    @cached_property
    def der(self) -> bytes:
        from cryptography.hazmat.primitives.serialization import Encoding

        return self.certificate.public_bytes(Encoding.DER)

    @cached_property
    def sha256(self) -> str:
        """The fingerprint in lower-case hexadecimal, like `sha1`."""
        return hashlib.sha256(self.der).hexdigest()

    @cached_property
    def sha1(self) -> str:
        return hashlib.sha1(self.der, usedforsecurity=False).hexdigest()

    @property
    def label(self) -> str:
        """The name of its entry in a trust store: the prefix identifies these tasks, the rest identifies the root."""
        return f"{MANAGER}-{self.sha256[:12]}"

    @property
    def expires(self) -> datetime:
        return self.certificate.not_valid_after_utc

    def shares_key_with(self, other: RootCA) -> bool:
        return bool(self.certificate.public_key() == other.certificate.public_key())


class Roots(NamedTuple):
    """The roots that clusters are configured with: the current one, and during a renewal the former one."""

    current: RootCA | None
    """None only in a dry run, which would create it."""
    retiring: RootCA | None = None

    @property
    def lack_new_root(self) -> bool:
        """Whether a renewal was interrupted before the new root was created."""
        return bool(self.current and self.retiring and self.current.certificate == self.retiring.certificate)

    @property
    def share_one_key(self) -> bool:
        """Whether certificates issued by one of them are valid for the other too."""
        return bool(self.current and self.retiring and self.current.shares_key_with(self.retiring))
