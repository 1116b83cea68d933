"""The time between two roots: both are trusted, until nothing is signed by the old one any more.

`inv cert-renew` begins it: the old root lies beside the new one, as `<TLD>-ca.retiring.*`. It ends with whoever
configures the last cluster.
"""

from __future__ import annotations

import base64
from functools import partial
from typing import TYPE_CHECKING

from tasks import trust
from tasks.ca.root import RootFiles, load_identity, load_retiring, load_root
from tasks.ca.signatures import chain_belongs_to, is_issued_by
from tasks.core.progress import per_cluster
from tasks.core.settings import Cluster, Settings
from tasks.core.shell import Shell
from tasks.core.sudo import with_sudo_plan
from tasks.engine.clusters import list_clusters, own_clusters
from tasks.in_cluster import bundle
from tasks.probe import issued

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

NEW, OLD, NEITHER = "new", "old", "neither"
"""Which of the two roots a cluster is of. One that was configured for another TLD, or never, is of neither."""


def finish(shell: Shell, settings: Settings) -> None:
    """Take the old root out of stores and Bundles and delete its files; while a cluster needs it, say which."""
    old = load_retiring(settings)
    if old is None:
        return
    with shell.step("", "old root") as this:
        if old == load_root(settings):
            this.warn("a renewal was begun, and there is no new root yet. It goes on with: inv cert-renew")
            return
        if held := clusters_needing_old_root(shell, settings):
            this.warn("\n".join(["still trusted, because of:", *(f"    {line}" for line in held),
                                  "    Or delete what is not needed any more, then: inv cert-renew"]))
            return
        this.outcome = "nothing is signed by it any more"
    old_root = load_identity(RootFiles(settings, retiring=True).certificate)
    with_sudo_plan(shell, partial(trust.remove_root, root=old_root))
    clusters = [cluster for cluster, _ in clusters_in_rotation(shell, settings)]
    per_cluster(clusters, partial(remove_from_bundle, shell), at_once=not shell.dry)
    delete_old_root(shell, settings)


def remove_from_bundle(shell: Shell, cluster: Cluster) -> None:
    with shell.one_at_a_time("cluster", cluster.name):
        bundle.configure(shell, cluster, with_retiring=False)


def clusters_needing_old_root(shell: Shell, settings: Settings) -> list[str]:
    """Which clusters still need the old root, why, and what to type."""
    return [f"{cluster.name} {why}" for cluster, why in clusters_in_rotation(shell, settings) if why]


def clusters_in_rotation(shell: Shell, settings: Settings) -> list[tuple[Cluster, str]]:
    """The clusters that are of one of the two roots, or that cannot be asked; and why each still needs the old one."""
    root, old, clusters = load_root(settings), load_retiring(settings), []
    for cluster, running in clusters_on_this_machine(shell, settings):
        if not running:
            clusters.append((cluster, f"does not run, and cannot be asked: {setup_command(cluster)}"))
            continue
        which = find_signing_root(shell, cluster, root, old)
        if which != NEITHER:
            why = {NEW: "", OLD: f"has certificates of it: inv k3d-cluster-configure --n {cluster.number}"}
            clusters.append((cluster, why.get(which, f"does not answer: {setup_command(cluster)}")))
    return clusters


def setup_command(cluster: Cluster) -> str:
    return f"inv k3d-cluster-setup --n {cluster.number}"


def clusters_on_this_machine(shell: Shell, settings: Settings) -> list[tuple[Cluster, bool]]:
    """The clusters of these settings, and whether each runs. Exit when there may be some and they cannot be seen."""
    if not (shell.find("k3d") and shell.find("docker")):
        return []
    found = list_clusters(shell)
    return [(cluster, found[cluster.name].running) for cluster in own_clusters(settings, found)]


def find_signing_root(shell: Shell, cluster: Cluster, root: Certificate, old: Certificate | None) -> str:
    """Which root a running cluster is of, its leaves too: NEW, OLD or NEITHER; empty when it does not answer."""
    found = issued.query_chain(shell, cluster)
    if not found.ok:
        return ""
    chain = base64.b64decode(found.stdout)
    # Where both have one key, what was signed is of both: then it counts which of them the chain ends in.
    if chain_belongs_to(chain, root) and not (old and contains_root(chain, old)):
        stale = any(not is_issued_by(leaf, chain) for leaf in issued.list_leaves(shell, cluster).values())
        return OLD if stale else NEW
    return OLD if old and chain_belongs_to(chain, old) else NEITHER


def contains_root(chain_pem: bytes, root: Certificate) -> bool:
    from cryptography import x509

    return root in x509.load_pem_x509_certificates(chain_pem)


def delete_old_root(shell: Shell, settings: Settings) -> None:
    """Delete the old root's files, its certificate last: by it the rest is found."""
    files = RootFiles(settings, retiring=True)
    with shell.step("", "old root") as this:
        for file in (files.key, files.certificate):
            shell.note(f"remove {file}")
            if not shell.dry:
                file.unlink(missing_ok=True)
        this.outcome = f"gone from stores and bundles; {files.certificate} and its key are deleted"
