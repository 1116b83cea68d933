"""The clusters that k3d lists."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, NamedTuple

from invoke import Exit

from tasks.core.settings import Cluster, Settings
from tasks.core.shell import Shell, strip_colors
from tasks.core.well_known import MANAGER

PROXY_VARIABLE = re.compile(r"(https?|no)_proxy=", re.IGNORECASE)


@dataclass(frozen=True)
class K3dCluster:
    """A cluster that k3d lists. The JSON from k3d contains the cluster's token, so it is never kept or printed."""

    name: str
    nodes: int
    nodes_running: int
    network: str
    """The Docker network that it was created on."""
    networks: set[str]
    """That network, and those that its containers were connected to later."""
    subnet: str
    containers: list[str]
    servers: list[str]
    balancer: str
    """The container of its load balancer; empty when it has none."""
    balancer_running: bool
    workers: list[str]
    """The containers that run pods: servers and agents."""
    ports: dict[str, set[str]]
    """The ports of this machine for each port of the load balancer, such as {"80/tcp": {"11080"}}."""
    addresses: set[str]
    """The addresses of this machine on which ports 80 and 443 are published."""
    volumes: list[str]
    environment: list[str]
    """The proxy variables of the first server, as KEY=value."""
    k3s_arguments: list[str]
    """What k3s is told in the first server."""
    registries: str
    """The hash of the registries file that it was created with, from a label; empty if there was none."""

    @property
    def running(self) -> bool:
        return self.state == "running"

    @property
    def state(self) -> str:
        """`running`, `stopped`, or `partly running`."""
        if self.nodes_running == 0:
            return "stopped"
        return "running" if self.nodes_running == self.nodes else "partly running"


class LoadBalancer(NamedTuple):
    """Where the HTTP and HTTPS of a cluster is reached on the clusters' network."""

    host: str
    """The name of a container in the engine's DNS."""
    http: int
    https: int


def balancer_of(cluster: Cluster) -> LoadBalancer:
    """The same whether the cluster exists or not."""
    return LoadBalancer(f"k3d-{cluster.name}-serverlb", 80, 443)


REGISTRIES_LABEL = f"{MANAGER}.registries"


def list_clusters(shell: Shell) -> dict[str, K3dCluster]:
    result = shell.look("k3d", "cluster", "list", "--output", "json")
    if not result.ok:
        error = strip_colors(result.stderr).strip() or "no error message"
        raise Exit(f"k3d cluster list failed: {error.splitlines()[-1]}")
    output = result.stdout[result.stdout.rfind("\n[") + 1 :]  # LOG_LEVEL=debug prints lines before the JSON
    try:
        return {cluster.name: cluster for cluster in map(read_cluster, json.loads(output or "[]") or [])}
    except (ValueError, TypeError, KeyError, AttributeError):  # the output is not shown: it may contain a token
        raise Exit("The output of k3d cluster list --output json cannot be read. "
                   "k3d may be broken. Try: k3d cluster list") from None


def own_clusters(settings: Settings, existing: dict[str, K3dCluster]) -> list[Cluster]:
    """The existing clusters that these settings name."""
    return [cluster for number in settings.numbers if (cluster := settings.cluster(number)).name in existing]


def read_cluster(raw: dict[str, Any]) -> K3dCluster:
    nodes = [node for node in raw.get("nodes") or [] if node.get("role") in ("server", "agent", "loadbalancer")]
    balancer: dict[str, Any] = next((node for node in nodes if node["role"] == "loadbalancer"), {})
    server: dict[str, Any] = next((node for node in nodes if node["role"] == "server"), {})
    labels = server.get("runtimeLabels") or {}
    published = {port: bindings or [] for port, bindings in (balancer.get("portMappings") or {}).items()}
    return K3dCluster(
        name=raw["name"],
        nodes=len(nodes),
        nodes_running=sum(map(is_running, nodes)),
        network=raw.get("network", {}).get("name", ""),
        networks={raw.get("network", {}).get("name", "")}.union(*(node.get("Networks") or [] for node in nodes)),
        subnet=labels.get("k3d.cluster.network.iprange", ""),
        containers=[node["name"] for node in nodes],
        servers=[node["name"] for node in nodes if node["role"] == "server"],
        balancer=balancer.get("name", ""),
        balancer_running=is_running(balancer),
        workers=[node["name"] for node in nodes if node["role"] != "loadbalancer"],
        ports={port: {binding["HostPort"] for binding in bindings} for port, bindings in published.items()},
        addresses={binding.get("HostIp") or "0.0.0.0" for port in ("80/tcp", "443/tcp")
                   for binding in published.get(port, [])},
        volumes=server.get("volumes") or [],
        environment=[entry for entry in server.get("env") or [] if PROXY_VARIABLE.match(entry)],
        k3s_arguments=server.get("Cmd") or [],
        registries=labels.get(REGISTRIES_LABEL, ""),
    )


def is_running(node: dict[str, Any]) -> bool:
    return bool(node.get("State", {}).get("Running"))
