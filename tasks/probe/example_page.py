"""The examples' page, which says whose it is."""

from __future__ import annotations

from tasks.core.settings import Cluster


def example_host(cluster: Cluster) -> str:
    return f"example-nginx.{cluster.domain}"


def port(cluster: Cluster, scheme: str) -> int:
    return cluster.https_port if scheme == "https" else cluster.http_port


def example_url(cluster: Cluster, scheme: str) -> str:
    return f"{scheme}://{example_host(cluster)}:{port(cluster, scheme)}/"
