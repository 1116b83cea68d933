"""The hops inside the cluster, from Traefik to the pods."""

from __future__ import annotations

import difflib

from tasks.cluster.changed_settings import recreate_command
from tasks.core.problems import Reason
from tasks.probe.example_page import example_host
from tasks.probe.ingress_routes import covers_host, find_deployment, has_port, list_routes
from tasks.probe.requests import TRAEFIK_NOT_FOUND, http_get, tls_trusting_all
from tasks.probe.snapshot import read_condition
from tasks.trace.context import HopFailure, HopResult, TraceContext, unknown


class ClusterReason(Reason):
    CLUSTER_NOT_RUNNING = "{cluster} is {state}"
    API_NOT_ANSWERING = "the API of {cluster} does not answer: {error}"
    TRAEFIK_MISSING = "the Deployment does not exist. Was the cluster created with --disable=traefik?"
    TRAEFIK_SCALED_DOWN = "the Deployment has 0 replicas"
    TRAEFIK_UNAVAILABLE = "the Deployment is not available: {message}"
    TRAEFIK_WITHOUT_ENDPOINTS = "the Service {service} has no ready pods"
    INGRESS_MISSING = ("no Ingress for Traefik has this host{suggestion} (IngressRoutes and HTTPRoutes are not read "
                       "here)")
    PATH_MISSING = ("no Ingress for Traefik has a path that matches {path}, only {paths} (IngressRoutes and "
                    "HTTPRoutes are not read here)")
    ENTRY_POINT_EXCLUDED = "the annotation router.entrypoints excludes {scheme}"
    SERVICE_MISSING = "the Service does not exist, but the Ingress {ingress} points to it"
    SERVICE_PORT_MISSING = "the Service has port {ports}, but the Ingress {ingress} points to {port}"
    NO_ENDPOINTS = "the Service has no ready pods, and no Deployment matches its selector ({selector})"
    DEPLOYMENT_SCALED_DOWN = "the Deployment {deployment} has 0 replicas"
    NO_READY_POD = "no pod of the Deployment {deployment} is ready: {message}"


class UnknownReason(Reason):
    """Why a hop in the cluster cannot be judged."""

    OTHER_ROUTE_ANSWERS = "no Ingress; an IngressRoute or HTTPRoute answers, which are not read here"
    NO_ROUTE = "not known without an Ingress"
    EXTERNAL_SERVICE = "points to {name}, outside the cluster"


def check_traefik(trace: TraceContext) -> HopResult:
    """Traefik is available, through its Services for this machine and for pods."""
    at = "kube-system/traefik"
    if not trace.k3d_cluster.running:  # its API would only time out
        raise HopFailure(at, trace.inv_command("start"), ClusterReason.CLUSTER_NOT_RUNNING, cluster=trace.cluster.name,
                         state=trace.k3d_cluster.state)
    snapshot = trace.snapshot
    if snapshot.error:
        raise HopFailure(at, trace.inv_command("restart"), ClusterReason.API_NOT_ANSWERING, cluster=trace.cluster.name,
                         error=snapshot.error)
    deployment = snapshot.one("Deployment", "traefik", "kube-system")
    if deployment is None:
        raise HopFailure(at, recreate_command(trace.cluster), ClusterReason.TRAEFIK_MISSING)
    if deployment["spec"].get("replicas") == 0:
        raise HopFailure(at, trace.kubectl_command("-n kube-system scale deployment/traefik --replicas=1"),
                         ClusterReason.TRAEFIK_SCALED_DOWN)
    available, message = read_condition(deployment, "Available")
    if not available:
        raise HopFailure(at, trace.kubectl_command("-n kube-system describe pods -l app.kubernetes.io/name=traefik"),
                         ClusterReason.TRAEFIK_UNAVAILABLE, message=message)
    for service, command in (("traefik", trace.kubectl_command("-n kube-system describe service traefik")),
                             ("traefik-internal", trace.inv_command("configure"))):
        if not snapshot.ready_endpoints(service, "kube-system"):
            raise HopFailure(at, command, ClusterReason.TRAEFIK_WITHOUT_ENDPOINTS, service=service)
    return HopResult(at, "available, through the Services traefik and traefik-internal")


def check_ingress(trace: TraceContext) -> HopResult:
    """An Ingress matches host and path, or something else answers."""
    route = trace.route
    if route is None:
        if is_answered(trace):
            return unknown(trace.url.host, UnknownReason.OTHER_ROUTE_ANSWERS)
        raise explain_missing_route(trace)
    at = f"{route.namespace}/{route.name}"
    if not route.accepts_scheme(trace.url.scheme):
        raise HopFailure(at, trace.fix_command(f"edit ingress {route.name}"), ClusterReason.ENTRY_POINT_EXCLUDED,
                         scheme=trace.url.scheme)
    return HopResult(at, f"{route.host or 'every host'}, path {route.path}")


def is_answered(trace: TraceContext) -> bool:
    """Whether Traefik has another route for the URL: it reads more than Ingresses."""
    try:
        answer = http_get(trace.cluster, trace.url.scheme, trace.url.host, trace.url.path, tls_trusting_all)
    except OSError:
        return False
    return answer.body != TRAEFIK_NOT_FOUND


def explain_missing_route(trace: TraceContext) -> HopFailure:
    host, routes = trace.url.host, [*list_routes(trace.snapshot)]
    command = (trace.inv_command("examples") if host == example_host(trace.cluster)
               else trace.kubectl_command("get ingresses -A"))
    paths = [route.path for route in routes if covers_host(route.host, host)]
    if paths:
        return HopFailure(host, command, ClusterReason.PATH_MISSING, path=trace.url.path, paths=", ".join(paths))
    hosts = sorted({route.host for route in routes if route.host})
    near = difflib.get_close_matches(host, hosts, n=3, cutoff=0.8)
    return HopFailure(host, command, ClusterReason.INGRESS_MISSING,
                      suggestion=f"; did you mean {' or '.join(near)}?" if near else "")


def check_service(trace: TraceContext) -> HopResult:
    """The Service that the Ingress points to exists and has that port."""
    route = trace.route
    if route is None:
        return unknown("", UnknownReason.NO_ROUTE)
    at = f"{route.namespace}/{route.service}"
    if trace.service is None:
        raise HopFailure(at, trace.fix_command("get services"), ClusterReason.SERVICE_MISSING, ingress=route.name)
    if not has_port(trace.service, route.port):
        ports = ", ".join(str(entry["port"]) for entry in trace.service["spec"].get("ports") or [])
        raise HopFailure(at, trace.fix_command(f"edit ingress {route.name}"), ClusterReason.SERVICE_PORT_MISSING,
                         ports=ports, ingress=route.name, port=route.port)
    return HopResult(at, f"port {route.port}")


def check_endpoints(trace: TraceContext) -> HopResult:
    """The Service has a ready pod."""
    route = trace.route
    if route is None or trace.service is None:
        return unknown("", UnknownReason.NO_ROUTE)
    at = f"{route.namespace}/{route.service}"
    if trace.service["spec"].get("type") == "ExternalName":
        return unknown(at, UnknownReason.EXTERNAL_SERVICE, name=trace.service["spec"].get("externalName"))
    ready = trace.snapshot.ready_endpoints(route.service, route.namespace)
    if ready:
        return HopResult(at, f"ready: {', '.join(ready)}")
    selector = ",".join(f"{key}={value}" for key, value in (trace.service["spec"].get("selector") or {}).items())
    deployment = find_deployment(trace.snapshot, trace.service)
    if deployment is None:
        raise HopFailure(at, trace.fix_command("get pods --show-labels"), ClusterReason.NO_ENDPOINTS,
                         selector=selector or "none")
    name = deployment["metadata"]["name"]
    if deployment["spec"].get("replicas") == 0:
        raise HopFailure(at, trace.fix_command(f"scale deployment/{name} --replicas=1"),
                         ClusterReason.DEPLOYMENT_SCALED_DOWN, deployment=name)
    raise HopFailure(at, trace.namespaced_command(f"describe pods -l {selector}"), ClusterReason.NO_READY_POD,
                     deployment=name, message=read_condition(deployment, "Available")[1])
