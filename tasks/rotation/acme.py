"""Renewing the certificates of an ACME server, for every cluster of these settings."""

from __future__ import annotations

from invoke import Exit

from tasks import providers
from tasks.acme import order
from tasks.acme.certificate import find_usable
from tasks.core.progress import per_cluster, say
from tasks.core.settings import Cluster, Settings
from tasks.core.shell import Shell
from tasks.engine.clusters import own_clusters
from tasks.in_cluster import default_certificate


def renew(shell: Shell, settings: Settings) -> None:
    """Renew what is due, and give it to the clusters that are running; the others get it when they start."""
    found = providers.list_clusters(shell, settings)
    clusters = own_clusters(settings, found)
    if not clusters:
        say("There is no cluster, so no certificate is needed. Setup orders it: inv k3d-cluster-setup --n 1")
    failures = []
    for cluster in clusters:  # one that is refused must not keep the others from being renewed
        try:
            order.ensure(shell, [cluster])
        except Exit as error:
            failures.append(str(error.message))
    running = [cluster for cluster in clusters if found[cluster.name].running and find_usable(cluster)]
    if running:
        per_cluster(running, lambda cluster: configure(shell, cluster), at_once=not shell.dry)
    if failures:
        raise Exit("\n\n".join(failures))


def configure(shell: Shell, cluster: Cluster) -> None:
    with shell.one_at_a_time("cluster", cluster.name):
        default_certificate.configure(shell, cluster)
