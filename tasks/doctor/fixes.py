"""What the checks offer to do. Those with a function are safe, and `inv doctor --fix` does them."""

from __future__ import annotations

from pathlib import Path

from tasks import dns, k3d, kubeconfig, life, tools, trust
from tasks.as_root import openly
from tasks.doctor.check import Fix, Machine, Patient
from tasks.shell import Shell


def install_tools(machine: Machine) -> None:
    tools.get(machine.shell, machine.settings)


def close_authority(machine: Machine) -> None:
    for file, mode in k3d_authority_files(machine):
        machine.shell.change("chmod", mode, str(file))


def k3d_authority_files(machine: Machine) -> list[tuple[Path, str]]:
    from tasks.ca import RootFiles

    files = RootFiles(machine.settings)
    return [(files.folder, "700"), (files.key, "600")]


def trust_root(machine: Machine) -> None:
    openly(machine.shell, lambda shell: trust.install(shell, machine.settings))


def resolve_names(machine: Machine) -> None:
    openly(machine.shell, lambda shell: dns.install(shell, machine.settings))


def start_all(machine: Machine) -> None:
    life.start_all(machine.shell, [patient.cluster for patient in machine.patients])


def start(patient: Patient) -> None:
    life.start_all(patient.shell, [patient.cluster])


def write_kubeconfig(patient: Patient) -> None:
    kubeconfig.merge(patient.shell, patient.cluster)


def configure(patient: Patient) -> None:
    k3d.configure(patient.shell, patient.cluster)


def reinstall(patient: Patient) -> None:
    k3d.configure(patient.shell, patient.cluster, reinstall=True)


def wake(deployment: str) -> Fix:
    """For a Deployment of k3s that somebody has scaled to 0."""
    words = ("-n", "kube-system", "scale", f"deployment/{deployment}", "--replicas=1")

    def go(patient: Patient) -> None:
        shell, cluster = patient.shell, patient.cluster
        with shell.step(cluster.name, deployment) as this:
            shell.change(*cluster.kubectl, *words)
            wait_for(shell, patient, deployment)
            this.outcome = "runs"

    return Fix(f"kubectl --context {{context}} {' '.join(words)}", go)


def wait_for(shell: Shell, patient: Patient, deployment: str) -> None:
    seconds = patient.settings.timeout_ready
    shell.wait(f"{deployment} to run", seconds, *patient.cluster.kubectl, "-n", "kube-system", "rollout", "status",
               f"deployment/{deployment}", f"--timeout={seconds}s")


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
