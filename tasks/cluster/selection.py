"""The clusters that a task is for, chosen by `--n` or `--all`."""

from __future__ import annotations

from invoke import Context, Exit

from tasks.core import settings as configuration
from tasks.core.settings import Cluster, cluster_numbers
from tasks.core.shell import Shell
from tasks.engine.clusters import K3dCluster, list_clusters, own_clusters
from tasks.tools.required import require

TOOLS = ("docker", "k3d", "helm", "kubectl", "openssl")

N_HELP = {"n": "cluster number: 1, or 1,2 or 1-3 in parallel"}
ALL_HELP = {**N_HELP, "all": "all existing clusters"}


def open_clusters(context: Context, n: str, *tools: str, every: bool = False) -> tuple[Shell, list[Cluster]]:
    """Check numbers, settings and tools before anything is changed. Every cluster task starts with this.

    `every` is --all: all existing clusters.

    :raises Exit: if there is no such cluster, or a tool is missing.
    """
    settings = configuration.load()
    if every and n:
        raise Exit("Use either --n or --all, not both.")
    clusters = [] if every else [settings.cluster(number) for number in cluster_numbers(n)]
    shell = Shell(context, settings.environment)
    require(shell, *(tools or TOOLS))
    if every:
        clusters = list(own_clusters(settings, list_clusters(shell)))
        if not clusters:
            raise Exit(f"There are no clusters named {settings.cluster(0).name} to "
                       f"{settings.cluster(settings.numbers[-1]).name}. Create one with: inv k3d-cluster-setup --n 1")
    return shell, clusters


def require_existing(cluster: Cluster, found: dict[str, K3dCluster]) -> K3dCluster:
    """What k3d reports about the cluster. Exit if it does not exist."""
    if cluster.name not in found:
        raise Exit(f"There is no cluster {cluster.name}. Create it with: inv k3d-cluster-setup --n {cluster.number}")
    return found[cluster.name]
