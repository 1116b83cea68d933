"""What goes into a cluster. To add something: a module with a function, and a line in `configure`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from tasks.ca.root import Roots
from tasks.core.browser_ports import describe_blocked, urls_to_open
from tasks.core.progress import say
from tasks.core.settings import Cluster
from tasks.core.shell import Shell
from tasks.in_cluster import (
    bundle,
    charts,
    coredns,
    default_certificate,
    https_redirect,
    issuer,
    local_registry,
    pod_trust,
    refusal,
    traefik,
)


def configure(shell: Shell, cluster: Cluster, roots: Roots, reinstall: bool = False) -> None:
    """Configure a running cluster, in parallel, and return when everything is verified to work.

    `reinstall` lets Helm install its charts again even if they are up to date.
    """
    if reinstall:
        charts.mark_for_reinstall(shell, cluster)
    steps: list[Callable[[], None]] = [
        partial(issuer.configure, shell, cluster, roots),
        partial(configure_trust, shell, cluster, roots),
        partial(refusal.configure, shell, cluster),
        partial(coredns.configure, shell, cluster),
        partial(traefik.configure, shell, cluster),
        partial(default_certificate.configure, shell, cluster),
        partial(https_redirect.configure, shell, cluster),
        partial(local_registry.configure, shell, cluster),
    ]
    if roots.retiring:  # pods must trust both roots before the new one issues anything
        bundle.configure(shell, cluster, roots)
        bundle.wait_for_pods(shell, cluster, roots)
    shell.side_by_side(steps)
    traefik.wait_for_pages(shell, cluster)
    if shell.dry:
        return
    say("\n".join([
        f"\n{cluster.name} is ready. It serves all names below {cluster.domain}:",
        *(f"  {url}" for url in urls_to_open(cluster)),
        f"  {cluster.to_type('get', 'pods', '-A')}",
        *describe_blocked([cluster]),
        "",
    ]))


def configure_trust(shell: Shell, cluster: Cluster, roots: Roots) -> None:
    """The bundle first, then the policies: a pod that mounts the bundle does not start before it exists."""
    bundle.configure(shell, cluster, roots)
    pod_trust.configure(shell, cluster)
