"""How this machine resolves the clusters' names. One module for each way."""

from __future__ import annotations

import socket

from tasks.settings import Cluster
from tasks.shell import Shell, is_macos, require


def resolves(name: str) -> bool:
    """Whether the system's own resolver leads this name to this machine, and nowhere else."""
    try:
        found = socket.getaddrinfo(name, None, socket.AF_INET)
    except OSError:
        return False
    return {entry[4][0] for entry in found} == {"127.0.0.1"}


def command(shell: Shell, name: str) -> str:
    """What to type so that this machine resolves the name."""
    return "inv dnsmasq-brew" if is_macos(shell) else f'echo "127.0.0.1 {name}" | sudo tee -a /etc/hosts'


def ensure(shell: Shell, cluster: Cluster, name: str) -> None:
    """Let this machine resolve the clusters' names, or say how that is done by hand."""
    from tasks.dns import brew_dnsmasq

    if is_macos(shell):
        require(shell, "brew")
        brew_dnsmasq.install(shell)
        brew_dnsmasq.configure(shell, cluster.settings)
        return
    with shell.step("", "names on this machine") as this:
        if resolves(name):
            return this.skip("already resolved")
        this.warn(f"not yet. For this one name, type:\n    {command(shell, name)}\n"
                  f"    For all names: a resolver on 127.0.0.1, for {', '.join(cluster.settings.owned_domains)} only")
