"""Arguments of k3s: needed parts are not left out, however that is written, and networks are known."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Project
from pretend import SUBNET, World, world_of

PROXY = "http://proxy.example.com:3128"

CONFIG = """
apiVersion: k3d.io/v1alpha5
kind: Simple
options:
  k3s:
    extraArgs:
      - arg: "{argument}"
        nodeFilters: [server:*]
"""


@pytest.fixture
def world(project: Project) -> Iterator[World]:
    with world_of(project) as world:
        world.fakes.answer("^k3d cluster create", exit=1)  # the rest of a setup is of no interest here
        yield world


def files(folder: Path) -> Path:
    """Configuration files of k3d and k3s that leave out Traefik."""
    (folder / "k3d.yaml").write_text(CONFIG.format(argument="--disable=traefik"))
    (folder / "two words.yaml").write_text(CONFIG.format(argument="--disable\"\n      - arg: \"traefik"))
    (folder / "variable.yaml").write_text(CONFIG.format(argument="--disable=$PART"))
    (folder / "old.yaml").write_text("options: {k3s: {extraServerArgs: [--disable=traefik]}}\n")
    (folder / "k3s.yaml").write_text("disable:\n  - metrics-server\n  - traefik\n")
    (folder / "volume.yaml").write_text(f"volumes: [{{volume: '{folder}/k3s.yaml:/etc/rancher/k3s/config.yaml'}}]\n")
    (folder / "files.yaml").write_text(
        f"files: [{{source: '{folder}/k3s.yaml', destination: /etc/rancher/k3s/config.yaml.d/a.yaml}}]\n")
    (folder / "rancher").mkdir()
    (folder / "rancher" / "config.yaml").write_text("disable: traefik\n")
    return folder


WITHOUT_TRAEFIK = [
    "--k3s-arg --disable=traefik@server:*",
    "--k3s-arg '--disable=traefik@server:0;agent:*'",
    "--k3s-arg --disable=traefik",
    "--k3s-arg=--disable=traefik@server:0",
    "--k3s-arg -disable=traefik@server:*",
    "--k3s-arg '--disable=traefik,metrics-server@server:*'",
    "--k3s-arg '--disable=metrics-server, traefik@server:*'",
    "--k3s-arg '--disable traefik,metrics-server@server:*'",
    "--k3s-arg --disable@server:* --k3s-arg traefik@server:*",
    "--k3s-arg --disable=metrics-server@server:* --k3s-arg --disable=traefik@server:*",
    "--agents 1 --k3s-arg=--disable=traefik@server:* --wait",
    "--config k3d.yaml",
    "--config=k3d.yaml",
    "-c k3d.yaml",
    "-c=k3d.yaml",
    "-ck3d.yaml",
    "-c 'two words.yaml'",
    "-c variable.yaml",
    "-c old.yaml",
    "-c volume.yaml",
    "-c files.yaml",
    "--volume {folder}/k3s.yaml:/etc/rancher/k3s/config.yaml@server:*",
    "-v {folder}/rancher:/etc/rancher/k3s",
    "-v{folder}/k3s.yaml:/etc/rancher/k3s/config.yaml.d/own.yaml:ro",
]


@pytest.mark.parametrize(("task", "words"), [
    *(("k3d-cluster-setup", words) for words in WITHOUT_TRAEFIK), ("up", WITHOUT_TRAEFIK[0]), ("up", "-c k3d.yaml")])
def test_a_cluster_without_traefik_is_refused_before_anything_is_created(
    world: World, tmp_path: Path, task: str, words: str
) -> None:
    folder = files(tmp_path)
    given = [word.replace("-c=", f"-c={folder}/") if word.startswith("-c=") else
             word.replace("-ck3d", f"-c{folder}/k3d") if word.startswith("-ck3d") else
             word.replace("--config=", f"--config={folder}/") if word.startswith("--config=") else
             f"{folder}/{word}" if word.endswith(".yaml") and "/" not in word else word
             for word in shlex.split(words.format(folder=folder))]
    done = world.inv(task, "--n", "1", "--", *given, PART="traefik")
    assert done.returncode == 1
    assert "--disable=traefik leaves out traefik of k3s, which these tasks need: it answers every" in done.stderr
    assert "Leave it out" in done.stderr
    assert world.changes() == []


@pytest.mark.parametrize(("argument", "says"), [
    ("--disable=coredns", "it resolves the clusters' names in pods"),
    ("--disable=servicelb", "it connects the ports of a node to Traefik"),
    ("--disable-helm-controller", "it installs Traefik"),
    ("--cluster-domain=my.domain", "renames cluster.local"),
])
def test_other_parts_that_would_be_waited_for_in_vain_are_refused_too(world: World, argument: str, says: str) -> None:
    done = world.inv("k3d-cluster-setup", "--n", "1", "--", "--k3s-arg", f"{argument}@server:*")
    assert done.returncode == 1 and says in done.stderr and world.changes() == []


@pytest.mark.parametrize("words", [
    ["--k3s-arg", "--disable=metrics-server@server:*"],
    ["--k3s-arg", "--disable-network-policy@server:*"],
    ["--k3s-arg", "--disable-helm-controller=false@server:*"],
    ["--k3s-arg", "--disable-helm-controller=False@server:*"],
    ["--k3s-arg", "--disable-helm-controller=0@server:*"],
    ["--k3s-arg", "--kubelet-arg=config=/traefik@server:*"],
    ["--k3s-node-label", "disable=traefik@server:*"],
    ["--config", "/not/there.yaml"],
    ["--config", "~nobody-of-this-name/there.yaml"],
    ["--k3s-arg"],
])
def test_what_does_no_harm_goes_to_k3d(world: World, words: list[str]) -> None:
    world.inv("k3d-cluster-setup", "--n", "1", "--", *words)
    assert world.fakes.calls("k3d", "cluster", "create")[0][-len(words):] == words


@pytest.mark.parametrize("content", [
    "options: {k3s: {extraArgs: 5}}", "options: 5", "volumes: 5", "files: true", "volumes: [5]", "[" * 3000,
])
def test_a_config_file_of_another_shape_is_left_to_k3d(world: World, tmp_path: Path, content: str) -> None:
    file = tmp_path / "k3d.yaml"
    file.write_text(content)
    world.inv("k3d-cluster-setup", "--n", "1", "--", "--config", str(file))
    assert world.fakes.calls("k3d", "cluster", "create")


def test_a_key_of_k3s_own_configuration_may_be_a_number(world: World, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("1: a\n")
    world.inv("k3d-cluster-setup", "--n", "1", "--", "--volume", f"{tmp_path}:/etc/rancher/k3s")
    assert world.fakes.calls("k3d", "cluster", "create")


@pytest.mark.parametrize("task", ["k3d-cluster-setup", "k3d-cluster-configure"])
def test_a_cluster_that_was_created_without_traefik_is_refused_at_once(world: World, task: str) -> None:
    existing = world.cluster(1)
    existing["nodes"][0]["Cmd"] = ["server", "--disable=traefik", "--tls-san", "0.0.0.0"]
    world.cluster_list(existing)
    world.network(there=True)
    done = world.inv(task, "--n", "1")
    assert done.returncode == 1 and world.changes() == []
    assert "--disable=traefik leaves out traefik" in done.stderr
    assert "inv k3d-cluster-delete --n 1 k3d-cluster-setup --n 1" in done.stderr


@pytest.mark.parametrize("words", [
    ["--k3s-arg", "--cluster-cidr=10.142.0.0/16@server:*", "--k3s-arg=--service-cidr=10.143.0.0/16@server:*"],
    ["--k3s-arg", "--cluster-cidr@server:*", "--k3s-arg", "10.142.0.0/16@server:*",
     "--k3s-arg", "--service-cidr 10.143.0.0/16@server:*"],
    ["--config", "k3d.yaml"],
])
def test_the_networks_of_pods_and_services_are_known_to_no_proxy(
    world: World, tmp_path: Path, words: list[str]
) -> None:
    file = tmp_path / "k3d.yaml"
    file.write_text(CONFIG.format(argument='--cluster-cidr=10.142.0.0/16"\n      - arg: "--service-cidr=10.143.0.0/16'))
    world.inv("k3d-cluster-setup", "--n", "1", "--", *[str(file) if word == file.name else word for word in words],
              HTTPS_PROXY=PROXY)
    created, = world.fakes.calls("k3d", "cluster", "create")
    entries = next(word for word in created if word.startswith("NO_PROXY="))
    assert f",10.142.0.0/16,10.143.0.0/16,{SUBNET}" in entries and "10.42." not in entries and "10.43." not in entries

    existing = world.cluster(1)  # and it is not said to have another proxy afterwards
    existing["nodes"][0]["Cmd"] = ["server", "--cluster-cidr=10.142.0.0/16", "--service-cidr=10.143.0.0/16"]
    existing["nodes"][0]["env"] += [
        word.removesuffix("@server:*;agent:*") for word in created if "_PROXY=" in word.upper()]
    world.cluster_list(existing)
    world.fakes.answer("^k3d kubeconfig merge", exit=1)
    assert "proxy" not in world.inv("k3d-cluster-setup", "--n", "1", HTTPS_PROXY=PROXY).stdout
