"""The company's proxy, for the nodes of a new cluster: they pull images, but do not have this machine's environment."""

from __future__ import annotations

import os

from invoke import Exit

from tasks.core.settings import Settings
from tasks.core.shell import Shell
from tasks.engine import k3s_arguments, network

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY")

# Not the load balancer, which makes no outgoing requests.
NODES = "server:*;agent:*"

# Reached without the proxy, besides the networks.
INSIDE = ("localhost", "127.0.0.0/8", ".svc", ".cluster.local")


def k3d_arguments(shell: Shell, settings: Settings, flags: k3s_arguments.Flags) -> list[str]:
    """The arguments for `k3d cluster create`; none if no proxy is set. `flags` are those of its k3s."""
    return [word for variable in proxy_variables(shell, settings, flags)
            for word in ("-e", for_nodes(*variable.split("=", 1)))]


def proxy_variables(shell: Shell, settings: Settings, flags: k3s_arguments.Flags) -> list[str]:
    """The proxy variables of a node, as KEY=value, from the environment and .env."""
    variables = chosen_proxies(settings)
    if not variables:
        return []
    # Including the nodes' addresses, or `kubectl logs` and `exec` would use the proxy:
    # https://docs.k3s.io/advanced#configuring-an-http-proxy, https://github.com/k3s-io/k3s/issues/6705
    nodes = network.list_subnets(shell, settings)
    if shell.dry and not nodes:  # a real run would have created the network by now
        nodes = [f"<subnet of {settings.k3d_network}>"]
    exceptions = [*INSIDE, *k3s_arguments.networks(flags), *nodes, *(f".{domain}" for domain in settings.owned_domains)]
    for key in ("NO_PROXY", "no_proxy"):
        variables[key] = ",".join(dict.fromkeys([*chosen(settings, key).replace(",", " ").split(), *exceptions]))
    return [f"{key}={value}" for key, value in variables.items()]


def chosen_proxies(settings: Settings) -> dict[str, str]:
    """Programs read either spelling, so a variable that is set in one of them is set in both."""
    return {key: chosen(settings, key) for upper in PROXIES for key in (upper, upper.lower()) if chosen(settings, key)}


def chosen(settings: Settings, key: str) -> str:
    environment = {**settings.environment, **os.environ}
    return environment.get(key) or environment.get(key.swapcase(), "")


def for_nodes(key: str, value: str) -> str:
    r"""A variable and the nodes that it is for, as k3d splits them: at an `@` that has no `\` before it, or has two.

    https://github.com/k3d-io/k3d/blob/v5.8.3/cmd/util/filter.go

    :raises Exit: for `\@`, which cannot be escaped for k3d.
    """
    if "\\@" in value:
        raise Exit(rf"{key} contains \@, which k3d cannot pass to a node. Write \ in a user name or password as %5C.")
    end = "\\" if value.endswith("\\") else ""
    return f"{key}={value}".replace("@", r"\@") + f"{end}@{NODES}"
