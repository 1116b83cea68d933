"""Ports 80 and 443 in front of all clusters, so that no URL needs a port: docs/front-door.md."""

from __future__ import annotations

import sys

from invoke import Context, Exit, task

from tasks import providers
from tasks.core import configuration
from tasks.core.addresses import base_address
from tasks.core.invoke_patches import PlainTask
from tasks.core.problems import Problem, describe, problem
from tasks.core.progress import confirm, say
from tasks.core.settings import Settings
from tasks.core.shell import CommandFailed, Shell
from tasks.engine import network
from tasks.engine.clusters import ExistingCluster, own_clusters
from tasks.front_door import container, files, links, obstacles, proof
from tasks.front_door.container import Container, Plan, find_faults, make_plan
from tasks.tools.required import require

SECONDS = 15
"""HAProxy answers a second after its start."""


@task(klass=PlainTask)
def front_door(context: Context) -> None:
    """Make the URLs of all clusters work without ports

    By a container on this machine's ports 80 and 443, or on FRONT_DOOR_HTTP_PORT and FRONT_DOOR_HTTPS_PORT. It routes
    every connection to the cluster whose name is requested, and lists the clusters at http://<base domain>/. URLs with
    ports keep working. Created again only if something has changed.
    """
    settings = configuration.load()
    shell = Shell(context, settings.environment)
    require(shell, *providers.needed_tools(settings, "kubectl"))
    ensure(shell, settings)


@task(klass=PlainTask)
def front_door_remove(context: Context) -> None:
    """Remove the front door; URLs with ports keep working"""
    settings = configuration.load()
    shell = Shell(context, settings.environment)
    require(shell, "docker")
    found = container.find(shell, settings)
    if found and not found.of_this_copy:
        raise obstacles.refuse(obstacles.explain_owner(found, settings))
    remove(shell, settings)


def ensure(shell: Shell, settings: Settings) -> None:
    """Create it, or renew what has changed, and prove by requests that it works. Exit if it does not."""
    with shell.one_at_a_time("front door", settings.k3d_network), shell.step("", "front door") as this:
        clusters = providers.list_clusters(shell, settings)
        plan = make_plan(shell, settings)
        if not plan.network_id and not shell.dry:
            raise obstacles.refuse(problem(obstacles.ObstacleReason.NETWORK_MISSING, network=settings.k3d_network))
        found = container.find(shell, settings)
        if foreign := obstacles.find_foreign(found, plan):
            raise obstacles.refuse(foreign)
        connect_balancers(shell, settings, clusters)
        running = [cluster for cluster in own_clusters(settings, clusters) if clusters[cluster.name].running]
        hosts = links.find_links(shell, running)
        if not [*find_faults(found, plan)]:
            this.outcome = "page updated" if container.update_page(shell, plan, hosts) else "already running"
        else:
            start(shell, plan, hosts, found)
            this.outcome = "created again" if found else "created"
        if shell.dry:
            return
        wait_for_page(shell, settings)
        for why in proof.find_cluster_problems(running, hosts):
            raise Exit(describe(why))
        this.outcome += f"; it lists the clusters at {files.page_url(settings)}"
        if not found and (unreachable := proof.find_pod_problem(shell, settings)):
            this.warn(f"{this.outcome}\n    {describe(unreachable)}\n{network.firewall_hint(shell, settings)}")


def connect_balancers(shell: Shell, settings: Settings, clusters: dict[str, ExistingCluster]) -> None:
    """Connect the load balancers of clusters with a network of their own, such as those of the original."""
    own = [clusters[cluster.name] for cluster in own_clusters(settings, clusters)]
    network.connect(shell, settings, [
        found.balancer for found in own if found.balancer and settings.k3d_network not in found.networks])


def start(shell: Shell, plan: Plan, hosts: links.Links, found: Container | None) -> None:
    """Create it, instead of the one that was found. Exit tells what uses its ports, or why they cannot be opened."""
    if found:
        container.remove(shell, plan.settings)
    has_own_ports = shell.dry and found  # which a real run would have freed by now
    if not has_own_ports and (taken := obstacles.find_taken_port(shell, plan.settings, plan.addresses)):
        raise obstacles.refuse(taken)
    try:
        container.create(shell, plan, hosts)
    except CommandFailed as error:
        if why := obstacles.explain_failed_start(shell, plan, error):
            raise obstacles.refuse(why) from None
        raise


def wait_for_page(shell: Shell, settings: Settings) -> None:
    """Exit with the reason if this machine does not get the page in time, although the container has started."""
    found: list[Problem | None] = []

    def answers() -> bool:
        found[:] = [proof.find_page_problem(shell, settings)]
        return found == [None]

    try:
        shell.until("the front door to answer", SECONDS, answers, hint="")
    except Exit as error:
        why, = found
        raise Exit(f"{describe(why) if why else error.message}\nTo find out why: inv doctor") from None


def refresh(shell: Shell, settings: Settings, wanted: bool = False) -> bool:
    """Bring it up to date with the clusters, if it is in use or `wanted`. Returns whether it works.

    A front door that does not is only reported, because every URL also works with its port.
    """
    if not (wanted or container.is_in_use(shell, settings)):
        return False
    try:
        ensure(shell, settings)
    except Exit as error:
        say(f"{error.message}\nEvery URL works with its port, as it does without the front door.\n")
        return False
    return True


def offer(shell: Shell, settings: Settings, yes: bool) -> bool:
    """Ask whether to create it, or agree beforehand with `yes`; not if it is in use already, or its ports are taken."""
    if shell.dry or not (yes or sys.stdin.isatty()) or container.is_in_use(shell, settings):
        return False
    if obstacles.find_taken_port(shell, settings, (base_address(settings),)):
        return False
    ports = f"{settings.front_door_http_port} and {settings.front_door_https_port}"
    return yes or confirm(f"Ports {ports} are free. Use them for a front door, so that no URL needs a port? [y/N] ",
                          otherwise=False)


def remove(shell: Shell, settings: Settings) -> None:
    """Remove it, unless another copy has created it."""
    with shell.step("", "front door") as this:
        found = container.find(shell, settings)
        if found and found.of_this_copy:
            container.remove(shell, settings)
            this.outcome = "removed"
        else:
            this.skip("there is none" if found is None else "kept, because this copy did not create it")


def remove_with_network(shell: Shell, settings: Settings) -> None:
    """After the last cluster of the network, remove the front door if there is one, and the network."""
    if container.find(shell, settings):
        remove(shell, settings)
    network.remove(shell, settings)

