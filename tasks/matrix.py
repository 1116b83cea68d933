"""The task `matrix`: every connection between this machine and the running clusters, in one table."""

from __future__ import annotations

from invoke import Context, Exit, task

from tasks import providers
from tasks.core import configuration
from tasks.core.invoke_patches import PlainTask
from tasks.core.progress import say
from tasks.core.settings import Cluster
from tasks.core.shell import Shell
from tasks.core.table import JSON_HELP, SIGNS, Cell, print_json, print_table
from tasks.engine.clusters import own_clusters
from tasks.front_door.container import is_in_use
from tasks.probe.connections import HOST, Connection, ConnectionReason, Connections, all_connections, probe
from tasks.tools.required import require

LEGEND = (f"Each cell shows HTTP, then HTTPS: {SIGNS['green']} the page of that cluster was returned, "
          f"{SIGNS['red']} it was not, {SIGNS['grey']} skipped.\n")
FRONT_DOOR_LEGEND = "First with the cluster's ports, then both again through the front door.\n"


@task(klass=PlainTask, help=JSON_HELP)
def matrix(context: Context, json: bool = False) -> None:
    """Test every route between this machine and clusters

    From this machine and from a pod in each running cluster, to the example page of each cluster, over HTTP and HTTPS.
    The page must belong to that cluster, and its certificate must verify. With a front door, URLs without port are
    tested too. This machine's resolver is tested by dns-verify.
    """
    settings = configuration.load()
    shell = Shell(context, settings.environment)
    require(shell, *providers.needed_tools(settings, "kubectl"))
    existing = providers.list_clusters(shell, settings)
    clusters = [cluster for cluster in own_clusters(settings, existing) if existing[cluster.name].state != "stopped"]
    if not clusters:
        raise Exit("No cluster is running. Create one with: inv k3d-cluster-setup --n 1\n"
                   "or start the existing ones with: inv k3d-cluster-start --all")
    rows = probe(shell, all_connections(clusters, is_in_use(shell, settings)))
    if json:
        print_json(list(rows.values()))
    else:
        print_matrix(rows, clusters)
    red = [row for row in rows.values() if row.state == "red"]
    if red:
        raise Exit(f"{len(red)} of {len(rows)} routes do not work:\n" + "\n".join(group_failures(rows)))


def print_matrix(rows: Connections, clusters: list[Cluster]) -> None:
    """A line for each source and a column for each target; below them, what skipped clusters need."""
    print_table(["from", *(cluster.name for cluster in clusters)],
                [[source.name if source else HOST, *(format_cell(rows, source, target) for target in clusters)]
                 for source in (None, *clusters)])
    own = [rows[Connection(cluster, cluster, "http")] for cluster in clusters]
    limits = dict.fromkeys(row.note for row in rows.values()
                           if row.state == "grey" and row.code != ConnectionReason.EXAMPLES_MISSING.code)
    forms = FRONT_DOOR_LEGEND if any(connection.front_door for connection in rows) else ""
    places = "".join(f"{cluster.name} is at {cluster.address}, not on this machine.\n" for cluster in clusters
                     if cluster.is_elsewhere)
    say(LEGEND + forms + places + "".join(f"{row.source}: {row.note}\n" for row in own if row.state == "grey")
        + "".join(f"{note}\n" for note in limits))


def format_cell(rows: Connections, source: Cluster | None, target: Cluster) -> list[Cell]:
    return [Cell(SIGNS[row.state], row.state) for connection, row in rows.items()
            if connection.source == source and connection.target == target]


def group_failures(rows: Connections) -> list[str]:
    """Each reason once, with the routes that it affects and the command to run."""
    groups: dict[tuple[str, str], list[tuple[str, str, str]]] = {}
    for connection, row in rows.items():
        if row.state == "red":
            form = f"{connection.scheme} through the front door" if connection.front_door else connection.scheme
            route = (connection.source_name, connection.target.name, form)
            groups.setdefault((row.note, row.command), []).append(route)
    lines = []
    for (note, command), routes in groups.items():
        sources, targets, schemes = (", ".join(dict.fromkeys(part)) for part in zip(*routes, strict=True))
        lines += [f"  {sources} to {targets} ({schemes}): {note}", f"    {command}"]
    return lines
