"""What the doctor and the status report about the registries on this machine, and about nodes that do not use them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import Project
from patient import Patient
from pretend import pages_of, world_of
from pretended_registries import Registries, registries_of

from tasks import registries as own_registries

FOLDER = "/var/lib/rancher/k3s/agent/etc/containerd/certs.d"
CACHE = "dev-clusters-cache-docker.io"


@pytest.fixture
def patient(project: Project) -> Iterator[Patient]:
    with world_of(project) as world, pages_of(world, 1):
        yield Patient(world)


@pytest.fixture
def registries(patient: Patient) -> Iterator[Registries]:
    """A cache that works, and a node that uses it."""
    patient.world.env(REGISTRY_CACHES="docker.io")
    patient.processes = [f'{FOLDER}/docker.io/hosts.toml:[host."http://docker.io.images.internal:5000"]']
    with registries_of(patient.world) as registries:
        registries.exist()
        registries.server.add_image("library/nginx", b"config", b"layer", kept=True)
        yield registries


def wrong(patient: Patient) -> dict[str, dict[str, Any]]:
    """What the checks of registries find, by their ids."""
    findings = json.loads(patient.inv("doctor", "--json").stdout)
    return {finding["id"]: finding for finding in findings
            if "registr" in finding["id"] and finding["state"] in ("red", "yellow")}


def entry(patient: Patient) -> dict[str, str]:
    machine = json.loads(patient.inv("status", "--json").stdout)["machine"]
    return next(entry for entry in machine if entry["what"] == "registries: docker.io")


def test_where_all_is_well_nothing_is_found_and_the_status_shows_the_size(
    patient: Patient, registries: Registries
) -> None:
    assert wrong(patient) == {}
    assert entry(patient)["is"] == "1 images cached, 12.3 MB; 0.0 MB fetched since the start"


@pytest.mark.parametrize(("changed", "code"), [
    ({"Status": "paused"}, "not-running"), ({"port": 1}, "not-answering"), ({"NetworkID": "gone"}, "other-network"),
    ({"labels": {"dev-cluster-tasks.registry-version": "of others"}}, "other-version"),
])
def test_a_cache_that_does_not_work_is_found(
    patient: Patient, registries: Registries, changed: dict[str, object], code: str
) -> None:
    registries.state[CACHE] = changed
    found = wrong(patient)["registries"]
    assert (found["code"], found["fix"], found["safe"]) == (code, "inv k3d-cluster-start --all", True)
    assert (entry(patient)["state"], entry(patient)["code"]) == ("yellow", code)


def test_the_fix_creates_it_again(patient: Patient, registries: Registries) -> None:
    registries.state[CACHE] = {"Status": "exited"}
    patient.world.project.patches.append((own_registries, "SECONDS", 0))  # it never answers
    patient.inv("doctor", "--fix")
    assert ["docker", "rm", "--force", CACHE] in patient.world.changes()
    assert registries.created() == [CACHE]


@pytest.mark.parametrize(("error", "code"), [
    ("toomanyrequests: You have reached your pull rate limit", "too-many-pulls"),
    ("tls: failed to verify certificate: x509: certificate signed by unknown authority", "certificate-not-trusted"),
    ("dial tcp: lookup registry-1.docker.io: no such host", "not-reached"),
])
def test_an_upstream_that_refuses_the_cache_is_named_with_the_reason(
    patient: Patient, registries: Registries, error: str, code: str
) -> None:
    registries.server.upstream_error = error
    found = wrong(patient)
    assert [*found] == ["registry-upstreams"] and found["registry-upstreams"]["code"] == code
    assert error in found["registry-upstreams"]["message"]


def test_a_node_from_before_the_caches_is_named_and_configure_changes_it(
    patient: Patient, registries: Registries
) -> None:
    patient.processes = []
    found = wrong(patient)
    assert [*found] == ["node-registries"]
    assert found["node-registries"]["message"] == "k3d-cl1-server-0 does not know the registries for docker.io"
    assert found["node-registries"]["fix"] == "inv k3d-cluster-configure --n 1"
