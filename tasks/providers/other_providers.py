"""Clusters with our names that another program created than PROVIDER names: it was changed after they were created."""

from __future__ import annotations

from tasks.core.by_number import PROGRAMS
from tasks.core.settings import Cluster, Settings
from tasks.core.shell import Shell
from tasks.providers import PROVIDERS


def list_names(shell: Shell, provider: str) -> list[str]:
    """The names of a program's clusters, by the containers of their nodes: the program need not be installed."""
    label = PROVIDERS[provider].CLUSTER_LABEL
    listed = shell.look("docker", "ps", "--all", "--filter", f"label={label}", "--format", f'{{{{.Label "{label}"}}}}')
    return sorted(set(listed.stdout.split())) if listed.ok else []


def find_all(shell: Shell, settings: Settings) -> list[str]:
    """A sentence for each number whose cluster another program created."""
    names = {provider: list_names(shell, provider) for provider in PROGRAMS}
    return [describe(cluster, provider) for provider in names for cluster in map(settings.cluster, settings.numbers)
            if cluster.provider != provider and cluster.name in names[provider]]


def find(shell: Shell, cluster: Cluster) -> str:
    """The same for one cluster; empty if there is none."""
    return next((describe(cluster, provider) for provider in PROGRAMS
                 if provider != cluster.provider and cluster.name in list_names(shell, provider)), "")


def describe(cluster: Cluster, provider: str) -> str:
    chosen, choice = cluster.provider, f"PROVIDER={cluster.number}={provider}"
    return (f"{cluster.name} was created by {provider}, but PROVIDER says {chosen}. To keep it, set {choice} in .env. "
            f"To delete it: {choice} inv k3d-cluster-delete --n {cluster.number}")
