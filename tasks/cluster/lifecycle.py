"""A cluster's lifecycle after setup: stop, start, delete."""

from __future__ import annotations

from tasks import providers
from tasks.acme import order
from tasks.ca.load import load_retiring
from tasks.cluster import kubeconfig
from tasks.cluster.create import creation_marker, require_complete, start_containers
from tasks.cluster.selection import require_existing
from tasks.cluster.setup import ensure_network
from tasks.core.progress import per_cluster, say
from tasks.core.settings import Cluster
from tasks.core.shell import Shell
from tasks.core.well_known import CERT_MANAGER, KUBE_SYSTEM
from tasks.in_cluster import coredns, default_certificate, removal, traefik
from tasks.providers import other_providers


def stop(shell: Shell, cluster: Cluster) -> None:
    with shell.one_at_a_time("cluster", cluster.name), shell.step(cluster.name, "cluster") as this:
        found = require_existing(shell, cluster, providers.list_clusters(shell, cluster.settings))
        if found.state == "stopped":
            this.skip("already stopped")
            return
        providers.of(cluster).stop(shell, cluster, found)
        this.outcome = "stopped"


def start_all(shell: Shell, clusters: list[Cluster]) -> None:
    settings = clusters[0].settings
    ensure_network(shell, settings, providers.list_clusters(shell, settings).values())
    per_cluster(clusters, lambda cluster: start(shell, cluster), at_once=not shell.dry)


def start(shell: Shell, cluster: Cluster) -> None:
    """Start a stopped cluster, and verify that names resolve in it. Exit if there is no such cluster."""
    with shell.one_at_a_time("cluster", cluster.name):
        with shell.step(cluster.name, "cluster") as this:
            existing = providers.list_clusters(shell, cluster.settings)
            found = require_existing(shell, cluster, existing)
            require_complete(cluster)
            if found.running:
                this.skip("already running")
            else:
                start_containers(shell, cluster, found, existing.values())
                this.outcome = "started"
        kubeconfig.merge(shell, cluster)
        coredns.configure(shell, cluster)
        wait_for_workloads(shell, cluster)
        traefik.wait_for_pages(shell, cluster)
        if cluster.settings.acme:
            order.ensure(shell, [cluster])
            default_certificate.configure(shell, cluster)
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
    """Delete the cluster, even a partly created one, and its kubeconfig entry.

    From one that these tasks did not create, only what they installed in it is removed.
    """
    if not providers.of(cluster).MANAGES_LIFE:
        removal.remove(shell, cluster)
        return
    with shell.one_at_a_time("cluster", cluster.name):
        with shell.step(cluster.name, "cluster") as this:
            provider, marker = providers.of(cluster), creation_marker(cluster)
            if cluster.name in provider.list_clusters(shell, cluster.settings) or marker.exists():
                provider.wait_for_creation(shell, cluster)
                provider.delete(shell, cluster)
                this.outcome = "deleted"
            else:
                this.skip("does not exist")
                if other := other_providers.find(shell, cluster):
                    this.warn(other)
            if not shell.dry:
                marker.unlink(missing_ok=True)
        kubeconfig.forget(shell, cluster)
