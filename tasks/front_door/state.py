"""What is wrong with the container of the front door, and what to do about it: for status, doctor and trace."""

from __future__ import annotations

from collections.abc import Iterator

from tasks.core.problems import Problem
from tasks.core.settings import Settings
from tasks.core.shell import Shell
from tasks.engine import network
from tasks.front_door import container, obstacles
from tasks.front_door.container import ContainerReason

CREATE = "inv front-door"
"""Fixes what is wrong with the container, unless something else has its name or its ports."""


def is_expected(shell: Shell, settings: Settings) -> bool:
    """Whether it is in use, and there is a network, and so perhaps a cluster."""
    return container.is_in_use(shell, settings) and bool(network.find_gateway(shell, settings))


def find_problems(shell: Shell, settings: Settings) -> Iterator[Problem]:
    """None if it is not expected."""
    if not is_expected(shell, settings):
        return
    found, plan = container.find(shell, settings), container.make_plan(shell, settings)
    if foreign := obstacles.find_foreign(found, plan):
        yield foreign
        return
    faults = [*container.find_faults(found, plan)]
    is_listening = found is not None and found.state == "running"
    if faults and not is_listening and (taken := obstacles.find_taken_port(shell, settings, plan.addresses)):
        yield taken
        return
    yield from faults


def is_fixed_by_creating(why: Problem) -> bool:
    return isinstance(why.reason, ContainerReason)
