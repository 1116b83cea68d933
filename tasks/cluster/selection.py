"""The clusters that a task is for, chosen by `--n` or `--all`."""

from __future__ import annotations

import re

from invoke import Context, Exit

from tasks import providers
from tasks.core import configuration
from tasks.core.settings import Cluster
from tasks.core.shell import Shell
from tasks.engine.clusters import ExistingCluster, own_clusters
from tasks.providers import other_providers
from tasks.tools.required import require

TO_CONFIGURE = ("helm", "kubectl", "openssl")
"""The programs that are needed to configure a cluster, besides those of its provider."""

N_HELP = {"n": "cluster number: 1, or 1,2 or 1-3 in parallel"}
ALL_HELP = {**N_HELP, "all": "all existing clusters"}


def open_clusters(context: Context, n: str, *tools: str, every: bool = False) -> tuple[Shell, list[Cluster]]:
    """Check numbers, settings and tools before anything is changed. Every cluster task starts with this.

    `tools`: what the task needs besides the programs of the providers. `every` is --all: all existing clusters.

    :raises Exit: if there is no such cluster, or a tool is missing.
    """
    settings = configuration.load()
    if every and n:
        raise Exit("Use either --n or --all, not both.")
    clusters = [] if every else [settings.cluster(number) for number in cluster_numbers(n)]
    shell = Shell(context, settings.environment)
    require(shell, *providers.needed_tools(settings, *tools))
    if every:
        clusters = list(own_clusters(settings, providers.list_clusters(shell, settings)))
        if not clusters:
            raise Exit(f"There are no clusters named {settings.cluster(0).name} to "
                       f"{settings.cluster(settings.numbers[-1]).name}. Create one with: inv k3d-cluster-setup --n 1")
    return shell, clusters


def require_existing(shell: Shell, cluster: Cluster, found: dict[str, ExistingCluster]) -> ExistingCluster:
    """What its provider reports about the cluster. Exit if it does not exist."""
    if cluster.name not in found:
        raise Exit(other_providers.find(shell, cluster)
                   or f"There is no cluster {cluster.name}. Create it with: inv k3d-cluster-setup --n {cluster.number}")
    return found[cluster.name]


def cluster_numbers(text: str) -> list[int]:
    """The numbers in `1`, `1,2` or `1-3`, each once and in the order given.

    :raises Exit: when the text is empty or anything else.
    """
    numbers: dict[int, None] = {}
    for part in text.split(","):
        bounds = re.fullmatch(r"([0-9]{1,4})(?:-([0-9]{1,4}))?", part.strip())
        first, last = (int(bounds[1]), int(bounds[2] or bounds[1])) if bounds else (1, 0)
        if last < first:
            raise Exit(f"Specify the cluster: --n 1, --n 1,2 or --n 1-3 (got {text!r}).")
        numbers |= dict.fromkeys(range(first, last + 1))
    return list(numbers)
