"""What keeps the front door from being created or started: something else has its name or its ports."""

from __future__ import annotations

import re

from tasks.core import copies
from tasks.core.problems import Problem, ProblemExit, Reason, problem
from tasks.core.settings import Settings
from tasks.core.shell import CommandFailed, Shell
from tasks.engine import ports
from tasks.front_door.container import COPY_LABEL, Container, Plan

PRIVILEGED = re.compile(r"privileged port|permission denied", re.IGNORECASE)
"""Docker: https://docs.docker.com/engine/security/rootless/tips/#exposing-privileged-ports; podman says the same."""

IN_USE = re.compile(r"address already in use|port is already allocated|ports are not available", re.IGNORECASE)


class ObstacleReason(Reason):
    NETWORK_MISSING = "there is no network {network}, because there is no cluster"
    NAME_TAKEN = "there is a container {name} that these tasks did not create"
    OF_ANOTHER_COPY = "the front door of the network {network} belongs to the copy of these tasks in {folder}"
    PORT_OF_ANOTHER_COPY = "{address}:{port} is taken by the front door of the copy of these tasks in {folder}"
    PORT_TAKEN = "{address}:{port} is taken{holder}"
    NOT_OPENED = "the engine cannot open the ports: {error}"
    PRIVILEGED_PORT = "the engine may not open ports below 1024: {error}"


REMEDIES = {
    ObstacleReason.NETWORK_MISSING: "Create a cluster first: inv k3d-cluster-setup --n 0",
    ObstacleReason.NAME_TAKEN: "Remove or rename that container, then run: inv front-door",
    ObstacleReason.OF_ANOTHER_COPY: "Remove it there with inv front-door-remove, or set another K3D_NETWORK in .env "
                                    "before you create clusters.",
    ObstacleReason.PORT_OF_ANOTHER_COPY: "Remove it there with inv front-door-remove, then run here: inv front-door",
    ObstacleReason.PORT_TAKEN: "Stop what uses the port, then run: inv front-door",
    ObstacleReason.NOT_OPENED: "Stop what uses the port, then run: inv front-door",
    ObstacleReason.PRIVILEGED_PORT:
        "With a rootless engine: sudo sysctl -w net.ipv4.ip_unprivileged_port_start=80, and to make it permanent, add "
        "that key to a file in /etc/sysctl.d/. Then run: inv front-door",
}


def refuse(why: Problem) -> ProblemExit:
    return ProblemExit(why, REMEDIES[why.reason])  # type: ignore[index]


def find_foreign(found: Container | None, plan: Plan) -> Problem | None:
    """The problem of a container that another copy, or someone else, has created; none if it serves this copy too."""
    is_shared = found is not None and found.by_these_tasks and found.version == plan.version
    return None if found is None or found.of_this_copy or is_shared else explain_owner(found, plan.settings)


def explain_owner(found: Container, settings: Settings) -> Problem:
    """Whose it is, if it is not of this copy."""
    if found.by_these_tasks:
        return problem(ObstacleReason.OF_ANOTHER_COPY, network=settings.k3d_network, folder=found.copy)
    return problem(ObstacleReason.NAME_TAKEN, name=found.name)


def find_taken_port(shell: Shell, settings: Settings, addresses: tuple[str, ...]) -> Problem | None:
    """The first of its ports that something else uses, and what that is."""
    for scheme in ("http", "https"):
        port = settings.front_door_port(scheme)
        for address in addresses:
            if not address.startswith("<") and ports.is_taken(address, port):
                return describe_holder(shell, address, port)
    return None


def describe_holder(shell: Shell, address: str, port: int) -> Problem:
    label = f'{{{{.Label "{COPY_LABEL}"}}}}'
    other = shell.look("docker", "ps", "--filter", f"publish={port}", "--filter", f"label={COPY_LABEL}", "--format",
                       label).stdout.strip()
    if other:
        return problem(ObstacleReason.PORT_OF_ANOTHER_COPY, address=address, port=port,
                       folder=copies.text_to_path(other.splitlines()[0]))
    return problem(ObstacleReason.PORT_TAKEN, address=address, port=port, holder=ports.holder(shell, port))


def explain_failed_start(shell: Shell, plan: Plan, error: CommandFailed) -> Problem | None:
    """Why the engine could not publish the ports; None if it failed for another reason."""
    said = (error.result.stderr.strip() or "no message").splitlines()[-1]
    if PRIVILEGED.search(said):
        return problem(ObstacleReason.PRIVILEGED_PORT, error=said)
    if IN_USE.search(said):  # by something that has started since the check, or that the check cannot see
        return find_taken_port(shell, plan.settings, plan.addresses) or problem(ObstacleReason.NOT_OPENED, error=said)
    return None
