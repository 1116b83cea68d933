"""Every way between this machine and the clusters that run, as one table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from invoke import Context, Exit, task

from tasks import settings as configuration
from tasks.address import to_type
from tasks.existing import existing, ours
from tasks.names import PlainTask
from tasks.progress import say
from tasks.settings import Cluster
from tasks.shell import Shell
from tasks.table import JSON_HELP, SIGNS, Cell, Row, print_json, print_table
from tasks.tools import require
from tasks.ways import NoExamples, ask_from_host, ask_from_pod, judge, no_examples, url, why

HOST = "this machine"
SCHEMES = ("http", "https")
LEGEND = (f"In each cell HTTP, then HTTPS: {SIGNS['green']} the page of that very cluster, {SIGNS['red']} not, "
          f"{SIGNS['grey']} not asked.\n")

Ways = dict[tuple[str, str, str], Row]
"""What each way has given, by from, to and scheme: `this machine` or a cluster's name, a cluster's name, `http`."""


@task(klass=PlainTask, help=JSON_HELP)
def matrix(context: Context, json: bool = False) -> None:
    """Try every way between this machine and clusters

    From this machine and from a pod of each cluster that runs, to the examples' page of each, by HTTP and HTTPS. The
    page must be that cluster's, and its certificate verified. This machine's resolver is not asked: inv dns-verify.
    """
    settings = configuration.load()
    shell = Shell(context, settings.environment)
    require(shell, "docker", "k3d", "kubectl")
    found = existing(shell)
    clusters = [cluster for cluster in ours(settings, found) if found[cluster.name].state != "stopped"]
    if not clusters:
        raise Exit("No cluster runs. Make one with: inv k3d-cluster-setup --n 1\n"
                   "or start those that are there: inv k3d-cluster-start --all")
    ways = try_all(shell, clusters)
    if json:
        print_json(list(ways.values()))
    else:
        print_ways(ways, [cluster.name for cluster in clusters])
    red = [row for row in ways.values() if row.state == "red"]
    if red:
        raise Exit(f"{len(red)} of {len(ways)} ways do not work:\n" + "\n".join(reasons(ways)))


def try_all(shell: Shell, clusters: list[Cluster]) -> Ways:
    """All at once, with one `kubectl exec` for each cluster."""
    jobs: list[Callable[[], Ways]] = [partial(from_host, target) for target in clusters]
    jobs += [partial(from_pod, shell, source, clusters) for source in clusters]
    ways = {key: row for found in shell.side_by_side(jobs) for key, row in found.items()}
    return {(source.name if source else HOST, target.name, scheme): judged(ways, source, target, scheme)
            for source in (None, *clusters) for target in clusters for scheme in SCHEMES}


def from_host(target: Cluster) -> Ways:
    return {(HOST, target.name, scheme): judge(HOST, target, scheme, ask_from_host(target, scheme))
            for scheme in SCHEMES}


def from_pod(shell: Shell, source: Cluster, targets: list[Cluster]) -> Ways:
    where, wanted = f"pod in {source.name}", [(target, scheme) for target in targets for scheme in SCHEMES]
    try:
        answers = ask_from_pod(shell, source, *(url(target, scheme) for target, scheme in wanted))
    except NoExamples:
        return {(source.name, target.name, scheme): Row(where, url(target, scheme), "grey", no_examples(source))
                for target, scheme in wanted}
    ways = {}
    for (target, scheme), answer in zip(wanted, answers, strict=True):
        row = judge(where, target, scheme, answer)
        if answer.error:
            note, command = why(source, target, answer)
            row = replace(row, note=note, command=command)
        ways[source.name, target.name, scheme] = row
    return ways


def judged(ways: Ways, source: Cluster | None, target: Cluster, scheme: str) -> Row:
    """A row in view of the others: what its reason is and what to type, where it is red."""
    where = source.name if source else HOST
    row = ways[where, target.name, scheme]
    if row.state != "red":
        return row
    if ways[target.name, target.name, scheme].state == "grey":
        return replace(row, state="grey", note=no_examples(target), command="")
    if row.command and ways[HOST, target.name, scheme].state == "green":
        return row
    # Not this pod's way alone: the walk to the target tells.
    both = ways[where, target.name, "https"].state == "red"
    return replace(row, command=to_type(url(target, "https" if both else scheme)))


# --- how it is shown --------------------------------------------------------------------------------------------------


def print_ways(ways: Ways, names: list[str]) -> None:
    """A line for each source and a column for each target; below it what the clusters in grey need."""
    print_table(["from", *names], [[source, *(cell(ways, source, target) for target in names)]
                                   for source in (HOST, *names)])
    without = [ways[name, name, "http"] for name in names if ways[name, name, "http"].state == "grey"]
    say(LEGEND + "".join(f"{row.source}: {row.note}\n" for row in without))


def cell(ways: Ways, source: str, target: str) -> list[Cell]:
    states = [ways[source, target, scheme].state for scheme in SCHEMES]
    return [Cell(SIGNS[state], state) for state in states]


def reasons(ways: Ways) -> list[str]:
    """Each reason once, with the ways that it is about, and what to type."""
    groups: dict[tuple[str, str], list[tuple[str, str, str]]] = {}
    for way, row in ways.items():
        if row.state == "red":
            groups.setdefault((row.note, row.command), []).append(way)
    lines = []
    for (note, command), ways_of_it in groups.items():
        sources, targets, schemes = (", ".join(dict.fromkeys(part)) for part in zip(*ways_of_it, strict=True))
        lines += [f"  {sources} to {targets} ({schemes}): {note}", f"    {command}"]
    return lines
