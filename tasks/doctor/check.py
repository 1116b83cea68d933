"""What a check is, how to write one, and how the checks run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple, TypeVar

from invoke import Exit

from tasks import providers
from tasks.ca.load import load_retiring
from tasks.ca.root import RootCA, Roots
from tasks.core.problems import Problem, Reason, describe
from tasks.core.progress import describe_os_error
from tasks.core.settings import Cluster, Settings
from tasks.core.shell import Shell
from tasks.engine.clusters import ExistingCluster
from tasks.probe.limits import Limit
from tasks.probe.snapshot import ClusterSnapshot

ERROR, WARNING = "red", "yellow"


@dataclass
class Machine:
    """This machine, inspected once for all checks."""

    shell: Shell
    settings: Settings
    engine: dict[str, Any] = field(default_factory=dict)
    """What `docker info` reports; empty if the engine does not answer."""
    root: RootCA | None = None
    root_problem: Problem | None = None
    """Why there is no root to check against."""
    clusters: dict[str, ExistingCluster] = field(default_factory=dict)
    """All clusters that the providers list."""
    views: list[ClusterView] = field(default_factory=list)
    """The clusters of these settings."""
    subnets: list[str] = field(default_factory=list)
    """Of the clusters' Docker network; none if it does not exist."""

    @property
    def usable_root(self) -> RootCA:
        """For checks that depend on the check `ca`."""
        assert self.root
        return self.root

    @property
    def roots(self) -> Roots:
        return Roots(self.root, load_retiring(self.settings))

    @property
    def running(self) -> list[ClusterView]:
        return [view for view in self.views if view.existing.running]


@dataclass
class ClusterView:
    """A cluster of these settings, and what is in it; the snapshot is empty if the cluster is not running."""

    machine: Machine
    cluster: Cluster
    existing: ExistingCluster
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
    """What to do: a command to type, or a sentence. `run` does it, if that is safe to repeat and destroys nothing."""

    text: str
    run: Callable[..., object] | None = None
    for_owner: str = ""
    """Instead, for a cluster that these tasks did not create."""


class Observation(NamedTuple):
    """What is wrong: a sentence, and a code for programs."""

    code: str
    text: str


class Advice(NamedTuple):
    """The likely cause and the fix of one reason, instead of those of the check."""

    cause: str
    fix: str


@dataclass(frozen=True)
class Check:
    id: str
    requirement: str
    """What must be true."""
    level: str
    cause: str
    fix: Fix
    link: str
    needs: tuple[str, ...]
    """Checks of the same cluster, or of this machine; if one of them finds an error, this one is skipped."""
    find: Callable[[Any], Iterable[str | Problem | Observation]]
    """Yields what is wrong. A plain sentence has the check's id as its code."""
    advice: Mapping[Reason, Advice] = field(default_factory=dict)
    """Of the reasons whose cause and fix differ from those above."""


@dataclass(frozen=True)
class Finding:
    """The result of a check. `state`: green, grey (skipped), or the check's level."""

    check: Check
    where: str
    state: str
    message: str
    subject: Machine | ClusterView
    code: str
    problem: Problem | None = None

    @property
    def is_wrong(self) -> bool:
        return self.state not in ("green", "grey")

    @property
    def cause(self) -> str:
        return self.advice.cause.format(**self.placeholders)

    @property
    def fix(self) -> str:
        return (self.fix_for_owner or self.advice.fix).format(**self.placeholders)

    @property
    def fix_for_owner(self) -> str:
        """What the owner of a cluster does that these tasks did not create; empty if that is no different."""
        is_foreign = isinstance(self.subject, ClusterView) and not providers.of(self.subject.cluster).MANAGES_LIFE
        return self.check.fix.for_owner if is_foreign else ""

    @property
    def advice(self) -> Advice:
        general = Advice(self.check.cause, self.check.fix.text)
        return self.check.advice.get(self.problem.reason, general) if self.problem else general

    @property
    def placeholders(self) -> dict[str, object]:
        return {**(self.problem.details if self.problem else {}), **placeholders(self.subject)}


def placeholders(subject: Machine | ClusterView) -> dict[str, str]:
    """The placeholders in the texts of a check."""
    if isinstance(subject, Machine):
        return {}
    cluster, provider = subject.cluster, providers.of(subject.cluster)
    return {"n": str(cluster.number), "name": cluster.name, "context": cluster.context,
            "subnet": next(iter(subject.machine.subnets), "SUBNET"),
            "logs": provider.log_command(cluster.name)}


def count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


Finder = TypeVar("Finder", bound=Callable[[Any], Iterable[Any]])


class Checks(list[Check]):
    """The checks of a file, in order."""

    def check(self, id: str, level: str, cause: str, fix: Fix | str, needs: Iterable[str] = (), link: str = "",
              advice: Mapping[Reason, Advice] | None = None) -> Callable[[Finder], Finder]:
        """Make the function below a check; its docstring states what must be true."""
        def add(find: Finder) -> Finder:
            requirement = (find.__doc__ or "").strip()
            chosen_fix = fix if isinstance(fix, Fix) else Fix(fix)
            self.append(Check(id, requirement, level, cause, chosen_fix, link, tuple(needs), find,
                              advice or {}))
            return find
        return add


def run_checks(shell: Shell, checks: Checks, where: str, subject: Machine | ClusterView,
            known: Mapping[str, str]) -> list[Finding]:
    """Run the checks on one subject; those that do not depend on each other run side by side.

    `known` contains the states of checks that have already run, by their ids.
    """
    states, results = dict(known), {}
    waiting = list(checks)
    while waiting:
        ready = [check for check in waiting if all(needed in states for needed in check.needs)]
        if not ready:
            raise ValueError(f"these checks need one that does not exist: {', '.join(check.id for check in waiting)}")
        jobs: list[Callable[[], list[Finding]]] = [partial(run_check, check, where, subject, states)
                                                 for check in ready]
        for check, findings in zip(ready, shell.side_by_side(jobs), strict=True):
            results[check.id] = findings
        states |= {check.id: results[check.id][0].state for check in ready}
        waiting = [check for check in waiting if check not in ready]
    return [finding for check in checks for finding in results[check.id]]


def run_check(check: Check, where: str, subject: Machine | ClusterView, states: Mapping[str, str]) -> list[Finding]:
    """The findings of one check; grey if one that it needs has found an error."""
    failed = next((needed for needed in check.needs if states[needed] in (ERROR, "grey")), "")
    if failed:
        return [Finding(check, where, "grey", f"skipped because of {failed}", subject, "skipped")]
    try:
        wrong = [*check.find(subject)]
    except Exit as error:
        return [Finding(check, where, check.level, f"cannot be checked: {error.message}", subject, check.id)]
    except OSError as error:
        return [Finding(check, where, check.level, f"cannot be checked: {describe_os_error(error)}", subject,
                        check.id)]
    return ([to_finding(check, where, subject, result) for result in wrong]
            or [Finding(check, where, "green", "", subject, "ok")])


def to_finding(
    check: Check, where: str, subject: Machine | ClusterView, wrong: str | Problem | Observation
) -> Finding:
    match wrong:
        case Problem():
            code, message = wrong.code, describe(wrong)
        case Observation():
            code, message = wrong
        case _:
            code, message = check.id, wrong
    found = wrong if isinstance(wrong, Problem) else None
    state = "grey" if found and isinstance(found.reason, Limit) else check.level
    return Finding(check, where, state, message, subject, code, found)
