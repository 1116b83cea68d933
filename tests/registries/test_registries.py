"""Registries: which containers there are, what they and new nodes are told, and what is kept."""

from __future__ import annotations

import socket
import stat
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import Project
from pretend import World, world_of
from pretended_registries import Registries, registries_of
from recording import Call

CACHES = ["dev-clusters-cache-docker.io", "dev-clusters-cache-quay.io"]
ALL = [*CACHES, "dev-clusters-registry"]


@pytest.fixture
def world(project: Project) -> Iterator[World]:
    with world_of(project) as world:
        use(world)
        yield world


@pytest.fixture
def registries(world: World) -> Iterator[Registries]:
    with registries_of(world) as registries:
        yield registries


def use(world: World, caches: str = "docker.io,quay.io", **more: str) -> None:
    world.env(**{"REGISTRY_CACHES": caches, "LOCAL_REGISTRY_PORT": str(free_port()), **more})


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def port_of(world: World) -> str:
    return next(line.partition("=")[2] for line in (world.project.folder / ".env").read_text().splitlines()
                if line.startswith("LOCAL_REGISTRY_PORT="))


def setup(world: World) -> str:
    """What a setup of cluster 1 says until k3d refuses."""
    world.fakes.answer("^k3d cluster create", exit=1)
    return world.inv("k3d-cluster-setup", "--n", "1").stdout


def options(world: World, name: str) -> list[str]:
    """The words with which a container was created."""
    return next(words for words in world.fakes.calls("docker", "run", "--detach") if name in words)


def values(words: list[str], flag: str) -> list[str]:
    return [value for word, value in pairwise(words) if word == flag]


# --- the containers ---------------------------------------------------------------------------------------------------


def test_a_setup_creates_a_cache_for_each_upstream_and_a_registry_to_push_to(
    world: World, registries: Registries
) -> None:
    said = setup(world)
    assert sorted(registries.created()) == ALL
    assert f"created docker.io, quay.io, localhost:{port_of(world)}" in said
    cache = options(world, ALL[0])
    assert cache[-1] == "docker.io/library/registry:3"
    assert values(cache, "--network") == ["dev-clusters"]
    assert values(cache, "--network-alias") == ["docker.io.images.internal"]
    assert values(cache, "--volume") == ["dev-clusters-cache-docker.io:/var/lib/registry"]
    labeled = ["docker", "volume", "create", "--label", "dev-cluster-tasks.registry=dev-clusters", ALL[0]]
    assert labeled in world.changes()
    assert all(port.startswith("127.0.0.1:") for words in world.fakes.calls("docker", "run", "--detach")
               for port in values(words, "--publish"))
    assert values(options(world, ALL[2]), "--publish") == [f"127.0.0.1:{port_of(world)}:5000"]


def test_a_cache_keeps_everything_for_ever_and_starts_offline(world: World, registries: Registries) -> None:
    setup(world)
    variables = [variable for variable in values(options(world, ALL[0]), "--env") if "_PROXY_" in variable]
    assert sorted(variables) == ["REGISTRY_PROXY_EXEC_COMMAND=true",
                                 "REGISTRY_PROXY_REMOTEURL=https://registry-1.docker.io", "REGISTRY_PROXY_TTL=0s"]
    assert not any("_PROXY_" in variable for variable in values(options(world, ALL[2]), "--env")), "it takes pushes"


def test_a_second_setup_creates_nothing_and_a_dry_run_neither(world: World, registries: Registries) -> None:
    dry = world.inv("--dry", "k3d-cluster-setup", "--n", "1").stdout
    assert registries.created() == [] and dry.count("docker run --detach") == 3
    setup(world)
    world.fakes.lines = [line for line in world.fakes.lines if line.startswith("docker run --detach")]
    world.fakes.received = []
    assert "registries on dev-clusters: already running" in setup(world)
    assert registries.created() == []


@pytest.mark.parametrize("changed", [
    {"Status": "paused"}, {"Status": "exited"}, {"NetworkID": "of a network that was removed"},
    {"labels": {"dev-cluster-tasks.registry-version": "of other settings"}}, {"port": 1},
], ids=str)
def test_a_cache_that_does_not_work_is_created_again_and_the_others_stay(
    world: World, registries: Registries, changed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.registries.SECONDS", 0)
    setup(world)
    registries.state[ALL[0]] = changed
    world.fakes.received = []
    said = setup(world)
    assert registries.created() == [ALL[0]]
    assert world.fakes.calls("docker", "rm") == [["docker", "rm", "--force", ALL[0]]]
    assert "Clusters work without these:" in said, "it still does not work"


def test_a_setup_goes_on_without_registries_where_their_image_cannot_be_pulled(
    world: World, registries: Registries
) -> None:
    world.fakes.answer("^docker run --detach", stderr="docker: no such host\n", exit=125)
    said = setup(world)
    assert "Clusters work without these:" in said and "| docker: no such host" in said
    assert world.fakes.calls("k3d", "cluster", "create")


def test_a_taken_port_of_the_registry_is_named_and_the_caches_are_created(world: World, registries: Registries) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taker:
        port = taker.getsockname()[1]
        use(world, LOCAL_REGISTRY_PORT=str(port))
        world.fakes.answer(f"^docker ps --filter publish={port}", "kind-registry\n")
        said = setup(world)
    assert (f"127.0.0.1:{port} is taken by the container kind-registry, so there is no registry to push to. "
            "Set another LOCAL_REGISTRY_PORT in .env.") in said
    assert sorted(registries.created()) == CACHES


def test_caches_get_the_companys_proxy_and_ca_and_no_password_is_in_their_command(
    world: World, registries: Registries
) -> None:
    bundle = world.project.home / ".local-ca-certs" / "internal-ca.crt"
    use(world, HTTPS_PROXY="http://me:hunter2@proxy.example:3128", ADDITIONAL_CA_BUNDLE_FILE=str(bundle))
    setup(world)
    for name in CACHES:
        assert "HTTPS_PROXY" in values(options(world, name), "--env")
        assert f"{bundle}:/etc/ssl/certs/additional-ca.crt:ro" in values(options(world, name), "--volume")
    assert "hunter2" not in " ".join(line for line in world.fakes.lines if line.startswith("docker run"))
    environment, *_ = world.fakes.environments("docker", "run", "--detach")
    assert environment["HTTPS_PROXY"] == "http://me:hunter2@proxy.example:3128"


def test_another_upstream_is_asked_instead_and_an_empty_list_means_no_cache(
    world: World, registries: Registries
) -> None:
    use(world, "docker.io=https://mirror.example/hub", LOCAL_REGISTRY_PORT="")
    setup(world)
    assert "REGISTRY_PROXY_REMOTEURL=https://mirror.example/hub" in values(options(world, ALL[0]), "--env")
    world.fakes.forget()
    use(world, "", LOCAL_REGISTRY_PORT="")
    said = setup(world)
    assert registries.created() == [] and "registries" not in said
    create, = world.fakes.calls("k3d", "cluster", "create")
    assert "--registry-config" not in create


# --- what new nodes are told ------------------------------------------------------------------------------------------


def registries_file(world: World) -> Path:
    create, = world.fakes.calls("k3d", "cluster", "create")
    return Path(create[create.index("--registry-config") + 1])


def test_a_new_cluster_asks_the_caches_first_and_knows_the_registry_by_the_name_that_the_engine_uses(
    world: World, registries: Registries
) -> None:
    setup(world)
    assert yaml.safe_load(registries_file(world).read_text()) == {"mirrors": {
        "docker.io": {"endpoint": ["http://docker.io.images.internal:5000"]},
        "quay.io": {"endpoint": ["http://quay.io.images.internal:5000"]},
        f"localhost:{port_of(world)}": {"endpoint": ["http://registry.images.internal:5000"]}}}


def test_the_users_mirrors_win_the_rest_of_the_file_is_kept_and_who_has_none_is_told(
    world: World, registries: Registries
) -> None:
    users = world.project.home / "registries.yaml"
    users.write_text(yaml.safe_dump({
        "mirrors": {"quay.io": {"endpoint": ["https://mirror.example"]}, "ghcr.io": {"endpoint": ["https://x.example"]}},
        "configs": {"mirror.example": {"auth": {"username": "me", "password": "hunter2"}}}}))
    use(world, K3D_REGISTRY_CONFIG=str(users))
    said = setup(world)
    assert "none for quay.io, which K3D_REGISTRY_CONFIG has a mirror for" in said
    assert sorted(registries.created()) == [ALL[0], ALL[2]]
    merged = yaml.safe_load(registries_file(world).read_text())
    assert merged["mirrors"]["quay.io"] == {"endpoint": ["https://mirror.example"]}
    assert {*merged["mirrors"]} == {"docker.io", f"localhost:{port_of(world)}", "quay.io", "ghcr.io"}
    assert merged["configs"]["mirror.example"]["auth"]["password"] == "hunter2"
    assert stat.S_IMODE(registries_file(world).stat().st_mode) == 0o600


def test_a_users_mirror_of_every_registry_leaves_no_cache(world: World, registries: Registries) -> None:
    users = world.project.home / "registries.yaml"
    users.write_text('mirrors: {"*": {endpoint: ["https://mirror.example"]}}\n')
    use(world, K3D_REGISTRY_CONFIG=str(users))
    assert "none for docker.io, quay.io, which" in setup(world)
    assert registries.created() == [ALL[2]]


@pytest.mark.parametrize("text", ["a: [", "- a", "mirrors: [a]", "\0"])
def test_a_registries_file_of_another_form_is_refused_with_its_name(world: World, text: str) -> None:
    users = world.project.home / "registries.yaml"
    users.write_text(text)
    use(world, K3D_REGISTRY_CONFIG=str(users))
    done = world.inv("k3d-cluster-setup", "--n", "1")
    assert done.returncode == 1 and world.changes() == []
    assert f".env: K3D_REGISTRY_CONFIG='{users}' is invalid: expected " in done.stderr


# --- nodes that exist -------------------------------------------------------------------------------------------------


FOLDER = "/var/lib/rancher/k3s/agent/etc/containerd/certs.d"
NODE = "k3d-cl1-server-0"


def configure(world: World) -> list[list[str]]:
    """The files that the nodes of cluster 1 get."""
    world.cluster_list(world.cluster(1))
    world.network(there=True)
    world.fakes.answer("^docker network inspect .*Id", "net1\n")
    world.fakes.answer("^kubectl .*--raw=/readyz", "ok")
    world.fakes.answer("^helm upgrade", exit=1)
    world.inv("k3d-cluster-configure", "--n", "1")
    return world.fakes.calls("docker", "cp")


def grep(registry: str, *lines: str) -> str:
    return "".join(f"{FOLDER}/{registry}/hosts.toml:{line}\n" for line in lines)


def test_nodes_that_were_created_before_the_caches_get_their_mirrors(world: World, registries: Registries) -> None:
    (_, _, source, target), = configure(world)
    assert target == f"{NODE}:{FOLDER}"
    files = {str(file.relative_to(source[:-1])): file.read_text() for file in Path(source).rglob("hosts.toml")}
    assert {*files} == {f"{name}/hosts.toml" for name in ("docker.io", "quay.io", f"localhost:{port_of(world)}")}
    hub = files["docker.io/hosts.toml"]
    assert 'server = "https://registry-1.docker.io"' in hub, "asked if the cache is down"
    assert '[host."http://docker.io.images.internal:5000"]' in hub


def test_a_node_that_has_them_or_mirrors_of_the_user_is_left_alone(world: World, registries: Registries) -> None:
    registries.nodes[NODE] = (
        grep("docker.io", "# File generated by k3s. DO NOT EDIT.", '[host."http://docker.io.images.internal:5000/v2"]')
        + grep("quay.io", 'server = "https://mirror.example"')
        + grep(f"localhost:{port_of(world)}", 'server = "http://registry.images.internal:5000"'))
    assert configure(world) == []


def test_a_users_mirror_for_every_registry_in_a_node_counts_for_the_caches_only(
    world: World, registries: Registries
) -> None:
    registries.nodes[NODE] = grep("_default", 'server = "https://mirror.example"')
    (_, _, source, _), = configure(world)
    assert [folder.name for folder in Path(source).iterdir()] == [f"localhost:{port_of(world)}"]


def test_tools_find_the_registry_in_the_cluster_and_anothers_is_kept(world: World, registries: Registries) -> None:
    configure(world)
    applied = world.project.folder / ".work" / "cl1" / "local-registry-hosting.yaml"
    text = yaml.safe_load(applied.read_text())["data"]["localRegistryHosting.v1"]
    assert yaml.safe_load(text)["host"] == f"localhost:{port_of(world)}"
    applied.unlink()
    world.fakes.answer("^kubectl .*get configmap local-registry-hosting", '{"metadata": {"name": "of ctlptl"}}')
    configure(world)
    assert not applied.exists()


# --- what the caches keep ---------------------------------------------------------------------------------------------


def test_layers_that_no_node_has_asked_for_under_this_name_are_added_and_only_new_ones_are_fetched(
    world: World, registries: Registries
) -> None:
    """containerd does not ask for a layer that it has from another image."""
    server = registries.server
    server.add_image("jetstack/a", b"config", b"shared", kept=True)
    server.add_image("jetstack/b", b"config", b"shared", b"own")
    server.add_image("jetstack/c", b"config", b"shared", b"own")
    said = world.inv("k3d-cluster-setup", "--n", "1").stdout
    assert {path for path in server.contents if "/blobs/" in path} == server.kept
    fetched = [server.contents[path] for path in server.asked if "/blobs/" in path]
    assert fetched == [b"own", b"own"], "once for one name; the second request is that which this server keeps"
    assert "images for work offline: 6 kept by the caches" in said


def test_layers_that_cannot_be_fetched_are_reported_and_the_setup_succeeds(
    world: World, registries: Registries
) -> None:
    registries.server.add_image("jetstack/b", b"config", b"layer")
    registries.server.upstream_error = "dial tcp: lookup quay.io: no such host"
    done = world.inv("k3d-cluster-setup", "--n", "1")
    assert done.returncode == 0, done.stderr
    assert "incomplete:" in done.stdout
    assert "dev-clusters-cache-docker.io: UNKNOWN unknown error dial tcp: lookup quay.io: no such host" in done.stdout


def test_charts_are_downloaded_once_and_then_installed_from_their_file(world: World, registries: Registries) -> None:
    world.fakes.behave("helm", pull)
    world.inv("k3d-cluster-setup", "--n", "1")
    pulled = {words[2]: words[-1] for words in world.fakes.calls("helm", "pull")}
    assert [*pulled] == [f"oci://quay.io/jetstack/charts/{name}" for name in ("cert-manager", "trust-manager")]
    world.fakes.forget()
    world.inv("k3d-cluster-setup", "--n", "2")
    assert world.fakes.calls("helm", "pull") == []
    used = sorted(words[4] for words in world.fakes.calls("helm", "upgrade"))
    assert used == sorted(f"{folder}/chart-v1.tgz" for folder in pulled.values())


def pull(call: Call) -> None:
    if call.words[1] == "pull":
        folder = Path(call.words[call.words.index("--destination") + 1])
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "chart-v1.tgz").touch()


# --- the end ----------------------------------------------------------------------------------------------------------


def users(world: World) -> Path:
    return world.project.home / ".cache" / "dev-cluster-tasks" / "registries-dev-clusters"


def test_with_the_last_cluster_the_containers_go_before_the_network_and_their_volumes_stay(
    world: World, registries: Registries
) -> None:
    registries.exist()
    world.network(there=True)
    world.cluster_list(world.cluster(1), world.cluster(2))
    world.inv("k3d-cluster-delete", "--n", "1")
    assert world.fakes.calls("docker", "rm") == []
    world.cluster_list(world.cluster(2))
    world.inv("k3d-cluster-delete", "--n", "2")
    ends = [words for words in world.fakes.calls("docker") if words[1] == "rm" or words[2] == "rm"]
    assert ends == [["docker", "rm", "--force", *ALL], ["docker", "network", "rm", "dev-clusters"]]


def test_uninstall_deletes_what_they_keep(world: World, registries: Registries) -> None:
    registries.exist()
    registries.volumes = ALL
    done = world.inv("uninstall", "--yes", "--keep-ca")
    assert f"registries, with their images: {', '.join(ALL)}" in done.stdout
    assert ["docker", "rm", "--force", *ALL] in world.changes() and ["docker", "volume", "rm", *ALL] in world.changes()


def test_the_last_copy_that_leaves_takes_them(world: World, registries: Registries, tmp_path: Path) -> None:
    other, gone = tmp_path / "other", tmp_path / "gone"
    other.mkdir()
    for copy in (other, world.project.folder):
        (copy / "tasks.py").touch()
    setup(world)
    with users(world).open("a") as file:
        file.write(f"# used by the copy in {other}\n# used by the copy in {gone}\n")
    registries.volumes = ALL
    said = world.inv("uninstall", "--yes", "--keep-ca").stdout
    assert f"images of the registries {', '.join(ALL)}: still used by the copy in {other}\n" in said
    assert ["docker", "rm", "--force", *ALL] in world.changes(), "or the network could not be removed"
    assert not any(words[:3] == ["docker", "volume", "rm"] for words in world.changes())
    assert users(world).read_text() == f"# used by the copy in {other}\n"
    (other / "tasks.py").unlink()
    world.inv("uninstall", "--yes", "--keep-ca")
    assert ["docker", "volume", "rm", *ALL] in world.changes() and not users(world).exists()


def test_the_clusters_of_another_copy_keep_them(world: World, registries: Registries) -> None:
    registries.exist()
    world.cluster_list({**world.cluster(3), "name": "x1"})
    said = world.inv("uninstall", "--yes", "--keep-ca").stdout
    assert f"images of the registries {', '.join(ALL)}: still used by other clusters on dev-clusters" in said
    assert not world.fakes.calls("docker", "rm")
