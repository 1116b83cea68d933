"""A cluster's life after setup: list, stop, start, restart, delete."""

from __future__ import annotations

from invoke import Exit

from tasks.ca.root import load_retiring
from tasks.cluster.create import creation_marker
from tasks.cluster.selection import require_existing
from tasks.cluster.setup import ensure_network
from tasks.core.progress import per_cluster, say
from tasks.core.settings import Cluster
from tasks.core.shell import Shell
from tasks.core.well_known import CERT_MANAGER
from tasks.engine import kubeconfig
from tasks.engine.clusters import K3dCluster, list_clusters
from tasks.engine.ports import check_free_ports
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
    """Start what does not run, and prove that names resolve in it; Exit when there is no such cluster."""
    with shell.one_at_a_time("cluster", cluster.name):
        with shell.step(cluster.name, "cluster") as this:
            found = require_existing(cluster, list_clusters(shell))
            if creation_marker(cluster).exists():
                raise Exit(f"{cluster.name} is half made: k3d cluster create was broken off. "
                           f"Make it again with: inv k3d-cluster-setup --n {cluster.number}")
            if found.running:
                this.skip("already running")
            else:
                start_containers(shell, cluster, found)
                this.outcome = "started"
        kubeconfig.merge(shell, cluster)
        coredns.configure(shell, cluster)
        wait_for_workloads(shell, cluster)
        if load_retiring(cluster.settings):
            say(f"{cluster.name}: the root is being renewed, and this cluster may not know the new one yet. Bring it "
                f"there with: inv k3d-cluster-configure --n {cluster.number}")


def start_containers(shell: Shell, cluster: Cluster, found: K3dCluster) -> None:
    if found.state == "stopped":
        check_free_ports(shell, cluster, sorted(found.addresses), there=True)
    shell.change("k3d", "cluster", "start", cluster.name, "--wait", "--timeout", f"{cluster.settings.timeout_create}s")


def wait_for_workloads(shell: Shell, cluster: Cluster) -> None:
    """Wait for what names and trust rest on; their pods come back a while after the API."""
    seconds = cluster.settings.timeout_ready
    with shell.step(cluster.name, "Traefik, cert-manager and trust-manager") as this:
        for namespace in ("kube-system", CERT_MANAGER):
            kubectl = (*cluster.kubectl, "-n", namespace)
            there = shell.look(*kubectl, "get", "deployments", "-o", "name").stdout.split()
            if there:
                shell.wait(f"Deployments in {namespace}", seconds, *kubectl, "wait", *there,
                           "--for=condition=Available", f"--timeout={seconds}s")
        this.outcome = "run"


def delete(shell: Shell, cluster: Cluster) -> None:
    """Delete the cluster, half made ones too, and forget it."""
    with shell.one_at_a_time("cluster", cluster.name):
        with shell.step(cluster.name, "cluster") as this:
            marker = creation_marker(cluster)
            if cluster.name in list_clusters(shell) or marker.exists():
                shell.until_ended(f"k3d cluster create {cluster.name} ")
                shell.change("k3d", "cluster", "delete", cluster.name)
                this.outcome = "deleted"
            else:
                this.skip("there was none")
            if not shell.dry:
                marker.unlink(missing_ok=True)
        kubeconfig.forget(shell, cluster)
