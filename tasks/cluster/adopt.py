"""The task `adopt`: clusters that the original Taskfile set up go on under these tasks.

https://github.com/TBeijen/dev-cluster-config. Names, ports and URLs stay. What tells such a cluster from any other of
the same name: a network of its own, and objects in it that carry the original's label.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from invoke import Exit

from tasks.ca.root import NEW_KEY, Roots
from tasks.cluster import changed_settings, lifecycle, selection, setup
from tasks.core.progress import say
from tasks.core.settings import Cluster, Settings, cluster_numbers
from tasks.core.shell import Shell
from tasks.core.well_known import MANAGER
from tasks.engine import network
from tasks.engine.clusters import K3dCluster, list_clusters, own_clusters

ORIGINAL = "app.kubernetes.io/managed-by=taskfile-dev-cluster-config"


OURS = f"app.kubernetes.io/managed-by={MANAGER}"


def named(shell: Shell, settings: Settings, n: str) -> list[Cluster]:
    clusters, found = [settings.cluster(number) for number in cluster_numbers(n)], list_clusters(shell)
    for cluster in clusters:
        selection.require_existing(cluster, found)
    return clusters


def candidates(shell: Shell, settings: Settings) -> list[Cluster]:
    """Those of our names with a network of their own, as k3d makes it where none is chosen."""
    found = list_clusters(shell)
    clusters = [cluster for cluster in own_clusters(settings, found) if has_own_network(cluster, found[cluster.name])]
    if not clusters:
        raise Exit(f"There is no cluster of the original Taskfile: none is called {settings.cluster(0).name} to "
                   f"{settings.cluster(settings.numbers[-1]).name} and has a network of its own.")
    return clusters


def has_own_network(cluster: Cluster, found: K3dCluster) -> bool:
    return found.network == f"k3d-{cluster.name}"


def take_over(shell: Shell, cluster: Cluster, roots: Roots, by_name: bool) -> bool:
    """Start and configure it; False, and as it was, when it is not the original's and was not named."""
    started = start(shell, cluster)
    with shell.step(cluster.name, "made by the original Taskfile") as this:
        if shell.dry and started:
            this.skip("asked once it runs")
        elif labels := labels_in(shell, cluster):
            this.outcome = "yes" if ORIGINAL in labels else "yes, and taken over before"
        elif by_name:
            this.outcome = "no, and named by --n"
        else:
            if started:
                shell.change("k3d", "cluster", "stop", cluster.name)
            this.warn(f"no: nothing in it is labelled {ORIGINAL}. It is left as it was. To take it over all the same: "
                      f"inv adopt --n {cluster.number}")
            return False
    setup.configure(shell, cluster, roots)
    return True


def start(shell: Shell, cluster: Cluster) -> bool:
    """See to it that it runs; whether it had to be started."""
    with shell.one_at_a_time("cluster", cluster.name), shell.step(cluster.name, "cluster") as this:
        found = selection.require_existing(cluster, list_clusters(shell))
        if found.running:
            this.skip("already running")
            return False
        lifecycle.start_containers(shell, cluster, found)
        this.outcome = "started"
        return True


def labels_in(shell: Shell, cluster: Cluster) -> list[str]:
    """Which label objects in it carry: the original's, or ours, which takes its place.

    It is asked with a kubeconfig that goes again: a cluster that is left alone gets no entry in the user's.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = write_private(shell, Path(folder) / "kubeconfig", cluster)
        kubectl = ("kubectl", "--kubeconfig", str(file), "--context", cluster.context)
        shell.until(f"{cluster.name} to answer", cluster.settings.timeout_ready,
                    lambda: shell.look(*kubectl, "get", "--raw=/readyz", "--request-timeout=5s").ok, pause=1)
        return [label for label in (ORIGINAL, OURS) if any(
            shell.look(*kubectl, "get", kinds, "-A", "-l", label, "-o", "name").stdout.strip()
            for kinds in ("configmaps,services", "clusterissuers"))]


def write_private(shell: Shell, file: Path, cluster: Cluster) -> Path:
    """k3d's kubeconfig for the cluster, in a file for the user alone."""
    file.touch(mode=0o600)
    file.write_text(shell.look("k3d", "kubeconfig", "get", cluster.name).stdout, encoding="utf-8")
    return file


# --- to and from the other clusters -----------------------------------------------------------------------------------


def reach_others(shell: Shell, cluster: Cluster) -> None:
    """Prove that its pods reach the other clusters through this host, by the shared network where not as it is."""
    settings, found = cluster.settings, list_clusters(shell)
    targets = [other.http_port for other in own_clusters(settings, found) if found[other.name].running]
    nodes = found[cluster.name].workers
    with shell.step(cluster.name, "way from its pods to other clusters") as this:
        if shell.dry:
            shell.note(f"connect {', '.join(nodes)} to the network {settings.k3d_network}, where this host is not "
                       "reached from them")
            return
        host, reached = network.host_address(shell, cluster)

        def reaches_all() -> bool:
            return bool(host) and all(
                network.address_reached(shell, settings, f"container:{nodes[0]}", f"{host}:{port}") for port in targets)

        there = reaches_all()
        this.outcome = f"through this host, {host}"
        if host and not there:
            network.connect(shell, settings, nodes)
            there = reaches_all()
            this.outcome += f", on the network {settings.k3d_network}"
        if not (there and reached):
            this.warn(f"none, or none back, also not on the network {settings.k3d_network}. Where no firewall is in "
                      f"the way, only a new cluster mends that: {changed_settings.recreate_command(cluster)}")


# --- what is left to do -----------------------------------------------------------------------------------------------


def tell_what_is_next(shell: Shell, adopted: list[Cluster]) -> None:
    if shell.dry:
        return
    settings, names = adopted[0].settings, ", ".join(cluster.name for cluster in adopted)
    say(f"{names}: taken over. Next, for this machine:\n"
        "  inv cert     trust in its stores, Firefox, Chrome and Java too\n"
        f"  inv dns      names; the original's dnsmasq files take all of .{settings.tld}, and are replaced\n"
        f"  inv status   shows what is left\n"
        "The root's key was in these clusters, for whoever could read their secrets. Another one, with all running:\n"
        f"  {NEW_KEY}")
    pods = [(cluster, place) for cluster in adopted for place in bare_pods(shell, cluster)]
    if pods:
        say("Pods of the original's examples stay. inv k3d-cluster-examples has others; these go with:\n" + "\n".join(
            f"  kubectl --context {cluster.context} -n {namespace} delete pod {name}"
            for cluster, (namespace, name) in pods))


def bare_pods(shell: Shell, cluster: Cluster) -> list[tuple[str, str]]:
    """Namespace and name of the example pods that the original has made, with no Deployment behind them."""
    columns = r'{range .items[*]}{.metadata.namespace} {.metadata.name}{"\n"}{end}'
    said = shell.look(*cluster.kubectl, "get", "pods", "-A", "-l", ORIGINAL, "-o", f"jsonpath={columns}")
    return [(row[0], row[1]) for row in map(str.split, said.stdout.splitlines()) if len(row) == 2]
