"""The company's proxy, for the nodes of a new cluster: they pull images, but do not have this machine's environment."""

from __future__ import annotations

import os
import re

from tasks.core.settings import Settings
from tasks.core.shell import Shell
from tasks.engine import network

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY")

PROXY_VARIABLE = re.compile(r"(https?|no)_proxy=", re.IGNORECASE)

# Reached without the proxy, besides the networks.
INSIDE = ("localhost", "127.0.0.0/8", ".svc", ".cluster.local")


def proxy_variables(shell: Shell, settings: Settings, inner_networks: list[str]) -> list[str]:
    """The proxy variables of a node, as KEY=value, from the environment and .env; none if no proxy is set.

    `inner_networks` are those of the cluster's pods and Services.
    """
    variables = chosen_proxies(settings)
    if not variables:
        return []
    # Including the nodes' addresses, or `kubectl logs` and `exec` would use the proxy:
    # https://docs.k3s.io/advanced#configuring-an-http-proxy, https://github.com/k3s-io/k3s/issues/6705
    nodes = network.list_subnets(shell, settings)
    if shell.dry and not nodes:  # a real run would have created the network by now
        nodes = [f"<subnet of {settings.k3d_network}>"]
    exceptions = [*INSIDE, *inner_networks, *nodes, *(f".{domain}" for domain in settings.owned_domains)]
    for key in ("NO_PROXY", "no_proxy"):
        variables[key] = ",".join(dict.fromkeys([*chosen(settings, key).replace(",", " ").split(), *exceptions]))
    return [f"{key}={value}" for key, value in variables.items()]


def chosen_proxies(settings: Settings) -> dict[str, str]:
    """Programs read either spelling, so a variable that is set in one of them is set in both."""
    return {key: chosen(settings, key) for upper in PROXIES for key in (upper, upper.lower()) if chosen(settings, key)}


def chosen(settings: Settings, key: str) -> str:
    environment = {**settings.environment, **os.environ}
    return environment.get(key) or environment.get(key.swapcase(), "")


def only_proxies(environment: list[str]) -> list[str]:
    """The proxy variables among those of a node."""
    return [entry for entry in environment if PROXY_VARIABLE.match(entry)]


def differs(found: list[str], wanted: list[str]) -> bool:
    """Whether a node has another proxy, or lacks an exception. It may have more exceptions, which its provider adds."""
    has, needs = ({key: set(value.split(",")) for key, _, value in (entry.partition("=") for entry in entries)}
                  for entries in (found, wanted))
    return has.keys() != needs.keys() or any(
        not value <= has[key] if key.upper() == "NO_PROXY" else value != has[key] for key, value in needs.items())
