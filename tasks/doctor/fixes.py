"""The fixes that several checks suggest. Those with a function are safe, and `inv doctor --fix` applies them."""

from __future__ import annotations

from invoke import Exit

from tasks import dns, front_door, trust
from tasks.ca.load import load_roots
from tasks.ca.root import RootFiles
from tasks.cluster import kubeconfig, lifecycle, setup
from tasks.core.progress import describe_os_error, say
from tasks.core.sudo import with_sudo_plan
from tasks.core.well_known import KUBE_SYSTEM
from tasks.doctor.check import ClusterView, Finding, Fix, Machine
from tasks.tools import install


def install_tools(machine: Machine) -> None:
    install.install_missing(machine.shell, machine.settings)


def restrict_key(machine: Machine) -> None:
    files = RootFiles.of(machine.settings)
    for mode, file in (("700", files.folder), ("600", files.key)):
        machine.shell.change("chmod", mode, str(file))


def trust_root(machine: Machine) -> None:
    with_sudo_plan(machine.shell, lambda shell: trust.install(shell, machine.settings))


def resolve_names(machine: Machine) -> None:
    with_sudo_plan(machine.shell, lambda shell: dns.install(shell, machine.settings))


def create_front_door(machine: Machine) -> None:
    front_door.ensure(machine.shell, machine.settings)


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


def scale_up(deployment: str) -> Fix:
    """For a Deployment of k3s that was scaled to 0."""
    arguments = ("-n", KUBE_SYSTEM, "scale", f"deployment/{deployment}", "--replicas=1")

    def apply(view: ClusterView) -> None:
        shell, cluster, seconds = view.shell, view.cluster, view.settings.timeout_ready
        with shell.step(cluster.name, deployment) as this:
            shell.change(*cluster.kubectl, *arguments)
            shell.wait(f"{deployment} to be ready", seconds, *cluster.kubectl, "-n", KUBE_SYSTEM, "rollout", "status",
                       f"deployment/{deployment}", f"--timeout={seconds}s")
            this.outcome = "running"

    return Fix(f"kubectl --context {{context}} {' '.join(arguments)}", apply)


INSTALL_TOOLS = Fix("inv tools --install", install_tools)


RESTRICT_KEY = Fix("chmod 700 the folder CERT_FOLDER, and chmod 600 the key in it", restrict_key)


TRUST = Fix("inv trust", trust_root)


NAMES = Fix("inv dns", resolve_names)


FRONT_DOOR = Fix("inv front-door", create_front_door)


START_ALL = Fix("inv k3d-cluster-start --all", start_all)


START = Fix("inv k3d-cluster-start --n {n}", start)


KUBECONFIG = Fix("inv k3d-cluster-start --n {n}", write_kubeconfig)


CONFIGURE = Fix("inv k3d-cluster-configure --n {n}", configure)


REINSTALL = Fix("inv k3d-cluster-configure --n {n} --reinstall", reinstall)


# These destroy something, or need a decision.
RESTART = Fix("inv k3d-cluster-restart --n {n}", for_owner="Restart {context} with the program that created it.")


RESTART_FOR_PORTS = Fix(RESTART.text, for_owner=(
    "If {context} publishes its ports elsewhere: CONTEXT_PORTS={n}=HTTP/HTTPS or CLUSTER_ADDRESS={n}=ADDRESS in .env. "
    "Otherwise restart it with its own program."))


FREE_DISK = Fix("To see what uses the space: docker system df. To free some: docker image prune")


SETUP = Fix("inv k3d-cluster-setup --n {n}")


RECREATE = Fix("inv k3d-cluster-delete --n {n} k3d-cluster-setup --n {n} (everything in the cluster is lost)")


def apply_fixes(findings: list[Finding]) -> bool:
    """Apply each safe fix once, in the order of the checks, and report failures. Return whether there was one."""
    todo = {(finding.where, finding.check.fix): finding for finding in findings
            if finding.is_wrong and finding.check.fix.run}
    for (where, fix), finding in todo.items():
        say(f"{where}: {finding.check.id}: {finding.fix}")
        try:
            assert fix.run
            fix.run(finding.subject)
        except Exit as error:
            say(str(error.message))
        except OSError as error:
            say(describe_os_error(error))
    return bool(todo)
