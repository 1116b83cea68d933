"""The company's proxy, for the nodes of a new cluster: they pull images, and do not see this machine's environment."""

from __future__ import annotations

import ipaddress
import os
import re
import socket

from invoke import Exit

from tasks.core import system_files
from tasks.core.problems import Problem, ProblemExit, Reason, problem
from tasks.core.settings import Settings
from tasks.core.shell import Shell
from tasks.engine import k3s_arguments, network

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY")

# Without the load balancer, which asks nobody outside.
NODES = "server:*;agent:*"

# What is in every cluster, besides its networks for pods and Services.
INSIDE = ("localhost", "127.0.0.0/8", ".svc", ".cluster.local")


class ProxyReason(Reason):
    LOOPBACK = "{keys}: {address} in a node is the node itself, so it would reach no proxy and pull no image."


def require_reachable(shell: Shell, settings: Settings) -> None:
    """Exit when a proxy is named by an address of this machine that means another machine to a node."""
    addresses: dict[str, list[str]] = {}
    for key, value in chosen_proxies(settings).items():
        if is_loopback(split_address(value)[1]):
            addresses.setdefault(without_user(value), []).append(key)
    for address, keys in addresses.items():
        raise ProblemExit(problem(ProxyReason.LOOPBACK, keys=", ".join(keys), address=address),
                          f"{how_to_reach(shell, settings, address)}\n"
                          "To create the cluster without a proxy: HTTP_PROXY= HTTPS_PROXY= inv ...")


def how_to_reach(shell: Shell, settings: Settings, address: str) -> str:
    """What to write instead, where the proxy of this machine can be reached from the clusters' network."""
    scheme, _, port = split_address(address)
    own = network.gateway_to_publish_on(shell, settings)
    if own:
        if is_listening(own, port):
            return f"It listens on this machine's address in the clusters' network too: use {scheme}://{own}:{port}"
        return (f"Nothing listens on {own}:{port}, this machine's address in the clusters' network. Have the proxy "
                f"listen there too, and use {scheme}://{own}:{port}")
    for name in () if shell.dry else network.HOST_NAMES:
        if network.address_reached(shell, settings, settings.k3d_network, f"{name}:{port}"):
            return f"Containers reach this machine by another name: use {scheme}://{name}:{port}"
    return "Name the proxy by an address that containers reach."


def find_loopback(variables: list[str]) -> Problem | None:
    """The same for the variables that nodes have, as KEY=value."""
    for key, value in (variable.split("=", 1) for variable in variables):
        if key.upper() in PROXIES and is_loopback(split_address(value)[1]):
            return problem(ProxyReason.LOOPBACK, keys=key, address=without_user(value))
    return None


def split_address(value: str) -> tuple[str, str, int]:
    """Scheme, host and port of a proxy; user and password are left out, and may hold any character."""
    scheme, separator, rest = value.strip().rpartition("@")[2].partition("://")
    if not separator:
        rest, scheme = scheme, value.strip().partition("://")[0] if "://" in value else "http"
    rest = rest.partition("/")[0]
    found = re.fullmatch(r"\[(.*?)\](?::(\d+))?|([^:]*)(?::(\d+))?", rest)
    host, port = (found[1] or found[3] or "", found[2] or found[4]) if found else (rest, "")
    return scheme, host, int(port or (443 if scheme == "https" else 80))


def without_user(value: str) -> str:
    scheme, host, port = split_address(value)
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def is_loopback(host: str) -> bool:
    """Whether it is this machine wherever it is asked: by name, or in one of the ways to write an address."""
    name = host.lower().rstrip(".").partition("%")[0]
    if name in ("localhost", *own_names()) or name.endswith((".localhost", "localhost.localdomain")):
        return True
    try:
        address = ipaddress.ip_address(socket.inet_aton(name) if ":" not in name else name)
    except (OSError, ValueError):
        return False
    mapped = getattr(address, "ipv4_mapped", None) or address
    return bool(mapped.is_loopback or mapped.is_unspecified)


def own_names() -> set[str]:
    """Those that /etc/hosts gives to this machine's loopback, on Debian the machine's own name."""
    try:
        lines = (system_files.ROOT / "etc/hosts").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return set()
    entries = [line.partition("#")[0].lower().split() for line in lines]
    return {name for entry in entries if entry and entry[0].startswith(("127.", "::1")) for name in entry[1:]}


def is_listening(address: str, port: int) -> bool:
    if address.startswith("<"):  # a dry run has made no network
        return False
    try:
        socket.create_connection((address, port), 2).close()
    except (OSError, OverflowError):
        return False
    return True


def k3d_arguments(shell: Shell, settings: Settings, flags: k3s_arguments.Flags) -> list[str]:
    """The words for `k3d cluster create`; none where no proxy is set. `flags` are those of its k3s."""
    return [word for variable in proxy_variables(shell, settings, flags)
            for word in ("-e", for_nodes(*variable.split("=", 1)))]


def proxy_variables(shell: Shell, settings: Settings, flags: k3s_arguments.Flags) -> list[str]:
    """What a node is to have about a proxy, as KEY=value, from the environment and .env."""
    proxies = chosen_proxies(settings)
    if not proxies:
        return []
    # With the nodes' own addresses, or `kubectl logs` and `exec` would go to the proxy:
    # https://docs.k3s.io/advanced#configuring-an-http-proxy, https://github.com/k3s-io/k3s/issues/6705
    nodes = network.subnets(shell, settings)
    if shell.dry and not nodes:  # a run would have made the network by now
        nodes = [f"<subnet of {settings.k3d_network}>"]
    ours = [*INSIDE, *k3s_arguments.networks(flags), *nodes, *(f".{domain}" for domain in settings.owned_domains)]
    for key in ("NO_PROXY", "no_proxy"):
        proxies[key] = ",".join(dict.fromkeys([*chosen(settings, key).replace(",", " ").split(), *ours]))
    return [f"{key}={value}" for key, value in proxies.items()]


def chosen_proxies(settings: Settings) -> dict[str, str]:
    """In both spellings, because programs differ in which they read."""
    return {key: chosen(settings, key) for upper in PROXIES for key in (upper, upper.lower()) if chosen(settings, key)}


def chosen(settings: Settings, key: str) -> str:
    environment = {**settings.environment, **os.environ}
    return environment.get(key) or environment.get(key.swapcase(), "")


def for_nodes(key: str, value: str) -> str:
    r"""A variable and the nodes that get it, as k3d splits them: at an `@` that has no `\` before it, or two for one.

    https://github.com/k3d-io/k3d/blob/v5.8.3/cmd/util/filter.go

    :raises Exit: for `\@`, which k3d cannot be told.
    """
    if "\\@" in value:
        raise Exit(rf"{key} holds \@, which k3d cannot give to a node. Write %5C for the \ of a user or a password.")
    end = "\\" if value.endswith("\\") else ""
    return f"{key}={value}".replace("@", r"\@") + f"{end}@{NODES}"
