"""Trust in pods and the refusal of foreign hosts: the words that are sent, what proves them, and older Kubernetes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from conftest import Project
from kubernetes_objects import pod
from patient import Patient
from pretend import World, admit, world_of
from recording import Answer, Call

from tasks.in_cluster import pod_trust, policies
from tasks.probe import pod_trust as pods
from tasks.probe.tls_clients import TlsClient, identify

APPLY = ["apply", "--server-side", "--force-conflicts", "--field-manager=dev-cluster-tasks"]
POLICY_FILES = ("pod-trust", "pod-trust-debug", "pod-trust-system-file")


@pytest.fixture
def world(project: Project) -> Iterator[World]:
    with world_of(project) as world:
        world.cluster_list(world.cluster(1))
        yield world


def configure(world: World) -> str:
    done = world.inv("k3d-cluster-configure", "--n", "1")
    assert done.returncode == 0, done.stderr
    return done.stdout


def sent(world: World) -> list[str]:
    """The files of policies that were applied, and other changes to policies and namespaces, in order."""
    found = []
    for words in world.changes():
        rest = words[5:]
        if rest[:4] == APPLY:
            found += [name for name in (word.rpartition("/")[2] for word in rest)
                      if name.startswith(("pod-trust", "hosts"))]
        elif rest and rest[0] == "delete":
            found.append(" ".join(rest))
    return found


def rendered(world: World, name: str) -> list[dict[str, Any]]:
    text = (world.project.folder / ".work" / "cl1" / f"{name}.yaml").read_text()
    return [*yaml.safe_load_all(text)]


def selector(world: World, name: str) -> dict[str, str]:
    labels: dict[str, str] = rendered(world, name)[1]["spec"]["matchResources"]["namespaceSelector"]["matchLabels"]
    return labels


# --- what is sent -----------------------------------------------------------------------------------------------------


def test_the_policies_go_into_the_cluster_after_the_bundle_and_are_proved(world: World) -> None:
    shown = configure(world)
    assert "pod trust: verified with a probe pod" in shown
    assert "hosts of root-ca: verified: those outside cl1.k3d.internal are denied" in shown
    assert set(sent(world)) == {"pod-trust-namespace.yaml", "hosts-of-root-ca.yaml",
                                *(f"{name}.yaml" for name in POLICY_FILES)}
    commands = [" ".join(words) for words in world.fakes.calls()]
    bundle, policies = (next(number for number, line in enumerate(commands) if re.search(pattern, line))
                        for pattern in ("wait bundle/default-ca-bundle", r"apply .*/pod-trust\.yaml"))
    assert bundle < policies
    assert selector(world, "pod-trust") == {"trust": "enabled"}
    assert selector(world, "pod-trust-system-file") == {"trust": "enabled", "trust-system-file": "enabled"}
    for name in (*POLICY_FILES, "hosts-of-root-ca"):
        policy, binding = rendered(world, name)
        assert policy["metadata"]["name"] == binding["metadata"]["name"] == binding["spec"]["policyName"] == name
        assert policy["spec"]["failurePolicy"] == "Ignore", "a policy that fails keeps no pod from starting"
        assert policy["apiVersion"] == binding["apiVersion"] == "admissionregistration.k8s.io/v1"


def test_with_system_file_every_labeled_namespace_gets_the_file(world: World) -> None:
    world.env(POD_TRUST="system-file")
    configure(world)
    assert selector(world, "pod-trust-system-file") == {"trust": "enabled"}


def test_every_variable_and_option_of_the_templates_is_the_one_that_is_proved(world: World) -> None:
    configure(world)
    for name in ("pod-trust", "pod-trust-debug"):
        variables = {entry["name"]: entry["expression"] for entry in rendered(world, name)[0]["spec"]["variables"]}
        assert variables["java"] == f"'{pod_trust.JAVA}'"
        for variable in pod_trust.READ_AS_PEM:
            assert f"['{variable}', '/dev-cluster-trust/bundle.pem']" in variables["settings"]
    namespaces, = rendered(world, "pod-trust")[1]["spec"]["matchResources"]["namespaceSelector"]["matchExpressions"]
    assert namespaces["values"] == ["kube-system", "kube-public", "kube-node-lease", "cert-manager"]


def test_off_sends_nothing_and_removes_what_is_there(world: World) -> None:
    world.env(POD_TRUST="off")
    assert "pod trust: off (POD_TRUST)" in configure(world)
    assert sent(world) == ["hosts-of-root-ca.yaml"], "the refusal has nothing to do with it"

    world.fakes.forget()
    there = "mutatingadmissionpolicybinding.admissionregistration.k8s.io/pod-trust"
    world.fakes.answer("^kubectl .*get mutatingadmissionpolicybindings,", f"{there}\n")
    world.fakes.answer("^kubectl .*get namespace dev-cluster-tasks", "dev-cluster-tasks")
    configure(world)
    # Beside other steps, one of which may apply something later.
    deleted = [line for line in sent(world) if line.startswith("delete ")]
    assert deleted == [f"delete {there}", "delete namespace dev-cluster-tasks --wait=false"]
    assert [words for words in world.fakes.calls("kubectl") if "-l" in words and "delete" in words] == []


def test_a_namespace_of_that_name_that_is_someone_elses_stays(world: World) -> None:
    world.env(POD_TRUST="off")
    world.fakes.answer("^kubectl .*get namespace dev-cluster-tasks", "Helm")
    configure(world)
    assert not [line for line in sent(world) if "namespace" in line]


# --- the proof --------------------------------------------------------------------------------------------------------


def impatient(world: World) -> None:
    world.project.patches.append((policies, "SECONDS", 0))


def without(part: str) -> Any:
    """An API whose probe pod lacks a part of what it should get."""
    def answer(call: Call) -> Answer | None:
        found = admit(call)
        return Answer(found.stdout.replace(part, "x")) if found and '"Pod"' in found.stdout else None
    return answer


@pytest.mark.parametrize(("part", "why"), [
    ("GIT_SSL_CAINFO", "a probe pod does not get GIT_SSL_CAINFO"),
    ("dev-cluster-tasks/trusted-by", "a probe pod does not get the annotation dev-cluster-tasks/trusted-by"),
    ("-Djavax", "a probe pod does not get JAVA_TOOL_OPTIONS"),
    ("/etc/ssl/certs/ca-certificates.crt", "a probe pod does not get the file /etc/ssl/certs/ca-certificates.crt"),
])
def test_a_policy_that_does_not_act_is_made_anew_and_then_fails_with_what_is_missing(
    world: World, part: str, why: str,
) -> None:
    impatient(world)
    world.fakes.behaviours["kubectl"].insert(0, without(part))
    there = "mutatingadmissionpolicy.admissionregistration.k8s.io/pod-trust"
    world.fakes.answer("^kubectl .*get mutatingadmissionpolicybindings,", f"{there}\n")
    done = world.inv("k3d-cluster-configure", "--n", "1")
    assert done.returncode == 1
    assert why in done.stderr
    assert [line for line in sent(world) if "hosts" not in line] == [
        "pod-trust-namespace.yaml", *(f"{name}.yaml" for name in POLICY_FILES), f"delete {there}",
        *(f"{name}.yaml" for name in POLICY_FILES)]


def test_where_something_else_rejects_the_probes_that_is_said_and_setup_goes_on(world: World) -> None:
    """Such as a policy of the user's, by which no pod may be without limits."""
    impatient(world)
    world.fakes.behaviours["kubectl"].insert(0, lambda call: Answer(
        stderr="Error from server: no limits\n", exit=1) if "--dry-run=server" in call.words else None)
    shown = configure(world)
    assert "! cl1 │ pod trust: applied, not verified: the API rejects a probe pod: Error from server: no" in shown
    assert "applied, not verified: something else rejects a probe Ingress: Error from server: no limits" in shown
    assert not [line for line in sent(world) if line.startswith("delete")]


# --- older Kubernetes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("version", "validating", "why"), [
    ("v1.35.1+k3s1", "v1", "Kubernetes v1.35.1+k3s1 has MutatingAdmissionPolicy, but this cluster was created without"),
    ("v1.33.4+k3s1", "v1", "Kubernetes v1.33.4+k3s1 has no MutatingAdmissionPolicy"),
    ("v1.29.0+k3s1", "", "Kubernetes v1.29.0+k3s1 has no MutatingAdmissionPolicy"),
])
def test_where_the_api_has_no_such_policies_that_is_said_once_and_nothing_is_sent(
    world: World, version: str, validating: str, why: str,
) -> None:
    world.policies("", validating, version=version)
    shown = configure(world)
    assert shown.count(why) == 1 and "each manifest has to mount it" in shown
    assert "inv k3d-cluster-delete --n 1 k3d-cluster-setup --n 1" in shown
    assert sent(world) == (["hosts-of-root-ca.yaml"] if validating else [])
    assert ("has no ValidatingAdmissionPolicy, so nothing refuses a host outside cl1.k3d.internal" in shown) == (
        not validating)
    world.inv("k3d-cluster-examples", "--n", "1")
    client, = rendered(world, "curl")
    assert "default-ca-bundle" in json.dumps(client), "the example mounts it itself"


def test_kubernetes_1_34_that_was_asked_for_it_gets_policies_of_its_version(world: World) -> None:
    world.policies("v1beta1", "v1", version="v1.34.5+k3s1")
    configure(world)
    assert {entry["apiVersion"] for name in POLICY_FILES for entry in rendered(world, name)} == {
        "admissionregistration.k8s.io/v1beta1"}


REQUEST = ["--k3s-arg", "--kube-apiserver-arg=feature-gates=MutatingAdmissionPolicy=true@server:*",
           "--k3s-arg", "--kube-apiserver-arg=runtime-config=admissionregistration.k8s.io/v1beta1=true@server:*"]


@pytest.mark.parametrize(("image", "settings", "asked"), [
    ("docker.io/rancher/k3s:v1.34.2-k3s1", {}, True),
    ("mirror.example:5000/rancher/k3s:v1.35.0-k3s3", {}, True),
    ("docker.io/rancher/k3s:v1.35.0-k3s1", {"POD_TRUST": "off"}, False),
    ("docker.io/rancher/k3s:v1.36.4-k3s1", {}, False),
    ("docker.io/rancher/k3s:v1.33.9-k3s1", {}, False),
    ("mirror.example:5000/k3s:latest", {}, False),
])
def test_setup_asks_kubernetes_1_34_and_1_35_for_the_policies(
    world: World, image: str, settings: dict[str, str], asked: bool,
) -> None:
    world.cluster_list()
    world.env(K3S_IMAGE=image, **settings)
    world.fakes.answer("^k3d cluster create", exit=1)
    world.inv("k3d-cluster-setup", "--n", "1")
    words, = world.fakes.calls("k3d", "cluster", "create")
    found = [word for number, word in enumerate(words) if word == "--k3s-arg" or words[number - 1] == "--k3s-arg"]
    assert found == (REQUEST if asked else [])


@pytest.mark.parametrize(("image", "version"), [
    ("docker.io/rancher/k3s:v1.35.0-k3s1", "v1beta1"), ("docker.io/rancher/k3s:v1.36.4-k3s1", "v1"),
    ("mirror.example/k3s:latest", "v1"), ("docker.io/rancher/k3s:v1.33.9-k3s1", ""),
])
def test_a_dry_run_of_a_new_cluster_shows_what_its_image_will_have(world: World, image: str, version: str) -> None:
    world.cluster_list()
    world.env(K3S_IMAGE=image)
    world.fakes.answer("^kubectl .*api-resources", stderr="no such context\n", exit=1)
    done = world.inv("--dry", "k3d-cluster-setup", "--n", "1")
    assert done.returncode == 0, done.stderr
    assert ("pod-trust-debug.yaml" in done.stdout) == bool(version)
    assert "--dry-run=server" not in done.stdout


# --- which pods go without --------------------------------------------------------------------------------------------


@pytest.fixture
def patient(project: Project) -> Iterator[Patient]:
    with world_of(project) as world:
        yield Patient(world)


OWNERS = {
    "ReplicaSet": ("web-7d", "-n shop rollout restart deployment/web"),
    "StatefulSet": ("db", "-n shop rollout restart statefulset/db"),
    "DaemonSet": ("agent", "-n shop rollout restart daemonset/agent"),
    "Job": ("import", "-n shop delete pod older"),
}


@pytest.mark.parametrize("kind", OWNERS)
def test_status_names_pods_that_are_older_than_their_trust_with_the_command_that_restarts_them(
    patient: Patient, kind: str,
) -> None:
    name, command = OWNERS[kind]
    older = pod("shop", "older", labels={"pod-template-hash": "7d"})
    older["metadata"] |= {"annotations": {}, "ownerReferences": [{"kind": kind, "name": name, "controller": True}]}
    older["spec"]["volumes"] = []
    patient.objects.append(older)
    done = patient.inv("status")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    heading, = (line for line in lines if line.startswith("cl1: these pods do not trust the root yet"))
    assert lines[lines.index(heading) + 1] == f"  kubectl --context k3d-cl1 {command}"
    entry, = json.loads(patient.inv("status", "--json").stdout)["clusters"]
    assert [found["command"] for found in entry["untrusting"]] == [f"kubectl --context k3d-cl1 {command}"]


def test_status_asks_for_no_restart_where_no_policy_is_in_place_or_the_namespace_has_no_label(patient: Patient) -> None:
    older = pod("shop", "older")
    older["metadata"]["annotations"], older["spec"]["volumes"] = {}, []
    elsewhere = {**older, "metadata": {**older["metadata"], "namespace": "default"}}
    patient.objects.append(elsewhere)
    assert "do not trust the root" not in patient.inv("status").stdout
    patient.objects.append(older)
    assert "do not trust the root" in patient.inv("status").stdout
    patient.policies = []
    assert "do not trust the root" not in patient.inv("status").stdout


# --- what a program reads ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("program", "libraries", "library", "variables"), [
    ("java", "libjvm.so,libssl.so.3,", "Java", ("JAVA_TOOL_OPTIONS",)),
    ("python3.11", "libssl.so.3,", "Python", ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")),
    ("node", "", "Node", ("NODE_EXTRA_CA_CERTS",)),
    ("curl", "libcurl.so.4,libssl.so.3,", "curl", ("CURL_CA_BUNDLE", "SSL_CERT_FILE")),
    ("php-fpm8.2", "libcurl.so.4.8.0,libssl.so.3,", "libcurl", ()),
    ("apache2", "libcurl-gnutls.so.4.8.0,libgnutls.so.30,", "libcurl", ()),
    ("wget", "libgnutls.so.30.34.3,", "GnuTLS", ()),
    ("nginx", "libssl.so.3,", "OpenSSL", ("SSL_CERT_FILE",)),
    ("server", "go", "Go", ("SSL_CERT_FILE",)),
])
def test_a_program_is_known_by_its_name_or_by_the_libraries_in_its_memory(
    program: str, libraries: str, library: str, variables: tuple[str, ...],
) -> None:
    assert identify(program, libraries) == TlsClient(program, library, variables)


def test_of_other_programs_nothing_is_said() -> None:
    assert identify("sleep", "") is None and identify("google-cloud", "") is None


def test_a_bundle_in_a_projected_volume_is_mounted_by_hand() -> None:
    volume = {"name": "all", "projected": {"sources": [{"secret": {"name": "a"}}, {"configMap": {"name": "b"}}]}}
    assert pods.mounted_config_maps(volume) == {"b"}
