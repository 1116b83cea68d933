"""DNS queries: to the resolver that all programs on this machine use, directly to a server, and from a container."""

from __future__ import annotations

import socket

from tasks.core.addresses import list_proofs
from tasks.core.by_number import THIS_MACHINE
from tasks.core.settings import Settings
from tasks.core.shell import Shell

PUBLIC = ("nip.io", "sslip.io")
"""Domains below which public DNS answers with the address that is in the name."""


def is_public(settings: Settings) -> bool:
    """Whether public DNS resolves the cluster names."""
    return settings.tld.endswith(PUBLIC)


def addresses(name: str) -> set[str]:
    """The IPv4 addresses that the system's resolver returns, as for a browser; empty if there are none."""
    try:
        return {str(entry[4][0]) for entry in socket.getaddrinfo(name, None, socket.AF_INET)}
    except (OSError, UnicodeError):
        return set()


def resolves(name: str, address: str = THIS_MACHINE) -> bool:
    """Whether this name resolves to that address, and to no other one, with the system's resolver."""
    return addresses(name) == {address}


def resolves_all(settings: Settings) -> bool:
    """Whether this machine resolves the names of every cluster to the address that the settings give it."""
    return all(resolves(name, address) for name, address in list_proofs(settings).items())


def answers_all(settings: Settings, port: int) -> bool:
    """The same for the DNS server on a port of 127.0.0.1."""
    return all(ask(name, port, address=address) for name, address in list_proofs(settings).items())


def ask(name: str, port: int, server: str = "127.0.0.1", address: str = THIS_MACHINE) -> bool:
    """Whether this name resolves to that address with the DNS server on that port.

    Over TCP, because the connection is refused at once if there is no server.
    """
    import dns.exception
    import dns.message
    import dns.query
    import dns.rdatatype

    try:
        reply = dns.query.tcp(dns.message.make_query(name, "A"), server, timeout=2, port=port)
    except (OSError, EOFError, dns.exception.DNSException):
        return False
    return [str(record) for rrset in reply.answer for record in rrset] == [address]


def other_names(shell: Shell, settings: Settings) -> set[str]:
    """Which other names resolve, on this machine and in a container. Compared before and after a change.

    One is on the Internet, the other is next to the base domain. A container is used only if its image is present.
    """
    names = ("example.com", f"not-ours.{settings.tld}")
    found = {f"{name} on this machine" for name in names if addresses(name)}
    # A missing program would end the wait in which this is asked.
    if not shell.dry and shell.find("docker") and shell.look("docker", "image", "inspect", settings.image_curl).ok:
        for name in names:
            answer = shell.look("docker", "run", "--rm", "--entrypoint", "curl", settings.image_curl, "--silent",
                                "--output", "/dev/null", "--noproxy", "*", "--max-time", "5",
                                "--write-out", "%{time_namelookup}", f"http://{name}/")
            if answer.stdout.strip("0. \n"):  # 0.000000 if no address was found
                found.add(f"{name} in a container")
    return found
