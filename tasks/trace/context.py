"""What the hops of a trace share, and how each reports what it found."""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

from tasks.ca.load import load_root
from tasks.ca.root import RootCA
from tasks.core.problems import Problem, Reason, problem
from tasks.core.shell import Shell
from tasks.core.well_known import MANAGER
from tasks.engine.clusters import K3dCluster, list_clusters
from tasks.probe.ingress_routes import Route, find_route
from tasks.probe.snapshot import ClusterSnapshot, Object, take_snapshot
from tasks.probe.tls import ServedCertificate, fetch_certificate
from tasks.trace.url import ClusterUrl


class Found(NamedTuple):
    """A hop that works, or that cannot be judged (`grey`): what was looked at, and what was found."""

    at: str
    note: str
    state: str = "green"


class Broken(Exception):
    """A broken hop: what was looked at, why it is broken, and the command that fixes or shows it."""

    def __init__(self, at: str, why: Problem, command: str) -> None:
        super().__init__(why.code)
        self.at, self.why, self.command = at, why, command


def broken(at: str, command: str, reason: Reason, **details: object) -> Broken:
    return Broken(at, problem(reason, **details), command)


class TraceContext:
    """One trace: its URL, and what is there. Each thing is fetched when a hop asks for it first."""

    def __init__(self, shell: Shell, url: ClusterUrl) -> None:
        self.shell, self.url, self.cluster = shell, url, url.cluster
        self.clusters = list_clusters(shell)

    @property
    def k3d_cluster(self) -> K3dCluster:
        return self.clusters[self.cluster.name]

    @cached_property
    def root(self) -> RootCA:
        return load_root(self.cluster.settings)

    @cached_property
    def snapshot(self) -> ClusterSnapshot:
        return take_snapshot(self.shell, self.cluster)

    @cached_property
    def route(self) -> Route | None:
        return find_route(self.snapshot, self.url.host, self.url.path.partition("?")[0])

    @cached_property
    def service(self) -> Object | None:
        return self.snapshot.one("Service", self.route.service, self.route.namespace) if self.route else None

    @cached_property
    def served(self) -> ServedCertificate:
        return fetch_certificate(self.cluster, self.url.host)

    # --- commands to print ---

    def inv(self, verb: str) -> str:
        """The task that does this with the cluster, such as `start`."""
        return f"inv k3d-cluster-{verb} --n {self.cluster.number}"

    def kubectl(self, command: str) -> str:
        return self.cluster.to_type(*command.split())

    @property
    def traefik_log(self) -> str:
        return self.kubectl("-n kube-system logs deployment/traefik --tail=20")

    def in_namespace(self, command: str) -> str:
        """A kubectl command in the route's namespace; in all namespaces where there is no route."""
        return self.kubectl(f"-n {self.route.namespace} {command}" if self.route else f"{command} -A")

    def fix(self, command: str) -> str:
        """The same; where the route is one of our examples, they are installed again."""
        return self.inv("examples") if self.route and is_example(self.route.ingress) else self.in_namespace(command)


def is_example(found: Object) -> bool:
    labels = found["metadata"].get("labels") or {}
    return found["metadata"]["namespace"] == "examples" and labels.get("app.kubernetes.io/managed-by") == MANAGER
