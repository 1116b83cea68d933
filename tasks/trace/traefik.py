"""The hops at Traefik: whether it is available, and whether it has a router for the URL."""

from __future__ import annotations

from tasks.cluster.changed_settings import recreate_command
from tasks.core.problems import Reason, describe
from tasks.core.settings import Cluster
from tasks.probe.limits import find_traefik_limit
from tasks.probe.requests import TRAEFIK_NOT_FOUND, Answer, http_get, tls_trusting_all
from tasks.probe.services import explain_unready_pods
from tasks.probe.snapshot import read_condition
from tasks.trace.context import HopFailure, HopResult, TraceContext, unknown
from tasks.trace.url import ClusterUrl


class TraefikReason(Reason):
    CLUSTER_NOT_RUNNING = "{cluster} is {state}"
    API_NOT_ANSWERING = "the API of {cluster} does not answer: {error}"
    TRAEFIK_MISSING = "the Deployment does not exist. Was the cluster created with --disable=traefik?"
    TRAEFIK_SCALED_DOWN = "the Deployment has 0 replicas"
    TRAEFIK_UNAVAILABLE = "the Deployment is not available: {message}"
    TRAEFIK_WITHOUT_ENDPOINTS = "the Service {service} has no ready pods"
    ROUTER_DROPPED = "Traefik has no router for the {source}. Its log says: {log}"
    ROUTER_MISSING = ("Traefik answers 404 itself: it has no router for the {source}, and its log does not mention it. "
                      "If it was changed just now, trace again")
    ROUTER_UNKNOWN = "not known: {error}"


def check_traefik(trace: TraceContext) -> HopResult:
    """Traefik is available, through its Services for this machine and for pods."""
    at = "kube-system/traefik"
    if not trace.existing.running:  # its API would only time out
        raise HopFailure(at, trace.inv_command("start"), TraefikReason.CLUSTER_NOT_RUNNING, cluster=trace.cluster.name,
                         state=trace.existing.state)
    snapshot = trace.snapshot
    if snapshot.error:
        raise HopFailure(at, trace.inv_command("restart"), TraefikReason.API_NOT_ANSWERING, cluster=trace.cluster.name,
                         error=snapshot.error)
    deployment = snapshot.one("Deployment", "traefik", "kube-system")
    if deployment is None and (limit := find_traefik_limit(trace.shell, trace.cluster)):
        return HopResult(at, describe(limit), "grey", limit.code)
    if deployment is None:
        raise HopFailure(at, recreate_command(trace.cluster), TraefikReason.TRAEFIK_MISSING)
    if deployment["spec"].get("replicas") == 0:
        scale = trace.cluster.to_type("-n", "kube-system", "scale", "deployment/traefik", "--replicas=1")
        raise HopFailure(at, scale, TraefikReason.TRAEFIK_SCALED_DOWN)
    available, message = read_condition(deployment, "Available")
    if not available:
        pods = [pod for pod in snapshot.all("Pod") if pod["metadata"].get("namespace") == "kube-system"
                and (pod["metadata"].get("labels") or {}).get("app.kubernetes.io/name") == "traefik"]
        raise HopFailure(at, "", TraefikReason.TRAEFIK_UNAVAILABLE, message=explain_unready_pods(pods) or message)
    for service, command in (("traefik", ""), ("traefik-internal", trace.inv_command("configure"))):
        if not snapshot.ready_endpoints(service, "kube-system"):
            raise HopFailure(at, command, TraefikReason.TRAEFIK_WITHOUT_ENDPOINTS, service=service)
    return HopResult(at, "available, through the Services traefik and traefik-internal")


def check_router(trace: TraceContext) -> HopResult:
    """Traefik has a router for the URL: it drops one that it cannot build, and writes to its log why."""
    at = trace.url.path
    try:
        answer = request_unverified(trace.cluster, trace.url)
        missing, error = answer.status == 404 and answer.body == TRAEFIK_NOT_FOUND, ""
    except OSError as caught:
        missing, error = bool(trace.traefik_errors), str(caught)
    if not missing:
        return unknown(at, TraefikReason.ROUTER_UNKNOWN, error=error) if error else HopResult(at, "exists")
    source = trace.route.label if trace.route else "URL"
    if trace.traefik_errors:
        raise HopFailure(at, "", TraefikReason.ROUTER_DROPPED, source=source, log="; ".join(trace.traefik_errors))
    raise HopFailure(at, "", TraefikReason.ROUTER_MISSING, source=source)


def request_unverified(cluster: Cluster, url: ClusterUrl) -> Answer:
    return http_get(cluster, url.scheme, url.host, url.path, tls_trusting_all)
