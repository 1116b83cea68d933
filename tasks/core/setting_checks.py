"""What is wrong between settings that are each valid: ports that clash, names that become too long."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from tasks.core.addresses import base_address
from tasks.core.by_number import PROGRAMS, THIS_MACHINE
from tasks.core.setting_types import is_label

if TYPE_CHECKING:
    from tasks.core.settings import Settings

PORT_KEYS = ("K3D_PORT_START", "K3D_PORT_END", "K3D_PORT_PREFIX_HTTP", "K3D_PORT_SUFFIX_HTTP",
             "K3D_PORT_PREFIX_HTTPS", "K3D_PORT_SUFFIX_HTTPS")
FRONT_DOOR_KEYS = ("FRONT_DOOR_HTTP_PORT", "FRONT_DOOR_HTTPS_PORT")
RESERVED = ("alt", "example", "internal", "invalid", "local", "localhost", "test", "onion")
"""Top-level domains that nobody can own: https://www.iana.org/assignments/special-use-domain-names"""
NAME_KEYS = ("K3D_CLUSTER_NAME_PREFIX", "K3D_CLUSTER_DOMAIN_PREFIX", "K3D_SUBDOMAIN", "TLD")


def check_together(settings: Settings, places: Mapping[str, str], invalid: Collection[str]) -> Iterator[str]:
    """`places` tells where each value comes from; the ports are not judged when one of theirs is invalid itself."""
    yield from long_names(settings, places)
    yield from wrong_numbers(settings, places)
    yield from ports_without_context(settings, places)
    yield from unused_front_door(settings, places)
    if settings.acme:
        yield from incomplete_acme(settings, places)
    if not any(key in invalid for key in PORT_KEYS):
        yield from clashing_ports(settings, places)
        yield from clashing_registry(settings, places)
        if settings.front_door and not any(key in invalid for key in FRONT_DOOR_KEYS):
            yield from clashing_front_door(settings, places)


def long_names(settings: Settings, places: Mapping[str, str]) -> Iterator[str]:
    last = settings.last_cluster
    if len(last.name) > 32 or not is_label(last.name):
        yield (f"{places['K3D_CLUSTER_NAME_PREFIX']}: K3D_CLUSTER_NAME_PREFIX={settings.k3d_cluster_name_prefix!r} "
               f"makes the cluster name {last.name}, but k3d allows 32 characters")
    if not is_label(last.domain.split(".")[0]) or len(last.domain) > 200:
        yield (f"{chosen_in(places, NAME_KEYS)}: the domain would be {last.domain} ({made_of(settings, NAME_KEYS)}), "
               "but a label may have 63 characters and a domain 200")
    if len(f"{settings.cert_cn} {last.name}") > 64:
        yield (f"{places['CERT_CN']}: CERT_CN={settings.cert_cn!r} followed by a cluster name is longer than the 64 "
               "characters that the name in a certificate may have")


def wrong_numbers(settings: Settings, places: Mapping[str, str]) -> Iterator[str]:
    """Settings by number: each number has a cluster, and no two numbers have the same one."""
    contexts: dict[str, int] = {}
    for key, numbers in (("PROVIDER", settings.provider), ("CLUSTER_ADDRESS", settings.cluster_address)):
        for number in numbers:
            if number is not None and number not in settings.numbers:
                yield (f"{places[key]}: {key} names cluster {number}, but {made_of(settings, PORT_KEYS[:2])} leave "
                       f"room for clusters 0 to {len(settings.numbers) - 1}")
    for number in settings.numbers:
        context = settings.cluster(number).context
        if contexts.setdefault(context, number) != number:
            yield (f"{places['PROVIDER']}: PROVIDER gives the context {context} to the clusters {contexts[context]} "
                   f"and {number}, but a cluster has one number")


def ports_without_context(settings: Settings, places: Mapping[str, str]) -> Iterator[str]:
    for number in settings.context_ports:
        if settings.provider_of(number) in PROGRAMS:
            yield (f"{places['CONTEXT_PORTS']}: CONTEXT_PORTS has ports for cluster {number}, but PROVIDER gives that "
                   "number no context, and its ports come from the K3D_PORT_ settings")


def incomplete_acme(settings: Settings, places: Mapping[str, str]) -> Iterator[str]:
    if not settings.acme_dns:
        yield (f"{places['CERTIFICATES']}: CERTIFICATES=acme needs ACME_DNS, the provider of the domain's DNS, such as "
               "cloudflare")
    last = settings.tld.rpartition(".")[2]
    if last in RESERVED and "letsencrypt.org/" in settings.acme_server:
        yield (f"{places['TLD']}: TLD={settings.tld!r} is not public, so {settings.acme_server} issues no certificate "
               "for it. Set TLD to a domain of yours, such as example.com")


def unused_front_door(settings: Settings, places: Mapping[str, str]) -> Iterator[str]:
    address, listens = base_address(settings), settings.front_door_addresses
    if listens and address not in listens and "0.0.0.0" not in listens:
        yield (f"{places['FRONT_DOOR_ADDRESSES']}: FRONT_DOOR_ADDRESSES={','.join(listens)!r} is invalid: expected "
               f"{address} or 0.0.0.0 among the addresses, because the names resolve to {address}")


def clashing_ports(settings: Settings, places: Mapping[str, str]) -> Iterator[str]:
    """For HTTP and for HTTPS only the first port that cannot be: a wide range would have thousands."""
    where = chosen_in(places, PORT_KEYS)
    if settings.k3d_port_end < settings.k3d_port_start:
        yield (f"{where}: K3D_PORT_END={settings.k3d_port_end} is below "
               f"K3D_PORT_START={settings.k3d_port_start}, which leaves no room for a cluster")
    used: dict[tuple[str, int], str] = {}
    schemes = ["HTTP", "HTTPS"]
    for number in settings.numbers:
        for scheme in tuple(schemes):
            port, user = settings.port(number, scheme.lower()), f"{scheme} of cluster {number}"
            place = (settings.address_of(number), port)
            if 1 <= port <= 65535 and place not in used:
                used[place] = user
                continue
            schemes.remove(scheme)
            keys = (*PORT_KEYS[:2], f"K3D_PORT_PREFIX_{scheme}", f"K3D_PORT_SUFFIX_{scheme}")
            why = f"{used[place]} already has it" if place in used else "ports are 1 to 65535"
            yield f"{where}: {user} would be port {port} ({made_of(settings, keys)}), but {why}"


def clashing_registry(settings: Settings, places: Mapping[str, str]) -> Iterator[str]:
    where, port = chosen_in(places, ("LOCAL_REGISTRY_PORT", *PORT_KEYS)), settings.local_registry_port
    for number in settings.numbers:
        for scheme in ("http", "https") if settings.address_of(number) == THIS_MACHINE else ():
            if port == settings.port(number, scheme):
                yield (f"{where}: LOCAL_REGISTRY_PORT={port}, but {scheme.upper()} of cluster {number} already has "
                       "that port")


def clashing_front_door(settings: Settings, places: Mapping[str, str]) -> Iterator[str]:
    """Its ports must differ from each other, and from those of every cluster."""
    where = chosen_in(places, ("FRONT_DOOR", *FRONT_DOOR_KEYS, *PORT_KEYS))
    used = {settings.port(number, scheme): f"{scheme.upper()} of cluster {number}"
            for number in settings.numbers for scheme in ("http", "https")
            if settings.address_of(number) == base_address(settings)}
    for key in FRONT_DOOR_KEYS:
        port = getattr(settings, key.lower())
        if port in used:
            yield f"{where}: {key}={port}, but {used[port]} already has that port"
        used[port] = f"FRONT_DOOR_HTTP_PORT={port}"


def made_of(settings: Settings, keys: Iterable[str]) -> str:
    return ", ".join(f"{key}={getattr(settings, key.lower())}" for key in keys)


def chosen_in(places: Mapping[str, str], keys: Iterable[str]) -> str:
    """Where the user chose one of these keys."""
    return " and ".join(dict.fromkeys(places[key] for key in keys if places[key] != ".default.env")) or ".default.env"
