"""The end of a run: the page to open, in a way that works on this machine as it is now."""

from __future__ import annotations

import shlex

from tasks.ca.root import RootFiles
from tasks.core.addresses import base_address, list_own_addresses
from tasks.core.progress import say
from tasks.core.settings import Cluster, Settings
from tasks.core.shell import Shell
from tasks.dns import PUBLIC_DOMAIN, WITHOUT_RESOLVER
from tasks.dns.resolver import resolves
from tasks.probe.example_page import example_host, example_url, is_behind_front_door, port
from tasks.trust.nss import BROWSERS


def print_pages(shell: Shell, clusters: list[Cluster], front_door: bool) -> None:
    """The URL of each cluster's page if this machine resolves it; otherwise the commands that open it without that.

    Without a port if it leads through the front door.
    """
    unresolved = [cluster for cluster in clusters if not resolves(example_host(cluster), cluster.address)]
    if unresolved:
        commands = [command for cluster in unresolved
                    for command in commands_without_resolver(shell, cluster, front_door)]
        say("This machine does not resolve the names yet. These commands need no resolver:\n"
            + "\n".join(f"  {command}" for command in commands))
        if resolves(f"proof.{PUBLIC_DOMAIN}"):
            say(WITHOUT_RESOLVER)
    for cluster in clusters:
        if cluster not in unresolved:
            say(f"Open {example_url(cluster, 'https', front_door and is_behind_front_door(cluster))}")


def commands_without_resolver(shell: Shell, cluster: Cluster, front_door: bool) -> list[str]:
    front_door = front_door and is_behind_front_door(cluster)
    url, settings = example_url(cluster, "https", front_door), cluster.settings
    trusting = [] if settings.acme else ["--cacert", str(RootFiles.of(settings).certificate)]
    curl = shlex.join(["curl", *trusting, "--resolve",
                       f"{example_host(cluster)}:{port(cluster, 'https', front_door)}:{cluster.address}", url])
    return [curl, f"{browser_command(shell, settings)} {url}"]


def browser_command(shell: Shell, settings: Settings) -> str:
    """A Chromium browser with a profile of its own, because one that is running takes no options.

    https://source.chromium.org/chromium/chromium/src/+/main:services/network/public/cpp/network_switches.cc
    """
    program = next(filter(shell.find, BROWSERS), "chromium")
    # The first rule that matches counts.
    addresses = {**list_own_addresses(settings), settings.base_domain: base_address(settings)}
    rules = shlex.quote("--host-resolver-rules=" + ",".join(
        f"MAP *.{domain} {address}" for domain, address in addresses.items()))
    return f'{program} --user-data-dir="$(mktemp -d)" {rules}'
