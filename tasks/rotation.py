"""The time between two roots: both are trusted, until nothing is signed by the old one any more.

`inv cert-renew` begins it: the old root lies beside the new one, as `<TLD>-ca.retiring.*`. It ends with whoever
configures the last cluster.
"""

from __future__ import annotations

import base64
from functools import partial
from typing import TYPE_CHECKING

from tasks import trust
from tasks.as_root import openly
from tasks.ca import RootFiles, is_of, leaf_is_of, load_retiring, load_root
from tasks.existing import existing, ours
from tasks.in_cluster import bundle, issuer
from tasks.progress import per_cluster
from tasks.settings import Cluster, Settings
from tasks.shell import Shell
from tasks.trust.root import read

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
            return this.warn("a renewal was begun, and there is no new root yet. It goes on with: inv cert-renew")
        if held := holding(shell, settings):
            return this.warn("\n".join(["still trusted, because of:", *(f"    {line}" for line in held),
                                         "    Or delete what is not needed any more, then: inv cert-renew"]))
        this.outcome = "nothing is signed by it any more"
    openly(shell, partial(trust.remove_root, root=read(RootFiles(settings, retiring=True).certificate)))
    per_cluster([cluster for cluster, _ in known(shell, settings)], partial(take_out, shell), at_once=not shell.dry)
    forget(shell, settings)


def take_out(shell: Shell, cluster: Cluster) -> None:
    with shell.one_at_a_time(cluster.name):
        bundle.configure(shell, cluster, with_retiring=False)


def holding(shell: Shell, settings: Settings) -> list[str]:
    """Which clusters still need the old root, why, and what to type."""
    return [f"{cluster.name} {why}" for cluster, why in known(shell, settings) if why]


def known(shell: Shell, settings: Settings) -> list[tuple[Cluster, str]]:
    """The clusters that are of one of the two roots, or that cannot be asked; and why each still needs the old one."""
    root, old, clusters = load_root(settings), load_retiring(settings), []
    for cluster, running in here(shell, settings):
        if not running:
            clusters.append((cluster, f"does not run, and cannot be asked: {setup(cluster)}"))
            continue
        which = root_of(shell, cluster, root, old)
        if which != NEITHER:
            why = {NEW: "", OLD: f"has certificates of it: inv k3d-cluster-configure --n {cluster.number}"}
            clusters.append((cluster, why.get(which, f"does not answer: {setup(cluster)}")))
    return clusters


def setup(cluster: Cluster) -> str:
    return f"inv k3d-cluster-setup --n {cluster.number}"


def here(shell: Shell, settings: Settings) -> list[tuple[Cluster, bool]]:
    """The clusters of these settings, and whether each runs. Exit when there may be some and they cannot be seen."""
    if not (shell.find("k3d") and shell.find("docker")):
        return []
    found = existing(shell)
    return [(cluster, found[cluster.name].running) for cluster in ours(settings, found)]


def root_of(shell: Shell, cluster: Cluster, root: Certificate, old: Certificate | None) -> str:
    """Which root a running cluster is of, its leaves too: NEW, OLD or NEITHER; empty when it does not answer."""
    found = issuer.look_for_chain(shell, cluster)
    if not found.ok:
        return ""
    chain = base64.b64decode(found.stdout)
    # Where both have one key, what was signed is of both: then it counts which of them the chain ends in.
    if is_of(chain, root) and not (old and holds(chain, old)):
        stale = any(not leaf_is_of(leaf, chain) for leaf in issuer.leaves(shell, cluster).values())
        return OLD if stale else NEW
    return OLD if old and is_of(chain, old) else NEITHER


def holds(chain_pem: bytes, root: Certificate) -> bool:
    from cryptography import x509

    return root in x509.load_pem_x509_certificates(chain_pem)


def forget(shell: Shell, settings: Settings) -> None:
    """Delete the old root's files, its certificate last: by it the rest is found."""
    files = RootFiles(settings, retiring=True)
    with shell.step("", "old root") as this:
        for file in (files.key, files.certificate):
            shell.note(f"remove {file}")
            if not shell.dry:
                file.unlink(missing_ok=True)
        this.outcome = f"gone from stores and bundles; {files.certificate} and its key are deleted"
