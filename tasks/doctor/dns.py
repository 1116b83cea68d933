"""Checks of how this machine resolves the clusters' names."""

from __future__ import annotations

import re
import secrets
import socket
from collections.abc import Iterator

from tasks import dns
from tasks.core import system_files
from tasks.core.addresses import list_proofs
from tasks.dns import follow, systemd_resolved
from tasks.dns.resolver import addresses, answers_all, ask, is_public, resolves
from tasks.doctor.check import ERROR, WARNING, Checks, Machine
from tasks.doctor.fixes import NAMES
from tasks.probe.host_names import host_names

CHECKS = Checks()


check = CHECKS.check

# https://www.chromium.org/hsts: browsers force HTTPS for these public TLDs.
HSTS = ("dev", "app", "page", "new", "day", "foo", "zip", "mov")

VPN = re.compile(r"(tun|tap|utun|wg|ppp|tailscale|nebula|zt|cscotun|gpd)\w*\d*$")


@check("names-served", ERROR, "Its configuration was changed, its port is in use, or systemd does not start it.", NAMES)
def served(machine: Machine) -> Iterator[str]:
    """The dnsmasq that these tasks run for systemd-resolved answers, if there is one"""
    domains = {domain for file in systemd_resolved.find_names() for domain in file.domains}
    # It may be there only for another copy of this folder.
    used_here = not domains or {*machine.settings.owned_domains} & domains
    if used_here and systemd_resolved.unit() in systemd_resolved.list_files(machine.shell):
        port = systemd_resolved.choose_port(machine.shell)
        if not answers_all(machine.settings, port):
            yield f"nothing answers for {machine.settings.proof_names[0]} on 127.0.0.1, port {port}"


@check("names", WARNING, "It was never set up, or a VPN or another resolver has replaced it.", NAMES,
       needs=["names-served"])
def resolved(machine: Machine) -> Iterator[str]:
    """This machine's resolver resolves the clusters' names to the addresses in the settings"""
    if not is_public(machine.settings):
        yield from unresolved(machine)


@check("names-hosts-file", WARNING, "A hosts file has no wildcard, and an Ingress was created after the names were "
       "written; or another program, such as WSL at its start, wrote the file again.", NAMES, needs=["names"])
def listed(machine: Machine) -> Iterator[str]:
    """Where the names are in a hosts file, it has the hosts of all Ingresses"""
    listed = {str(file): names for file, names in follow.list_written(machine.shell)}
    for view in machine.running:
        for host in sorted(host_names(view.cluster, view.snapshot.objects)):
            yield from (f"{host} of {view.cluster.name} is not in {file}" for file, names in listed.items()
                        if host not in names)


@check("names-rebinding", WARNING, "Routers and company resolvers drop public names that resolve to 127.0.0.1, to "
       "prevent DNS rebinding; or there is no internet connection.", "Allow the domain in the router, use another "
       "resolver such as 1.1.1.1, or set TLD=internal in .env, then run: inv cert dns",
       link="https://en.wikipedia.org/wiki/DNS_rebinding")
def rebinding(machine: Machine) -> Iterator[str]:
    """The resolver lets names below nip.io or sslip.io resolve to this machine"""
    if is_public(machine.settings):
        yield from unresolved(machine)


def unresolved(machine: Machine) -> Iterator[str]:
    for name, address in list_proofs(machine.settings).items():
        if not resolves(name, address):
            yield f"{name}: {', '.join(sorted(addresses(name))) or 'no answer'}"


@check("names-vpn", WARNING, "Many VPNs put their own resolver first.",
       "Try without the VPN. Most VPNs can leave a domain to this machine (split DNS): add the base domain there.",
       link="https://github.com/netbirdio/netbird/issues/6202")
def vpn(machine: Machine) -> Iterator[str]:
    """No VPN is up while names do not resolve"""
    if not any(unresolved(machine)):
        return
    folder = system_files.ROOT / "sys/class/net"
    devices = [file.name for file in folder.iterdir()] if folder.is_dir() else re.findall(
        r"^(\w+): flags=\S*<UP", machine.shell.look("ifconfig").stdout, re.MULTILINE)
    up = [device for device in sorted(devices) if VPN.match(device) and not device.startswith("utun0")]
    if up:
        yield f"{', '.join(up)} is up, and names do not resolve"


@check("names-search", WARNING, "Programs also try a name with each search domain appended, and pods do so first "
       "(ndots:5). A search domain that answers every name hides the clusters' names.", "Remove it from the network's "
       "settings, or give the nodes another resolver: https://docs.k3s.io/advanced", link="https://github.com/k3d-io/k3d/issues/1515")
def search_domains(machine: Machine) -> Iterator[str]:
    """No search domain of this machine answers every query"""
    for domain in search_list():
        name = f"no-such-name-{secrets.token_hex(4)}.{machine.settings.cluster_domain(0)}.{domain}"
        answers = addresses(f"{name}.")
        if answers:
            yield (f"the search domain {domain} answers every name: for example, {name} resolves to "
                   f"{', '.join(sorted(answers))}")


def search_list() -> list[str]:
    resolv_conf = system_files.ROOT / "etc/resolv.conf"
    text = resolv_conf.read_text(errors="replace") if resolv_conf.is_file() else ""
    return [domain.strip(".") for line in re.findall(r"^(?:search|domain)\s+(.+)$", text, re.MULTILINE)
            for domain in line.split() if domain.strip(".")]


@check("names-proxy", WARNING, "Programs in this shell use the company's proxy, which cannot resolve the names.",
       "Add the base domain with a leading dot to NO_PROXY and no_proxy, where the proxy is set.")
def proxied(machine: Machine) -> Iterator[str]:
    """A proxy that is set in this shell is not used for the clusters' names"""
    from urllib.request import getproxies_environment, proxy_bypass

    for domain in machine.settings.owned_domains:
        if {"http", "https"} & {*getproxies_environment()} and not proxy_bypass(f"proof.{domain}"):
            yield f"HTTP_PROXY or HTTPS_PROXY is set, but NO_PROXY does not contain .{domain}"


@check("names-stolen", ERROR, "The original Taskfile's dnsmasq answers for the whole TLD, even host.docker.internal.",
       NAMES)
def stolen(machine: Machine) -> Iterator[str]:
    """Names outside the clusters' domains do not resolve to this machine"""
    for row in dns.verify_others(machine.shell, machine.settings):
        if row.state == "red":
            yield f"{row.target} {row.note}"


@check("names-lan", WARNING, "A dnsmasq without listen-address answers on every interface.",
       "Set listen-address=127.0.0.1 and bind-interfaces in its configuration. For the original's dnsmasq: inv dns")
def open_resolver(machine: Machine) -> Iterator[str]:
    """No resolver on this machine answers the local network for the clusters' names"""
    address = lan_address()
    if address and ask(machine.settings.proof_names[0], 53, address):
        yield f"{address}, port 53, answers anyone who can reach this machine"


def lan_address() -> str:
    """This machine's address for outgoing packets; empty if it has no network. No packet is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # RFC 5737: not in use anywhere
            return str(probe.getsockname()[0])
        except OSError:
            return ""


@check("names-tld", WARNING, "The TLD has another purpose.",
       "Set TLD=internal or TLD=test in .env, then run: inv cert dns, and inv k3d-cluster-configure --all")
def tld(machine: Machine) -> Iterator[str]:
    """The TLD is reserved for private use"""
    last = machine.settings.tld.split(".")[-1]
    if last == "local":
        yield ".local belongs to mDNS (RFC 6762): many systems do not query DNS for it"
    if last == "localhost":
        yield "in a pod, curl and other programs resolve .localhost to the pod itself (RFC 6761)"
    if last in HSTS:
        yield f".{last} is a public TLD, and browsers force HTTPS for it"
