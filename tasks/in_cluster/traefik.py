"""k3s' own Traefik, with its access log on."""

from __future__ import annotations

from tasks.core.settings import Cluster
from tasks.core.shell import Shell
from tasks.core.well_known import MANAGER
from tasks.in_cluster.apply import apply, manifest

# Who may have made the HelmChartConfig that we replace: we, and the original Taskfile.
MAKERS = (MANAGER, "taskfile-dev-cluster-config")


def configure(shell: Shell, cluster: Cluster) -> None:
    """Turn the access log on, and wait: Traefik restarts, and what is asked meanwhile fails."""
    kubectl = (*cluster.kubectl, "-n", "kube-system")
    with shell.step(cluster.name, "Traefik's access log") as this:
        # k3s registers its own types a moment after its API answers.
        shell.until("k3s' HelmChartConfig", cluster.settings.timeout_ready,
                    lambda: shell.look(*kubectl, "get", "helmchartconfigs").ok, pause=1)
        there = shell.look(*kubectl, "get", "helmchartconfig", "traefik", "--ignore-not-found", "-o",
                           r"jsonpath={.metadata.name} {.metadata.labels.app\.kubernetes\.io/managed-by}")
        if there.stdout.strip() and there.stdout.split()[-1] not in MAKERS:
            this.warn("left as it is: the HelmChartConfig traefik is not ours. "
                      "Add --accesslog=true to its additionalArguments.")
            return
        apply(shell, cluster, manifest(cluster, "in_cluster/traefik.yaml"))
        shell.until("k3s to give Traefik its access log", cluster.settings.timeout_ready,
                    lambda: "--accesslog=true" in shell.look(
                        *kubectl, "get", "deployment", "traefik", "-o",
                        "jsonpath={.spec.template.spec.containers[0].args}").stdout, pause=1)
        shell.wait("Traefik to restart", cluster.settings.timeout_ready, *kubectl, "rollout", "status",
                   "deployment/traefik", f"--timeout={cluster.settings.timeout_ready}s")
        this.outcome = "on"
