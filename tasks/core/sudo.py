"""What needs root: shown as one list before a password is asked, or printed as a script instead."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from invoke import Exit
from invoke.runners import Result

from tasks.core.progress import Step, describe_os_error, say
from tasks.core.shell import Shell

PRINT_SUDO = {"print_sudo": "change nothing, print what needs root as a script: inv ... --print-sudo | sudo sh"}


class SudoPlan(Shell):
    """Goes through a job as --dry does, prints nothing, and keeps what the job would do as root."""

    def __init__(self, shell: Shell) -> None:
        super().__init__(shell.context, shell.environment)
        self.as_root: dict[tuple[str, ...], str] = {}

    @property
    def dry(self) -> bool:
        return True

    def note(self, text: str) -> None:
        pass

    def change(self, *words: str, hint: str = "") -> Result:
        return Result()

    def sudo(self, *words: str, why: str) -> Result:
        self.as_root.pop(words, None)  # what is done again has to come after what was done in between
        self.as_root[words] = why
        return Result()

    @contextmanager
    def step(self, where: str, title: str) -> Iterator[Step]:
        try:
            yield Step()
        except OSError as error:  # as in a real step, so that the rehearsal goes on with the next one too
            raise Exit(describe_os_error(error)) from None


def with_sudo_plan(shell: Shell, job: Callable[[Shell], None], print_sudo: bool = False) -> None:
    """Do a job that may need root, which is told beforehand.

    :raises Exit: when the job does; where sudo has refused, with the commands that are left for someone who may.
    """
    rehearsal = SudoPlan(shell)
    try:
        job(rehearsal)
    except Exit:  # the job itself will say it, after what can be done all the same
        if print_sudo:
            raise
    if print_sudo:
        print("\n".join(["#!/bin/sh", "set -eu", *map(script_line, rehearsal.as_root)]))
        return
    if rehearsal.as_root and os.geteuid() != 0 and not shell.dry:
        say("This needs root, and sudo may ask for your password:\n" + "\n".join(
            f"  sudo {command}" for command in list_commands(rehearsal)) + "\n")
    left = ("Without root this is as far as it goes. Have these run as root, then run this again "
            "(--print-sudo prints them as a script):\n" + "\n".join(f"  {line}" for line in list_commands(rehearsal)))
    shell.announced = set(rehearsal.as_root)
    try:
        job(shell)
    except Exit as error:
        raise Exit(f"{error.message}\n\n{left}" if shell.refused else error.message) from None
    if shell.refused:  # the job has told it, and gone on
        say(f"\n{left}\n")


def script_line(words: tuple[str, ...]) -> str:
    """A line of the script. A file comes with its text, so that what root does is what was read."""
    if words[:3] != ("install", "-m", "0644") or not Path(words[3]).is_file():  # --dry has not written it
        return shlex.join(words)
    text = Path(words[3]).read_text(encoding="utf-8").removesuffix("\n")
    return f"{shlex.join((*words[:3], '/dev/stdin', words[4]))} <<'END-OF-FILE'\n{text}\nEND-OF-FILE"


def list_commands(rehearsal: SudoPlan) -> list[str]:
    width = min(60, max(map(len, map(shlex.join, rehearsal.as_root)), default=0))
    return [f"{shlex.join(words):<{width}}  # {why}" for words, why in rehearsal.as_root.items()]
