"""The company's proxy, for the nodes of a new cluster: they pull images, and do not see this machine's environment."""

from __future__ import annotations

import os

from invoke import Exit

from tasks.core.settings import Settings
from tasks.core.shell import Shell
from tasks.engine import k3s_arguments, network

# Without the load balancer, which asks nobody outside.
NODES = "server:*;agent:*"

# What is in every cluster, besides its networks for pods and Services.
INSIDE = ("localhost", "127.0.0.0/8", ".svc", ".cluster.local")


def k3d_arguments(shell: Shell, settings: Settings, flags: k3s_arguments.Flags) -> list[str]:
    """The words for `k3d cluster create`; none where no proxy is set. `flags` are those of its k3s."""
    return [word for variable in proxy_variables(shell, settings, flags)
            for word in ("-e", for_nodes(*variable.split("=", 1)))]


def proxy_variables(shell: Shell, settings: Settings, flags: k3s_arguments.Flags) -> list[str]:
    """What a node is to have about a proxy, as KEY=value, from the environment and .env."""
    environment = {**settings.environment, **os.environ}

    def chosen(key: str) -> str:
        return environment.get(key) or environment.get(key.swapcase(), "")

    proxies = {key: chosen(key) for key in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy") if chosen(key)}
    if not proxies:
        return []
    # With the nodes' own addresses, or `kubectl logs` and `exec` would go to the proxy:
    # https://docs.k3s.io/advanced#configuring-an-http-proxy, https://github.com/k3s-io/k3s/issues/6705
    nodes = network.subnets(shell, settings)
    if shell.dry and not nodes:  # a run would have made the network by now
        nodes = [f"<subnet of {settings.k3d_network}>"]
    ours = [*INSIDE, *k3s_arguments.networks(flags), *nodes, *(f".{domain}" for domain in settings.owned_domains)]
    for key in ("NO_PROXY", "no_proxy"):
        proxies[key] = ",".join(dict.fromkeys([*chosen(key).replace(",", " ").split(), *ours]))
    return [f"{key}={value}" for key, value in proxies.items()]


def for_nodes(key: str, value: str) -> str:
    r"""A variable and the nodes that get it, as k3d splits them: at an `@` that has no `\` before it, or two for one.

    https://github.com/k3d-io/k3d/blob/v5.8.3/cmd/util/filter.go

    :raises Exit: for `\@`, which k3d cannot be told.
    """
    if "\\@" in value:
        raise Exit(rf"{key} holds \@, which k3d cannot give to a node. Write %5C for the \ of a user or a password.")
    end = "\\" if value.endswith("\\") else ""
    return f"{key}={value}".replace("@", r"\@") + f"{end}@{NODES}"
