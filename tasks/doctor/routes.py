"""The last check of a running cluster: its routes, end to end."""

from __future__ import annotations

from collections.abc import Iterator

from tasks.core.well_known import EXAMPLES
from tasks.doctor.check import ERROR, Checks, ClusterView, Observation
from tasks.front_door.container import is_in_use
from tasks.probe.connections import SCHEMES, Connection, probe

CHECKS = Checks()


def has_examples(view: ClusterView, *deployments: str) -> bool:
    return all(view.snapshot.one("Deployment", name, EXAMPLES) for name in deployments)


@CHECKS.check("routes", ERROR, "Something between the parts above is in the way.", "inv matrix",
              needs=["ports-answer", "coredns-answers", "bundle", "leaves", "way-to-host", "front-door-clusters",
                     "front-door-pods"])
def routes(view: ClusterView) -> Iterator[Observation]:
    """Every route between this machine and the running clusters works"""
    if not has_examples(view, "curl", "nginx"):
        return
    targets = [other.cluster for other in view.machine.running if has_examples(other, "nginx")]
    pairs = [(None, view.cluster), *((view.cluster, target) for target in targets)]
    forms = [False, True] if is_in_use(view.shell, view.settings) else [False]
    connections = [Connection(source, target, scheme, front_door)
                   for source, target in pairs for front_door in forms for scheme in SCHEMES]
    for row in probe(view.shell, connections).values():
        if row.state == "red":
            yield Observation(row.code, f"{row.source} to {row.target}: {row.note}")
