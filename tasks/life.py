"""A cluster's life after setup: list, stop, start, restart, delete."""

from __future__ import annotations

from invoke import Context, Exit, task

from tasks import kubeconfig, network
from tasks import settings as configuration
from tasks.ca import load_retiring
from tasks.existing import Existing, existing, ours
from tasks.in_cluster import charts, coredns
from tasks.k3d import ALL_HELP, creation_marker, ensure_network, open_clusters
from tasks.names import ClusterTask, PlainTask
from tasks.ports import check_free_ports
from tasks.progress import per_cluster, say
from tasks.settings import Cluster
from tasks.shell import Shell
from tasks.table import JSON_HELP, print_json, print_table
from tasks.tools import require


@task(klass=PlainTask, help=JSON_HELP)
def k3d_cluster_list(context: Context, json: bool = False) -> None:
    """List the clusters: state, names and ports"""
    settings = configuration.load()
    shell = Shell(context, settings.environment)
    require(shell, "docker", "k3d")
    found = existing(shell)
    rows = [{"name": cluster.name, "state": found[cluster.name].state, "domain": cluster.domain,
             "http": cluster.http_port, "https": cluster.https_port, "context": cluster.context}
            for cluster in ours(settings, found)]
    if json:
        print_json(rows)
    elif rows:
        print_table([key.upper() for key in rows[0]], [[str(value) for value in row.values()] for row in rows])
    else:
        print("There is no cluster. Make one with: inv k3d-cluster-setup --n 1")


@task(klass=ClusterTask, help=ALL_HELP)
def k3d_cluster_stop(context: Context, n: str = "", all: bool = False) -> None:
    """Stop cluster N; nothing in it is lost"""
    shell, clusters = open_clusters(context, n, "docker", "k3d", every=all)
    per_cluster(clusters, lambda cluster: stop(shell, cluster), at_once=not shell.dry)


@task(klass=ClusterTask, help=ALL_HELP)
def k3d_cluster_start(context: Context, n: str = "", all: bool = False) -> None:
    """Start cluster N, and mend what a restart broke"""
    shell, clusters = open_clusters(context, n, "docker", "k3d", "kubectl", every=all)
    start_all(shell, clusters)


@task(klass=ClusterTask, help=ALL_HELP)
def k3d_cluster_restart(context: Context, n: str = "", all: bool = False) -> None:
    """Stop cluster N and start it again"""
    shell, clusters = open_clusters(context, n, "docker", "k3d", "kubectl", every=all)
    found = existing(shell)
    for cluster in clusters:
        must_exist(cluster, found)
    per_cluster(clusters, lambda cluster: stop(shell, cluster), at_once=not shell.dry)
    start_all(shell, clusters)


@task(klass=ClusterTask, help=ALL_HELP)
def k3d_cluster_delete(context: Context, n: str = "", all: bool = False) -> None:
    """Delete cluster N and what belongs to it

    Its kubeconfig entry goes too, and after the last cluster the network.
    """
    shell, clusters = open_clusters(context, n, "docker", "k3d", "kubectl", every=all)
    settings, names = clusters[0].settings, [cluster.name for cluster in clusters]
    per_cluster(clusters, lambda cluster: delete(shell, cluster), at_once=not shell.dry)
    others = [found for found in existing(shell).values() if found.name not in names]
    if not any(settings.k3d_network in found.networks for found in others):
        network.remove(shell, settings)


# --- the story --------------------------------------------------------------------------------------------------------


def stop(shell: Shell, cluster: Cluster) -> None:
    with shell.one_at_a_time(cluster.name), shell.step(cluster.name, "cluster") as this:
        found = must_exist(cluster, existing(shell))
        if found.state == "stopped":
            return this.skip("already stopped")
        shell.change("k3d", "cluster", "stop", cluster.name)
        this.outcome = "stopped"


def start_all(shell: Shell, clusters: list[Cluster]) -> None:
    ensure_network(shell, clusters[0].settings, existing(shell).values())
    per_cluster(clusters, lambda cluster: start(shell, cluster), at_once=not shell.dry)


def start(shell: Shell, cluster: Cluster) -> None:
    """Start what does not run, and prove that names resolve in it; Exit when there is no such cluster."""
    with shell.one_at_a_time(cluster.name):
        with shell.step(cluster.name, "cluster") as this:
            found = must_exist(cluster, existing(shell))
            if creation_marker(cluster).exists():
                raise Exit(f"{cluster.name} is half made: k3d cluster create was broken off. "
                           f"Make it again with: inv k3d-cluster-setup --n {cluster.number}")
            if found.running:
                this.skip("already running")
            else:
                k3d_start(shell, cluster, found)
                this.outcome = "started"
        kubeconfig.merge(shell, cluster)
        coredns.configure(shell, cluster)
        wait_for_workloads(shell, cluster)
        if load_retiring(cluster.settings):
            say(f"{cluster.name}: the root is being renewed, and this cluster may not know the new one yet. Bring it "
                f"there with: inv k3d-cluster-configure --n {cluster.number}")


def k3d_start(shell: Shell, cluster: Cluster, found: Existing) -> None:
    if found.state == "stopped":
        check_free_ports(shell, cluster, sorted(found.addresses), there=True)
    shell.change("k3d", "cluster", "start", cluster.name, "--wait", "--timeout", f"{cluster.settings.timeout_create}s")


def wait_for_workloads(shell: Shell, cluster: Cluster) -> None:
    """Wait for what names and trust rest on; their pods come back a while after the API."""
    seconds = cluster.settings.timeout_ready
    with shell.step(cluster.name, "Traefik, cert-manager and trust-manager") as this:
        for namespace in ("kube-system", charts.NAMESPACE):
            kubectl = (*cluster.kubectl, "-n", namespace)
            there = shell.look(*kubectl, "get", "deployments", "-o", "name").stdout.split()
            if there:
                shell.wait(f"Deployments in {namespace}", seconds, *kubectl, "wait", *there,
                           "--for=condition=Available", f"--timeout={seconds}s")
        this.outcome = "run"


def delete(shell: Shell, cluster: Cluster) -> None:
    """Delete the cluster, half made ones too, and forget it."""
    with shell.one_at_a_time(cluster.name):
        with shell.step(cluster.name, "cluster") as this:
            marker = creation_marker(cluster)
            if cluster.name in existing(shell) or marker.exists():
                shell.until_ended(f"k3d cluster create {cluster.name} ")
                shell.change("k3d", "cluster", "delete", cluster.name)
                this.outcome = "deleted"
            else:
                this.skip("there was none")
            if not shell.dry:
                marker.unlink(missing_ok=True)
        kubeconfig.forget(shell, cluster)


def must_exist(cluster: Cluster, found: dict[str, Existing]) -> Existing:
    if cluster.name not in found:
        raise Exit(f"There is no cluster {cluster.name}. Make it with: inv k3d-cluster-setup --n {cluster.number}")
    return found[cluster.name]
