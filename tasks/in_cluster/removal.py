"""Take out of a cluster what these tasks installed in it, and leave everything else."""

from __future__ import annotations

from tasks.core.settings import Cluster
from tasks.core.shell import Shell
from tasks.core.well_known import COREDNS_CONFIG, COREDNS_IMPORT, KUBE_SYSTEM, MANAGER
from tasks.core.work_files import work_folder, write_file
from tasks.in_cluster import charts, flavour, foreign_charts
from tasks.in_cluster.apply import render_manifest
from tasks.probe.objects import get_object

# Namespaces come last: what is in them goes with them.
KINDS = ("ingresses", "deployments", "middlewares.traefik.io", "tlsstores.traefik.io", "bundles.trust.cert-manager.io",
         "clusterissuers.cert-manager.io", "mutatingadmissionpolicybindings", "mutatingadmissionpolicies",
         "validatingadmissionpolicybindings", "validatingadmissionpolicies", "services", "configmaps", "secrets",
         "helmchartconfigs.helm.cattle.io", "namespaces")


def remove(shell: Shell, cluster: Cluster) -> None:
    """What has our label, our charts, and our rules in CoreDNS. The CRDs of cert-manager stay: others may use them."""
    with shell.step(cluster.name, "what these tasks installed") as this:
        for kind in KINDS:
            remove_labelled(shell, cluster, kind)
        remove_rules(shell, cluster)
        for name in (charts.TRAEFIK, *reversed(charts.CHARTS)):
            if charts.find_deployed_hash(shell, cluster, name):
                shell.change("helm", "uninstall", name, *cluster.helm_target, "--namespace",
                             foreign_charts.NAMESPACES[name], "--wait")
        this.outcome = f"removed; {cluster.context} itself stays"


def remove_labelled(shell: Shell, cluster: Cluster, kind: str) -> None:
    """The objects of a kind with our label; none where there is no such kind."""
    label = f"app.kubernetes.io/managed-by={MANAGER}"
    if shell.look(*cluster.kubectl, "get", kind, "-A", "-l", label, "-o", "name").stdout.strip():
        shell.change(*cluster.kubectl, "delete", kind, "-A", "-l", label, "--ignore-not-found")


def remove_rules(shell: Shell, cluster: Cluster) -> None:
    """Our key in coredns-custom, and the import that only it needed."""
    kubectl = (*cluster.kubectl, "-n", KUBE_SYSTEM)
    data = get_object(shell, cluster, "configmap", COREDNS_CONFIG, KUBE_SYSTEM).get("data", {})
    if "dev-clusters.override" not in data:
        return
    if len(data) == 1:
        shell.change(*kubectl, "delete", "configmap", COREDNS_CONFIG)
    else:
        patch = write_file(shell, work_folder(cluster) / "coredns-custom-remove.yaml",
                           "data:\n  dev-clusters.override: null\n")
        shell.change(*kubectl, "patch", "configmap", COREDNS_CONFIG, "--patch-file", str(patch))
    corefile = flavour.read_coredns_config(shell, cluster).get("Corefile", "")
    if flavour.is_k3s(shell, cluster) or len(data) > 1 or COREDNS_IMPORT not in corefile:
        return
    without = "".join(line for line in corefile.splitlines(keepends=True) if line.strip() != COREDNS_IMPORT)
    for name, template in (("configmap", "coredns-import"), ("deployment", "coredns-remove")):
        manifest = render_manifest(cluster, f"in_cluster/{template}.yaml", corefile=without)
        write_file(shell, manifest.file, manifest.text)
        shell.change(*kubectl, "patch", name, "coredns", "--patch-file", str(manifest.file))
