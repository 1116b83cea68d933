"""Checks of Keycloaks in a cluster: whether they are the issuer of the URL that they are asked by."""

from __future__ import annotations

from collections.abc import Iterator

from tasks.core.problems import Problem, Reason, problem
from tasks.core.settings import Cluster
from tasks.doctor.check import WARNING, Checks, ClusterView
from tasks.front_door.proof import find_cluster_problem
from tasks.probe.connections import SCHEMES
from tasks.probe.example_page import url_of
from tasks.probe.objects import Object
from tasks.probe.pod_trust import containers, find_owner, is_running
from tasks.probe.routes import list_routes
from tasks.probe.services import selects

CHECKS = Checks()

VARIABLE = "KC_HOSTNAME"


class KeycloakReason(Reason):
    HOSTNAME_IS_NOT_ASKED = "{owner} has KC_HOSTNAME={hostname}, but browsers and pods reach it by {urls}"


@CHECKS.check("keycloak-hostname", WARNING, "Keycloak calls itself the issuer of KC_HOSTNAME, whichever URL it is "
              "asked by, and clients refuse an issuer that is not the URL that they ask.",
              "Set KC_HOSTNAME to one of these URLs, with scheme and port, and use the same one in every application.",
              needs=["api"], link="https://www.keycloak.org/server/hostname")
def hostnames(view: ClusterView) -> Iterator[Problem]:
    """Every Keycloak is the issuer of a URL that its Ingress has"""
    found = {(find_owner(pod).title, hostname, hosts) for pod in view.snapshot.all("Pod") if is_running(pod)
             for hostname in list_hostnames(pod) if (hosts := find_hosts(view, pod))}
    for owner, hostname, hosts in sorted(found):
        if not is_asked_by(view.cluster, hostname, hosts):
            urls = " or ".join(url_of(view.cluster, "https", host, "") for host in hosts)
            yield problem(KeycloakReason.HOSTNAME_IS_NOT_ASKED, owner=owner, hostname=hostname, urls=urls)


def list_hostnames(pod: Object) -> Iterator[str]:
    """The value in each container's own variables; one from a ConfigMap or an argument is not seen."""
    for container in containers(pod):
        for entry in container.get("env") or []:
            if entry["name"] == VARIABLE and entry.get("value"):
                yield str(entry["value"])


def find_hosts(view: ClusterView, pod: Object) -> tuple[str, ...]:
    """The hosts that lead to the pod, by an Ingress and a Service."""
    services = [service for service in view.snapshot.all("Service")
                if selects(service, pod, pod["metadata"].get("labels") or {})]
    reached = {(service["metadata"]["namespace"], service["metadata"]["name"]) for service in services}
    return tuple(dict.fromkeys(route.host for route in list_routes(view.snapshot)
                               if route.host and (route.namespace, route.service) in reached))


def is_asked_by(cluster: Cluster, hostname: str, hosts: tuple[str, ...]) -> bool:
    """Whether browsers and pods can use the URL. Without a scheme it is only a host, and the rest is as asked."""
    scheme, separator, rest = hostname.partition("://")
    if not separator:
        return hostname in hosts
    url = f"{scheme}://{rest.partition('/')[0]}"
    for host in hosts:
        if url == url_of(cluster, "https", host, "", front_door=True):
            return find_cluster_problem(cluster, host) is None
        if url in [url_of(cluster, known, host, "") for known in SCHEMES]:
            return True
    return False
