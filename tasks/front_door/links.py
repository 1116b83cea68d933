"""The hosts of the Ingresses in the running clusters, for the page of the front door."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from tasks.core.settings import Cluster
from tasks.core.shell import Shell
from tasks.probe.example_page import url_of
from tasks.probe.objects import list_objects
from tasks.probe.routes import Route, list_ingress


class Link(NamedTuple):
    host: str
    scheme: str
    path: str
    url: str

    @property
    def text(self) -> str:
        return f"{self.host}{self.path.rstrip('/')}"


Links = dict[str, list[Link]]
"""By the name of the cluster, each host once."""


def find_links(shell: Shell, clusters: list[Cluster]) -> Links:
    """Read them side by side; a cluster that does not answer has none."""
    found = shell.side_by_side([partial(find_links_of, shell, cluster) for cluster in clusters])
    return {cluster.name: links for cluster, links in zip(clusters, found, strict=True)}


def find_links_of(shell: Shell, cluster: Cluster) -> list[Link]:
    """One for each host below the cluster's domain, with its shortest path. A wildcard is not a page."""
    routes = [route for ingress in list_objects(shell, cluster, "ingresses") for route in list_ingress(ingress)
              if f".{route.host}".endswith(f".{cluster.domain}") and "*" not in route.host]
    first: dict[str, Route] = {}
    for route in sorted(routes, key=lambda route: (route.host, len(route.path))):
        first.setdefault(route.host, route)
    return [make_link(cluster, route) for route in first.values()]


def make_link(cluster: Cluster, route: Route) -> Link:
    scheme = "http" if route.secret is None else "https"
    path = route.path if route.path.startswith("/") else "/"
    return Link(route.host, scheme, path, url_of(cluster, scheme, route.host, path, front_door=True))
