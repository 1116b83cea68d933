"""Checks of the certificate authority and of the stores that trust it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timezone

from tasks import trust
from tasks.ca.probe_leaves import issue_probe_leaves
from tasks.ca.root import ROOT_EXPIRES_SOON, known_roots
from tasks.ca.weaknesses import find_loose_permissions, find_weaknesses
from tasks.core.ca_bundle import read_ca_bundle
from tasks.core.problems import Problem
from tasks.core.well_known import MANAGER
from tasks.doctor.check import ERROR, WARNING, Checks, Machine
from tasks.doctor.fixes import CLOSE_AUTHORITY, TRUST
from tasks.rotation import overlap
from tasks.trust import public_roots

CHECKS = Checks()


check = CHECKS.check



@check("ca", ERROR, "It was never made, has ended, was damaged, or the settings name other domains now.",
       "What is found says how. inv cert makes one where there is none, and replaces none.")
def usable(machine: Machine) -> Iterator[Problem]:
    """The root certificate and its key: there, whole, valid, and for these domains"""
    if machine.root_problem:
        yield machine.root_problem


@check("ca-ends", WARNING, "A root is good for ten years.", "inv cert-renew", needs=["ca"])
def ends(machine: Machine) -> Iterator[str]:
    """The root is good for another 90 days"""
    until = machine.usable_root.expires
    if until < datetime.now(timezone.utc) + ROOT_EXPIRES_SOON:
        yield f"the root ends on {until:%Y-%m-%d}"


@check("ca-retiring", WARNING, "inv cert-renew was broken off, or a cluster was stopped then.", "inv cert-renew",
       needs=["ca"])
def renewal(machine: Machine) -> Iterator[str | Problem]:
    """No renewal of the root is half done"""
    if machine.roots.retiring:
        holders = overlap.list_holders(machine.shell, machine.settings, machine.roots)
        yield from (holder.why for holder in holders)
        if not holders:
            yield "nothing is issued by the former root any more"


@check("ca-weak", WARNING, "It was made by the original Taskfile or another tool.", "inv cert-renew --new-key",
       needs=["ca"])
def weak(machine: Machine) -> Iterator[Problem]:
    """The root may sign for our domains only, and has what verifiers want"""
    return find_weaknesses(machine.usable_root, machine.settings)


@check("ca-open", ERROR, "Whoever reads the key can sign for our domains, and this machine believes it.",
       CLOSE_AUTHORITY, needs=["ca"])
def readable_by_others(machine: Machine) -> Iterator[Problem]:
    """Nobody else may read the root's key"""
    return find_loose_permissions(machine.usable_root.files)


@check("company-ca", WARNING, "Your company has renewed its CA.", "Put the new one into ADDITIONAL_CA_BUNDLE_FILE, "
       "then: inv k3d-cluster-configure --all")
def company(machine: Machine) -> Iterator[str]:
    """No certificate of ADDITIONAL_CA_BUNDLE_FILE has ended, but for public roots, which are not your company's"""
    file = machine.settings.additional_ca_bundle_file
    ended = [certificate for certificate in (read_ca_bundle(file) if file else [])
             if certificate.not_valid_after_utc < datetime.now(timezone.utc)]
    for certificate in ended:
        if not public_roots.is_public(machine.shell, certificate):
            yield f"{certificate.subject.rfc4514_string()} ended on {certificate.not_valid_after_utc:%Y-%m-%d}"


@check("trust", WARNING, "It was not put there, or was taken out or distrusted by hand.", TRUST, needs=["ca"])
def trusted(machine: Machine) -> Iterator[str]:
    """Each trust store of TRUST_STORES accepts a certificate of the root"""
    shell, settings = machine.shell, machine.settings
    root = machine.usable_root
    with issue_probe_leaves(root, settings) as leaves:
        for store, place in trust.list_places(shell, trust.chosen_kinds(settings)):
            if not store.accepts(shell, place, leaves.permitted):
                yield f"{place} refuses it. {store.missing(shell, root.files.certificate)}".strip()


@check("trust-wide", ERROR, "The store does not look at name constraints, or another root signs for everything.",
       "inv trust-verify shows it. A root without constraints is replaced by: inv cert-renew --new-key", needs=["ca"])
def too_much(machine: Machine) -> Iterator[str]:
    """Each of them refuses a certificate of the root for a name that is not ours"""
    shell, settings = machine.shell, machine.settings
    root = machine.usable_root
    with issue_probe_leaves(root, settings) as leaves:
        for store, place in trust.list_places(shell, trust.chosen_kinds(settings)):
            if store.ENFORCES_CONSTRAINTS and store.accepts(shell, place, leaves.outside):
                yield f"{place} accepts {leaves.outside.name}"


@check("trust-left", WARNING, "The root was replaced or deleted, and is still trusted.", "inv untrust trust")
def left_behind(machine: Machine) -> Iterator[str]:
    """No store has a root of these tasks whose files are gone"""
    shell, at_hand = machine.shell, known_roots(machine.settings)
    known = {root.label for root in at_hand}
    for store, place in trust.list_places(shell, list(trust.KINDS)):
        for entry in store.found(shell, place, at_hand):
            label = re.search(rf"{MANAGER}-[0-9a-f]{{12}}", entry)
            if label and label[0] not in known:
                yield f"{entry}" + ("" if place in entry else f" in {place}")


@check("ca-elsewhere", WARNING, "CERT_FOLDER lies in a folder that is synchronised or shared.",
       "Move the folder, and name it in CERT_FOLDER.", needs=["ca"])
def synchronised(machine: Machine) -> Iterator[str]:
    """The root's key lies in no folder that a cloud copies"""
    folder = machine.usable_root.files.folder.resolve()
    clouds = ("Dropbox", "OneDrive", "Google Drive", "Mobile Documents", "Nextcloud")
    for part in folder.parts:
        if part.startswith(clouds):
            yield f"{folder} is copied by {part}"
