"""What kind of Kubernetes a cluster is. The cluster shows it, whatever created it."""

from __future__ import annotations

from tasks import providers
from tasks.core.settings import Cluster
from tasks.core.shell import Shell
from tasks.core.well_known import KUBE_SYSTEM
from tasks.probe.objects import get_object


def is_k3s(shell: Shell, cluster: Cluster) -> bool:
    """Whether its CoreDNS is that of k3s, which has the nodes in NodeHosts.

    Waits until a cluster that these tasks created has configured its CoreDNS; another one may have none.
    """
    if not shell.dry and providers.of(cluster).MANAGES_LIFE:
        shell.until("CoreDNS to be configured", cluster.settings.timeout_ready,
                    lambda: bool(read_coredns_config(shell, cluster)), pause=1)
    config = read_coredns_config(shell, cluster)
    return "NodeHosts" in str(config) if config else providers.of(cluster).MAKES_K3S


def read_coredns_config(shell: Shell, cluster: Cluster) -> dict[str, str]:
    """The files of its CoreDNS; empty if there are none yet."""
    return dict(get_object(shell, cluster, "configmap", "coredns", KUBE_SYSTEM).get("data", {}))
