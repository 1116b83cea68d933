"""Every way between this machine and the clusters that run, as one table."""

from __future__ import annotations

from invoke import Context, Exit, task

from tasks.core import settings as configuration
from tasks.core.invoke_patches import PlainTask
from tasks.core.progress import say
from tasks.core.shell import Shell
from tasks.core.table import JSON_HELP, SIGNS, Cell, print_json, print_table
from tasks.engine.clusters import list_clusters, own_clusters
from tasks.probe.connections import HOST, SCHEMES, Connections, probe_all
from tasks.tools.required import require

LEGEND = (f"In each cell HTTP, then HTTPS: {SIGNS['green']} the page of that very cluster, {SIGNS['red']} not, "
          f"{SIGNS['grey']} not asked.\n")


@task(klass=PlainTask, help=JSON_HELP)
def matrix(context: Context, json: bool = False) -> None:
    """Test every route between this machine and clusters

    From this machine and from a pod of each cluster that runs, to the examples' page of each, by HTTP and HTTPS. The
    page must be that cluster's, and its certificate verified. This machine's resolver is not asked: inv dns-verify.
    """
    settings = configuration.load()
    shell = Shell(context, settings.environment)
    require(shell, "docker", "k3d", "kubectl")
    found = list_clusters(shell)
    clusters = [cluster for cluster in own_clusters(settings, found) if found[cluster.name].state != "stopped"]
    if not clusters:
        raise Exit("No cluster runs. Make one with: inv k3d-cluster-setup --n 1\n"
                   "or start those that are there: inv k3d-cluster-start --all")
    ways = probe_all(shell, clusters)
    if json:
        print_json(list(ways.values()))
    else:
        print_connections(ways, [cluster.name for cluster in clusters])
    red = [row for row in ways.values() if row.state == "red"]
    if red:
        raise Exit(f"{len(red)} of {len(ways)} ways do not work:\n" + "\n".join(group_failures(ways)))


def print_connections(ways: Connections, names: list[str]) -> None:
    """A line for each source and a column for each target; below it what the clusters in grey need."""
    print_table(["from", *names], [[source, *(cell(ways, source, target) for target in names)]
                                   for source in (HOST, *names)])
    without = [ways[name, name, "http"] for name in names if ways[name, name, "http"].state == "grey"]
    say(LEGEND + "".join(f"{row.source}: {row.note}\n" for row in without))


def cell(ways: Connections, source: str, target: str) -> list[Cell]:
    states = [ways[source, target, scheme].state for scheme in SCHEMES]
    return [Cell(SIGNS[state], state) for state in states]


def group_failures(ways: Connections) -> list[str]:
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
