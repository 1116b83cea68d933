"""The hops of a URL, in the order in which a request passes them. To add a hop: a function, and a line in HOPS.

A hop checks the real thing. It returns a HopResult, or raises HopFailure with the reason and a command that fixes it.
"""

from __future__ import annotations

from collections.abc import Callable

from tasks.trace.answer import check_answer
from tasks.trace.certificate import check_certificate, check_name_constraints
from tasks.trace.context import HopResult, TraceContext
from tasks.trace.ingress import check_ingress
from tasks.trace.machine import check_host_name, check_load_balancer, check_port, check_resolver
from tasks.trace.pods import check_pod_trust
from tasks.trace.service import check_endpoints, check_service
from tasks.trace.traefik import check_router, check_traefik

HOPS: dict[str, Callable[[TraceContext], HopResult]] = {
    "host name": check_host_name,
    "resolver": check_resolver,
    "port": check_port,
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
