"""Create a cluster, or start an existing one."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path

from invoke import Exit

from tasks import providers
from tasks.cluster.changed_settings import (
    require_needed_parts,
    require_published_ports,
    warn_about_changed_settings,
)
from tasks.core.browser_ports import find_blocked_https
from tasks.core.problems import ProblemExit
from tasks.core.settings import Cluster
from tasks.core.shell import Shell
from tasks.core.work_files import work_folder, write_file
from tasks.engine import images, loopback_proxy, network
from tasks.engine.clusters import ExistingCluster
from tasks.engine.ports import check_free_ports
from tasks.in_cluster import pod_trust
from tasks.probe import admission
from tasks.providers import other_providers


def ensure_running(shell: Shell, cluster: Cluster, existing: Mapping[str, ExistingCluster], extra: list[str]) -> None:
    """Create the cluster if it does not exist, start it if it is stopped. `existing`: those that exist, by name."""
    provider, found = providers.of(cluster), existing.get(cluster.name)
    with shell.step(cluster.name, "cluster") as this:
        marker, addition = creation_marker(cluster), ""
        if marker.exists():
            provider.wait_for_creation(shell, cluster)
            if marker.exists():
                provider.delete(shell, cluster)
                addition, found = ", after deleting a partly created one", None
            else:  # it has succeeded in the meantime
                found = provider.list_clusters(shell, cluster.settings).get(cluster.name)
        if found:
            require_published_ports(cluster, found)
            require_needed_parts(cluster, found)
            warn_about_changed_settings(shell, cluster, found)
        if found is None:
            if other := other_providers.find(shell, cluster):
                raise Exit(other)
            create(shell, cluster, existing.values(), extra)
            this.outcome = f"created{addition}{cluster.settings.from_environment(provider.IMAGE_KEY)}"
        elif not found.running:
            start_containers(shell, cluster, found, existing.values())
            this.outcome = "started"
        else:
            this.skip("already running")
        if found and extra:
            this.warn(f"{this.outcome}; arguments after -- apply only to a new cluster and were ignored")


def create(shell: Shell, cluster: Cluster, existing: Collection[ExistingCluster], extra: list[str]) -> None:
    """Create the cluster. The marker exists until the API answers, or until its provider has rolled back."""
    provider = providers.of(cluster)
    marker, publish = creation_marker(cluster), network.publish_addresses(
        shell, cluster.settings, cluster.address)
    require_browser_port(cluster)
    loopback_proxy.require_reachable(shell, cluster.settings)
    check_free_ports(shell, cluster, publish, existing)
    for image in provider.engine_images(shell, cluster.settings):
        images.ensure(shell, image, cluster.settings.timeout_create)
    write_file(shell, marker, "The cluster is being created. This file is removed once the API answers.\n")
    try:
        provider.create(shell, cluster, publish, api_arguments(cluster), extra)
    except Exit:
        with suppress(Exit):  # if the clusters cannot be listed either, the marker stays
            if cluster.name not in provider.list_clusters(shell, cluster.settings):
                marker.unlink(missing_ok=True)
        raise
    if not shell.dry:
        marker.unlink()


def require_browser_port(cluster: Cluster) -> None:
    """Exit where no browser could open the cluster's pages."""
    if wrong := find_blocked_https(cluster):
        raise ProblemExit(wrong, "Change K3D_PORT_START, K3D_PORT_PREFIX_HTTPS or K3D_PORT_SUFFIX_HTTPS in .env.")


def creation_marker(cluster: Cluster) -> Path:
    """A file that marks a partly created cluster: it exists from before its creation until the API answers."""
    return work_folder(cluster) / "partly-created"


def require_complete(cluster: Cluster) -> None:
    if creation_marker(cluster).exists():
        raise Exit(f"{cluster.name} was only partly created (its creation was interrupted). "
                   f"Create it again with: inv k3d-cluster-setup --n {cluster.number}")


def start_containers(shell: Shell, cluster: Cluster, found: ExistingCluster,
                     existing: Collection[ExistingCluster]) -> None:
    if found.state == "stopped" and providers.of(cluster).MANAGES_LIFE:
        check_free_ports(shell, cluster, sorted(found.addresses), existing, there=True)
    providers.of(cluster).start(shell, cluster, found)


def api_arguments(cluster: Cluster) -> list[str]:
    """The flags of the API server that POD_TRUST needs, without dashes."""
    needed = cluster.settings.pod_trust != pod_trust.OFF and admission.needs_request(providers.node_image(cluster))
    return [*admission.REQUEST] if needed else []
