"""Objects of a cluster's API, as JSON."""

from __future__ import annotations

import json
from typing import Any

from tasks.core.settings import Cluster
from tasks.core.shell import Shell

Object = dict[str, Any]
"""An object of the API, as its JSON, without nulls and with at least `metadata`, `spec` and `status`."""


def query_objects(shell: Shell, cluster: Cluster, kinds: str, *options: str) -> tuple[list[Object], str]:
    """The objects of these kinds in all namespaces; and why there are none, if the API did not answer."""
    found = shell.look(*cluster.kubectl, "get", kinds, "-A", *options, "-o", "json", "--request-timeout=10s")
    if not found.ok:
        return [], (found.stderr.strip() or "no answer").splitlines()[-1]
    try:
        return [normalize(item) for item in json.loads(found.stdout)["items"] or []], ""
    except (ValueError, TypeError, KeyError):
        return [], "the output of kubectl cannot be parsed"


def list_objects(shell: Shell, cluster: Cluster, kinds: str, *options: str) -> list[Object]:
    """The same; none either if a kind does not exist, or the API did not answer."""
    return query_objects(shell, cluster, kinds, *options)[0]


def get_object(shell: Shell, cluster: Cluster, kind: str, name: str, namespace: str, *options: str) -> Object:
    """One object; without content if it does not exist, or the API did not answer."""
    found = shell.look(*cluster.kubectl, "-n", namespace, "get", kind, name, "--ignore-not-found", *options,
                       "-o", "json")
    try:
        return normalize(json.loads(found.stdout))
    except (ValueError, TypeError):
        return normalize({})


def normalize(found: Object) -> Object:
    """The object without nulls, which mean the same as a missing key, and with the parts that every reader uses."""
    return {"metadata": {}, "spec": {}, "status": {}, **without_nulls(found)}


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_nulls(entry) for key, entry in value.items() if entry is not None}
    return [without_nulls(entry) for entry in value if entry is not None] if isinstance(value, list) else value
