"""What goes into a cluster. To add something: a module with a function, and a line in `configure`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from tasks.ca.root import load_retiring
from tasks.core.progress import say
from tasks.core.settings import Cluster
from tasks.core.shell import Shell
from tasks.in_cluster import bundle, charts, coredns, issuer, traefik


def configure(shell: Shell, cluster: Cluster, reinstall: bool = False) -> None:
    """Bring everything into a running cluster, side by side, and end only when it is proved to work.

    `reinstall` has Helm install its charts again, also where they are there.
    """
    if reinstall:
        charts.forget(shell, cluster)
    steps: list[Callable[[Shell, Cluster], None]] = [
        issuer.configure, bundle.configure, coredns.configure, traefik.configure]
    if load_retiring(cluster.settings):  # pods are to trust both roots before anything is signed by the new one
        bundle.configure(shell, cluster)
        bundle.wait_for_pods(shell, cluster)
        steps.remove(bundle.configure)
    shell.side_by_side([partial(step, shell, cluster) for step in steps])
    if shell.dry:
        return
    say(
        f"\n{cluster.name} is ready. Names below {cluster.domain} bring you there:\n"
        f"  http://<name>.{cluster.domain}:{cluster.http_port}/\n"
        f"  https://<name>.{cluster.domain}:{cluster.https_port}/\n"
        f"  {cluster.to_type('get', 'pods', '-A')}\n"
    )
