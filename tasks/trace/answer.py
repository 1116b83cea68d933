"""The last hop: the answer of the application, or Traefik's own answer in its place."""

from __future__ import annotations

import json

from tasks.core.problems import Problem, Reason, problem
from tasks.probe.requests import TRAEFIK_NOT_FOUND, Answer
from tasks.probe.routes import TRAEFIK_ANNOTATION, Route, annotations_of
from tasks.probe.services import find_port
from tasks.probe.snapshot import Object
from tasks.trace.commands import apply_command, namespaced_command, replace_command
from tasks.trace.context import HopFailure, HopResult, TraceContext
from tasks.trace.service import declared_ports, port_value, target_port, target_port_command

OWN_BODIES = {500: ("Internal Server Error",), 502: ("Bad Gateway",), 504: ("Gateway Timeout",),
              503: ("Service Unavailable", "no available server")}
"""Traefik's own answers. https://github.com/traefik/traefik/blob/master/pkg/proxy/httputil/proxy.go"""


class AnswerReason(Reason):
    NO_ANSWER = "{error}"
    BACKEND_NOT_ANSWERING = "HTTP {status} from Traefik itself: the pods do not answer on port {port}{hint}"
    HTTPS_BACKEND_NOT_TRUSTED = (
        "HTTP 500 from Traefik itself, not from the application: Traefik connects to the Service {service} with HTTPS, "
        "because {cause}, and does not trust the certificate of the pods. Either point the {source} to a port of the "
        "Service that serves HTTP, or have Traefik accept that certificate with a ServersTransport "
        "(`insecureSkipVerify: true`, or the CA in `rootCAs` and the name in `serverName`)")
    NO_ROUTER = "HTTP 404 from Traefik itself: it has no router for this URL"


def check_answer(trace: TraceContext) -> HopResult:
    """The application answers, with any status."""
    url, answer = trace.url, trace.answer
    if answer.error:
        raise HopFailure(url.path, "", AnswerReason.NO_ANSWER, error=answer.error)
    if why := explain_untrusted_backend(trace, answer):
        raise HopFailure(url.path, trust_backend_command(trace), why)
    if why := explain_proxy_answer(trace, answer):
        raise HopFailure(url.path, target_port_command(trace), why)
    return HopResult(url.path, f"HTTP {answer.status}")


def explain_proxy_answer(trace: TraceContext, answer: Answer) -> Problem | None:
    """Why an answer comes from Traefik itself; None if it comes from the application."""
    if answer.status == 404 and answer.body == TRAEFIK_NOT_FOUND:
        return problem(AnswerReason.NO_ROUTER)
    if answer.status > 500 and answer.body.strip() in OWN_BODIES.get(answer.status, ()):
        port = target_port(trace.service, trace.route) if trace.service and trace.route else "of the Service"
        declared, hint = declared_ports(trace), ""
        if declared and port not in declared:
            hint = f". Their containers declare {', '.join(map(str, declared))}"
        elif str(port).endswith("443"):
            hint = ". If they serve HTTPS there, rename the port of the Service to https"
        return problem(AnswerReason.BACKEND_NOT_ANSWERING, status=answer.status, port=port, hint=hint)
    return None


# --- HTTPS behind Traefik ---------------------------------------------------------------------------------------------


def explain_untrusted_backend(trace: TraceContext, answer: Answer) -> Problem | None:
    """Traefik answers 500 itself, without a content type, where it rejects the certificate of the backend."""
    route, service = trace.route, trace.service
    if not (route and service and answer.status == 500 and answer.body in OWN_BODIES[500] and not answer.content_type):
        return None
    cause = find_https_cause(route, service)
    return problem(AnswerReason.HTTPS_BACKEND_NOT_TRUSTED, service=route.service, source=route.label,
                   cause=cause) if cause else None


def find_https_cause(route: Route, service: Object) -> str:
    """Why Traefik connects to the backend with HTTPS; empty if it uses HTTP.

    https://doc.traefik.io/traefik/reference/routing-configuration/kubernetes/ingress/#communication-between-traefik-and-pods
    """
    key = f"{TRAEFIK_ANNOTATION}/service.serversscheme"
    scheme = annotations_of(service).get(key, "") if route.kind == "Ingress" else route.scheme
    if scheme:
        where = f"the annotation {key} of the Service" if route.kind == "Ingress" else "the `scheme` of the backend"
        return f"{where} is {scheme}" if scheme == "https" else ""
    return explain_https_port(find_port(service, route.port) or {})


def explain_https_port(port: Object) -> str:
    if port.get("port") == 443:
        return "its port is 443"
    name = str(port.get("name", ""))
    return f"its port is named {name}" if name.startswith("https") else ""


def trust_backend_command(trace: TraceContext) -> str:
    """Point to the HTTP port of the Service if there is one; otherwise have Traefik accept the certificate."""
    route, service = trace.route, trace.service
    assert route and service
    plain = [port["port"] for port in service["spec"].get("ports") or [] if not explain_https_port(port)]
    if len(plain) == 1:
        return replace_command(trace.cluster, route, f"{route.backend}/port", port_value(route, plain[0]))
    transport = {"apiVersion": "traefik.io/v1alpha1", "kind": "ServersTransport", "spec": {"insecureSkipVerify": True},
                 "metadata": {"name": route.service, "namespace": route.namespace}}
    create = apply_command(trace.cluster, transport)
    if route.kind == "IngressRoute":
        patch = json.dumps([{"op": "add", "path": f"{route.backend}/serversTransport", "value": route.service}])
        use = namespaced_command(trace.cluster, route, "patch", "ingressroute.traefik.io", route.name, "--type=json",
                                 "--patch", patch)
    else:
        reference = f"{route.namespace}-{route.service}@kubernetescrd"
        use = namespaced_command(trace.cluster, route, "annotate", "--overwrite", "service", route.service,
                                 f"{TRAEFIK_ANNOTATION}/service.serverstransport={reference}")
    return f"{create} && {use}"
