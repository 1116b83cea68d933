"""The hop at the Ingress, IngressRoute or HTTPRoute that is meant for the URL."""

from __future__ import annotations

import difflib

from tasks.core.problems import Reason
from tasks.probe.example_page import example_host
from tasks.probe.requests import TRAEFIK_NOT_FOUND
from tasks.probe.routes import (
    CLASS_ANNOTATION,
    TRAEFIK_ANNOTATION,
    Route,
    class_of,
    covers_host,
    is_read_by_traefik,
    list_ingress,
    list_routes,
    traefik_classes,
)
from tasks.probe.snapshot import Object, read_condition
from tasks.trace.commands import annotate_command, patch_command, replace_command
from tasks.trace.context import HopFailure, HopResult, TraceContext, unknown
from tasks.trace.traefik import request_unverified


class IngressReason(Reason):
    INGRESS_MISSING = "no Ingress, IngressRoute or HTTPRoute has this host{suggestion}"
    PATH_MISSING = "no Ingress, IngressRoute or HTTPRoute for this host matches the path {path}, only {paths}"
    CLASS_MISSING = ("it has the class {name}, which does not exist in {cluster}, so nothing serves it. Traefik serves "
                     "the class {classes}")
    CLASS_OF_OTHER_CONTROLLER = ("it has the class {name} of the controller {controller}, which Traefik does not serve "
                                 "{evidence}. Traefik serves the class {classes}")
    ENTRY_POINT_EXCLUDED = ("its entry points ({names}) exclude {scheme}: Traefik has the entry point web for http and "
                            "websecure for https")
    MIDDLEWARE_MISSING = ("the Middleware {name} does not exist, so Traefik drops the router{hint}. Create it, or "
                          "remove it from the {source}{log}")
    GATEWAY_PROVIDER_OFF = ("Traefik does not read HTTPRoutes: its Gateway API provider is off. To turn it on, set "
                            "`providers.kubernetesGateway.enabled: true` in a HelmChartConfig for Traefik")
    GATEWAY_MISSING = "it belongs to the Gateway {gateway}, which does not exist in {namespace}"
    ROUTE_NOT_ACCEPTED = "the Gateway {gateway} reports: {message}"


class IngressUnknown(Reason):
    """Why this hop cannot be judged."""

    OTHER_ROUTE_ANSWERS = "no Ingress, IngressRoute or HTTPRoute has this host, but Traefik answers"


def check_ingress(trace: TraceContext) -> HopResult:
    """An Ingress, IngressRoute or HTTPRoute matches host and path, and Traefik reads it."""
    route = trace.route
    if route is None:
        raise_if_class_is_not_served(trace)
        if is_answered(trace):
            return unknown(trace.url.host, IngressUnknown.OTHER_ROUTE_ANSWERS)
        raise explain_missing_route(trace)
    at = describe_source(route)
    if not route.accepts_scheme(trace.url.scheme):
        raise HopFailure(at, entry_point_command(trace, route), IngressReason.ENTRY_POINT_EXCLUDED,
                         names=", ".join(route.entry_points), scheme=trace.url.scheme)
    if route.kind == "HTTPRoute":
        check_http_route(trace, route, at)
    for namespace, name in route.middlewares:
        if not has_middleware(trace, namespace, name):
            raise explain_missing_middleware(trace, route, at, namespace, name)
    return HopResult(at, f"{route.host or 'every host'}, path {route.path}")


def describe_source(route: Route) -> str:
    kind = "" if route.kind == "Ingress" else f"{route.kind} "
    return f"{kind}{route.namespace}/{route.name}"


def is_answered(trace: TraceContext) -> bool:
    """Whether Traefik answers although nothing that is read here matches."""
    try:
        return request_unverified(trace.cluster, trace.url).body != TRAEFIK_NOT_FOUND
    except OSError:
        return False


# --- nothing matches --------------------------------------------------------------------------------------------------


def raise_if_class_is_not_served(trace: TraceContext) -> None:
    """There is an Ingress for the URL, but its class is not one of Traefik's."""
    snapshot, path = trace.snapshot, trace.url.path.partition("?")[0]
    for ingress in snapshot.all("Ingress"):
        for route in list_ingress(ingress):
            if route.host and route.matches(trace.url.host, path) and not is_read_by_traefik(snapshot, ingress):
                raise explain_class(trace, route)


def explain_class(trace: TraceContext, route: Route) -> HopFailure:
    name, at = class_of(route.source), describe_source(route)
    classes = traefik_classes(trace.snapshot)
    command = (patch_command(trace.cluster, route, {"spec": {"ingressClassName": classes[0]}})
               if classes and route.source["spec"].get("ingressClassName")
               else annotate_command(trace.cluster, route, {CLASS_ANNOTATION: None}))
    found = trace.snapshot.one("IngressClass", name)
    if found is None:
        return HopFailure(at, command, IngressReason.CLASS_MISSING, name=name, cluster=trace.cluster.name,
                          classes=", ".join(classes) or "traefik")
    served = (route.source["status"].get("loadBalancer") or {}).get("ingress")
    evidence = ("(it has an address, so that controller may be running)" if served
                else "(it has no address, so that controller is probably not running)")
    return HopFailure(at, command, IngressReason.CLASS_OF_OTHER_CONTROLLER, name=name,
                      controller=found["spec"].get("controller", "unknown"), evidence=evidence,
                      classes=", ".join(classes) or "traefik")


def explain_missing_route(trace: TraceContext) -> HopFailure:
    host, routes = trace.url.host, [*list_routes(trace.snapshot)]
    command = trace.inv_command("examples") if host == example_host(trace.cluster) else ""
    paths = [route.path for route in routes if covers_host(route.host, host) and not (route.rule and not route.host)]
    if paths:
        return HopFailure(host, command, IngressReason.PATH_MISSING, path=trace.url.path, paths=", ".join(paths))
    near = find_similar_hosts(trace, routes)
    return HopFailure(host, command, IngressReason.INGRESS_MISSING,
                      suggestion=f"; did you mean {' or '.join(near)}?" if near else "")


def find_similar_hosts(trace: TraceContext, routes: list[Route]) -> list[str]:
    """Hosts of this cluster whose own part, before the domain that all have, is almost the same."""
    suffix = f".{trace.cluster.domain}"
    names = sorted({route.host.removesuffix(suffix) for route in routes if route.host.endswith(suffix)})
    return [name + suffix for name in difflib.get_close_matches(trace.url.host.removesuffix(suffix), names, 3, 0.75)]


# --- Traefik drops it -------------------------------------------------------------------------------------------------


def entry_point_command(trace: TraceContext, route: Route) -> str:
    names = [name for name in route.entry_points if name in ("web", "websecure")]
    names.append({"http": "web", "https": "websecure"}[trace.url.scheme])
    if route.kind == "IngressRoute":
        return replace_command(trace.cluster, route, "/spec/entryPoints", names)
    return annotate_command(trace.cluster, route, {f"{TRAEFIK_ANNOTATION}/router.entrypoints": ",".join(names)})


def has_middleware(trace: TraceContext, namespace: str, name: str) -> bool:
    """Whether it exists. Without a namespace the name is a whole reference, as it is in an annotation."""
    reference = f"{namespace}-{name}@kubernetescrd" if namespace else name
    return reference in map(refer_to, trace.snapshot.all("Middleware"))


def refer_to(middleware: Object) -> str:
    return f"{middleware['metadata']['namespace']}-{middleware['metadata']['name']}@kubernetescrd"


def explain_missing_middleware(
    trace: TraceContext, route: Route, at: str, namespace: str, name: str
) -> HopFailure:
    """Suggest the full reference of an existing Middleware if the annotation has only its name."""
    reference = name.partition("@")[0]
    meant = [refer_to(entry) for entry in trace.snapshot.all("Middleware")
             if entry["metadata"]["name"] == reference and entry["metadata"]["namespace"] == route.namespace]
    command = hint = ""
    if meant and not namespace:
        key = f"{TRAEFIK_ANNOTATION}/router.middlewares"
        names = [entry.strip() for entry in route.source["metadata"]["annotations"][key].split(",")]
        names = [meant[0] if entry == name else entry for entry in names]
        command = annotate_command(trace.cluster, route, {key: ",".join(names)})
        hint = f". An Ingress refers to a Middleware by <namespace>-<name>@kubernetescrd, here {meant[0]}"
    log = f". Traefik's log says: {'; '.join(trace.traefik_errors)}" if trace.traefik_errors else ""
    return HopFailure(at, command, IngressReason.MIDDLEWARE_MISSING, name=f"{namespace}/{name}" if namespace else name,
                      source=route.label, hint=hint, log=log)


def check_http_route(trace: TraceContext, route: Route, at: str) -> None:
    """Traefik reads HTTPRoutes, and the Gateway accepts this one."""
    if "--providers.kubernetesgateway" not in trace.traefik_options:
        raise HopFailure(at, "", IngressReason.GATEWAY_PROVIDER_OFF)
    for reference in route.source["spec"].get("parentRefs") or []:
        namespace = reference.get("namespace", route.namespace)
        if reference.get("kind", "Gateway") == "Gateway" and not trace.snapshot.one(
                "Gateway", reference["name"], namespace):
            raise HopFailure(at, "", IngressReason.GATEWAY_MISSING, gateway=reference["name"], namespace=namespace)
    for parent in route.source["status"].get("parents") or []:
        for kind in ("Accepted", "ResolvedRefs"):
            accepted, message = read_condition({"status": parent}, kind)
            if not accepted:
                raise HopFailure(at, "", IngressReason.ROUTE_NOT_ACCEPTED, message=message,
                                 gateway=parent.get("parentRef", {}).get("name", ""))
