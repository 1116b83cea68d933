"""The ports of this machine: which are in use, and by what."""

from __future__ import annotations

import errno
import socket
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace

from invoke import Exit

from tasks.core.browser_ports import BLOCKED_PORTS
from tasks.core.progress import say
from tasks.core.settings import Cluster, Settings
from tasks.core.shell import Shell
from tasks.core.well_known import MANAGER
from tasks.engine.clusters import ExistingCluster

EPHEMERAL = 32768
"""From here on Linux assigns ports itself (net.ipv4.ip_local_port_range), so one may be in use at any time."""


@dataclass(frozen=True)
class TakenPort:
    """A port that a cluster needs, and what uses it."""

    address: str
    port: int
    holder: str = ""
    """` by <program or container>`; empty if the system does not report it."""
    cluster: str = ""
    """The cluster that publishes it; empty if something else does."""
    whose: str = ""
    """What is known about that cluster."""
    stop_command: str = ""
    """How to stop that cluster."""

    def __str__(self) -> str:
        if self.cluster:
            return f"{self.address}:{self.port} is taken by cluster {self.cluster} ({self.whose})"
        return f"{self.address}:{self.port} is taken{self.holder}"


def check_free_ports(shell: Shell, cluster: Cluster, addresses: Iterable[str], existing: Collection[ExistingCluster],
                     there: bool = False) -> None:
    """For a cluster that will be created, or that exists (`there`) and will be started.

    Exit names each port that is in use, what uses it if the system reports that, and a free range of ports if another
    cluster uses it.
    """
    addresses = [*addresses]
    taken = taken_ports(shell, cluster, addresses, existing)
    if not taken:
        if not there:
            warn_about_stopped_clusters(cluster, addresses, existing)
        return
    lines = "\n".join(f"  {port}" for port in taken)
    stop_commands = list(dict.fromkeys(port.stop_command for port in taken if port.cluster))
    if not stop_commands:
        what, otherwise = (("started", "then run the task again.") if there else
                           ("created", "or change K3D_PORT_START or another K3D_PORT_ key in .env."))
        raise Exit(f"{cluster.name} cannot be {what}:\n{lines}\nStop what uses the port, {otherwise}")
    again = f" and recreate it: inv k3d-cluster-delete --n {cluster.number} k3d-cluster-setup --n {cluster.number}"
    raise Exit(f"{cluster.name} cannot be {'started' if there else 'created'}:\n{lines}\n"
               f"{describe_free_range(cluster.settings, addresses, existing)}\n"
               f"Set that in .env{again if there else ''}. Or stop the other cluster: {' and '.join(stop_commands)}")


def warn_about_stopped_clusters(cluster: Cluster, addresses: list[str], existing: Collection[ExistingCluster]) -> None:
    """Their ports are free now, but not once those clusters are started."""
    wanted = {str(cluster.http_port), str(cluster.https_port)}
    names = [found.name for found in existing
             if found.name != cluster.name and wanted & {*published_ports(found)}]
    if names:
        say(f"{cluster.name}: cluster {' and '.join(names)} publishes the same ports and is stopped: only one of "
            f"them can run at a time. {describe_free_range(cluster.settings, addresses, existing)}")


def taken_ports(shell: Shell, cluster: Cluster, addresses: Iterable[str],
                existing: Collection[ExistingCluster]) -> list[TakenPort]:
    """The ports of this cluster that something else uses on one of these addresses."""
    return [identify(shell, cluster.settings, address, port, existing)
            for port in (cluster.http_port, cluster.https_port)
            for address in addresses
            if not address.startswith("<") and (is_local(address) or address == cluster.address)
            and is_taken(address, port)]


def is_local(address: str) -> bool:
    """Whether this machine has the address. That of a network which is gone may be another machine's."""
    with socket.socket() as server:
        try:
            server.bind((address, 0))
        except OSError:
            return False
    return True


def is_taken(address: str, port: int) -> bool:
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind((address, port))
        except OSError as error:
            # The engine may bind a port below 1024 even if this user may not.
            if error.errno != errno.EADDRNOTAVAIL:  # that of another machine is connected to
                return error.errno == errno.EADDRINUSE
    with socket.socket() as client:  # macOS lets a second server bind a narrower address than the first
        client.settimeout(1)
        return client.connect_ex(("127.0.0.1" if address == "0.0.0.0" else address, port)) == 0


def identify(shell: Shell, settings: Settings, address: str, port: int,
             existing: Collection[ExistingCluster]) -> TakenPort:
    names = containers(shell, port)
    for found in existing:
        if {*names} & {*found.containers}:
            return TakenPort(address, port, cluster=found.name, whose=describe_cluster(shell, settings, found),
                             stop_command=found.stop_command)
    return TakenPort(address, port, holder(shell, port))


def containers(shell: Shell, port: int) -> list[str]:
    """The containers that publish it."""
    return shell.look("docker", "ps", "--filter", f"publish={port}", "--format", "{{.Names}}").stdout.split()


def holder(shell: Shell, port: int) -> str:
    """` by <program>`, if docker, lsof or ss reports it; otherwise empty."""
    if names := containers(shell, port):
        return f" by the container {', '.join(names)}"
    listening = shell.look("lsof", "-nP", f"-iTCP:{port}", "-sTCP:LISTEN", "-Fpc").stdout.splitlines()
    if len(listening) >= 2:
        return f" by {listening[1][1:]}, process {listening[0][1:]}"
    sockets = shell.look("ss", "-Hltnp", f"sport = :{port}").stdout
    return f" by {sockets.split('users:')[1].split()[0]}" if "users:" in sockets else ""


def describe_cluster(shell: Shell, settings: Settings, found: ExistingCluster) -> str:
    """What is known about a cluster: whether these settings name it, and whether these tasks made its network."""
    if any(found.name == settings.cluster(number).name for number in settings.numbers):
        return "named by these settings, but created with other K3D_PORT_ settings or by another copy of these tasks"
    label = shell.look("docker", "network", "inspect", found.network, "--format",
                       '{{index .Labels "app.kubernetes.io/managed-by"}}') if found.network else None
    if label and label.ok and label.stdout.strip() == MANAGER:
        return "created by another copy of these tasks"
    return f"created by another copy of these tasks, or by {found.provider} itself"


def describe_free_range(settings: Settings, addresses: Iterable[str], existing: Collection[ExistingCluster]) -> str:
    """A range whose ports are all free, also those of stopped clusters; or a sentence that there is none."""
    published = {int(port) for found in existing for port in published_ports(found)}
    here = [address for address in addresses if not address.startswith("<")]
    for start in possible_starts(settings):
        size = len(settings.numbers)
        chosen = replace(settings, k3d_port_start=start, k3d_port_end=start + size - 1)
        ports = [chosen.port(number, scheme) for number in chosen.numbers for scheme in ("http", "https")]
        if not published & {*ports} and not any(is_taken(address, port) for port in ports for address in here):
            return f"Free range: K3D_PORT_START={start} K3D_PORT_END={start + size - 1}"
    return ("No range of that size is free. Narrow K3D_PORT_START to K3D_PORT_END, or choose another "
            "K3D_PORT_PREFIX_ or K3D_PORT_SUFFIX_.")


def published_ports(cluster: ExistingCluster) -> Iterator[str]:
    for ports in cluster.ports.values():
        yield from (port for port in ports if port.isdecimal())


def possible_starts(settings: Settings) -> list[int]:
    """Values of K3D_PORT_START with valid ports.

    First those that browsers open and that are below EPHEMERAL, then those next to the present range.
    """
    size, valid = len(settings.numbers), []
    for start in range(1, 6554):
        chosen = replace(settings, k3d_port_start=start, k3d_port_end=start + size - 1)
        ends = [chosen.port(number, scheme) for number in (0, size - 1) for scheme in ("http", "https")]
        if min(ends) < 1024 or max(ends) > 65535:
            continue
        ports = {chosen.port(number, scheme) for number in chosen.numbers for scheme in ("http", "https")}
        if len(ports) == 2 * size:
            valid.append((bool(BLOCKED_PORTS & ports), max(ports) >= EPHEMERAL,
                          len(str(start)) != len(str(settings.k3d_port_start)),
                          (start - settings.k3d_port_start) % size != 0, start <= settings.k3d_port_start, start))
    return [start for *_, start in sorted(valid)]
