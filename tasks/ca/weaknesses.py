"""Weaknesses of a root that is usable nevertheless."""

from __future__ import annotations

from collections.abc import Iterator

from tasks.ca.constraints import read_constraints
from tasks.ca.root import RootCA, RootFiles
from tasks.core.problems import Problem, Reason, problem
from tasks.core.settings import Settings


class Weakness(Reason):
    """What a root permits or lacks, in contrast to one that `inv cert` creates."""

    NO_NAME_CONSTRAINT = "it may sign for every name on the Internet (no name constraint)"
    CONSTRAINT_WITH_DOT = ("its name constraint starts with a dot, which is not a valid DNS name there and fails in "
                           "some verifiers")
    CONSTRAINT_TOO_WIDE = "it may sign for all of {permitted}, not only for {domains}"
    ADDRESSES_ALLOWED = "it may sign for every IP address"
    NO_KEY_IDENTIFIER = "it has no subject key identifier, which Python 3.13 and later require"
    READABLE_BY_OTHERS = "other users can read {file} (mode {mode}); fix: chmod {allowed} {file}"


def find_weaknesses(root: RootCA, settings: Settings) -> Iterator[Problem]:
    """The weaknesses of a root that the original Taskfile or another tool created."""
    from cryptography import x509

    constraints = read_constraints(root.certificate)
    permitted = constraints.permitted
    if permitted is None:
        yield problem(Weakness.NO_NAME_CONSTRAINT)
        permitted = ()
    if any(name.startswith(".") for name in permitted):
        yield problem(Weakness.CONSTRAINT_WITH_DOT)
    wide = [name for name in permitted if name.strip(".") not in settings.owned_domains]
    if wide:
        yield problem(Weakness.CONSTRAINT_TOO_WIDE, permitted=", ".join(wide),
                      domains=", ".join(settings.owned_domains))
    if not constraints.excludes_addresses:
        yield problem(Weakness.ADDRESSES_ALLOWED)
    extensions = root.certificate.extensions
    if not any(isinstance(extension.value, x509.SubjectKeyIdentifier) for extension in extensions):
        yield problem(Weakness.NO_KEY_IDENTIFIER)


def find_loose_permissions(files: RootFiles) -> Iterator[Problem]:
    """Whether other users can read the folder or the key."""
    for file, allowed in ((files.folder, 0o700), (files.key, 0o600)):
        mode = file.stat().st_mode & 0o777
        if mode & ~allowed:
            yield problem(Weakness.READABLE_BY_OTHERS, file=file, mode=f"{mode:o}", allowed=f"{allowed:o}")
