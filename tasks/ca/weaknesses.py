"""What a root that works may still be weak in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tasks.ca.constraints import excludes_addresses, permitted_domains
from tasks.ca.root import RootFiles
from tasks.core.settings import Settings

if TYPE_CHECKING:
    from cryptography.x509 import Certificate


def find_weaknesses(root: Certificate, settings: Settings) -> Iterator[str]:
    """What a root of the original, or of another tool, allows or lacks; each in a sentence."""
    from cryptography import x509

    permitted = permitted_domains(root)
    if permitted is None:
        yield "it may sign for every name on the Internet (no name constraint)"
        permitted = ()
    if any(name.startswith(".") for name in permitted):
        yield "its constraint begins with a dot, which is no valid form for a DNS name and fails in some verifiers"
    wide = [name for name in permitted if name.strip(".") not in settings.owned_domains]
    if wide:
        yield f"it may sign for all of {', '.join(wide)}, not only for {', '.join(settings.owned_domains)}"
    if not excludes_addresses(root):
        yield "it may sign for every IP address"
    if not any(isinstance(extension.value, x509.SubjectKeyIdentifier) for extension in root.extensions):
        yield "it has no subject key identifier, which Python 3.13 and newer demand of its leaves"


def find_loose_permissions(files: RootFiles) -> Iterator[str]:
    """Which of folder and key others may read, each in a sentence."""
    for file, allowed in ((files.folder, 0o700), (files.key, 0o600)):
        mode = file.stat().st_mode & 0o777
        if mode & ~allowed:
            yield f"others may read {file} (mode {mode:o}): chmod {allowed:o} {file}"
