"""Write and remove a cluster's entry in the kubeconfig."""

from __future__ import annotations

from invoke import Exit

from tasks import providers
from tasks.core.settings import Cluster
from tasks.core.shell import Shell


def merge(shell: Shell, cluster: Cluster) -> None:
    """Write the cluster's entry. The current context does not change unless K3D_SWITCH_CONTEXT is true."""
    switch = cluster.settings.k3d_switch_context
    with (shell.step(cluster.name, f"kubeconfig {cluster.kubeconfig}") as this,
          shell.one_at_a_time("kubeconfig", cluster.kubeconfig)):
        answers = shell.look(*cluster.kubectl, "get", "--raw=/readyz", "--request-timeout=5s").ok
        current = shell.look("kubectl", "--kubeconfig", str(cluster.kubeconfig), "config", "current-context")
        if answers and not (switch and current.stdout.strip() != cluster.context):
            this.skip("already there")
            return
        if not (answers or providers.of(cluster).MANAGES_LIFE or shell.dry):
            raise Exit(f"{cluster.name}: the context {cluster.context} does not answer.")
        if not shell.dry:
            cluster.kubeconfig.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        providers.of(cluster).write_kubeconfig(shell, cluster)
        this.outcome = f"context {cluster.context} {'written' if providers.of(cluster).MANAGES_LIFE else 'found'}"


def forget(shell: Shell, cluster: Cluster) -> None:
    """Remove the cluster's entry, which its provider would remove only from the default file, if at all."""
    kubectl = ("kubectl", "--kubeconfig", str(cluster.kubeconfig), "config")
    with (shell.step(cluster.name, f"kubeconfig {cluster.kubeconfig}") as this,
          shell.one_at_a_time("kubeconfig", cluster.kubeconfig)):
        removed = False
        for list_command, delete_command, name in (
            ("get-contexts", "delete-context", cluster.context),
            ("get-clusters", "delete-cluster", cluster.context),
            ("get-users", "delete-user", providers.of(cluster).user(cluster)),
        ):
            output = ("-o", "name") if list_command == "get-contexts" else ()
            if name in shell.look(*kubectl, list_command, *output).stdout.split():
                shell.change(*kubectl, delete_command, name)
                removed = True
        if shell.look(*kubectl, "current-context").stdout.strip() == cluster.context:
            shell.change(*kubectl, "unset", "current-context")
            removed = True
        this.outcome = "entry removed" if removed else "no entry to remove"
