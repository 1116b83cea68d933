"""The hops behind the router: the Service, and its pods."""

from __future__ import annotations

from tasks.core.problems import Reason
from tasks.probe.routes import Route
from tasks.probe.services import explain_unready_pods, find_deployment, find_pods, find_port
from tasks.probe.snapshot import Object, read_condition
from tasks.trace.commands import namespaced_command, replace_command
from tasks.trace.context import HopFailure, HopResult, TraceContext, unknown


class ServiceReason(Reason):
    SERVICE_MISSING = "the Service does not exist, but the {source} points to it. Services in {namespace}: {services}"
    SERVICE_PORT_MISSING = "the Service has port {ports}, but the {source} points to {port}"
    EXTERNAL_NAME_NOT_ALLOWED = ("the Service has the type ExternalName, which Traefik does not allow. Use a Service "
                                 "with a selector or an EndpointSlice, or set `providers.{provider}."
                                 "allowExternalNameServices: true` in a HelmChartConfig for Traefik")
    TARGET_PORT_MISSING = "its targetPort is {port}, but the containers of its pods have {names}"
    NO_ENDPOINTS = "the Service has no ready pods, and no Deployment matches its selector ({selector}){hint}"
    DEPLOYMENT_SCALED_DOWN = "the Deployment {deployment} has 0 replicas"
    NO_READY_POD = "no pod of the Deployment {deployment} is ready: {message}"


class ServiceUnknown(Reason):
    NO_ROUTE = "not known without an Ingress"
    EXTERNAL_SERVICE = "points to {name}, outside the cluster"
    NO_SERVICE = "not known: the {source} does not point to a Service"


def check_service(trace: TraceContext) -> HopResult:
    """The Service that the Ingress points to exists, has that port, and is of a type that Traefik allows."""
    route, service = trace.route, trace.service
    if route is None:
        return unknown("", ServiceUnknown.NO_ROUTE)
    if not route.service:
        return unknown("", ServiceUnknown.NO_SERVICE, source=route.label)
    at = f"{route.namespace}/{route.service}"
    if service is None:
        services = [entry["metadata"]["name"] for entry in trace.snapshot.all("Service")
                    if entry["metadata"].get("namespace") == route.namespace]
        raise HopFailure(at, trace.example_command, ServiceReason.SERVICE_MISSING, source=route.label,
                         namespace=route.namespace, services=", ".join(services) or "none")
    if service["spec"].get("type") == "ExternalName":
        provider = "kubernetesCRD" if route.kind == "IngressRoute" else "kubernetesIngress"
        if f"--providers.{provider}.allowexternalnameservices".lower() not in trace.traefik_options:
            raise HopFailure(at, trace.example_command, ServiceReason.EXTERNAL_NAME_NOT_ALLOWED, provider=provider)
        return HopResult(at, "has the type ExternalName")
    port = find_port(service, route.port)
    if port is None:
        raise explain_missing_port(trace, route, service, at)
    return HopResult(at, f"port {route.port}")


def explain_missing_port(trace: TraceContext, route: Route, service: Object, at: str) -> HopFailure:
    numbers = [port["port"] for port in service["spec"].get("ports") or []]
    command = trace.example_command
    if len(numbers) == 1:
        command = replace_command(trace.cluster, route, f"{route.backend}/port", port_value(route, numbers[0]))
    return HopFailure(at, command, ServiceReason.SERVICE_PORT_MISSING, ports=", ".join(map(str, numbers)) or "none",
                      source=route.label, port=route.port)


def port_value(route: Route, number: int) -> object:
    """How the source of the route writes the port of a backend."""
    return {"number": number} if route.kind == "Ingress" else number


def check_endpoints(trace: TraceContext) -> HopResult:
    """The Service has a ready pod with the port."""
    route, service = trace.route, trace.service
    if route is None:
        return unknown("", ServiceUnknown.NO_ROUTE)
    if service is None:
        return unknown("", ServiceUnknown.NO_SERVICE, source=route.label)
    at = f"{route.namespace}/{route.service}"
    if service["spec"].get("type") == "ExternalName":
        return unknown(at, ServiceUnknown.EXTERNAL_SERVICE, name=service["spec"].get("externalName"))
    ready = trace.snapshot.ready_endpoints(route.service, route.namespace)
    if not ready:
        raise explain_missing_endpoints(trace, service, at)
    pods, target = find_pods(trace.snapshot, service), target_port(service, route)
    names = [str(port["name"]) for port in list_container_ports(pods) if port.get("name")]
    if isinstance(target, str) and pods and target not in names:
        raise HopFailure(at, target_port_command(trace), ServiceReason.TARGET_PORT_MISSING, port=target,
                         names=f"only ports named {', '.join(sorted({*names}))}" if names else "no named ports")
    return HopResult(at, f"ready: {', '.join(ready)}")


def explain_missing_endpoints(trace: TraceContext, service: Object, at: str) -> HopFailure:
    deployment = find_deployment(trace.snapshot, service)
    if deployment is None:
        labels = [",".join(f"{key}={value}" for key, value in entry["spec"].get("template", {}).get(
            "metadata", {}).get("labels", {}).items()) for entry in trace.snapshot.all("Deployment")
                  if entry["metadata"].get("namespace") == service["metadata"]["namespace"]]
        selector = ",".join(f"{key}={value}" for key, value in (service["spec"].get("selector") or {}).items())
        return HopFailure(at, trace.example_command, ServiceReason.NO_ENDPOINTS, selector=selector or "none",
                          hint=f". Deployments there have pods with {' or '.join(labels)}" if labels else "")
    name = deployment["metadata"]["name"]
    if deployment["spec"].get("replicas") == 0:
        assert trace.route
        scale = namespaced_command(trace.cluster, trace.route, "scale", f"deployment/{name}", "--replicas=1")
        return HopFailure(at, scale, ServiceReason.DEPLOYMENT_SCALED_DOWN, deployment=name)
    message = explain_unready_pods(find_pods(trace.snapshot, service)) or read_condition(deployment, "Available")[1]
    return HopFailure(at, "", ServiceReason.NO_READY_POD, deployment=name, message=message)


# --- the port of the pods ---------------------------------------------------------------------------------------------


def target_port(service: Object, route: Route) -> int | str:
    """The number or the name of the pods' port that Traefik connects to."""
    port = find_port(service, route.port) or {}
    target: int | str = port.get("targetPort") or port.get("port", "")
    return target


def declared_ports(trace: TraceContext) -> list[int]:
    """The ports that the containers behind the Service declare."""
    pods = find_pods(trace.snapshot, trace.service) if trace.service else []
    return sorted({port["containerPort"] for port in list_container_ports(pods)})


def target_port_command(trace: TraceContext) -> str:
    """Set the targetPort of the Service, if the containers declare exactly one port and it is another one."""
    route, service, declared = trace.route, trace.service, declared_ports(trace)
    if not (route and service and len(declared) == 1 and target_port(service, route) != declared[0]):
        return trace.example_command
    number = (service["spec"].get("ports") or []).index(find_port(service, route.port))
    return replace_command(trace.cluster, route, f"/spec/ports/{number}/targetPort", declared[0], "service",
                           route.service)


def list_container_ports(pods: list[Object]) -> list[Object]:
    return [port for pod in pods for container in pod["spec"].get("containers") or []
            for port in container.get("ports") or []]
