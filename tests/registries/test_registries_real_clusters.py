"""Real clusters that pull through the caches: what the upstream is asked for, and what works without it.

UPSTREAM_CONTAINER names a container with a registry on port 5000 that has every image of a setup, and stands for all
upstreams. EMPTY_NODE_WORDS may have words for `k3d cluster create` that make nodes start without images of their own.
These tests build on each other, in the order in which they stand.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from datetime import datetime, timezone
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
from real_clusters import Clusters, why_not

from tasks.core.settings import Cluster

UPSTREAM = os.environ.get("UPSTREAM_CONTAINER", "")
EMPTY_NODE = shlex.split(os.environ.get("EMPTY_NODE_WORDS", ""))
REGISTRIES = ("docker.io", "quay.io", "ghcr.io", "registry.k8s.io")
PORT = 15050
APP = f"localhost:{PORT}/team/app:1"
NODE = "k3d-dcr0-server-0"
MIRRORS = "/var/lib/rancher/k3s/agent/etc/containerd/certs.d"


def run(*words: str) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def find_obstacle() -> str:
    if why := why_not() or ("" if UPSTREAM else "UPSTREAM_CONTAINER names no registry"):
        return why
    image = os.environ.get("IMAGE_REGISTRY", "docker.io/library/registry:3")
    present = subprocess.run(["docker", "image", "inspect", image], capture_output=True)
    return "" if present.returncode == 0 else f"the engine has no image {image}"


WHY_NOT = find_obstacle()

pytestmark = [pytest.mark.cluster, pytest.mark.skipif(WHY_NOT != "", reason=WHY_NOT or "-")]


@pytest.fixture(scope="module")
def clusters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clusters]:
    made = Clusters(tmp_path_factory.mktemp("clusters"), "dcr", 15)
    remove(made)
    caches = ",".join(f"{registry}=http://{UPSTREAM}:5000" for registry in REGISTRIES)
    with (made.folder / ".env").open("a") as env:
        env.write(f"TRUST_STORES=\nREGISTRY_CACHES={caches}\nLOCAL_REGISTRY_PORT={PORT}\n")
    try:
        inv(made, "cert")
        online()
        yield made
    finally:
        remove(made)


def remove(clusters: Clusters) -> None:
    offline()
    for kind in ("container", "volume"):
        for name in run("docker", kind, "ls", *(["--all"] if kind == "container" else []), "--quiet", "--filter",
                        "label=dev-cluster-tasks.registry=dcr").split():
            subprocess.run(["docker", kind, "rm", "--force", name], capture_output=True)
    clusters.remove()


def online() -> None:
    """Start the upstream, which a killed engine leaves stopped, and connect it to the clusters' network."""
    run("docker", "start", UPSTREAM)
    if subprocess.run(["docker", "network", "inspect", "dcr"], capture_output=True).returncode:
        run("docker", "network", "create", "--label", "app.kubernetes.io/managed-by=dev-cluster-tasks", "dcr")
    run("docker", "network", "connect", "dcr", UPSTREAM)


def offline() -> None:
    subprocess.run(["docker", "network", "disconnect", "dcr", UPSTREAM], capture_output=True)


def inv(clusters: Clusters, *words: str) -> str:
    done = clusters.inv(*words)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def setup(clusters: Clusters, number: int) -> str:
    """A cluster with examples, whose nodes have no image of their own."""
    return inv(clusters, "k3d-cluster-setup", "--n", str(number), "k3d-cluster-examples", "--n", str(number), "--",
               *EMPTY_NODE)


class Asked:
    """What the upstream has been asked for from now on, by the caches and nodes of these clusters."""

    def __init__(self) -> None:
        self.since = datetime.now(timezone.utc).isoformat()

    def blobs(self) -> int:
        return sum("/blobs/" in path for path, _ in self.answers())

    def bytes(self) -> int:
        return sum(size for _, size in self.answers())

    def answers(self) -> list[tuple[str, int]]:
        done = subprocess.run(["docker", "logs", "--since", self.since, UPSTREAM], capture_output=True, text=True)
        found = re.findall(r'^(\S+) .*"GET (\S+) [^"]*" \d+ (\d+)', done.stdout + done.stderr, re.MULTILINE)
        subnet = ip_network(run("docker", "network", "inspect", "dcr", "--format",
                                "{{(index .IPAM.Config 0).Subnet}}").strip())
        return [(path, int(size)) for client, path, size in found if ip_address(client) in subnet]


def kept(clusters: Clusters) -> dict[str, int]:
    """How many images each registry keeps."""
    found: dict[str, Any] = json.loads(inv(clusters, "images", "--json"))
    return {registry["registry"]: registry["images"] for registry in found["registries"]}


def start_pod(clusters: Clusters, name: str, image: str, number: int = 0) -> None:
    """Run it with a pull, and wait until it has started."""
    clusters.kubectl(number, "run", name, f"--image={image}", "--image-pull-policy=Always", "--command", "--",
                     "sleep", "99")
    clusters.kubectl(number, "wait", f"pod/{name}", "--for=condition=Ready", "--timeout=60s")


# --- once -------------------------------------------------------------------------------------------------------------


def test_the_first_cluster_pulls_each_image_and_the_second_nothing(clusters: Clusters) -> None:
    first = Asked()
    setup(clusters, 0)
    assert first.bytes() > 10_000_000
    second = Asked()
    setup(clusters, 1)
    assert (second.blobs(), second.bytes() < 10_000) == (0, True), "only whether a tag has moved is asked"


def test_the_list_shows_that_every_image_of_the_clusters_is_kept(clusters: Clusters) -> None:
    found = json.loads(inv(clusters, "images", "--json"))
    assert {image["state"] for image in found["images"]} == {"green"}
    assert inv(clusters, "status", "--json")
    assert "registries" not in clusters.inv("doctor").stdout


def test_a_pushed_image_runs_under_the_same_name(clusters: Clusters) -> None:
    image = clusters.settings.image_curl
    run("docker", "tag", image, APP)
    run("docker", "push", "--quiet", APP)
    run("docker", "rmi", APP)
    start_pod(clusters, "app", APP)
    hosting = clusters.kubectl(0, "-n", "kube-public", "get", "configmap", "local-registry-hosting", "-o", "yaml")
    assert f'host: "localhost:{PORT}"' in hosting


@pytest.fixture
def of_kind(clusters: Clusters) -> Iterator[Cluster]:
    """One of kind beside them."""
    number, env = 2, clusters.folder / ".env"
    before = env.read_text()
    env.write_text(f"{before}PROVIDER={number}=kind\n")
    inv(clusters, "k3d-cluster-setup", "--n", str(number))
    yield clusters.cluster(number)
    inv(clusters, "k3d-cluster-delete", "--n", str(number))
    env.write_text(before)


@pytest.mark.skipif(not shutil.which("kind"), reason="kind is not installed")
@pytest.mark.alone  # kubeadm gives up after a minute if the API server is slow
def test_a_node_of_kind_pulls_through_the_same_caches(clusters: Clusters, of_kind: Cluster) -> None:
    """A whole image, because the node's own copy of it is removed first."""
    asked, image = Asked(), clusters.settings.image_curl
    before = fetched(image)
    subprocess.run(["docker", "exec", f"{of_kind.name}-control-plane", "crictl", "rmi", image], capture_output=True)
    start_pod(clusters, "curl", image, of_kind.number)
    start_pod(clusters, "app", APP, of_kind.number)
    assert fetched(image) > before, "the cache was asked"
    assert asked.blobs() == 0, "and had it from the other clusters"


def fetched(image: str) -> int:
    """How often the cache was asked for layers of an image."""
    repository = image.partition("/")[2].partition(":")[0]
    done = subprocess.run(["docker", "logs", "dcr-cache-docker.io"], capture_output=True, text=True)
    return len(re.findall(rf'"GET /v2/{repository}/blobs/', done.stdout + done.stderr))


def test_without_the_upstream_a_cluster_is_created_again_from_nothing_and_pushed_images_are_there(
    clusters: Clusters,
) -> None:
    offline()
    inv(clusters, "k3d-cluster-delete", "--all")
    assert run("docker", "ps", "--all", "--quiet", "--filter", "name=^dcr-") == "", "nothing is left running"
    asked = Asked()
    setup(clusters, 0)
    start_pod(clusters, "app", APP)
    assert asked.answers() == []


# --- what is broken ---------------------------------------------------------------------------------------------------


def findings(clusters: Clusters) -> dict[str, str]:
    found = json.loads(clusters.inv("doctor", "--json").stdout)
    return {finding["id"]: finding["code"] for finding in found
            if "registr" in finding["id"] and finding["state"] in ("red", "yellow")}


def test_the_doctor_knows_that_the_upstreams_do_not_answer(clusters: Clusters) -> None:
    assert findings(clusters) == {"registry-upstreams": "not-reached"}
    online()
    assert findings(clusters) == {}


@pytest.mark.parametrize("how", ["stop", "pause"])
def test_a_cache_that_is_stopped_stops_no_pull_and_one_that_hangs_is_found_and_replaced(
    clusters: Clusters, how: str
) -> None:
    run("docker", how, "dcr-cache-docker.io")
    if how == "stop":
        at_last = f"s#https://registry-1.docker.io#http://{UPSTREAM}:5000#"
        run("docker", "exec", NODE, "sed", "-i", at_last, f"{MIRRORS}/docker.io/hosts.toml")
        start_pod(clusters, "stopped", clusters.settings.image_curl)
    assert findings(clusters) == {"registries": "not-running"}
    clusters.inv("doctor", "--fix")
    assert findings(clusters) == {}


def test_a_node_without_the_mirrors_gets_them_while_it_is_running(clusters: Clusters) -> None:
    run("docker", "exec", NODE, "rm", "-r", f"{MIRRORS}/docker.io", f"{MIRRORS}/localhost:{PORT}")
    assert findings(clusters) == {"node-registries": "node-registries"}
    inv(clusters, "k3d-cluster-configure", "--n", "0")
    assert findings(clusters) == {}
    start_pod(clusters, "again", APP)
    start_pod(clusters, "through-the-cache", clusters.settings.image_curl)


# --- another machine --------------------------------------------------------------------------------------------------


def test_everything_goes_through_one_file_to_a_machine_without_the_internet(clusters: Clusters, tmp_path: Path) -> None:
    before = kept(clusters)
    inv(clusters, "images", "--save", str(tmp_path / "images.tar"))
    inv(clusters, "images", "--empty")
    assert kept(clusters) == {**dict.fromkeys(before, 0), f"localhost:{PORT}": 1}
    offline()
    inv(clusters, "images", "--load", str(tmp_path / "images.tar"))
    assert kept(clusters) == before
    start_pod(clusters, "loaded", clusters.settings.image_nginx)


def test_uninstall_leaves_no_container_volume_or_network(clusters: Clusters) -> None:
    inv(clusters, "uninstall", "--yes")
    assert run("docker", "ps", "--all", "--quiet", "--filter", "name=dcr") == ""
    assert run("docker", "volume", "ls", "--quiet", "--filter", "name=^dcr-") == ""
    assert run("docker", "network", "ls", "--quiet", "--filter", "name=^dcr$") == ""
