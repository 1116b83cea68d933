"""A cluster's lifecycle after setup: stop, start, delete."""

from __future__ import annotations

from tasks.ca.load import load_retiring
from tasks.cluster.create import creation_marker, require_complete, start_containers
from tasks.cluster.selection import require_existing
from tasks.cluster.setup import ensure_network
from tasks.core.progress import per_cluster, say
from tasks.core.settings import Cluster
from tasks.core.shell import Shell
from tasks.core.well_known import CERT_MANAGER, KUBE_SYSTEM
from tasks.engine import kubeconfig
from tasks.engine.clusters import list_clusters
from tasks.in_cluster import coredns


def stop(shell: Shell, cluster: Cluster) -> None:
    with shell.one_at_a_time("cluster", cluster.name), shell.step(cluster.name, "cluster") as this:
        found = require_existing(cluster, list_clusters(shell))
        if found.state == "stopped":
            this.skip("already stopped")
            return
        shell.change("k3d", "cluster", "stop", cluster.name)
        this.outcome = "stopped"


def start_all(shell: Shell, clusters: list[Cluster]) -> None:
    ensure_network(shell, clusters[0].settings, list_clusters(shell).values())
    per_cluster(clusters, lambda cluster: start(shell, cluster), at_once=not shell.dry)


def start(shell: Shell, cluster: Cluster) -> None:
    """Start a stopped cluster, and verify that names resolve in it. Exit if there is no such cluster."""
    with shell.one_at_a_time("cluster", cluster.name):
        with shell.step(cluster.name, "cluster") as this:
            found = require_existing(cluster, list_clusters(shell))
            require_complete(cluster)
            if found.running:
                this.skip("already running")
            else:
                start_containers(shell, cluster, found)
                this.outcome = "started"
        kubeconfig.merge(shell, cluster)
        coredns.configure(shell, cluster)
        wait_for_workloads(shell, cluster)
        if load_retiring(cluster.settings):
            say(f"{cluster.name}: the root is being renewed, and this cluster may not use the new one yet. "
                f"Update it with: inv k3d-cluster-configure --n {cluster.number}")


def wait_for_workloads(shell: Shell, cluster: Cluster) -> None:
    """Wait for the Deployments that DNS and trust depend on. Their pods start some time after the API."""
    seconds = cluster.settings.timeout_ready
    with shell.step(cluster.name, "Traefik, cert-manager and trust-manager") as this:
        for namespace in (KUBE_SYSTEM, CERT_MANAGER):
            kubectl = (*cluster.kubectl, "-n", namespace)
            deployments = shell.look(*kubectl, "get", "deployments", "-o", "name").stdout.split()
            if deployments:
                shell.wait(f"Deployments in {namespace}", seconds, *kubectl, "wait", *deployments,
                           "--for=condition=Available", f"--timeout={seconds}s")
        this.outcome = "available"


def delete(shell: Shell, cluster: Cluster) -> None:
    """Delete the cluster, even a partly created one, and its kubeconfig entry."""
    with shell.one_at_a_time("cluster", cluster.name):
        with shell.step(cluster.name, "cluster") as this:
            marker = creation_marker(cluster)
            if cluster.name in list_clusters(shell) or marker.exists():
                shell.until_ended(f"k3d cluster create {cluster.name} ")
                shell.change("k3d", "cluster", "delete", cluster.name)
                this.outcome = "deleted"
            else:
                this.skip("does not exist")
            if not shell.dry:
                marker.unlink(missing_ok=True)
        kubeconfig.forget(shell, cluster)
