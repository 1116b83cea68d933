"""Where Traefik routes a request, according to the Ingresses. IngressRoutes and HTTPRoutes are not read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tasks.probe.snapshot import ClusterSnapshot, Object

CLASSES = ("", "traefik")
"""The classes of the Ingresses that Traefik of k3s reads."""


@dataclass(frozen=True)
class Route:
    """A path of an Ingress, and the Service behind it."""

    ingress: Object
    host: str
    """May start with `*.`; empty means every host."""
    path: str
    exact: bool
    service: str
    port: str
    """The number or the name of the port."""

    @property
    def namespace(self) -> str:
        return str(self.ingress["metadata"]["namespace"])

    @property
    def name(self) -> str:
        return str(self.ingress["metadata"]["name"])

    @property
    def secret(self) -> str | None:
        """The secret in `tls` for this host; None if no entry covers it."""
        for entry in self.ingress["spec"].get("tls") or []:
            if any(covers_host(host, self.host) for host in entry.get("hosts") or [self.host]):
                return str(entry.get("secretName", ""))
        return None

    @property
    def tls_hosts(self) -> list[str]:
        """All hosts in `tls`."""
        return [host for entry in self.ingress["spec"].get("tls") or [] for host in entry.get("hosts") or []]

    def matches(self, host: str, path: str) -> bool:
        # Traefik compares a prefix character by character, not by path elements as Kubernetes specifies.
        return covers_host(self.host, host) and (path == self.path if self.exact else path.startswith(self.path))

    def accepts_scheme(self, scheme: str) -> bool:
        """Whether its annotation includes the entry point for this scheme."""
        annotations = self.ingress["metadata"].get("annotations") or {}
        points = annotations.get("traefik.ingress.kubernetes.io/router.entrypoints", "web,websecure")
        return {"http": "web", "https": "websecure"}[scheme] in [point.strip() for point in points.split(",")]


def covers_host(pattern: str, host: str) -> bool:
    """Whether the host of a rule, or a name in a certificate, covers this host; `*` stands for one label."""
    return pattern in ("", host) or (pattern.startswith("*.") and host.partition(".")[2] == pattern[2:])


def list_routes(snapshot: ClusterSnapshot) -> Iterator[Route]:
    """The routes of all Ingresses that Traefik reads."""
    for ingress in snapshot.all("Ingress"):
        spec, annotations = ingress["spec"], ingress["metadata"].get("annotations") or {}
        if (spec.get("ingressClassName") or annotations.get("kubernetes.io/ingress.class", "")) not in CLASSES:
            continue
        paths = [(rule.get("host", ""), path) for rule in spec.get("rules") or []
                 for path in (rule.get("http") or {}).get("paths") or []]
        if "defaultBackend" in spec:
            paths.append(("", {"backend": spec["defaultBackend"]}))
        for host, path in paths:
            service = path.get("backend", {}).get("service")
            if service:
                port = service.get("port") or {}
                yield Route(ingress, host, path.get("path") or "/", path.get("pathType") == "Exact", service["name"],
                            str(port.get("name") or port.get("number", "")))


def find_route(snapshot: ClusterSnapshot, host: str, path: str) -> Route | None:
    """The route that Traefik chooses: the most specific host, then the longest path."""
    matching = [route for route in list_routes(snapshot) if route.matches(host, path)]
    return max(matching, default=None, key=lambda route: (
        route.host == host, bool(route.host), len(route.path), route.exact))


def has_port(service: Object, expected: str) -> bool:
    return any(expected in (str(port["port"]), port.get("name")) for port in service["spec"].get("ports") or [])


def find_deployment(snapshot: ClusterSnapshot, service: Object) -> Object | None:
    """The Deployment whose pods the Service selects."""
    selector = (service["spec"].get("selector") or {}).items()
    return next((entry for entry in snapshot.all("Deployment") if selector
                 and entry["metadata"]["namespace"] == service["metadata"]["namespace"]
                 and selector <= entry["spec"].get("template", {}).get("metadata", {}).get("labels", {}).items()), None)
