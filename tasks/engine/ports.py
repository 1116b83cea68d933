"""The ports of this machine: which are taken, and by what."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable

from invoke import Exit

from tasks.core.settings import Cluster
from tasks.core.shell import Shell


def check_free_ports(shell: Shell, cluster: Cluster, addresses: Iterable[str], there: bool = False) -> None:
    """For a cluster that is to be created, or is `there` and to be started.

    Exit names each port that something else holds, and what that is where the system tells."""
    taken = [
        f"{address}:{port} is taken{holder(shell, port)}"
        for port in (cluster.http_port, cluster.https_port)
        for address in addresses
        if not address.startswith("<") and is_taken(address, port)
    ]
    if taken:
        lines = "\n".join(f"  {line}" for line in taken)
        what, otherwise = (("started", "then run the task again.") if there else
                           ("created", "or change K3D_PORT_START or another K3D_PORT_ key in .env."))
        raise Exit(f"{cluster.name} cannot be {what}:\n{lines}\nStop what holds the port, {otherwise}")


def is_taken(address: str, port: int) -> bool:
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind((address, port))
        except OSError as error:
            # A port below 1024 may be the engine's to bind though it is not ours.
            return error.errno == errno.EADDRINUSE
    with socket.socket() as client:  # macOS lets a second server bind a narrower address than the first has
        client.settimeout(1)
        return client.connect_ex(("127.0.0.1" if address == "0.0.0.0" else address, port)) == 0


def holder(shell: Shell, port: int) -> str:
    """` by <program>`, as far as docker, lsof or ss tell; else empty."""
    containers = shell.look("docker", "ps", "--filter", f"publish={port}", "--format", "{{.Names}}").stdout.split()
    if containers:
        return f" by the container {', '.join(containers)}"
    listening = shell.look("lsof", "-nP", f"-iTCP:{port}", "-sTCP:LISTEN", "-Fpc").stdout.splitlines()
    if len(listening) >= 2:
        return f" by {listening[1][1:]}, process {listening[0][1:]}"
    sockets = shell.look("ss", "-Hltnp", f"sport = :{port}").stdout
    return f" by {sockets.split('users:')[1].split()[0]}" if "users:" in sockets else ""
