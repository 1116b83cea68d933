"""`inv trace IMAGE`: the registry on this machine, its upstream, and the nodes of each cluster."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from conftest import Project
from pretend import World, world_of
from pretended_registries import Registries, registries_of

FOLDER = "/var/lib/rancher/k3s/agent/etc/containerd/certs.d"
IMAGE = "docker.io/library/nginx:1.29"
CACHE = "dev-clusters-cache-docker.io"
NODE = "k3d-cl1-server-0"


@pytest.fixture
def world(project: Project) -> Iterator[World]:
    with world_of(project) as world:
        world.env(REGISTRY_CACHES="docker.io")
        world.cluster_list(world.cluster(1), world.cluster(2, running=False))
        world.network(there=True)
        yield world


@pytest.fixture
def registries(world: World) -> Iterator[Registries]:
    """The cache keeps one of the two layers of the image, and a node asks it."""
    with registries_of(world) as registries:
        registries.exist()
        registries.server.add_image("library/nginx", b"config", b"a", b"b")
        digest, = registries.server.repositories["library/nginx"]
        path = "/v2/library/nginx/manifests"
        manifest = registries.server.contents[f"{path}/{digest}"]
        registries.server.contents[f"{path}/1.29"] = manifest
        registries.server.kept.add(f"/v2/library/nginx/blobs/{json.loads(manifest)['layers'][0]['digest']}")
        registries.nodes[NODE] = f"{FOLDER}/docker.io/hosts.toml:http://docker.io.images.internal:5000\n"
        yield registries


def hops(world: World, image: str = IMAGE) -> dict[str, tuple[str, str, str]]:
    """State, code and text of each hop; the exit code is that of the worst."""
    done = world.inv("trace", image, "--json")
    rows = json.loads(done.stdout)
    assert done.returncode == any(row["state"] == "red" for row in rows)
    return {row["source"]: (row["state"], row["code"], row["note"]) for row in rows}


def test_every_hop_of_an_image_that_comes_through_the_cache(world: World, registries: Registries) -> None:
    assert hops(world) == {
        "image": ("green", "ok", "1.29"),
        "cache": ("green", "ok", "returns it; 1 of its 2 layers are kept here"),
        "upstream": ("green", "ok", "answers the cache"),
        "node": ("green", "ok", "asks docker.io.images.internal first"),
    }
    assert world.changes() == []


def test_an_image_that_neither_cache_nor_upstream_has(world: World, registries: Registries) -> None:
    state, code, _ = hops(world, "docker.io/library/nginx:9")["cache"]
    assert (state, code) == ("red", "not-in-registry")


@pytest.mark.parametrize(("status", "state"), [("exited", "yellow"), ("paused", "red")])
def test_a_cache_that_is_stopped_stops_no_pull_and_one_that_hangs_does(
    world: World, registries: Registries, status: str, state: str
) -> None:
    registries.state[CACHE] = {"Status": status}
    assert hops(world)["cache"][:2] == (state, "not-running")


def test_an_upstream_that_does_not_answer_and_a_node_without_the_mirror(world: World, registries: Registries) -> None:
    registries.server.upstream_error = "dial tcp: no such host"
    registries.nodes.clear()
    found = hops(world)
    assert found["upstream"][:2] == ("yellow", "upstream-silent") and "no such host" in found["upstream"][2]
    assert found["node"] == ("yellow", "mirror-missing", "asks docker.io itself, not the registry on this machine")


def test_a_registry_without_a_cache(world: World, registries: Registries) -> None:
    assert hops(world, "registry.example/app:1")["registry"][:2] == ("grey", "no-cache")


@pytest.mark.parametrize("text", ["app.cl1.k3d.internal:11443/x:1", "nginx", "docker.io/library/nginx"])
def test_what_is_no_image_with_a_tag_is_taken_for_a_url(world: World, text: str) -> None:
    assert "does not start with http:// or https://" in world.inv("trace", text).stderr
