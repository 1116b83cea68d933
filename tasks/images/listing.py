"""The images in the nodes and of the engine, and what the caches keep."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

from tasks import providers
from tasks.core import setting_types
from tasks.core.progress import say
from tasks.core.settings import READERS, Cluster, Settings
from tasks.core.shell import Shell
from tasks.core.table import SIGNS, Cell, print_table
from tasks.engine.clusters import own_clusters
from tasks.in_cluster import charts
from tasks.probe.objects import list_objects
from tasks.registries import containers, contents, mirrors, names
from tasks.registries.containers import Registry

CHART_IMAGES = {"cert-manager": ("cert-manager-controller", "cert-manager-webhook", "cert-manager-cainjector"),
                "trust-manager": ("trust-manager",)}


@dataclass
class Image:
    """An image and where it is. `state`: green if a cache or the local registry keeps it, yellow if it is outdated."""

    repository: str
    version: str
    bytes: int
    clusters: list[str] = field(default_factory=list)
    state: str = "grey"
    note: str = ""


@dataclass(frozen=True)
class Kept:
    """What a registry on this machine keeps. `fetched`: bytes from its upstream since it was started."""

    registry: str
    upstream: str
    state: str
    images: int
    bytes: int
    fetched: int


@dataclass(frozen=True)
class Listing:
    images: list[Image]
    registries: list[Kept]


def inspect(shell: Shell, settings: Settings) -> Listing:
    existing = providers.list_clusters(shell, settings)
    running = [cluster for cluster in own_clusters(settings, existing) if existing[cluster.name].running]
    found, kept = shell.side_by_side([
        partial(list_images, shell, running), partial(list_kept, shell, mirrors.list_registries(settings))])
    pins = list_pins(settings)
    for image in found:
        pinned = pins.get(image.repository)
        if pinned and image.version not in pinned.values():
            image.state = "yellow"
            image.note = "; ".join(f"{key}: {version}" for key, version in pinned.items())
        elif (image.repository, image.version) in kept.images:
            image.state = "green"
    return Listing(found, kept.registries)


def list_images(shell: Shell, clusters: list[Cluster]) -> list[Image]:
    """What the nodes report. The kubelet lists the 50 largest: https://kubernetes.io/docs/reference/node/node-status/"""
    images: dict[tuple[str, str], Image] = {}
    nodes_of = shell.side_by_side([partial(list_objects, shell, cluster, "nodes") for cluster in clusters])
    for cluster, nodes in zip(clusters, nodes_of, strict=True):
        for entry in (entry for node in nodes for entry in node["status"].get("images", [])):
            for name in map(names.parse, entry.get("names", [])):
                if name.tag:
                    image = images.setdefault((name.repository, name.tag), Image(
                        name.repository, name.tag, entry.get("sizeBytes", 0)))
                    image.clusters = [*dict.fromkeys([*image.clusters, cluster.name])]
    return [images[key] for key in sorted(images)]


def list_pins(settings: Settings) -> dict[str, dict[str, str]]:
    """The versions that the settings name, by the repository of the image and the setting."""
    pins: dict[str, dict[str, str]] = {}
    for key, reader in READERS.items():
        if reader is setting_types.image:
            name = names.parse(getattr(settings, key.lower()))
            pins.setdefault(name.repository, {})[key] = name.tag
    for chart, images in CHART_IMAGES.items():
        for image in images:
            pins[f"quay.io/jetstack/{image}"] = {charts.version_key(chart): charts.chart_version(settings, chart)}
    return pins


# --- what is kept -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class AllKept:
    registries: list[Kept]
    images: set[tuple[str, str]]
    """Repository and tag."""


def list_kept(shell: Shell, registries: list[Registry]) -> AllKept:
    if not registries:
        return AllKept([], set())
    existing = containers.find(shell, registries[0].settings)
    found = [registry for registry in registries if registry.name in existing]
    in_each = shell.side_by_side([partial(contents.read, shell, existing[registry.name]) for registry in found])
    kept = [Kept(registry.host, registry.upstream, existing[registry.name].state, len(inside.tags), inside.bytes,
                 contents.read_fetched(existing[registry.name]) if registry.upstream else 0)
            for registry, inside in zip(found, in_each, strict=True)]
    images = {(f"{registry.host}/{path}", tag) for registry, inside in zip(found, in_each, strict=True)
              for path, tag in inside.tags}
    return AllKept(kept, images)


# --- the screen -------------------------------------------------------------------------------------------------------


def show(found: Listing) -> None:
    if found.images:
        print_table(["", "image", "version", "size", "clusters", ""], [
            [Cell(SIGNS[image.state], image.state), image.repository, image.version, contents.format_size(image.bytes),
             ", ".join(image.clusters), Cell(image.note, image.state)] for image in found.images])
        say("".join(legend(found.images)))
    else:
        say("No cluster is running, so no image is in use.\n")
    if found.registries:
        print_table(["registry", "cache of", "", "images", "size", "fetched since its start"], [
            [kept.registry, kept.upstream, kept.state, str(kept.images), contents.format_size(kept.bytes),
             contents.format_size(kept.fetched) if kept.upstream else ""] for kept in found.registries])


def legend(images: list[Image]) -> Iterator[str]:
    states = {image.state for image in images}
    if "green" in states:
        yield f"{SIGNS['green']} kept by a registry on this machine. "
    if "grey" in states:
        yield f"{SIGNS['grey']} only in the clusters. "
    if "yellow" in states:
        yield f"{SIGNS['yellow']} another version than the setting on the right names. "
    yield "\n"
