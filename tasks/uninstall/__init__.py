"""Remove what these tasks changed on this machine.

Files and roots are found by their markers, clusters by their names and ports, what is installed in a cluster of
somebody else by its labels; no list of them is kept.
"""

from __future__ import annotations

import shutil
import sys

from invoke import Context, Exit, task

from tasks.core import configuration, locks, setting_types
from tasks.core.invoke_patches import PlainTask
from tasks.core.progress import confirm, say
from tasks.core.shell import Shell
from tasks.core.sudo import PRINT_SUDO, with_sudo_plan
from tasks.uninstall.authority import find_authority
from tasks.uninstall.clusters import find_clusters
from tasks.uninstall.machine import find_folders, find_names, find_packages, find_roots
from tasks.uninstall.public_certificates import find_public_certificates
from tasks.uninstall.removal import Removal


@task(klass=PlainTask, help={
    **PRINT_SUDO,
    "yes": "do not ask",
    "keep-ca": "keep the files of the certificate authority, and the certificates of an ACME server",
    "tools": "also the packages that inv up installed, such as Docker's engine",
    "keep-clusters": "keep the clusters, their network, front door, registries and kubeconfig entries",
    "all-copies": "also names and roots that other copies of this folder use; never their clusters or CA files",
})
def uninstall(context: Context, yes: bool = False, keep_ca: bool = False, keep_clusters: bool = False,
              print_sudo: bool = False, all_copies: bool = False, tools: bool = False) -> None:
    """Undo everything these tasks changed on this machine

    Shows what that is, and asks. What other copies of this folder created is kept, and listed.
    """
    settings = configuration.load()
    shell = Shell(context, settings.environment)
    clusters = [] if keep_clusters else [*find_clusters(shell, settings)]
    every = [*clusters, *find_names(shell, settings, all_copies), *find_roots(shell, settings, all_copies),
             *([] if keep_ca else [*find_public_certificates(settings), *find_authority(settings)]),
             *find_packages(shell, tools), *find_folders(needed=any(item.why_kept for item in clusters))]
    plan = [item for item in every if not item.foreign]
    removals, kept = [item for item in plan if not item.why_kept], [item for item in plan if item.why_kept]
    if not print_sudo:
        show_plan(removals, kept, [item for item in every if item.foreign], all_copies)
    if removals and not (yes or shell.dry or print_sudo):
        ask_to_continue()
    failures = [f"{item.what}: {item.why_kept}" for item in kept]
    incomplete = any(not item.last for item in kept)
    failures += with_sudo_plan(shell, lambda shell: run_removals(shell, removals, incomplete), print_sudo) or []
    if failures:
        raise Exit("Left on this machine:\n" + "\n".join(f"  {failure}" for failure in failures))


def show_plan(removals: list[Removal], kept: list[Removal], foreign: list[Removal], all_copies: bool) -> None:
    if not removals and not kept:
        say("Nothing that this copy of the tasks created is on this machine." if foreign else
            "Nothing that these tasks created is on this machine.")
    if removals:
        say("This will be removed:\n" + "\n".join(f"  {item.what}" for item in removals))
    if kept:
        say("This will be kept:\n" + "\n".join(f"  {item.what}: {item.why_kept}" for item in kept))
    if foreign:
        say("This belongs to another copy, or was left behind by one, and will be kept:\n" + "\n".join(
            f"  {item.what}" + (f": {item.why_kept}" if item.why_kept else "") for item in foreign))
    if any(not item.why_kept for item in foreign) and not all_copies:
        say("To remove the names and roots of other copies too: inv uninstall --all-copies")


def ask_to_continue() -> None:
    if not sys.stdin.isatty():
        raise Exit("Nothing was changed. Without a terminal, confirm with --yes.")
    if not confirm("Continue? [y/N] ", otherwise=False):
        raise Exit("Nothing was changed.")


def run_removals(shell: Shell, removals: list[Removal], incomplete: bool) -> list[str]:
    """Remove everything, and continue after a failure. Return what is left, and why.

    `incomplete`: something that is needed to find the rest must be kept anyway.
    """
    failures: list[str] = []
    for item in removals:
        if (failures or incomplete) and item.last:
            failures.append(f"{item.what}: needed to find the rest")
            continue
        try:
            item.run(shell)
        except Exit as error:
            failures.append(f"{item.what}: {error.message}")
    if not (shell.dry or failures or incomplete):
        shutil.rmtree(setting_types.PROJECT / ".work", ignore_errors=True)
        locks.remove_leftovers()
    return failures
