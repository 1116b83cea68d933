"""A cluster of kind that was created by hand, as a context: what is installed, reported, and removed again."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from real_clusters import Clusters, why_not

from tasks.in_cluster import charts

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(bool(why_not("kind")), reason=f"no clusters can be made: {why_not('kind')}"),
]

PREFIX, START = "dcc", 14
NAME = f"{PREFIX}9"
"""Of the cluster by hand; for these tasks it is cluster 0."""

KINDS = ("namespaces", "deployments", "services", "configmaps", "secrets", "clusterroles", "ingressclasses",
         "mutatingwebhookconfigurations", "validatingwebhookconfigurations", "validatingadmissionpolicies")


def by_hand(made: Clusters, folder: Path) -> None:
    """What a user would do: their own port mappings, one of their own applications, and their own rule for DNS."""
    ports = [{"listenAddress": "127.0.0.1", "hostPort": int(f"{START}{end}"), "containerPort": port}
             for end, port in (("080", 30080), ("443", 30443))]
    config = folder / "kind.yaml"
    config.write_text(yaml.safe_dump({"kind": "Cluster", "apiVersion": "kind.x-k8s.io/v1alpha4", "nodes": [
        {"role": "control-plane", "extraPortMappings": ports}]}))
    subprocess.run(["kind", "create", "cluster", "--name", NAME, "--config", str(config), "--wait", "180s",
                    "--image", os.environ["KIND_IMAGE"], "--kubeconfig", str(made.kubeconfig)],
                   check=True, capture_output=True, env={**os.environ, "KIND_EXPERIMENTAL_DOCKER_NETWORK": PREFIX})
    made.kubectl(0, "create", "namespace", "shop")
    made.kubectl(0, "-n", "shop", "create", "configmap", "mine", "--from-literal=a=b")


def objects(made: Clusters) -> set[str]:
    """By kind, namespace and name; secrets of Helm and others that come and go by themselves are none of these."""
    found = json.loads(made.kubectl(0, "get", ",".join(KINDS), "-A", "-o", "json"))["items"]
    return {f"{entry['kind']} {entry['metadata'].get('namespace', '')}/{entry['metadata']['name']}" for entry in found}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clusters]:
    folder = tmp_path_factory.mktemp("clusters")
    clusters = Clusters(folder, PREFIX, START)
    clusters.remove()
    subprocess.run(["docker", "network", "create", PREFIX], check=True, capture_output=True)
    with (clusters.folder / ".env").open("a") as env:
        env.write(f"TRUST_STORES=\nK3D_PORT_END={START}\nPROVIDER=0=kind-{NAME}\n")
    try:
        by_hand(clusters, folder)
        yield clusters
    finally:
        clusters.remove()


def read(made: Clusters, *words: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(made.inv(*words, "--json").stdout)
    return found


@pytest.mark.alone  # kubeadm gives up after a minute if the API server is slow
def test_everything_is_installed_used_reported_and_removed_and_what_is_the_users_stays(made: Clusters) -> None:
    before, corefile = objects(made), made.kubectl(0, "-n", "kube-system", "get", "configmap", "coredns", "-o",
                                                   "jsonpath={.data}")
    for words in (["cert"], ["cluster-setup", "--n", "0"], ["cluster-examples", "--n", "0"]):
        done = made.inv(*words)
        assert done.returncode == 0, done.stdout + done.stderr
    assert {row["state"] for row in read(made, "matrix")} == {"green"}
    assert [found for found in read(made, "doctor") if found["state"] == "red"] == []
    assert objects(made) > before

    done = made.inv("uninstall", "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"what these tasks installed in kind-{NAME}; the cluster stays" in done.stdout
    left = objects(made) - before
    assert {entry for entry in left if "cert-manager" not in entry and "kube-root-ca" not in entry} == set(), left
    assert before <= objects(made)
    assert made.kubectl(0, "-n", "kube-system", "get", "configmap", "coredns", "-o", "jsonpath={.data}") == corefile
    made.kubectl(0, "-n", "kube-system", "rollout", "status", "deployment/coredns", "--timeout=120s")
    assert f"kind-{NAME}" in made.kubeconfig.read_text()


def test_a_traefik_in_another_namespace_is_left_alone_and_everything_else_is_installed(made: Clusters) -> None:
    subprocess.run(["helm", "install", "mine", *charts.chart_arguments(made.settings, charts.TRAEFIK), "--namespace",
                    "ingress", "--create-namespace", "--kubeconfig", str(made.kubeconfig), "--kube-context",
                    f"kind-{NAME}"], check=True, capture_output=True)
    for words in (["cert"], ["cluster-setup", "--n", "0"], ["cluster-examples", "--n", "0"]):
        done = made.inv(*words)
        assert done.returncode == 0, done.stdout + done.stderr
    why = f"{PREFIX}0 has a Traefik in the namespace ingress"
    assert {(row["state"], row["code"]) for row in read(made, "matrix")} == {("grey", "traefik-elsewhere")}
    assert why in " ".join(made.inv("status").stdout.split())
    assert [found for found in read(made, "doctor") if found["state"] == "red"] == []
    traefiks = made.kubectl(0, "get", "deployments", "-A", "-l", "app.kubernetes.io/name=traefik", "-o",
                            "jsonpath={.items[*].metadata.namespace}")
    assert traefiks == "ingress"
