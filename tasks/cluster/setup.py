"""Create clusters and configure them."""

from __future__ import annotations

from collections.abc import Iterable

from invoke import Exit

from tasks import in_cluster
from tasks.ca.root import Roots
from tasks.cluster.changed_settings import (
    require_needed_parts,
    require_published_ports,
    warn_about_changed_settings,
)
from tasks.cluster.create import ensure_running, require_complete
from tasks.core.progress import per_cluster
from tasks.core.settings import Cluster, Settings
from tasks.core.shell import Shell
from tasks.engine import k3s_arguments, kubeconfig, network
from tasks.engine.clusters import K3dCluster, list_clusters
from tasks.in_cluster import charts
from tasks.probe import pulls


def setup(shell: Shell, clusters: list[Cluster], roots: Roots, extra: list[str]) -> None:
    """Create missing clusters, start stopped ones, configure all of them; several in parallel."""
    settings = clusters[0].settings
    k3s_arguments.check_words(extra)
    charts.check_source(settings)
    ensure_network(shell, settings, list_clusters(shell).values())

    def setup_one(cluster: Cluster) -> None:
        with shell.one_at_a_time("cluster", cluster.name):
            ensure_running(shell, cluster, list_clusters(shell).get(cluster.name), extra)
            kubeconfig.merge(shell, cluster)
            with pulls.shown(shell, cluster):
                in_cluster.configure(shell, cluster, roots)

    per_cluster(clusters, setup_one, at_once=not shell.dry)


def configure(shell: Shell, cluster: Cluster, roots: Roots, reinstall: bool = False) -> None:
    """Configure a running cluster. Exit if it is not running."""
    settings = cluster.settings
    with shell.one_at_a_time("cluster", cluster.name):
        clusters = list_clusters(shell)
        require_running(shell, cluster, clusters.get(cluster.name))
        charts.check_source(settings)
        ensure_network(shell, settings, clusters.values())  # a cluster of the original Taskfile has its own network
        kubeconfig.merge(shell, cluster)
        in_cluster.configure(shell, cluster, roots, reinstall)


def require_running(shell: Shell, cluster: Cluster, found: K3dCluster | None) -> None:
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


def ensure_network(shell: Shell, settings: Settings, found: Iterable[K3dCluster]) -> None:
    """Create the shared network if it is missing, with the subnet that its clusters were created with."""
    clusters = [cluster for cluster in found if cluster.network == settings.k3d_network]
    with shell.one_at_a_time("network", settings.k3d_network):
        network.ensure(shell, settings, next((cluster.subnet for cluster in clusters), ""),
                       [container for cluster in clusters for container in cluster.containers])
