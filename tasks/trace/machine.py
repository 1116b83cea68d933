"""The hops on this machine, from the name to the load balancer, and the answer."""

from __future__ import annotations

import socket

from tasks.cluster.changed_settings import recreate_command
from tasks.core.problems import Problem, Reason, problem
from tasks.dns.resolver import addresses
from tasks.engine.ports import holder
from tasks.probe.requests import SECONDS, TRAEFIK_NOT_FOUND, Answer, request_from_host
from tasks.trace.context import HopFailure, HopResult, TraceContext


class MachineReason(Reason):
    CLUSTER_MISSING = "the cluster {cluster} does not exist"
    NAME_NOT_RESOLVED = "this machine does not resolve the name"
    NAME_POINTS_ELSEWHERE = "resolves to {addresses} instead of this machine"
    PORT_CLOSED = "{error}, although {cluster} is running"
    CLUSTER_NOT_RUNNING = "{error}; {cluster} is {state}"
    LOAD_BALANCER_NOT_RUNNING = "{error}; {cluster} is {state}: its load balancer {balancer} is not running"
    PORT_HELD_BY_OTHERS = "the load balancer is not running, and port {port} is already in use{holder}. Stop that first"
    PORT_CHANGED = "publishes {scheme} on {published}, but the settings specify {expected}"


class AnswerReason(Reason):
    NO_ANSWER = "{error}"
    BACKEND_NOT_ANSWERING = ("HTTP {status} from Traefik: the endpoints do not answer. Do they listen on the "
                             "targetPort?")
    NO_ROUTER = "HTTP 404 from Traefik itself: it has no router for this URL"


def check_host_name(trace: TraceContext) -> HopResult:
    """The cluster of this name exists."""
    if trace.cluster.name not in trace.clusters:
        raise HopFailure(trace.url.host, trace.inv_command("setup"), MachineReason.CLUSTER_MISSING,
                         cluster=trace.cluster.name)
    return HopResult(trace.url.host, f"belongs to {trace.cluster.name}")


def check_resolver(trace: TraceContext) -> HopResult:
    """The resolver of this machine resolves the name to this machine."""
    host, resolved = trace.url.host, addresses(trace.url.host)
    if not resolved:
        raise HopFailure(host, "inv dns", MachineReason.NAME_NOT_RESOLVED)
    if resolved != {"127.0.0.1"}:
        raise HopFailure(host, "inv dns", MachineReason.NAME_POINTS_ELSEWHERE, addresses=", ".join(sorted(resolved)))
    return HopResult(host, "127.0.0.1")


def check_port(trace: TraceContext) -> HopResult:
    """Something listens on the port of this machine."""
    at = f"127.0.0.1:{trace.url.port}"
    try:
        socket.create_connection(("127.0.0.1", trace.url.port), timeout=SECONDS).close()
    except OSError as error:
        raise explain_closed_port(trace, at, error.strerror or str(error)) from None
    return HopResult(at, "open")


def explain_closed_port(trace: TraceContext, at: str, error: str) -> HopFailure:
    cluster, name = trace.k3d_cluster, trace.cluster.name
    if cluster.running:
        return HopFailure(at, trace.inv_command("restart"), MachineReason.PORT_CLOSED, error=error, cluster=name)
    reason = (MachineReason.CLUSTER_NOT_RUNNING if cluster.balancer_running
              else MachineReason.LOAD_BALANCER_NOT_RUNNING)
    return HopFailure(at, trace.inv_command("start"), reason, error=error, cluster=name, state=cluster.state,
                      balancer=cluster.balancer)


def check_load_balancer(trace: TraceContext) -> HopResult:
    """The load balancer of the cluster is running and publishes the port."""
    at, url, cluster = trace.k3d_cluster.balancer, trace.url, trace.k3d_cluster
    published = cluster.ports.get({"http": "80/tcp", "https": "443/tcp"}[url.scheme], set())
    if not cluster.balancer_running:
        raise HopFailure(at, trace.inv_command("start"), MachineReason.PORT_HELD_BY_OTHERS, port=url.port,
                         holder=holder(trace.shell, url.port) or " by something else")
    if str(url.port) not in published:
        raise HopFailure(at, recreate_command(trace.cluster), MachineReason.PORT_CHANGED, scheme=url.scheme,
                         published=", ".join(sorted(published)) or "no port", expected=url.port)
    return HopResult(at, f"running, publishes {url.port}")


def check_answer(trace: TraceContext) -> HopResult:
    """The application answers, with any status."""
    url = trace.url
    response = request_from_host(url.cluster, url.scheme, url.host, url.path)
    if response.error:
        raise HopFailure(url.path, trace.log_command, AnswerReason.NO_ANSWER, error=response.error)
    if wrong := explain_proxy_answer(response):
        service = trace.fix_command(f"describe service {trace.route.service}") if trace.route else trace.log_command
        raise HopFailure(url.path, service, wrong)
    return HopResult(url.path, f"HTTP {response.status}")


def explain_proxy_answer(response: Answer) -> Problem | None:
    """Why an answer comes from Traefik itself; None if it comes from the application."""
    if response.status in (502, 503, 504):
        return problem(AnswerReason.BACKEND_NOT_ANSWERING, status=response.status)
    if response.status == 404 and response.body == TRAEFIK_NOT_FOUND:
        return problem(AnswerReason.NO_ROUTER)
    return None
