"""All of it, for someone who has just arrived."""

from __future__ import annotations

from invoke import Context, Exit, task

from tasks import dns, trust
from tasks import settings as configuration
from tasks.as_root import openly
from tasks.ca import ensure_root
from tasks.examples import prove
from tasks.k3d import N_HELP, open_clusters, setup
from tasks.names import ClusterTask
from tasks.progress import say
from tasks.settings import Settings
from tasks.shell import Shell, words_after_dashes
from tasks.tools import offer
from tasks.ways import example_host


@task(klass=ClusterTask, help={**N_HELP, "yes": "install missing tools into .tools/bin without asking"})
def up(context: Context, n: str = "0", yes: bool = False) -> None:
    """CA, trust, names, cluster N and examples at once"""
    settings = configuration.load()
    offer(Shell(context, settings.environment), settings, yes)
    shell, clusters = open_clusters(context, n)
    ensure_root(shell, settings)
    openly(shell, lambda shell: prepare(shell, settings))
    setup(shell, clusters, words_after_dashes())
    prove(shell, clusters)
    if shell.dry:
        return
    for cluster in clusters:
        say(f"Open https://{example_host(cluster)}:{cluster.https_port}/")


def prepare(shell: Shell, settings: Settings) -> None:
    """Trust and names of this machine. The clusters work without them, and the table at the end names them again."""
    for step in (trust.install, dns.install):
        try:
            step(shell, settings)
        except Exit as error:
            (shell.note if shell.dry else say)(str(error.message))
