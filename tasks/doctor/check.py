"""What a check is, how one is written down, and how all of them are run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from invoke import Exit

from tasks.core.progress import describe_os_error
from tasks.core.settings import Cluster, Settings
from tasks.core.shell import Shell
from tasks.engine.clusters import K3dCluster
from tasks.probe.snapshot import ClusterSnapshot

ERROR, WARNING = "red", "yellow"


@dataclass
class Machine:
    """This machine, as it was looked at once for all checks."""

    shell: Shell
    settings: Settings
    engine: dict[str, Any] = field(default_factory=dict)
    """What `docker info` tells; empty when the engine does not answer."""
    found: dict[str, K3dCluster] = field(default_factory=dict)
    """All clusters that k3d knows."""
    patients: list[ClusterView] = field(default_factory=list)

    @property
    def running(self) -> list[ClusterView]:
        return [patient for patient in self.patients if patient.found.running]


@dataclass
class ClusterView:
    """A cluster of these settings, and what was seen in it; nothing was where it does not run."""

    machine: Machine
    cluster: Cluster
    found: K3dCluster
    seen: ClusterSnapshot
    host: str = ""
    """This machine's address as its pods see it."""
    host_reached: bool = False

    @property
    def shell(self) -> Shell:
        return self.machine.shell

    @property
    def settings(self) -> Settings:
        return self.cluster.settings


@dataclass(frozen=True)
class Fix:
    """What to do: a command to type, or a sentence; `go` does it for those that are safe.

    Safe is what may be repeated, and loses nothing of the user's.
    """

    text: str
    go: Callable[..., object] | None = None


@dataclass(frozen=True)
class Check:
    id: str
    looks_at: str
    level: str
    cause: str
    fix: Fix
    link: str
    needs: tuple[str, ...]
    """Checks of the same cluster, or of the machine, without whose success this one says nothing."""
    look: Callable[[Any], Iterable[str]]
    """Gives what is wrong, each in a sentence."""


@dataclass(frozen=True)
class Finding:
    """What a check came to. `state`: green, grey (not asked), or the check's level."""

    check: Check
    where: str
    state: str
    what: str
    subject: Machine | ClusterView

    @property
    def is_wrong(self) -> bool:
        return self.state not in ("green", "grey")

    @property
    def cause(self) -> str:
        return self.check.cause.format(**placeholders(self.subject))

    @property
    def fix(self) -> str:
        return self.check.fix.text.format(**placeholders(self.subject))


def placeholders(subject: Machine | ClusterView) -> dict[str, str]:
    """What the texts of a check may name."""
    if isinstance(subject, Machine):
        return {}
    return {"n": str(subject.cluster.number), "name": subject.cluster.name, "context": subject.cluster.context}


class Checks(list[Check]):
    """The checks of a file, in its order."""

    def check(self, id: str, level: str, cause: str, fix: Fix | str, needs: Iterable[str] = (), link: str = ""
              ) -> Callable[[Callable[[Any], Iterable[str]]], Callable[[Any], Iterable[str]]]:
        """The function below is a check; its docstring says what it looks at."""
        def add(look: Callable[[Any], Iterable[str]]) -> Callable[[Any], Iterable[str]]:
            fixed = fix if isinstance(fix, Fix) else Fix(fix)
            self.append(Check(id, (look.__doc__ or "").strip(), level, cause, fixed, link, tuple(needs), look))
            return look
        return add


def examine(shell: Shell, checks: Checks, where: str, subject: Machine | ClusterView,
            known: Mapping[str, str]) -> list[Finding]:
    """Run the checks on one subject, side by side those that do not need each other.

    `known` are the states of checks that were run before, by their ids.
    """
    states, found = dict(known), {}
    waiting = list(checks)
    while waiting:
        ready = [check for check in waiting if all(needed in states for needed in check.needs)]
        if not ready:
            raise ValueError(f"these need a check that there is not: {', '.join(check.id for check in waiting)}")
        jobs: list[Callable[[], list[Finding]]] = [partial(run, check, where, subject, states) for check in ready]
        for check, findings in zip(ready, shell.side_by_side(jobs), strict=True):
            found[check.id] = findings
        states |= {check.id: found[check.id][0].state for check in ready}
        waiting = [check for check in waiting if check not in ready]
    return [finding for check in checks for finding in found[check.id]]


def run(check: Check, where: str, subject: Machine | ClusterView, states: Mapping[str, str]) -> list[Finding]:
    """What one check finds; grey where one that it needs has found an error."""
    failed = next((needed for needed in check.needs if states[needed] in (ERROR, "grey")), "")
    if failed:
        return [Finding(check, where, "grey", f"not asked, because of {failed}", subject)]
    try:
        wrong = list(check.look(subject))
    except Exit as error:
        return [Finding(check, where, check.level, f"cannot be seen: {error.message}", subject)]
    except OSError as error:
        return [Finding(check, where, check.level, f"cannot be seen: {describe_os_error(error)}", subject)]
    return ([Finding(check, where, check.level, sentence, subject) for sentence in wrong]
            or [Finding(check, where, "green", "", subject)])
