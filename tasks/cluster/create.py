"""Create a cluster with k3d, or start an existing one."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from invoke import Exit

from tasks.cluster.changed_settings import (
    registries_hash,
    require_needed_parts,
    require_published_ports,
    warn_about_changed_settings,
)
from tasks.core.browser_ports import find_blocked_https
from tasks.core.problems import ProblemExit
from tasks.core.settings import Cluster
from tasks.core.shell import Shell
from tasks.core.well_known import COMPANY_CA
from tasks.core.work_files import work_folder, write_file
from tasks.engine import images, k3s_arguments, loopback_proxy, network, proxy
from tasks.engine.clusters import REGISTRIES_LABEL, K3dCluster, list_clusters
from tasks.engine.ports import check_free_ports
from tasks.in_cluster import pod_trust
from tasks.probe import admission


def ensure_running(shell: Shell, cluster: Cluster, found: K3dCluster | None, extra: list[str]) -> None:
    """Create the cluster if it does not exist, start it if it is stopped."""
    with shell.step(cluster.name, "cluster") as this:
        marker, addition = creation_marker(cluster), ""
        if marker.exists():
            shell.until_ended(f"k3d cluster create {cluster.name} ")
            if marker.exists():
                shell.change("k3d", "cluster", "delete", cluster.name)
                addition, found = ", after deleting a partly created one", None
            else:  # that command has succeeded in the meantime
                found = list_clusters(shell).get(cluster.name)
        if found:
            require_published_ports(cluster, found)
            require_needed_parts(cluster, found)
            warn_about_changed_settings(shell, cluster, found)
        if found is None:
            create(shell, cluster, extra)
            this.outcome = f"created{addition}{cluster.settings.from_environment('K3S_IMAGE')}"
        elif not found.running:
            start_containers(shell, cluster, found)
            this.outcome = "started"
        else:
            this.skip("already running")
        if found and extra:
            this.warn(f"{this.outcome}; arguments after -- apply only to a new cluster and were ignored")


def create(shell: Shell, cluster: Cluster, extra: list[str]) -> None:
    """Create the cluster. The marker exists until the API answers, or until k3d has rolled back."""
    marker, publish = creation_marker(cluster), network.publish_addresses(shell, cluster.settings)
    require_browser_port(cluster)
    loopback_proxy.require_reachable(shell, cluster.settings)
    proxied = proxy.k3d_arguments(shell, cluster.settings, k3s_arguments.of_words(extra))
    check_free_ports(shell, cluster, publish)
    images.ensure(shell, cluster.settings.k3s_image, cluster.settings.timeout_create)
    write_file(shell, marker, "k3d cluster create has started. This file is removed once the API answers.\n")
    try:
        shell.change(*create_command(cluster, publish, proxied), *extra,
                     hint="k3d rolled back. `inv doctor` may show why. Then run this task again.")
    except Exit:
        with suppress(Exit):  # if k3d cannot list the clusters either, the marker stays
            if cluster.name not in list_clusters(shell):
                marker.unlink(missing_ok=True)
        raise
    if not shell.dry:
        marker.unlink()


def require_browser_port(cluster: Cluster) -> None:
    """Exit where no browser could open the cluster's pages."""
    if wrong := find_blocked_https(cluster):
        raise ProblemExit(wrong, "Change K3D_PORT_START, K3D_PORT_PREFIX_HTTPS or K3D_PORT_SUFFIX_HTTPS in .env.")


def creation_marker(cluster: Cluster) -> Path:
    """A file that marks a partly created cluster: it exists from before `k3d cluster create` until the API answers."""
    return work_folder(cluster) / "partly-created"


def require_complete(cluster: Cluster) -> None:
    if creation_marker(cluster).exists():
        raise Exit(f"{cluster.name} was only partly created (k3d cluster create was interrupted). "
                   f"Create it again with: inv k3d-cluster-setup --n {cluster.number}")


def start_containers(shell: Shell, cluster: Cluster, found: K3dCluster) -> None:
    if found.state == "stopped":
        check_free_ports(shell, cluster, sorted(found.addresses), there=True)
    shell.change("k3d", "cluster", "start", cluster.name, "--wait", "--timeout", f"{cluster.settings.timeout_create}s")


def create_command(cluster: Cluster, publish: list[str], proxied: list[str]) -> list[str]:
    settings = cluster.settings
    words = ["k3d", "cluster", "create", cluster.name, "--image", settings.k3s_image,
             "--network", settings.k3d_network, "--api-port", "127.0.0.1:random"]
    for address in publish:
        words += ["-p", f"{address}:{cluster.http_port}:80@loadbalancer"]
        words += ["-p", f"{address}:{cluster.https_port}:443@loadbalancer"]
    if settings.additional_ca_bundle_file:
        bundle = str(settings.additional_ca_bundle_file).replace("@", r"\@")  # a bare @ begins k3d's node filter
        words += ["--volume", f"{bundle}:{COMPANY_CA}"]
    if settings.k3d_registry_config:
        words += ["--registry-config", str(settings.k3d_registry_config),
                  "--runtime-label", f"{REGISTRIES_LABEL}={registries_hash(settings)}@server:*"]
    if settings.pod_trust != pod_trust.OFF and admission.needs_request(settings.k3s_image):
        for request in admission.REQUEST:
            words += ["--k3s-arg", f"--kube-apiserver-arg={request}@server:*"]
    return [*words, *proxied, "--kubeconfig-update-default=false", "--wait", "--timeout", f"{settings.timeout_create}s"]
