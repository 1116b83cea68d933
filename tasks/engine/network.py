"""The Docker network that all clusters share, and this host's address as their pods see it.

Pods of one cluster reach another through the host's published ports. Where the engine runs on this machine (Linux),
the host is the network's gateway address. Where it runs in a virtual machine, the engine's DNS has a name for the host.
"""

from __future__ import annotations

import ipaddress
import re
import socket

from tasks.core.operating_system import is_macos
from tasks.core.settings import Cluster, Settings
from tasks.core.shell import Shell
from tasks.core.well_known import MANAGER

# Docker Desktop and OrbStack, podman, Colima and Lima.
HOST_NAMES = ("host.docker.internal", "host.containers.internal", "host.lima.internal")


def ensure(shell: Shell, settings: Settings, known_subnet: str, containers: list[str]) -> None:
    """Make the network where it is missing, and connect those containers that are not on it.

    `known_subnet` and `containers` are those of clusters that were made on it: their published ports name its gateway,
    so a network that was lost is made again with that subnet.
    """
    with shell.step("", f"network {settings.k3d_network}") as this:
        this.outcome = "already there"
        if not gateway(shell, settings):
            subnet = settings.k3d_network_subnet or known_subnet
            shell.change(
                "docker", "network", "create", "--label", f"app.kubernetes.io/managed-by={MANAGER}",
                *subnet_words(subnet), settings.k3d_network,
                hint="Is the subnet another network's (docker network ls)? K3D_NETWORK_SUBNET in .env chooses one.",
            )
            this.outcome = "created again, as it was" if containers else "created"
        connected = connect(shell, settings, containers)
        if connected:
            this.outcome += f"; connected to it: {', '.join(connected)}"


def subnet_words(subnet: str) -> tuple[str, ...]:
    """k3d asks for the gateway, which Docker does not tell of a subnet unless it was given too."""
    try:
        return ("--subnet", subnet, "--gateway", str(next(ipaddress.IPv4Network(subnet).hosts())))
    except ValueError:  # none was chosen, or k3d's label names none of IPv4
        return ()


def remove(shell: Shell, settings: Settings) -> None:
    """Remove the network if it is ours and nothing is connected to it."""
    found = shell.look("docker", "network", "inspect", settings.k3d_network, "--format",
                       '{{index .Labels "app.kubernetes.io/managed-by"}} {{len .Containers}}')
    connected = MANAGER if shell.dry else f"{MANAGER} 0"  # a dry run has deleted no cluster from it
    if found.ok and found.stdout.strip().startswith(connected):
        with shell.step("", f"network {settings.k3d_network}") as this:
            shell.change("docker", "network", "rm", settings.k3d_network)
            this.outcome = "removed, no cluster is left"


def is_ours(shell: Shell, settings: Settings) -> bool:
    """Whether it is there, and was made by these tasks."""
    label = '{{index .Labels "app.kubernetes.io/managed-by"}}'
    found = shell.look("docker", "network", "inspect", settings.k3d_network, "--format", label)
    return bool(found.ok) and found.stdout.strip() == MANAGER


def gateway(shell: Shell, settings: Settings) -> str:
    """The network's IPv4 gateway address; empty when there is no such network."""
    found = shell.look("docker", "network", "inspect", settings.k3d_network, "--format",
                       "{{range .IPAM.Config}}{{.Gateway}} {{end}}")
    return next((word for word in found.stdout.split() if re.fullmatch(r"[0-9.]+", word)), "") if found.ok else ""


def gateway_to_publish_on(shell: Shell, settings: Settings) -> str:
    """The gateway address when this machine owns it, so that ports can be published there; else empty.

    Binding a socket tells: it works where the engine runs on this machine, whatever the engine is called.
    """
    address = gateway(shell, settings)
    if not address:  # a run would have made the network by now
        return f"<gateway of {settings.k3d_network}>" if shell.dry and not is_macos(shell) else ""
    with socket.socket() as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return ""
    return address


def publish_addresses(shell: Shell, settings: Settings) -> list[str]:
    """The addresses of this machine on which a cluster's ports are published."""
    if settings.k3d_bind_address == "0.0.0.0":
        return ["0.0.0.0"]
    addresses = ["127.0.0.1", gateway_to_publish_on(shell, settings), settings.k3d_bind_address]
    return list(dict.fromkeys(address for address in addresses if address))


def host_address(shell: Shell, cluster: Cluster) -> tuple[str, bool]:
    """This host's address as pods see it, and whether a container on the network could connect to it.

    The connection is made to the cluster's own published HTTP port.
    """
    settings = cluster.settings
    own = gateway_to_publish_on(shell, settings)
    if shell.dry:  # asking may pull an image
        return own or f"<this host in {settings.k3d_network}>", True
    for name in (own,) if own else HOST_NAMES:
        address = address_reached(shell, settings, settings.k3d_network, f"{name}:{cluster.http_port}")
        if address:
            return address, True
    return own, False


def address_reached(shell: Shell, settings: Settings, network: str, target: str) -> str:
    """The address that a container on this network connects to for `host:port`; empty where it cannot.

    `container:<name>` for a network is the view of that container.
    """
    tried = shell.look(
        "docker", "run", "--rm", "--network", network, "--entrypoint", "curl", settings.image_curl,
        "--ipv4", "--silent", "--noproxy", "*", "--output", "/dev/null", "--max-time", "5",
        "--write-out", "%{remote_ip}", f"http://{target}/", seconds=180,
    )
    try:
        return str(ipaddress.IPv4Address(tried.stdout.strip()))
    except ValueError:
        return ""


def connect(shell: Shell, settings: Settings, containers: list[str]) -> list[str]:
    """Connect those containers to the shared network that are not on it, and return their names.

    A container knows a network by its ID: with one that was lost, and made again, it would not start.
    """
    name = settings.k3d_network
    if not containers:
        return []
    id = shell.look("docker", "network", "inspect", name, "--format", "{{.Id}}").stdout.strip()
    listed = shell.look("docker", "inspect", "--format", "{{.Name}}{{range $name, $on := .NetworkSettings.Networks}} "
                        "{{$name}}={{$on.NetworkID}}{{end}}", *containers).stdout.splitlines()
    connected = []
    for container, *on in map(str.split, filter(None, listed)):
        networks = dict(entry.split("=", 1) for entry in on)
        if id and networks.get(name) == id:
            continue
        connected.append(container.removeprefix("/"))
        if name in networks:
            shell.change("docker", "network", "disconnect", "--force", name, connected[-1])
        shell.change("docker", "network", "connect", name, connected[-1])
    return connected


FIREWALL_HINT = """\
a container cannot reach this host, so pods will not reach other clusters. A firewall?
      ufw:       sudo ufw allow in from {subnet}
      firewalld: sudo firewall-cmd --permanent --zone=trusted --add-source={subnet} && sudo firewall-cmd --reload
    A rootless engine has no such way: use one cluster, or a rootful engine."""


def firewall_hint(shell: Shell, settings: Settings) -> str:
    return FIREWALL_HINT.format(subnet=(subnets(shell, settings) or ["<subnet of the network>"])[0])


def subnets(shell: Shell, settings: Settings) -> list[str]:
    """Those of the network; none when there is no such network."""
    found = shell.look("docker", "network", "inspect", settings.k3d_network, "--format",
                       "{{range .IPAM.Config}}{{.Subnet}} {{end}}")
    return list(found.stdout.split()) if found.ok else []
