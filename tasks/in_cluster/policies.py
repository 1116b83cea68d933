"""Admission policies: applied, and then verified, because one that fails does so without a word."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from invoke import Exit

from tasks.core.problems import Problem, Reason, describe
from tasks.core.settings import Cluster
from tasks.core.shell import Shell, fail
from tasks.core.well_known import MANAGER
from tasks.in_cluster.apply import Manifest, apply

SECONDS = 40
"""A new policy takes effect after about a second, on a busy machine after more."""


def apply_verified(
    shell: Shell, cluster: Cluster, kind: str, manifests: list[Manifest], find_problem: Callable[[], Problem | None],
    inconclusive: Reason,
) -> Problem | None:
    """Apply policies of this kind, and wait until a probe finds no problem.

    If it does not come to that, someone has added to them what an apply keeps: then they are created again. Where
    something else rejects the probe, such as a policy of the user's, nothing can be said: that problem is returned.
    """
    verify = partial(wait_until_verified, shell, find_problem, inconclusive)
    try:
        apply(shell, cluster, *manifests)
        return verify()
    except Exit:
        remove(shell, cluster, kind)
        apply(shell, cluster, *manifests)
        return verify()


def wait_until_verified(
    shell: Shell, find_problem: Callable[[], Problem | None], inconclusive: Reason,
) -> Problem | None:
    found: list[Problem | None] = []

    def is_verified() -> bool:
        found[:] = [find_problem()]
        return found == [None]

    try:
        shell.until("a probe to show that the policies work", SECONDS, is_verified, hint="")
    except Exit as error:
        problem, = found
        if problem is None or problem.reason == inconclusive:
            return problem
        raise Exit(f"{error.message}\n{describe(problem)}\nTo find out why: inv doctor") from None
    return None


def remove(shell: Shell, cluster: Cluster, kind: str) -> None:
    """Delete the policies of a kind that these tasks created, and their bindings first."""
    query = ("get", f"{kind}bindings,{plural(kind)}", "-l", f"app.kubernetes.io/managed-by={MANAGER}", "-o", "name")
    found = shell.look(*cluster.kubectl, *query)
    if not found.ok and not shell.dry:
        fail((*cluster.kubectl, *query), found)
    if found.stdout.split():
        shell.change(*cluster.kubectl, "delete", *found.stdout.split())


def plural(kind: str) -> str:
    return f"{kind.removesuffix('y')}ies"
