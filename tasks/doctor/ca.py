"""Checks of the certificate authority and of the trust stores."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

from tasks import dns, trust
from tasks.ca.load import load_known_roots
from tasks.ca.probe_leaves import issue_probe_leaves
from tasks.ca.root import ROOT_EXPIRES_SOON
from tasks.ca.weaknesses import find_loose_permissions, find_weaknesses
from tasks.core.ca_bundle import read_ca_bundle
from tasks.core.problems import Problem
from tasks.core.settings import Settings
from tasks.core.well_known import MANAGER
from tasks.doctor.check import ERROR, WARNING, Checks, Machine
from tasks.doctor.fixes import RESTRICT_KEY, TRUST
from tasks.rotation import overlap
from tasks.trust import entries, public_roots

CHECKS = Checks()


check = CHECKS.check


@check("ca", ERROR, "It was never created, has expired or is damaged, or the settings now name other domains.",
       "The message shows what to do. inv cert creates a missing root, and never replaces one.")
def usable(machine: Machine) -> Iterator[Problem]:
    """The root certificate and its key exist, are intact and valid, and match the domains in the settings"""
    if machine.root_problem:
        yield machine.root_problem


@check("ca-ends", WARNING, "A root is valid for ten years.", "inv cert-renew", needs=["ca"])
def ends(machine: Machine) -> Iterator[str]:
    """The root is valid for at least 90 more days"""
    until = machine.usable_root.expires
    if until < datetime.now(timezone.utc) + ROOT_EXPIRES_SOON:
        yield f"the root expires on {until:%Y-%m-%d}"


@check("ca-retiring", WARNING, "inv cert-renew was interrupted, or a cluster was stopped at the time.",
       "inv cert-renew", needs=["ca"])
def renewal(machine: Machine) -> Iterator[str | Problem]:
    """No renewal of the root is unfinished"""
    if machine.roots.retiring:
        holders = overlap.list_holders(machine.shell, machine.settings, machine.roots)
        yield from (holder.why for holder in holders)
        if not holders:
            yield "the former root is no longer in use, but its renewal was not finished"


@check("ca-weak", WARNING, "It was created by the original Taskfile or another tool.", "inv cert-renew --new-key",
       needs=["ca"])
def weak(machine: Machine) -> Iterator[Problem]:
    """The root can sign only for the clusters' domains, and has the extensions that verifiers require"""
    return find_weaknesses(machine.usable_root, machine.settings)


@check("ca-open", ERROR, "Anyone who can read the key can issue certificates that this machine trusts.",
       RESTRICT_KEY, needs=["ca"])
def readable_by_others(machine: Machine) -> Iterator[Problem]:
    """Only you can read the root's key"""
    return find_loose_permissions(machine.usable_root.files)


@check("company-ca", WARNING, "Your company has replaced its CA.", "Put the new certificate into "
       "ADDITIONAL_CA_BUNDLE_FILE, then run: inv k3d-cluster-configure --all")
def company(machine: Machine) -> Iterator[str]:
    """No certificate in ADDITIONAL_CA_BUNDLE_FILE has expired, except public roots, which are not your company's"""
    file = machine.settings.additional_ca_bundle_file
    expired = [certificate for certificate in (read_ca_bundle(file) if file else [])
             if certificate.not_valid_after_utc < datetime.now(timezone.utc)]
    for certificate in expired:
        if not public_roots.is_public(machine.shell, certificate):
            yield f"{certificate.subject.rfc4514_string()} expired on {certificate.not_valid_after_utc:%Y-%m-%d}"


@check("trust", WARNING, "The root was not installed there, or was removed or distrusted by hand.", TRUST, needs=["ca"])
def trusted(machine: Machine) -> Iterator[str]:
    """Each trust store in TRUST_STORES accepts a certificate issued by the root"""
    shell, settings = machine.shell, machine.settings
    root = machine.usable_root
    with issue_probe_leaves(root, settings) as leaves:
        for store, place in trust.list_places(shell, trust.chosen_kinds(settings)):
            if not store.accepts(shell, place, leaves.permitted):
                hint = store.check_tools(shell, root.files.certificate)
                yield f"{place} rejects a certificate issued by the root. {hint}".strip()


@check("trust-wide", ERROR, "The store ignores name constraints, or trusts a root without them.",
       "To see which: inv trust-verify. To replace a root without constraints: inv cert-renew --new-key", needs=["ca"])
def too_much(machine: Machine) -> Iterator[str]:
    """Each trust store rejects a certificate for a name outside the clusters' domains"""
    shell, settings = machine.shell, machine.settings
    root = machine.usable_root
    with issue_probe_leaves(root, settings) as leaves:
        for store, place in trust.list_places(shell, trust.chosen_kinds(settings)):
            if store.ENFORCES_CONSTRAINTS and store.accepts(shell, place, leaves.outside):
                yield f"{place} accepts {leaves.outside.name}"


@check("trust-left", WARNING, "The root was replaced or deleted, and is still trusted.", "inv untrust --all-copies "
       "trust; if there are other copies of this folder, they get theirs back with: inv trust")
def left_behind(machine: Machine) -> Iterator[str]:
    """No trust store has a root of this folder whose files are gone"""
    shell, settings, at_hand = machine.shell, machine.settings, load_known_roots(machine.settings)
    known = {root.label for root in at_hand}
    texts: dict[str, list[str]] = {}
    places: dict[str, list[str]] = {}
    for store, place in trust.list_places(shell, list(trust.KINDS)):
        for entry in store.list_entries(shell, place, at_hand):
            label = re.search(rf"{MANAGER}-[0-9a-f]{{12}}", entry)
            if label and label[0] not in known:
                texts.setdefault(label[0], []).append(store.read_certificate(shell, place, entry))
                places.setdefault(label[0], []).append(trust.name_entry(place, entry))
    several = bool(dns.list_other_copies(shell))
    for name, found in places.items():
        if not is_of_another_copy(settings, texts[name], several):
            yield from found


def is_of_another_copy(settings: Settings, texts: list[str], several: bool) -> bool:
    """Whether a root without files here is another copy's, by what the entries of the stores say about it.

    The system's store says where it came from, and a folder that is there is another copy's to look after. The others
    hold the certificate alone, so one for the same domains may be another copy's where there is one (`several`).
    """
    origin = next((file for file in map(entries.find_origin, texts) if file), None)
    if origin:
        return origin.parent != settings.cert_folder and (several or is_there(origin.parent))
    domains = {domain for text in texts for domain in entries.find_domains(text)}
    return bool(domains) and (several or domains.isdisjoint(settings.owned_domains))


def is_there(folder: Path) -> bool:
    """What another user hides counts as there."""
    try:
        return folder.is_dir()
    except PermissionError:
        return True


@check("ca-elsewhere", WARNING, "CERT_FOLDER is in a folder that is synchronized or shared.",
       "Move the folder, and set CERT_FOLDER to its new path.", needs=["ca"])
def synchronized(machine: Machine) -> Iterator[str]:
    """The root's key is not in a folder that is synchronized to a cloud"""
    folder = machine.usable_root.files.folder.resolve()
    clouds = ("Dropbox", "OneDrive", "Google Drive", "Mobile Documents", "Nextcloud")
    for part in folder.parts:
        if part.startswith(clouds):
            yield f"{folder} is synchronized by {part}"
