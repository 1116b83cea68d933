"""The tasks of a cluster's life."""

from __future__ import annotations

from invoke import Context, Exit, task

from tasks.ca.root import load_roots
from tasks.cluster import selection
from tasks.cluster.adopt import candidates, named, reach_others, take_over, tell_what_is_next
from tasks.cluster.examples import prove
from tasks.cluster.lifecycle import delete, start_all, stop
from tasks.cluster.selection import ALL_HELP, N_HELP, open_clusters, require_existing
from tasks.cluster.setup import configure, setup
from tasks.core import settings as configuration
from tasks.core.browser_ports import describe_blocked
from tasks.core.invoke_patches import ClusterTask, PlainTask
from tasks.core.progress import per_cluster, say
from tasks.core.shell import Shell, words_after_dashes
from tasks.core.table import JSON_HELP, print_json, print_table
from tasks.engine import network
from tasks.engine.clusters import list_clusters, own_clusters
from tasks.rotation import overlap
from tasks.tools.required import require


@task(klass=ClusterTask, help={"n": "cluster number: 1, or 1,2 or 1-3; else all that the original Taskfile made"})
def adopt(context: Context, n: str = "") -> None:
    """Take over clusters made by the original Taskfile

    With the same names, ports and URLs. They are started, configured, and reach the others. The root's key stays where
    it is, and is taken out of the clusters. A cluster that is not the original's is taken over when --n names it.
    """
    settings = configuration.load()
    shell = Shell(context, settings.environment)
    require(shell, *selection.TOOLS)
    roots = load_roots(settings)
    clusters = named(shell, settings, n) if n else candidates(shell, settings)
    adopted = [cluster for cluster in clusters if take_over(shell, cluster, roots, by_name=bool(n))]
    if not adopted:
        raise Exit("No cluster was taken over: none of these is one of the original Taskfile. --n takes one all the "
                   "same.")
    for cluster in adopted:
        reach_others(shell, cluster)
    tell_what_is_next(shell, adopted)


@task(klass=ClusterTask, help=selection.N_HELP)
def k3d_cluster_examples(context: Context, n: str = "") -> None:
    """Install the examples in cluster N and test them"""
    shell, clusters = selection.open_clusters(context, n, "k3d", "kubectl")
    prove(shell, clusters)
    for line in describe_blocked(clusters):
        say(line)


@task(klass=ClusterTask, help=N_HELP)
def k3d_cluster_setup(context: Context, n: str = "") -> None:
    """Create and configure cluster N: 1, 1,2 or 1-3

    Also called as k3d-cluster-setup-1.
    Words after -- go to `k3d cluster create`, last, so that they win: inv k3d-cluster-setup --n 1 -- --agents 1
    A cluster that exists is started if it was stopped, and configured again.
    """
    shell, clusters = open_clusters(context, n)
    roots = load_roots(clusters[0].settings)
    setup(shell, clusters, roots, words_after_dashes())
    overlap.finish(shell, clusters[0].settings)


@task(klass=ClusterTask, help={**ALL_HELP, "reinstall": "have Helm install its charts again, over what is there"})
def k3d_cluster_configure(context: Context, n: str = "", all: bool = False, reinstall: bool = False) -> None:
    """Configure a running cluster N again"""
    shell, clusters = open_clusters(context, n, every=all)
    roots = load_roots(clusters[0].settings)
    per_cluster(clusters, lambda cluster: configure(shell, cluster, roots, reinstall), at_once=not shell.dry)
    overlap.finish(shell, clusters[0].settings)


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
        print("There is no cluster. Make one with: inv k3d-cluster-setup --n 1")


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


@task(klass=ClusterTask, help=ALL_HELP)
def k3d_cluster_restart(context: Context, n: str = "", all: bool = False) -> None:
    """Restart cluster N"""
    shell, clusters = open_clusters(context, n, "docker", "k3d", "kubectl", every=all)
    found = list_clusters(shell)
    for cluster in clusters:
        require_existing(cluster, found)
    per_cluster(clusters, lambda cluster: stop(shell, cluster), at_once=not shell.dry)
    start_all(shell, clusters)


@task(klass=ClusterTask, help=ALL_HELP)
def k3d_cluster_delete(context: Context, n: str = "", all: bool = False) -> None:
    """Delete cluster N and everything that belongs to it

    Its kubeconfig entry goes too, and after the last cluster the network.
    """
    shell, clusters = open_clusters(context, n, "docker", "k3d", "kubectl", every=all)
    settings, names = clusters[0].settings, [cluster.name for cluster in clusters]
    per_cluster(clusters, lambda cluster: delete(shell, cluster), at_once=not shell.dry)
    others = [found for found in list_clusters(shell).values() if found.name not in names]
    if not any(settings.k3d_network in found.networks for found in others):
        network.remove(shell, settings)
