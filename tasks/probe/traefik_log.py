"""What Traefik's log says about one Ingress or IngressRoute: why it was dropped, in Traefik's own words."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from tasks.core.settings import Cluster
from tasks.core.shell import Shell, strip_colors
from tasks.probe.routes import Route

LINES = 20_000
"""Traefik logs its errors again with every change of the configuration; in between lies the access log."""

PAIR = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*"|\S*)')
ERROR = re.compile(r"^\S+ (?:ERR|WRN|FTL) (.*)")


def read_log(shell: Shell, cluster: Cluster, route: Route) -> list[str]:
    """The latest errors about the source of this route, each once; empty if there are none."""
    result = shell.look(*cluster.kubectl, "-n", "kube-system", "logs", "deployment/traefik", f"--tail={LINES}")
    errors = [(time, error) for time, fields, error in parse(strip_colors(result.stdout)) if concerns(fields, route)]
    latest = dict.fromkeys(error for time, error in errors if time == errors[-1][0])
    return [error for error in latest if not any(error in other for other in latest if other != error)]


def parse(text: str) -> Iterator[tuple[str, dict[str, str], str]]:
    """Time, fields and error of each error, in Traefik's default format or as JSON."""
    for line in text.splitlines():
        if line.startswith("{"):
            try:
                fields = {str(key): str(value) for key, value in json.loads(line).items()}
            except ValueError:
                continue
            if fields.get("level") in ("error", "warn", "fatal"):
                yield fields.get("time", ""), fields, join(fields.get("message", ""), fields.get("error", ""))
        elif match := ERROR.match(line):
            fields = {key: unquote(value) for key, value in PAIR.findall(match[1])}
            message = PAIR.split(match[1], maxsplit=1)[0].strip()
            yield line.partition(" ")[0], fields, join(message, fields.get("error", ""))


def join(message: str, error: str) -> str:
    return f"{message}: {error}" if message and error else message or error


def unquote(value: str) -> str:
    if not value.startswith('"'):
        return value
    try:
        return str(json.loads(value))
    except ValueError:  # Go escapes some characters that JSON does not know
        return value[1:-1]


def concerns(fields: dict[str, str], route: Route) -> bool:
    """Whether an error is about this source: Traefik names it, or its router, which it derives from that name."""
    if fields.get("ingress") == route.name and fields.get("namespace") == route.namespace:
        return fields.get("providerName", "").endswith("crd") == (route.kind == "IngressRoute")
    router, _, provider = fields.get("routerName", "").partition("@")
    name = f"{route.namespace}-{route.name}"
    if route.kind == "IngressRoute":
        return provider == "kubernetescrd" and bool(re.fullmatch(rf"{re.escape(name)}-[0-9a-f]{{20}}", router))
    if route.kind == "HTTPRoute":
        return fields.get("http_route") == route.name and fields.get("namespace") == route.namespace
    words = "-".join(re.findall(r"[^\W_]+", f"{name}-{route.host}{route.path}"))
    prefixes = ("", "web-", "websecure-", *(f"{point}-" for point in route.entry_points))
    return provider == "kubernetes" and router in [prefix + words for prefix in prefixes]
