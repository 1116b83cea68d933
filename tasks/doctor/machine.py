"""Checks of this machine: tools, engine, network and ports."""

from __future__ import annotations

import ipaddress
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

from tasks import providers
from tasks.core.operating_system import is_macos
from tasks.core.problems import Problem
from tasks.core.settings import ENVIRONMENT
from tasks.core.shell import Shell
from tasks.doctor.check import ERROR, WARNING, Checks, Machine, count
from tasks.doctor.fixes import FREE_DISK, INSTALL_TOOLS, START_ALL
from tasks.engine import inotify, network
from tasks.tools import required

CHECKS = Checks()


check = CHECKS.check

GIB = 1024**3


@check("tools", ERROR, "A tool is missing or too old.", INSTALL_TOOLS)
def needed_tools(machine: Machine) -> Iterator[Problem]:
    """Docker, the programs that make clusters, helm, kubectl and openssl are installed and recent enough"""
    for tool in required.needed(machine.settings):
        if tool != "docker" or not machine.shell.find("docker"):  # the next check is about its engine
            wrong = required.find_problem(machine.shell, tool)
            if wrong:
                yield wrong


@check("settings-refused", WARNING, "The value is not one that the setting may have.",
       "Correct it in .env. Only the tasks that need it refuse it.")
def valid_settings(machine: Machine) -> Iterator[str]:
    """The settings of tools and charts in .env are valid; those of the environment may be meant for other programs"""
    yield from (refused.problem for refused in machine.settings.refused if refused.place != ENVIRONMENT)


@check("engine", ERROR, "Docker is not running, or DOCKER_HOST or the Docker context points to another engine.",
       "Start Docker. To see which engine is used: docker context ls", needs=["tools"])
def engine_answers(machine: Machine) -> Iterator[str | Problem]:
    """The container engine answers"""
    if not machine.engine:
        yield required.find_problem(machine.shell, "docker") or "docker info returned nothing"


@check("engine-rootless", WARNING, "With a rootless engine, pods cannot reach this machine's ports.",
       "Use a single cluster, or a rootful engine.", needs=["engine"],
       link="https://docs.docker.com/engine/security/rootless/")
def rootless(machine: Machine) -> Iterator[str]:
    """The engine is not rootless"""
    if any("rootless" in option for option in machine.engine.get("SecurityOptions") or []):
        yield "the engine is rootless: pods can reach only their own cluster"


@check("engine-memory", WARNING, "Each cluster needs about 1 GiB, and the engine some more.",
       "Give the engine's virtual machine more memory, or stop a cluster: inv k3d-cluster-stop --n N", needs=["engine"])
def memory(machine: Machine) -> Iterator[str]:
    """The engine has enough memory for the running clusters"""
    has, needed = machine.engine.get("MemTotal", 0), (1 + len(machine.running)) * GIB
    if 0 < has < needed:
        yield f"the engine has {has / GIB:.1f} GiB of memory for {count(len(machine.running), 'running cluster')}"


@check("engine-disk", WARNING, "Unused images and volumes fill it; pods and databases stop when it is full.",
       FREE_DISK, needs=["engine"])
def disk(machine: Machine) -> Iterator[str]:
    """The engine's disk has free space, if it is a disk of this machine"""
    folder = Path(machine.engine.get("DockerRootDir") or "/nowhere")
    if folder.is_dir():
        free = shutil.disk_usage(folder).free
        if free < 5 * GIB:
            yield f"only {free / GIB:.1f} GiB are free for {folder}"


@check("engine-clock", ERROR, "The clock of a virtual machine stops while the laptop sleeps.",
       "Restart the engine; on Colima: colima restart", needs=["engine"])
def clock(machine: Machine) -> Iterator[str]:
    """The engine's clock is in sync with this machine's"""
    time = str(machine.engine.get("SystemTime", ""))[:19]
    try:
        seconds = (datetime.now(timezone.utc) - datetime.fromisoformat(f"{time}+00:00")).total_seconds()
    except ValueError:
        return
    if abs(seconds) > 120:
        relation = "behind" if seconds > 0 else "ahead of"
        yield f"the engine's clock is {abs(seconds) / 60:.0f} minutes {relation} this machine's"


@check("engine-inotify", WARNING, "Linux limits the inotify instances of a user, and every cluster uses some.",
       inotify.HOW_TO_RAISE, needs=["engine"], link=inotify.LINK)
def inotify_limit(machine: Machine) -> Iterator[Problem]:
    """The limit of inotify instances is high enough for the clusters (else: "too many open files")"""
    instances = sum(providers.by_name(view.existing.provider).INOTIFY_INSTANCES for view in machine.running)
    if wrong := inotify.find_shortage(machine.shell, machine.settings, instances,
                                      count(len(machine.running), "running cluster")):
        yield wrong


@check("network", ERROR, "It was removed, for example by docker network prune while all clusters were stopped.",
       START_ALL, needs=["engine"])
def shared_network(machine: Machine) -> Iterator[str]:
    """The Docker network that the clusters share exists"""
    name = machine.settings.k3d_network
    on_it = [view.cluster.name for view in machine.views if view.existing.network == name]
    if on_it and not network.find_gateway(machine.shell, machine.settings):
        yield f"there is no network {name}, and {', '.join(on_it)} cannot start without it"


@check("network-overlap", WARNING, "A VPN, or another network of this machine, uses the same addresses.",
       "For new clusters, set another K3D_NETWORK_SUBNET in .env; for their pods and Services, add to inv "
       "k3d-cluster-setup: -- --k3s-arg '--cluster-cidr=10.142.0.0/16@server:*' "
       "--k3s-arg '--service-cidr=10.143.0.0/16@server:*'", needs=["engine"])
def overlap(machine: Machine) -> Iterator[str]:
    """No other route of this machine overlaps with the clusters' networks"""
    networks = list_networks(machine)
    for route in list_routes(machine.shell):
        for subnet in networks:
            if route.target.overlaps(subnet):
                yield f"{subnet} of the clusters overlaps with the route {route.text}"


def list_networks(machine: Machine) -> list[ipaddress.IPv4Network]:
    """The clusters' Docker network, and those of pods and Services: of the existing clusters, else of a new one."""
    inner = [network for view in machine.views for network in view.existing.inner_networks] or [
        network for provider in providers.chosen(machine.settings) for network in provider.INNER_NETWORKS]
    networks: dict[ipaddress.IPv4Network, None] = {}
    for text in [*machine.subnets, *inner]:
        with suppress(ValueError):  # IPv6
            networks[ipaddress.IPv4Network(text, strict=False)] = None
    return [*networks]


class Route(NamedTuple):
    target: ipaddress.IPv4Network
    text: str


def list_routes(shell: Shell) -> Iterator[Route]:
    """This machine's IPv4 routes, except default routes and those of the engine's networks."""
    command = ("netstat", "-rn", "-f", "inet") if is_macos(shell) else ("ip", "-4", "route")
    for line in shell.look(*command).stdout.splitlines():
        target, *rest = line.split() or [""]
        network = parse_route_target(target)
        # A VPN replaces the default route by its two halves: openvpn(8), redirect-gateway def1.
        is_default = network is None or network.prefixlen <= 1
        if network and not is_default and not re.search(r"\b(br-|bridge\d|docker)", line):
            yield Route(network, " ".join([str(network), *rest[:4]]))


def parse_route_target(text: str) -> ipaddress.IPv4Network | None:
    """The network in a line of `ip route` or of macOS' `netstat`, which omits zeros at the end (`10.8/16`)."""
    address, _, prefix = text.partition("/")
    octets = address.split(".")
    is_shortened = len(octets) < 4
    try:
        return ipaddress.IPv4Network(
            f"{'.'.join([*octets, *'000'][:4])}/{prefix or (8 * len(octets) if is_shortened else 32)}")
    except ValueError:  # `default`, a heading, or an interface
        return None
