"""The hop of URLs without port: the front door, between this machine's port and the cluster's load balancer."""

from __future__ import annotations

from tasks.front_door import container, proof
from tasks.trace.context import HopFailure, HopResult, TraceContext

CREATE = "inv front-door"


def check_front_door(trace: TraceContext) -> HopResult:
    """The front door is as it should be, answers on its ports, and leads to this cluster."""
    shell, settings, url = trace.shell, trace.cluster.settings, trace.url
    at = container.name_of(settings)
    found, plan = container.find(shell, settings), container.make_plan(shell, settings)
    if fault := next(container.find_faults(found, plan), None):
        raise HopFailure(at, CREATE, fault)
    if why := proof.find_page_problem(shell, settings):
        raise HopFailure(at, "", why)
    if url.scheme == "https" and (why := proof.find_cluster_problem(trace.cluster, url.host)):
        raise HopFailure(at, CREATE, why)
    return HopResult(at, f"leads to {trace.k3d_cluster.balancer}")
