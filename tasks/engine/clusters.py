"""The clusters that exist on this machine, whatever made them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from tasks.core.problems import Problem
from tasks.core.settings import Cluster, Settings
from tasks.core.templates import short_hash


@dataclass(frozen=True)
class ExistingCluster:
    """What its provider reports about a cluster."""

    name: str
    provider: str
    """A key of PROVIDERS."""
    stop_command: str
    """What a user types to stop it."""
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
    """The container that publishes its ports; empty when there is none."""
    balancer_running: bool
    workers: list[str]
    """The containers that run pods: servers and agents."""
    ports: dict[str, set[str]]
    """The ports of this machine for ports 80 and 443 of the cluster, such as {"80/tcp": {"11080"}}."""
    addresses: set[str]
    """The addresses of this machine on which ports 80 and 443 are published."""
    inner_networks: list[str]
    """Those of its pods, then those of its Services."""
    company_ca: list[str]
    """The files of this machine that its nodes have as the company's CA."""
    environment: list[str]
    """The proxy variables of the first server, as KEY=value."""
    registries: str | None
    """The hash of the registries file that it was created with; empty without one, None if K3D_REGISTRY_CONFIG is not
    for its nodes."""
    obstacle: Problem | None
    """That it was created without a part that these tasks need."""

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
    """Where HTTP and HTTPS of a cluster are reached on the clusters' network."""

    host: str
    """The name of a container in the engine's DNS."""
    http: int
    https: int


def own_clusters(settings: Settings, existing: dict[str, ExistingCluster]) -> list[Cluster]:
    """The existing clusters that these settings name."""
    return [cluster for number in settings.numbers if (cluster := settings.cluster(number)).name in existing]


def registries_hash(settings: Settings) -> str:
    file = settings.k3d_registry_config
    return short_hash(file.read_text(encoding="utf-8", errors="replace")) if file else ""
