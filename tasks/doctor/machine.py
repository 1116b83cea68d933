"""Checks of this machine: tools, engine, network and ports."""

from __future__ import annotations

import ipaddress
import shutil
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path

from tasks.core import system_files
from tasks.core.problems import Problem
from tasks.doctor.check import ERROR, WARNING, Checks, Machine
from tasks.doctor.fixes import INSTALL_TOOLS, START_ALL
from tasks.engine import k3s_arguments, network
from tasks.tools import required

CHECKS = Checks()


check = CHECKS.check

GIB = 1024**3

# k3s and its pods take about 20 of them for each cluster, counted on a machine with six.
INOTIFY_PER_CLUSTER, INOTIFY_OF_OTHERS = 20, 64


@check("tools", ERROR, "A tool is missing, or older than these tasks need.", INSTALL_TOOLS)
def needed_tools(machine: Machine) -> Iterator[Problem]:
    """docker, k3d, helm, kubectl and openssl: there, and new enough"""
    for tool in required.VERSION_COMMANDS:
        if tool != "docker" or not machine.shell.find("docker"):  # its engine is the next check
            wrong = required.find_problem(machine.shell, tool)
            if wrong:
                yield wrong


@check("engine", ERROR, "Docker is not started, or DOCKER_HOST or the Docker context names another engine.",
       "Start Docker. Which one is asked: docker context ls", needs=["tools"])
def engine_answers(machine: Machine) -> Iterator[str | Problem]:
    """The engine answers"""
    if not machine.engine:
        yield required.find_problem(machine.shell, "docker") or "docker info returned nothing"


@check("engine-rootless", WARNING, "Pods of a rootless engine cannot reach this host's ports.",
       "Use one cluster, or a rootful engine.", needs=["engine"],
       link="https://docs.docker.com/engine/security/rootless/")
def rootless(machine: Machine) -> Iterator[str]:
    """The engine is not rootless"""
    if any("rootless" in option for option in machine.engine.get("SecurityOptions") or []):
        yield "the engine is rootless: pods reach their own cluster only"


@check("engine-memory", WARNING, "A cluster takes about 1 GiB, and the engine some more.",
       "Give the engine's virtual machine more memory, or stop a cluster: inv k3d-cluster-stop --n N", needs=["engine"])
def memory(machine: Machine) -> Iterator[str]:
    """The engine has memory for the clusters that run"""
    has, needed = machine.engine.get("MemTotal", 0), (1 + len(machine.running)) * GIB
    if 0 < has < needed:
        yield f"it has {has / GIB:.1f} GiB, and {len(machine.running)} clusters run"


@check("engine-disk", WARNING, "Images and volumes that nobody uses fill it; a full one stops pods and databases.",
       "docker system df shows what takes it, docker image prune frees some.", needs=["engine"])
def disk(machine: Machine) -> Iterator[str]:
    """Room on the engine's disk, where it is one of this machine"""
    folder = Path(machine.engine.get("DockerRootDir") or "/nowhere")
    if folder.is_dir():
        free = shutil.disk_usage(folder).free
        if free < 5 * GIB:
            yield f"{free / GIB:.1f} GiB are free for {folder}"


@check("engine-clock", ERROR, "The clock of a virtual machine stands still while a laptop sleeps.",
       "Start the engine again; on Colima: colima restart", needs=["engine"])
def clock(machine: Machine) -> Iterator[str]:
    """The engine's clock goes right, or certificates are not valid yet"""
    said = str(machine.engine.get("SystemTime", ""))[:19]
    try:
        apart = (datetime.now(timezone.utc) - datetime.fromisoformat(f"{said}+00:00")).total_seconds()
    except ValueError:
        return
    if abs(apart) > 120:
        yield f"it is {abs(apart) / 60:.0f} minutes {'behind' if apart > 0 else 'ahead of'} this machine's"


@check("engine-inotify", WARNING, "Linux gives each user few inotify instances, and every cluster takes some.",
       "sudo sysctl -w fs.inotify.max_user_instances=512; to keep it, in /etc/sysctl.d/", needs=["engine"],
       link="https://kind.sigs.k8s.io/docs/user/known-issues/#pod-errors-due-to-too-many-open-files")
def inotify(machine: Machine) -> Iterator[str]:
    """Linux has enough inotify instances for the clusters ("too many open files")"""
    file = system_files.ROOT / "proc/sys/fs/inotify/max_user_instances"
    if file.is_file() and network.gateway_to_publish_on(machine.shell, machine.settings):
        has, needed = int(file.read_text()), INOTIFY_OF_OTHERS + INOTIFY_PER_CLUSTER * len(machine.running)
        if has < needed:
            yield f"{has} for each user, and {len(machine.running)} clusters want about {needed}"


@check("network", ERROR, "Somebody removed it: docker network prune does, while all clusters are stopped.", START_ALL,
       needs=["engine"])
def shared_network(machine: Machine) -> Iterator[str]:
    """The Docker network that the clusters share"""
    name = machine.settings.k3d_network
    on_it = [view.cluster.name for view in machine.views if view.k3d_cluster.network == name]
    if on_it and not network.gateway(machine.shell, machine.settings):
        yield f"there is no network {name}, and {', '.join(on_it)} cannot start without it"


@check("network-overlap", WARNING, "A VPN, or another network of this machine, has the same addresses.",
       "K3D_NETWORK_SUBNET in .env chooses another one for new clusters, and so does, for pods and Services, "
       "-- --k3s-arg '--cluster-cidr=10.142.0.0/16@server:*' --k3s-arg '--service-cidr=10.143.0.0/16@server:*'",
       needs=["engine"])
def overlap(machine: Machine) -> Iterator[str]:
    """No route of this machine leads elsewhere for addresses of the clusters"""
    ours = cluster_subnets(machine)
    for line in machine.shell.look("ip", "-4", "route").stdout.splitlines():
        target, *rest = line.split() or [""]
        # The two halves are how a VPN takes all that has no closer route: openvpn(8), redirect-gateway def1.
        if target in ("default", "0.0.0.0/1", "128.0.0.0/1") or "br-" in line or "docker" in line:
            continue
        try:
            route = ipaddress.IPv4Network(target)
        except ValueError:
            continue
        for subnet in ours:
            if route.overlaps(subnet):
                yield f"{subnet} of the clusters overlaps with the route {target} {' '.join(rest[:4])}"


def cluster_subnets(machine: Machine) -> list[ipaddress.IPv4Network]:
    """Of the clusters' network, and of the pods and Services of those that exist; of a new one where there is none."""
    flags: list[k3s_arguments.Flags] = [k3s_arguments.of_cluster(view.k3d_cluster) for view in machine.views]
    subnets: dict[ipaddress.IPv4Network, None] = {}
    for text in [*network.subnets(machine.shell, machine.settings),
                 *(subnet for one in flags or [{}] for subnet in k3s_arguments.networks(one))]:
        with suppress(ValueError):  # of IPv6
            subnets[ipaddress.IPv4Network(text, strict=False)] = None
    return [*subnets]
