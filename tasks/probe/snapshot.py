"""The objects of a cluster, read in one go for status, doctor and trace."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

from tasks.core.settings import Cluster
from tasks.core.shell import Shell
from tasks.probe import issued
from tasks.probe.objects import Object, list_objects, query_objects

# The trust bundle is large, and many namespaces have a copy: only its namespaces are listed.
WITHOUT_BUNDLES = ("--field-selector", "metadata.name!=default-ca-bundle")
ONLY_BUNDLES = ("--field-selector", "metadata.name=default-ca-bundle")

KUBERNETES_KINDS = "nodes,namespaces,pods,deployments,services,endpointslices,ingresses,configmaps,ingressclasses"

# Kinds of cert-manager and trust-manager, kinds that not every Kubernetes has, and one of Gateway API.
ADDON_KINDS = ("clusterissuers,issuers,certificates,bundles",
               "mutatingadmissionpolicies,mutatingadmissionpolicybindings",
               "validatingadmissionpolicies,validatingadmissionpolicybindings", "gateways")

# Kinds that only a trace needs, by the programs that bring them.
ISSUANCE_KINDS = "certificaterequests,orders.acme.cert-manager.io,challenges.acme.cert-manager.io"
TRAEFIK_KINDS = "ingressroutes.traefik.io,middlewares.traefik.io,serverstransports.traefik.io"
GATEWAY_KINDS = "httproutes.gateway.networking.k8s.io"
TRACE_KINDS = (ISSUANCE_KINDS, TRAEFIK_KINDS, GATEWAY_KINDS)

INGRESS_EVENTS = ("--field-selector", "involvedObject.kind=Ingress,type=Warning")


@dataclass(frozen=True)
class ClusterSnapshot:
    """What a cluster's API returned. It holds no secrets, only the certificates in them."""

    cluster: Cluster
    error: str = ""
    """Why the API did not answer; empty if it did."""
    objects: list[Object] = field(default_factory=list)
    chain: bytes = b""
    """The issuer's certificates: intermediate, then root, as PEM."""
    leaves: dict[tuple[str, str], bytes] = field(default_factory=dict)
    """The leaves of the issuer as PEM, by namespace and name of their secret."""
    with_bundle: list[str] = field(default_factory=list)
    """The namespaces that have the trust bundle."""

    def all(self, kind: str) -> Iterator[Object]:
        """The objects of a kind, such as `Ingress`."""
        return (entry for entry in self.objects if entry["kind"] == kind)

    def one(self, kind: str, name: str, namespace: str = "") -> Object | None:
        """The object with that name; `namespace` is empty for kinds without namespaces."""
        return next((entry for entry in self.all(kind) if entry["metadata"]["name"] == name
                     and entry["metadata"].get("namespace", "") == namespace), None)

    def data(self, name: str, namespace: str, key: str) -> str:
        """A value in a ConfigMap; empty if there is none."""
        entry = self.one("ConfigMap", name, namespace) or {}
        return str((entry.get("data") or {}).get(key, ""))

    def ready_endpoints(self, service: str, namespace: str) -> list[str]:
        """The addresses of the pods behind a Service that are ready."""
        slices = [entry for entry in self.all("EndpointSlice") if entry["metadata"].get("namespace") == namespace
                  and (entry["metadata"].get("labels") or {}).get("kubernetes.io/service-name") == service]
        return [address for entry in slices for endpoint in entry.get("endpoints") or []
                if (endpoint.get("conditions") or {}).get("ready", True) for address in endpoint.get("addresses") or []]

    def version(self, deployment: str) -> str:
        """The version of cert-manager or trust-manager from its chart's label; empty if it is not installed."""
        entry = self.one("Deployment", deployment, "cert-manager") or {"metadata": {}}
        return str((entry["metadata"].get("labels") or {}).get("app.kubernetes.io/version", ""))


def take_snapshot(shell: Shell, cluster: Cluster, *, for_trace: bool = False) -> ClusterSnapshot:
    """Read everything side by side; for a trace also what only a trace needs."""
    kinds = [*ADDON_KINDS, *(TRACE_KINDS if for_trace else ())]
    events = [partial(list_objects, shell, cluster, "events", *INGRESS_EVENTS)] if for_trace else []
    (objects, error), chain, leaves, bundles, *others = shell.side_by_side([
        partial(query_objects, shell, cluster, KUBERNETES_KINDS, *WITHOUT_BUNDLES),
        partial(issued.read_chain, shell, cluster), partial(issued.list_leaves, shell, cluster),
        partial(issued.list_fields, shell, cluster, "configmaps", ".metadata.namespace", options=ONLY_BUNDLES),
        *(partial(list_each, shell, cluster, group) for group in kinds), *events])
    objects = [*objects, *(entry for found in others for entry in found)]
    return ClusterSnapshot(cluster, error, objects, chain or b"", leaves, [row[0] for row in bundles])


def list_each(shell: Shell, cluster: Cluster, kinds: str) -> list[Object]:
    """The objects of those of these kinds that exist. If one is unknown, kubectl returns none of the others either."""
    found, error = query_objects(shell, cluster, kinds)
    if not error or "," not in kinds:
        return found
    return [entry for kind in kinds.split(",") for entry in list_objects(shell, cluster, kind)]


def kubelet_version(node: Object) -> str:
    """The version of k3s; empty if the node has not reported it yet."""
    return str(node["status"].get("nodeInfo", {}).get("kubeletVersion", ""))


def read_condition(target: Object, kind: str) -> tuple[bool, str]:
    """Whether a condition of an object is true, and its message."""
    for entry in target.get("status", {}).get("conditions", []):
        if entry.get("type") == kind:
            return entry.get("status") == "True", str(entry.get("message", ""))
    return False, f"the condition {kind} is not set yet"
