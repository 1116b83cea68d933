"""The route of an image: from a registry on this machine and its upstream to the nodes of each cluster."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tasks import providers
from tasks.core.problems import Reason, describe, problem
from tasks.core.settings import Cluster, Settings
from tasks.core.shell import Shell
from tasks.core.table import Row
from tasks.engine.clusters import ExistingCluster, own_clusters
from tasks.registries import api, containers, contents, mirrors, names, nodes
from tasks.registries.containers import Container, Registry
from tasks.registries.names import ImageName

START_ALL = "inv k3d-cluster-start --all"


class ImageTraceReason(Reason):
    """Why an image does not come through the registries on this machine, or not at all."""

    NO_CACHE = "has no cache, so every node pulls from it; see REGISTRY_CACHES"
    NOT_IN_REGISTRY = "does not return it: {error}"
    UPSTREAM_SILENT = "does not answer the cache: {error}"
    MIRROR_MISSING = "asks {registry} itself, not the registry on this machine"


def is_image(settings: Settings, text: str) -> bool:
    """Whether this is an image with its tag or digest, and not a URL without its scheme."""
    host = text.partition("/")[0].partition(":")[0]
    if "//" in text or any(f".{host}".endswith(f".{domain}") for domain in settings.owned_domains):
        return False
    return bool(re.fullmatch(r"[\w.:-]+/[\w./-]+(:[\w.-]+|(:[\w.-]+)?@sha256:[0-9a-f]{64})", text, re.ASCII))


def trace_image(shell: Shell, settings: Settings, text: str) -> list[Row]:
    image = names.parse(text)
    registries = mirrors.list_registries(settings)
    registry = next((entry for entry in registries if entry.host == image.registry), None)
    rows = [Row("image", image.repository, "green", image.tag or "by digest")]
    if registry is None:
        why = problem(ImageTraceReason.NO_CACHE)
        return [*rows, Row("registry", image.registry, "grey", describe(why), code=why.code)]
    reference = text.partition("@")[2] or image.tag
    rows += trace_registry(shell, registry, image, reference)
    existing = providers.list_clusters(shell, settings)
    for cluster in own_clusters(settings, existing):
        if existing[cluster.name].running:
            rows += trace_nodes(shell, registry, cluster, existing[cluster.name])
    return rows


def trace_registry(shell: Shell, registry: Registry, image: ImageName, reference: str) -> Iterator[Row]:
    """The registry on this machine, and its upstream. One that hangs is the only fault that stops a pull."""
    kind = "cache" if registry.upstream else "registry"
    if why := next((why for _, why in containers.find_faults(shell, [registry])), None):
        hangs = why.reason is containers.RegistryReason.NOT_ANSWERING or "paused" in why.details.values()
        yield Row(kind, registry.name, "red" if hangs or not registry.upstream else "yellow", describe(why), START_ALL,
                  why.code)
        return
    found = containers.find(shell, registry.settings)[registry.name]
    yield trace_manifest(shell, found, kind, image, reference)
    if registry.upstream:
        error = api.find_upstream_error(found.url, image.path)
        why = problem(ImageTraceReason.UPSTREAM_SILENT, error=error)
        yield (Row("upstream", registry.upstream, "yellow", describe(why), code=why.code) if error
               else Row("upstream", registry.upstream, "green", "answers the cache"))


def trace_manifest(shell: Shell, found: Container, kind: str, image: ImageName, reference: str) -> Row:
    """What a node gets: the manifest, as far as it is stored here."""
    before = contents.read(shell, found)
    try:
        manifest = api.read_manifest(found.url, image.path, reference)
    except OSError as error:
        why = problem(ImageTraceReason.NOT_IN_REGISTRY, error=error)
        return Row(kind, found.name, "red", describe(why), code=why.code)
    if "manifests" in manifest:
        return Row(kind, found.name, "green", f"returns it, for {len(manifest['manifests'])} platforms")
    layers = [layer["digest"] for layer in manifest.get("layers", [])]
    kept = sum((image.path, digest) in before.layers for digest in layers)
    return Row(kind, found.name, "green", f"returns it; {kept} of its {len(layers)} layers are kept here")


def trace_nodes(shell: Shell, registry: Registry, cluster: Cluster, found: ExistingCluster) -> Iterator[Row]:
    """Whether each node asks the registry on this machine."""
    for node in found.workers:
        if nodes.find_missing(shell, [registry], node, providers.of(cluster).MIRRORS):
            why = problem(ImageTraceReason.MIRROR_MISSING, registry=registry.host)
            yield Row("node", node, "yellow" if registry.upstream else "red", describe(why),
                      f"inv k3d-cluster-configure --n {cluster.number}", why.code)
        else:
            yield Row("node", node, "green", f"asks {registry.alias} first")
