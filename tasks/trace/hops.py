"""The hops of a URL, in the order in which a request passes them. To add a hop: a function, and a line in HOPS.

A hop checks the real thing. It returns a HopResult, or raises HopFailure with the reason and a command that fixes it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from urllib.parse import urlsplit

from invoke import Exit

from tasks.core.problems import Reason, describe, problem
from tasks.core.settings import Cluster
from tasks.core.shell import Shell
from tasks.core.table import Row
from tasks.engine.clusters import own_clusters
from tasks.front_door.container import is_in_use
from tasks.probe.connections import describe_route, explain_failure, explain_missing_examples
from tasks.probe.limits import find_limit
from tasks.probe.requests import ExamplesMissing, request_from_pod
from tasks.trace.answer import check_answer, explain_proxy_answer
from tasks.trace.certificate import check_certificate, check_name_constraints
from tasks.trace.context import HopFailure, HopResult, TraceContext
from tasks.trace.front_door import check_front_door
from tasks.trace.ingress import check_ingress
from tasks.trace.issuer import IssuerHopReason, check_issuer, find_login
from tasks.trace.machine import check_host_name, check_load_balancer, check_port, check_resolver
from tasks.trace.pods import check_pod_trust
from tasks.trace.service import check_endpoints, check_service
from tasks.trace.traefik import check_router, check_traefik
from tasks.trace.url import ClusterUrl, parse_url

HOPS: dict[str, Callable[[TraceContext], HopResult]] = {
    "host name": check_host_name,
    "resolver": check_resolver,
    "port": check_port,
    "front door": check_front_door,
    "load balancer": check_load_balancer,
    "Traefik": check_traefik,
    "Ingress": check_ingress,
    "Service": check_service,
    "endpoints": check_endpoints,
    "router": check_router,
    "certificate": check_certificate,
    "name constraints": check_name_constraints,
    "answer": check_answer,
    "trust of its pods": check_pod_trust,
}
HTTPS_HOPS = (check_certificate, check_name_constraints)

ISSUER_HOPS = {**HOPS, "issuer": check_issuer}
"""Of the URL at an issuer that an application sends its users to."""


class TraceReason(Reason):
    SKIPPED = "skipped"


def trace_hops(shell: Shell, url: ClusterUrl) -> list[Row]:
    """The rows of this URL; behind OpenID Connect, those of its issuer too."""
    context = TraceContext(shell, url)
    rows = trace_url(context, HOPS)
    login = find_login(context) if all(row.code != TraceReason.SKIPPED.code for row in rows) else ""
    return [*rows, *trace_login(context, login)] if login else rows


def trace_login(context: TraceContext, login: str) -> list[Row]:
    """The rows of the URL at the issuer, if that is in one of the clusters."""
    settings, where = context.cluster.settings, login.partition("?")[0]
    try:
        url = parse_url(settings, login, lambda: is_in_use(context.shell, settings))
    except Exit as error:
        ours = any(f".{urlsplit(login).hostname}".endswith(f".{domain}") for domain in settings.owned_domains)
        why = problem(IssuerHopReason.ISSUER_NOT_TRACED, error=str(error.message).partition(" Type: ")[0])
        return [Row("issuer", where, "red" if ours else "grey", describe(why), code=why.code)]
    rows = trace_url(TraceContext(context.shell, url), ISSUER_HOPS)
    return [replace(row, source="issuer" if row.source == "issuer" else f"issuer: {row.source}",
                    target=row.target.partition("?")[0]) for row in rows]


def trace_url(context: TraceContext, hops: dict[str, Callable[[TraceContext], HopResult]]) -> list[Row]:
    """A row for each hop from this machine, and one for each running cluster. After a broken hop the rest is skipped.

    No hop depends on the resolver: requests go to the cluster's address, and pods use CoreDNS.
    """
    url, rows, skip = context.url, [], False
    for name, hop in hops.items():
        if (url.scheme == "http" and hop in HTTPS_HOPS) or (hop is check_front_door and not url.front_door):
            continue
        if skip:
            rows.append(skip_row(name))
            continue
        try:
            result = hop(context)
            rows.append(Row(name, result.at, result.state, result.note, code=result.code))
        except HopFailure as error:
            rows.append(Row(name, error.at, "red", describe(error.why), error.command, error.why.code))
            skip = hop is not check_resolver
    running = [cluster for cluster in own_clusters(url.cluster.settings, context.clusters)
               if context.clusters[cluster.name].running]
    if skip:
        return rows + [skip_row(f"pod in {cluster.name}") for cluster in running]
    return rows + context.shell.side_by_side([partial(trace_from_pod, context, cluster) for cluster in running])


def skip_row(name: str) -> Row:
    why = problem(TraceReason.SKIPPED)
    return Row(name, "", "grey", describe(why), code=why.code)


def trace_from_pod(context: TraceContext, source: Cluster) -> Row:
    """Request the same URL from a pod of this cluster."""
    where, url = f"pod in {source.name}", context.url
    route = f"through {describe_route(source, url.cluster, url.front_door)}"
    try:
        answer, = request_from_pod(context.shell, source, url.url)
    except ExamplesMissing:
        missing = explain_missing_examples(source)
        return Row(where, route, "grey", describe(missing), code=missing.code)
    if answer.error and (limit := find_limit(context.shell, source, url.cluster, answer, url.front_door)):
        return Row(where, route, "grey", describe(limit), code=limit.code)
    if answer.error:
        why, command = explain_failure(source, url.cluster, answer, url.front_door)
        return Row(where, route, "red", describe(why), command, why.code)
    if wrong := explain_proxy_answer(context, answer):
        return Row(where, route, "red", describe(wrong), code=wrong.code)
    return Row(where, route, "green", f"HTTP {answer.status}")
