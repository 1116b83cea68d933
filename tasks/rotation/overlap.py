"""The time between two roots: both are trusted until no cluster has certificates issued by the former one.

`inv cert-renew` starts it by keeping the former root as `<TLD>-ca.retiring.*`. It ends when the last cluster is
configured.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from functools import partial
from typing import NamedTuple

from tasks import providers, trust
from tasks.ca.load import load_retiring, load_roots
from tasks.ca.root import RENEW, RootFiles, Roots
from tasks.ca.signatures import chain_belongs_to, leaf_belongs_to, load_chain
from tasks.core.problems import Problem, Reason, describe, problem
from tasks.core.progress import per_cluster
from tasks.core.settings import Cluster, Settings
from tasks.core.shell import Shell
from tasks.core.sudo import with_sudo_plan
from tasks.engine.clusters import own_clusters
from tasks.in_cluster import bundle
from tasks.probe import issued


class IssuedBy(Enum):
    """The root that issued a cluster's certificates."""

    CURRENT = "current"
    FORMER = "former"
    NEITHER = "neither"
    """The cluster was configured for another TLD, or never."""
    UNKNOWN = "unknown"
    """The cluster does not answer."""


class HolderReason(Reason):
    """Why a cluster still needs the former root."""

    CLUSTER_NOT_RUNNING = "{cluster} is not running, so it cannot be checked"
    CLUSTER_UNREACHABLE = "{cluster} does not answer"
    CLUSTER_ON_FORMER_ROOT = "{cluster} still has certificates issued by the former root"


class Holder(NamedTuple):
    """A cluster that still needs the former root, the reason, and the command that changes that."""

    cluster: Cluster
    why: Problem
    command: str


def finish(shell: Shell, settings: Settings) -> None:
    """Remove the former root from trust stores and Bundles, and delete its files; or report which clusters need it."""
    if load_retiring(settings) is None:
        return
    roots = load_roots(settings)
    assert roots.current and roots.retiring
    with shell.step("", "former root") as this:
        if roots.lack_new_root:
            this.warn(f"a renewal was interrupted before it created the new root. Resume it with: {RENEW}")
            return
        if holders := list_holders(shell, settings, roots):
            this.warn("\n".join(["still trusted, because:", *(f"    {describe_holder(holder)}" for holder in holders),
                                 f"    Or delete the clusters that you no longer need, then run: {RENEW}"]))
            return
        this.outcome = "no longer needed"
    with_sudo_plan(shell, partial(trust.remove_root, root=roots.retiring))
    clusters = [cluster for cluster, issuer in clusters_by_root(shell, settings, roots) if issuer == IssuedBy.CURRENT]
    per_cluster(clusters, partial(remove_from_bundle, shell, roots=Roots(roots.current)), at_once=not shell.dry)
    delete_former_root(shell, settings)


def remove_from_bundle(shell: Shell, cluster: Cluster, roots: Roots) -> None:
    with shell.one_at_a_time("cluster", cluster.name):
        bundle.configure(shell, cluster, roots)


def list_holders(shell: Shell, settings: Settings, roots: Roots) -> list[Holder]:
    """The clusters that need the former root, and those that may need it because they cannot be checked."""
    return [*find_holders(shell, settings, roots)]


def find_holders(shell: Shell, settings: Settings, roots: Roots) -> Iterator[Holder]:
    for cluster, running in clusters_on_this_machine(shell, settings):
        issuer = find_issuing_root(shell, cluster, roots) if running else IssuedBy.UNKNOWN
        if issuer == IssuedBy.FORMER:
            yield Holder(cluster, problem(HolderReason.CLUSTER_ON_FORMER_ROOT, cluster=cluster.name),
                         f"inv k3d-cluster-configure --n {cluster.number}")
        elif issuer == IssuedBy.UNKNOWN:
            reason = HolderReason.CLUSTER_UNREACHABLE if running else HolderReason.CLUSTER_NOT_RUNNING
            yield Holder(cluster, problem(reason, cluster=cluster.name), setup_command(cluster))


def describe_holder(holder: Holder) -> str:
    return f"{describe(holder.why)}: {holder.command}"


def setup_command(cluster: Cluster) -> str:
    return f"inv k3d-cluster-setup --n {cluster.number}"


def clusters_by_root(shell: Shell, settings: Settings, roots: Roots) -> list[tuple[Cluster, IssuedBy]]:
    """The running clusters, and the root that issued their certificates."""
    return [(cluster, find_issuing_root(shell, cluster, roots))
            for cluster, running in clusters_on_this_machine(shell, settings) if running]


def clusters_on_this_machine(shell: Shell, settings: Settings) -> list[tuple[Cluster, bool]]:
    """The clusters of these settings, and whether each is running; none if a program for that is not installed.

    :raises Exit: if the clusters cannot be listed.
    """
    if not all(map(shell.find, providers.needed_tools(settings))):
        return []
    found = providers.list_clusters(shell, settings)
    return [(cluster, found[cluster.name].running) for cluster in own_clusters(settings, found)]


def find_issuing_root(shell: Shell, cluster: Cluster, roots: Roots) -> IssuedBy:
    """The root that issued a running cluster's intermediate and all its leaves; the former one if any is from that."""
    chain_pem = issued.read_chain(shell, cluster)
    if chain_pem is None:
        return IssuedBy.UNKNOWN
    current, former = (root and root.certificate for root in roots)
    # If both have the same key, either verifies everything, so the root at the end of the chain decides.
    ends_with_former = former is not None and former in load_chain(chain_pem)
    if current and chain_belongs_to(chain_pem, current) and not ends_with_former:
        stale = any(not leaf_belongs_to(leaf, chain_pem) for leaf in issued.list_leaves(shell, cluster).values())
        return IssuedBy.FORMER if stale else IssuedBy.CURRENT
    return IssuedBy.FORMER if former and chain_belongs_to(chain_pem, former) else IssuedBy.NEITHER


def delete_former_root(shell: Shell, settings: Settings) -> None:
    """Delete the former root's files, the certificate last, because the next run resumes while that exists."""
    files = RootFiles.of(settings, retiring=True)
    with shell.step("", "former root") as this:
        for file in (files.key, files.certificate):
            shell.note(f"remove {file}")
            if not shell.dry:
                file.unlink(missing_ok=True)
        this.outcome = f"removed from trust stores and bundles; {files.certificate} and its key are deleted"
