"""Whether the front door works, by requests: that a container is running does not show that its ports are open."""

from __future__ import annotations

from collections.abc import Iterator

from tasks.core.addresses import base_address
from tasks.core.problems import Problem, Reason, problem
from tasks.core.settings import Cluster, Settings
from tasks.core.shell import Shell
from tasks.engine import network
from tasks.engine.ports import holder
from tasks.front_door import files
from tasks.front_door.links import Links
from tasks.probe.example_page import is_behind_front_door
from tasks.probe.requests import http_get_from
from tasks.probe.tls import fetch_certificate


class ProofReason(Reason):
    PORT_CLOSED = "{address}:{port}, the front door, does not answer: {error}"
    ANSWERED_BY_OTHERS = "{address}:{port} is answered by something else than the front door{holder}"
    CLUSTER_NOT_REACHED = "{host} is not reached through {address}:{port}, the front door: {error}"
    OTHER_CERTIFICATE = "through {address}:{port}, {host} has another certificate than on the cluster's own port {own}"
    UNREACHABLE_FOR_PODS = ("a container on the network {network} cannot reach {address}:{port}, the front door, so "
                            "pods of other clusters cannot either")


def find_page_problem(shell: Shell, settings: Settings) -> Problem | None:
    """Request the page that lists the clusters, from this machine."""
    address, port, host = base_address(settings), settings.front_door_http_port, settings.base_domain
    try:
        answer = http_get_from(address, port, host, "/")
    except OSError as error:
        return problem(ProofReason.PORT_CLOSED, address=address, port=port, error=str(error) or type(error).__name__)
    if files.page_mark(settings) not in answer.body:
        return problem(ProofReason.ANSWERED_BY_OTHERS, address=address, port=port, holder=holder(shell, port))
    return None


def find_cluster_problems(clusters: list[Cluster], links: Links) -> Iterator[Problem]:
    """Compare the certificates of running clusters through the front door with those on the clusters' own ports.

    Not of a cluster on another machine: its names resolve to that one.
    """
    for cluster in clusters:
        if not is_behind_front_door(cluster):
            continue
        secure = [link.host for link in links.get(cluster.name, []) if link.scheme == "https"]
        if why := find_cluster_problem(cluster, next(iter(secure), f"proof.{cluster.domain}")):
            yield why


def find_cluster_problem(cluster: Cluster, host: str) -> Problem | None:
    port = cluster.settings.front_door_https_port
    try:
        own = fetch_certificate(cluster, host)
    except OSError:  # not for the front door to answer for
        return None
    try:
        served = fetch_certificate(cluster, host, front_door=True)
    except OSError as error:
        return problem(ProofReason.CLUSTER_NOT_REACHED, host=host, address=cluster.address, port=port,
                       error=str(error) or type(error).__name__)
    if (served.leaf, served.code) != (own.leaf, own.code):
        return problem(ProofReason.OTHER_CERTIFICATE, host=host, address=cluster.address, port=port,
                       own=cluster.https_port)
    return None


def find_pod_problem(shell: Shell, settings: Settings) -> Problem | None:
    """Connect from a container on the clusters' network, as pods of other clusters do."""
    port = settings.front_door_http_port
    address, reached = network.host_address_for(shell, settings, port, base_address(settings))
    if reached:
        return None
    return problem(ProofReason.UNREACHABLE_FOR_PODS, network=settings.k3d_network, port=port,
                   address=address or "this machine")
