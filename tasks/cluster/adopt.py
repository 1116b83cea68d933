"""The task `adopt`: manage clusters that the original Taskfile created (https://github.com/TBeijen/dev-cluster-config).

Names, ports and URLs stay the same. Such a cluster differs from any other with the same name in two ways: it has its
own network, and objects in it have the original's label.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from invoke import Exit

from tasks import providers
from tasks.ca.root import NEW_KEY, Roots
from tasks.cluster import changed_settings, lifecycle, selection, setup
from tasks.cluster.selection import cluster_numbers
from tasks.core.progress import say
from tasks.core.settings import Cluster, Settings
from tasks.core.shell import Shell
from tasks.core.well_known import MANAGER
from tasks.engine import network
from tasks.engine.clusters import ExistingCluster, own_clusters
from tasks.probe.objects import Object, list_objects

ORIGINAL_LABEL = "app.kubernetes.io/managed-by=taskfile-dev-cluster-config"


OWN_LABEL = f"app.kubernetes.io/managed-by={MANAGER}"


def clusters_by_number(shell: Shell, settings: Settings, n: str) -> list[Cluster]:
    """The clusters that `--n` names. Exit if one does not exist."""
    clusters = [settings.cluster(number) for number in cluster_numbers(n)]
    found = providers.list_clusters(shell, settings)
    for cluster in clusters:
        selection.require_existing(shell, cluster, found)
    return clusters


def find_original_clusters(shell: Shell, settings: Settings) -> list[Cluster]:
    """Clusters with our names that have their own network, as the original's have."""
    found = providers.list_clusters(shell, settings)
    clusters = [cluster for cluster in own_clusters(settings, found) if has_own_network(cluster, found[cluster.name])]
    if not clusters:
        raise Exit(f"There are no clusters of the original Taskfile: none from {settings.cluster(0).name} to "
                   f"{settings.cluster(settings.numbers[-1]).name} exists and has its own network.")
    return clusters


def has_own_network(cluster: Cluster, found: ExistingCluster) -> bool:
    """By default a cluster gets a network with the name of its context."""
    return found.network == cluster.context


def adopt_cluster(shell: Shell, cluster: Cluster, roots: Roots, by_number: bool) -> bool:
    """Start and configure it. False, and the cluster unchanged, if it is not the original's and `--n` does not name it.
    """
    found = selection.require_existing(shell, cluster, providers.list_clusters(shell, cluster.settings))
    started = ensure_started(shell, cluster)
    with shell.step(cluster.name, "created by the original Taskfile") as this:
        if shell.dry and started:
            this.skip("skipped until it is running")
        elif labels := find_labels(shell, cluster):
            this.outcome = "yes" if ORIGINAL_LABEL in labels else "yes, and adopted before"
        elif by_number:
            this.outcome = "no, but named by --n"
        else:
            if started:
                providers.of(cluster).stop(shell, cluster, found)
            this.warn(f"no: nothing in it has the label {ORIGINAL_LABEL}. It was left unchanged. To adopt it anyway: "
                      f"inv adopt --n {cluster.number}")
            return False
    setup.configure(shell, cluster, roots)
    return True


def ensure_started(shell: Shell, cluster: Cluster) -> bool:
    """Start the cluster if it is not running. Returns whether it had to be started."""
    with shell.one_at_a_time("cluster", cluster.name), shell.step(cluster.name, "cluster") as this:
        existing = providers.list_clusters(shell, cluster.settings)
        found = selection.require_existing(shell, cluster, existing)
        if found.running:
            this.skip("already running")
            return False
        lifecycle.start_containers(shell, cluster, found, existing.values())
        this.outcome = "started"
        return True


def find_labels(shell: Shell, cluster: Cluster) -> list[str]:
    """The labels of objects in it: the original's, and ours, which replaces that.

    Queried with a temporary kubeconfig, so that a cluster that is not adopted leaves no entry in the user's.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = write_kubeconfig(shell, Path(folder) / "kubeconfig", cluster)
        kubectl = ("kubectl", "--kubeconfig", str(file), "--context", cluster.context)
        shell.until(f"{cluster.name} to answer", cluster.settings.timeout_ready,
                    lambda: shell.look(*kubectl, "get", "--raw=/readyz", "--request-timeout=5s").ok, pause=1)
        return [label for label in (ORIGINAL_LABEL, OWN_LABEL) if any(
            shell.look(*kubectl, "get", kinds, "-A", "-l", label, "-o", "name").stdout.strip()
            for kinds in ("configmaps,services", "clusterissuers"))]


def write_kubeconfig(shell: Shell, file: Path, cluster: Cluster) -> Path:
    """Write the kubeconfig of the cluster to a file that only the user can read."""
    file.touch(mode=0o600)
    file.write_text(providers.of(cluster).read_kubeconfig(shell, cluster), encoding="utf-8")
    return file


# --- routes to and from the other clusters ----------------------------------------------------------------------------


def ensure_route_to_others(shell: Shell, cluster: Cluster) -> None:
    """Verify that its pods reach the other clusters through this host; if not, connect it to the shared network."""
    settings, found = cluster.settings, providers.list_clusters(shell, cluster.settings)
    targets = [other.http_port for other in own_clusters(settings, found)
               if found[other.name].running and not other.is_elsewhere]
    nodes = found[cluster.name].workers
    with shell.step(cluster.name, "route from its pods to other clusters") as this:
        if shell.dry:
            shell.note(f"connect {', '.join(nodes)} to the network {settings.k3d_network}, if they cannot reach this "
                       "host")
            return
        host, reached = network.host_address(shell, cluster)

        def reaches_all() -> bool:
            return bool(host) and all(
                network.address_reached(shell, settings, f"container:{nodes[0]}", f"{host}:{port}") for port in targets)

        reaches = reaches_all()
        this.outcome = f"through this host, {host}"
        if host and not reaches:
            network.connect(shell, settings, nodes)
            reaches = reaches_all()
            this.outcome += f", on the network {settings.k3d_network}"
        if not (reaches and reached):
            this.warn(f"does not work in both directions, even on the network {settings.k3d_network}. If no firewall "
                      f"blocks it, recreate the cluster: {changed_settings.recreate_command(cluster)}")


# --- next steps -------------------------------------------------------------------------------------------------------


def print_next_steps(shell: Shell, adopted: list[Cluster]) -> None:
    if shell.dry:
        return
    settings, names = adopted[0].settings, ", ".join(cluster.name for cluster in adopted)
    say(f"{names}: adopted. Next, on this machine:\n"
        "  inv cert     adds the root to the trust stores, including Firefox, Chrome and Java\n"
        f"  inv dns      sets up DNS, and replaces the original's dnsmasq files, which claim all of .{settings.tld}\n"
        "  inv status   shows what is left\n"
        "The root's key was stored in these clusters, where anyone with access to their secrets could read it.\n"
        "To replace it, with all clusters running:\n"
        f"  {NEW_KEY}")
    pods = [(cluster, pod["metadata"]) for cluster in adopted for pod in list_original_pods(shell, cluster)]
    if pods:
        say("The original's example pods still exist. inv k3d-cluster-examples installs new ones; delete these with:\n"
            + "\n".join(f"  kubectl --context {cluster.context} -n {pod['namespace']} delete pod {pod['name']}"
                        for cluster, pod in pods))


def list_original_pods(shell: Shell, cluster: Cluster) -> list[Object]:
    """The example pods that the original created. They have its label, because no Deployment manages them."""
    return list_objects(shell, cluster, "pods", "-l", ORIGINAL_LABEL)
