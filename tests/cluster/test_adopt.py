"""Clusters of the original Taskfile: which are recognized, how they are configured, and what is printed at the end."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator

import pytest
from conftest import Project
from pretend import GATEWAY, ROOT, World, world_of

LABEL = "app.kubernetes.io/managed-by=taskfile-dev-cluster-config"


@pytest.fixture
def world(project: Project) -> Iterator[World]:
    with world_of(project) as world:
        yield original(world)


def original(world: World) -> World:
    """Cluster 1 is one of the original Taskfile, and runs; its pods reach this host, and containers reach it."""
    world.network(there=True)
    world.cluster_list(world.cluster(1, network="k3d-cl1"))
    world.fakes.answer("^kubectl .*--raw=/readyz", "ok")
    world.fakes.answer(f"^kubectl .*get configmaps,services -A -l {LABEL}", "service/traefik-internal\n")
    world.fakes.answer("^kubectl .*get secret root-ca", base64.b64encode(ROOT.pem).decode())
    world.fakes.answer("^docker run .* --network container:", GATEWAY)
    return world


def connected(world: World) -> list[list[str]]:
    return world.fakes.calls("docker", "network", "connect")


def from_its_node(world: World, port: int) -> list[str]:
    """The command that checks whether cluster 1's node reaches a port of this host."""
    return ["docker", "run", "--rm", "--network", "container:k3d-cl1-server-0", "--entrypoint", "curl",
            "docker.io/curlimages/curl:8.17.0", "--ipv4", "--silent", "--noproxy", "*", "--output", "/dev/null",
            "--max-time", "5", "--write-out", "%{remote_ip}", f"http://{GATEWAY}:{port}/"]


def test_it_is_recognized_configured_verified_and_the_next_steps_are_printed(world: World) -> None:
    pods = [{"metadata": {"namespace": namespace, "name": name}} for namespace, name in (
        ("default", "netshoot"), ("examples", "curl"))]
    world.fakes.answer(f"^kubectl .*get pods -A -l {LABEL}", json.dumps({"items": pods}))
    done = world.inv("adopt")
    assert done.returncode == 0, done.stderr
    assert "cl1 created by the original Taskfile: yes " in done.stdout
    assert "intermediate certificate: created; the cluster had the root itself" in done.stdout
    assert f"cl1 route from its pods to other clusters: through this host, {GATEWAY} " in done.stdout
    assert from_its_node(world, world.http(1)) in world.fakes.calls()
    assert connected(world) == [] and not world.fakes.calls("k3d", "cluster", "create")
    for line in ("cl1: adopted.", "  inv cert ", "  inv dns ", "all of .internal", "  inv cert-renew --new-key\n",
                 "  kubectl --context k3d-cl1 -n default delete pod netshoot\n",
                 "  kubectl --context k3d-cl1 -n examples delete pod curl\n"):
        assert line in done.stdout
    assert (world.project.home / ".local-ca-certs/internal-ca.key").read_bytes() == ROOT.key_pem()


def test_the_temporary_kubeconfig_is_deleted_and_never_shown(world: World) -> None:
    world.fakes.answer("^k3d kubeconfig get", "the client's key\n")
    done = world.inv("--echo", "adopt")
    asked, = {words[2] for words in world.fakes.calls("kubectl") if "configmaps,services" in words}
    assert not any(path.exists() for path in (world.project.folder / asked, world.project.home / asked))
    assert "the client's key" not in done.stdout + done.stderr


def test_a_stopped_one_is_started(world: World) -> None:
    world.cluster_list(world.cluster(1, network="k3d-cl1", running=False))
    world.cluster_list(world.cluster(1, network="k3d-cl1"), after="^k3d cluster start cl1")
    done = world.inv("adopt", "--n", "1")
    assert done.returncode == 0, done.stderr
    assert world.changes()[0] == ["k3d", "cluster", "start", "cl1", "--wait", "--timeout", "600s"]
    assert "cl1 cluster: started " in done.stdout


def test_where_its_pods_do_not_reach_this_host_its_nodes_are_connected_once(world: World) -> None:
    world.fakes.answer("^docker network inspect .*Id", "shared\n")
    world.fakes.answer("^docker inspect .*NetworkSettings", "/k3d-cl1-server-0 running k3d-cl1=own\n")
    world.fakes.answer("^docker run .* --network container:", exit=7, before="^docker network connect")
    done = world.inv("adopt")
    assert done.returncode == 0, done.stderr
    assert connected(world) == [["docker", "network", "connect", "dev-clusters", "k3d-cl1-server-0"]]
    assert f"through this host, {GATEWAY}, on the network dev-clusters " in done.stdout

    world.fakes.answer("^docker run .* --network container:", exit=7)
    world.fakes.answer("^docker inspect .*NetworkSettings",
                        "/k3d-cl1-server-0 running dev-clusters=shared k3d-cl1=own\n")
    none = world.inv("adopt")
    assert len(connected(world)) == 1
    assert "! cl1 route from its pods to other clusters: does not work in both directions" in none.stdout
    assert "recreate the cluster: inv k3d-cluster-delete --n 1 k3d-cluster-setup --n 1" in none.stdout


def test_the_route_to_every_running_cluster_is_checked(world: World) -> None:
    world.cluster_list(world.cluster(1, network="k3d-cl1"), world.cluster(2), world.cluster(0, running=False))
    assert world.inv("adopt").returncode == 0
    assert [words for words in world.fakes.calls("docker", "run") if "container:k3d-cl1-server-0" in words] == [
        from_its_node(world, world.http(1)), from_its_node(world, world.http(2))]


def test_the_second_time_it_is_recognized_by_our_own_label_and_no_pods_are_listed(world: World) -> None:
    world.fakes.answer(f"^kubectl .*get configmaps,services -A -l {LABEL}")
    world.fakes.answer("^kubectl .*get configmaps,services -A -l .*=dev-cluster-tasks", "configmap/root-ca\n")
    done = world.inv("adopt")
    assert done.returncode == 0, done.stderr
    assert "cl1 created by the original Taskfile: yes, and adopted before " in done.stdout
    assert "delete pod" not in done.stdout


@pytest.mark.parametrize("running", [True, False])
def test_a_cluster_that_is_not_the_originals_is_left_unchanged_unless_it_is_named(world: World, running: bool) -> None:
    world.cluster_list(world.cluster(1, network="k3d-cl1", running=running))
    world.cluster_list(world.cluster(1, network="k3d-cl1"), after="^k3d cluster start cl1")
    world.fakes.answer(f"^kubectl .*get configmaps,services -A -l {LABEL}")
    done = world.inv("adopt")
    assert done.returncode == 1 and "No cluster was adopted" in done.stderr
    assert f"nothing in it has the label {LABEL}. It was left unchanged." in done.stdout
    assert "inv adopt --n 1" in done.stdout
    start, stop = ["k3d", "cluster", "start", "cl1", "--wait", "--timeout", "600s"], ["k3d", "cluster", "stop", "cl1"]
    assert world.changes() == ([] if running else [start, stop])

    world.cluster_list(world.cluster(1, network="k3d-cl1"))
    named = world.inv("adopt", "--n", "1")
    assert named.returncode == 0, named.stderr
    assert "no, but named by --n" in named.stdout and "cl1: adopted." in named.stdout


def test_our_clusters_and_those_with_other_names_do_not_count_and_a_missing_one_is_reported(world: World) -> None:
    world.cluster_list(world.cluster(1), {**world.cluster(2, network="k3d-x2"), "name": "x2"})
    none = world.inv("adopt")
    assert none.returncode == 1 and world.changes() == []
    assert none.stderr == ("There are no clusters of the original Taskfile: none from cl0 to cl9 exists and has its "
                           "own network.\n")
    assert "There is no cluster cl3." in world.inv("adopt", "--n", "3").stderr


def test_ports_open_to_the_local_network_are_reported(world: World) -> None:
    cluster = world.cluster(1, network="k3d-cl1")
    for bindings in cluster["nodes"][1]["portMappings"].values():
        bindings[0]["HostIp"] = "0.0.0.0"
    world.cluster_list(cluster)
    said = world.inv("adopt").stdout
    assert said.count("its ports are open to the local network") == 1 and "should be published on" not in said


def test_a_rehearsal_changes_nothing(world: World) -> None:
    world.cluster_list(world.cluster(1, network="k3d-cl1", running=False))
    done = world.inv("--dry", "adopt")
    assert done.returncode == 0, done.stderr
    assert world.changes() == [] and not (world.project.folder / ".work").exists()
    assert "k3d cluster start cl1 --wait" in done.stdout and "issuer-secret.yaml" in done.stdout
    assert "# connect k3d-cl1-server-0 to the network dev-clusters, if they cannot reach this host" in done.stdout
