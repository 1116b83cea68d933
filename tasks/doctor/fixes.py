"""What the checks offer to do. Those with a function are safe, and `inv doctor --fix` does them."""

from __future__ import annotations

from tasks import dns, trust
from tasks.ca.root import RootFiles
from tasks.cluster import lifecycle, setup
from tasks.core.sudo import with_sudo_plan
from tasks.doctor.check import ClusterView, Fix, Machine
from tasks.engine import kubeconfig
from tasks.tools import install


def install_tools(machine: Machine) -> None:
    install.install_missing(machine.shell, machine.settings)


def close_authority(machine: Machine) -> None:
    files = RootFiles(machine.settings)
    for mode, file in (("700", files.folder), ("600", files.key)):
        machine.shell.change("chmod", mode, str(file))


def trust_root(machine: Machine) -> None:
    with_sudo_plan(machine.shell, lambda shell: trust.install(shell, machine.settings))


def resolve_names(machine: Machine) -> None:
    with_sudo_plan(machine.shell, lambda shell: dns.install(shell, machine.settings))


def start_all(machine: Machine) -> None:
    lifecycle.start_all(machine.shell, [patient.cluster for patient in machine.patients])


def start(patient: ClusterView) -> None:
    lifecycle.start_all(patient.shell, [patient.cluster])


def write_kubeconfig(patient: ClusterView) -> None:
    kubeconfig.merge(patient.shell, patient.cluster)


def configure(patient: ClusterView) -> None:
    setup.configure(patient.shell, patient.cluster)


def reinstall(patient: ClusterView) -> None:
    setup.configure(patient.shell, patient.cluster, reinstall=True)


def wake(deployment: str) -> Fix:
    """For a Deployment of k3s that somebody has scaled to 0."""
    words = ("-n", "kube-system", "scale", f"deployment/{deployment}", "--replicas=1")

    def go(patient: ClusterView) -> None:
        shell, cluster, seconds = patient.shell, patient.cluster, patient.settings.timeout_ready
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
