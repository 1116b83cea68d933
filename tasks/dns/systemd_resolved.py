"""Linux: systemd-resolved asks a dnsmasq of our own, on 127.0.0.1 and a free port, for our domains and no others."""

from __future__ import annotations

import re
import socket
from pathlib import Path

from invoke import Exit

from tasks.core import system_files
from tasks.core.operating_system import is_macos
from tasks.core.settings import Settings
from tasks.core.shell import Shell
from tasks.core.templates import render
from tasks.core.well_known import MANAGER
from tasks.dns.resolver import ask, resolves

SERVICE = f"{MANAGER}-dns.service"


PORTS = range(5399, 5500)
"""Below 32768, where Linux begins to give ports away (net.ipv4.ip_local_port_range)."""

DNSMASQ_PACKAGE = "dnsmasq is not installed: apt install dnsmasq-base, or dnf, pacman or zypper install dnsmasq"

REQUIRES_TLS = ("systemd-resolved sends every query over TLS (DNSOverTLS=yes), and dnsmasq does not answer over TLS. "
                "Its value `opportunistic` works")


def unit() -> Path:
    return system_files.ROOT / "etc/systemd/system" / SERVICE


def configuration() -> Path:
    return system_files.ROOT / "etc" / MANAGER / "dnsmasq.conf"


def drop_in() -> Path:
    return system_files.ROOT / "etc/systemd/resolved.conf.d" / f"{MANAGER}.conf"


def delegate() -> Path:
    return system_files.ROOT / "etc/systemd/dns-delegate.d" / f"{MANAGER}.dns-delegate"


def unavailable(shell: Shell) -> str:
    if is_macos(shell) or not runs(shell):
        return "systemd-resolved does not run here"
    if not leads_to_resolved():
        return "/etc/resolv.conf does not lead to systemd-resolved (nameserver 127.0.0.53)"
    if requires_tls(shell):
        return REQUIRES_TLS
    return "" if shell.find("dnsmasq") else DNSMASQ_PACKAGE


def requires_tls(shell: Shell) -> bool:
    """Whether it sends queries over TLS only. The global setting is that of name servers without a link, as ours is.

    https://www.freedesktop.org/software/systemd/man/latest/resolved.conf.html#DNSOverTLS=
    """
    return bool(re.search(r"^\s*Global:\s*yes\b", shell.look("resolvectl", "dnsovertls", seconds=5).stdout))


def leads_to_resolved() -> bool:
    resolv_conf = system_files.ROOT / "etc/resolv.conf"
    if not resolv_conf.exists():
        return False
    servers = re.findall(r"^nameserver\s+(\S+)", resolv_conf.read_text(errors="replace"), re.MULTILINE)
    return bool(servers) and set(servers) <= {"127.0.0.53", "127.0.0.54"}


def install(shell: Shell, settings: Settings) -> None:
    new = systemd_version(shell) >= 258
    wanted, template = (delegate(), "dns/dns-delegate") if new else (drop_in(), "dns/resolved.conf")
    system_files.refuse_foreign(configuration(), unit(), wanted)

    port, names = choose_port(shell), settings.proof_names
    with shell.step("", f"dnsmasq on 127.0.0.1, port {port}") as this:
        changed = [
            system_files.install(
                shell, unit(), render("dns/service", dnsmasq=shell.find("dnsmasq"), config=configuration()),
                why="run a dnsmasq for these names alone"),
            system_files.install(
                shell, configuration(), render("dns/own.conf", domains=settings.owned_domains, port=port),
                why=f"answer for {', '.join(settings.owned_domains)}"),
        ]
        if any(changed) or not all(ask(name, port) for name in names):
            shell.sudo("systemctl", "daemon-reload", why="have systemd read that")
            shell.sudo("systemctl", "enable", SERVICE, why="start it with the machine")
            shell.sudo("systemctl", "restart", SERVICE, why="start it now")
            shell.until("it to answer", 10, lambda: all(ask(name, port) for name in names),
                        hint=f"Why not is in: journalctl -u {SERVICE} -n 20")
            this.outcome = "answers"
        else:
            this.skip("answers already")

    with shell.step("", f"systemd-resolved for {', '.join(settings.owned_domains)}") as this:
        why = "have systemd-resolved ask it for these names only"
        if system_files.install(shell, wanted, render(template, domains=settings.owned_domains, port=port), why) | (
            not all(map(resolves, names))
        ):
            restart_resolved(shell)
            this.outcome = "asks it"
        else:
            this.skip("asks it already")


def choose_port(shell: Shell) -> int:
    """The port that our dnsmasq has, unless somebody else has it by now; else the first that is free."""
    text = configuration().read_text(errors="replace") if configuration().is_file() else ""
    chosen = re.search(r"^port=(\d+)$", text, re.MULTILINE)
    if chosen and (is_free(int(chosen[1])) or shell.look("systemctl", "is-active", "--quiet", SERVICE).ok):
        return int(chosen[1])
    free = next((port for port in PORTS if is_free(port)), None)
    if free is None:
        raise Exit(f"no port of 127.0.0.1 from {PORTS[0]} to {PORTS[-1]} is free for a dnsmasq")
    return free


def is_free(port: int) -> bool:
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with socket.socket(socket.AF_INET, kind) as server:
            try:
                server.bind(("127.0.0.1", port))
            except OSError:
                return False
    return True


def systemd_version(shell: Shell) -> int:
    """The number in `systemd 252 (252.39-1~deb12u2)`; 0 where it cannot be read."""
    number = re.match(r"systemd (\d+)", shell.look("systemctl", "--version").stdout)
    return int(number[1]) if number else 0


def runs(shell: Shell) -> bool:
    return bool(shell.look("systemctl", "is-active", "--quiet", "systemd-resolved").ok)


def restart_resolved(shell: Shell) -> None:
    if runs(shell):
        shell.sudo("systemctl", "restart", "systemd-resolved", why="have systemd-resolved read that")


def found(shell: Shell) -> list[Path]:
    return system_files.own_files(delegate(), drop_in(), unit(), configuration())


def remove(shell: Shell) -> None:
    """First what leads there, then what answers; last the unit, which was first, and by which a second run goes on."""
    if not found(shell):
        return
    with shell.step("", "systemd-resolved and its dnsmasq") as this:
        system_files.refuse_foreign(*found(shell))
        for file in (drop_in(), delegate()):
            system_files.remove(shell, file, why="have systemd-resolved ask as before")
            system_files.remove_if_empty(shell, file)
        restart_resolved(shell)
        if unit().exists():
            shell.sudo("systemctl", "disable", "--now", SERVICE, why="stop our dnsmasq")
        system_files.remove(shell, configuration(), why="forget our dnsmasq's configuration")
        system_files.remove_if_empty(shell, configuration())
        system_files.remove(shell, unit(), why="forget our dnsmasq")
        shell.sudo("systemctl", "daemon-reload", why="have systemd forget it")
        this.outcome = "removed, names are asked for as before"
