"""URLs below a cluster's domain, as users type them."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from invoke import Exit

from tasks.core.setting_types import is_label
from tasks.core.settings import Cluster, Settings
from tasks.probe.connections import trace_command
from tasks.probe.example_page import example_url, port, url_of


@dataclass(frozen=True)
class ClusterUrl:
    """A valid URL, and the cluster that its host belongs to."""

    cluster: Cluster
    scheme: str
    host: str
    path: str
    """Path and query, as they are requested."""
    front_door: bool = False
    """Through the front door instead of the cluster's own port."""

    @property
    def port(self) -> int:
        return port(self.cluster, self.scheme, self.front_door)

    @property
    def url(self) -> str:
        return url_of(self.cluster, self.scheme, self.host, self.path, self.front_door)


def parse_url(settings: Settings, text: str, has_front_door: Callable[[], bool]) -> ClusterUrl:
    """Check and parse a URL; Exit explains what is wrong with it, and what to type instead.

    `has_front_door` is called only for its port.
    """
    example = f"For example: {trace_command(example_url(settings.cluster(0), 'https'))}"
    if not text:
        raise Exit(f"A URL is required. {example}")
    if not text.isascii() or not text.isprintable() or " " in text:
        raise Exit(f"{text!r} is not a valid URL: use printable ASCII and percent-encode the rest (a space is %20). "
                   f"{example}")
    scheme, separator, _ = text.partition("://")
    if not separator or scheme.lower() not in ("http", "https"):
        raise Exit(f"{text!r} does not start with http:// or https://. {example}")
    try:
        parts = urlsplit(text)
        given = {"http": 80, "https": 443}[parts.scheme] if parts.port is None else parts.port
    except ValueError as error:
        raise Exit(f"{text!r} is not a valid URL: {error}. {example}") from None
    host = (parts.hostname or "").removesuffix(".")
    if "@" in parts.netloc:
        raise Exit(f"Remove user and password from the URL: they would be displayed. {example}")
    if is_address(host):
        raise Exit(f"{host} is an IP address. Clusters are addressed, and certificates issued, by name only. {example}")
    if not all(is_label(label) for label in host.split(".")):
        raise Exit(f"{host!r} is not a valid host name: labels consist of a-z, 0-9 and -, separated by dots. "
                   f"{example}")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    url = ClusterUrl(find_cluster(settings, host, example), parts.scheme, host, path)
    if given == settings.front_door_port(url.scheme) != url.port and has_front_door():
        return replace(url, front_door=True)
    return check_port(url, given)


def is_address(host: str) -> bool:
    try:
        return bool(ipaddress.ip_address(host))
    except ValueError:
        return False


def find_cluster(settings: Settings, host: str, example: str) -> Cluster:
    """The cluster whose domain the host belongs to."""
    for cluster in map(settings.cluster, settings.numbers):
        if f".{host}".endswith(f".{cluster.domain}"):
            return cluster
    first, last = (settings.cluster_domain(number) for number in (settings.numbers[0], settings.numbers[-1]))
    raise Exit(f"{host} does not belong to any cluster: names of clusters end with {first} to {last}. {example}")


def check_port(url: ClusterUrl, given: int) -> ClusterUrl:
    """Return the URL if its port is the one that the cluster has for the scheme."""
    if given == url.port:
        return url
    cluster, corrected = url.cluster, trace_command(url.url)
    for other in map(cluster.settings.cluster, cluster.settings.numbers):
        for scheme in ("http", "https"):
            if given == port(other, scheme):
                owner = "" if other == cluster else f", and {url.host} belongs to {cluster.name}"
                mismatch = f", and the URL starts with {url.scheme}" if scheme != url.scheme else ""
                raise Exit(f"Port {given} is {other.name}'s port for {scheme}{mismatch}{owner}. Type: {corrected}")
    raise Exit(f"Port {given} does not belong to any cluster: {cluster.name} uses {url.port} for {url.scheme}. "
               f"Type: {corrected}")
