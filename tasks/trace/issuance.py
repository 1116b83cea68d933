"""Why there is no certificate for a name: what cert-manager reports about the Ingress and what it created for it."""

from __future__ import annotations

from tasks.ca.names import dns_names
from tasks.ca.signatures import load_chain
from tasks.core.problems import Problem, Reason, problem
from tasks.core.well_known import CERT_MANAGER, ISSUER
from tasks.probe.issued import read_secret_certificate
from tasks.probe.routes import Route, annotations_of, covers_host
from tasks.probe.snapshot import Object, read_condition
from tasks.trace.certificate_commands import (
    CLUSTER_ISSUER,
    COMMON_NAME,
    COMMON_NAME_BYTES,
    GROUP,
    NAMESPACED_ISSUER,
    OWN_ISSUER,
    add_tls_command,
    create_certificate_command,
    find_owner,
    is_owned,
    own_certificate_command,
    reissue_command,
    use_own_issuer_command,
)
from tasks.trace.commands import annotate_command, patch_command
from tasks.trace.context import TraceContext

Finding = tuple[Problem, str]
"""What is wrong, and the command that fixes it."""


class DefaultCertificateReason(Reason):
    """Why Traefik has no certificate for the name, and serves its default certificate."""

    NO_INGRESS = "Traefik serves its default certificate: no Ingress has `tls` for this name"
    NO_TLS_SECTION = "Traefik serves its default certificate: the {source} has no `tls` for this host"
    NO_SECRET_NAME = "Traefik serves its default certificate: `tls` of the {source} has no secretName{event}"
    NO_ISSUER = ("Traefik serves its default certificate: nothing creates the secret {secret} of the {source}, which "
                 "has no annotation for an issuer")
    COMMON_NAME_TOO_LONG = ("Traefik serves its default certificate: cert-manager rejects the {source}, because its "
                            "annotation {annotation} has {length} bytes, and 64 are allowed")
    INGRESS_REJECTED = "Traefik serves its default certificate: cert-manager rejects the {source}: {event}"
    CERT_MANAGER_DOWN = "Traefik serves its default certificate: cert-manager is not running: {message}"
    NO_CERTIFICATE = ("Traefik serves its default certificate: cert-manager has not created a Certificate for the "
                      "secret {secret} of the {source} yet")
    ISSUER_MISSING = ("Traefik serves its default certificate: the {kind} {name}, which the {source} names, does not "
                      "exist. This cluster has {own}")
    ISSUER_NOT_READY = ("Traefik serves its default certificate: the {kind} {name} is not ready: {message}. This "
                        "cluster has {own}")
    CERTIFICATE_NOT_READY = "Traefik serves its default certificate: the {at} is not ready: {message}"
    SECRET_OF_OTHER_INGRESS = ("Traefik serves its default certificate: the secret {secret} belongs to the {owner}, so "
                               "cert-manager does not issue it for the {source}")
    NO_SECRET = "Traefik serves its default certificate: the secret {secret} does not exist"
    SECRET_FOR_OTHER_NAMES = "Traefik serves its default certificate: the secret {secret} is for {names}"
    SECRET_NOT_LOADED = "Traefik serves its default certificate, although the secret {secret} is for this name{log}"
    NO_CERTIFICATE_FOR_ROUTE = ("Traefik serves its default certificate: no Certificate creates the secret {secret} of "
                                "the {source}. cert-manager creates one by itself only for an Ingress or a Gateway")


def explain_default_certificate(trace: TraceContext) -> Finding:
    """The first step from the Ingress to its secret that fails, in the order in which cert-manager works."""
    route = trace.route
    if route is None:
        return problem(DefaultCertificateReason.NO_INGRESS), ""
    if route.secret is None:
        return problem(DefaultCertificateReason.NO_TLS_SECTION, source=route.label), add_tls_command(trace, route)
    if not route.secret:
        event = read_event(trace, route)
        return (problem(DefaultCertificateReason.NO_SECRET_NAME, source=route.label,
                        event=f". cert-manager reports: {event}" if event else ""), add_tls_command(trace, route))
    certificate = trace.find_certificate()
    if certificate is None:
        pem = read_secret_certificate(trace.shell, trace.cluster, route.namespace, route.secret)
        return explain_secret(trace, route, pem) if pem else explain_missing_certificate(trace, route)
    if not read_condition(certificate, "Ready")[0]:
        return explain_unready_certificate(trace, route, certificate)
    pem = read_secret_certificate(trace.shell, trace.cluster, route.namespace, route.secret)
    if not pem:
        return problem(DefaultCertificateReason.NO_SECRET, secret=route.secret), ""
    return explain_owner(trace, route, certificate) or explain_secret(trace, route, pem)


# --- no Certificate ---------------------------------------------------------------------------------------------------


def explain_missing_certificate(trace: TraceContext, route: Route) -> Finding:
    noted, source = annotations_of(route.source), route.label
    issuer_command = use_own_issuer_command(trace, route)
    if route.kind != "Ingress":
        return (problem(DefaultCertificateReason.NO_CERTIFICATE_FOR_ROUTE, secret=route.secret, source=source),
                create_certificate_command(trace, route, route.secret or ""))
    if not any(key in noted for key in (CLUSTER_ISSUER, NAMESPACED_ISSUER, "kubernetes.io/tls-acme")):
        return problem(DefaultCertificateReason.NO_ISSUER, secret=route.secret, source=source), issuer_command
    length = len(noted.get(COMMON_NAME, "").encode())
    if length > COMMON_NAME_BYTES:
        return (problem(DefaultCertificateReason.COMMON_NAME_TOO_LONG, source=source, annotation=COMMON_NAME,
                        length=length), annotate_command(trace.cluster, route, {COMMON_NAME: None}))
    if event := read_event(trace, route):
        command = issuer_command if "issuer" in event else ""
        return problem(DefaultCertificateReason.INGRESS_REJECTED, source=source, event=event), command
    deployment = trace.snapshot.one("Deployment", "cert-manager", CERT_MANAGER)
    running, message = read_condition(deployment or {}, "Available")
    if not running:
        why = message if deployment else "the Deployment does not exist"
        return problem(DefaultCertificateReason.CERT_MANAGER_DOWN, message=why), trace.inv_command("configure")
    return problem(DefaultCertificateReason.NO_CERTIFICATE, secret=route.secret, source=source), ""


def read_event(trace: TraceContext, route: Route) -> str:
    """cert-manager's latest warning about the Ingress."""
    messages = [str(event.get("message", "")) for event in trace.snapshot.all("Event")
                if event.get("involvedObject", {}).get("name") == route.name
                and event["involvedObject"].get("namespace") == route.namespace and event.get("reason") == "BadConfig"]
    return messages[-1] if messages else ""


# --- a Certificate that is not ready ----------------------------------------------------------------------------------


def explain_unready_certificate(trace: TraceContext, route: Route, certificate: Object) -> Finding:
    """What the last object that cert-manager created for it reports; first of all whether its issuer is there."""
    if finding := explain_issuer(trace, route, certificate):
        return finding
    at, message = f"Certificate {certificate['metadata']['name']}", read_condition(certificate, "Ready")[1]
    entry: Object | None = certificate
    for kind in ("CertificateRequest", "Order", "Challenge"):
        entry = find_owned(trace, kind, entry) if entry else None
        if entry:
            status = entry["status"]
            message = str(status.get("reason") or status.get("state") or read_condition(entry, "Ready")[1])
            at = f"{kind} {entry['metadata']['name']}"
    foreign = certificate["spec"].get("issuerRef", {}).get("name") != ISSUER
    command = use_own_issuer_command(trace, route) if foreign and is_owned(certificate, route) else ""
    return problem(DefaultCertificateReason.CERTIFICATE_NOT_READY, at=at, message=message), command


def explain_issuer(trace: TraceContext, route: Route, certificate: Object) -> Finding | None:
    """The issuer that it names does not exist, or is not ready."""
    reference = certificate["spec"].get("issuerRef") or {}
    kind, name = reference.get("kind", "Issuer"), reference.get("name", "")
    if reference.get("group", GROUP) not in ("", GROUP):
        return None
    namespace = route.namespace if kind == "Issuer" else ""
    issuer = trace.snapshot.one(kind, name, namespace)
    own = kind == "ClusterIssuer" and name == ISSUER
    command = trace.inv_command("configure") if own else (
        use_own_issuer_command(trace, route) if is_owned(certificate, route) else "")
    if issuer is None:
        return problem(DefaultCertificateReason.ISSUER_MISSING, kind=kind, name=name, source=route.label,
                       own=OWN_ISSUER), command
    ready, message = read_condition(issuer, "Ready")
    return None if ready else (problem(DefaultCertificateReason.ISSUER_NOT_READY, kind=kind, name=name, message=message,
                                       own=OWN_ISSUER), command)


def find_owned(trace: TraceContext, kind: str, owner: Object) -> Object | None:
    """The latest object of this kind that cert-manager created for the owner."""
    owned = [entry for entry in trace.snapshot.all(kind)
             if entry["metadata"].get("namespace") == owner["metadata"].get("namespace")
             and any(reference.get("kind") == owner["kind"] and reference.get("name") == owner["metadata"]["name"]
                     for reference in entry["metadata"].get("ownerReferences") or [])]
    return max(owned, key=lambda entry: str(entry["metadata"].get("creationTimestamp", "")), default=None)


# --- a secret that is there -------------------------------------------------------------------------------------------


def explain_owner(trace: TraceContext, route: Route, certificate: Object) -> Finding | None:
    """Another Ingress has the same secretName: cert-manager issues the secret for that one only."""
    owner = find_owner(certificate)
    if owner is None or is_owned(certificate, route) or route.kind != "Ingress":
        return None
    tls = [{**entry, "secretName": f"{route.name}-tls"} if entry.get("secretName") == route.secret else entry
           for entry in route.source["spec"]["tls"]]
    return (problem(DefaultCertificateReason.SECRET_OF_OTHER_INGRESS, secret=route.secret, owner=" ".join(owner),
                    source=route.label), patch_command(trace.cluster, route, {"spec": {"tls": tls}}))


def explain_secret(trace: TraceContext, route: Route, pem: bytes) -> Finding:
    names = [name for leaf in load_chain(pem)[:1] for name in dns_names(leaf)]
    if any(covers_host(name, trace.url.host) for name in names):
        log = f". Its log says: {'; '.join(trace.traefik_errors)}" if trace.traefik_errors else ""
        return problem(DefaultCertificateReason.SECRET_NOT_LOADED, secret=route.secret, log=log), ""
    reissue = reissue_command(trace) if trace.url.host in route.tls_hosts else own_certificate_command(trace, route)
    return (problem(DefaultCertificateReason.SECRET_FOR_OTHER_NAMES, secret=route.secret,
                    names=", ".join(names) or "no name"), reissue)
