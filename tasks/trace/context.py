"""What the hops of a trace share: the walk, and how each tells what it has found."""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

from tasks.core.shell import Shell
from tasks.core.well_known import MANAGER
from tasks.engine.clusters import K3dCluster, list_clusters
from tasks.probe.ingress_routes import Route, find_route
from tasks.probe.snapshot import ClusterSnapshot, Object, take_snapshot
from tasks.probe.tls import ServedCertificate, fetch_certificate
from tasks.trace.url import ClusterUrl


class Found(NamedTuple):
    """What a hop has found at what: it is in order, or `grey` where that cannot be told."""

    at: str
    note: str
    state: str = "green"


class Broken(Exception):
    """A hop that is broken: at what, why, and the command that mends it."""

    def __init__(self, at: str, note: str, command: str) -> None:
        super().__init__(note)
        self.at, self.note, self.command = at, note, command


class TraceContext:
    """What the hops share: each thing is looked at when the first of them asks for it."""

    def __init__(self, shell: Shell, address: ClusterUrl) -> None:
        self.shell, self.address, self.cluster = shell, address, address.cluster
        self.clusters = list_clusters(shell)

    @property
    def found(self) -> K3dCluster:
        return self.clusters[self.cluster.name]

    @cached_property
    def seen(self) -> ClusterSnapshot:
        return take_snapshot(self.shell, self.cluster)

    @cached_property
    def route(self) -> Route | None:
        return find_route(self.seen, self.address.host, self.address.path.partition("?")[0])

    @cached_property
    def service(self) -> Object | None:
        return self.seen.one("Service", self.route.service, self.route.namespace) if self.route else None

    @cached_property
    def served(self) -> ServedCertificate:
        return fetch_certificate(self.cluster, self.address.host)

    def inv(self, verb: str) -> str:
        """The command that does this with the cluster, such as `start`."""
        return f"inv k3d-cluster-{verb} --n {self.cluster.number}"

    def kubectl(self, command: str) -> str:
        """A kubectl command to the cluster."""
        return self.cluster.to_type(*command.split())

    def in_namespace(self, command: str) -> str:
        """A kubectl command in the route's namespace; in all where there is no route."""
        return self.kubectl(f"-n {self.route.namespace} {command}" if self.route else f"{command} -A")

    def mend(self, command: str) -> str:
        """The same; where the route is one of our examples, they are installed again."""
        return self.inv("examples") if self.route and is_example(self.route.ingress) else self.in_namespace(command)


def is_example(found: Object) -> bool:
    labels = found["metadata"].get("labels") or {}
    return found["metadata"]["namespace"] == "examples" and labels.get("app.kubernetes.io/managed-by") == MANAGER
