"""The Docker network that all clusters share, and this machine's address in it.

Pods of one cluster reach another cluster through this machine's published ports. If the engine runs on this machine
(Linux), its address is the network's gateway. If the engine runs in a virtual machine, the engine's DNS has a name for
this machine.
"""

from __future__ import annotations

import ipaddress
import re
import socket

from tasks.core.by_number import THIS_MACHINE
from tasks.core.operating_system import is_macos
from tasks.core.settings import Cluster, Settings
from tasks.core.shell import Shell
from tasks.core.well_known import MANAGER

# Docker Desktop and OrbStack, podman, Colima and Lima.
HOST_NAMES = ("host.docker.internal", "host.containers.internal", "host.lima.internal")


def ensure(shell: Shell, settings: Settings, known_subnet: str, containers: list[str]) -> None:
    """Create the network if it is missing, and connect the containers that are not on it.

    `known_subnet` and `containers` belong to clusters that were created on it. Their ports are published on its
    gateway, so a network that was removed is created again with the same subnet.
    """
    with shell.step("", f"network {settings.k3d_network}") as this:
        this.outcome = "already there"
        if not find_gateway(shell, settings):
            subnet = settings.k3d_network_subnet or known_subnet
            shell.change(
                "docker", "network", "create", "--label", f"app.kubernetes.io/managed-by={MANAGER}",
                *subnet_options(subnet), settings.k3d_network,
                hint="Another network may use this subnet (docker network ls). To choose one, set "
                     "K3D_NETWORK_SUBNET in .env.",
            )
            this.outcome = "created again with the same subnet" if containers else "created"
        connected = connect(shell, settings, containers)
        if connected:
            this.outcome += f"; connected {', '.join(connected)}"


def subnet_options(subnet: str) -> tuple[str, ...]:
    """For `docker network create`. The gateway is needed, and Docker reports it only if it was specified."""
    try:
        return ("--subnet", subnet, "--gateway", str(next(ipaddress.IPv4Network(subnet).hosts())))
    except ValueError:  # no subnet is known, or no IPv4 subnet
        return ()


def remove(shell: Shell, settings: Settings) -> None:
    """Remove the network if these tasks created it and nothing is connected to it."""
    result = shell.look("docker", "network", "inspect", settings.k3d_network, "--format",
                        '{{index .Labels "app.kubernetes.io/managed-by"}} {{len .Containers}}')
    manager, _, containers = result.stdout.strip().partition(" ")
    unused = shell.dry or containers == "0"  # a dry run has not deleted the clusters that are on it
    if result.ok and manager == MANAGER and unused:
        with shell.step("", f"network {settings.k3d_network}") as this:
            shell.change("docker", "network", "rm", settings.k3d_network)
            this.outcome = "removed with the last cluster"


def is_managed(shell: Shell, settings: Settings) -> bool:
    """Whether the network exists and was created by these tasks."""
    label = '{{index .Labels "app.kubernetes.io/managed-by"}}'
    result = shell.look("docker", "network", "inspect", settings.k3d_network, "--format", label)
    return bool(result.ok) and result.stdout.strip() == MANAGER


def find_gateway(shell: Shell, settings: Settings) -> str:
    """The network's IPv4 gateway address; empty if the network does not exist."""
    result = shell.look("docker", "network", "inspect", settings.k3d_network, "--format",
                        "{{range .IPAM.Config}}{{.Gateway}} {{end}}")
    return next((word for word in result.stdout.split() if re.fullmatch(r"[0-9.]+", word)), "") if result.ok else ""


def find_id(shell: Shell, settings: Settings) -> str:
    """Another one when the network is created again; empty if it does not exist."""
    result = shell.look("docker", "network", "inspect", settings.k3d_network, "--format", "{{.Id}}")
    return result.stdout.strip()


def gateway_to_publish_on(shell: Shell, settings: Settings) -> str:
    """The gateway address if it belongs to this machine, so that ports can be published on it; otherwise empty.

    A socket can be bound to it if, and only if, the engine runs on this machine, whatever the engine is called.
    """
    address = find_gateway(shell, settings)
    if not address:  # a real run would have created the network by now
        return f"<gateway of {settings.k3d_network}>" if shell.dry and not is_macos(shell) else ""
    with socket.socket() as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return ""
    return address


def publish_addresses(shell: Shell, settings: Settings, address: str) -> list[str]:
    """Where ports are published: at the address that names resolve to, and where pods of other clusters need them."""
    if settings.k3d_bind_address == "0.0.0.0":
        return ["0.0.0.0"]
    addresses = [address, gateway_to_publish_on(shell, settings), settings.k3d_bind_address]
    return list(dict.fromkeys(address for address in addresses if address))


def host_address(shell: Shell, cluster: Cluster) -> tuple[str, bool]:
    """This machine's address as pods see it, and whether a container on the network can connect to it.

    The container connects to the cluster's published HTTP port.
    """
    return host_address_for(shell, cluster.settings, cluster.http_port, cluster.address)


def host_address_for(shell: Shell, settings: Settings, port: int, address: str) -> tuple[str, bool]:
    """The same for any HTTP port at the address of a cluster.

    An engine on another machine has that address, and no name for the machine that it runs on.
    """
    gateway = gateway_to_publish_on(shell, settings)
    if shell.dry:  # the container's image might have to be pulled
        return gateway or f"<this machine in {settings.k3d_network}>", True
    others = HOST_NAMES if address == THIS_MACHINE else (address,)
    for name in (gateway,) if gateway else others:
        reached = address_reached(shell, settings, settings.k3d_network, f"{name}:{port}")
        if reached:
            return reached, True
    return gateway, False


def address_reached(shell: Shell, settings: Settings, network: str, target: str) -> str:
    """The address that a container on this network connects to for `host:port`; empty if it cannot connect.

    The network `container:<name>` is that of another container.
    """
    result = shell.look(
        "docker", "run", "--rm", "--network", network, "--entrypoint", "curl", settings.image_curl,
        "--ipv4", "--silent", "--noproxy", "*", "--output", "/dev/null", "--max-time", "5",
        "--write-out", "%{remote_ip}", f"http://{target}/", seconds=180,
    )
    try:
        return str(ipaddress.IPv4Address(result.stdout.strip()))
    except ValueError:
        return ""


def connect(shell: Shell, settings: Settings, containers: list[str]) -> list[str]:
    """Connect the containers that are not on the shared network, and return their names.

    A container refers to a network by its ID: it cannot start if the network was removed and created again. One that
    another run has created and not started yet has no ID, and gets it when it starts.
    """
    name = settings.k3d_network
    if not containers:
        return []
    network_id = find_id(shell, settings)
    listed = shell.look(
        "docker", "inspect", "--format", "{{.Name}} {{.State.Status}}"
        "{{range $name, $on := .NetworkSettings.Networks}} {{$name}}={{$on.NetworkID}}{{end}}", *containers,
    ).stdout.splitlines()
    connected = []
    for container, state, *entries in map(str.split, filter(None, listed)):
        container, network_ids = container.removeprefix("/"), dict(entry.split("=", 1) for entry in entries)
        starts_later = state == "created" and name in network_ids
        if starts_later or (network_id and network_ids.get(name) == network_id):
            continue
        if name in network_ids:
            shell.change("docker", "network", "disconnect", "--force", name, container)
        shell.change("docker", "network", "connect", name, container)
        connected.append(container)
    return connected


FIREWALL_COMMANDS = {
    "ufw": "sudo ufw allow in from {subnet}",
    "firewalld": "sudo firewall-cmd --permanent --zone=trusted --add-source={subnet} && sudo firewall-cmd --reload",
}
"""How to let containers of a subnet connect to this machine."""

FIREWALL_HINT = """\
a container cannot reach this machine, so pods will not reach other clusters. If a firewall blocks it:
{commands}
    With a rootless engine this is not possible: use a single cluster, or a rootful engine."""


def firewall_hint(shell: Shell, settings: Settings) -> str:
    subnet = (list_subnets(shell, settings) or ["<subnet of the network>"])[0]
    width = max(map(len, FIREWALL_COMMANDS))
    return FIREWALL_HINT.format(commands="\n".join(
        f"      {firewall + ':':{width + 1}} {command.format(subnet=subnet)}"
        for firewall, command in FIREWALL_COMMANDS.items()))


def list_subnets(shell: Shell, settings: Settings) -> list[str]:
    """The subnets of the network; none if it does not exist."""
    result = shell.look("docker", "network", "inspect", settings.k3d_network, "--format",
                        "{{range .IPAM.Config}}{{.Subnet}} {{end}}")
    return result.stdout.split() if result.ok else []
