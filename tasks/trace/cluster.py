"""The hops in the cluster, from Traefik to the pods."""

from __future__ import annotations

import difflib

from tasks.cluster.changed_settings import recreate_command
from tasks.core.problems import Reason
from tasks.probe.example_page import example_host
from tasks.probe.ingress_routes import covers_host, deployment_of, has_port, list_routes
from tasks.probe.requests import TRAEFIK_NOT_FOUND, http_get, tls_trusting_all
from tasks.probe.snapshot import read_condition
from tasks.trace.context import Broken, Found, TraceContext, broken


class ClusterReason(Reason):
    CLUSTER_NOT_RUNNING = "{cluster} is {state}"
    API_NOT_ANSWERING = "the API of {cluster} does not answer: {error}"
    TRAEFIK_MISSING = "the Deployment does not exist. Was the cluster created with --disable=traefik?"
    TRAEFIK_SCALED_DOWN = "the Deployment has 0 replicas"
    TRAEFIK_UNAVAILABLE = "the Deployment is not available: {message}"
    TRAEFIK_WITHOUT_ENDPOINTS = "no pod is behind the Service {service}"
    INGRESS_MISSING = ("no Ingress that Traefik reads has this host{suggestion} (IngressRoutes and HTTPRoutes are not "
                       "read here)")
    PATH_MISSING = ("no Ingress that Traefik reads has a path for {path}, only for {paths} (IngressRoutes and "
                    "HTTPRoutes are not read here)")
    ENTRY_POINT_EXCLUDED = "its annotation router.entrypoints excludes {scheme}"
    SERVICE_MISSING = "the Service does not exist, but the Ingress {ingress} points to it"
    SERVICE_PORT_MISSING = "has port {ports}, but the Ingress {ingress} points to {port}"
    NO_ENDPOINTS = "no pod is behind it, and no Deployment has pods with its labels ({selector})"
    DEPLOYMENT_SCALED_DOWN = "the Deployment {deployment} has 0 replicas"
    NO_READY_POD = "no pod of the Deployment {deployment} is ready: {message}"


def traefik(trace: TraceContext) -> Found:
    """Traefik is available, and behind its Services for this machine and for pods."""
    at = "kube-system/traefik"
    if not trace.k3d_cluster.running:  # waiting for its API would take long
        raise broken(at, trace.inv("start"), ClusterReason.CLUSTER_NOT_RUNNING, cluster=trace.cluster.name,
                     state=trace.k3d_cluster.state)
    snapshot = trace.snapshot
    if snapshot.error:
        raise broken(at, trace.inv("restart"), ClusterReason.API_NOT_ANSWERING, cluster=trace.cluster.name,
                     error=snapshot.error)
    deployment = snapshot.one("Deployment", "traefik", "kube-system")
    if deployment is None:
        raise broken(at, recreate_command(trace.cluster), ClusterReason.TRAEFIK_MISSING)
    if deployment["spec"].get("replicas") == 0:
        raise broken(at, trace.kubectl("-n kube-system scale deployment/traefik --replicas=1"),
                     ClusterReason.TRAEFIK_SCALED_DOWN)
    available, message = read_condition(deployment, "Available")
    if not available:
        raise broken(at, trace.kubectl("-n kube-system describe pods -l app.kubernetes.io/name=traefik"),
                     ClusterReason.TRAEFIK_UNAVAILABLE, message=message)
    for service, command in (("traefik", trace.kubectl("-n kube-system describe service traefik")),
                             ("traefik-internal", trace.inv("configure"))):
        if not snapshot.ready_endpoints(service, "kube-system"):
            raise broken(at, command, ClusterReason.TRAEFIK_WITHOUT_ENDPOINTS, service=service)
    return Found(at, "available, behind the Services traefik and traefik-internal")


def ingress(trace: TraceContext) -> Found:
    """There is an Ingress for host and path, or something else answers."""
    route = trace.route
    if route is None:
        if answers_anyway(trace):
            return Found(trace.url.host, "no Ingress; an IngressRoute or HTTPRoute answers, which are not read here",
                         "grey")
        raise explain_missing_route(trace)
    at = f"{route.namespace}/{route.name}"
    if not route.is_served_at(trace.url.scheme):
        raise broken(at, trace.fix(f"edit ingress {route.name}"), ClusterReason.ENTRY_POINT_EXCLUDED,
                     scheme=trace.url.scheme)
    return Found(at, f"{route.host or 'every host'}, path {route.path}")


def answers_anyway(trace: TraceContext) -> bool:
    """Whether something answers: Traefik reads more than Ingresses."""
    try:
        answer = http_get(trace.cluster, trace.url.scheme, trace.url.host, trace.url.path, tls_trusting_all)
    except OSError:
        return False
    return answer.body != TRAEFIK_NOT_FOUND


def explain_missing_route(trace: TraceContext) -> Broken:
    host, routes = trace.url.host, [*list_routes(trace.snapshot)]
    command = (trace.inv("examples") if host == example_host(trace.cluster)
               else trace.kubectl("get ingresses -A"))
    paths = [route.path for route in routes if covers_host(route.host, host)]
    if paths:
        return broken(host, command, ClusterReason.PATH_MISSING, path=trace.url.path, paths=", ".join(paths))
    hosts = sorted({route.host for route in routes if route.host})
    near = difflib.get_close_matches(host, hosts, n=3, cutoff=0.8)
    return broken(host, command, ClusterReason.INGRESS_MISSING,
                  suggestion=f"; did you mean {' or '.join(near)}?" if near else "")


def service(trace: TraceContext) -> Found:
    """The Service that the Ingress names exists, with that port."""
    route = trace.route
    if route is None:
        return Found("", "not known without an Ingress", "grey")
    at = f"{route.namespace}/{route.service}"
    if trace.service is None:
        raise broken(at, trace.fix("get services"), ClusterReason.SERVICE_MISSING, ingress=route.name)
    if not has_port(trace.service, route.port):
        ports = ", ".join(str(entry["port"]) for entry in trace.service["spec"].get("ports") or [])
        raise broken(at, trace.fix(f"edit ingress {route.name}"), ClusterReason.SERVICE_PORT_MISSING, ports=ports,
                     ingress=route.name, port=route.port)
    return Found(at, f"port {route.port}")


def endpoints(trace: TraceContext) -> Found:
    """A ready pod is behind the Service."""
    route = trace.route
    if route is None or trace.service is None:
        return Found("", "not known without an Ingress", "grey")
    at = f"{route.namespace}/{route.service}"
    if trace.service["spec"].get("type") == "ExternalName":
        return Found(at, f"points to {trace.service['spec'].get('externalName')}, outside the cluster", "grey")
    ready = trace.snapshot.ready_endpoints(route.service, route.namespace)
    if ready:
        return Found(at, f"ready: {', '.join(ready)}")
    selector = ",".join(f"{key}={value}" for key, value in (trace.service["spec"].get("selector") or {}).items())
    deployment = deployment_of(trace.snapshot, trace.service)
    if deployment is None:
        raise broken(at, trace.fix("get pods --show-labels"), ClusterReason.NO_ENDPOINTS, selector=selector or "none")
    name = deployment["metadata"]["name"]
    if deployment["spec"].get("replicas") == 0:
        raise broken(at, trace.fix(f"scale deployment/{name} --replicas=1"), ClusterReason.DEPLOYMENT_SCALED_DOWN,
                     deployment=name)
    raise broken(at, trace.in_namespace(f"describe pods -l {selector}"), ClusterReason.NO_READY_POD, deployment=name,
                 message=read_condition(deployment, "Available")[1])
