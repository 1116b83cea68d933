"""Every connection between this machine and the clusters: the N x N probe."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from tasks.core.settings import Cluster
from tasks.core.shell import Shell
from tasks.core.table import Row
from tasks.probe.example_page import example_url
from tasks.probe.requests import Answer, ExamplesMissing, ask_from_host, ask_from_pod


def trace_command(address: str) -> str:
    return f"inv trace {shlex.quote(address)}"

HOST = "this machine"


SCHEMES = ("http", "https")

Connections = dict[tuple[str, str, str], Row]
"""What each way has given, by from, to and scheme: `this machine` or a cluster's name, a cluster's name, `http`."""


def probe_all(shell: Shell, clusters: list[Cluster]) -> Connections:
    """All at once, with one `kubectl exec` for each cluster."""
    jobs: list[Callable[[], Connections]] = [partial(from_host, target) for target in clusters]
    jobs += [partial(from_pod, shell, source, clusters) for source in clusters]
    ways = {key: row for found in shell.side_by_side(jobs) for key, row in found.items()}
    return {(source.name if source else HOST, target.name, scheme): in_view_of_others(ways, source, target, scheme)
            for source in (None, *clusters) for target in clusters for scheme in SCHEMES}


def from_host(target: Cluster) -> Connections:
    return {(HOST, target.name, scheme): judge(HOST, target, scheme, ask_from_host(target, scheme))
            for scheme in SCHEMES}


def from_pod(shell: Shell, source: Cluster, targets: list[Cluster]) -> Connections:
    where, wanted = f"pod in {source.name}", [(target, scheme) for target in targets for scheme in SCHEMES]
    try:
        answers = ask_from_pod(shell, source, *(example_url(target, scheme) for target, scheme in wanted))
    except ExamplesMissing:
        note = examples_missing(source)
        return {(source.name, target.name, scheme): Row(where, example_url(target, scheme), "grey", note)
                for target, scheme in wanted}
    ways = {}
    for (target, scheme), answer in zip(wanted, answers, strict=True):
        row = judge(where, target, scheme, answer)
        if answer.error:
            note, command = explain_failure(source, target, answer)
            row = replace(row, note=note, command=command)
        ways[source.name, target.name, scheme] = row
    return ways


def in_view_of_others(ways: Connections, source: Cluster | None, target: Cluster, scheme: str) -> Row:
    """A row in view of the others: what its reason is and what to type, where it is red."""
    where = source.name if source else HOST
    row = ways[where, target.name, scheme]
    if row.state != "red":
        return row
    if ways[target.name, target.name, scheme].state == "grey":
        return replace(row, state="grey", note=examples_missing(target), command="")
    if row.command and ways[HOST, target.name, scheme].state == "green":
        return row
    # Not this pod's way alone: the walk to the target tells.
    both = ways[where, target.name, "https"].state == "red"
    return replace(row, command=trace_command(example_url(target, "https" if both else scheme)))


def judge(source: str, target: Cluster, scheme: str, answer: Answer) -> Row:
    """A row for what came back: it must be the page of that very cluster."""
    if answer.error:
        return Row(source, example_url(target, scheme), "red", answer.error)
    if f"Hello from {target.domain}<" not in answer.body:
        return Row(source, example_url(target, scheme), "red", f"not the page of {target.name}: {answer.body[:60]!r}")
    return Row(source, example_url(target, scheme), "green", f"page of {target.name}" + verified(scheme))


def verified(scheme: str) -> str:
    return ", certificate verified" if scheme == "https" else ""


def examples_missing(cluster: Cluster) -> str:
    return f"no examples there yet: inv k3d-cluster-examples --n {cluster.number}"


NO_NAME, NO_CONNECTION, NO_ANSWER = (5, 6), (7,), (28,)


NOT_TRUSTED = (60, 77)
"""Exit codes of curl: https://curl.se/libcurl/c/libcurl-errors.html"""


def explain_failure(source: Cluster, target: Cluster, answer: Answer) -> tuple[str, str]:
    """For a pod that got no answer: the hop of its way that is broken, and the command that mends it."""
    configure = f"inv k3d-cluster-configure --n {source.number}"
    way = f"traefik-internal of {target.name}" if source == target else f"{target.name} through this host"
    if answer.code in NO_NAME:
        return f"CoreDNS of {source.name} does not find the name", configure
    if answer.code in NO_CONNECTION:
        return f"{way}: the connection is refused", configure
    if answer.code in NO_ANSWER:
        return f"{way}: no answer in time; a firewall?", configure
    if answer.code in NOT_TRUSTED:
        return (f"the pod's trust bundle does not verify the certificate ({answer.error})",
                f"{configure} k3d-cluster-examples --n {source.number}")
    if answer.code:
        return f"{way}: {answer.error}", configure
    return answer.error, f"inv k3d-cluster-start --n {source.number} k3d-cluster-examples --n {source.number}"
