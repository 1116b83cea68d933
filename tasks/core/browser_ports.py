"""The ports that no browser opens: Chrome, Firefox, Edge, Safari, and every `fetch`.

10080 is one of them, the HTTP port of cluster 0 by default. curl, pods and the tasks themselves may use it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tasks.core.problems import Problem, Reason, problem
from tasks.core.settings import Cluster

LINK = "https://fetch.spec.whatwg.org/#port-blocking"

# The whole list of LINK.
BLOCKED_PORTS = frozenset((
    1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104, 109, 110,
    111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515, 526, 530, 531, 532,
    540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061,
    6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080,
))


class BrowserPort(Reason):
    HTTPS_PORT_BLOCKED = "no browser opens port {port}, the HTTPS port of {cluster} (" + LINK + ")"


def blocked_ports(cluster: Cluster) -> dict[str, int]:
    """Those of its two ports that browsers refuse, by scheme."""
    return {scheme: port for scheme, port in (("http", cluster.http_port), ("https", cluster.https_port))
            if port in BLOCKED_PORTS}


def urls_to_open(cluster: Cluster) -> list[str]:
    """The cluster's URLs that a browser opens."""
    return [f"{scheme}://<name>.{cluster.domain}:{port}/" for scheme, port in
            (("http", cluster.http_port), ("https", cluster.https_port)) if port not in BLOCKED_PORTS]


def find_blocked_https(cluster: Cluster) -> Problem | None:
    """The problem of a cluster that no browser can use: its HTTPS port is blocked, and HTTP is no replacement."""
    if port := blocked_ports(cluster).get("https"):
        return problem(BrowserPort.HTTPS_PORT_BLOCKED, port=port, cluster=cluster.name)
    return None


def describe_blocked(clusters: Iterable[Cluster]) -> Iterator[str]:
    """A line for each cluster with a port that browsers refuse: which, and what to open instead."""
    for cluster in clusters:
        blocked = blocked_ports(cluster)
        if not blocked:
            continue
        ports = " and ".join(f"port {port} ({scheme.upper()} of {cluster.name})" for scheme, port in blocked.items())
        instead = "".join(f"Open {url} instead, or choose" for url in urls_to_open(cluster)) or "Choose"
        yield f"Browsers refuse {ports}: {LINK}\n  {instead} another K3D_PORT_START in .env for a new cluster."
