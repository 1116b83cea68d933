"""The hop of URLs without port: the front door, between this machine's port and the cluster's load balancer."""

from __future__ import annotations

from tasks.front_door import container, proof, state
from tasks.trace.context import HopFailure, HopResult, TraceContext


def check_front_door(trace: TraceContext) -> HopResult:
    """The front door is as it should be, answers on its ports, and leads to this cluster."""
    shell, settings, url = trace.shell, trace.cluster.settings, trace.url
    at = container.name_of(settings)
    if why := next(state.find_problems(shell, settings), None):
        raise HopFailure(at, state.CREATE if state.is_fixed_by_creating(why) else "", why)
    if why := proof.find_page_problem(shell, settings):
        raise HopFailure(at, "", why)
    if url.scheme == "https" and (why := proof.find_cluster_problem(trace.cluster, url.host)):
        raise HopFailure(at, state.CREATE, why)
    return HopResult(at, f"leads to {trace.existing.balancer}")
