"""Tell Tilt, Skaffold and other tools the name of the registry to push to.

https://github.com/kubernetes/enhancements/tree/master/keps/sig-cluster-lifecycle/generic/1755-communicating-a-local-registry
"""

from __future__ import annotations

from tasks.core.settings import Cluster
from tasks.core.shell import Shell
from tasks.core.well_known import MANAGER
from tasks.in_cluster.apply import apply, render_manifest
from tasks.probe.objects import get_object
from tasks.registries import mirrors

NAME, NAMESPACE = "local-registry-hosting", "kube-public"


def configure(shell: Shell, cluster: Cluster) -> None:
    """Write the ConfigMap, or remove ours if LOCAL_REGISTRY_PORT is empty. Another program's is kept."""
    registry = mirrors.local_registry(cluster.settings)
    metadata = get_object(shell, cluster, "configmap", NAME, NAMESPACE)["metadata"]
    is_ours = metadata.get("labels", {}).get("app.kubernetes.io/managed-by") == MANAGER
    if not registry and not is_ours:
        return
    with shell.step(cluster.name, f"ConfigMap {NAME}") as this:
        if metadata and not is_ours:
            this.warn("kept, because another program created it: tools push to the registry that it names")
        elif registry:
            manifest = render_manifest(cluster, f"in_cluster/{NAME}.yaml", registry=registry)
            this.outcome = registry.host if apply(shell, cluster, manifest) else "already there"
        else:
            shell.change(*cluster.kubectl, "-n", NAMESPACE, "delete", "configmap", NAME)
            this.outcome = "removed"
