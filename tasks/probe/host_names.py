"""The host names of everything in a cluster that Traefik may route."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tasks.core.setting_types import is_label
from tasks.core.settings import Cluster
from tasks.core.shell import Shell
from tasks.probe.objects import Object, list_objects, query_objects
from tasks.probe.traefik_rules import find_hosts

INGRESSES = "ingresses"
OPTIONAL_KINDS = ("ingressroutes.traefik.io", "httproutes.gateway.networking.k8s.io")
"""Not every cluster has these."""


def query_host_names(shell: Shell, cluster: Cluster) -> set[str] | None:
    """Those below the cluster's domain; None if its API does not answer."""
    ingresses, error = query_objects(shell, cluster, INGRESSES)
    if error:
        return None
    others = shell.side_by_side([lambda kind=kind: list_objects(shell, cluster, kind)  # type: ignore[misc]
                                 for kind in OPTIONAL_KINDS])
    return host_names(cluster, [*ingresses, *(entry for found in others for entry in found)])


def host_names(cluster: Cluster, objects: Iterable[Object]) -> set[str]:
    """Those below the cluster's domain, without wildcards and what is not a host name."""
    hosts = {host.lower() for entry in objects for host in list_hosts(entry)}
    return {host for host in hosts if f".{host}".endswith(f".{cluster.domain}") and all(map(is_label, host.split(".")))}


def list_hosts(entry: Object) -> Iterator[str]:
    spec = entry["spec"]
    match entry["kind"]:
        case "Ingress":
            yield from (rule["host"] for rule in spec.get("rules") or [] if rule.get("host"))
            yield from (host for tls in spec.get("tls") or [] for host in tls.get("hosts") or [])
        case "IngressRoute":
            yield from (host for route in spec.get("routes") or [] for host in find_hosts(str(route.get("match", ""))))
        case "HTTPRoute":
            yield from spec.get("hostnames") or []
