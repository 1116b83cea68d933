"""The task `up`: everything that a new user needs, in one command."""

from __future__ import annotations

from invoke import Context, Exit, task

from tasks import dns, front_door, providers, trust
from tasks.ca.create import ensure_root
from tasks.ca.load import load_roots
from tasks.cluster.examples import install_and_check
from tasks.cluster.open_page import print_pages
from tasks.cluster.selection import N_HELP, TO_CONFIGURE, cluster_numbers, open_clusters
from tasks.cluster.setup import setup
from tasks.core import configuration
from tasks.core.invoke_patches import ClusterTask
from tasks.core.progress import say
from tasks.core.settings import Settings
from tasks.core.shell import Shell, words_after_dashes
from tasks.core.sudo import with_sudo_plan
from tasks.dns import follow
from tasks.in_cluster import charts
from tasks.rotation import overlap
from tasks.tools.engine import offer_engine
from tasks.tools.install import offer_install
from tasks.tools.required import find_problem


@task(klass=ClusterTask, help={
    **N_HELP,
    "yes": "install what is missing without asking: an engine, tools into .tools/bin, and the front door",
    "no_root": "do only what needs no root, and print the rest for an administrator",
})
def up(context: Context, n: str = "0", yes: bool = False, no_root: bool = False) -> None:
    """Set everything up: CA, trust, DNS, cluster, examples

    Where sudo is refused, and with --no-root, everything else is done, and the commands for an administrator are
    printed at the end.
    """
    settings = configuration.load()
    providers.check_words(map(settings.cluster, cluster_numbers(n)), words_after_dashes())
    charts.check_source(settings)
    shell = Shell(context, settings.environment)
    shell.root_refused = no_root
    offer_engine(shell, yes)
    if not find_problem(shell, "docker"):  # else it would download for nothing
        offer_install(shell, settings, yes)
    shell, clusters = open_clusters(context, n, *TO_CONFIGURE)
    shell.root_refused = no_root
    with_front_door = front_door.offer(shell, settings, yes)
    ensure_root(shell, settings)
    left: list[str] = []
    with_sudo_plan(shell, lambda shell: prepare(shell, settings), tell_left=left.append)
    try:
        setup(shell, clusters, load_roots(settings, missing_ok=shell.dry), words_after_dashes())
        overlap.finish(shell, settings)
        if with_front_door:
            front_door.refresh(shell, settings, wanted=True)
        through_front_door = install_and_check(shell, clusters)
        follow.update_names(shell, settings)
    finally:
        for commands in left:
            say(commands)
    if not shell.dry:
        print_pages(shell, clusters, through_front_door)


def prepare(shell: Shell, settings: Settings) -> None:
    """Set up trust stores and DNS on this machine.

    Errors are only printed: the clusters work without both, and the final table shows what is still missing.
    """
    for step in (trust.install, dns.install):
        try:
            step(shell, settings)
        except Exit as error:
            (shell.note if shell.dry else say)(str(error.message))
