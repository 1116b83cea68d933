"""The tasks for a cluster's lifecycle."""

from __future__ import annotations

from invoke import Context, Exit, task

from tasks import front_door, providers, registries
from tasks.ca.load import load_roots
from tasks.cluster.adopt import (
    adopt_cluster,
    clusters_by_number,
    ensure_route_to_others,
    find_original_clusters,
    print_next_steps,
)
from tasks.cluster.examples import install_and_check
from tasks.cluster.lifecycle import delete, start_all, stop
from tasks.cluster.selection import ALL_HELP, N_HELP, TO_CONFIGURE, open_clusters, require_existing
from tasks.cluster.setup import configure, keep_for_offline, setup
from tasks.core import configuration
from tasks.core.browser_ports import describe_blocked
from tasks.core.invoke_patches import ClusterTask, PlainTask
from tasks.core.progress import per_cluster, say
from tasks.core.settings import Settings
from tasks.core.shell import Shell, words_after_dashes
from tasks.core.table import JSON_HELP, print_json, print_table
from tasks.dns.follow import update_names
from tasks.engine.clusters import own_clusters
from tasks.front_door.container import is_in_use
from tasks.front_door.files import page_url
from tasks.probe.example_page import is_behind_front_door, url_of
from tasks.providers import other_providers
from tasks.rotation import overlap
from tasks.tools.required import require


@task(klass=ClusterTask, help={"n": "cluster number: 1, or 1,2 or 1-3; default: all clusters of the original"})
def adopt(context: Context, n: str = "") -> None:
    """Take over clusters made by the original Taskfile

    Names, ports and URLs stay the same. The clusters are started, configured, and connected to the others. The root's
    key is removed from them and stays on this machine. --n also adopts a cluster that is not the original's.
    """
    settings = configuration.load()
    shell = Shell(context, settings.environment)
    require(shell, *providers.needed_tools(settings, *TO_CONFIGURE))
    roots = load_roots(settings)
    clusters = clusters_by_number(shell, settings, n) if n else find_original_clusters(shell, settings)
    adopted = [cluster for cluster in clusters if adopt_cluster(shell, cluster, roots, by_number=bool(n))]
    if not adopted:
        raise Exit("No cluster was adopted: the original Taskfile created none of these. To adopt one anyway, name it "
                   "with --n.")
    for cluster in adopted:
        ensure_route_to_others(shell, cluster)
    follow_clusters(shell, settings)
    print_next_steps(shell, adopted)


def follow_clusters(shell: Shell, settings: Settings) -> None:
    """Bring what lists their names on this machine up to date: the front door's page and the hosts file."""
    front_door.refresh(shell, settings)
    update_names(shell, settings)


@task(klass=ClusterTask, help={**N_HELP, "with": "oidc: also an example with OpenID Connect, whose Keycloak is in "
                                                 "the first of these clusters"})
def k3d_cluster_examples(context: Context, n: str = "", with_: str = "") -> None:
    """Install the examples in cluster N and test them

    inv k3d-cluster-examples --n 0,1 --with oidc
    With oidc: Keycloak in cluster 0, and in both clusters an application whose users sign in there (docs/oidc.md).
    """
    # Imported here, because `inv --list` would load a browser for one line.
    from tasks.cluster import oidc, oidc_checks

    if with_ not in ("", "oidc"):
        raise Exit(f"There is no example {with_!r}. Type: inv k3d-cluster-examples --n {n or 0} --with oidc")
    shell, clusters = open_clusters(context, n, "kubectl")
    if with_:
        oidc.check_requirements(shell, clusters)
    install_and_check(shell, clusters)
    if with_:
        oidc.install(shell, clusters)
        if not shell.dry:
            oidc_checks.check_and_report(shell, clusters)
    follow_clusters(shell, clusters[0].settings)
    for line in describe_blocked(clusters):
        say(line)


@task(klass=ClusterTask, help=N_HELP)
def k3d_cluster_setup(context: Context, n: str = "") -> None:
    """Create and configure cluster N: 1, 1,2 or 1-3

    Also called as k3d-cluster-setup-1.
    Arguments after -- are appended to the command that creates it, so they win:
    inv k3d-cluster-setup --n 1 -- --agents 1
    An existing cluster is started if it is stopped, and configured again.
    """
    shell, clusters = open_clusters(context, n, *TO_CONFIGURE)
    roots = load_roots(clusters[0].settings)
    setup(shell, clusters, roots, words_after_dashes())
    keep_for_offline(shell, clusters[0].settings)
    overlap.finish(shell, clusters[0].settings)
    follow_clusters(shell, clusters[0].settings)


@task(klass=ClusterTask, help={**ALL_HELP, "reinstall": "let Helm install its charts again over the existing objects"})
def k3d_cluster_configure(context: Context, n: str = "", all: bool = False, reinstall: bool = False) -> None:
    """Configure a running cluster N again"""
    shell, clusters = open_clusters(context, n, *TO_CONFIGURE, every=all)
    roots = load_roots(clusters[0].settings)
    per_cluster(clusters, lambda cluster: configure(shell, cluster, roots, reinstall), at_once=not shell.dry)
    overlap.finish(shell, clusters[0].settings)
    follow_clusters(shell, clusters[0].settings)


@task(klass=PlainTask, help=JSON_HELP)
def k3d_cluster_list(context: Context, json: bool = False) -> None:
    """List the clusters with their state, names and ports"""
    settings = configuration.load()
    shell = Shell(context, settings.environment)
    require(shell, *providers.needed_tools(settings))
    found = providers.list_clusters(shell, settings)
    clusters = own_clusters(settings, found)
    with_front_door = is_in_use(shell, settings)
    rows = [{"name": cluster.name, "state": found[cluster.name].state, "domain": cluster.domain,
             "address": cluster.address, "http": cluster.http_port, "https": cluster.https_port,
             "context": cluster.context,
             "url": url_of(cluster, "https", f"<name>.{cluster.domain}",
                           front_door=with_front_door and is_behind_front_door(cluster))}
            for cluster in clusters]
    if json:
        print_json(rows)
        return
    for line in other_providers.find_all(shell, settings):
        say(line)
    if rows:
        # With ports, the URL repeats the rest.
        shown = {"url": with_front_door, "address": any(cluster.is_elsewhere for cluster in clusters)}
        columns = [key for key in rows[0] if shown.get(key, True)]
        print_table([key.upper() for key in columns], [[str(row[key]) for key in columns] for row in rows])
        for line in describe_blocked(clusters):
            say(line)
        if with_front_door:
            say(f"The front door lists their pages: {page_url(settings)}")
    else:
        print("There are no clusters. Create one with: inv k3d-cluster-setup --n 1")


@task(klass=ClusterTask, help=ALL_HELP)
def k3d_cluster_stop(context: Context, n: str = "", all: bool = False) -> None:
    """Stop cluster N; nothing in it is lost"""
    shell, clusters = open_clusters(context, n, every=all)
    per_cluster(clusters, lambda cluster: stop(shell, cluster), at_once=not shell.dry)


@task(klass=ClusterTask, help=ALL_HELP)
def k3d_cluster_start(context: Context, n: str = "", all: bool = False) -> None:
    """Start cluster N and repair what a restart breaks"""
    shell, clusters = open_clusters(context, n, "kubectl", every=all)
    start_all(shell, clusters)
    follow_clusters(shell, clusters[0].settings)


@task(klass=ClusterTask, help=ALL_HELP)
def k3d_cluster_restart(context: Context, n: str = "", all: bool = False) -> None:
    """Restart cluster N"""
    shell, clusters = open_clusters(context, n, "kubectl", every=all)
    found = providers.list_clusters(shell, clusters[0].settings)
    for cluster in clusters:
        require_existing(shell, cluster, found)
    per_cluster(clusters, lambda cluster: stop(shell, cluster), at_once=not shell.dry)
    start_all(shell, clusters)
    follow_clusters(shell, clusters[0].settings)


@task(klass=ClusterTask, help=ALL_HELP)
def k3d_cluster_delete(context: Context, n: str = "", all: bool = False) -> None:
    """Delete cluster N and everything that belongs to it

    Its kubeconfig entry is removed too, and after the last cluster the front door and the network. What the registries
    on this machine keep stays.
    """
    shell, clusters = open_clusters(context, n, "kubectl", every=all)
    settings, names = clusters[0].settings, [cluster.name for cluster in clusters]
    per_cluster(clusters, lambda cluster: delete(shell, cluster), at_once=not shell.dry)
    others = [found for found in providers.list_clusters(shell, settings).values() if found.name not in names]
    if not any(settings.k3d_network in found.networks for found in others):
        registries.leave_network(shell, settings)
        front_door.remove_with_network(shell, settings)
    update_names(shell, settings)
