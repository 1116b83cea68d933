"""Questions: to the resolver that all programs of this machine use, to a server directly, and from a container."""

from __future__ import annotations

import socket

from tasks.core.settings import Settings
from tasks.core.shell import Shell


def addresses(name: str) -> set[str]:
    """The IPv4 addresses that the system's own resolver gives, as a browser gets them; none when it knows none."""
    try:
        return {str(entry[4][0]) for entry in socket.getaddrinfo(name, None, socket.AF_INET)}
    except (OSError, UnicodeError):
        return set()


def resolves(name: str) -> bool:
    """Whether the system's own resolver leads this name to this machine, and nowhere else."""
    return addresses(name) == {"127.0.0.1"}


def ask(name: str, port: int, server: str = "127.0.0.1") -> bool:
    """Whether the DNS server on that port leads this name to this machine.

    Asked over TCP, which is refused at once where there is no server.
    """
    import dns.exception
    import dns.message
    import dns.query
    import dns.rdatatype

    try:
        reply = dns.query.tcp(dns.message.make_query(name, "A"), server, timeout=2, port=port)
    except (OSError, EOFError, dns.exception.DNSException):
        return False
    return [str(record) for rrset in reply.answer for record in rrset] == ["127.0.0.1"]


def other_names(shell: Shell, settings: Settings) -> set[str]:
    """The names that are not ours and are found, by this machine and by a container: compared before and after.

    A name on the Internet, and one beside our base domain. A container is asked only where the image for it is there.
    """
    names = ("example.com", f"not-ours.{settings.tld}")
    found = {f"{name} on this machine" for name in names if addresses(name)}
    if not shell.dry and shell.look("docker", "image", "inspect", settings.image_curl).ok:
        for name in names:
            asked = shell.look("docker", "run", "--rm", "--entrypoint", "curl", settings.image_curl, "--silent",
                               "--output", "/dev/null", "--noproxy", "*", "--max-time", "5",
                               "--write-out", "%{time_namelookup}", f"http://{name}/")
            if asked.stdout.strip("0. \n"):  # no time where no address was found
                found.add(f"{name} in a container")
    return found
