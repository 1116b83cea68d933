"""URLs of a cluster, and the page of the examples, which shows the cluster that it belongs to."""

from __future__ import annotations

from tasks.core.addresses import base_address
from tasks.core.settings import Cluster

DEFAULT_PORTS = {"http": 80, "https": 443}


def port(cluster: Cluster, scheme: str, front_door: bool = False) -> int:
    """The port of this machine: the cluster's own, or that of the front door."""
    if front_door:
        return cluster.settings.front_door_port(scheme)
    return cluster.https_port if scheme == "https" else cluster.http_port


def is_behind_front_door(cluster: Cluster) -> bool:
    """Whether its names resolve to the machine of the front door, if there is one."""
    return cluster.address == base_address(cluster.settings)


def url_of(cluster: Cluster, scheme: str, host: str, path: str = "/", front_door: bool = False) -> str:
    """With the cluster's port; through the front door without one, if that listens on 80 and 443."""
    number = port(cluster, scheme, front_door)
    shown = "" if front_door and number == DEFAULT_PORTS[scheme] else f":{number}"
    return f"{scheme}://{host}{shown}{path}"


def example_host(cluster: Cluster) -> str:
    return f"example-nginx.{cluster.domain}"


def example_url(cluster: Cluster, scheme: str, front_door: bool = False) -> str:
    return url_of(cluster, scheme, example_host(cluster), front_door=front_door)


def is_page_of(cluster: Cluster, body: str) -> bool:
    return f"Hello from {cluster.domain}<" in body
