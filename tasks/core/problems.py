"""What is wrong, as data: a stable code and its details. Only `describe` makes a sentence of it; no code reads one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from invoke import Exit


class Reason(Enum):
    """The reasons of one subject: a member's name is the stable code, its value the sentence with {details} in it."""

    @property
    def code(self) -> str:
        """As `--json` has it, such as `root-expired`."""
        return self.name.lower().replace("_", "-")


@dataclass(frozen=True)
class Problem:
    """A reason, and the details that its sentence names."""

    reason: Reason
    details: Mapping[str, object]

    @property
    def code(self) -> str:
        return self.reason.code


def problem(reason: Reason, **details: object) -> Problem:
    return Problem(reason, details)


def describe(problem: Problem) -> str:
    return str(problem.reason.value).format(**problem.details)


class ProblemExit(Exit):
    """Ends a task with a problem and what to do about it. Whoever catches it looks at `problem`, not at the text."""

    def __init__(self, problem: Problem, remedy: str = "") -> None:
        super().__init__(f"{describe(problem)}\n{remedy}".rstrip())
        self.problem = problem
