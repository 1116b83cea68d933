"""Get a Docker engine for a machine that has none: install it, start it, and let the user use it in the same run."""

from __future__ import annotations

import getpass
import grp
import os
import shlex
import sys
from typing import NamedTuple

from tasks.core.operating_system import is_macos
from tasks.core.problems import Problem
from tasks.core.progress import confirm, say
from tasks.core.shell import Shell
from tasks.core.sudo import with_sudo_plan
from tasks.core.well_known import DOCKER_GROUP
from tasks.tools import colima, packages
from tasks.tools.engine_state import EngineReason, as_root, service_command, start_command
from tasks.tools.required import ToolReason, find_problem

SECONDS = 60
"""How long an engine may take to answer after its start."""

BASICS = ("openssl", "curl")
"""Programs whose package has the same name in every family. curl downloads the other tools."""

class Plan(NamedTuple):
    """What is missing until an engine answers."""

    packages: tuple[str, ...] = ()
    start: bool = False
    join: bool = False
    """Make the user a member of the group that may use the engine."""
    run_again: bool = False
    """The user is a member, but was not yet when this command started."""


def offer_engine(shell: Shell, yes: bool) -> None:
    """Do what is missing until an engine answers, if the user agrees: on a terminal, or beforehand with `yes`.

    Nothing is installed over an engine that is there, whatever its state.
    """
    wrong = find_problem(shell, "docker")
    if not (yes or (sys.stdin.isatty() and not shell.dry)):
        return
    if is_macos(shell):
        if wrong and wrong.reason is ToolReason.TOOL_MISSING:
            offer_colima(shell, yes)
        return
    plan = make_plan(shell, wrong)
    if needed := describe_plan(shell, plan):
        if not agrees(needed, yes):
            return
        with_sudo_plan(shell, lambda shell: carry_out(shell, plan))
    if (plan.join or plan.run_again) and not shell.dry:
        run_again_as_member()


def offer_colima(shell: Shell, yes: bool) -> None:
    needed = f"This machine needs:\n  {' and '.join(colima.FORMULAS)}, installed with Homebrew\n  {colima.SIZE}"
    if shell.find("brew") and agrees(needed, yes):
        colima.install(shell)


def agrees(needed: str, yes: bool) -> bool:
    if yes:
        say(needed)
    return yes or confirm(f"{needed}\nContinue? [Y/n] ", otherwise=True)


def make_plan(shell: Shell, wrong: Problem | None) -> Plan:
    reason, family = wrong.reason if wrong else None, packages.find_family(shell)
    install = reason is ToolReason.TOOL_MISSING and family is not None
    start = install or (wrong is not None and wrong.details.get("command") == as_root(start_command(shell)))
    shut_out = (start or reason is EngineReason.ENGINE_FORBIDDEN) and os.geteuid() != 0 and not has_group()
    basics = tuple(tool for tool in BASICS if family and not shell.find(tool))
    return Plan((family.packages if family and install else ()) + basics,
                start=start, join=shut_out and not is_member(), run_again=shut_out and is_member())


def describe_plan(shell: Shell, plan: Plan) -> str:
    """The steps that change this machine; empty if there are none."""
    family, user = packages.find_family(shell), getpass.getuser()
    lines = []
    if plan.packages:
        lines.append(f"  {', '.join(plan.packages)}, installed with {family.manager if family else ''}")
    if plan.start:
        lines.append("  Docker's engine started, now and with this machine")
    if plan.join:
        lines.append(f"  {user} as a member of the group {DOCKER_GROUP}, whose members can become root on this machine")
    return "\n".join(["This machine needs:", *lines]) if lines else ""


def carry_out(shell: Shell, plan: Plan) -> None:
    packages.add_to_record(shell, packages.Record(plan.packages, getpass.getuser() if plan.join else ""))
    if plan.packages:
        packages.install(shell, plan.packages)
    if plan.start:
        start_engine(shell)
    if plan.join:
        with shell.step("", f"group {DOCKER_GROUP}") as this:
            user = getpass.getuser()
            shell.sudo("usermod", "--append", "--groups", DOCKER_GROUP, user, why="let you use Docker's engine")
            this.outcome = f"{user} is a member now"


def start_engine(shell: Shell) -> None:
    with shell.step("", "Docker's engine") as this:
        shell.sudo(*service_command(), why="start Docker's engine")
        shell.until("Docker's engine to answer", SECONDS, lambda: answers(shell),
                    hint="To see why it does not: sudo dockerd")
        this.outcome = "started"


def answers(shell: Shell) -> bool:
    """Whether the engine answers, if only with a refusal for this user."""
    wrong = find_problem(shell, "docker")
    return wrong is None or wrong.reason is EngineReason.ENGINE_FORBIDDEN


# --- the user's access ------------------------------------------------------------------------------------------------


def is_member() -> bool:
    try:
        return getpass.getuser() in grp.getgrnam(DOCKER_GROUP).gr_mem
    except KeyError:
        return False


def has_group() -> bool:
    """Whether this process has it: a login before the user became a member has not."""
    try:
        return grp.getgrnam(DOCKER_GROUP).gr_gid in (*os.getgroups(), os.getegid())
    except KeyError:
        return False


def run_again_as_member() -> None:
    """Run this command again with the group, which needs no new login: sg(1)."""
    command = shlex.join([sys.executable, "-m", "invoke", *sys.argv[1:]])
    say(f"Going on as a member of the group {DOCKER_GROUP}. Other terminals need a new login, or: "
        f"newgrp {DOCKER_GROUP}")
    sys.stdout.flush()
    os.execvp("sg", ["sg", DOCKER_GROUP, "-c", command])
