"""Admission policies: applied, and then verified, because one that fails does so without a word."""

from __future__ import annotations

from collections.abc import Callable

from invoke import Exit

from tasks.core.problems import Problem, describe
from tasks.core.settings import Cluster
from tasks.core.shell import Shell, fail
from tasks.core.well_known import MANAGER
from tasks.in_cluster.apply import Manifest, apply

SECONDS = 20
"""A new policy takes effect after about a second."""


def apply_verified(
    shell: Shell, cluster: Cluster, kind: str, manifests: list[Manifest], find_problem: Callable[[], Problem | None],
) -> None:
    """Apply policies of this kind, and wait until a probe finds no problem.

    If it does not come to that, someone has added to them what an apply keeps: then they are created again.
    """
    try:
        apply(shell, cluster, *manifests)
        wait_until_verified(shell, find_problem)
    except Exit:
        remove(shell, cluster, kind)
        apply(shell, cluster, *manifests)
        wait_until_verified(shell, find_problem)


def wait_until_verified(shell: Shell, find_problem: Callable[[], Problem | None]) -> None:
    found: list[Problem | None] = []

    def is_verified() -> bool:
        found[:] = [find_problem()]
        return found == [None]

    try:
        shell.until("a probe to show that the policies work", SECONDS, is_verified, hint="")
    except Exit as error:
        reasons = [describe(problem) for problem in found if problem]
        raise Exit("\n".join([str(error.message), *reasons, "To find out why: inv doctor"])) from None


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
