"""Queries to a cluster's CoreDNS."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tasks.core.settings import Cluster
from tasks.core.shell import Shell


def expected_answers(cluster: Cluster, service: str, host: str) -> dict[str, str]:
    """What CoreDNS must answer for a name of this cluster, one of another cluster, and a name of this host."""
    answers = {f"proof.{cluster.domain}": service}
    others = [cluster.settings.cluster(number) for number in cluster.settings.numbers if number != cluster.number]
    other = next((other for other in others if not other.is_elsewhere), None)
    if host and other:
        answers[f"proof.{other.domain}"] = host
    answers |= {f"proof.{other.domain}": other.address for other in others if other.is_elsewhere}
    return {**answers, "host.k3d.internal": host} if host else answers


def resolve_in_cluster(shell: Shell, cluster: Cluster, names: list[str]) -> dict[str, str]:
    """The IPv4 address that CoreDNS returns for each name, over TCP through a port-forward, which needs no image."""
    import dns.exception
    import dns.message
    import dns.query

    addresses = {}
    try:
        with port_forward(shell, cluster, "kube-system", "deployment/coredns", 53) as port:
            for name in names:
                query = dns.message.make_query(f"{name}.", "A")
                reply = dns.query.tcp(query, "127.0.0.1", timeout=3, port=port)
                for rrset in reply.answer:
                    if rrset.name == query.question[0].name and len(rrset) == 1:
                        addresses[name] = str(rrset[0])
    except (OSError, EOFError, dns.exception.DNSException):
        pass  # the caller tries again until its timeout
    return addresses


@contextmanager
def port_forward(shell: Shell, cluster: Cluster, namespace: str, target: str, port: int) -> Iterator[int]:
    """Forward a port of 127.0.0.1 to that port in the cluster; OSError when kubectl cannot."""
    with shell.background(*cluster.kubectl, "-n", namespace, "port-forward", "--address", "127.0.0.1",
                          target, f":{port}") as read_output:
        for _ in range(200):
            started = re.search(r"127\.0\.0\.1:(\d+) ->", read_output())
            if started:
                yield int(started[1])
                return
            time.sleep(0.05)
        raise OSError("port-forward did not start within 10 s")
