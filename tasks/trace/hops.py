"""The hops of a URL, in the order in which a request takes them. To add one: a function, and a line in HOPS.

Each checks the real thing and returns what it found, or raises Broken with the command that fixes or shows it.
"""

from __future__ import annotations

from collections.abc import Callable

from tasks.trace.certificate import certificate, name_constraint
from tasks.trace.cluster import endpoints, ingress, service, traefik
from tasks.trace.context import Found, TraceContext
from tasks.trace.machine import answer, host_name, load_balancer, port, resolver

HOPS: dict[str, Callable[[TraceContext], Found]] = {
    "host name": host_name,
    "resolver": resolver,
    "port": port,
    "load balancer": load_balancer,
    "Traefik": traefik,
    "Ingress": ingress,
    "Service": service,
    "endpoints": endpoints,
    "certificate": certificate,
    "name constraint": name_constraint,
    "answer": answer,
}
HTTPS_HOPS = (certificate, name_constraint)
