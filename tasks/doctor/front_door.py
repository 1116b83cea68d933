"""Checks of the front door. All pass if it is not in use."""

from __future__ import annotations

from collections.abc import Iterator

from tasks.core.problems import Problem
from tasks.doctor.check import ERROR, WARNING, Advice, Checks, Machine
from tasks.doctor.fixes import FRONT_DOOR
from tasks.engine.network import FIREWALL_COMMANDS
from tasks.front_door import obstacles, proof, state
from tasks.front_door.container import ContainerReason
from tasks.front_door.obstacles import ObstacleReason

CHECKS = Checks()


check = CHECKS.check

CAUSES = {
    ObstacleReason.NAME_TAKEN: "Someone created it by hand.",
    ObstacleReason.OF_ANOTHER_COPY: "Both copies use the same K3D_NETWORK.",
    ObstacleReason.PORT_OF_ANOTHER_COPY: "Only one front door can use a port.",
    ObstacleReason.PORT_TAKEN: "Another program has started to listen there.",
    ContainerReason.MISSING: "It was removed, or FRONT_DOOR was set after the clusters were created.",
    ContainerReason.NOT_RUNNING: "It was stopped with docker stop.",
    ContainerReason.UNHEALTHY: "HAProxy hangs, or its files in the container were changed. Its log: docker logs {name}",
    ContainerReason.OTHER_NETWORK: "The network was removed and created again, or the container was disconnected.",
    ContainerReason.OTHER_ADDRESSES: "FRONT_DOOR_ settings, or the gateway of the network, have changed.",
    ContainerReason.OTHER_VERSION: "Settings were changed, or these tasks were updated.",
}
"""The likely cause of each reason."""

ADVICE = {reason: Advice(cause, obstacles.REMEDIES.get(reason, FRONT_DOOR.text))  # type: ignore[call-overload]
          for reason, cause in CAUSES.items()}


@check("front-door", ERROR, "It was stopped or removed, or does not fit the settings.", FRONT_DOOR, needs=["engine"],
       advice=ADVICE)
def front_door(machine: Machine) -> Iterator[Problem]:
    """The container of the front door is running, and is as the settings say"""
    yield from state.find_problems(machine.shell, machine.settings)


@check("front-door-page", ERROR,
       "Another program was there first, or the engine runs in a virtual machine that did not open the port.",
       "Stop the other program, then run: inv front-door. If there is none, restart the engine.", needs=["front-door"],
       link="https://github.com/docker/for-mac/issues/6610")
def page(machine: Machine) -> Iterator[Problem]:
    """This machine gets the front door's page from its HTTP port"""
    shell, settings = machine.shell, machine.settings
    if state.is_expected(shell, settings) and (wrong := proof.find_page_problem(shell, settings)):
        yield wrong


@check("front-door-clusters", ERROR,
       "The cluster has a network of its own, or something else listens on the HTTPS port.", FRONT_DOOR,
       needs=["front-door-page"])
def clusters(machine: Machine) -> Iterator[Problem]:
    """The front door reaches every running cluster"""
    if state.is_expected(machine.shell, machine.settings):
        yield from proof.find_cluster_problems([view.cluster for view in machine.running], {})


@check("front-door-pods", WARNING,
       "A firewall on this machine drops connections from containers, or the engine is rootless.",
       "; ".join(f"{firewall}: {command.format(subnet='SUBNET')}" for firewall, command in FIREWALL_COMMANDS.items()),
       needs=["front-door-page"])
def pods(machine: Machine) -> Iterator[Problem]:
    """A container on the clusters' network reaches the front door, as pods of other clusters do"""
    shell, settings = machine.shell, machine.settings
    if state.is_expected(shell, settings) and (wrong := proof.find_pod_problem(shell, settings)):
        yield wrong
