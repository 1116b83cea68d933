"""A Middleware of Traefik for Ingresses that ask for a redirect from HTTP to HTTPS by an annotation."""

from __future__ import annotations

from tasks.core.settings import Cluster
from tasks.core.shell import Shell
from tasks.in_cluster.apply import apply, render_manifest, wait_for_kind
from tasks.probe.example_page import url_of
from tasks.probe.limits import find_traefik_limit


def configure(shell: Shell, cluster: Cluster) -> None:
    """Apply it if HTTPS_REDIRECT is true. Never remove it: Traefik serves no Ingress whose Middleware is missing."""
    if not cluster.settings.https_redirect or find_traefik_limit(shell, cluster):
        return
    with shell.step(cluster.name, "redirect from HTTP to HTTPS") as this:
        wait_for_kind(shell, cluster, "middlewares.traefik.io", "Traefik's Middlewares")
        manifest = render_manifest(cluster, "in_cluster/https-redirect.yaml", **front_door_urls(cluster))
        this.outcome = "applied" if apply(shell, cluster, manifest) else "already there"


def front_door_urls(cluster: Cluster) -> dict[str, str]:
    """The form of URLs through the front door, before and after the redirect, for a regular expression."""
    return {"from_front_door": url_of(cluster, "http", "([^/:]+)", "/(.*)", front_door=True),
            "to_front_door": url_of(cluster, "https", "${1}", "/${2}", front_door=True)}
