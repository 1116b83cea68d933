"""Linux: systemd-resolved queries a separate dnsmasq on a free port of 127.0.0.1, for the cluster domains only."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from pathlib import Path

from invoke import Exit

from tasks.core import system_files
from tasks.core.operating_system import is_macos
from tasks.core.settings import Settings
from tasks.core.shell import Shell
from tasks.core.templates import render
from tasks.core.well_known import MANAGER
from tasks.dns import domain_files
from tasks.dns.domain_files import (
    DomainFile,
    Leaving,
    Sorted,
    text_for_this_copy,
    text_for_unknown_copy,
    text_of_names,
    text_of_unknown_names,
)
from tasks.dns.resolver import answers_all, resolves_all

SERVICE = f"{MANAGER}-dns.service"

PORTS = range(5399, 5500)
"""Below 32768, from where Linux assigns ports itself (net.ipv4.ip_local_port_range)."""

DNSMASQ_PACKAGE = "dnsmasq is not installed: apt install dnsmasq-base, or dnf, pacman or zypper install dnsmasq"

REQUIRES_TLS = ("systemd-resolved sends every query over TLS (DNSOverTLS=yes), and dnsmasq does not answer over TLS. "
                "Its value `opportunistic` works")


def unit() -> Path:
    return system_files.ROOT / "etc/systemd/system" / SERVICE


def configuration() -> Path:
    """What all domains share: the settings of the dnsmasq, with its port."""
    return system_files.ROOT / "etc" / MANAGER / "dnsmasq.conf"


def names(domain: str) -> Path:
    """What that dnsmasq answers for one domain."""
    return configuration().parent / "dnsmasq.d" / f"{MANAGER}-{domain}.conf"


def drop_in(domain: str = "") -> Path:
    """Makes systemd-resolved query it. Without a domain: the file of an earlier version, for all domains."""
    return system_files.ROOT / "etc/systemd/resolved.conf.d" / f"{file_name(domain)}.conf"


def delegate(domain: str = "") -> Path:
    """The same for systemd 258 and newer."""
    return system_files.ROOT / "etc/systemd/dns-delegate.d" / f"{file_name(domain)}.dns-delegate"


def file_name(domain: str) -> str:
    return f"{MANAGER}-{domain}" if domain else MANAGER


def find_names() -> list[DomainFile]:
    return [*domain_files.find(names("").parent, ".conf"), *domain_files.of_earlier_version(configuration())]


def find_routes() -> list[DomainFile]:
    return [
        *domain_files.find(drop_in().parent, ".conf"),
        *domain_files.find(delegate().parent, ".dns-delegate"),
        *domain_files.of_earlier_version(drop_in(), r"~(\S+)"),
        *domain_files.of_earlier_version(delegate(), r"~(\S+)"),
    ]


def check_available(shell: Shell) -> str:
    if is_macos(shell) or not is_running(shell):
        return "systemd-resolved is not running"
    if not points_to_resolved():
        return "/etc/resolv.conf does not point to systemd-resolved (nameserver 127.0.0.53)"
    if requires_tls(shell):
        return REQUIRES_TLS
    return "" if shell.find("dnsmasq") else DNSMASQ_PACKAGE


def requires_tls(shell: Shell) -> bool:
    """Whether it sends queries over TLS only. The global setting is that of name servers without a link, as ours is.

    https://www.freedesktop.org/software/systemd/man/latest/resolved.conf.html#DNSOverTLS=
    """
    return bool(re.search(r"^\s*Global:\s*yes\b", shell.look("resolvectl", "dnsovertls", seconds=5).stdout))


def points_to_resolved() -> bool:
    resolv_conf = system_files.ROOT / "etc/resolv.conf"
    if not resolv_conf.exists():
        return False
    servers = re.findall(r"^nameserver\s+(\S+)", resolv_conf.read_text(errors="replace"), re.MULTILINE)
    return bool(servers) and set(servers) <= {"127.0.0.53", "127.0.0.54"}


def install(shell: Shell, settings: Settings) -> None:
    old, new = (drop_in, "dns/resolved.conf"), (delegate, "dns/dns-delegate")
    route, template = new if systemd_version(shell) >= 258 else old
    served, routed = find_names(), find_routes()
    former_names, former_routes = (domain_files.former_domains(settings, files) for files in (served, routed))
    # Files of an earlier version, which wrote one file for all domains, and of an older systemd.
    earlier = [file.path for file in routed if file.path in (drop_in(), delegate()) or (
        {*file.domains} <= {*settings.owned_domains} and file.path != route(file.domains[0]))]
    port = choose_port(shell)
    names_texts = {names(domain): text_of_names(settings, domain, names(domain))
                   for domain in settings.owned_domains}
    names_texts |= {names(domain): text_of_unknown_names(domain)
                    for domain in domain_files.domains_to_take_over(
                        settings, domain_files.of_earlier_version(configuration()),
                        domain_files.find(names("").parent, ".conf"))}
    route_texts = {route(domain): text_for_this_copy(template, domain, drop_in(domain), delegate(domain), port=port)
                   for domain in settings.owned_domains}
    route_texts |= {route(domain): text_for_unknown_copy(template, domain, port=port)
                    for domain in domain_files.domains_to_take_over(
                        settings, [file for file in routed if file.path in (drop_in(), delegate())],
                        [file for file in routed if file.path not in (drop_in(), delegate())])}
    route_texts |= dict(correct_ports([
        file.path for file in routed if file.path not in (*earlier, *route_texts, *former_routes.removed)], port))
    system_files.refuse_foreign(configuration(), unit(), *names_texts, *route_texts, *earlier,
                                *former_names.changed, *former_routes.changed)

    with shell.step("", f"dnsmasq on 127.0.0.1, port {port}") as this:
        why = "run a dnsmasq for these names only"
        changed = [
            # The unit first, before a folder is created: as long as it exists, `remove` removes the rest too.
            system_files.install(shell, unit(), render(
                "dns/service", dnsmasq=shell.find("dnsmasq"), config=configuration()), why),
            domain_files.install_all(shell, {
                **names_texts, configuration(): render("dns/own.conf", folder=names("").parent, port=port)}, why),
            *(system_files.remove(shell, file.path, why="remove names that this copy no longer uses")
              for file in former_names.removed),
        ]
        release(shell, former_names.released)
        if any(changed) or not answers_all(settings, port):
            shell.sudo("systemctl", "daemon-reload", why="make systemd read the unit")
            shell.sudo("systemctl", "enable", SERVICE, why="start it when the machine starts")
            shell.sudo("systemctl", "restart", SERVICE, why="start it now")
            shell.until("it to answer", 10, lambda: answers_all(settings, port),
                        hint=f"For the reason: journalctl -u {SERVICE} -n 20")
            this.outcome = "answers"
        else:
            this.skip("already answers")

    with shell.step("", f"systemd-resolved for {', '.join(settings.owned_domains)}") as this:
        changed = [domain_files.install_all(shell, route_texts, "make systemd-resolved query it for these names only")]
        replaced = [*earlier, *(file.path for file in former_routes.removed)]
        changed += [system_files.remove(shell, file, why="remove what is replaced") for file in replaced]
        for folder in {file.parent for file in replaced} - {file.parent for file in route_texts}:
            domain_files.remove_folder_if_empty(shell, folder, replaced)
        release(shell, former_routes.released)
        if any(changed) or not resolves_all(settings):
            restart_resolved(shell)
            this.outcome = "uses it"
        else:
            this.skip("already uses it")


def correct_ports(routes: list[Path], port: int) -> Iterator[tuple[Path, str]]:
    """The files of other copies with a port that the shared dnsmasq no longer uses, each with its new text."""
    for file in routes:
        text = domain_files.body(file)
        corrected = re.sub(r"^DNS=127\.0\.0\.1:\d+$", f"DNS=127.0.0.1:{port}", text, flags=re.MULTILINE)
        if corrected != text:
            yield file, corrected


def release(shell: Shell, files: list[DomainFile]) -> None:
    for file in files:
        system_files.install(shell, file.path, domain_files.text_without_this_copy(file.path),
                             why="remove this copy from its users")


def choose_port(shell: Shell) -> int:
    """The port of our dnsmasq, unless another program uses it by now; then the first free one."""
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


def is_running(shell: Shell) -> bool:
    return bool(shell.look("systemctl", "is-active", "--quiet", "systemd-resolved").ok)


def restart_resolved(shell: Shell) -> None:
    if is_running(shell):
        shell.sudo("systemctl", "restart", "systemd-resolved", why="make systemd-resolved apply that")


def list_domain_files(shell: Shell) -> list[DomainFile]:
    return [*find_routes(), *find_names()]


def list_files(shell: Shell) -> list[Path]:
    """In the order in which they are removed."""
    return list(dict.fromkeys([*(file.path for file in list_domain_files(shell)),
                               *system_files.own_files(configuration(), unit())]))


def remove(shell: Shell, leaving: Leaving) -> None:
    """Remove what points to the dnsmasq, then its files, and last the unit, so that a second run can resume.

    While other copies need the dnsmasq, the files with the names are emptied, read by it, and then removed.
    """
    routes, served = leaving.sort(find_routes()), leaving.sort(find_names())
    last = routes.is_last and served.is_last
    if not routes.changed and not served.changed and not (last and list_files(shell)):
        return
    with shell.step("", "systemd-resolved and its dnsmasq") as this:
        system_files.refuse_foreign(*(list_files(shell) if last else [*routes.changed, *served.changed]))
        release(shell, [*routes.released, *served.released])
        gone = [file.path for file in routes.removed]
        for file in gone:
            system_files.remove(shell, file, why="make systemd-resolved resolve names as before")
        for folder in sorted({drop_in().parent, delegate().parent}):
            domain_files.remove_folder_if_empty(shell, folder, gone)
        if gone or served.removed or last:
            restart_resolved(shell)
        if last:
            remove_dnsmasq(shell, [file.path for file in served.removed])
        elif served.removed:
            remove_names(shell, [file.path for file in served.removed])
        this.outcome = domain_files.describe_outcome(Sorted([*routes.removed, *served.removed],
                                                   [*routes.released, *served.released],
                                                   [*routes.kept, *served.kept]))


def remove_dnsmasq(shell: Shell, served: list[Path]) -> None:
    if unit().exists():
        shell.sudo("systemctl", "disable", "--now", SERVICE, why="stop our dnsmasq")
    gone = [*dict.fromkeys([*served, configuration()])]
    for file in gone:
        system_files.remove(shell, file, why="remove the configuration of our dnsmasq")
    folder = names("").parent
    domain_files.remove_folder_if_empty(shell, folder, gone)
    domain_files.remove_folder_if_empty(shell, folder.parent, [*gone, folder])
    system_files.remove(shell, unit(), why="remove the service of our dnsmasq")
    shell.sudo("systemctl", "daemon-reload", why="make systemd forget the unit")


def remove_names(shell: Shell, served: list[Path]) -> None:
    why = "remove these names from our dnsmasq"
    port = choose_port(shell)
    for file in served:
        text = (render("dns/own.conf", folder=names("").parent, port=port) if file == configuration()
                else domain_files.text_without_effect(file))
        system_files.install(shell, file, text, why)
    shell.sudo("systemctl", "restart", SERVICE, why=why)
    for file in served:
        if file != configuration():
            system_files.remove(shell, file, why)
