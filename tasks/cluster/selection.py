"""Which clusters a task is for."""

from __future__ import annotations

from invoke import Context, Exit

from tasks.core import settings as configuration
from tasks.core.settings import Cluster, cluster_numbers
from tasks.core.shell import Shell
from tasks.engine.clusters import K3dCluster, list_clusters, own_clusters
from tasks.tools.required import require

TOOLS = ("docker", "k3d", "helm", "kubectl", "openssl")

N_HELP = {"n": "cluster number: 1, or 1,2 or 1-3 side by side"}
ALL_HELP = {**N_HELP, "all": "every cluster that exists"}


def open_clusters(context: Context, n: str, *tools: str, every: bool = False) -> tuple[Shell, list[Cluster]]:
    """How every cluster task begins: numbers, settings and tools, checked before anything is done.

    `every` is --all: the clusters that exist.

    :raises Exit: when there is no such cluster, or a tool is missing.
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
            raise Exit(f"There is no cluster named {settings.k3d_cluster_name_prefix}0 to "
                       f"{settings.k3d_cluster_name_prefix}{settings.numbers[-1]}. "
                       "Create one with: inv k3d-cluster-setup --n 1")
    return shell, clusters


def require_existing(cluster: Cluster, found: dict[str, K3dCluster]) -> K3dCluster:
    if cluster.name not in found:
        raise Exit(f"There is no cluster {cluster.name}. Create it with: inv k3d-cluster-setup --n {cluster.number}")
    return found[cluster.name]
