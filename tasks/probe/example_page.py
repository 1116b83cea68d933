"""The page of the examples, which shows the cluster that it belongs to."""

from __future__ import annotations

from tasks.core.settings import Cluster


def example_host(cluster: Cluster) -> str:
    return f"example-nginx.{cluster.domain}"


def example_url(cluster: Cluster, scheme: str) -> str:
    return f"{scheme}://{example_host(cluster)}:{port(cluster, scheme)}/"


def is_page_of(cluster: Cluster, body: str) -> bool:
    return f"Hello from {cluster.domain}<" in body


def port(cluster: Cluster, scheme: str) -> int:
    return cluster.https_port if scheme == "https" else cluster.http_port
