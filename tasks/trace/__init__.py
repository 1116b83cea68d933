"""One URL, hop by hop: from its name to the answer, and the same from pods. The first hop that is broken is named."""

from __future__ import annotations

from functools import partial

from invoke import Context, Exit, task

from tasks.core import settings as configuration
from tasks.core.invoke_patches import PlainTask
from tasks.core.settings import Cluster
from tasks.core.shell import Shell
from tasks.core.table import JSON_HELP, Row, print_json, show
from tasks.engine.clusters import own_clusters
from tasks.probe.connections import examples_missing, explain_failure
from tasks.probe.requests import ExamplesMissing, ask_from_pod
from tasks.tools.required import require
from tasks.trace.context import Broken, TraceContext
from tasks.trace.hops import HOPS, OF_HTTPS
from tasks.trace.machine import explain_proxy_answer, resolver
from tasks.trace.url import ClusterUrl, parse_url


@task(klass=PlainTask, positional=["url"], help={"url": "below a cluster's domain, with its port", **JSON_HELP})
def trace(context: Context, url: str = "", json: bool = False) -> None:
    """Trace a URL hop by hop and show where it breaks

    inv trace https://example-nginx.cl1.k3d.internal:11443/
    From this machine: name, resolver, port, load balancer, Traefik, Ingress, Service, endpoints, certificate, name
    constraint, answer. Then from a pod of each running cluster. IngressRoutes and HTTPRoutes are not read.
    """
    settings = configuration.load()
    address = parse_url(settings, url)
    shell = Shell(context, settings.environment)
    require(shell, "docker", "k3d", "kubectl")
    rows = follow_hops(shell, address)
    if json:
        print_json(rows)
    else:
        show(rows, "hop", "at")
    red = [row for row in rows if row.state == "red"]
    if red:
        raise Exit(f"{address.url} is broken here:\n" + "\n".join(
            f"  {row.source}, {row.target}: {row.note}\n    {row.command}" for row in red))


def follow_hops(shell: Shell, address: ClusterUrl) -> list[Row]:
    """A row for each hop from this machine, and one for each running cluster. After a broken hop nothing is asked.

    Only the resolver is none that others stand on: they are asked at 127.0.0.1, and pods have CoreDNS.
    """
    walk = TraceContext(shell, address)
    rows: list[Row] = []
    broken = False
    for name, hop in HOPS.items():
        if address.scheme == "http" and hop in OF_HTTPS:
            continue
        if broken:
            rows.append(Row(name, "", "grey", "not asked"))
            continue
        try:
            found = hop(walk)
            rows.append(Row(name, found.at, found.state, found.note))
        except Broken as error:
            rows.append(Row(name, error.at, "red", error.note, error.command))
            broken = hop is not resolver
    running = [cluster for cluster in own_clusters(address.cluster.settings, walk.clusters)
               if walk.clusters[cluster.name].running]
    if broken:
        return rows + [Row(f"pod in {cluster.name}", "", "grey", "not asked") for cluster in running]
    return rows + shell.side_by_side([partial(from_pod, walk, cluster) for cluster in running])


def from_pod(walk: TraceContext, source: Cluster) -> Row:
    """Ask for the same URL in a cluster's pod."""
    where, address = f"pod in {source.name}", walk.address
    way = "by CoreDNS and " + ("traefik-internal" if source == address.cluster else "this host")
    try:
        said, = ask_from_pod(walk.shell, source, address.url)
    except ExamplesMissing:
        return Row(where, way, "grey", examples_missing(source))
    if said.error:
        return Row(where, way, "red", *explain_failure(source, address.cluster, said))
    wrong = explain_proxy_answer(said)
    if wrong:
        return Row(where, way, "red", wrong, walk.kubectl("-n kube-system logs deployment/traefik --tail=20"))
    return Row(where, way, "green", f"HTTP {said.status}")
