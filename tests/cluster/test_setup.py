"""Clusters: what docker, k3d and kubectl receive when one is created, started, written to a kubeconfig, deleted."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from conftest import Project
from pretend import GATEWAY, TOKEN, World, world_of

from tasks.core.templates import short_hash


@pytest.fixture
def world(project: Project) -> Iterator[World]:
    with world_of(project) as world:
        yield world


def marker(world: World, number: int) -> Path:
    """There while a cluster is only partly created."""
    return world.project.folder / ".work" / f"cl{number}" / "partly-created"


def mark(world: World) -> None:
    """Leave cluster 1 as a run does that is killed while k3d creates it."""
    marker(world, 1).parent.mkdir(parents=True)
    marker(world, 1).touch()


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


@pytest.mark.parametrize(
    ("bind_address", "published"),
    [
        ("", ["127.0.0.1", GATEWAY]),
        ("127.0.0.5", ["127.0.0.1", GATEWAY, "127.0.0.5"]),
        ("0.0.0.0", ["0.0.0.0"]),
    ],
)
def test_ports_are_published_on_localhost_on_a_gateway_that_is_here_and_where_the_user_says(
    world: World, bind_address: str, published: list[str]
) -> None:
    world.env(K3D_BIND_ADDRESS=bind_address)
    assert created(world) == [create(world, *published)]


def test_a_cluster_elsewhere_is_published_and_has_its_api_at_its_address_and_its_ports_are_looked_at_there(
    world: World
) -> None:
    world.env(CLUSTER_ADDRESS="1=127.0.0.6")
    words, = created(world)
    here = create(world, "127.0.0.6", GATEWAY)
    assert words == [word.replace("127.0.0.1:random", "127.0.0.6:random") for word in here]
    with socket.create_server(("127.0.0.6", world.http(1))):
        done = world.inv("k3d-cluster-setup", "--n", "1")
    assert done.returncode == 1 and f"127.0.0.6:{world.http(1)} is taken" in done.stderr


def test_files_and_words_with_spaces_quotes_and_dollars_reach_k3d_as_they_are_and_the_words_come_last(
    world: World,
) -> None:
    folder = world.project.home / "me@company's files"
    folder.mkdir()
    shutil.copy(world.project.home / ".local-ca-certs" / "internal-ca.crt", folder / "ca.crt")
    (folder / "registries.yaml").write_text("mirrors: {}\n")
    world.env(ADDITIONAL_CA_BUNDLE_FILE='"~/me@company\'s files/ca.crt"',
              K3D_REGISTRY_CONFIG='"$HOME/me@company\'s files/registries.yaml"', TIMEOUT_CREATE="99",
              K3S_IMAGE="mirror.example:5000/k3s:v1", K3D_NETWORK="shared.net")
    words = ["--agents", "1", "--k3s-arg", "--label=a b@server:*", "it's", '"$HOME"', "$(id)", "*", "", "é", "--wait"]
    world.virtual_machine()
    assert created(world, "--", *words) == [[
        "k3d", "cluster", "create", "cl1", "--image", "mirror.example:5000/k3s:v1", "--network", "shared.net",
        "--api-port", "127.0.0.1:random",
        "-p", f"127.0.0.1:{world.http(1)}:80@loadbalancer", "-p", f"127.0.0.1:{world.https(1)}:443@loadbalancer",
        "--volume", f"{world.project.home}/me\\@company's files/ca.crt:/etc/ssl/certs/additional-ca.crt",
        "--registry-config", f"{folder}/registries.yaml",
        "--runtime-label", f"dev-cluster-tasks.registries={short_hash('mirrors: {}' + chr(10))}@server:*",
        "--kubeconfig-update-default=false", "--wait", "--timeout", "99s", *words,
    ]]


# --- the network ------------------------------------------------------------------------------------------------------


NETWORK = ["docker", "network", "create", "--label", "app.kubernetes.io/managed-by=dev-cluster-tasks"]


@pytest.mark.parametrize(
    ("chosen", "subnet"), [("", []), ("172.30.0.0/16", ["--subnet", "172.30.0.0/16", "--gateway", "172.30.0.1"])]
)
def test_a_missing_network_is_made_with_the_chosen_subnet_and_a_failure_says_what_may_help(
    world: World, chosen: str, subnet: list[str]
) -> None:
    world.env(K3D_NETWORK_SUBNET=chosen)
    world.fakes.answer("^docker network create", stderr="Error: Pool overlaps\n", exit=1)
    done = world.inv("k3d-cluster-setup", "--n", "1")
    assert world.changes() == [[*NETWORK, *subnet, "dev-clusters"]]
    assert done.returncode == 1
    assert "Pool overlaps" in done.stderr and "To choose one, set K3D_NETWORK_SUBNET in .env." in done.stderr


@pytest.mark.parametrize(
    ("known", "subnet"),
    [("172.29.0.0/16", ["--subnet", "172.29.0.0/16", "--gateway", "172.29.0.1"]), ("fd00::/64", [])],
)
def test_a_network_that_was_lost_is_made_as_its_clusters_know_it_and_they_are_connected_again(
    world: World, known: str, subnet: list[str]
) -> None:
    elsewhere = world.cluster(2, network="another", subnet="10.9.0.0/16")
    world.cluster_list(elsewhere, world.cluster(1, subnet=known))
    world.fakes.answer("^docker inspect .*Networks",
                       "/k3d-cl1-server-0 exited dev-clusters=lost bridge=b\n/k3d-cl1-serverlb exited bridge=b\n")
    world.fakes.answer("^k3d kubeconfig merge", exit=1)
    world.inv("k3d-cluster-setup", "--n", "1")
    assert world.changes()[:-1] == [
        [*NETWORK, *subnet, "dev-clusters"],
        ["docker", "network", "disconnect", "--force", "dev-clusters", "k3d-cl1-server-0"],
        ["docker", "network", "connect", "dev-clusters", "k3d-cl1-server-0"],
        ["docker", "network", "connect", "dev-clusters", "k3d-cl1-serverlb"],
    ]


def test_a_run_that_made_a_lost_network_and_was_broken_off_is_gone_on_with(world: World) -> None:
    world.network(there=True)
    world.fakes.answer("^docker network inspect .*Id", "new\n")
    world.cluster_list(world.cluster(1))
    world.fakes.answer("^docker inspect .*Networks",
                       "/k3d-cl1-server-0 running dev-clusters=new\n/k3d-cl1-serverlb exited dev-clusters=lost\n")
    world.fakes.answer("^k3d kubeconfig merge", exit=1)
    world.inv("k3d-cluster-setup", "--n", "1")
    assert world.changes()[:-1] == [
        ["docker", "network", "disconnect", "--force", "dev-clusters", "k3d-cl1-serverlb"],
        ["docker", "network", "connect", "dev-clusters", "k3d-cl1-serverlb"],
    ]


def test_a_container_that_another_run_has_created_and_not_started_yet_is_left_alone(world: World) -> None:
    world.network(there=True)
    world.fakes.answer("^docker network inspect .*Id", "new\n")
    world.cluster_list(world.cluster(1), world.cluster(2))
    world.fakes.answer("^docker inspect .*Networks",
                       "/k3d-cl1-server-0 running dev-clusters=new\n/k3d-cl2-serverlb created dev-clusters=\n"
                       "/k3d-cl2-server-0 created bridge=\n")
    world.fakes.answer("^k3d kubeconfig merge", exit=1)
    world.inv("k3d-cluster-setup", "--n", "1")
    assert [words for words in world.changes() if words[:2] == ["docker", "network"]] == [
        ["docker", "network", "connect", "dev-clusters", "k3d-cl2-server-0"]]


# --- the kubeconfig ---------------------------------------------------------------------------------------------------


def brought_up(world: World, **environment: str) -> list[list[str]]:
    """What a setup of cluster 1 changes until its kubeconfig is written, where k3d refuses and the task ends."""
    world.network(there=True)
    world.fakes.answer("^k3d kubeconfig merge", stderr="permission denied\n", exit=1)
    done = world.inv("k3d-cluster-setup", "--n", "1", **environment)
    assert done.returncode == 1
    assert "permission denied" in done.stderr
    return world.changes()


def merge(file: Path, switch: str = "false") -> list[str]:
    return ["k3d", "kubeconfig", "merge", "cl1", "--output", str(file), f"--kubeconfig-switch-context={switch}"]


def test_a_cluster_that_runs_is_not_created_again_and_goes_to_the_users_own_kubeconfig(world: World) -> None:
    world.cluster_list(world.cluster(1))
    assert brought_up(world) == [merge(world.project.home / ".kube" / "config")]


def test_the_kubeconfig_is_the_first_that_the_users_variable_names(world: World, tmp_path: Path) -> None:
    world.cluster_list(world.cluster(1))
    first = tmp_path / "a folder" / "first"
    assert brought_up(world, KUBECONFIG=f":{first}:{tmp_path / 'second'}") == [merge(first)]
    assert first.parent.is_dir()


def test_a_folder_for_kubeconfigs_gets_a_file_for_each_cluster(world: World) -> None:
    world.cluster_list(world.cluster(1))
    world.env(K3D_KUBECONFIG_TARGET_DIR="~/kubeconfigs")
    assert brought_up(world) == [merge(world.project.home / "kubeconfigs" / "cl1")]


def test_the_current_context_is_switched_where_the_user_wants_it(world: World) -> None:
    world.cluster_list(world.cluster(1))
    world.fakes.answer("^kubectl .*--raw=/readyz", "ok")
    world.fakes.answer("^kubectl .*current-context", "k3d-another\n")
    world.env(K3D_SWITCH_CONTEXT="true")
    assert brought_up(world) == [merge(world.project.home / ".kube" / "config", switch="true")]


# --- a cluster that exists --------------------------------------------------------------------------------------------


def test_a_cluster_that_was_stopped_is_started(world: World) -> None:
    world.cluster_list(world.cluster(1, running=False))
    assert brought_up(world)[:-1] == [["k3d", "cluster", "start", "cl1", "--wait", "--timeout", "600s"]]


def test_a_creation_that_failed_leaves_no_mark_where_k3d_has_undone_it(world: World) -> None:
    created(world)
    assert not marker(world, 1).exists()


def test_a_creation_that_failed_is_told_and_marked_where_nobody_can_say_what_is_left_of_it(world: World) -> None:
    world.fakes.answer("^k3d cluster create", stderr="the engine went away\n", exit=1)
    world.fakes.answer("^k3d cluster list", stderr="Cannot connect\n", exit=1, after="^k3d cluster create")
    done = world.inv("k3d-cluster-setup", "--n", "1")
    assert "  | the engine went away\n" in done.stderr
    assert marker(world, 1).exists()


def test_a_partly_created_cluster_is_created_again_by_the_next_run_once_nobody_makes_it(world: World) -> None:
    world.cluster_list(world.cluster(1), after="^k3d cluster create")
    created(world)
    assert marker(world, 1).exists()

    world.fakes.forget()
    world.cluster_list(world.cluster(1))
    world.fakes.answer("^k3d cluster create")
    world.fakes.answer("^pgrep", "4711\n")
    world.fakes.answer("^pgrep", exit=1, after="^pgrep")
    assert brought_up(world)[:-1] == [["k3d", "cluster", "delete", "cl1"], create(world, "127.0.0.1", GATEWAY)]
    assert not marker(world, 1).exists()
    assert world.fakes.calls("pgrep") == [
        ["pgrep", "-u", "0", "-f", "--", "^([^ ]+ (-[^ ]+ )*)?([^ ]*/)?k3d cluster create cl1 "]] * 2


@pytest.mark.parametrize(("task", "running"), [("k3d-cluster-setup", False), ("k3d-cluster-configure", True)])
def test_ports_that_differ_from_the_settings_are_an_error_that_names_both_and_nothing_is_changed(
    world: World, task: str, running: bool
) -> None:
    world.network(there=True)
    world.cluster_list(world.cluster(1, running=running, ports_of=2))
    done = world.inv(task, "--n", "1")
    assert done.returncode == 1
    assert f"cl1 publishes its port 80/tcp on {world.http(2)}, but the settings say {world.http(1)}" in done.stderr
    assert world.changes() == []


@pytest.mark.parametrize(("stopped", "message"), [
    (True, "cl1 is stopped. Bring it up with: inv k3d-cluster-setup --n 1\n"),
    (False, "cl1 was only partly created (its creation was interrupted). "
            "Create it again with: inv k3d-cluster-setup --n 1\n"),
])
def test_configure_says_how_to_bring_up_a_cluster_that_is_stopped_or_partly_created(
    world: World, stopped: bool, message: str
) -> None:
    world.cluster_list(world.cluster(1, running=not stopped))
    if not stopped:
        mark(world)
    done = world.inv("k3d-cluster-configure", "--n", "1")
    assert (done.returncode, done.stderr) == (1, message)
    assert world.changes() == []


# --- before anything is created ---------------------------------------------------------------------------------------


def test_taken_ports_are_reported_with_their_holders_before_anything_is_created(world: World) -> None:
    world.network(there=True)
    taken = {number: world.https(number) for number in range(4)}
    world.fakes.answer(f"^docker ps .*publish={taken[0]}", "some-proxy\n")
    world.fakes.answer(f"^lsof .*:{taken[1]}", "p4711\ncGoogle Chrome\nf3\n")
    world.fakes.answer(f"^ss .*:{taken[2]}", 'LISTEN 0 5 127.0.0.1:443 0.0.0.0:* users:(("node",pid=47,fd=3))\n')
    with ExitStack() as holders:
        for port in taken.values():
            holders.enter_context(socket.create_server(("127.0.0.1", port)))
        done = world.inv("k3d-cluster-setup", "--n", "0-3")
    assert done.returncode == 1
    told = "".join(
        f"cl{number}: cl{number} cannot be created:\n"
        f"  127.0.0.1:{taken[number]} is taken{holder}\n"
        "Stop what uses the port, or change K3D_PORT_START or another K3D_PORT_ key in .env.\n\n"
        for number, holder in enumerate([
            " by the container some-proxy", " by Google Chrome, process 4711", ' by (("node",pid=47,fd=3))', "",
        ])
    )
    assert done.stderr == told + "Failed: cl0, cl1, cl2, cl3.\n"
    assert world.changes() == []
    assert not any(marker(world, number).exists() for number in taken)


def test_a_limit_of_inotify_instances_that_is_too_low_is_reported_before_a_cluster_is_created(world: World) -> None:
    file = world.project.root / "proc/sys/fs/inotify/max_user_instances"
    file.parent.mkdir(parents=True)
    file.write_text("100\n")
    world.cluster_list(world.cluster(2))
    said = world.inv("k3d-cluster-setup", "--n", "1").stdout
    warning = "the limit is 100 per user, and about 104 are needed for 2 running clusters"
    assert said.index(warning) < said.index("cl1 cluster") and "sudo sysctl -w fs.inotify.max_user_instances" in said
    file.write_text("104\n")
    assert "inotify instances" not in world.inv("k3d-cluster-setup", "--n", "1").stdout


def test_without_a_root_nothing_is_created(world: World) -> None:
    shutil.rmtree(world.project.home / ".local-ca-certs")
    for task in ("k3d-cluster-setup", "k3d-cluster-configure"):
        done = world.inv(task, "--n", "1")
        assert done.returncode == 1
        assert "Create it with: inv cert" in done.stderr
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


@pytest.mark.parametrize("network", ["dev-cluster-tasks 1\n", " 0\n"])
def test_nothing_is_deleted_where_there_is_no_cluster_and_a_network_of_others_stays(world: World, network: str) -> None:
    world.network(there=True)
    world.fakes.answer("^docker network inspect .*Labels", network)
    assert world.inv("k3d-cluster-delete", "--n", "1").returncode == 0
    assert world.changes() == []


def test_a_partly_created_cluster_that_k3d_does_not_list_is_deleted_too(world: World) -> None:
    mark(world)
    world.inv("k3d-cluster-delete", "--n", "1")
    assert world.changes() == [["k3d", "cluster", "delete", "cl1"]]
    assert not marker(world, 1).exists()


# --- what k3d says ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("said", ["not json", f'[{{"nodes": [], "token": "{TOKEN}"}}]', '[{"name": "", "network": 7}]'])
def test_an_answer_of_k3d_that_makes_no_sense_is_said_to_be_so_and_not_shown(world: World, said: str) -> None:
    world.fakes.answer("^k3d cluster list", said)
    done = world.inv("k3d-cluster-delete", "--n", "1")
    assert done.returncode == 1
    assert "The output of k3d cluster list --output json cannot be read" in done.stderr
    assert said not in done.stderr
    assert world.changes() == []


def test_an_engine_that_stops_in_between_is_told(world: World) -> None:
    world.fakes.answer("^k3d cluster list", stderr="FATA[0000] Cannot connect to the Docker daemon\n", exit=1)
    done = world.inv("k3d-cluster-delete", "--n", "1")
    assert done.returncode == 1
    assert "k3d cluster list failed: FATA[0000] Cannot connect to the Docker daemon" in done.stderr


def test_debug_lines_before_the_answer_of_k3d_do_no_harm(world: World) -> None:
    world.cluster_list(world.cluster(1))
    debug = "\033[37mDEBU\033[0m[0000] DOCKER_SOCK=/var/run/docker.sock\n&{Name:docker}\n"
    world.fakes.answer("^k3d cluster list", f"{debug}{world.fakes.rules[-1]['stdout']}")
    assert world.inv("k3d-cluster-delete", "--n", "1", LOG_LEVEL="debug").returncode == 0
    assert world.changes() == [["k3d", "cluster", "delete", "cl1"]]
