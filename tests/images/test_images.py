"""`inv images`: what is listed, and that everything goes through one file to another machine."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Project
from pretend import World, world_of
from pretended_registries import Registries, registries_of
from recording import Answer, Call

MIB = 1 << 20


@pytest.fixture
def world(project: Project) -> Iterator[World]:
    with world_of(project) as world:
        world.env(REGISTRY_CACHES="docker.io,quay.io")
        world.cluster_list(world.cluster(1), world.cluster(2))
        world.network(there=True)
        yield world


@pytest.fixture
def registries(world: World) -> Iterator[Registries]:
    """Both caches keep the same images: one server answers for them."""
    with registries_of(world) as registries:
        registries.exist()
        yield registries


def node(*images: tuple[str, int]) -> str:
    """A cluster with one node, as `kubectl get nodes` prints it."""
    return json.dumps({"items": [{"kind": "Node", "metadata": {"name": "n"}, "status": {
        "images": [{"names": [f"{name.partition(':')[0]}@sha256:{'0' * 64}", name], "sizeBytes": size}
                   for name, size in images]}}]})


def listed(world: World) -> dict[str, dict[str, Any]]:
    found = json.loads(world.inv("images", "--json").stdout)
    return {f"{image['repository']}:{image['version']}": image for image in found["images"]}


# --- the list ---------------------------------------------------------------------------------------------------------


def test_each_image_is_listed_once_with_its_clusters_and_whether_it_is_kept_or_outdated(
    world: World, registries: Registries
) -> None:
    registries.server.add_image("library/app", b"config", kept=True)
    world.fakes.answer("^kubectl .*--context k3d-cl1 get nodes", node(
        ("docker.io/library/nginx:1.28-alpine", 20 * MIB), ("docker.io/library/app:v1", MIB)))
    world.fakes.answer("^kubectl .*--context k3d-cl2 get nodes", node(
        ("docker.io/library/app:v1", MIB), ("quay.io/jetstack/cert-manager-webhook:v1.21.2", MIB)))
    found = listed(world)
    app, nginx = found["docker.io/library/app:v1"], found["docker.io/library/nginx:1.28-alpine"]
    assert (app["state"], app["clusters"], app["bytes"]) == ("green", ["cl1", "cl2"], MIB)
    assert (nginx["state"], nginx["clusters"], nginx["note"]) == ("yellow", ["cl1"], "IMAGE_NGINX: 1.29-alpine")
    assert found["quay.io/jetstack/cert-manager-webhook:v1.21.2"]["state"] == "grey", "the settings' version, not kept"


def test_the_screen_shows_images_and_what_the_caches_keep(world: World, registries: Registries) -> None:
    world.fakes.answer("^kubectl .*get nodes", node(("docker.io/library/app:v1", 20_500_000)))
    said = world.inv("images").stdout
    assert "docker.io/library/app" in said and "20.5 MB" in said
    assert "https://registry-1.docker.io" in said and "12.3 MB" in said
    assert world.changes() == []


def test_without_a_cluster_there_is_no_image_to_list(world: World, registries: Registries) -> None:
    world.cluster_list()
    assert "No cluster is running, so no image is in use." in world.inv("images").stdout


def test_empty_deletes_what_the_caches_keep_and_no_pushed_image(world: World, registries: Registries) -> None:
    caches = ["dev-clusters-cache-docker.io", "dev-clusters-cache-quay.io"]
    registries.volumes = [*caches, "dev-clusters-registry"]
    done = world.inv("images", "--empty")
    assert done.returncode == 0, done.stderr
    assert world.changes()[:2] == [["docker", "rm", "--force", *caches], ["docker", "volume", "rm", *caches]]
    assert sorted(registries.created()) == caches, "they start again"


@pytest.mark.parametrize("words", [("--fill", "--empty"), ("--save", "a", "--load", "b")])
def test_only_one_thing_at_a_time(world: World, words: tuple[str, ...]) -> None:
    done = world.inv("images", *words)
    assert (done.returncode, done.stderr) == (1, "Use only one of --fill, --empty, --save and --load.\n")


# --- to another machine -----------------------------------------------------------------------------------------------


STORAGE = "docker/registry/v2/blobs/sha256/aa/data"


def write_files(call: Call) -> Answer | None:
    """`docker save` and `docker cp` out of a container, which write to this machine."""
    match call.words[1:]:
        case ["save", "--output", file, *images]:
            Path(file).write_text("\n".join(images))
        case ["cp", source, target] if ":/var/lib/registry/." in source:
            (Path(target) / STORAGE).parent.mkdir(parents=True)
            (Path(target) / STORAGE).write_text(source.partition(":")[0])
    return None


@pytest.fixture
def archive(world: World, registries: Registries, tmp_path: Path) -> Path:
    world.fakes.behave("docker", write_files)
    program = world.project.folder / ".tools" / "bin" / "k3d"
    program.parent.mkdir(parents=True)
    program.write_text("the program")
    file = tmp_path / "usb stick" / "images.tar"
    file.parent.mkdir()
    done = world.inv("images", "--save", str(file))
    assert done.returncode == 0, done.stderr
    assert "These are not in it" in done.stdout and "docker.io/library/nginx:1.29-alpine" in done.stdout
    return file


def test_the_file_has_the_engines_images_the_storage_of_each_registry_and_the_programs(archive: Path) -> None:
    with tarfile.open(archive) as opened:
        names = {name.removeprefix("./") for name in opened.getnames()}
        engine = opened.extractfile("./engine.tar")
        assert engine and engine.read().decode().splitlines() == [
            "docker.io/rancher/k3s:v1.36.4-k3s1", "ghcr.io/k3d-io/k3d-proxy:5.8.3", "ghcr.io/k3d-io/k3d-tools:5.8.3",
            "docker.io/library/registry:3", "docker.io/curlimages/curl:8.17.0"]
    assert {f"registries/docker.io/{STORAGE}", f"registries/quay.io/{STORAGE}", "tools/bin/k3d"} <= names
    assert [file.name for file in archive.parent.iterdir()] == ["images.tar"], "nothing else is left beside it"


def test_another_machine_gets_all_of_it_and_its_own_programs_stay(
    world: World, registries: Registries, archive: Path
) -> None:
    tools = world.project.folder / ".tools" / "bin"
    (tools / "k3d").unlink()
    (tools / "helm").write_text("its own")
    copied: dict[str, str] = {}

    def load(call: Call) -> Answer | None:
        match call.words[1:]:
            case ["load", "--input", file]:
                copied["engine"] = Path(file).read_text().splitlines()[0]
            case ["cp", source, target]:
                copied[target] = (Path(source) / STORAGE).read_text()
        return None

    world.fakes.behaviours["docker"].insert(0, load)
    world.fakes.forget()
    done = world.inv("images", "--load", str(archive))
    assert done.returncode == 0, done.stderr
    names = [f"dev-clusters-cache-{host}" for host in ("docker.io", "quay.io")]
    assert copied == {"engine": "docker.io/rancher/k3s:v1.36.4-k3s1",
                      **{f"{name}:/var/lib/registry": name for name in names}}
    assert sorted(registries.created()) == names, "they did not exist there"
    assert (tools / "k3d").read_text() == "the program" and (tools / "helm").read_text() == "its own"


@pytest.mark.parametrize("content", [b"", b"no tar", None])
def test_a_file_that_was_not_saved_by_this_is_refused_and_nothing_is_changed(
    world: World, registries: Registries, tmp_path: Path, content: bytes | None
) -> None:
    file = tmp_path / "other.tar"
    if content is None:
        with tarfile.open(file, "w") as other:
            other.add(__file__, "x")
    else:
        file.write_bytes(content)
    done = world.inv("images", "--load", str(file))
    assert done.returncode == 1 and world.changes() == []
    assert str(file) in done.stderr


def test_a_rehearsal_of_both_changes_nothing(world: World, registries: Registries, archive: Path) -> None:
    world.fakes.forget()
    registries.exist()
    before = archive.read_bytes()
    saved = world.inv("--dry", "images", "--save", str(archive))
    loaded = world.inv("--dry", "images", "--load", str(archive))
    assert (saved.returncode, loaded.returncode) == (0, 0), saved.stderr + loaded.stderr
    assert world.changes() == [] and archive.read_bytes() == before
    assert "docker save --output" in saved.stdout and "docker load --input" in loaded.stdout


def test_without_a_cache_there_is_nothing_to_save(world: World, tmp_path: Path) -> None:
    done = world.inv("images", "--save", str(tmp_path / "file"))
    assert (done.returncode, done.stderr) == (
        1, "There is no cache whose images could be saved. Create one with: inv up\n")
