"""Which pods trust the bundle without mounting it themselves, and which should and do not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tasks.core.settings import Cluster
from tasks.core.well_known import TRUST_BUNDLE
from tasks.probe.objects import Object
from tasks.probe.snapshot import ClusterSnapshot

TRUSTED_BY, FILE_BY = "dev-cluster-tasks/trusted-by", "dev-cluster-tasks/system-file-by"
"""Annotations of a pod that the policies have changed."""

OPT_OUT = "dev-cluster-tasks/trust"
"""The annotation of a pod that is not to be changed; its value is `none`."""

TRUST_LABEL, FILE_LABEL = "trust", "trust-system-file"
"""The labels of a namespace; their value is `enabled`."""

VOLUME = "dev-cluster-trust"

SYSTEM_NAMESPACES = ("kube-system", "kube-public", "kube-node-lease", "cert-manager")
"""Their pods are never changed."""

RESTARTED_BY_ROLLOUT = ("Deployment", "StatefulSet", "DaemonSet")


@dataclass(frozen=True)
class Owner:
    """What makes a pod: a Deployment, a Job, or itself."""

    kind: str
    name: str
    namespace: str

    @property
    def title(self) -> str:
        return f"{self.namespace}/{self.name} ({self.kind})"

    @property
    def reference(self) -> str:
        """As kubectl takes it."""
        return f"{self.kind.lower()}/{self.name}"

    @property
    def is_restarted_by_rollout(self) -> bool:
        return self.kind in RESTARTED_BY_ROLLOUT


@dataclass(frozen=True)
class OwnedPods:
    """Pods of one owner that have to be restarted."""

    owner: Owner
    pods: list[str]

    def restart_command(self, cluster: Cluster) -> str:
        """What to type, so that new pods take their place."""
        namespace = ("-n", self.owner.namespace)
        if self.owner.is_restarted_by_rollout:
            return cluster.to_type(*namespace, "rollout", "restart", self.owner.reference)
        if self.owner.kind == "Pod":
            return (f"{cluster.to_type(*namespace, 'get', 'pod', self.owner.name, '-o', 'yaml')} | "
                    f"{cluster.to_type(*namespace, 'replace', '--force', '-f', '-')}")
        return cluster.to_type(*namespace, "delete", "pod", *self.pods)


def list_untrusting(snapshot: ClusterSnapshot) -> list[OwnedPods]:
    """The running pods that lack trust, or the system's file, which new ones in their place would have.

    Pods that mount the bundle themselves, or opt out, are not among them.
    """
    return group_by_owner(pod for pod in snapshot.all("Pod") if lacks_trust(snapshot, pod))


def group_by_owner(pods: Iterable[Object]) -> list[OwnedPods]:
    found: dict[Owner, list[str]] = {}
    for pod in pods:
        found.setdefault(find_owner(pod), []).append(pod["metadata"]["name"])
    return [OwnedPods(owner, names) for owner, names in found.items()]


def is_running(pod: Object) -> bool:
    """Whether it runs, or is about to."""
    return pod.get("status", {}).get("phase") in ("Running", "Pending") and "deletionTimestamp" not in pod["metadata"]


def lacks_trust(snapshot: ClusterSnapshot, pod: Object) -> bool:
    metadata, spec = pod["metadata"], pod["spec"]
    annotations, namespace = metadata.get("annotations") or {}, metadata.get("namespace", "")
    if (not is_running(pod) or annotations.get(OPT_OUT) == "none" or "kubernetes.io/config.mirror" in annotations
            or (spec.get("os") or {}).get("name") == "windows"
            or (spec.get("nodeSelector") or {}).get("kubernetes.io/os", "linux") != "linux"):
        return False
    volumes = spec.get("volumes") or []
    by_hand = any(TRUST_BUNDLE in mounted_config_maps(volume) for volume in volumes if volume["name"] != VOLUME)
    name_taken = any(volume["name"] == VOLUME and TRUST_BUNDLE not in mounted_config_maps(volume) for volume in volumes)
    if by_hand or name_taken:
        return False
    return ((TRUSTED_BY not in annotations and gives(snapshot, "pod-trust", namespace))
            or (FILE_BY not in annotations and gives(snapshot, "pod-trust-system-file", namespace)))


def gives(snapshot: ClusterSnapshot, policy: str, namespace: str) -> bool:
    """Whether this policy changes new pods of the namespace."""
    binding = snapshot.one("MutatingAdmissionPolicyBinding", policy)
    found = snapshot.one("Namespace", namespace)
    if binding is None or found is None or namespace in SYSTEM_NAMESPACES:
        return False
    wanted = ((binding["spec"].get("matchResources") or {}).get("namespaceSelector") or {}).get("matchLabels") or {}
    return bool(wanted) and wanted.items() <= (found["metadata"].get("labels") or {}).items()


def mounted_config_maps(volume: Object) -> set[str]:
    sources = [volume, *((volume.get("projected") or {}).get("sources") or [])]
    return {(source.get("configMap") or {}).get("name", "") for source in sources} - {""}


def find_owner(pod: Object) -> Owner:
    metadata = pod["metadata"]
    controller = next((owner for owner in metadata.get("ownerReferences") or [] if owner.get("controller")), None)
    if controller is None:
        return Owner("Pod", metadata["name"], metadata["namespace"])
    kind, name = controller["kind"], controller["name"]
    template = (metadata.get("labels") or {}).get("pod-template-hash", "")
    if kind == "ReplicaSet" and template and name.endswith(f"-{template}"):
        kind, name = "Deployment", name.removesuffix(f"-{template}")
    return Owner(kind, name, metadata["namespace"])


def containers(pod: Object) -> Iterator[Object]:
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        yield from pod["spec"].get(kind) or []


