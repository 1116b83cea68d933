"""All of it, for someone who has just arrived."""

from __future__ import annotations

from functools import partial

from invoke import Context, Exit, task

from tasks import dns, trust
from tasks.cert import RootFiles, ensure_root
from tasks.examples import example_host, prove
from tasks.k3d import N_HELP, open_clusters, setup
from tasks.names import ClusterTask
from tasks.progress import say
from tasks.shell import words_after_dashes


@task(klass=ClusterTask, help=N_HELP)
def up(context: Context, n: str = "0") -> None:
    """Everything at once: CA, trust, names, cluster N, examples, and the URL to open"""
    shell, clusters = open_clusters(context, n)
    settings = clusters[0].settings
    ensure_root(shell, settings)
    for step in (partial(trust.ensure, shell, RootFiles(settings).certificate),
                 partial(dns.ensure, shell, clusters[0], example_host(clusters[0]))):
        try:
            step()
        except Exit as error:  # the clusters work without it, and the table at the end names it again
            say(str(error.message))
    setup(shell, clusters, words_after_dashes())
    prove(shell, clusters)
    if shell.dry:
        return
    for cluster in clusters:
        say(f"Open https://{example_host(cluster)}:{cluster.https_port}/")
