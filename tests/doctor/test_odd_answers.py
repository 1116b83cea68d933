"""The output of the tools may lack parts that it usually has: doctor, status and trace handle that."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import Project
from patient import Patient, stop_engine
from pretend import pages_of, world_of


@pytest.fixture
def patient(project: Project) -> Iterator[Patient]:
    with world_of(project) as world, pages_of(world, 1):
        yield Patient(world)


def diagnose(patient: Patient) -> dict[str, str]:
    """The doctor's messages about what is wrong, by the checks' ids. Status and trace must not fail either."""
    patient.inv("status")
    patient.inv("trace", f"https://shop.cl1.k3d.internal:{patient.world.https(1)}/")
    found = json.loads(patient.inv("doctor", "--json").stdout)
    return {finding["id"]: finding["message"] for finding in found if finding["state"] in ("red", "yellow")}


def test_objects_with_parts_that_are_null_or_missing_are_seen_as_far_as_they_go(patient: Patient) -> None:
    def odd(kind: str, name: str, **parts: Any) -> dict[str, Any]:
        return {"kind": kind, "metadata": {"namespace": "odd", "name": name, "labels": None, "annotations": None},
                **parts}

    backends: list[dict[str, Any]] = [{}, {"backend": None}, {"backend": {"service": None}},
                                      {"backend": {"resource": {"kind": "Bucket", "name": "x"}}}]
    patient.objects += [
        odd("Ingress", "null", spec=None, status=None),
        odd("Ingress", "none"),
        odd("Ingress", "backends", spec={"rules": [{"host": f"{number}.x", "http": {"paths": [path]}}
                                                   for number, path in enumerate(backends)]}),
        odd("Ingress", "default", spec={"defaultBackend": None, "rules": [None, {"http": None}], "tls": [{}]}),
        odd("EndpointSlice", "null", endpoints=None),
        {"kind": "EndpointSlice", "metadata": {"namespace": "shop", "name": "y", "labels": {
            "kubernetes.io/service-name": "shop"}}, "endpoints": [{"conditions": None}, {"addresses": None}]},
        odd("ConfigMap", "binary", binaryData={"a": "AAAA"}),
        odd("Pod", "null", status=None),
        odd("Pod", "none", status={"containerStatuses": None}),
        odd("Deployment", "null", spec=None, status=None),
    ]
    patient.find("ConfigMap", "coredns-custom")["data"]["other.server"] = None
    assert diagnose(patient) == {}


def test_what_is_not_there_yet_is_told_by_the_checks_that_look_for_it(patient: Patient) -> None:
    patient.find("Node", "k3d-cl1-server-0")["status"] = None
    assert set(diagnose(patient)) == {"node"}
    patient.find("Deployment", "traefik")["spec"] = {"template": {"spec": {"containers": []}}}
    patient.find("Service", "traefik-internal")["spec"] = {}
    patient.find("Certificate", "shop-cert")["status"] = None
    found = diagnose(patient)
    assert set(found) == {"node", "traefik-log", "traefik-internal", "certificates"}
    assert found["certificates"] == "shop/shop-cert is not ready: the condition Ready is not set yet"


@pytest.mark.parametrize("answer", ["", "null", "{}", '{"items": [{"kind"', "<html>"])
def test_an_answer_of_kubectl_that_cannot_be_read_is_an_api_that_does_not_answer(
    patient: Patient, answer: str
) -> None:
    tell = patient.tell

    def tell_oddly() -> None:
        tell()
        patient.world.fakes.answer("^kubectl .*get-contexts", "k3d-cl1\n")
        patient.world.fakes.answer("^kubectl .*get nodes,", answer)
        patient.world.fakes.answer("^kubectl .*get clusterissuers,", answer)

    patient.tell = tell_oddly  # type: ignore[method-assign]
    assert diagnose(patient) == {"api": "the output of kubectl cannot be parsed"}


def test_an_engine_that_tells_little_is_not_called_wrong(patient: Patient) -> None:
    patient.engine = {"ServerVersion": "28.0.0", "MemTotal": None, "SecurityOptions": None, "SystemTime": None,
                      "DockerRootDir": None, "Name": None}
    assert diagnose(patient) == {}


def test_an_image_that_cannot_be_pulled_is_told_without_a_message_and_of_an_init_container_too(
    patient: Patient
) -> None:
    patient.find("Pod", "shop-1")["status"] = {"initContainerStatuses": [
        {"image": "busybox", "state": {"waiting": {"reason": "ImagePullBackOff"}}}]}
    assert diagnose(patient) == {"images": "shop/shop-1: busybox: ImagePullBackOff"}


def test_without_an_engine_status_shows_this_machine_and_says_that_clusters_cannot_be_seen(patient: Patient) -> None:
    stop_engine(patient)
    done = patient.inv("status")
    assert (done.returncode, done.stderr) == (1, "")
    assert re.search("✗  engine .*its engine does not answer .*start Docker", done.stdout)
    assert "✓  root " in done.stdout and "There is no cluster" not in done.stdout
    told = json.loads(patient.inv("status", "--json").stdout)
    assert told["clusters"] == [] and told["machine"][0]["state"] == "red"
    listed = patient.inv("k3d-cluster-list", "--json")
    assert (listed.returncode, listed.stdout) == (1, "") and "\033" not in listed.stderr


def test_a_kind_that_the_cluster_does_not_have_hides_no_other(patient: Patient) -> None:
    patient.tell()
    kubectl = "^kubectl .*--context k3d-cl1 get"
    for kind in ("clusterissuers", "issuers"):
        found = [entry for entry in patient.others if f"{entry['kind'].lower()}s" == kind]
        patient.world.fakes.answer(f"{kubectl} {kind} ", json.dumps({"items": found}))
    for words in ("clusterissuers,", "bundles "):
        patient.world.fakes.answer(f"{kubectl} {words}", exit=1, stderr=(
            'error: the server doesn\'t have a resource type "bundles"\n'))
    patient.tell = lambda: None  # type: ignore[method-assign]
    assert set(diagnose(patient)) == {"bundle"}


def test_a_file_that_is_in_the_way_is_found_by_its_check_and_hides_no_other(patient: Patient) -> None:
    file = patient.world.project.root / "proc/sys/fs/inotify/max_user_instances"
    file.parent.mkdir(parents=True)
    file.symlink_to("/proc/self/mem")  # there, and cannot be read from its beginning
    found = diagnose(patient)
    assert set(found) == {"engine-inotify"} and "cannot be checked" in found["engine-inotify"]


def test_a_fix_that_cannot_write_its_files_is_told_and_the_doctor_goes_on(patient: Patient) -> None:
    (patient.world.project.folder / ".work").write_text("a file where the folder would be\n")
    patient.find("ClusterIssuer", "root-ca")["status"] = None
    done = patient.inv("doctor", "--fix", "--json")
    assert done.returncode == 2 and ".work" in done.stderr
    assert [found["id"] for found in json.loads(done.stdout) if found["state"] == "red"] == ["issuer"]
