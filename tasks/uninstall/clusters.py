"""The clusters of this copy, and what they share: front door, registries, kubeconfig entries and network."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial

from invoke import Exit

from tasks import front_door, providers, registries
from tasks.cluster import lifecycle
from tasks.core.by_number import PROGRAMS
from tasks.core.settings import Cluster, Settings
from tasks.core.shell import Shell
from tasks.engine import network
from tasks.engine.clusters import ExistingCluster
from tasks.front_door import container
from tasks.providers import context, other_providers
from tasks.registries import containers
from tasks.uninstall.removal import Removal, do_nothing


def find_clusters(shell: Shell, settings: Settings) -> Iterator[Removal]:
    """The front door, the clusters with the prefix of these settings, their kubeconfig entries, and the network."""
    yield from find_in_contexts(shell, settings)
    if not shell.find("docker"):
        return
    yield from find_front_door(shell, settings)
    if missing := [tool for tool in providers.needed_tools(settings) if not shell.find(tool)]:
        for name in find_names_by_label(shell, settings):
            yield Removal(f"cluster {name}", do_nothing,
                          f"{' and '.join(missing)} is needed to delete it, and not installed: inv tools --install")
        return
    try:
        existing = providers.list_clusters(shell, settings)
    except Exit as error:
        yield Removal("clusters", do_nothing, f"cannot be listed ({error.message})")
        return
    ours = {name for name in (*existing, *list_contexts(shell, settings))
            if is_ours(settings, name) and providers.of(Cluster(settings, number_of(settings, name))).MANAGES_LIFE}
    kept = set()
    for number in sorted(number_of(settings, name) for name in ours):
        cluster = Cluster(settings, number)
        if cluster.name in existing and has_other_ports(settings, number, existing[cluster.name]):
            yield Removal(f"cluster {cluster.name}", do_nothing,
                          f"its ports differ from these settings, so another copy may have created it. If it is "
                          f"yours: inv k3d-cluster-delete --n {number}", foreign=True)
            kept.add(cluster.name)
            continue
        what = f"cluster {cluster.name}" if cluster.name in existing else f"kubeconfig entry {cluster.context}"
        yield Removal(what, partial(lifecycle.delete, cluster=cluster))
    for sentence in other_providers.find_all(shell, settings):
        yield Removal("cluster", do_nothing, sentence)
    others = [found for name, found in existing.items() if not is_ours(settings, name) or name in kept]
    is_last = not any(settings.k3d_network in found.networks for found in others)
    yield from find_registries(shell, settings, is_last)
    if network.is_managed(shell, settings) and is_last:
        yield Removal(f"Docker network {settings.k3d_network}", partial(network.remove, settings=settings))


def find_in_contexts(shell: Shell, settings: Settings) -> Iterator[Removal]:
    """The clusters that are reached by a context, whatever is in them. No engine is needed for them."""
    contexts = [name for name in settings.providers if name not in PROGRAMS]
    if contexts and not shell.find("kubectl"):
        yield Removal(f"what these tasks installed in {' and '.join(contexts)}", do_nothing,
                      "kubectl is needed to remove it, and not installed: inv tools --install")
        return
    for name, found in context.list_clusters(shell, settings).items():
        cluster = Cluster(settings, number_of(settings, name))
        what = f"what these tasks installed in {cluster.context}; the cluster stays"
        if found.running:
            yield Removal(what, partial(lifecycle.delete, cluster=cluster))
        else:
            yield Removal(what, do_nothing, f"{cluster.context} does not answer")


def find_registries(shell: Shell, settings: Settings, is_last: bool) -> Iterator[Removal]:
    """The registries, and what they keep unless other clusters or copies on this network use it."""
    existing, volumes = [*containers.find(shell, settings)], containers.find_volumes(shell, settings)
    names, others = ", ".join(sorted({*existing, *volumes})), registries.list_others(settings)
    if not names:
        return
    if is_last and not others:
        yield Removal(f"registries, with their images: {names}", partial(registries.delete, settings=settings))
        return
    users = ", ".join(f"the copy in {copy}" for copy in others) or f"other clusters on {settings.k3d_network}"
    yield Removal(f"images of the registries {names}", do_nothing, f"still used by {users}", foreign=True)
    if is_last and existing:
        yield Removal(f"containers of the registries {names}", partial(registries.leave_network, settings=settings))
    if registries.is_user(settings):
        yield Removal(f"this copy's use of the registries on {settings.k3d_network}",
                      partial(registries.remove_user, settings=settings))


def find_front_door(shell: Shell, settings: Settings) -> Iterator[Removal]:
    found = container.find(shell, settings)
    if found and found.of_this_copy:
        yield Removal(f"front door {found.name}", partial(front_door.remove, settings=settings))
    elif found and found.by_these_tasks:
        yield Removal(f"front door {found.name}, created by the copy in {found.copy}", do_nothing, foreign=True)


def find_names_by_label(shell: Shell, settings: Settings) -> list[str]:
    """The clusters with our names, by the containers of their nodes."""
    names = [name for provider in PROGRAMS if provider in settings.providers
             for name in other_providers.list_names(shell, provider)]
    return sorted({name for name in names if is_ours(settings, name)})


def has_other_ports(settings: Settings, number: int, found: ExistingCluster) -> bool:
    """Whether a cluster with one of our names has other ports. Perhaps a copy with the same prefix created it."""
    published = {*found.ports.get("80/tcp", ()), *found.ports.get("443/tcp", ())}
    return bool(published) and not published & {str(settings.port(number, scheme)) for scheme in ("http", "https")}


def is_ours(settings: Settings, name: str) -> bool:
    return re.fullmatch(rf"{re.escape(settings.k3d_cluster_name_prefix)}(0|[1-9]\d*)", name) is not None


def number_of(settings: Settings, name: str) -> int:
    return int(name.removeprefix(settings.k3d_cluster_name_prefix))


def list_contexts(shell: Shell, settings: Settings) -> list[str]:
    """The clusters with an entry in a kubeconfig of these settings."""
    folder = settings.k3d_kubeconfig_target_dir
    files = sorted(folder.iterdir()) if folder and folder.is_dir() else [settings.kubeconfig_file]
    contexts = [name for file in files if file.is_file() for name in shell.look(
        "kubectl", "--kubeconfig", str(file), "config", "get-contexts", "-o", "name").stdout.split()]
    names = [name for entry in contexts if is_ours(settings, name := entry.partition("-")[2])]
    return [name for name in names if Cluster(settings, number_of(settings, name)).context in contexts]
