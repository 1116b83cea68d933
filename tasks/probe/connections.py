"""The N x N probe: every connection between this machine and the clusters, tested with the example page.

`inv matrix` shows the result, and installing the examples ends with it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from tasks.core.problems import Problem, Reason, describe, problem
from tasks.core.settings import Cluster
from tasks.core.shell import Shell
from tasks.core.table import Row
from tasks.probe.example_page import example_url, is_behind_front_door, is_page_of
from tasks.probe.limits import find_limit
from tasks.probe.requests import (
    CERTIFICATE_REFUSED,
    CONNECTION_REFUSED,
    NAME_NOT_FOUND,
    REQUEST_TIMED_OUT,
    Answer,
    ExamplesMissing,
    request_from_host,
    request_from_pod,
)

HOST = "this machine"
SCHEMES = ("http", "https")


class ConnectionReason(Reason):
    """Why a request did not return the expected page."""

    EXAMPLES_MISSING = "the examples are not installed in {cluster}: {command}"
    NAME_NOT_RESOLVED = "CoreDNS in {source} does not resolve the name"
    CONNECTION_REFUSED = "{route}: connection refused"
    TIMED_OUT = "{route}: timed out; is a firewall blocking it?"
    CERTIFICATE_NOT_TRUSTED = "the pod's trust bundle does not verify the certificate ({error})"
    REQUEST_FAILED = "{route}: {error}"
    EXEC_FAILED = "kubectl cannot run curl in the pod: {error}"
    HOST_REQUEST_FAILED = "{error}"
    WRONG_PAGE = "got a different page than {target}'s: {body!r}"


@dataclass(frozen=True)
class Connection:
    """From this machine, or from a pod of `source`, to the page of `target`."""

    source: Cluster | None
    target: Cluster
    scheme: str
    front_door: bool = False
    """Through the front door, whose URLs have no port."""

    def __hash__(self) -> int:  # settings contain a dictionary, which has no hash
        return hash((self.source_name, self.target.name, self.scheme, self.front_door))

    @property
    def source_name(self) -> str:
        return self.source.name if self.source else HOST

    @property
    def url(self) -> str:
        return example_url(self.target, self.scheme, self.front_door)

    def row(self, state: str, note: str, command: str = "", code: str = "ok") -> Row:
        where = f"pod in {self.source.name}" if self.source else HOST
        return Row(where, self.url, state, note, command, code)


Connections = dict[Connection, Row]
"""The result of each connection."""


def all_connections(clusters: list[Cluster], front_door: bool = False) -> list[Connection]:
    """`front_door`: also those through it."""
    return [Connection(source, target, scheme, through) for source in (None, *clusters) for target in clusters
            for through in ([False, True] if front_door and is_behind_front_door(target) else [False])
            for scheme in SCHEMES]


def probe(shell: Shell, connections: list[Connection]) -> Connections:
    """Test these connections side by side, with one `kubectl exec` for each source."""
    jobs: list[Callable[[], Connections]] = [
        partial(probe_from_host, shell, connection) for connection in connections if connection.source is None]
    by_source: dict[str, list[Connection]] = {}
    for connection in connections:
        if connection.source:
            by_source.setdefault(connection.source_name, []).append(connection)
    jobs += [partial(probe_from_pod, shell, group) for group in by_source.values()]
    rows = {connection: row for results in shell.side_by_side(jobs) for connection, row in results.items()}
    return {connection: compare(rows, connection) for connection in connections}


def probe_from_host(shell: Shell, connection: Connection) -> Connections:
    answer = request_from_host(connection.target, connection.scheme, front_door=connection.front_door)
    return {connection: judge(shell, connection, answer)}


def probe_from_pod(shell: Shell, connections: list[Connection]) -> Connections:
    """Test connections that have the same source."""
    source = connections[0].source
    assert source
    try:
        answers = request_from_pod(shell, source, *(connection.url for connection in connections))
    except ExamplesMissing:
        return {connection: skip_without_examples(connection, source) for connection in connections}
    return {connection: judge(shell, connection, answer)
            for connection, answer in zip(connections, answers, strict=True)}


def judge(shell: Shell, connection: Connection, answer: Answer) -> Row:
    """A row for the answer, which must be the page of exactly that cluster."""
    target = connection.target
    if not answer.error and is_page_of(target, answer.body):
        verified = ", certificate verified" if connection.scheme == "https" else ""
        place = f" at {target.address}" if target.is_elsewhere and connection.source != target else ""
        return connection.row("green", f"page of {target.name}{place}{verified}")
    if limit := find_limit(shell, connection.source, target, answer, connection.front_door):
        return connection.row("grey", describe(limit), code=limit.code)
    why, command = ((problem(ConnectionReason.WRONG_PAGE, target=target.name, body=answer.body[:60]), "")
                    if not answer.error else explain_failure(connection.source, target, answer, connection.front_door))
    return connection.row("red", describe(why), command, why.code)


def describe_route(source: Cluster, target: Cluster, front_door: bool) -> str:
    """How a pod of one cluster reaches another one, or its own."""
    if source == target:
        return "traefik-internal"
    return f"{'the front door of ' if front_door else ''}{target.address if target.is_elsewhere else 'this host'}"


def explain_failure(
    source: Cluster | None, target: Cluster, answer: Answer, front_door: bool = False
) -> tuple[Problem, str]:
    """Why there is no answer: the broken hop, and the command that fixes it if one is known."""
    if source is None:
        return problem(ConnectionReason.HOST_REQUEST_FAILED, error=answer.error), ""
    configure = f"inv k3d-cluster-configure --n {source.number}"
    through = describe_route(source, target, front_door)
    route = f"{through} of {target.name}" if source == target else f"{target.name} through {through}"
    if answer.code in NAME_NOT_FOUND:
        return problem(ConnectionReason.NAME_NOT_RESOLVED, source=source.name), configure
    if answer.code in CONNECTION_REFUSED:
        return problem(ConnectionReason.CONNECTION_REFUSED, route=route), configure
    if answer.code in REQUEST_TIMED_OUT:
        return problem(ConnectionReason.TIMED_OUT, route=route), configure
    if answer.code in CERTIFICATE_REFUSED:
        return (problem(ConnectionReason.CERTIFICATE_NOT_TRUSTED, error=answer.error),
                f"{configure} k3d-cluster-examples --n {source.number}")
    if answer.code:
        return problem(ConnectionReason.REQUEST_FAILED, route=route, error=answer.error), configure
    return (problem(ConnectionReason.EXEC_FAILED, error=answer.error),
            f"inv k3d-cluster-start --n {source.number} k3d-cluster-examples --n {source.number}")


def skip_without_examples(connection: Connection, cluster: Cluster) -> Row:
    why = explain_missing_examples(cluster)
    return connection.row("grey", describe(why), code=why.code)


def explain_missing_examples(cluster: Cluster) -> Problem:
    return problem(ConnectionReason.EXAMPLES_MISSING, cluster=cluster.name,
                   command=f"inv k3d-cluster-examples --n {cluster.number}")


def compare(rows: Connections, connection: Connection) -> Row:
    """Adjust a red row to the other rows: grey if its target has no examples; otherwise the command to run."""
    row, target = rows[connection], connection.target
    if row.state != "red":
        return row
    if any(other.source == target and rows[other].code == ConnectionReason.EXAMPLES_MISSING.code for other in rows):
        return skip_without_examples(connection, target)
    from_host = rows.get(replace(connection, source=None))
    if row.command and (from_host is None or from_host.state == "green"):
        return row
    # The target does not answer this machine either: a trace shows where it breaks.
    https = rows.get(replace(connection, scheme="https"))
    scheme = "https" if https and https.state == "red" else connection.scheme
    return replace(row, command=trace_command(example_url(target, scheme, connection.front_door)))


def trace_command(url: str) -> str:
    import shlex

    return f"inv trace {shlex.quote(url)}"
