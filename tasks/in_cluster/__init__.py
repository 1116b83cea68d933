"""What goes into a cluster. To add something: a module with a function, and a line in `configure`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from tasks.ca.root import Roots
from tasks.core.browser_ports import describe_blocked, urls_to_open
from tasks.core.progress import say
from tasks.core.settings import Cluster
from tasks.core.shell import Shell
from tasks.in_cluster import bundle, charts, coredns, issuer, traefik


def configure(shell: Shell, cluster: Cluster, roots: Roots, reinstall: bool = False) -> None:
    """Bring everything into a running cluster, side by side, and end only when it is proved to work.

    `reinstall` has Helm install its charts again, also where they are there.
    """
    if reinstall:
        charts.forget(shell, cluster)
    trust = partial(bundle.configure, shell, cluster, roots)
    steps: list[Callable[[], None]] = [
        partial(issuer.configure, shell, cluster, roots),
        trust,
        partial(coredns.configure, shell, cluster),
        partial(traefik.configure, shell, cluster),
    ]
    if roots.retiring:  # pods must trust both roots before anything is signed by the new one
        trust()
        bundle.wait_for_pods(shell, cluster, roots)
        steps.remove(trust)
    shell.side_by_side(steps)
    if shell.dry:
        return
    say("\n".join([
        f"\n{cluster.name} is ready. Names below {cluster.domain} bring you there:",
        *(f"  {url}" for url in urls_to_open(cluster)),
        f"  {cluster.to_type('get', 'pods', '-A')}",
        *describe_blocked([cluster]),
        "",
    ]))
