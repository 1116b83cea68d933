"""The types of settings that have a value for each cluster number, such as `1=kind,2=colima`."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

# The keys of providers.PROVIDERS, which lies above this module; tests/providers/test_providers.py holds them equal.
PROGRAMS = ("k3d", "kind")
"""The programs that create clusters. The contexts of their clusters are named `<program>-<cluster>`."""

DEFAULT_PROGRAM = PROGRAMS[0]
"""For the numbers that PROVIDER does not name."""

THIS_MACHINE = "127.0.0.1"
"""The address for the numbers that CLUSTER_ADDRESS does not name."""


def provider(value: str) -> dict[int | None, str]:
    """What makes each cluster: a program, or by number also the kubectl context of a cluster that exists already.

    The key None is for the numbers that are not named.
    """
    names = PROGRAMS
    expected = f"{' or '.join(names)}; or by number, such as 1=kind,2=colima: one of these, or a kubectl context"
    found: dict[int | None, str] = {}
    for part in value.split(","):
        if part.strip() in names and None not in found:
            found[None] = part.strip()
            continue
        number, name = split(part, expected)
        if number in found or not re.fullmatch(r"[^\s=,]+", name) or (name.lower() in names and name not in names):
            raise ValueError(expected)
        found[number] = name
    return {None: DEFAULT_PROGRAM, **found}


def parts(value: str, expected: str) -> Iterator[tuple[int, str]]:
    """The numbers and their values, each number once."""
    numbers = set()
    for part in value.split(",") if value.strip() else ():
        number, rest = split(part, expected)
        if number in numbers:
            raise ValueError(expected)
        numbers.add(number)
        yield number, rest


def split(part: str, expected: str) -> tuple[int, str]:
    number, separator, rest = part.strip().partition("=")
    if not separator or not re.fullmatch("[0-9]{1,4}", number.strip()) or not rest.strip():
        raise ValueError(expected)
    return int(number), rest.strip()


def ports(value: str) -> dict[int, tuple[int, int]]:
    """For clusters that exist already: where this machine reaches HTTP and HTTPS."""
    expected = "ports for HTTP and HTTPS by number, such as 2=80/443, or nothing"
    found = {}
    for number, rest in parts(value, expected):
        both = re.fullmatch("([0-9]{1,5})/([0-9]{1,5})", rest)
        if not both or not all(1 <= int(port) <= 65535 for port in both.groups()) or both[1] == both[2]:
            raise ValueError(expected)
        found[number] = (int(both[1]), int(both[2]))
    return found


def addresses(value: str) -> dict[int | None, str]:
    """Where this machine reaches the ports of each cluster. The key None is for the numbers that are not named."""
    expected = "an IPv4 address, or addresses by number, such as 3=192.0.2.10"
    found: dict[int | None, str] = {}
    for part in value.split(",") if value.strip() else ():
        number, address = split(part, expected) if "=" in part else (None, part.strip())
        try:
            parsed = ipaddress.IPv4Address(address)
        except ValueError:
            raise ValueError(expected) from None
        if parsed.is_unspecified or parsed.is_multicast or parsed.is_reserved or number in found:
            raise ValueError(expected)
        found[number] = address
    return {None: THIS_MACHINE, **found}
