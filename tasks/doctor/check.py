"""What a check is, how one is written, and how all of them run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from invoke import Exit

from tasks.ca.load import load_retiring
from tasks.ca.root import RootCA, Roots
from tasks.core.problems import Problem, describe
from tasks.core.progress import describe_os_error
from tasks.core.settings import Cluster, Settings
from tasks.core.shell import Shell
from tasks.engine.clusters import K3dCluster
from tasks.probe.snapshot import ClusterSnapshot

ERROR, WARNING = "red", "yellow"


@dataclass
class Machine:
    """This machine, inspected once for all checks."""

    shell: Shell
    settings: Settings
    engine: dict[str, Any] = field(default_factory=dict)
    """What `docker info` reports; empty when the engine does not answer."""
    root: RootCA | None = None
    root_problem: Problem | None = None
    """Why there is no root to check against."""
    clusters: dict[str, K3dCluster] = field(default_factory=dict)
    """All clusters that k3d knows."""
    views: list[ClusterView] = field(default_factory=list)
    """The clusters of these settings."""

    @property
    def usable_root(self) -> RootCA:
        """For checks that need the check `ca`."""
        assert self.root
        return self.root

    @property
    def roots(self) -> Roots:
        return Roots(self.root, load_retiring(self.settings))

    @property
    def running(self) -> list[ClusterView]:
        return [view for view in self.views if view.k3d_cluster.running]


@dataclass
class ClusterView:
    """A cluster of these settings, and what is in it; an empty snapshot where it does not run."""

    machine: Machine
    cluster: Cluster
    k3d_cluster: K3dCluster
    snapshot: ClusterSnapshot
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
    """What to do: a command to type, or a sentence. `run` does it where that is repeatable and loses nothing."""

    text: str
    run: Callable[..., object] | None = None


@dataclass(frozen=True)
class Check:
    id: str
    looks_at: str
    level: str
    cause: str
    fix: Fix
    link: str
    needs: tuple[str, ...]
    """Checks of the same cluster, or of the machine, without which this one would mean nothing."""
    find: Callable[[Any], Iterable[str | Problem]]
    """Yields what is wrong: a sentence, whose code is the check's id, or a problem with a code of its own."""


@dataclass(frozen=True)
class Finding:
    """The result of a check. `state`: green, grey (skipped), or the check's level."""

    check: Check
    where: str
    state: str
    what: str
    subject: Machine | ClusterView
    code: str

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
    """What the texts of a check may contain in braces."""
    if isinstance(subject, Machine):
        return {}
    return {"n": str(subject.cluster.number), "name": subject.cluster.name, "context": subject.cluster.context}


Finder = TypeVar("Finder", bound=Callable[[Any], Iterable[Any]])


class Checks(list[Check]):
    """The checks of a file, in its order."""

    def check(self, id: str, level: str, cause: str, fix: Fix | str, needs: Iterable[str] = (), link: str = ""
              ) -> Callable[[Finder], Finder]:
        """The function below is a check; its docstring says what must be true."""
        def add(find: Finder) -> Finder:
            fixed = fix if isinstance(fix, Fix) else Fix(fix)
            self.append(Check(id, (find.__doc__ or "").strip(), level, cause, fixed, link, tuple(needs), find))
            return find
        return add


def examine(shell: Shell, checks: Checks, where: str, subject: Machine | ClusterView,
            known: Mapping[str, str]) -> list[Finding]:
    """Run the checks on one subject; those that do not need each other side by side.

    `known` holds the states of checks that ran before, by their ids.
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
    """The findings of one check; grey where one that it needs found an error."""
    failed = next((needed for needed in check.needs if states[needed] in (ERROR, "grey")), "")
    if failed:
        return [Finding(check, where, "grey", f"skipped, because of {failed}", subject, "skipped")]
    try:
        wrong = [*check.find(subject)]
    except Exit as error:
        return [Finding(check, where, check.level, f"cannot be checked: {error.message}", subject, check.id)]
    except OSError as error:
        return [Finding(check, where, check.level, f"cannot be checked: {describe_os_error(error)}", subject,
                        check.id)]
    return ([to_finding(check, where, subject, found) for found in wrong]
            or [Finding(check, where, "green", "", subject, "ok")])


def to_finding(check: Check, where: str, subject: Machine | ClusterView, found: str | Problem) -> Finding:
    text, code = (describe(found), found.code) if isinstance(found, Problem) else (found, check.id)
    return Finding(check, where, check.level, text, subject, code)
