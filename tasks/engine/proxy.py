"""The company's proxy, for the nodes of a new cluster: they pull images, but do not have this machine's environment."""

from __future__ import annotations

import os

from invoke import Exit

from tasks.core.settings import Settings
from tasks.core.shell import Shell
from tasks.core.well_known import CLUSTER_NETWORKS
from tasks.engine import network

# Not the load balancer, which makes no outgoing requests.
NODES = "server:*;agent:*"

# Reached without the proxy.
INSIDE = ("localhost", "127.0.0.0/8", ".svc", ".cluster.local", *CLUSTER_NETWORKS)


def k3d_arguments(shell: Shell, settings: Settings) -> list[str]:
    """The arguments for `k3d cluster create`; none if no proxy is set."""
    return [word for variable in proxy_variables(shell, settings)
            for word in ("-e", for_nodes(*variable.split("=", 1)))]


def proxy_variables(shell: Shell, settings: Settings) -> list[str]:
    """The proxy variables of a node, as KEY=value, from the environment and .env.

    Programs read either spelling, so a variable that is set in one of them is set in both.
    """
    environment = {**settings.environment, **os.environ}

    def read(key: str) -> str:
        other_spelling = key.lower() if key.isupper() else key.upper()
        return environment.get(key) or environment.get(other_spelling, "")

    variables = {key: read(key) for key in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy") if read(key)}
    if not variables:
        return []
    # Including the nodes' addresses, or `kubectl logs` and `exec` would use the proxy:
    # https://docs.k3s.io/advanced#configuring-an-http-proxy, https://github.com/k3s-io/k3s/issues/6705
    nodes = network.list_subnets(shell, settings)
    if shell.dry and not nodes:  # a real run would have created the network by now
        nodes = [f"<subnet of {settings.k3d_network}>"]
    exceptions = [*INSIDE, *nodes, *(f".{domain}" for domain in settings.owned_domains)]
    for key in ("NO_PROXY", "no_proxy"):
        variables[key] = ",".join(dict.fromkeys([*read(key).replace(",", " ").split(), *exceptions]))
    return [f"{key}={value}" for key, value in variables.items()]


def for_nodes(key: str, value: str) -> str:
    r"""A variable and the nodes that it is for, as k3d splits them: at an `@` that has no `\` before it, or has two.

    https://github.com/k3d-io/k3d/blob/v5.8.3/cmd/util/filter.go

    :raises Exit: for `\@`, which cannot be escaped for k3d.
    """
    if "\\@" in value:
        raise Exit(rf"{key} contains \@, which k3d cannot pass to a node. Write \ in a user name or password as %5C.")
    end = "\\" if value.endswith("\\") else ""
    return f"{key}={value}".replace("@", r"\@") + f"{end}@{NODES}"
