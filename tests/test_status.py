"""`inv status --json`: the state and the code of every entry."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import ca
import pytest
from conftest import Project
from kubernetes_objects import condition
from patient import Patient, stop_engine
from pretend import world_of


@pytest.fixture
def patient(project: Project) -> Iterator[Patient]:
    with world_of(project) as world:
        yield Patient(world)


def read_status(patient: Patient) -> dict[str, dict[str, Any]]:
    """The entries by name, after checking that states, codes and the exit code agree."""
    done = patient.inv("status", "--json")
    parts = json.loads(done.stdout)
    entries = {entry.get("what") or entry["name"]: entry for part in parts.values() for entry in part}
    for entry in entries.values():
        assert (entry["state"] == "green") == (entry["code"] == "ok"), entry
    assert done.returncode == any(entry["state"] == "red" for entry in entries.values())
    return entries


def codes(patient: Patient) -> dict[str, tuple[str, str]]:
    """State and code of every entry that is not green."""
    return {name: (entry["state"], entry["code"]) for name, entry in read_status(patient).items()
            if entry["state"] != "green"}


def test_every_entry_is_ok_where_everything_works(patient: Patient) -> None:
    assert codes(patient) == {}
    cluster = read_status(patient)["cl1"]
    assert (cluster["is"], cluster["domain"], cluster["k3s"]) == ("running", "cl1.k3d.internal", "v1.36.4+k3s1")
    assert (cluster["cert-manager"], cluster["trust-manager"]) == ("v1.21.2", "v0.26.0")
    assert cluster["until"] and cluster["expiring"] == []


def root_missing(patient: Patient) -> None:
    (patient.world.project.home / ".local-ca-certs" / "internal-ca.crt").unlink()


def root_expires_soon(patient: Patient) -> None:
    root = ca.authority("k3d.internal", ends=ca.NOW + timedelta(days=20))
    ca.put(patient.world.project.home / ".local-ca-certs", root.pem, root.key_pem())


def names_unresolved(patient: Patient) -> None:
    patient.names = {}


def stopped(patient: Patient) -> None:
    patient.existing = patient.world.cluster(1, running=False)


def partly_running(patient: Patient) -> None:
    patient.existing["nodes"][0]["State"] = {"Running": False}


def api_silent(patient: Patient) -> None:
    tell = patient.tell

    def tell_nothing() -> None:
        tell()
        patient.world.fakes.answer("^kubectl .*get nodes,", stderr="warning\nUnable to connect: EOF\n", exit=1)

    patient.tell = tell_nothing  # type: ignore[method-assign]


def bundle_not_synced(patient: Patient) -> None:
    patient.find("Bundle", "default-ca-bundle")["status"]["conditions"] = [condition("Synced", "False", "no source")]


@pytest.mark.parametrize(("break_it", "name", "state", "code", "text"), [
    (root_missing, "root", "red", "root-missing", ""),
    (root_expires_soon, "root", "yellow", "root-expires-soon", "for k3d.internal, valid only until "),
    (names_unresolved, "names below k3d.internal", "yellow", "names-not-resolved", "not resolved: inv dns"),
    (stopped, "cl1", "grey", "cluster-stopped", "stopped"),
    (partly_running, "cl1", "red", "cluster-partly-running", "partly running"),
    (api_silent, "cl1", "red", "api-not-answering", "Unable to connect: EOF"),
    (bundle_not_synced, "cl1", "red", "not-ready", "running; not ready: default-ca-bundle"),
], ids=lambda value: value.__name__ if callable(value) else "")
def test_a_failure_has_its_code_and_nothing_else_changes(
    patient: Patient, break_it: Callable[[Patient], None], name: str, state: str, code: str, text: str
) -> None:
    break_it(patient)
    assert codes(patient) == {name: (state, code)}
    assert text in read_status(patient)[name]["is"]


def test_without_an_engine_the_clusters_are_not_listed(patient: Patient) -> None:
    stop_engine(patient)
    assert codes(patient) == {"engine": ("red", "engine-not-answering")}
    done = patient.inv("status")
    assert "The clusters cannot be listed. To find out why: inv doctor" in done.stdout
    assert "There is no cluster" not in done.stdout
