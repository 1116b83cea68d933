"""The ports of this machine: which are in use, and by what."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable
from dataclasses import dataclass

from invoke import Exit

from tasks.core.settings import Cluster
from tasks.core.shell import Shell


@dataclass(frozen=True)
class TakenPort:
    """A port that a cluster needs, and what uses it."""

    address: str
    port: int
    holder: str = ""
    """` by <program or container>`; empty if the system does not report it."""

    def __str__(self) -> str:
        return f"{self.address}:{self.port} is taken{self.holder}"


def check_free_ports(shell: Shell, cluster: Cluster, addresses: Iterable[str], there: bool = False) -> None:
    """For a cluster that will be created, or that exists (`there`) and will be started.

    Exit names each port that is in use, and what uses it if the system reports that.
    """
    taken = taken_ports(shell, cluster, addresses)
    if taken:
        lines = "\n".join(f"  {port}" for port in taken)
        what, otherwise = (("started", "then run the task again.") if there else
                           ("created", "or change K3D_PORT_START or another K3D_PORT_ key in .env."))
        raise Exit(f"{cluster.name} cannot be {what}:\n{lines}\nStop what uses the port, {otherwise}")


def taken_ports(shell: Shell, cluster: Cluster, addresses: Iterable[str]) -> list[TakenPort]:
    """The ports of this cluster that something else uses on one of these addresses."""
    return [TakenPort(address, port, holder(shell, port))
            for port in (cluster.http_port, cluster.https_port)
            for address in addresses
            if not address.startswith("<") and is_taken(address, port)]


def is_taken(address: str, port: int) -> bool:
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind((address, port))
        except OSError as error:
            # The engine may bind a port below 1024 even if this user may not.
            return error.errno == errno.EADDRINUSE
    with socket.socket() as client:  # macOS lets a second server bind a narrower address than the first
        client.settimeout(1)
        return client.connect_ex(("127.0.0.1" if address == "0.0.0.0" else address, port)) == 0


def holder(shell: Shell, port: int) -> str:
    """` by <program>`, if docker, lsof or ss reports it; otherwise empty."""
    containers = shell.look("docker", "ps", "--filter", f"publish={port}", "--format", "{{.Names}}").stdout.split()
    if containers:
        return f" by the container {', '.join(containers)}"
    listening = shell.look("lsof", "-nP", f"-iTCP:{port}", "-sTCP:LISTEN", "-Fpc").stdout.splitlines()
    if len(listening) >= 2:
        return f" by {listening[1][1:]}, process {listening[0][1:]}"
    sockets = shell.look("ss", "-Hltnp", f"sport = :{port}").stdout
    return f" by {sockets.split('users:')[1].split()[0]}" if "users:" in sockets else ""
