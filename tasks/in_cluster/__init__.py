"""What goes into a cluster. To add something: a module with a function, and a line in `configure`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from tasks.ca.root import Roots
from tasks.core.progress import say
from tasks.core.settings import Cluster
from tasks.core.shell import Shell
from tasks.in_cluster import bundle, charts, coredns, issuer, pod_trust, refusal, traefik


def configure(shell: Shell, cluster: Cluster, roots: Roots, reinstall: bool = False) -> None:
    """Bring everything into a running cluster, side by side, and end only when it is proved to work.

    `reinstall` has Helm install its charts again, also where they are there.
    """
    if reinstall:
        charts.forget(shell, cluster)
    steps: list[Callable[[], None]] = [
        partial(issuer.configure, shell, cluster, roots),
        partial(trust_in_pods, shell, cluster, roots),
        partial(refusal.configure, shell, cluster),
        partial(coredns.configure, shell, cluster),
        partial(traefik.configure, shell, cluster),
    ]
    if roots.retiring:  # pods must trust both roots before anything is signed by the new one
        bundle.configure(shell, cluster, roots)
        bundle.wait_for_pods(shell, cluster, roots)
    shell.side_by_side(steps)
    if shell.dry:
        return
    say(
        f"\n{cluster.name} is ready. Names below {cluster.domain} bring you there:\n"
        f"  http://<name>.{cluster.domain}:{cluster.http_port}/\n"
        f"  https://<name>.{cluster.domain}:{cluster.https_port}/\n"
        f"  {cluster.to_type('get', 'pods', '-A')}\n"
    )


def trust_in_pods(shell: Shell, cluster: Cluster, roots: Roots) -> None:
    """The bundle, and only then the policies: a pod that must mount it waits until it is there."""
    bundle.configure(shell, cluster, roots)
    pod_trust.configure(shell, cluster)
