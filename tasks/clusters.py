"""The tasks for a cluster's lifecycle."""

from __future__ import annotations

from invoke import Context, Exit, task

from tasks.ca.load import load_roots
from tasks.cluster import selection
from tasks.cluster.adopt import (
    adopt_cluster,
    clusters_by_number,
    ensure_route_to_others,
    find_original_clusters,
    print_next_steps,
)
from tasks.cluster.examples import install_and_check
from tasks.cluster.lifecycle import delete, start_all, stop
from tasks.cluster.selection import ALL_HELP, N_HELP, open_clusters, require_existing
from tasks.cluster.setup import configure, setup
from tasks.core import settings as configuration
from tasks.core.browser_ports import describe_blocked
from tasks.core.invoke_patches import ClusterTask, PlainTask
from tasks.core.progress import per_cluster, say
from tasks.core.shell import Shell, words_after_dashes
from tasks.core.table import JSON_HELP, print_json, print_table
from tasks.dns.follow import update_names
from tasks.engine import network
from tasks.engine.clusters import list_clusters, own_clusters
from tasks.rotation import overlap
from tasks.tools.required import require


@task(klass=ClusterTask, help={"n": "cluster number: 1, or 1,2 or 1-3; default: all clusters of the original"})
def adopt(context: Context, n: str = "") -> None:
    """Take over clusters made by the original Taskfile

    Names, ports and URLs stay the same. The clusters are started, configured, and connected to the others. The root's
    key is removed from them and stays on this machine. --n also adopts a cluster that is not the original's.
    """
    settings = configuration.load()
    shell = Shell(context, settings.environment)
    require(shell, *selection.TOOLS)
    roots = load_roots(settings)
    clusters = clusters_by_number(shell, settings, n) if n else find_original_clusters(shell, settings)
    adopted = [cluster for cluster in clusters if adopt_cluster(shell, cluster, roots, by_number=bool(n))]
    if not adopted:
        raise Exit("No cluster was adopted: the original Taskfile created none of these. To adopt one anyway, name it "
                   "with --n.")
    for cluster in adopted:
        ensure_route_to_others(shell, cluster)
    update_names(shell, settings)
    print_next_steps(shell, adopted)


@task(klass=ClusterTask, help=selection.N_HELP)
def k3d_cluster_examples(context: Context, n: str = "") -> None:
    """Install the examples in cluster N and test them"""
    shell, clusters = selection.open_clusters(context, n, "k3d", "kubectl")
    install_and_check(shell, clusters)
    update_names(shell, clusters[0].settings)
    for line in describe_blocked(clusters):
        say(line)


@task(klass=ClusterTask, help=N_HELP)
def k3d_cluster_setup(context: Context, n: str = "") -> None:
    """Create and configure cluster N: 1, 1,2 or 1-3

    Also called as k3d-cluster-setup-1.
    Arguments after -- are appended to `k3d cluster create`, so they win: inv k3d-cluster-setup --n 1 -- --agents 1
    An existing cluster is started if it is stopped, and configured again.
    """
    shell, clusters = open_clusters(context, n)
    roots = load_roots(clusters[0].settings)
    setup(shell, clusters, roots, words_after_dashes())
    overlap.finish(shell, clusters[0].settings)
    update_names(shell, clusters[0].settings)


@task(klass=ClusterTask, help={**ALL_HELP, "reinstall": "let Helm install its charts again over the existing objects"})
def k3d_cluster_configure(context: Context, n: str = "", all: bool = False, reinstall: bool = False) -> None:
    """Configure a running cluster N again"""
    shell, clusters = open_clusters(context, n, every=all)
    roots = load_roots(clusters[0].settings)
    per_cluster(clusters, lambda cluster: configure(shell, cluster, roots, reinstall), at_once=not shell.dry)
    overlap.finish(shell, clusters[0].settings)
    update_names(shell, clusters[0].settings)


@task(klass=PlainTask, help=JSON_HELP)
def k3d_cluster_list(context: Context, json: bool = False) -> None:
    """List the clusters with their state, names and ports"""
    settings = configuration.load()
    shell = Shell(context, settings.environment)
    require(shell, "docker", "k3d")
    found = list_clusters(shell)
    clusters = own_clusters(settings, found)
    rows = [{"name": cluster.name, "state": found[cluster.name].state, "domain": cluster.domain,
             "http": cluster.http_port, "https": cluster.https_port, "context": cluster.context}
            for cluster in clusters]
    if json:
        print_json(rows)
    elif rows:
        print_table([key.upper() for key in rows[0]], [[str(value) for value in row.values()] for row in rows])
        for line in describe_blocked(clusters):
            say(line)
    else:
        print("There are no clusters. Create one with: inv k3d-cluster-setup --n 1")


@task(klass=ClusterTask, help=ALL_HELP)
def k3d_cluster_stop(context: Context, n: str = "", all: bool = False) -> None:
    """Stop cluster N; nothing in it is lost"""
    shell, clusters = open_clusters(context, n, "docker", "k3d", every=all)
    per_cluster(clusters, lambda cluster: stop(shell, cluster), at_once=not shell.dry)


@task(klass=ClusterTask, help=ALL_HELP)
def k3d_cluster_start(context: Context, n: str = "", all: bool = False) -> None:
    """Start cluster N and repair what a restart breaks"""
    shell, clusters = open_clusters(context, n, "docker", "k3d", "kubectl", every=all)
    start_all(shell, clusters)
    update_names(shell, clusters[0].settings)


@task(klass=ClusterTask, help=ALL_HELP)
def k3d_cluster_restart(context: Context, n: str = "", all: bool = False) -> None:
    """Restart cluster N"""
    shell, clusters = open_clusters(context, n, "docker", "k3d", "kubectl", every=all)
    found = list_clusters(shell)
    for cluster in clusters:
        require_existing(cluster, found)
    per_cluster(clusters, lambda cluster: stop(shell, cluster), at_once=not shell.dry)
    start_all(shell, clusters)
    update_names(shell, clusters[0].settings)


@task(klass=ClusterTask, help=ALL_HELP)
def k3d_cluster_delete(context: Context, n: str = "", all: bool = False) -> None:
    """Delete cluster N and everything that belongs to it

    Its kubeconfig entry is removed too, and after the last cluster the network.
    """
    shell, clusters = open_clusters(context, n, "docker", "k3d", "kubectl", every=all)
    settings, names = clusters[0].settings, [cluster.name for cluster in clusters]
    per_cluster(clusters, lambda cluster: delete(shell, cluster), at_once=not shell.dry)
    others = [found for found in list_clusters(shell).values() if found.name not in names]
    if not any(settings.k3d_network in found.networks for found in others):
        network.remove(shell, settings)
    update_names(shell, settings)
