"""Checks of the certificate authority and of the stores that trust it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

from invoke import Exit

from tasks import dns, trust
from tasks.ca.probe_leaves import throw_away_leaves
from tasks.ca.root import RootFiles, known_roots, load_retiring, load_root
from tasks.ca.weaknesses import find_loose_permissions, find_weaknesses
from tasks.core.settings import Settings
from tasks.core.well_known import MANAGER
from tasks.doctor.check import ERROR, WARNING, Checks, Machine
from tasks.doctor.fixes import CLOSE_AUTHORITY, TRUST
from tasks.rotation import overlap
from tasks.trust import entries

CHECKS = Checks()


check = CHECKS.check

SOON = timedelta(days=90)


@check("ca", ERROR, "It was never made, has ended, was damaged, or the settings name other domains now.",
       "What is found says how. inv cert makes one where there is none, and replaces none.")
def usable(machine: Machine) -> Iterator[str]:
    """The root certificate and its key: there, whole, valid, and for these domains"""
    try:
        load_root(machine.settings)
    except Exit as error:
        yield " ".join(str(error.message).splitlines()[:2]).replace("Nothing was changed. ", "")


@check("ca-ends", WARNING, "A root is good for ten years.", "inv cert-renew", needs=["ca"])
def ends(machine: Machine) -> Iterator[str]:
    """The root is good for another 90 days"""
    until = load_root(machine.settings).not_valid_after_utc
    if until < datetime.now(timezone.utc) + SOON:
        yield f"the root ends on {until:%Y-%m-%d}"


@check("ca-retiring", WARNING, "inv cert-renew was broken off, or a cluster was stopped then.", "inv cert-renew",
       needs=["ca"])
def renewal(machine: Machine) -> Iterator[str]:
    """No renewal of the root is half done"""
    if load_retiring(machine.settings) is not None:
        yield from (overlap.clusters_needing_old_root(machine.shell, machine.settings)
                    or ["nothing is signed by the old root any more"])


@check("ca-weak", WARNING, "It was made by the original Taskfile or another tool.", "inv cert-renew --new-key",
       needs=["ca"])
def weak(machine: Machine) -> Iterator[str]:
    """The root may sign for our domains only, and has what verifiers want"""
    return find_weaknesses(load_root(machine.settings), machine.settings)


@check("ca-open", ERROR, "Whoever reads the key can sign for our domains, and this machine believes it.",
       CLOSE_AUTHORITY, needs=["ca"])
def readable_by_others(machine: Machine) -> Iterator[str]:
    """Nobody else may read the root's key"""
    return find_loose_permissions(RootFiles(machine.settings))


@check("company-ca", WARNING, "Your company has renewed its CA.", "Put the new one into ADDITIONAL_CA_BUNDLE_FILE, "
       "then: inv k3d-cluster-configure --all")
def company(machine: Machine) -> Iterator[str]:
    """No certificate of ADDITIONAL_CA_BUNDLE_FILE has ended"""
    from cryptography import x509

    file = machine.settings.additional_ca_bundle_file
    for certificate in x509.load_pem_x509_certificates(file.read_bytes()) if file else []:
        if certificate.not_valid_after_utc < datetime.now(timezone.utc):
            yield f"{certificate.subject.rfc4514_string()} ended on {certificate.not_valid_after_utc:%Y-%m-%d}"


@check("trust", WARNING, "It was not put there, or was taken out or distrusted by hand.", TRUST, needs=["ca"])
def trusted(machine: Machine) -> Iterator[str]:
    """Each trust store of TRUST_STORES accepts a certificate of the root"""
    shell, settings = machine.shell, machine.settings
    with throw_away_leaves(settings) as proof:
        for store, place in trust.list_places(shell, trust.chosen_kinds(settings)):
            if not store.accepts(shell, place, proof.inside):
                yield f"{place} refuses it. {store.missing(shell, proof.root)}".strip()


@check("trust-wide", ERROR, "The store does not look at name constraints, or another root signs for everything.",
       "inv trust-verify shows it. A root without constraints is replaced by: inv cert-renew --new-key", needs=["ca"])
def too_much(machine: Machine) -> Iterator[str]:
    """Each of them refuses a certificate of the root for a name that is not ours"""
    shell, settings = machine.shell, machine.settings
    with throw_away_leaves(settings) as proof:
        for store, place in trust.list_places(shell, trust.chosen_kinds(settings)):
            if store.ENFORCES_CONSTRAINTS and store.accepts(shell, place, proof.outside):
                yield f"{place} accepts {proof.outside.name}"


@check("trust-left", WARNING, "The root was replaced or deleted, and is still trusted.", "inv untrust --all-copies "
       "trust; if there are other copies of this folder, they get theirs back with: inv trust")
def left_behind(machine: Machine) -> Iterator[str]:
    """No store has a root of this folder whose files are gone"""
    shell, settings, at_hand = machine.shell, machine.settings, known_roots(machine.settings)
    known = {root.label for root in at_hand}
    texts: dict[str, list[str]] = {}
    places: dict[str, list[str]] = {}
    for store, place in trust.list_places(shell, list(trust.KINDS)):
        for entry in store.found(shell, place, at_hand):
            label = re.search(rf"{MANAGER}-[0-9a-f]{{12}}", entry)
            if label and label[0] not in known:
                texts.setdefault(label[0], []).append(store.certificate(shell, place, entry))
                places.setdefault(label[0], []).append(trust.in_place(place, entry))
    several = bool(dns.other_copies(shell))
    for name, found in places.items():
        if not is_of_another_copy(settings, texts[name], several):
            yield from found


def is_of_another_copy(settings: Settings, texts: list[str], several: bool) -> bool:
    """Whether a root without files here is another copy's, by what the entries of the stores say about it.

    The system's store says where it came from, and a folder that is there is another copy's to look after. The others
    hold the certificate alone, so one for the same domains may be another copy's where there is one (`several`).
    """
    origin = next((file for file in map(entries.origin, texts) if file), None)
    if origin:
        return origin.parent != settings.cert_folder and (several or is_there(origin.parent))
    domains = {domain for text in texts for domain in entries.domains(text)}
    return bool(domains) and (several or domains.isdisjoint(settings.owned_domains))


def is_there(folder: Path) -> bool:
    """What another user hides counts as there."""
    try:
        return folder.is_dir()
    except PermissionError:
        return True


@check("ca-elsewhere", WARNING, "CERT_FOLDER lies in a folder that is synchronised or shared.",
       "Move the folder, and name it in CERT_FOLDER.", needs=["ca"])
def synchronised(machine: Machine) -> Iterator[str]:
    """The root's key lies in no folder that a cloud copies"""
    folder = RootFiles(machine.settings).folder.resolve()
    clouds = ("Dropbox", "OneDrive", "Google Drive", "Mobile Documents", "Nextcloud")
    for part in folder.parts:
        if part.startswith(clouds):
            yield f"{folder} is copied by {part}"
