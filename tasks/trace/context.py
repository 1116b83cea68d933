"""What the hops of a trace share, and how a hop reports its result."""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

from tasks.ca.load import load_root
from tasks.ca.root import RootCA
from tasks.core.problems import Problem, Reason, describe, problem
from tasks.core.shell import Shell
from tasks.core.well_known import MANAGER
from tasks.engine.clusters import K3dCluster, list_clusters
from tasks.probe.ingress_routes import Route, find_route
from tasks.probe.snapshot import ClusterSnapshot, Object, take_snapshot
from tasks.probe.tls import ServedCertificate, fetch_certificate
from tasks.trace.url import ClusterUrl


class HopResult(NamedTuple):
    """The result of a hop that works: what was checked, and what it showed."""

    at: str
    note: str
    state: str = "green"
    code: str = "ok"


def unknown(at: str, reason: Reason, **details: object) -> HopResult:
    """The result of a hop that cannot be judged."""
    why = problem(reason, **details)
    return HopResult(at, describe(why), "grey", why.code)


class HopFailure(Exception):
    """A broken hop: what was checked, the command that fixes or shows it, and why it is broken."""

    def __init__(self, at: str, command: str, why: Reason | Problem, **details: object) -> None:
        super().__init__(at)
        self.at, self.command = at, command
        self.why = why if isinstance(why, Problem) else problem(why, **details)


class TraceContext:
    """One trace: its URL, and what the hops read. Everything is read once, when a hop needs it first."""

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

    # --- commands that are printed ---

    def inv_command(self, verb: str) -> str:
        """The task for this cluster, such as `start`."""
        return f"inv k3d-cluster-{verb} --n {self.cluster.number}"

    def kubectl_command(self, command: str) -> str:
        return self.cluster.to_type(*command.split())

    @property
    def log_command(self) -> str:
        return self.kubectl_command("-n kube-system logs deployment/traefik --tail=20")

    def namespaced_command(self, command: str) -> str:
        """A kubectl command in the namespace of the route; in all namespaces if there is no route."""
        return self.kubectl_command(f"-n {self.route.namespace} {command}" if self.route else f"{command} -A")

    def fix_command(self, command: str) -> str:
        """The same; if the route belongs to the examples, the command that installs them again."""
        if self.route and is_example(self.route.ingress):
            return self.inv_command("examples")
        return self.namespaced_command(command)


def is_example(entry: Object) -> bool:
    labels = entry["metadata"].get("labels") or {}
    return entry["metadata"]["namespace"] == "examples" and labels.get("app.kubernetes.io/managed-by") == MANAGER
