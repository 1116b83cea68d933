"""A proxy that nodes cannot use: on 127.0.0.1 or localhost, which in a node mean the node itself, or no URL at all."""

from __future__ import annotations

import ipaddress
import re
import socket

from tasks.core import system_files
from tasks.core.problems import Problem, ProblemExit, Reason, problem
from tasks.core.settings import Settings
from tasks.core.shell import Shell
from tasks.engine import network
from tasks.engine.proxy import PROXIES, chosen_proxies


class ProxyReason(Reason):
    MALFORMED = "{key} is not the URL of a proxy, such as http://proxy.example.com:3128"
    LOOPBACK = "{keys}: {address} in a node is the node itself, so it would reach no proxy and pull no image."


def require_reachable(shell: Shell, settings: Settings) -> None:
    """Exit when a proxy is named by an address of this machine that means another machine to a node."""
    addresses: dict[str, list[str]] = {}
    for key, value in chosen_proxies(settings).items():
        if not is_complete(value):
            raise ProblemExit(problem(ProxyReason.MALFORMED, key=key),
                              "It has a host, and a port from 1 to 65535 or none. No cluster was created.")
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


def is_complete(value: str) -> bool:
    _, host, port = split_address(value)
    if not 0 < port < 65536:
        return False
    try:
        return bool(re.fullmatch(r"[\w.-]+", host) or ipaddress.ip_address(host.partition("%")[0]))
    except ValueError:
        return False


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
