"""A real cluster whose pods trust the root with nothing in their manifest: which clients do, and what stays as it was.

RUNTIMES_IMAGE names an image in which `/ask URL` asks with each of its clients, a line `NAME ok` or `NAME refused: why`
for each; RUNTIMES_STATIC_IMAGE one that holds a static binary of Go and nothing else. MORE_CLIENTS_IMAGE may name the
image of tests/helpers/more_clients. These tests build on each other, in the order in which they stand.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml
from real_clusters import Clusters, one_cluster, why_not

from tasks.in_cluster import pod_trust

RUNTIMES = os.environ.get("RUNTIMES_IMAGE", "")
STATIC = os.environ.get("RUNTIMES_STATIC_IMAGE", "")
MORE = os.environ.get("MORE_CLIENTS_IMAGE", "")
WHY_NOT = why_not() or ("" if RUNTIMES and STATIC else "RUNTIMES_IMAGE and RUNTIMES_STATIC_IMAGE name no images")

pytestmark = [pytest.mark.cluster, pytest.mark.skipif(WHY_NOT != "", reason=WHY_NOT or "-")]

CLIENTS = {"curl_openssl", "openssl_cli", "wget_gnutls", "git_https", "python_ssl", "python_requests", "python_httpx",
           "node_fetch", "ruby_http", "java_httpclient", "go_static"}

RESTRICTED: dict[str, Any] = {
    "runAsUser": 1000, "runAsNonRoot": True, "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"}}


@pytest.fixture(scope="module")
def clusters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clusters]:
    """One cluster in which nothing gives trust to pods, with the examples, and these images."""
    folder = tmp_path_factory.mktemp("clusters")
    with one_cluster(folder, "ptt", 18, "k3d-cluster-examples", settings="POD_TRUST=off\n") as made:
        images = [image for image in (RUNTIMES, STATIC, MORE) if image]
        made.import_images(0, *images)
        yield made


def inv(clusters: Clusters, *words: str) -> str:
    done = clusters.inv(*words)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def setting(clusters: Clusters, value: str) -> None:
    file = clusters.folder / ".env"
    file.write_text(re.sub(r"POD_TRUST=.*", f"POD_TRUST={value}", file.read_text()))


def kubectl(clusters: Clusters, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    command = ["kubectl", "--kubeconfig", str(clusters.kubeconfig), "--context", "k3d-ptt0", *words]
    done = subprocess.run(command, capture_output=True, text=True)
    assert not check or done.returncode == 0, f"{shlex.join(words)}: {done.stdout}{done.stderr}"
    return done


def apply(clusters: Clusters, *objects: dict[str, Any], check: bool = True, manager: str = ""
          ) -> subprocess.CompletedProcess[str]:
    file = clusters.folder / "objects.yaml"
    file.write_text(yaml.safe_dump_all(objects))
    more = ["--server-side", f"--field-manager={manager}"] if manager else []
    return kubectl(clusters, "apply", *more, "-f", str(file), check=check)


def wait_until(what: str, so: Callable[[], object], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not so():
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds} s"
        time.sleep(0.5)


# --- what is applied --------------------------------------------------------------------------------------------------


def namespace(name: str, **labels: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def container(name: str = "main", image: str = "", **more: Any) -> dict[str, Any]:
    return {"name": name, "image": image or RUNTIMES, "command": ["sleep", "infinity"], **more}


def pod_spec(*containers: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"terminationGracePeriodSeconds": 0, "containers": [*containers] or [container()], **more}


def pod(name: str, space: str, spec: dict[str, Any], **annotations: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", "spec": spec,
            "metadata": {"name": name, "namespace": space, "annotations": annotations}}


def workload(kind: str, name: str, space: str, spec: dict[str, Any]) -> dict[str, Any]:
    labels = {"app": name}
    group = "batch/v1" if kind == "Job" else "apps/v1"
    selector = {} if kind == "Job" else {"selector": {"matchLabels": labels}}
    more = {"serviceName": name} if kind == "StatefulSet" else {}
    return {"apiVersion": group, "kind": kind, "metadata": {"name": name, "namespace": space},
            "spec": {**selector, **more, "template": {"metadata": {"labels": labels}, "spec": spec}}}


def ready(clusters: Clusters, space: str, *names: str) -> None:
    kubectl(clusters, "-n", space, "wait", "--for=condition=Ready", "--timeout=120s",
            *(f"pod/{name}" for name in names))


def get(clusters: Clusters, space: str, what: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(kubectl(clusters, "-n", space, "get", what, name, "-o", "json").stdout)
    return found


# --- asking -----------------------------------------------------------------------------------------------------------


def page(clusters: Clusters) -> str:
    return f"https://example-nginx.ptt0.k3d.internal:{clusters.cluster(0).https_port}/"


def trusting(clusters: Clusters, space: str, target: str, *more: str) -> set[str]:
    """The clients in a pod that accept the page's certificate; the others must reject it, and for that reason."""
    said = kubectl(clusters, "-n", space, "exec", target, *more, "--", "/ask", page(clusters), check=False).stdout
    lines = dict(line.split(" ", 1) for line in said.splitlines())
    assert set(lines) == CLIENTS, said
    refused = {name: why for name, why in lines.items() if why != "ok"}
    assert all(re.search("certif|verif|PKIX|trust|SSL", why, re.IGNORECASE) for why in refused.values()), refused
    return CLIENTS - set(refused)


def curl(clusters: Clusters, space: str, target: str, *more: str) -> bool:
    return kubectl(clusters, "-n", space, "exec", target, *more, "--", "/ask", page(clusters), "curl_openssl",
                   check=False).returncode == 0


def variables(found: dict[str, Any], kind: str = "containers", number: int = 0) -> dict[str, str]:
    return {entry["name"]: entry.get("value", "") for entry in found["spec"][kind][number].get("env", [])}


# --- the table of clients ---------------------------------------------------------------------------------------------


def test_without_pod_trust_no_client_trusts_the_page_and_the_example_mounts_the_bundle_itself(
    clusters: Clusters,
) -> None:
    apply(clusters, namespace("shop", trust="enabled"), workload("Deployment", "clients", "shop", pod_spec()))
    kubectl(clusters, "-n", "shop", "rollout", "status", "deployment/clients", "--timeout=120s")
    assert trusting(clusters, "shop", "deployment/clients") == set()
    assert "default-ca-bundle" in json.dumps(get(clusters, "examples", "deployment", "curl"))


def test_configure_brings_the_policies_and_status_names_the_pods_that_need_a_restart_with_its_command(
    clusters: Clusters,
) -> None:
    setting(clusters, "variables")
    assert "pod trust: verified with a probe pod" in inv(clusters, "k3d-cluster-configure", "--n", "0")
    assert trusting(clusters, "shop", "deployment/clients") == set(), "a running pod cannot be changed"
    shown = inv(clusters, "status")
    command, = re.findall(r"kubectl .*-n shop .*", shown)
    subprocess.run(shlex.split(command), check=True, capture_output=True, env=clusters.environment())
    kubectl(clusters, "-n", "shop", "rollout", "status", "deployment/clients", "--timeout=120s")
    wait_until("status to name it no more", lambda: "-n shop" not in inv(clusters, "status"))


def test_with_variables_every_client_trusts_the_page_but_the_one_that_reads_none(clusters: Clusters) -> None:
    assert trusting(clusters, "shop", "deployment/clients") == CLIENTS - {"wget_gnutls"}


def test_with_the_systems_file_every_client_does(clusters: Clusters) -> None:
    apply(clusters, namespace("files", **{"trust": "enabled", "trust-system-file": "enabled"}),
          workload("Deployment", "clients", "files", pod_spec()))
    kubectl(clusters, "-n", "files", "rollout", "status", "deployment/clients", "--timeout=120s")
    assert trusting(clusters, "files", "deployment/clients") == CLIENTS


# What reads no variable, and what reads no file of the system.
WITHOUT_VARIABLE = {"php_curl", "gnutls_cli", "python_pycurl"}
MORE_CLIENTS = {"php_streams", "perl_lwp", "python_aiohttp", "python_botocore", "python_grpc", "rust_uv", "deno_fetch",
                "bun_fetch", *WITHOUT_VARIABLE}


@pytest.mark.skipif(not MORE, reason="MORE_CLIENTS_IMAGE names no image")
def test_more_clients_trust_it_in_the_same_way(clusters: Clusters) -> None:
    expected = {"plain": set[str](), "shop": MORE_CLIENTS - WITHOUT_VARIABLE, "files": MORE_CLIENTS}
    apply(clusters, namespace("plain"))
    for space in expected:
        apply(clusters, pod("more", space, pod_spec(container(image=MORE))))
    for space, trusted in expected.items():
        ready(clusters, space, "more")
        said = kubectl(clusters, "-n", space, "exec", "more", "--", "/ask-more", page(clusters), check=False).stdout
        lines = dict(line.split(" ", 1) for line in said.splitlines())
        assert set(lines) == MORE_CLIENTS, said
        assert {name for name, found in lines.items() if found == "ok"} == trusted, said


def test_an_image_with_one_binary_and_no_file_of_roots_trusts_it_as_a_user_without_rights(clusters: Clusters) -> None:
    asking = pod_spec({"name": "main", "image": STATIC, "args": [page(clusters)]}, restartPolicy="Never")
    apply(clusters, pod("static", "shop", asking))
    wait_until("it to end", lambda: get(clusters, "shop", "pod", "static")["status"]["phase"] in (
        "Succeeded", "Failed"))
    assert kubectl(clusters, "-n", "shop", "logs", "static").stdout.startswith("ok 200")


def test_the_examples_have_nothing_about_trust_and_the_one_that_opts_out_is_refused(clusters: Clusters) -> None:
    shown = inv(clusters, "k3d-cluster-examples", "--n", "0")
    assert "rejected, as expected" in shown and "✗" not in shown
    assert "default-ca-bundle" not in json.dumps(get(clusters, "examples", "deployment", "curl"))


# --- kinds of pods ----------------------------------------------------------------------------------------------------


def asks(name: str, **more: Any) -> dict[str, Any]:
    """A container that ends well when curl in it trusts the page."""
    return {"name": name, "image": RUNTIMES, "command": ["sh", "-c", "/ask $URL curl_openssl python_requests"], **more}


def test_init_and_sidecar_containers_jobs_statefulsets_and_bare_pods_trust(clusters: Clusters) -> None:
    url = {"env": [{"name": "URL", "value": page(clusters)}]}
    sidecar = container("sidecar", restartPolicy="Always")
    init = [asks("init", **url), sidecar]
    apply(clusters,
          pod("bare", "shop", pod_spec(container(), container("second"), initContainers=init)),
          workload("Job", "job", "shop", pod_spec(asks("main", **url), restartPolicy="Never")),
          workload("StatefulSet", "set", "shop", pod_spec()))
    kubectl(clusters, "-n", "shop", "wait", "job/job", "--for=condition=Complete", "--timeout=120s")
    kubectl(clusters, "-n", "shop", "rollout", "status", "statefulset/set", "--timeout=120s")
    ready(clusters, "shop", "bare")  # after its init container, which asked
    assert all(curl(clusters, "shop", "bare", "-c", name) for name in ("main", "second", "sidecar"))
    assert curl(clusters, "shop", "set-0")
    annotations = get(clusters, "shop", "pod", "bare")["metadata"]["annotations"]
    assert annotations["dev-cluster-tasks/trusted-by"] == "mutatingadmissionpolicy/pod-trust"


def test_a_container_of_kubectl_debug_trusts_and_an_earlier_one_is_not_touched(clusters: Clusters) -> None:
    for name in ("debug-1", "debug-2"):
        kubectl(clusters, "-n", "shop", "debug", "bare", f"--image={RUNTIMES}", "-c", name,
                "--image-pull-policy=IfNotPresent", "--profile=general", "--", "sleep", "infinity")
    wait_until("both to run", lambda: sum(
        "running" in status["state"]
        for status in get(clusters, "shop", "pod", "bare")["status"].get("ephemeralContainerStatuses", [])) == 2)
    assert curl(clusters, "shop", "bare", "-c", "debug-1") and curl(clusters, "shop", "bare", "-c", "debug-2")


def test_a_restricted_pod_with_a_root_that_is_read_only_and_mounts_over_run_trusts(clusters: Clusters) -> None:
    """With an emptyDir over /var/run, as many have; and with a mount there below which no folder can be made."""
    level = "pod-security.kubernetes.io/enforce"
    writable: dict[str, Any] = {"volumes": [{"name": "run", "emptyDir": {}}]}
    fixed: dict[str, Any] = {"volumes": [{"name": "run", "configMap": {"name": "kube-root-ca.crt"}}]}
    for folder in ("/var/run", "/run"):
        mounted = container(securityContext=RESTRICTED, volumeMounts=[{"name": "run", "mountPath": folder}])
        name = folder.strip("/").replace("/", "-")
        apply(clusters, namespace("strict", trust="enabled", **{level: "restricted"}),
              pod(f"empty-{name}", "strict", pod_spec(mounted, **writable)),
              pod(f"fixed-{name}", "strict", pod_spec(mounted, automountServiceAccountToken=False, **fixed)))
        ready(clusters, "strict", f"empty-{name}", f"fixed-{name}")
        assert curl(clusters, "strict", f"empty-{name}") and curl(clusters, "strict", f"fixed-{name}")


# --- what the user sets wins ------------------------------------------------------------------------------------------


def test_own_variables_mounts_and_volumes_stay_and_the_rest_is_added(clusters: Clusters) -> None:
    pem, folder = f"{pod_trust.FOLDER}/bundle.pem", {"name": "own", "mountPath": pod_trust.FOLDER}
    apply(clusters, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "own", "namespace": "shop"},
                     "data": {"SSL_CERT_FILE": "/from/the/map", "bundle.pem": "mine"}})
    own = [{"name": "SSL_CERT_FILE", "value": "/mine"}, {"name": "REQUESTS_CA_BUNDLE", "value": ""},
           {"name": "GIT_SSL_CAINFO", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
           {"name": "JAVA_TOOL_OPTIONS", "value": "-Xmx64m"}]
    mine: dict[str, Any] = {"volumes": [{"name": "own", "configMap": {"name": "own"}}]}
    from_map: dict[str, Any] = {"envFrom": [{"configMapRef": {"name": "own"}}]}
    taken: dict[str, Any] = {"volumes": [{"name": pod_trust.VOLUME, "emptyDir": {}}]}
    apply(clusters,
          pod("own-env", "shop", pod_spec(container(env=own), container("other"))),
          pod("own-mount", "shop", pod_spec(container(volumeMounts=[folder]), container("other"), **mine)),
          pod("own-volume", "shop", pod_spec(**taken)),
          pod("own-map", "shop", pod_spec(container(**from_map)), **{
              "dev-cluster-tasks/trust-except": "SSL_CERT_FILE, JAVA_TOOL_OPTIONS"}),
          pod("own-way", "shop", pod_spec(), **{"dev-cluster-tasks/trust": "none"}))
    ready(clusters, "shop", "own-env", "own-mount", "own-volume", "own-map", "own-way")

    found = get(clusters, "shop", "pod", "own-env")
    given = variables(found)
    assert (given["SSL_CERT_FILE"], given["REQUESTS_CA_BUNDLE"], given["GIT_SSL_CAINFO"]) == ("/mine", "", "")
    assert given["JAVA_TOOL_OPTIONS"] == f"-Xmx64m {pod_trust.JAVA}" and given["NODE_EXTRA_CA_CERTS"] == pem
    assert variables(found, number=1) == pod_trust.VARIABLE_VALUES
    assert trusting(clusters, "shop", "own-env", "-c", "main") >= {"java_httpclient", "node_fetch"}

    found = get(clusters, "shop", "pod", "own-mount")
    assert variables(found) == {} and variables(found, number=1) == pod_trust.VARIABLE_VALUES
    assert kubectl(clusters, "-n", "shop", "exec", "own-mount", "-c", "main", "--", "cat", pem).stdout == "mine"

    found = get(clusters, "shop", "pod", "own-map")
    assert "SSL_CERT_FILE" not in variables(found) and "JAVA_TOOL_OPTIONS" not in variables(found)
    assert kubectl(clusters, "-n", "shop", "exec", "own-map", "--", "printenv", "SSL_CERT_FILE"
                   ).stdout == "/from/the/map\n"
    for name in ("own-volume", "own-way"):
        found = get(clusters, "shop", "pod", name)
        assert variables(found) == {} and pod_trust.TRUSTED_BY not in found["metadata"].get("annotations", {})


def test_a_folder_of_certificates_of_ones_own_is_not_covered_by_the_systems_file(clusters: Clusters) -> None:
    mount = {"name": "own", "mountPath": "/etc/ssl/certs/"}
    volumes: dict[str, Any] = {"volumes": [{"name": "own", "configMap": {"name": "kube-root-ca.crt"}}]}
    apply(clusters, pod("own-certs", "files", pod_spec(container(volumeMounts=[mount]), **volumes)))
    ready(clusters, "files", "own-certs")
    mounts = get(clusters, "files", "pod", "own-certs")["spec"]["containers"][0]["volumeMounts"]
    assert pod_trust.FILE not in {entry["mountPath"] for entry in mounts}
    assert curl(clusters, "files", "own-certs"), "the variables are there all the same"


def test_a_manifest_that_mounts_the_bundle_by_hand_goes_on_working(clusters: Clusters) -> None:
    env = [{"name": "SSL_CERT_FILE", "value": "/etc/mine/bundle.pem"}]
    by_hand = container(env=env, volumeMounts=[{"name": "trust", "mountPath": "/etc/mine", "readOnly": True}])
    volumes: dict[str, Any] = {"volumes": [{"name": "trust", "configMap": {"name": "default-ca-bundle"}}]}
    apply(clusters, pod("by-hand", "shop", pod_spec(by_hand, **volumes)))
    ready(clusters, "shop", "by-hand")
    assert variables(get(clusters, "shop", "pod", "by-hand"))["SSL_CERT_FILE"] == "/etc/mine/bundle.pem"
    assert trusting(clusters, "shop", "by-hand") == CLIENTS - {"wget_gnutls"}


SIDECAR = """
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicy
metadata: {name: add-a-sidecar}
spec:
  failurePolicy: Fail
  reinvocationPolicy: IfNeeded
  matchConstraints:
    resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [pods]}]
  matchConditions:
    - name: wanted
      expression: object.metadata.?labels['sidecar'].orValue('') == 'yes'
  mutations:
    - patchType: ApplyConfiguration
      applyConfiguration:
        expression: >-
          Object{spec: Object.spec{
            containers: [Object.spec.containers{name: 'added', image: '%s'}]}}
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicyBinding
metadata: {name: add-a-sidecar}
spec: {policyName: add-a-sidecar}
"""


def test_a_container_that_another_policy_adds_later_trusts_too(clusters: Clusters) -> None:
    apply(clusters, *yaml.safe_load_all(SIDECAR % RUNTIMES))
    wanted = pod("with-sidecar", "shop", pod_spec())
    wanted["metadata"]["labels"] = {"sidecar": "yes"}

    def added() -> dict[str, Any]:
        file = clusters.folder / "objects.yaml"
        file.write_text(yaml.safe_dump(wanted))
        said = kubectl(clusters, "create", "--dry-run=server", "-o", "json", "-f", str(file), check=False).stdout
        found: dict[str, Any] = json.loads(said or "{}")
        return found if len(found.get("spec", {}).get("containers", [])) == 2 else {}

    try:
        wait_until("the other policy to act", added)
        found = added()
        assert {entry["name"] for entry in found["spec"]["containers"]} == {"main", "added"}
        assert all(variables(found, number=number) == pod_trust.VARIABLE_VALUES for number in (0, 1))
    finally:
        kubectl(clusters, "delete", "mutatingadmissionpolicies,mutatingadmissionpolicybindings", "add-a-sidecar")


def test_nothing_differs_from_the_users_manifest_for_whoever_compares(clusters: Clusters) -> None:
    deployment = workload("Deployment", "drift", "shop", pod_spec())
    apply(clusters, deployment)
    kubectl(clusters, "-n", "shop", "rollout", "status", "deployment/drift", "--timeout=120s")
    file = str(clusters.folder / "objects.yaml")
    assert kubectl(clusters, "diff", "-f", file).returncode == 0
    assert "unchanged" in apply(clusters, deployment).stdout
    apply(clusters, deployment, manager="argocd")
    again = ["--server-side", "--field-manager=argocd", "-f", file]
    assert kubectl(clusters, "diff", *again).returncode == 0
    found = get(clusters, "shop", "deployment", "drift")
    assert "dev-cluster-trust" not in json.dumps(found)
    kubectl(clusters, "-n", "shop", "delete", "deployment", "drift")


# --- the bundle comes late, or goes -----------------------------------------------------------------------------------


def test_a_namespace_and_its_pod_applied_at_once_are_ready_and_trust(clusters: Clusters) -> None:
    apply(clusters, namespace("fresh", trust="enabled"), pod("first", "fresh", pod_spec()))
    ready(clusters, "fresh", "first")
    assert curl(clusters, "fresh", "first")


def test_without_trust_manager_a_pod_waits_and_runs_trusted_once_that_is_back(clusters: Clusters) -> None:
    manager = ("-n", "cert-manager", "scale", "deployment/trust-manager")
    kubectl(clusters, *manager, "--replicas=0")
    kubectl(clusters, "-n", "cert-manager", "wait", "pod", "--for=delete", "-l", "app=trust-manager",
            "--timeout=60s", check=False)
    try:
        apply(clusters, namespace("waiting", trust="enabled"), pod("first", "waiting", pod_spec()))
        wait_until("the kubelet to say what it waits for", lambda: "default-ca-bundle" in kubectl(
            clusters, "-n", "waiting", "get", "events").stdout)
        assert get(clusters, "waiting", "pod", "first")["status"]["phase"] == "Pending"
    finally:
        kubectl(clusters, *manager, "--replicas=1")
    ready(clusters, "waiting", "first")
    assert curl(clusters, "waiting", "first")


def test_without_the_label_running_pods_go_on_and_new_ones_are_left_alone(clusters: Clusters) -> None:
    kubectl(clusters, "label", "namespace", "fresh", "trust-")
    wait_until("trust-manager to take the bundle away", lambda: kubectl(
        clusters, "-n", "fresh", "get", "configmap", "default-ca-bundle", check=False).returncode)
    assert curl(clusters, "fresh", "first")
    apply(clusters, pod("second", "fresh", pod_spec()))
    ready(clusters, "fresh", "second")
    assert variables(get(clusters, "fresh", "pod", "second")) == {} and not curl(clusters, "fresh", "second")
    kubectl(clusters, "delete", "namespace", "fresh", "waiting", "--wait=false")


# --- hosts outside the domain -----------------------------------------------------------------------------------------

ISSUER = "cert-manager.io/cluster-issuer"


def ingress(name: str, *hosts: str, **annotations: str) -> dict[str, Any]:
    backend = {"service": {"name": "shop", "port": {"number": 80}}}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
            "metadata": {"name": name, "namespace": "shop", "annotations": annotations or {ISSUER: "root-ca"}},
            "spec": {"defaultBackend": backend, "tls": [{"hosts": [*hosts], "secretName": name}] if hosts else []}}


def certificate(name: str, kind: str = "ClusterIssuer", **names: list[str]) -> dict[str, Any]:
    return {"apiVersion": "cert-manager.io/v1", "kind": "Certificate", "metadata": {"name": name, "namespace": "shop"},
            "spec": {"secretName": name, "issuerRef": {"name": "root-ca", "kind": kind}, **names}}


def gateway(name: str, host: str, mode: str = "Terminate") -> dict[str, Any]:
    tls = {"mode": mode, **({"certificateRefs": [{"name": name}]} if mode == "Terminate" else {})}
    protocol = "HTTPS" if mode == "Terminate" else "TLS"
    return {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
            "metadata": {"name": name, "namespace": "shop", "annotations": {ISSUER: "root-ca"}},
            "spec": {"gatewayClassName": "none", "listeners": [
                {"name": "a", "hostname": host, "port": 443, "protocol": protocol, "tls": tls}]}}


OURS = "ptt0.k3d.internal"
DENIED = {
    "a foreign host": (ingress("a", "b.example.com"), "b.example.com"),
    "every one is named": (ingress("a", f"a.{OURS}", "b.example.com", "localhost", "*.k3d.internal"),
                           "b.example.com, localhost, *.k3d.internal"),
    "a host that only ends alike": (ingress("a", f"evil{OURS}"), f"evil{OURS}"),
    "an issuer and its kind": (ingress("a", "b.example.com", **{
        "cert-manager.io/issuer": "root-ca", "cert-manager.io/issuer-kind": "ClusterIssuer"}), "b.example.com"),
    "more names by annotation": (ingress("a", f"a.{OURS}", **{
        ISSUER: "root-ca", "cert-manager.io/alt-names": f"b.{OURS}, c.example.com"}), "c.example.com"),
    "a Certificate": (certificate("a", dnsNames=[f"a.{OURS}", "b.example.com"], ipAddresses=["10.0.0.1"]),
                      "b.example.com, 10.0.0.1"),
    "a Gateway": (gateway("a", "b.example.com"), "b.example.com"),
}
ADMITTED = {
    "hosts below the domain": ingress("a", f"a.{OURS}", f"*.{OURS}", f"*.a.{OURS}", OURS),
    "no certificate": ingress("a"),
    "another issuer": ingress("a", "b.example.com", **{ISSUER: "letsencrypt"}),
    "an issuer of the namespace": ingress("a", "b.example.com", **{"cert-manager.io/issuer": "root-ca"}),
    "a Certificate of another issuer": certificate("a", "Issuer", dnsNames=["b.example.com"]),
    "a Certificate in upper case": certificate("a", dnsNames=[f"A.{OURS.upper()}"]),
    "a Gateway": gateway("a", f"a.{OURS}"),
    "a Gateway that passes through": gateway("a", "b.example.com", "Passthrough"),
}


def denied(done: subprocess.CompletedProcess[str]) -> str:
    """The hosts that a denial names. It says what to write instead, too."""
    said = re.search(rf"not below {re.escape(OURS)}: (.*?)\. The issuer root-ca signs only for {re.escape(OURS)} and "
                     rf"names below it; .*Use <name>\.{re.escape(OURS)}, or another issuer", done.stderr)
    assert done.returncode and said, done.stdout + done.stderr
    return said[1]


@pytest.mark.parametrize("what", DENIED)
@pytest.mark.parametrize("how", [[], ["--server-side"]], ids=["apply", "server-side"])
def test_a_host_outside_the_domain_is_refused_at_once(clusters: Clusters, what: str, how: list[str]) -> None:
    wanted, hosts = DENIED[what]
    file = clusters.folder / "objects.yaml"
    file.write_text(yaml.safe_dump(wanted))
    assert denied(kubectl(clusters, "apply", *how, "-f", str(file), check=False)) == hosts


@pytest.mark.parametrize("what", ADMITTED)
def test_what_is_no_business_of_root_ca_is_free(clusters: Clusters, what: str) -> None:
    file = clusters.folder / "objects.yaml"
    file.write_text(yaml.safe_dump(ADMITTED[what]))
    kubectl(clusters, "apply", "--dry-run=server", "-f", str(file))


def test_what_was_bad_before_stays_editable_and_is_named_by_the_doctor_with_its_owner(clusters: Clusters) -> None:
    found = {kind: [json.loads(kubectl(clusters, "get", kind, "hosts-of-root-ca", "-o", "json").stdout)] for kind in (
        "validatingadmissionpolicies", "validatingadmissionpolicybindings")}
    kubectl(clusters, "delete", *(f"{kind}/hosts-of-root-ca" for kind in found))
    bad = ingress("old", "b.example.com", **{ISSUER: "root-ca", "meta.helm.sh/release-name": "web"})
    wait_until("the policy to be forgotten", lambda: apply(clusters, bad, check=False).returncode == 0)
    inv(clusters, "k3d-cluster-configure", "--n", "0")

    kubectl(clusters, "-n", "shop", "label", "ingress", "old", "edited=yes")
    more = ["-n", "shop", "patch", "ingress", "old", "--type=json", "-p",
            '[{"op": "add", "path": "/spec/tls/0/hosts/-", "value": "c.example.com"}]']
    assert denied(kubectl(clusters, *more, check=False)) == "c.example.com", "only the one that is new"
    findings = json.loads(clusters.inv("doctor", "--json").stdout)
    said = [finding["message"] for finding in findings if finding["id"] == "ingress-host" and finding["state"] == "red"]
    assert any("shop/old" in line and "b.example.com" in line and "Helm release web" in line for line in said), said
    kubectl(clusters, "-n", "shop", "delete", "ingress", "old")
    kubectl(clusters, "-n", "shop", "delete", "certificate", "old", "--ignore-not-found")


# --- the doctor -------------------------------------------------------------------------------------------------------


def wrong(clusters: Clusters, *words: str) -> dict[str, str]:
    findings = json.loads(clusters.inv("doctor", "--json", *words).stdout)
    return {finding["id"]: finding["message"] for finding in reversed(findings) if finding["state"] in ("red", "yellow")
            and finding["id"].startswith(("pod-trust", "hosts", "namespace"))}


def patched(clusters: Clusters, what: str, patch: dict[str, Any]) -> None:
    kubectl(clusters, "patch", what, "--type=merge", "-p", json.dumps(patch))


NEVER = {"matchConditions": [{"name": "never", "expression": "false"}]}
BROKEN: dict[str, tuple[str, Callable[[Clusters], object]]] = {
    "policy deleted": ("pod-trust", lambda c: kubectl(c, "delete", "mutatingadmissionpolicy", "pod-trust")),
    "bound to nothing": ("pod-trust", lambda c: kubectl(c, "delete", "mutatingadmissionpolicybinding", "pod-trust")),
    "changed": ("pod-trust", lambda c: patched(c, "mutatingadmissionpolicy/pod-trust", {"spec": NEVER})),
    "added to": ("pod-trust", lambda c: kubectl(
        c, "patch", "mutatingadmissionpolicy/pod-trust", "--type=json", "-p", json.dumps([
            {"op": "add", "path": "/spec/matchConditions/-", "value": NEVER["matchConditions"][0]}]))),
    "bound to another": ("pod-trust", lambda c: patched(
        c, "mutatingadmissionpolicybinding/pod-trust", {"spec": {"policyName": "other"}})),
    "refusal deleted": ("hosts-policy", lambda c: kubectl(
        c, "delete", "validatingadmissionpolicy", "hosts-of-root-ca")),
    "refusal that only warns": ("hosts-policy", lambda c: patched(
        c, "validatingadmissionpolicybinding/hosts-of-root-ca", {"spec": {"validationActions": ["Warn"]}})),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_broken_is_found_and_healed(clusters: Clusters, what: str) -> None:
    id, break_it = BROKEN[what]
    break_it(clusters)
    wait_until("the doctor to find it", lambda: id in wrong(clusters), 30)
    clusters.inv("doctor", "--fix")
    assert id not in wrong(clusters)


# --- a new root -------------------------------------------------------------------------------------------------------


def test_a_new_root_takes_over_while_every_client_goes_on_trusting_the_page(clusters: Clusters) -> None:
    """Asked for all the while, by clients that start anew each time; those with the system's file too."""
    asked: list[tuple[str, set[str]]] = []
    done = threading.Event()

    def ask(space: str) -> None:
        while not done.wait(2):
            said = kubectl(clusters, "-n", space, "exec", "deployment/clients", "--", "/ask", page(clusters),
                           check=False)
            if len(said.stdout.splitlines()) == len(CLIENTS):  # else its pod is being replaced
                asked.append((space, {line.split()[0] for line in said.stdout.splitlines() if line.endswith(" ok")}))

    asking = [threading.Thread(target=ask, args=(space,)) for space in ("shop", "files")]
    for thread in asking:
        thread.start()
    try:
        renewed = clusters.inv("cert-renew", "--new-key")
    finally:
        time.sleep(15)
        done.set()
        for thread in asking:
            thread.join()
    assert renewed.returncode == 0, renewed.stdout + renewed.stderr
    for space, all_of_them in (("shop", CLIENTS - {"wget_gnutls"}), ("files", CLIENTS)):
        rounds = [trusted for where, trusted in asked if where == space]
        assert len(rounds) > 5 and all(trusted == all_of_them for trusted in rounds), (space, rounds)


# --- and off again ----------------------------------------------------------------------------------------------------


def test_off_takes_it_all_away_and_running_pods_keep_their_trust(clusters: Clusters) -> None:
    setting(clusters, "off")
    assert "pod trust: off" in inv(clusters, "k3d-cluster-configure", "--n", "0")
    mine = ("-l", "app.kubernetes.io/managed-by=dev-cluster-tasks", "-o", "name")
    kinds = "mutatingadmissionpolicies,mutatingadmissionpolicybindings"
    assert kubectl(clusters, "get", kinds, *mine).stdout == ""
    assert curl(clusters, "shop", "deployment/clients")
    assert "✗" not in inv(clusters, "k3d-cluster-examples", "--n", "0")
