"""The clusters themselves: create, start, delete."""

from __future__ import annotations

import errno
import json
import socket
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from invoke import Context, Exit, task

from tasks import in_cluster, network, proxy
from tasks import settings as configuration
from tasks.ca import load_root
from tasks.in_cluster import charts
from tasks.names import ClusterTask, cluster_numbers
from tasks.progress import per_cluster
from tasks.render import work_folder, write
from tasks.settings import Cluster, Settings
from tasks.shell import Shell, words_after_dashes
from tasks.tools import require

TOOLS = ("docker", "k3d", "helm", "kubectl", "openssl")

N_HELP = {"n": "cluster number: 1, or 1,2 or 1-3 side by side"}


@task(klass=ClusterTask, help=N_HELP)
def k3d_cluster_setup(context: Context, n: str = "") -> None:
    """Create and configure cluster N: --n 1, --n 1,2 or --n 1-3; also k3d-cluster-setup-1

    Words after -- go to `k3d cluster create`, last, so that they win: inv k3d-cluster-setup --n 1 -- --agents 1
    A cluster that exists is started if it was stopped, and configured again.
    """
    shell, clusters = open_clusters(context, n)
    load_root(clusters[0].settings)
    setup(shell, clusters, words_after_dashes())


@task(klass=ClusterTask, help=N_HELP)
def k3d_cluster_configure(context: Context, n: str = "") -> None:
    """Configure cluster N again, which exists and runs; also k3d-cluster-configure-1"""
    shell, clusters = open_clusters(context, n)
    load_root(clusters[0].settings)
    per_cluster(clusters, lambda cluster: configure(shell, cluster), at_once=not shell.dry)


@task(klass=ClusterTask, help=N_HELP)
def k3d_cluster_delete(context: Context, n: str = "") -> None:
    """Delete cluster N and its kubeconfig entry; also k3d-cluster-delete-1"""
    shell, clusters = open_clusters(context, n, "docker", "k3d", "kubectl")
    settings, names = clusters[0].settings, [cluster.name for cluster in clusters]
    per_cluster(clusters, lambda cluster: delete(shell, cluster), at_once=not shell.dry)
    others = [found for found in existing(shell).values() if found.name not in names]
    if not any(found.network == settings.k3d_network for found in others):
        network.remove(shell, settings)


def open_clusters(context: Context, n: str, *tools: str) -> tuple[Shell, list[Cluster]]:
    """What every cluster task begins with: numbers, settings and tools, checked before anything is done."""
    settings = configuration.load()
    clusters = [settings.cluster(number) for number in cluster_numbers(n)]
    shell = Shell(context, settings.environment)
    require(shell, *(tools or TOOLS))
    return shell, clusters


# --- the story --------------------------------------------------------------------------------------------------------


def setup(shell: Shell, clusters: list[Cluster], extra: list[str]) -> None:
    """Create what is missing, start what is stopped, configure all; several clusters side by side."""
    settings = clusters[0].settings
    charts.check_source(settings)
    found = existing(shell)
    ensure_network(shell, settings, found.values())

    def one(cluster: Cluster) -> None:
        bring_up(shell, cluster, found.get(cluster.name), extra)
        merge_kubeconfig(shell, cluster)
        in_cluster.configure(shell, cluster)

    per_cluster(clusters, one, at_once=not shell.dry)


def configure(shell: Shell, cluster: Cluster) -> None:
    settings, clusters = cluster.settings, existing(shell)
    found, state = clusters.get(cluster.name), ""
    if not shell.dry and (found is None or not found.running):
        state = "does not exist" if found is None else "is stopped"
    elif creation_marker(cluster).exists():
        state = "is half made: k3d cluster create was broken off"
    if state:
        raise Exit(f"{cluster.name} {state}. Bring it up with: inv k3d-cluster-setup --n {cluster.number}")
    if found:
        check_published_ports(cluster, found)
    charts.check_source(settings)
    with shell.one_at_a_time():  # a cluster of the original Taskfile has a network of its own
        ensure_network(shell, settings, clusters.values())
    merge_kubeconfig(shell, cluster)
    in_cluster.configure(shell, cluster)


def ensure_network(shell: Shell, settings: Settings, found: Iterable[Existing]) -> None:
    """Make the shared network where it is missing, as the clusters on it knew it."""
    on_it = [cluster for cluster in found if cluster.network == settings.k3d_network]
    network.ensure(shell, settings, next((cluster.subnet for cluster in on_it), ""),
                   [container for cluster in on_it for container in cluster.containers])


def bring_up(shell: Shell, cluster: Cluster, found: Existing | None, extra: list[str]) -> None:
    """See to it that the cluster exists and runs."""
    with shell.step(cluster.name, "cluster") as this:
        marker, again = creation_marker(cluster), ""
        if marker.exists():
            shell.until_ended(f"k3d cluster create {cluster.name} ")
            if marker.exists():  # it was not another run, which has removed it by now
                shell.change("k3d", "cluster", "delete", cluster.name)
                again = ", after a half made one was deleted"
            found = None if again else existing(shell).get(cluster.name)
        if found:
            check_published_ports(cluster, found)
        if found is None:
            create(shell, cluster, extra)
            this.outcome = f"created{again}"
        elif not found.running:
            shell.change("k3d", "cluster", "start", cluster.name, "--wait", "--timeout",
                         f"{cluster.settings.timeout_create}s")
            this.outcome = "started"
        else:
            this.skip("already running")
        if found and extra:
            this.warn(f"{this.outcome}; what is behind -- is for a new cluster only")


def create(shell: Shell, cluster: Cluster, extra: list[str]) -> None:
    """Create the cluster, with the marker there until it is whole, or until k3d has undone it."""
    marker, publish = creation_marker(cluster), network.publish_addresses(shell, cluster.settings)
    check_free_ports(shell, cluster, publish)
    write(shell, marker, "k3d cluster create was begun. This file goes when the API answers.\n")
    try:
        shell.change(*create_words(cluster, publish, proxy.words(shell, cluster.settings)), *extra,
                     hint="k3d has undone what it had begun. Mend that, then run this task again.")
    except Exit:
        with suppress(Exit):  # where k3d does not answer either, the mark stays
            if cluster.name not in existing(shell):
                marker.unlink(missing_ok=True)
        raise
    if not shell.dry:
        marker.unlink()


def creation_marker(cluster: Cluster) -> Path:
    """A file that is there from before `k3d cluster create` until the API answers: with it, a cluster is half made."""
    return work_folder(cluster) / "half-made"


def create_words(cluster: Cluster, publish: list[str], proxied: list[str]) -> list[str]:
    settings = cluster.settings
    words = ["k3d", "cluster", "create", cluster.name, "--image", settings.k3s_image,
             "--network", settings.k3d_network, "--api-port", "127.0.0.1:random"]
    for address in publish:
        words += ["-p", f"{address}:{cluster.http_port}:80@loadbalancer"]
        words += ["-p", f"{address}:{cluster.https_port}:443@loadbalancer"]
    if settings.additional_ca_bundle_file:
        bundle = str(settings.additional_ca_bundle_file).replace("@", r"\@")  # a bare @ begins k3d's node filter
        words += ["--volume", f"{bundle}:/etc/ssl/certs/additional-ca.crt"]
    if settings.k3d_registry_config:
        words += ["--registry-config", str(settings.k3d_registry_config)]
    return [*words, *proxied, "--kubeconfig-update-default=false", "--wait", "--timeout", f"{settings.timeout_create}s"]


def merge_kubeconfig(shell: Shell, cluster: Cluster) -> None:
    """Write the cluster's entry to the kubeconfig; the current context stays, unless K3D_SWITCH_CONTEXT is true."""
    switch = cluster.settings.k3d_switch_context
    with shell.step(cluster.name, f"kubeconfig {cluster.kubeconfig}") as this, shell.one_at_a_time():
        answers = shell.look(*cluster.kubectl, "get", "--raw=/readyz", "--request-timeout=5s").ok
        current = shell.look("kubectl", "--kubeconfig", str(cluster.kubeconfig), "config", "current-context")
        if answers and not (switch and current.stdout.strip() != cluster.context):
            return this.skip("already there")
        if not shell.dry:
            cluster.kubeconfig.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        shell.change("k3d", "kubeconfig", "merge", cluster.name, "--output", str(cluster.kubeconfig),
                     f"--kubeconfig-switch-context={str(switch).lower()}")
        this.outcome = f"context {cluster.context} written"


def delete(shell: Shell, cluster: Cluster) -> None:
    """Delete the cluster, half made ones too, and forget it."""
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
    forget_kubeconfig(shell, cluster)


def forget_kubeconfig(shell: Shell, cluster: Cluster) -> None:
    """Remove what setup wrote to the kubeconfig; k3d itself only knows the default file."""
    kubectl = ("kubectl", "--kubeconfig", str(cluster.kubeconfig), "config")
    user = f"admin@{cluster.context}"
    with shell.step(cluster.name, f"kubeconfig {cluster.kubeconfig}") as this, shell.one_at_a_time():
        removed = False
        for listed, remove, name in (
            ("get-contexts", "delete-context", cluster.context),
            ("get-clusters", "delete-cluster", cluster.context),
            ("get-users", "delete-user", user),
        ):
            output = ("-o", "name") if listed == "get-contexts" else ()
            if name in shell.look(*kubectl, listed, *output).stdout.split():
                shell.change(*kubectl, remove, name)
                removed = True
        if shell.look(*kubectl, "current-context").stdout.strip() == cluster.context:
            shell.change(*kubectl, "unset", "current-context")
            removed = True
        this.outcome = "entry removed" if removed else "no entry there"


# --- what k3d says ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Existing:
    """A cluster that k3d knows. Its raw JSON holds the cluster's token and is never kept or shown."""

    name: str
    running: bool
    network: str
    subnet: str
    containers: list[str]
    ports: dict[str, set[str]]


def existing(shell: Shell) -> dict[str, Existing]:
    said = shell.look("k3d", "cluster", "list", "--output", "json")
    if not said.ok:
        raise Exit(f"k3d cluster list failed: {(said.stderr.strip() or 'it said nothing').splitlines()[-1]}")
    answer = said.stdout[said.stdout.rfind("\n[") + 1 :]  # LOG_LEVEL=debug has k3d say more before it
    try:
        return {found.name: found for found in map(read_cluster, json.loads(answer or "[]") or [])}
    except (ValueError, TypeError, KeyError, AttributeError):  # the answer itself is not shown: it may hold a token
        raise Exit("k3d cluster list --output json gave an answer that cannot be read. "
                   "Is something wrong with k3d? Try: k3d cluster list") from None


def read_cluster(raw: dict[str, Any]) -> Existing:
    nodes = [node for node in raw.get("nodes") or [] if node.get("role") in ("server", "agent", "loadbalancer")]
    balancer: dict[str, Any] = next((node for node in nodes if node["role"] == "loadbalancer"), {})
    published = balancer.get("portMappings") or {}
    labels = nodes[0].get("runtimeLabels") or {} if nodes else {}
    return Existing(
        name=raw["name"],
        running=bool(nodes) and all(node.get("State", {}).get("Running") for node in nodes),
        network=raw.get("network", {}).get("name", ""),
        subnet=labels.get("k3d.cluster.network.iprange", ""),
        containers=[node["name"] for node in nodes],
        ports={port: {binding["HostPort"] for binding in bindings or []} for port, bindings in published.items()},
    )


def check_published_ports(cluster: Cluster, found: Existing) -> None:
    for key, wanted in (("80/tcp", cluster.http_port), ("443/tcp", cluster.https_port)):
        published = found.ports.get(key, set())
        if str(wanted) not in published:
            raise Exit(
                f"{cluster.name} publishes its port {key} on {', '.join(sorted(published)) or 'no port'}, and the "
                f"settings say {wanted}.\nChange the K3D_PORT_ keys in .env back, or make the cluster again: "
                f"inv k3d-cluster-delete --n {cluster.number} k3d-cluster-setup --n {cluster.number}"
            )


# --- before anything is created ---------------------------------------------------------------------------------------


def check_free_ports(shell: Shell, cluster: Cluster, addresses: list[str]) -> None:
    """Exit names each port that something else holds, and what that is where the system tells."""
    taken = [
        f"{address}:{port} is taken{holder(shell, port)}"
        for port in (cluster.http_port, cluster.https_port)
        for address in addresses
        if not address.startswith("<") and is_taken(address, port)
    ]
    if taken:
        lines = "\n".join(f"  {line}" for line in taken)
        raise Exit(f"{cluster.name} cannot be created:\n{lines}\nStop what holds the port, or change K3D_PORT_START "
                   "or another K3D_PORT_ key in .env.")


def is_taken(address: str, port: int) -> bool:
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind((address, port))
        except OSError as error:
            # A port below 1024 may be the engine's to bind though it is not ours.
            return error.errno == errno.EADDRINUSE
    with socket.socket() as client:  # macOS lets a second server bind a narrower address than the first has
        client.settimeout(1)
        return client.connect_ex(("127.0.0.1" if address == "0.0.0.0" else address, port)) == 0


def holder(shell: Shell, port: int) -> str:
    """` by <program>`, as far as docker, lsof or ss tell; else empty."""
    containers = shell.look("docker", "ps", "--filter", f"publish={port}", "--format", "{{.Names}}").stdout.split()
    if containers:
        return f" by the container {', '.join(containers)}"
    listening = shell.look("lsof", "-nP", f"-iTCP:{port}", "-sTCP:LISTEN", "-Fpc").stdout.splitlines()
    if len(listening) >= 2:
        return f" by {listening[1][1:]}, process {listening[0][1:]}"
    sockets = shell.look("ss", "-Hltnp", f"sport = :{port}").stdout
    return f" by {sockets.split('users:')[1].split()[0]}" if "users:" in sockets else ""
