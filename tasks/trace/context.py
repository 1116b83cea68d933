"""What the hops of a trace share, and how a hop reports its result."""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

from tasks import providers
from tasks.ca.load import load_root
from tasks.ca.root import RootCA
from tasks.core.problems import Problem, Reason, describe, problem
from tasks.core.shell import Shell
from tasks.engine.clusters import ExistingCluster
from tasks.probe.requests import Answer, request_from_host
from tasks.probe.routes import Route, find_route
from tasks.probe.snapshot import ClusterSnapshot, Object, take_snapshot
from tasks.probe.tls import ServedCertificate, fetch_certificate
from tasks.probe.traefik_log import read_log
from tasks.trace import commands
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
    """A broken hop: what was checked, the command that fixes it (empty if none is certain to), and why it is broken."""

    def __init__(self, at: str, command: str, why: Reason | Problem, **details: object) -> None:
        super().__init__(at)
        self.at, self.command = at, command
        self.why = why if isinstance(why, Problem) else problem(why, **details)


class TraceContext:
    """One trace: its URL, and what the hops read. Everything is read once, when a hop needs it first."""

    def __init__(self, shell: Shell, url: ClusterUrl) -> None:
        self.shell, self.url, self.cluster = shell, url, url.cluster
        self.clusters = providers.list_clusters(shell, url.cluster.settings)

    @property
    def existing(self) -> ExistingCluster:
        return self.clusters[self.cluster.name]

    @cached_property
    def root(self) -> RootCA:
        return load_root(self.cluster.settings)

    @cached_property
    def snapshot(self) -> ClusterSnapshot:
        return take_snapshot(self.shell, self.cluster, for_trace=True)

    @cached_property
    def route(self) -> Route | None:
        return find_route(self.snapshot, self.url.host, self.url.path.partition("?")[0])

    @cached_property
    def service(self) -> Object | None:
        return self.snapshot.one("Service", self.route.service, self.route.namespace) if self.route else None

    @cached_property
    def served(self) -> ServedCertificate:
        return fetch_certificate(self.cluster, self.url.host, self.url.front_door)

    @cached_property
    def answer(self) -> Answer:
        return request_from_host(self.cluster, self.url.scheme, self.url.host, self.url.path, self.url.front_door)

    def find_certificate(self) -> Object | None:
        """The Certificate that issues the secret of the route."""
        return next((entry for entry in self.snapshot.all("Certificate") if self.route and self.route.secret
                     and entry["spec"].get("secretName") == self.route.secret
                     and entry["metadata"]["namespace"] == self.route.namespace), None)

    @cached_property
    def traefik_errors(self) -> list[str]:
        """Traefik's latest errors about the source of the route."""
        return read_log(self.shell, self.cluster, self.route) if self.route else []

    @cached_property
    def traefik_options(self) -> str:
        """The command line of Traefik in lower case; it ignores the case of its options."""
        traefik = self.snapshot.one("Deployment", "traefik", "kube-system") or {}
        containers = traefik.get("spec", {}).get("template", {}).get("spec", {}).get("containers", [])
        return " ".join(word for container in containers for word in container.get("args", [])).lower()

    # --- commands ---

    def inv_command(self, verb: str) -> str:
        """The task for this cluster, such as `start`."""
        return commands.inv_command(self.cluster, verb)

    @property
    def example_command(self) -> str:
        """Install the examples again, if the route belongs to them."""
        return commands.example_command(self.cluster, self.route) if self.route else ""
