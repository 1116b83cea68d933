"""A real cluster in which one thing after another is broken: the doctor finds it, and fixes what it claims to fix."""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import ca
import pytest
from real_clusters import Clusters, one_cluster, why_not

pytestmark = [pytest.mark.cluster, pytest.mark.skipif(why_not() != "", reason=why_not() or "-")]

# About this machine and its versions, which no test here changes.
ALWAYS = {"names", "bugs"}


@pytest.fixture(scope="module")
def clusters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clusters]:
    """One cluster with its examples."""
    with one_cluster(tmp_path_factory.mktemp("clusters"), "dcd", 28, "k3d-cluster-examples") as made:
        yield made


def doctor(clusters: Clusters, *words: str) -> dict[str, str]:
    """What is wrong: the first message of each check."""
    done = clusters.inv("doctor", "--json", *words)
    findings: list[dict[str, Any]] = json.loads(done.stdout)
    return {finding["id"]: finding["message"] for finding in reversed(findings)
            if finding["state"] in ("red", "yellow") and finding["id"] not in ALWAYS}


def secret(clusters: Clusters, chain: bytes, key: bytes) -> None:
    """Replace the issuer's secret."""
    data = {"tls.crt": base64.b64encode(chain).decode(), "tls.key": base64.b64encode(key).decode()}
    patch(clusters, "secret/root-ca", "cert-manager", {"data": data})


def patch(clusters: Clusters, what: str, namespace: str, patch: dict[str, Any]) -> None:
    clusters.kubectl(0, "-n", namespace, "patch", what, "--type", "merge", "-p", json.dumps(patch))


def scale(clusters: Clusters, namespace: str, deployment: str) -> None:
    clusters.kubectl(0, "-n", namespace, "scale", f"deployment/{deployment}", "--replicas=0")
    clusters.kubectl(0, "-n", namespace, "rollout", "status", f"deployment/{deployment}", "--timeout=60s")


def root(clusters: Clusters) -> ca.Signed:
    folder = clusters.home / ".local-ca-certs"
    return ca.read((folder / "internal-ca.crt").read_bytes(), (folder / "internal-ca.key").read_bytes())


def expired_intermediate(clusters: Clusters) -> None:
    issuer = root(clusters)
    expired = ca.authority("dcd0.k3d.internal", issuer=issuer, pathlen=0, starts=ca.NOW - 9 * ca.DAY,
                           ends=ca.NOW - ca.DAY)
    secret(clusters, expired.pem + issuer.pem, expired.key_pem())


def rules(clusters: Clusters, change: Callable[[str], str]) -> None:
    found = json.loads(clusters.kubectl(0, "-n", "kube-system", "get", "configmap", "coredns-custom", "-o", "json"))
    patch(clusters, "configmap/coredns-custom", "kube-system",
          {"data": {"dev-clusters.override": change(found["data"]["dev-clusters.override"])}})


HEALED: dict[str, tuple[str, Callable[[Clusters], object]]] = {
    "CoreDNS scaled down": ("coredns", lambda c: scale(c, "kube-system", "coredns")),
    "another address in its rules": ("coredns-rules", lambda c: rules(
        c, lambda text: text.replace(c.gateway, "192.0.2.99"))),
    "rules of the original": ("coredns-original", lambda c: patch(
        c, "configmap/coredns-custom", "kube-system", {"data": {"k3d.internal.server": "k3d.internal:53 {\n}\n"}})),
    "webhook's Service without pods": ("webhooks", lambda c: patch(
        c, "service/cert-manager-webhook", "cert-manager", {"spec": {"selector": {"app": "nobody"}}})),
    "webhook deleted": ("cert-manager", lambda c: c.kubectl(
        0, "-n", "cert-manager", "delete", "deployment", "cert-manager-webhook", "--wait")),
    "trust-manager scaled down": ("trust-manager", lambda c: scale(c, "cert-manager", "trust-manager")),
    "an expired intermediate": ("intermediate", expired_intermediate),
    "the root's key in it": ("root-key", lambda c: secret(c, root(c).pem, root(c).key_pem())),
    "issuer deleted": ("issuer", lambda c: c.kubectl(0, "delete", "clusterissuer", "root-ca", "--wait")),
    "Bundle deleted": ("bundle", lambda c: c.kubectl(0, "delete", "bundle", "default-ca-bundle", "--wait")),
    "another root in the Bundle": ("bundle", lambda c: patch(
        c, "configmap/root-ca", "cert-manager", {"data": {"root.pem": ca.authority("k3d.internal").pem.decode()}})),
    "Traefik scaled down": ("traefik", lambda c: scale(c, "kube-system", "traefik")),
    "traefik-internal deleted": ("traefik-internal", lambda c: c.kubectl(
        0, "-n", "kube-system", "delete", "service", "traefik-internal", "--wait")),
    "kubeconfig entry gone": ("kubeconfig", lambda c: c.kubectl(0, "config", "delete-context", "k3d-dcd0")),
    "load balancer stopped": ("partly-running", lambda c: docker("stop", "k3d-dcd0-serverlb")),
    "key open to others": ("ca-open", lambda c: (c.home / ".local-ca-certs/internal-ca.key").chmod(0o644)),
}


def docker(*words: str) -> str:
    return subprocess.run(["docker", *words], check=True, capture_output=True, text=True).stdout


def test_a_new_cluster_has_nothing_wrong(clusters: Clusters) -> None:
    assert doctor(clusters) == {}
    status = clusters.inv("status")
    assert status.returncode == 0 and "✓  dcd0" in status.stdout, status.stdout


@pytest.mark.parametrize("what", HEALED)
def test_what_is_broken_is_found_and_healed(clusters: Clusters, what: str) -> None:
    id, break_it = HEALED[what]
    break_it(clusters)
    found = doctor(clusters)
    assert set(found) == {id}, found
    assert {*doctor(clusters, "--fix")} <= {"routes"}
    wait_for_routes(clusters)


def wait_for_routes(clusters: Clusters) -> None:
    """The kubelet updates a mounted bundle, and Traefik loads a new certificate, only after a while."""
    deadline = time.monotonic() + 180
    while found := doctor(clusters):
        assert set(found) == {"routes"} and time.monotonic() < deadline, found
        time.sleep(2)


@contextmanager
def blocked_gateway(clusters: Clusters) -> Iterator[None]:
    """A firewall that blocks new connections from containers to this machine."""
    rule = ["INPUT", "-d", clusters.gateway, "-p", "tcp", "--syn", "-j", "DROP"]
    subprocess.run(["iptables", "-I", *rule], check=True)
    try:
        yield
    finally:
        subprocess.run(["iptables", "-D", *rule], check=True)


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("iptables"), reason="needs iptables, and root")
def test_a_firewall_between_pods_and_this_host_is_found(clusters: Clusters) -> None:
    with blocked_gateway(clusters):
        found = doctor(clusters)
    assert set(found) == {"way-to-host"}, found
    assert clusters.gateway in found["way-to-host"]


@contextmanager
def paused(clusters: Clusters) -> Iterator[None]:
    docker("pause", "k3d-dcd0-server-0")
    try:
        yield
    finally:
        docker("unpause", "k3d-dcd0-server-0")
        deadline = time.monotonic() + 180
        while doctor(clusters):  # the kubelet has to report again that the node is ready
            assert time.monotonic() < deadline


def test_an_api_that_hangs_is_found(clusters: Clusters) -> None:
    with paused(clusters):
        found = doctor(clusters)
    assert set(found) == {"api"}, found


INGRESS = """
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: outside
  namespace: examples
  annotations:
    cert-manager.io/cluster-issuer: root-ca
    cert-manager.io/usages: server auth
spec:
  rules:
    - host: shop.example.com
      http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: nginx, port: {number: 80}}}}]}
  tls: [{hosts: [shop.example.com], secretName: outside}]
"""


def test_what_only_its_user_can_fix_is_found_and_left_alone(clusters: Clusters) -> None:
    file = clusters.folder / "ingress.yaml"
    file.write_text(INGRESS)
    policies = "validatingadmissionpolicies,validatingadmissionpolicybindings"
    clusters.kubectl(0, "delete", policies, "hosts-of-root-ca")  # it would deny this Ingress
    assert set(doctor(clusters)) == {"hosts-policy"}
    clusters.kubectl(0, "apply", "-f", str(file))
    assert "hosts-policy" not in doctor(clusters, "--fix")
    patch(clusters, "configmap/coredns-custom", "kube-system", {"data": {"mine.override": "hosts {\n}\n"}})
    clusters.kubectl(0, "-n", "examples", "wait", "certificate/outside", "--for=condition=Ready", "--timeout=60s")
    for words in ([], ["--fix"]):
        assert set(doctor(clusters, *words)) == {"ingress-host", "coredns-others"}
    clusters.kubectl(0, "delete", "-f", str(file))
    patch(clusters, "configmap/coredns-custom", "kube-system", {"data": {"mine.override": None}})
    assert doctor(clusters) == {}


def test_a_stopped_cluster_is_no_error_but_a_lost_network_and_a_taken_port_are(clusters: Clusters) -> None:
    done = clusters.inv("k3d-cluster-stop", "--n", "0")
    assert done.returncode == 0, done.stderr
    assert doctor(clusters) == {}
    status = clusters.inv("status")
    assert status.returncode == 0 and "stopped" in status.stdout

    with socket.create_server(("127.0.0.1", clusters.cluster(0).http_port)) as taker:
        taker.listen()
        assert set(doctor(clusters)) == {"ports-taken"}

    for container in ("k3d-dcd0-server-0", "k3d-dcd0-serverlb"):
        docker("network", "disconnect", "--force", "dcd", container)
    docker("network", "rm", "dcd")
    assert set(doctor(clusters)) == {"network"}
    assert {*doctor(clusters, "--fix")} <= {"routes"}
    wait_for_routes(clusters)
    assert "dcd0  running" in clusters.inv("k3d-cluster-list").stdout
    done = clusters.inv("k3d-cluster-examples", "--n", "0")
    assert done.returncode == 0, done.stdout + done.stderr
