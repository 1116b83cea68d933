"""The hops on this machine, from the name to the load balancer."""

from __future__ import annotations

import socket

from tasks import providers
from tasks.cluster.changed_settings import recreate_command
from tasks.core.problems import Reason
from tasks.dns import hosts_file
from tasks.dns.resolver import addresses
from tasks.engine.ports import holder
from tasks.probe.example_page import is_behind_front_door
from tasks.probe.host_names import host_names
from tasks.probe.limits import Limit, find_traefik_limit
from tasks.probe.requests import SECONDS
from tasks.trace.context import HopFailure, HopResult, TraceContext


class MachineReason(Reason):
    CLUSTER_MISSING = "the cluster {cluster} does not exist"
    NAME_NOT_RESOLVED = "this machine does not resolve the name"
    NOT_IN_HOSTS_FILE = "{file}, from which this machine resolves the names, does not have this one yet"
    NOT_ROUTED = ("this machine resolves the names from {file}, which has no wildcard; it gets the hosts of Ingresses, "
                  "IngressRoutes and HTTPRoutes, and none in {cluster} has this host")
    NAME_POINTS_ELSEWHERE = "resolves to {addresses} instead of {place}"
    FRONT_DOOR_CLOSED = "{error}, although the front door should listen there"
    PORT_CLOSED = "{error}, although {cluster} is running"
    CLUSTER_NOT_RUNNING = "{error}; {cluster} is {state}"
    LOAD_BALANCER_NOT_RUNNING = "{error}; {cluster} is {state}: its load balancer {balancer} is not running"
    BALANCER_STOPPED = "the load balancer is not running; {cluster} is {state}"
    PORT_HELD_BY_OTHERS = ("the load balancer is not running, and port {port} is already in use{holder}. Stop that "
                           "first, then run {start}")
    PORT_CHANGED = "publishes {scheme} on {published}, but the settings specify {expected}"


def check_host_name(trace: TraceContext) -> HopResult:
    """The cluster of this name exists."""
    if trace.cluster.name not in trace.clusters:
        raise HopFailure(trace.url.host, trace.inv_command("setup"), MachineReason.CLUSTER_MISSING,
                         cluster=trace.cluster.name)
    return HopResult(trace.url.host, f"belongs to {trace.cluster.name}")


def check_resolver(trace: TraceContext) -> HopResult:
    """The resolver of this machine resolves the name to the address of the cluster."""
    host, resolved, cluster = trace.url.host, addresses(trace.url.host), trace.cluster
    if not resolved:
        raise explain_missing_name(trace)
    if resolved != {cluster.address}:
        raise HopFailure(host, "inv dns", MachineReason.NAME_POINTS_ELSEWHERE, addresses=", ".join(sorted(resolved)),
                         place=cluster.address if cluster.is_elsewhere else "this machine")
    return HopResult(host, cluster.address)


def explain_missing_name(trace: TraceContext) -> HopFailure:
    """A hosts file gets only names that the cluster routes, so another one is not fixed by writing it again."""
    host, file = trace.url.host, hosts_file.hosts_file()
    if not hosts_file.own_block(file):
        return HopFailure(host, "inv dns", MachineReason.NAME_NOT_RESOLVED)
    if host in host_names(trace.cluster, trace.snapshot.objects):
        return HopFailure(host, "inv dns", MachineReason.NOT_IN_HOSTS_FILE, file=file)
    return HopFailure(host, "", MachineReason.NOT_ROUTED, file=file, cluster=trace.cluster.name)


def check_port(trace: TraceContext) -> HopResult:
    """Something listens on the port."""
    address = trace.cluster.address
    at = f"{address}:{trace.url.port}"
    try:
        socket.create_connection((address, trace.url.port), timeout=SECONDS).close()
    except OSError as error:
        raise explain_closed_port(trace, at, error.strerror or str(error)) from None
    return HopResult(at, "open on another machine" if trace.cluster.is_elsewhere else "open")


def explain_closed_port(trace: TraceContext, at: str, error: str) -> HopFailure:
    cluster, name = trace.existing, trace.cluster.name
    if trace.url.front_door and not is_behind_front_door(trace.cluster):
        return HopFailure(at, "", Limit.NOT_AT_FRONT_DOOR, target=name, address=trace.cluster.address)
    if trace.url.front_door:
        return HopFailure(at, "inv front-door", MachineReason.FRONT_DOOR_CLOSED, error=error)
    if cluster.running:
        if limit := find_traefik_limit(trace.shell, trace.cluster):
            return HopFailure(at, "", limit)
        command = trace.inv_command("restart") if providers.of(trace.cluster).MANAGES_LIFE else ""
        return HopFailure(at, command, MachineReason.PORT_CLOSED, error=error, cluster=name)
    reason = (MachineReason.CLUSTER_NOT_RUNNING if cluster.balancer_running
              else MachineReason.LOAD_BALANCER_NOT_RUNNING)
    return HopFailure(at, trace.inv_command("start"), reason, error=error, cluster=name, state=cluster.state,
                      balancer=cluster.balancer)


def check_load_balancer(trace: TraceContext) -> HopResult:
    """The load balancer of the cluster is running and publishes the port."""
    at, url, cluster = trace.existing.balancer, trace.url, trace.existing
    if url.front_door:
        return check_behind_front_door(trace)
    published = cluster.ports.get({"http": "80/tcp", "https": "443/tcp"}[url.scheme], set())
    if not cluster.balancer_running:
        raise HopFailure(at, "", MachineReason.PORT_HELD_BY_OTHERS, port=url.port, start=trace.inv_command("start"),
                         holder=holder(trace.shell, url.port) or " by something else")
    if str(url.port) not in published:
        raise HopFailure(at, recreate_command(trace.cluster), MachineReason.PORT_CHANGED, scheme=url.scheme,
                         published=", ".join(sorted(published)) or "no port", expected=url.port)
    return HopResult(at, f"running, publishes {url.port}")


def check_behind_front_door(trace: TraceContext) -> HopResult:
    """The load balancer is running. The front door reaches it on the clusters' network, not by a published port."""
    at, cluster = trace.existing.balancer, trace.existing
    if not cluster.balancer_running:
        raise HopFailure(at, trace.inv_command("start"), MachineReason.BALANCER_STOPPED, cluster=trace.cluster.name,
                         state=cluster.state)
    return HopResult(at, "running")
