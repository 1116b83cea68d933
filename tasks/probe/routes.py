"""Where Traefik routes a request, according to the Ingresses, IngressRoutes and HTTPRoutes of a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tasks.probe.snapshot import ClusterSnapshot, Object
from tasks.probe.traefik_rules import find_hosts, find_paths, rule_matches

CONTROLLER = "traefik.io/ingress-controller"
"""The controller of the IngressClasses that Traefik serves."""

CLASS_ANNOTATION = "kubernetes.io/ingress.class"
TRAEFIK_ANNOTATION = "traefik.ingress.kubernetes.io"


@dataclass(frozen=True)
class Route:
    """One rule for requests, and the Service behind it."""

    source: Object
    """The Ingress, IngressRoute or HTTPRoute."""
    host: str
    """May start with `*.`; empty means every host."""
    path: str
    service: str
    port: str
    """The number or the name of the port."""
    backend: str
    """The JSON pointer to the backend in the source."""
    secret: str | None = None
    """The secret of the certificate; empty if it has no name, None if the source has no TLS for this host."""
    exact: bool = False
    rule: str = ""
    """The rule of an IngressRoute."""
    scheme: str = ""
    """The scheme for the backend that an IngressRoute sets."""
    middlewares: tuple[tuple[str, str], ...] = ()
    """Namespace and name of each Middleware."""

    @property
    def kind(self) -> str:
        return str(self.source["kind"])

    @property
    def namespace(self) -> str:
        return str(self.source["metadata"]["namespace"])

    @property
    def name(self) -> str:
        return str(self.source["metadata"]["name"])

    @property
    def label(self) -> str:
        return f"{self.kind} {self.name}"

    @property
    def tls_hosts(self) -> list[str]:
        """All hosts in the `tls` of an Ingress."""
        entries = self.source["spec"].get("tls") or [] if self.kind == "Ingress" else []
        return [host for entry in entries for host in entry.get("hosts") or []]

    @property
    def entry_points(self) -> list[str]:
        """The entry points of Traefik that it is limited to; empty means all."""
        if self.kind == "IngressRoute":
            return list(self.source["spec"].get("entryPoints") or [])
        text = annotations_of(self.source).get(f"{TRAEFIK_ANNOTATION}/router.entrypoints", "")
        return [name.strip() for name in text.split(",") if name.strip()]

    def matches(self, host: str, path: str) -> bool:
        if self.rule:
            return rule_matches(self.rule, host, path)
        # Traefik compares a prefix character by character, not by path elements as Kubernetes specifies.
        return covers_host(self.host, host) and (path == self.path if self.exact else path.startswith(self.path))

    def accepts_scheme(self, scheme: str) -> bool:
        return not self.entry_points or {"http": "web", "https": "websecure"}[scheme] in self.entry_points


def annotations_of(entry: Object) -> dict[str, str]:
    return entry["metadata"].get("annotations") or {}


def covers_host(pattern: str, host: str) -> bool:
    """Whether the host of a rule, or a name in a certificate, covers this host; `*` stands for one label."""
    return pattern in ("", host) or (pattern.startswith("*.") and host.partition(".")[2] == pattern[2:])


def list_routes(snapshot: ClusterSnapshot) -> Iterator[Route]:
    """The routes of everything that Traefik reads."""
    for ingress in snapshot.all("Ingress"):
        if is_read_by_traefik(snapshot, ingress):
            yield from list_ingress(ingress)
    for route in snapshot.all("IngressRoute"):
        yield from list_ingress_route(route)
    for route in snapshot.all("HTTPRoute"):
        yield from list_http_route(snapshot, route)


def find_route(snapshot: ClusterSnapshot, host: str, path: str) -> Route | None:
    """The route that Traefik chooses: the most specific host, then the longest path."""
    matching = [route for route in list_routes(snapshot) if route.matches(host, path)]
    return max(matching, default=None, key=lambda route: (
        route.host == host, bool(route.host), len(route.path), route.exact))


# --- Ingresses --------------------------------------------------------------------------------------------------------


def class_of(ingress: Object) -> str:
    """The class that an Ingress names; the field takes precedence over the older annotation."""
    return str(ingress["spec"].get("ingressClassName") or annotations_of(ingress).get(CLASS_ANNOTATION, ""))


def is_read_by_traefik(snapshot: ClusterSnapshot, ingress: Object) -> bool:
    """Whether Traefik serves its class. https://doc.traefik.io/traefik/reference/install-configuration/providers/"""
    name = ingress["spec"].get("ingressClassName")
    if name:
        return name in traefik_classes(snapshot)
    return annotations_of(ingress).get(CLASS_ANNOTATION, "") in ("", "traefik")


def traefik_classes(snapshot: ClusterSnapshot) -> list[str]:
    return [entry["metadata"]["name"] for entry in snapshot.all("IngressClass")
            if entry["spec"].get("controller") == CONTROLLER]


def list_ingress(ingress: Object) -> Iterator[Route]:
    """The routes of one Ingress, whichever class it has."""
    spec = ingress["spec"]
    paths = [(rule.get("host", ""), path, f"/spec/rules/{i}/http/paths/{j}/backend/service")
             for i, rule in enumerate(spec.get("rules") or [])
             for j, path in enumerate((rule.get("http") or {}).get("paths") or [])]
    if "defaultBackend" in spec:
        paths.append(("", {"backend": spec["defaultBackend"]}, "/spec/defaultBackend/service"))
    for host, path, backend in paths:
        service = path.get("backend", {}).get("service")
        if service:
            port = service.get("port") or {}
            yield Route(ingress, host, path.get("path") or "/", service["name"],
                        str(port.get("name") or port.get("number", "")), backend, find_tls_secret(ingress, host),
                        path.get("pathType") == "Exact", middlewares=tuple(list_annotated_middlewares(ingress)))


def find_tls_secret(ingress: Object, host: str) -> str | None:
    for entry in ingress["spec"].get("tls") or []:
        if any(covers_host(pattern, host) for pattern in entry.get("hosts") or [host]):
            return str(entry.get("secretName", ""))
    return None


def list_annotated_middlewares(ingress: Object) -> Iterator[tuple[str, str]]:
    """The Middlewares in its annotation, `<namespace>-<name>@kubernetescrd` each.

    The dash does not show where the namespace ends: a prefix that is the namespace of the Ingress is taken for it.
    """
    text = annotations_of(ingress).get(f"{TRAEFIK_ANNOTATION}/router.middlewares", "")
    own = str(ingress["metadata"]["namespace"])
    for reference in filter(None, map(str.strip, text.split(","))):
        name, _, provider = reference.partition("@")
        if provider == "kubernetescrd" and name.startswith(f"{own}-"):
            yield own, name.removeprefix(f"{own}-")
        elif provider in ("", "kubernetescrd"):  # those of other providers, such as files, are not in the cluster
            yield "", reference


# --- Traefik's own kind and Gateway API -------------------------------------------------------------------------------


def list_ingress_route(source: Object) -> Iterator[Route]:
    spec, namespace = source["spec"], source["metadata"]["namespace"]
    tls = spec.get("tls")
    for number, route in enumerate(spec.get("routes") or []):
        rule = str(route.get("match", ""))
        middlewares = tuple((entry.get("namespace", namespace), entry["name"])
                            for entry in route.get("middlewares") or [] if "@" not in entry["name"])
        service: Object = next(iter(route.get("services") or []), {})
        if service.get("kind", "Service") == "Service" and rule:
            yield Route(source, next(iter(find_hosts(rule)), ""), next(iter(find_paths(rule)), "/"),
                        str(service.get("name", "")), str(service.get("port", "")),
                        f"/spec/routes/{number}/services/0", None if tls is None else str(tls.get("secretName", "")),
                        rule=rule, scheme=str(service.get("scheme", "")), middlewares=middlewares)


def list_http_route(snapshot: ClusterSnapshot, source: Object) -> Iterator[Route]:
    spec = source["spec"]
    secret = find_listener_secret(snapshot, source)
    for number, rule in enumerate(spec.get("rules") or []):
        service: Object = next(iter(rule.get("backendRefs") or []), {})
        for host in spec.get("hostnames") or [""]:
            for match in rule.get("matches") or [{}]:
                path = match.get("path") or {}
                yield Route(source, host, str(path.get("value", "/")), str(service.get("name", "")),
                            str(service.get("port", "")), f"/spec/rules/{number}/backendRefs/0", secret,
                            path.get("type") == "Exact")


def find_listener_secret(snapshot: ClusterSnapshot, source: Object) -> str | None:
    """The secret of the first listener with TLS of the Gateways that an HTTPRoute belongs to."""
    for parent in source["spec"].get("parentRefs") or []:
        gateway = snapshot.one("Gateway", parent["name"], parent.get("namespace", source["metadata"]["namespace"]))
        for listener in gateway["spec"].get("listeners") or [] if gateway else []:
            for reference in (listener.get("tls") or {}).get("certificateRefs") or []:
                return str(reference["name"])
    return None
