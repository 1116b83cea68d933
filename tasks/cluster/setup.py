"""Create clusters and configure them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from invoke import Exit

from tasks import in_cluster, providers, registries
from tasks.acme import order
from tasks.ca.root import Roots
from tasks.cluster import kubeconfig
from tasks.cluster.changed_settings import (
    require_needed_parts,
    require_published_ports,
    warn_about_changed_settings,
)
from tasks.cluster.create import ensure_running, require_complete
from tasks.core.problems import describe
from tasks.core.progress import per_cluster, say
from tasks.core.settings import Cluster, Settings
from tasks.core.shell import Shell
from tasks.engine import inotify, network
from tasks.engine.clusters import ExistingCluster
from tasks.in_cluster import charts
from tasks.probe import pulls
from tasks.registries import nodes


def setup(shell: Shell, clusters: list[Cluster], roots: Roots, extra: list[str]) -> None:
    """Create missing clusters, start stopped ones, configure all of them; several in parallel."""
    settings = clusters[0].settings
    providers.check_words(clusters, extra)
    charts.check_source(settings)
    order.ensure(shell, clusters)
    existing = providers.list_clusters(shell, settings)
    ensure_network(shell, settings, existing.values())
    warn_about_inotify_limit(shell, clusters, existing)

    def setup_one(cluster: Cluster) -> None:
        with shell.one_at_a_time("cluster", cluster.name):
            ensure_running(shell, cluster, providers.list_clusters(shell, settings), extra)
            kubeconfig.merge(shell, cluster)
            configure_nodes(shell, cluster)
            with pulls.shown(shell, cluster):
                in_cluster.configure(shell, cluster, roots)

    per_cluster(clusters, setup_one, at_once=not shell.dry)


def keep_for_offline(shell: Shell, settings: Settings) -> None:
    """Keep the images and charts that were needed so far, unless the caches are off. A failure is only reported."""
    if not settings.registry_caches:
        return
    for step in (registries.complete, charts.keep):
        try:
            step(shell, settings)
        except Exit as error:
            say(str(error.message))


def warn_about_inotify_limit(shell: Shell, clusters: list[Cluster], existing: Mapping[str, ExistingCluster]) -> None:
    """Say it before a cluster is created or started that would only time out."""
    more = [cluster for cluster in clusters if cluster.name not in existing or not existing[cluster.name].running]
    running = [found for found in existing.values() if found.running]
    instances = (sum(providers.of(cluster).INOTIFY_INSTANCES for cluster in more)
                 + sum(providers.by_name(found.provider).INOTIFY_INSTANCES for found in running))
    total = len(more) + len(running)
    if more and (short := inotify.find_shortage(shell, more[0].settings, instances, f"{total} running clusters")):
        with shell.step("", "inotify instances") as this:
            this.warn(f"{describe(short)}. Nodes fail without them. To raise the limit:\n    {inotify.HOW_TO_RAISE}")


def configure(shell: Shell, cluster: Cluster, roots: Roots, reinstall: bool = False) -> None:
    """Configure a running cluster. Exit if it is not running."""
    settings = cluster.settings
    with shell.one_at_a_time("cluster", cluster.name):
        clusters = providers.list_clusters(shell, settings)
        require_running(shell, cluster, clusters.get(cluster.name))
        charts.check_source(settings)
        order.ensure(shell, [cluster])
        ensure_network(shell, settings, clusters.values())  # a cluster of the original Taskfile has its own network
        kubeconfig.merge(shell, cluster)
        configure_nodes(shell, cluster)
        in_cluster.configure(shell, cluster, roots, reinstall)


def configure_nodes(shell: Shell, cluster: Cluster) -> None:
    """Let its nodes use the registries on this machine, also if they were created before those."""
    found = providers.list_clusters(shell, cluster.settings).get(cluster.name)
    if found and found.workers:
        nodes.configure(shell, cluster.settings, cluster.name, found.workers, providers.of(cluster).MIRRORS)


def require_running(shell: Shell, cluster: Cluster, found: ExistingCluster | None) -> None:
    state = ""
    if not shell.dry and (found is None or not found.running):
        state = "does not exist" if found is None else f"is {found.state}"
    if state:
        raise Exit(f"{cluster.name} {state}. Bring it up with: inv k3d-cluster-setup --n {cluster.number}")
    require_complete(cluster)
    if found:
        require_published_ports(cluster, found)
        require_needed_parts(cluster, found)
        warn_about_changed_settings(shell, cluster, found)


def ensure_network(shell: Shell, settings: Settings, found: Iterable[ExistingCluster]) -> None:
    """Create the shared network if it is missing, with the subnet that its clusters were created with.

    And the registries on it.
    """
    if not any(provider.MANAGES_LIFE for provider in providers.chosen(settings)):
        return
    clusters = [cluster for cluster in found if cluster.network == settings.k3d_network]
    with shell.one_at_a_time("network", settings.k3d_network):
        network.ensure(shell, settings, next((cluster.subnet for cluster in clusters if cluster.subnet), ""),
                       [container for cluster in clusters for container in cluster.containers])
    registries.ensure(shell, settings)
