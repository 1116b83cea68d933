"""Commands that have cert-manager issue a certificate, as `tasks/trace/commands.py` describes."""

from __future__ import annotations

from tasks.core.well_known import ISSUER
from tasks.probe.routes import Route, annotations_of
from tasks.probe.snapshot import Object
from tasks.trace.commands import annotate_command, apply_command, namespaced_command, patch_command
from tasks.trace.context import TraceContext

GROUP = "cert-manager.io"
CLUSTER_ISSUER, NAMESPACED_ISSUER = f"{GROUP}/cluster-issuer", f"{GROUP}/issuer"
COMMON_NAME, COMMON_NAME_BYTES = f"{GROUP}/common-name", 64
OWN_ISSUER = f"the ClusterIssuer {ISSUER}"


def find_owner(certificate: Object) -> tuple[str, str] | None:
    """Kind and name of what cert-manager created the Certificate for; None if a person created it."""
    owners = certificate["metadata"].get("ownerReferences") or []
    return (owners[0]["kind"], owners[0]["name"]) if owners else None


def is_owned(certificate: Object, route: Route) -> bool:
    return find_owner(certificate) == (route.kind, route.name)


def use_own_issuer_command(trace: TraceContext, route: Route) -> str:
    if route.kind != "Ingress":
        return ""
    others = (NAMESPACED_ISSUER, f"{GROUP}/issuer-kind", f"{GROUP}/issuer-group")
    unset: dict[str, str | None] = {key: None for key in others if key in annotations_of(route.source)}
    return annotate_command(trace.cluster, route, {CLUSTER_ISSUER: ISSUER, **unset})


def add_tls_command(trace: TraceContext, route: Route) -> str:
    """Add `tls` for the host of the URL, or the secretName that it lacks, and our issuer if there is none."""
    if route.kind != "Ingress":
        return own_certificate_command(trace, route)
    tls = [dict(entry) for entry in route.source["spec"].get("tls") or []]
    if route.secret is None:
        tls.append({"hosts": [route.host or trace.url.host], "secretName": f"{route.name}-tls"})
    for number, entry in enumerate(tls):
        entry.setdefault("secretName", f"{route.name}-tls-{number}" if number else f"{route.name}-tls")
    patch: Object = {"spec": {"tls": tls}}
    if not any(key in annotations_of(route.source) for key in (CLUSTER_ISSUER, NAMESPACED_ISSUER)):
        patch = {"metadata": {"annotations": {CLUSTER_ISSUER: ISSUER}}, **patch}
    return patch_command(trace.cluster, route, patch)


def own_certificate_command(trace: TraceContext, route: Route) -> str:
    """Create a Certificate for an IngressRoute, and have it use that secret."""
    if route.kind != "IngressRoute":
        return ""
    secret = f"{route.name}-tls"
    use = patch_command(trace.cluster, route, {"spec": {"tls": {"secretName": secret}}})
    return f"{create_certificate_command(trace, route, secret)} && {use}"


def create_certificate_command(trace: TraceContext, route: Route, secret: str) -> str:
    if route.kind != "IngressRoute":
        return ""
    return apply_command(trace.cluster, {
        "apiVersion": f"{GROUP}/v1", "kind": "Certificate", "metadata": {"name": secret, "namespace": route.namespace},
        "spec": {"secretName": secret, "dnsNames": [trace.url.host],
                 "issuerRef": {"kind": "ClusterIssuer", "name": ISSUER}}})


def reissue_command(trace: TraceContext) -> str:
    """Delete the secret of the route, so that cert-manager issues the certificate again; empty if none does."""
    route = trace.route
    if not (route and route.secret and trace.find_certificate()):
        return ""
    return namespaced_command(trace.cluster, route, "delete", "secret", route.secret)
