"""The task `trace`: one URL, hop by hop, from its name to the answer; then the same URL from pods."""

from __future__ import annotations

from functools import partial

from invoke import Context, Exit, task

from tasks.core import settings as configuration
from tasks.core.browser_ports import BLOCKED_PORTS, describe_blocked
from tasks.core.invoke_patches import PlainTask
from tasks.core.problems import Reason, describe, problem
from tasks.core.progress import say
from tasks.core.settings import Cluster
from tasks.core.shell import Shell
from tasks.core.table import JSON_HELP, Row, print_json, show
from tasks.engine.clusters import own_clusters
from tasks.probe.connections import explain_failure, explain_missing_examples
from tasks.probe.requests import ExamplesMissing, request_from_pod
from tasks.tools.required import require
from tasks.trace.answer import explain_proxy_answer
from tasks.trace.context import HopFailure, TraceContext
from tasks.trace.hops import HOPS, HTTPS_HOPS
from tasks.trace.machine import check_resolver
from tasks.trace.url import ClusterUrl, parse_url


class TraceReason(Reason):
    SKIPPED = "skipped"


@task(klass=PlainTask, positional=["url"], help={"url": "a URL below a cluster's domain, with the port", **JSON_HELP})
def trace(context: Context, url: str = "", json: bool = False) -> None:
    """Trace a URL hop by hop and show where it breaks

    inv trace https://example-nginx.cl1.k3d.internal:11443/
    From this machine: name, resolver, port, load balancer, Traefik, Ingress (or IngressRoute, or HTTPRoute), Service,
    endpoints, router, certificate, name constraints, answer. Then from a pod in each running cluster. What cert-manager
    and Traefik report about a failure is quoted. A command is shown only if it fixes the failure.
    """
    settings = configuration.load()
    parsed = parse_url(settings, url)
    shell = Shell(context, settings.environment)
    require(shell, "docker", "k3d", "kubectl")
    rows = trace_hops(shell, parsed)
    if json:
        print_json(rows)
    else:
        show(rows, "hop", "at")
        if parsed.port in BLOCKED_PORTS:
            say("".join(describe_blocked([parsed.cluster])))
    red = [row for row in rows if row.state == "red"]
    if red:
        raise Exit(f"{parsed.url} breaks here:\n" + "\n".join(
            f"  {row.source}, {row.target}: {row.note}\n    {row.command}".rstrip() for row in red))


def trace_hops(shell: Shell, url: ClusterUrl) -> list[Row]:
    """A row for each hop from this machine, and one for each running cluster. After a broken hop the rest is skipped.

    No hop depends on the resolver: requests go to 127.0.0.1, and pods use CoreDNS.
    """
    context, rows, skip = TraceContext(shell, url), [], False
    for name, hop in HOPS.items():
        if url.scheme == "http" and hop in HTTPS_HOPS:
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
    return rows + shell.side_by_side([partial(trace_from_pod, context, cluster) for cluster in running])


def skip_row(name: str) -> Row:
    why = problem(TraceReason.SKIPPED)
    return Row(name, "", "grey", describe(why), code=why.code)


def trace_from_pod(context: TraceContext, source: Cluster) -> Row:
    """Request the same URL from a pod of this cluster."""
    where, url = f"pod in {source.name}", context.url
    route = "through " + ("traefik-internal" if source == url.cluster else "this host")
    try:
        answer, = request_from_pod(context.shell, source, url.url)
    except ExamplesMissing:
        missing = explain_missing_examples(source)
        return Row(where, route, "grey", describe(missing), code=missing.code)
    if answer.error:
        why, command = explain_failure(source, url.cluster, answer)
        return Row(where, route, "red", describe(why), command, why.code)
    if wrong := explain_proxy_answer(context, answer):
        return Row(where, route, "red", describe(wrong), code=wrong.code)
    return Row(where, route, "green", f"HTTP {answer.status}")
