"""What needs root: listed before sudo asks for a password, or printed as a script instead.

A job that may need root runs twice. First with a SudoPlan, which changes nothing and keeps what the job would do as
root; then, when that was listed, with the real Shell. What sudo refuses the Shell remembers (`root_refused`), so that a
job can go on with what needs no root, and the commands that are left are told at the end.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from invoke import Exit
from invoke.runners import Result

from tasks.core.console import say
from tasks.core.progress import Step, describe_os_error
from tasks.core.shell import Shell
from tasks.core.work_files import work_file

PRINT_SUDO = {"print_sudo": "change nothing, print what needs root as a script: inv ... --print-sudo | sudo sh"}

T = TypeVar("T")


class SudoPlan(Shell):
    """Goes through a job as --dry does, prints nothing, and keeps the job's commands for root, with their reasons."""

    def __init__(self, shell: Shell) -> None:
        super().__init__(shell.context, shell.environment)
        self.reasons: dict[tuple[str, ...], str] = {}

    @property
    def dry(self) -> bool:
        return True

    @property
    def stages_files(self) -> bool:
        """A plan does, because --print-sudo prints their text; only the user's own --dry keeps it from that."""
        return not self.context.config.run.dry

    def note(self, text: str) -> None:
        pass

    def change(self, *words: str, hint: str | Callable[[Result], str] = "") -> Result:
        return Result()

    def sudo(self, *words: str, why: str) -> Result:
        self.reasons.pop(words, None)  # what is done again has to come after what was done in between
        self.reasons[words] = why
        return Result()

    @contextmanager
    def step(self, where: str, title: str) -> Iterator[Step]:
        try:
            yield Step()
        except OSError as error:  # as in a real step, so that the plan goes on with the next one too
            raise Exit(describe_os_error(error)) from None

    def lines(self, before: str = "") -> str:
        """The commands, one a line, each with its reason, and with a word before it."""
        commands = {shlex.join(words): why for words, why in self.reasons.items()}
        width = min(60, max(map(len, commands), default=0))
        return "\n".join(f"  {before}{command:<{width}}  # {why}" for command, why in commands.items())

    def script(self) -> str:
        return "\n".join(["#!/bin/sh", "set -eu", *map(script_line, self.reasons)])


def with_sudo_plan(shell: Shell, job: Callable[[Shell], T], print_sudo: bool = False,
                   tell_left: Callable[[str], object] = say) -> T | None:
    """Do a job that may need root, which is told beforehand; gives what the job does, nothing with `print_sudo`.

    `tell_left` is told the commands that are left for someone who may run them, if the job has gone on without root.

    :raises Exit: when the job does; where sudo has refused, with those commands.
    """
    plan = SudoPlan(shell)
    try:
        job(plan)
    except Exit:  # the job itself will say it, after what can be done all the same
        if print_sudo:
            raise
    if print_sudo:
        print(plan.script())
        return None
    if plan.reasons and os.geteuid() != 0 and not shell.dry and not shell.root_refused:
        say(f"The following commands need root; sudo may prompt for your password:\n{plan.lines('sudo ')}\n")
    left = ("The remaining steps need root. Ask an administrator to run these commands, then run this task again:\n"
            f"{plan.lines()}")
    shell.announce_sudo(plan.reasons)
    try:
        result = job(shell)
    except Exit as error:
        raise Exit(f"{error.message}\n\n{left}" if shell.root_refused else error.message) from None
    if shell.root_refused and plan.reasons:  # the job has told it, and gone on
        tell_left(f"\n{left}\n")
    return result


def script_line(words: tuple[str, ...]) -> str:
    """A line of the script. A file of .work/ comes with its text, so that what root does is what was read."""
    staged = next((word for word in words if Path(word).is_relative_to(work_file("host")) and Path(word).is_file()), "")
    if not staged:  # also where --dry has not written it
        return shlex.join(words)
    text = Path(staged).read_text(encoding="utf-8").removesuffix("\n")
    line = shlex.join("/dev/stdin" if word == staged else word for word in words)
    return f"{line} <<'END-OF-FILE'\n{text}\nEND-OF-FILE"
