"""Commands that a trace prints. Each fixes the failure that it is printed for; without a certain fix there is none."""

from __future__ import annotations

import json
import shlex

from tasks.core.settings import Cluster
from tasks.core.well_known import MANAGER
from tasks.probe.routes import Route
from tasks.probe.snapshot import Object


def inv_command(cluster: Cluster, verb: str) -> str:
    """The task for this cluster, such as `start`."""
    return f"inv k3d-cluster-{verb} --n {cluster.number}"


def example_command(cluster: Cluster, route: Route) -> str:
    """Install the examples again, if the route belongs to them."""
    return inv_command(cluster, "examples") if is_example(route.source) else ""


def is_example(entry: Object) -> bool:
    labels = entry["metadata"].get("labels") or {}
    return entry["metadata"]["namespace"] == "examples" and labels.get("app.kubernetes.io/managed-by") == MANAGER


def namespaced_command(cluster: Cluster, route: Route, *words: str) -> str:
    """A kubectl command in the namespace of the route; for the examples, the task that installs them again."""
    return example_command(cluster, route) or cluster.to_type("-n", route.namespace, *words)


def patch_command(cluster: Cluster, route: Route, patch: Object) -> str:
    """Merge this into the source of the route."""
    return namespaced_command(cluster, route, "patch", *source_of(route), "--type=merge", "--patch", json.dumps(patch))


def annotate_command(cluster: Cluster, route: Route, values: dict[str, str | None]) -> str:
    """Set annotations of the source; None removes one."""
    return patch_command(cluster, route, {"metadata": {"annotations": values}})


def replace_command(cluster: Cluster, route: Route, pointer: str, value: object, *target: str) -> str:
    """Replace one value in the source of the route, or in another object of its namespace."""
    patch = json.dumps([{"op": "replace", "path": pointer, "value": value}])
    return namespaced_command(cluster, route, "patch", *(target or source_of(route)), "--type=json", "--patch", patch)


def apply_command(cluster: Cluster, entry: Object) -> str:
    """Create an object."""
    return f"echo {shlex.quote(json.dumps(entry))} | {cluster.to_type('apply', '-f', '-')}"


def source_of(route: Route) -> tuple[str, str]:
    kinds = {"Ingress": "ingress", "IngressRoute": "ingressroute.traefik.io", "HTTPRoute": "httproute"}
    return kinds[route.kind], route.name
