"""What makes clusters. One module for each provider, with the functions of `Provider`.

Only the life of a cluster is the provider's. What is in a cluster is shown by the cluster itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from tasks.core.settings import Cluster, Settings
from tasks.core.shell import Shell
from tasks.engine.clusters import ExistingCluster, LoadBalancer
from tasks.providers import context, k3d, kind


class Provider(Protocol):
    """How clusters are made, listed, started, stopped and deleted."""

    TOOLS: tuple[str, ...]
    """The programs that it needs."""

    CLUSTER_LABEL: str
    """The label of a node's container with the name of its cluster."""

    IMAGE_KEY: str
    """The setting with the image of its nodes."""

    MANAGES_LIFE: bool
    """Whether it creates, starts, stops and deletes clusters."""

    MAKES_K3S: bool
    """Whether a new cluster is one of k3s, which brings Traefik. Of a cluster that exists, its CoreDNS tells."""

    NODE_PORTS: tuple[int, int] | None
    """Where Traefik must listen on the nodes for HTTP and HTTPS, if these tasks install it."""

    INNER_NETWORKS: tuple[str, ...]
    """The networks of pods and of Services in a new cluster."""

    INOTIFY_INSTANCES: int
    """About how many inotify instances a cluster uses."""

    MIRRORS: str
    """The folder of a node in which containerd finds the mirrors of registries."""

    def list_clusters(self, shell: Shell, settings: Settings) -> dict[str, ExistingCluster]:
        """All its clusters by name, also those that these tasks did not create. Exit if that fails."""

    def check_words(self, words: list[str]) -> None:
        """Exit if a cluster that is created with these words after `--` could never be configured."""

    def create(self, shell: Shell, cluster: Cluster, publish: list[str], api_arguments: list[str],
               words: list[str]) -> None:
        """Create the cluster, and return when its API answers. Exit, and nothing is left of it, if that fails.

        `publish`: the addresses of this machine for its ports. `api_arguments`: flags of the API server, without
        dashes. `words`: what the user gave after `--`.
        """

    def wait_for_creation(self, shell: Shell, cluster: Cluster) -> None:
        """Wait for the end of a creation that a killed run left behind."""

    def start(self, shell: Shell, cluster: Cluster, found: ExistingCluster) -> None:
        """Start its containers, and return when its API answers."""

    def stop(self, shell: Shell, cluster: Cluster, found: ExistingCluster) -> None:
        """Stop its containers."""

    def delete(self, shell: Shell, cluster: Cluster) -> None:
        """Delete the cluster, even if it is incomplete."""

    def balancer(self, cluster: Cluster) -> LoadBalancer:
        """Where the front door reaches it, whether it exists or not."""

    def user(self, cluster: Cluster) -> str:
        """The name of its user in the kubeconfig."""

    def write_kubeconfig(self, shell: Shell, cluster: Cluster) -> None:
        """Write its entry to the cluster's kubeconfig. K3D_SWITCH_CONTEXT decides about the current context."""

    def read_kubeconfig(self, shell: Shell, cluster: Cluster) -> str:
        """A kubeconfig with its entry only."""

    def engine_images(self, shell: Shell, settings: Settings) -> list[str]:
        """The images that this machine's engine needs to create a cluster."""

    def log_command(self, name: str) -> str:
        """What a user types to read the log of its first node."""

    def load_command(self, name: str, image: str) -> str:
        """What a user types to copy an image of this machine's engine to its nodes."""


PROVIDERS: dict[str, Provider] = {"k3d": k3d, "kind": kind}


def by_name(name: str) -> Provider:
    """A program, or for any other name the provider of kubectl contexts."""
    return PROVIDERS.get(name, context)


def of(cluster: Cluster) -> Provider:
    return by_name(cluster.provider)


def chosen(settings: Settings) -> list[Provider]:
    """Those that the settings name."""
    return list({id(provider): provider for provider in map(by_name, settings.providers)}.values())


def list_clusters(shell: Shell, settings: Settings) -> dict[str, ExistingCluster]:
    """The clusters of all providers that the settings name, by name."""
    return {name: found for provider in chosen(settings)
            for name, found in provider.list_clusters(shell, settings).items()}


def needed_tools(settings: Settings, *others: str) -> tuple[str, ...]:
    """The programs of these providers, and the others, each once."""
    return tuple(dict.fromkeys([*(tool for provider in chosen(settings) for tool in provider.TOOLS), *others]))


def check_words(clusters: Iterable[Cluster], words: list[str]) -> None:
    """Exit before anything is created that would never become ready."""
    for cluster in clusters:
        of(cluster).check_words(words)


def node_image(cluster: Cluster) -> str:
    """The image of its nodes; empty if these tasks do not create them."""
    key = of(cluster).IMAGE_KEY
    return str(getattr(cluster.settings, key.lower())) if key else ""
