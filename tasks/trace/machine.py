"""The hops on this machine, from the name to the load balancer; and the answer."""

from __future__ import annotations

import socket

from tasks.cluster.changed_settings import recreate_command
from tasks.core.problems import Problem, Reason, problem
from tasks.dns.resolver import addresses
from tasks.engine.ports import holder
from tasks.probe.requests import SECONDS, TRAEFIK_NOT_FOUND, Answer, ask_from_host
from tasks.trace.context import Broken, Found, TraceContext, broken


class MachineReason(Reason):
    CLUSTER_MISSING = "there is no cluster {cluster}"
    NAME_NOT_RESOLVED = "this machine does not resolve the name"
    NAME_POINTS_ELSEWHERE = "resolves to {addresses} instead of this machine"
    PORT_CLOSED = "{error}, although {cluster} is running"
    CLUSTER_NOT_RUNNING = "{error}; {cluster} is {state}"
    LOAD_BALANCER_NOT_RUNNING = "{error}; {cluster} is {state}: its load balancer {balancer} is not running"
    PORT_HELD_BY_OTHERS = "it is not running, and port {port} is held{holder}. Stop that first"
    PORT_CHANGED = "publishes {scheme} on {published}, but the settings say {wanted}"


class AnswerReason(Reason):
    NO_ANSWER = "{error}"
    BACKEND_NOT_ANSWERING = ("HTTP {status}: Traefik gets no answer from the endpoints. Do they listen on the "
                             "targetPort?")
    NO_ROUTER = "HTTP 404 from Traefik itself: it has no router for this URL (yet?)"


def host_name(trace: TraceContext) -> Found:
    """The cluster that the name belongs to exists."""
    if trace.cluster.name not in trace.clusters:
        raise broken(trace.url.host, trace.inv("setup"), MachineReason.CLUSTER_MISSING, cluster=trace.cluster.name)
    return Found(trace.url.host, f"a name of {trace.cluster.name}")


def resolver(trace: TraceContext) -> Found:
    """This machine's resolver points the name to this machine."""
    host, found = trace.url.host, addresses(trace.url.host)
    if not found:
        raise broken(host, "inv dns", MachineReason.NAME_NOT_RESOLVED)
    if found != {"127.0.0.1"}:
        raise broken(host, "inv dns", MachineReason.NAME_POINTS_ELSEWHERE, addresses=", ".join(sorted(found)))
    return Found(host, "127.0.0.1")


def port(trace: TraceContext) -> Found:
    """Something listens on the port of this machine."""
    at = f"127.0.0.1:{trace.url.port}"
    try:
        socket.create_connection(("127.0.0.1", trace.url.port), timeout=SECONDS).close()
    except OSError as error:
        raise explain_closed_port(trace, at, error.strerror or str(error)) from None
    return Found(at, "open")


def explain_closed_port(trace: TraceContext, at: str, error: str) -> Broken:
    cluster, name = trace.k3d_cluster, trace.cluster.name
    if cluster.running:
        return broken(at, trace.inv("restart"), MachineReason.PORT_CLOSED, error=error, cluster=name)
    reason = (MachineReason.CLUSTER_NOT_RUNNING if cluster.balancer_running
              else MachineReason.LOAD_BALANCER_NOT_RUNNING)
    return broken(at, trace.inv("start"), reason, error=error, cluster=name, state=cluster.state,
                  balancer=cluster.balancer)


def load_balancer(trace: TraceContext) -> Found:
    """The port is held by the cluster's load balancer."""
    at, url, cluster = trace.k3d_cluster.balancer, trace.url, trace.k3d_cluster
    published = cluster.ports.get({"http": "80/tcp", "https": "443/tcp"}[url.scheme], set())
    if not cluster.balancer_running:
        raise broken(at, trace.inv("start"), MachineReason.PORT_HELD_BY_OTHERS, port=url.port,
                     holder=holder(trace.shell, url.port) or " by something else")
    if str(url.port) not in published:
        raise broken(at, recreate_command(trace.cluster), MachineReason.PORT_CHANGED, scheme=url.scheme,
                     published=", ".join(sorted(published)) or "no port", wanted=url.port)
    return Found(at, f"running, publishes {url.port}")


def answer(trace: TraceContext) -> Found:
    """The application answers, whatever its answer is."""
    url = trace.url
    got = ask_from_host(url.cluster, url.scheme, url.host, url.path)
    if got.error:
        raise broken(url.path, trace.traefik_log, AnswerReason.NO_ANSWER, error=got.error)
    if wrong := explain_proxy_answer(got):
        service = trace.fix(f"describe service {trace.route.service}") if trace.route else trace.traefik_log
        raise Broken(url.path, wrong, service)
    return Found(url.path, f"HTTP {got.status}")


def explain_proxy_answer(got: Answer) -> Problem | None:
    """Why an answer is Traefik's own; None when it is the application's."""
    if got.status in (502, 503, 504):
        return problem(AnswerReason.BACKEND_NOT_ANSWERING, status=got.status)
    if got.status == 404 and got.body == TRAEFIK_NOT_FOUND:
        return problem(AnswerReason.NO_ROUTER)
    return None
