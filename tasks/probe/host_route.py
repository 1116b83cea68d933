"""This machine's address as the pods of a cluster see it."""

from __future__ import annotations

import ipaddress

from tasks import providers
from tasks.core.settings import Cluster
from tasks.core.shell import Shell
from tasks.engine import network
from tasks.engine.clusters import own_clusters

# Names that products give to this machine in their clusters:
# https://docs.docker.com/desktop/features/networking/, https://minikube.sigs.k8s.io/docs/handbook/host-access/,
# https://docs.rancherdesktop.io/, https://lima-vm.io/docs/config/network/, https://docs.orbstack.dev/machines/network
HOST_NAMES = (*network.HOST_NAMES, "host.minikube.internal", "host.rancher-desktop.internal", "host.orb.internal")

# The first of its arguments at which an HTTP server answers, as its address.
FIRST_REACHED = """\
for target; do
    curl --ipv4 --silent --noproxy '*' --connect-timeout 2 --max-time 5 --output /dev/null \
        --write-out '%{remote_ip}\\n' "http://$target/" && exit
done"""


def find(shell: Shell, cluster: Cluster) -> tuple[str, bool]:
    """The address, and whether a cluster's HTTP port was reached there."""
    if providers.of(cluster).MANAGES_LIFE:
        return network.host_address(shell, cluster)
    if shell.dry:  # a pod would be created
        return f"<this machine as pods of {cluster.context} see it>", True
    address = find_from_pod(shell, cluster)
    return address, bool(address)


def candidates(shell: Shell, cluster: Cluster) -> list[str]:
    """The addresses and names of this machine that its pods may know."""
    if cluster.is_elsewhere:  # there, the other names are those of that machine
        names: tuple[str, ...] = (cluster.settings.k3d_bind_address,)
    else:
        names = (cluster.settings.k3d_bind_address, network.gateway_to_publish_on(shell, cluster.settings), *HOST_NAMES)
    return [name for name in names if name and name != "0.0.0.0"]


def find_from_pod(shell: Shell, cluster: Cluster) -> str:
    """Try them from a pod that is deleted afterwards; empty if none is reached.

    At each, the ports of all running clusters: this one's may be published on 127.0.0.1 alone.
    """
    existing = providers.list_clusters(shell, cluster.settings)
    running = [other for other in own_clusters(cluster.settings, existing) if existing[other.name].running]
    targets = [f"{name}:{port}" for name in candidates(shell, cluster)
               for port in dict.fromkeys(one.http_port for one in (cluster, *running) if not one.is_elsewhere)]
    if not targets:
        return ""
    name = f"dev-cluster-tasks-host-{cluster.number}"
    result = shell.look(*cluster.kubectl, "-n", "default", "run", name, f"--image={cluster.settings.image_curl}",
                        "--restart=Never", "--rm", "--attach", "--quiet", "--command", "--",
                        "sh", "-c", FIRST_REACHED, "sh", *targets, seconds=180)
    for line in result.stdout.splitlines():
        try:
            return str(ipaddress.IPv4Address(line.strip()))
        except ValueError:
            continue
    return ""
