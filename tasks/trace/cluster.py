"""From Traefik to the pods: what is in the cluster."""

from __future__ import annotations

import difflib

from tasks.cluster.changed_settings import recreate_command
from tasks.probe.example_page import example_host
from tasks.probe.ingress_routes import covers_host, deployment_of, has_port, list_routes
from tasks.probe.requests import TRAEFIKS_OWN, http_get, tls_trusting_all
from tasks.probe.snapshot import read_condition
from tasks.trace.context import Broken, Found, TraceContext


def traefik(walk: TraceContext) -> Found:
    """It is available, and behind its Services for this machine and for pods."""
    at = "kube-system/traefik"
    if not walk.found.running:  # its API would keep us waiting
        raise Broken(at, f"{walk.cluster.name} is {walk.found.state}", walk.inv("start"))
    seen = walk.seen
    if seen.error:
        raise Broken(at, f"the API of {walk.cluster.name} does not answer: {seen.error}", walk.inv("restart"))
    deployment = seen.one("Deployment", "traefik", "kube-system")
    if deployment is None:
        raise Broken(at, "there is no such Deployment. Was the cluster made with --disable=traefik?",
                     recreate_command(walk.cluster))
    if deployment["spec"].get("replicas") == 0:
        raise Broken(at, "the Deployment has 0 replicas",
                     walk.kubectl("-n kube-system scale deployment/traefik --replicas=1"))
    available, message = read_condition(deployment, "Available")
    if not available:
        raise Broken(at, f"the Deployment is not available: {message}",
                     walk.kubectl("-n kube-system describe pods -l app.kubernetes.io/name=traefik"))
    for service, mend in (("traefik", walk.kubectl("-n kube-system describe service traefik")),
                          ("traefik-internal", walk.inv("configure"))):
        if not seen.ready_endpoints(service, "kube-system"):
            raise Broken(at, f"no pod is behind the Service {service}", mend)
    return Found(at, "available, behind the Services traefik and traefik-internal")


def ingress(walk: TraceContext) -> Found:
    """There is one for host and path, or something else answers."""
    host, route = walk.address.host, walk.route
    if route is None:
        if answers_by_other_means(walk):
            return Found(host, "no Ingress; an IngressRoute or HTTPRoute answers, which are not read here", "grey")
        hosts = sorted({found.host for found in list_routes(walk.seen) if found.host})
        near = difflib.get_close_matches(host, hosts, n=3, cutoff=0.8)
        same = [found.path for found in list_routes(walk.seen) if covers_host(found.host, host)]
        why = (f"has a path for {walk.address.path}, only for {', '.join(same)}" if same
               else "has this host" + (f"; did you mean {' or '.join(near)}?" if near else ""))
        raise Broken(host, f"no Ingress that Traefik reads {why} (IngressRoutes and HTTPRoutes are not read here)",
                     walk.inv("examples") if host == example_host(walk.cluster)
                     else walk.kubectl("get ingresses -A"))
    at = f"{route.namespace}/{route.name}"
    if not route.is_served_at(walk.address.scheme):
        raise Broken(at, f"its annotation router.entrypoints leaves {walk.address.scheme} out",
                     walk.mend(f"edit ingress {route.name}"))
    return Found(at, f"{route.host or 'every host'}, path {route.path}")


def answers_by_other_means(walk: TraceContext) -> bool:
    """Whether something does answer: Traefik reads more than Ingresses."""
    try:
        answer = http_get(walk.cluster, walk.address.scheme, walk.address.host, walk.address.path, tls_trusting_all)
    except OSError:
        return False
    return answer.body != TRAEFIKS_OWN


def service(walk: TraceContext) -> Found:
    """The one that the Ingress names is there, with that port."""
    route = walk.route
    if route is None:
        return Found("", "not known without an Ingress", "grey")
    at = f"{route.namespace}/{route.service}"
    if walk.service is None:
        raise Broken(at, f"there is no such Service, and the Ingress {route.name} leads to it",
                     walk.mend("get services"))
    if not has_port(walk.service, route.port):
        ports = ", ".join(str(entry["port"]) for entry in walk.service["spec"].get("ports") or [])
        raise Broken(at, f"has port {ports}, and the Ingress {route.name} leads to {route.port}",
                     walk.mend(f"edit ingress {route.name}"))
    return Found(at, f"port {route.port}")


def endpoints(walk: TraceContext) -> Found:
    """A ready pod is behind the Service."""
    route = walk.route
    if route is None or walk.service is None:
        return Found("", "not known without an Ingress", "grey")
    at = f"{route.namespace}/{route.service}"
    if walk.service["spec"].get("type") == "ExternalName":
        return Found(at, f"leads to {walk.service['spec'].get('externalName')}, outside of the cluster", "grey")
    ready = walk.seen.ready_endpoints(route.service, route.namespace)
    if ready:
        return Found(at, f"ready: {', '.join(ready)}")
    selector = ",".join(f"{key}={value}" for key, value in (walk.service["spec"].get("selector") or {}).items())
    deployment = deployment_of(walk.seen, walk.service)
    if deployment is None:
        raise Broken(at, f"no pod is behind it, and no Deployment has pods with its labels ({selector or 'none'})",
                     walk.mend("get pods --show-labels"))
    name = deployment["metadata"]["name"]
    if deployment["spec"].get("replicas") == 0:
        raise Broken(at, f"the Deployment {name} has 0 replicas", walk.mend(f"scale deployment/{name} --replicas=1"))
    raise Broken(at, f"no pod of the Deployment {name} is ready: {read_condition(deployment, 'Available')[1]}",
                 walk.in_namespace(f"describe pods -l {selector}"))
