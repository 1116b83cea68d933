"""What the checks offer to do. Those with a function are safe, and `inv doctor --fix` does them."""

from __future__ import annotations

from tasks import dns, trust
from tasks.ca.load import load_roots
from tasks.ca.root import RootFiles
from tasks.cluster import lifecycle, setup
from tasks.core.sudo import with_sudo_plan
from tasks.doctor.check import ClusterView, Fix, Machine
from tasks.engine import kubeconfig
from tasks.tools import install


def install_tools(machine: Machine) -> None:
    install.install_missing(machine.shell, machine.settings)


def close_authority(machine: Machine) -> None:
    files = RootFiles.of(machine.settings)
    for mode, file in (("700", files.folder), ("600", files.key)):
        machine.shell.change("chmod", mode, str(file))


def trust_root(machine: Machine) -> None:
    with_sudo_plan(machine.shell, lambda shell: trust.install(shell, machine.settings))


def resolve_names(machine: Machine) -> None:
    with_sudo_plan(machine.shell, lambda shell: dns.install(shell, machine.settings))


def start_all(machine: Machine) -> None:
    lifecycle.start_all(machine.shell, [view.cluster for view in machine.views])


def start(view: ClusterView) -> None:
    lifecycle.start_all(view.shell, [view.cluster])


def write_kubeconfig(view: ClusterView) -> None:
    kubeconfig.merge(view.shell, view.cluster)


def configure(view: ClusterView) -> None:
    setup.configure(view.shell, view.cluster, load_roots(view.settings))


def reinstall(view: ClusterView) -> None:
    setup.configure(view.shell, view.cluster, load_roots(view.settings), reinstall=True)


def wake(deployment: str) -> Fix:
    """For a Deployment of k3s that somebody has scaled to 0."""
    words = ("-n", "kube-system", "scale", f"deployment/{deployment}", "--replicas=1")

    def go(view: ClusterView) -> None:
        shell, cluster, seconds = view.shell, view.cluster, view.settings.timeout_ready
        with shell.step(cluster.name, deployment) as this:
            shell.change(*cluster.kubectl, *words)
            shell.wait(f"{deployment} to run", seconds, *cluster.kubectl, "-n", "kube-system", "rollout", "status",
                       f"deployment/{deployment}", f"--timeout={seconds}s")
            this.outcome = "runs"

    return Fix(f"kubectl --context {{context}} {' '.join(words)}", go)


INSTALL_TOOLS = Fix("inv tools --install", install_tools)


CLOSE_AUTHORITY = Fix("chmod 700 the folder CERT_FOLDER, chmod 600 the key in it", close_authority)


TRUST = Fix("inv trust", trust_root)


NAMES = Fix("inv dns", resolve_names)


START_ALL = Fix("inv k3d-cluster-start --all", start_all)


START = Fix("inv k3d-cluster-start --n {n}", start)


KUBECONFIG = Fix("inv k3d-cluster-start --n {n}", write_kubeconfig)


CONFIGURE = Fix("inv k3d-cluster-configure --n {n}", configure)


REINSTALL = Fix("inv k3d-cluster-configure --n {n} --reinstall", reinstall)


# These lose something, or need a person to decide.
RESTART = Fix("inv k3d-cluster-restart --n {n}")


SETUP = Fix("inv k3d-cluster-setup --n {n}")


MAKE_AGAIN = Fix("inv k3d-cluster-delete --n {n} k3d-cluster-setup --n {n} (all that is in the cluster is lost)")
