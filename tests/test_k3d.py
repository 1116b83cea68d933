"""Clusters: what docker, k3d and kubectl receive when one is created, started, written to a kubeconfig, deleted."""

from __future__ import annotations

import shutil
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Project
from pretend import GATEWAY, SUBNET, World, world_of


@pytest.fixture
def world(project: Project) -> Iterator[World]:
    with world_of(project) as world:
        yield world


def marker(world: World, number: int) -> Path:
    """There while a cluster is half made."""
    return world.project.folder / ".work" / f"cl{number}" / "half-made"


# --- k3d cluster create -----------------------------------------------------------------------------------------------


def create(world: World, *publish: str, more: tuple[str, ...] = ()) -> list[str]:
    """The whole command for cluster 1 that publishes on these addresses."""
    published = [word for address in publish for word in (
        "-p", f"{address}:{world.http(1)}:80@loadbalancer", "-p", f"{address}:{world.https(1)}:443@loadbalancer")]
    return ["k3d", "cluster", "create", "cl1", "--image", "docker.io/rancher/k3s:v1.36.4-k3s1",
            "--network", "dev-clusters", "--api-port", "127.0.0.1:random", *published, *more,
            "--kubeconfig-update-default=false", "--wait", "--timeout", "600s"]


def created(world: World, *words: str) -> list[list[str]]:
    """What k3d receives to create cluster 1. It refuses, because nothing that follows is looked at."""
    world.fakes.answer("^k3d cluster create", exit=1)
    world.inv("k3d-cluster-setup", "--n", "1", *words)
    return world.fakes.calls("k3d", "cluster", "create")


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS binds no 127.0.0.9 that would stand for the gateway")
@pytest.mark.parametrize(
    ("bind_address", "published"),
    [
        ("", ["127.0.0.1", GATEWAY]),
        ("127.0.0.5", ["127.0.0.1", GATEWAY, "127.0.0.5"]),
        (GATEWAY, ["127.0.0.1", GATEWAY]),
        ("0.0.0.0", ["0.0.0.0"]),
    ],
)
def test_ports_are_published_on_localhost_on_a_gateway_that_is_here_and_where_the_user_says(
    world: World, bind_address: str, published: list[str]
) -> None:
    world.env(K3D_BIND_ADDRESS=bind_address)
    assert created(world) == [create(world, *published)]


def test_a_gateway_inside_a_virtual_machine_publishes_nothing(world: World) -> None:
    world.virtual_machine()
    assert created(world) == [create(world, "127.0.0.1")]


def test_files_and_words_with_spaces_quotes_and_dollars_reach_k3d_as_they_are_and_the_words_come_last(
    world: World,
) -> None:
    folder = world.project.home / "my company's files"
    folder.mkdir()
    shutil.copy(world.project.home / ".local-ca-certs" / "internal-ca.crt", folder / "ca.crt")
    (folder / "registries.yaml").write_text("mirrors: {}\n")
    world.env(ADDITIONAL_CA_BUNDLE_FILE='"~/my company\'s files/ca.crt"',
              K3D_REGISTRY_CONFIG='"$HOME/my company\'s files/registries.yaml"', TIMEOUT_CREATE="99",
              K3S_IMAGE="mirror.example:5000/k3s:v1", K3D_NETWORK="shared.net")
    words = ["--agents", "1", "--k3s-arg", "--label=a b@server:*", "it's", '"$HOME"', "$(id)", "*", "", "é", "--timeout"]
    world.virtual_machine()
    assert created(world, "--", *words) == [[
        "k3d", "cluster", "create", "cl1", "--image", "mirror.example:5000/k3s:v1", "--network", "shared.net",
        "--api-port", "127.0.0.1:random",
        "-p", f"127.0.0.1:{world.http(1)}:80@loadbalancer", "-p", f"127.0.0.1:{world.https(1)}:443@loadbalancer",
        "--volume", f"{folder}/ca.crt:/etc/ssl/certs/additional-ca.crt",
        "--registry-config", f"{folder}/registries.yaml",
        "--kubeconfig-update-default=false", "--wait", "--timeout", "99s", *words,
    ]]  # fmt: skip


# --- the network ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chosen", "known", "expected"),
    [
        ("", "", []),
        ("172.30.0.0/16", "", ["--subnet", "172.30.0.0/16"]),
        ("", "172.29.0.0/16", ["--subnet", "172.29.0.0/16"]),
        ("172.30.0.0/16", "172.29.0.0/16", ["--subnet", "172.30.0.0/16"]),
    ],
)
def test_a_missing_network_is_made_with_the_chosen_subnet_else_with_the_one_that_clusters_were_made_with(
    world: World, chosen: str, known: str, expected: list[str]
) -> None:
    world.env(K3D_NETWORK_SUBNET=chosen)
    elsewhere = world.cluster(2, network="another", subnet="10.9.0.0/16")
    world.cluster_list(elsewhere, *([world.cluster(3, subnet=known)] if known else []))
    world.fakes.answer("^docker network create", stderr="Error: Pool overlaps\n", exit=1)
    done = world.inv("k3d-cluster-setup", "--n", "1")
    assert world.changes() == [["docker", "network", "create", "--label",
                                "app.kubernetes.io/managed-by=dev-cluster-tasks", *expected, "dev-clusters"]]
    assert done.returncode == 1
    assert "Pool overlaps" in done.stderr and "K3D_NETWORK_SUBNET in .env chooses one" in done.stderr


def test_a_network_that_is_there_is_used(world: World) -> None:
    world.network(there=True)
    created(world)
    assert not world.fakes.calls("docker", "network", "create")


# --- the kubeconfig ---------------------------------------------------------------------------------------------------


def merged(world: World, **environment: str) -> list[list[str]]:
    """What k3d receives to write the kubeconfig of cluster 1, which runs; it refuses, and the task ends."""
    world.network(there=True)
    world.cluster_list(world.cluster(1))
    world.fakes.answer("^k3d kubeconfig merge", stderr="permission denied\n", exit=1)
    done = world.inv("k3d-cluster-setup", "--n", "1", **environment)
    assert done.returncode == 1
    return world.changes()


def merge(file: Path, switch: str = "false") -> list[list[str]]:
    return [["k3d", "kubeconfig", "merge", "cl1", "--output", str(file), f"--kubeconfig-switch-context={switch}"]]


def test_the_kubeconfig_is_the_users_own_and_the_current_context_stays(world: World) -> None:
    assert merged(world) == merge(world.project.home / ".kube" / "config")


def test_the_kubeconfig_is_the_first_that_the_users_variable_names(world: World, tmp_path: Path) -> None:
    first = tmp_path / "a folder" / "first"
    assert merged(world, KUBECONFIG=f":{first}:{tmp_path / 'second'}") == merge(first)
    assert first.parent.is_dir()


def test_a_folder_for_kubeconfigs_gets_a_file_for_each_cluster(world: World) -> None:
    world.env(K3D_KUBECONFIG_TARGET_DIR="~/kubeconfigs")
    assert merged(world) == merge(world.project.home / "kubeconfigs" / "cl1")


def test_the_current_context_is_switched_where_the_user_wants_it(world: World) -> None:
    world.fakes.answer("^kubectl .*--raw=/readyz", "ok")
    world.fakes.answer("^kubectl .*current-context", "k3d-another\n")
    world.env(K3D_SWITCH_CONTEXT="true")
    assert merged(world) == merge(world.project.home / ".kube" / "config", switch="true")


def test_a_kubeconfig_that_works_is_left_alone(world: World) -> None:
    world.fakes.answer("^kubectl .*--raw=/readyz", "ok")
    world.fakes.answer("^kubectl .*current-context", "k3d-another\n")
    merged(world)
    assert not world.fakes.calls("k3d", "kubeconfig")


# --- a cluster that exists --------------------------------------------------------------------------------------------


def brought_up(world: World) -> list[list[str]]:
    """What a setup of cluster 1 changes until its kubeconfig is written, where it ends."""
    world.network(there=True)
    world.fakes.answer("^k3d kubeconfig merge", exit=1)
    world.inv("k3d-cluster-setup", "--n", "1")
    return [words for words in world.changes() if words[1] != "kubeconfig"]


def test_a_cluster_that_runs_is_not_created_again(world: World) -> None:
    world.cluster_list(world.cluster(1))
    assert brought_up(world) == []


def test_a_cluster_that_was_stopped_is_started(world: World) -> None:
    world.cluster_list(world.cluster(1, running=False))
    assert brought_up(world) == [["k3d", "cluster", "start", "cl1", "--wait", "--timeout", "600s"]]


def test_a_cluster_whose_creation_failed_is_marked_and_made_again_by_the_next_run(world: World) -> None:
    created(world)
    assert marker(world, 1).exists()

    world.cluster_list(world.cluster(1))
    world.fakes.answer("^k3d cluster create")
    world.fakes.forget()
    assert brought_up(world) == [["k3d", "cluster", "delete", "cl1"], create(world, "127.0.0.1", GATEWAY)]
    assert not marker(world, 1).exists()


def test_a_creation_that_is_still_under_way_elsewhere_is_waited_for(world: World) -> None:
    created(world)
    world.fakes.forget()
    world.fakes.answer("^pgrep", "4711\n")
    world.fakes.answer("^pgrep", exit=1, after="^pgrep")
    brought_up(world)
    assert world.fakes.calls("pgrep") == [["pgrep", "-f", "--", "[k]3d cluster create cl1 "]] * 2


@pytest.mark.parametrize("task", ["k3d-cluster-setup", "k3d-cluster-configure"])
@pytest.mark.parametrize("running", [True, False])
def test_ports_that_differ_from_the_settings_are_an_error_that_names_both_and_nothing_is_changed(
    world: World, task: str, running: bool
) -> None:
    world.network(there=True)
    world.cluster_list({**world.cluster(2, running=running), "name": "cl1"})
    done = world.inv(task, "--n", "1")
    assert done.returncode == 1
    if task == "k3d-cluster-setup" or running:
        assert f"on {world.http(2)}, and the settings say {world.http(1)}" in done.stderr
    assert world.changes() == []


@pytest.mark.parametrize(("clusters", "state"), [([], "does not exist"), ([False], "is stopped")])
def test_configure_says_how_to_bring_up_a_cluster_that_does_not_run(
    world: World, clusters: list[bool], state: str
) -> None:
    world.cluster_list(*(world.cluster(1, running=running) for running in clusters))
    done = world.inv("k3d-cluster-configure", "--n", "1")
    assert done.returncode == 1
    assert f"cl1 {state}. Bring it up with: inv k3d-cluster-setup --n 1" in done.stderr


# --- before anything is created ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tool", "said", "holder"),
    [
        ("docker ps", "some-proxy\n", "by the container some-proxy"),
        ("lsof", "p4711\ncGoogle Chrome\nf3\n", "by Google Chrome, process 4711"),
        ("ss", 'LISTEN 0 5 127.0.0.1:21443 0.0.0.0:* users:(("node",pid=47,fd=3))\n', 'by (("node",pid=47,fd=3))'),
        ("nothing", "", "is taken\n"),
    ],
)
def test_a_taken_port_is_reported_with_its_holder_before_anything_is_created(
    world: World, tool: str, said: str, holder: str
) -> None:
    world.network(there=True)
    world.fakes.answer(f"^{tool}", said)
    with socket.create_server(("127.0.0.1", world.https(1))):
        done = world.inv("k3d-cluster-setup", "--n", "1")
    assert done.returncode == 1
    assert f"127.0.0.1:{world.https(1)} is taken" in done.stderr and holder in done.stderr
    assert str(world.http(1)) not in done.stderr
    assert world.changes() == [] and not marker(world, 1).exists()


def test_without_a_root_nothing_is_created(world: World) -> None:
    shutil.rmtree(world.project.home / ".local-ca-certs")
    for task in ("k3d-cluster-setup", "k3d-cluster-configure"):
        done = world.inv(task, "--n", "1")
        assert done.returncode == 1
        assert "Make it with: inv cert" in done.stderr
    assert world.changes() == []


# --- several clusters -------------------------------------------------------------------------------------------------


def test_one_cluster_that_fails_does_not_stop_the_others_and_is_named(world: World) -> None:
    world.fakes.answer("^k3d cluster create cl2", stderr="no space left\n", exit=1)
    done = world.inv("k3d-cluster-setup", "--n", "1-2")
    assert done.returncode == 1
    assert "cl1 is ready" in done.stdout
    assert "no space left" in done.stderr and done.stderr.endswith("Failed: cl2.\n")


# --- delete -----------------------------------------------------------------------------------------------------------


def deleted(kubeconfig: Path, context: str = "k3d-cl1") -> list[list[str]]:
    kubectl = ["kubectl", "--kubeconfig", str(kubeconfig), "config"]
    return [["k3d", "cluster", "delete", context.removeprefix("k3d-")],
            [*kubectl, "delete-context", context], [*kubectl, "delete-cluster", context],
            [*kubectl, "delete-user", f"admin@{context}"], [*kubectl, "unset", "current-context"]]


def kubeconfig_of_cluster_1(world: World) -> None:
    world.fakes.answer("^kubectl .*get-contexts", "k3d-cl1\nk3d-cl10\nwork\n")
    world.fakes.answer("^kubectl .*get-clusters", "NAME\nk3d-cl1\nk3d-cl10\nwork\n")
    world.fakes.answer("^kubectl .*get-users", "NAME\nadmin@k3d-cl1\nadmin@k3d-cl10\nme\n")
    world.fakes.answer("^kubectl .*current-context", "k3d-cl1\n")


NETWORK_REMOVED = ["docker", "network", "rm", "dev-clusters"]


def test_the_last_cluster_takes_its_kubeconfig_entry_and_the_network_along(world: World) -> None:
    world.network(there=True)
    kubeconfig_of_cluster_1(world)
    world.cluster_list(world.cluster(1), world.cluster(5, network="another"))
    world.cluster_list(world.cluster(5, network="another"), after="^k3d cluster delete")
    assert world.inv("k3d-cluster-delete", "--n", "1").returncode == 0
    assert world.changes() == [*deleted(world.project.home / ".kube" / "config"), NETWORK_REMOVED]


def test_other_clusters_keep_the_network_and_the_users_context_stays_current(world: World) -> None:
    world.env(K3D_KUBECONFIG_TARGET_DIR="~/kubeconfigs")
    world.network(there=True)
    kubeconfig_of_cluster_1(world)
    world.fakes.answer("^kubectl .*current-context", "work\n")
    world.cluster_list(world.cluster(1), world.cluster(2))
    world.cluster_list(world.cluster(2), after="^k3d cluster delete")
    assert world.inv("k3d-cluster-delete", "--n", "1").returncode == 0
    assert world.changes() == deleted(world.project.home / "kubeconfigs" / "cl1")[:-1]


@pytest.mark.parametrize("network", ["", "dev-cluster-tasks 1\n", " 0\n", "someone-else 0\n"])
def test_nothing_is_deleted_where_there_is_no_cluster_and_a_network_of_others_stays(world: World, network: str) -> None:
    world.network(there=bool(network))
    world.fakes.answer("^docker network inspect .*Labels", network, exit=0 if network else 1)
    assert world.inv("k3d-cluster-delete", "--n", "1").returncode == 0
    assert world.changes() == []


def test_a_half_made_cluster_that_k3d_does_not_list_is_deleted_too(world: World) -> None:
    created(world)
    world.fakes.forget()
    world.inv("k3d-cluster-delete", "--n", "1")
    assert world.changes() == [["k3d", "cluster", "delete", "cl1"]]
    assert not marker(world, 1).exists()


# --- what k3d says ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("said", ["not json", "{", "{}", "[1]", '[{"nodes": []}]', '[{"name": "cl1", "network": 7}]'])
def test_an_answer_of_k3d_that_makes_no_sense_is_said_to_be_so(world: World, said: str) -> None:
    world.fakes.answer("^k3d cluster list", said)
    done = world.inv("k3d-cluster-delete", "--n", "1")
    assert done.returncode == 1
    assert "k3d cluster list" in done.stderr
    assert world.changes() == []


def test_an_engine_that_stops_in_between_is_told(world: World) -> None:
    world.fakes.answer("^k3d cluster list", stderr="FATA[0000] Cannot connect to the Docker daemon\n", exit=1)
    done = world.inv("k3d-cluster-delete", "--n", "1")
    assert done.returncode == 1
    assert "k3d cluster list failed: FATA[0000] Cannot connect to the Docker daemon" in done.stderr


def test_debug_lines_before_the_answer_of_k3d_do_no_harm(world: World) -> None:
    world.cluster_list(world.cluster(1))
    listed = str(world.fakes.rules[-1]["stdout"])
    world.fakes.answer("^k3d cluster list", f"\033[37mDEBU\033[0m[0000] DOCKER_SOCK=/var/run/docker.sock\n&{{}}\n{listed}")
    assert world.inv("k3d-cluster-delete", "--n", "1", LOG_LEVEL="debug").returncode == 0
    assert world.changes() == [["k3d", "cluster", "delete", "cl1"]]


def test_the_subnet_in_these_tests_holds_the_gateway() -> None:
    assert SUBNET.startswith(GATEWAY.rpartition(".")[0])
