"""What lies in a cluster, read at once for those who judge it: status, doctor and trace."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

from tasks.core.settings import Cluster
from tasks.core.shell import Shell
from tasks.probe import issued
from tasks.probe.objects import Object, list_objects, query_objects

# The bundle is large, and in every namespace that wants it: of it only the place is asked for.
WITHOUT_BUNDLES = ("--field-selector", "metadata.name!=default-ca-bundle")


BUNDLES = ("--field-selector", "metadata.name=default-ca-bundle")


KUBERNETES = "nodes,namespaces,pods,deployments,services,endpointslices,ingresses,configmaps"


# Kinds that cert-manager, trust-manager and k3s bring. Where one is unknown, kubectl gives none of them.
OTHERS = "clusterissuers,certificates,bundles,helmchartconfigs"


@dataclass(frozen=True)
class ClusterSnapshot:
    """What a cluster's API told: no secret among it, of those the certificates alone."""

    cluster: Cluster
    error: str = ""
    """Why the API did not answer; empty when it did."""
    objects: list[Object] = field(default_factory=list)
    chain: bytes = b""
    """The issuer's certificates: intermediate, then root, as PEM."""
    leaves: dict[tuple[str, str], bytes] = field(default_factory=dict)
    """PEM of the issuer's leaves, by namespace and name of their secret."""
    with_bundle: list[str] = field(default_factory=list)
    """The namespaces that have the trust bundle."""

    def all(self, kind: str) -> Iterator[Object]:
        """Those of a kind, such as `Ingress`."""
        return (found for found in self.objects if found["kind"] == kind)

    def one(self, kind: str, name: str, namespace: str = "") -> Object | None:
        """The one of that name; `namespace` is empty for kinds that have none."""
        return next((found for found in self.all(kind) if found["metadata"]["name"] == name
                     and found["metadata"].get("namespace", "") == namespace), None)

    def data(self, name: str, namespace: str, key: str) -> str:
        """A key of a ConfigMap; empty when there is no such one."""
        found = self.one("ConfigMap", name, namespace) or {}
        return str((found.get("data") or {}).get(key, ""))

    def ready_endpoints(self, service: str, namespace: str) -> list[str]:
        """The addresses behind a Service that are ready."""
        slices = [found for found in self.all("EndpointSlice") if found["metadata"].get("namespace") == namespace
                  and (found["metadata"].get("labels") or {}).get("kubernetes.io/service-name") == service]
        return [address for found in slices for endpoint in found.get("endpoints") or []
                if (endpoint.get("conditions") or {}).get("ready", True) for address in endpoint.get("addresses") or []]

    def version(self, deployment: str) -> str:
        """Of cert-manager or trust-manager, as their charts say; empty when it is not there."""
        found = self.one("Deployment", deployment, "cert-manager") or {"metadata": {}}
        return str((found["metadata"].get("labels") or {}).get("app.kubernetes.io/version", ""))


def take_snapshot(shell: Shell, cluster: Cluster) -> ClusterSnapshot:
    """Ask the cluster for all of it, side by side."""
    (objects, error), others, chain, leaves, bundles = shell.side_by_side([
        partial(query_objects, shell, cluster, KUBERNETES, *WITHOUT_BUNDLES),
        partial(list_objects, shell, cluster, OTHERS),
        partial(issued.read_chain, shell, cluster), partial(issued.list_leaves, shell, cluster),
        partial(issued.list_fields, shell, cluster, "configmaps", ".metadata.namespace", options=BUNDLES)])
    return ClusterSnapshot(cluster, error, objects + others, chain or b"", leaves, [row[0] for row in bundles])


def kubelet_version(node: Object) -> str:
    """k3s' own version; empty where the node has not told it yet."""
    return str(node["status"].get("nodeInfo", {}).get("kubeletVersion", ""))


def read_condition(found: Object, kind: str) -> tuple[bool, str]:
    """Whether an object has that condition, and what it says about it."""
    for entry in found.get("status", {}).get("conditions", []):
        if entry.get("type") == kind:
            return entry.get("status") == "True", str(entry.get("message", ""))
    return False, "it says nothing about it yet"
