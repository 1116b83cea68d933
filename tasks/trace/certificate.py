"""The hops of HTTPS: the certificate that is served for the name, and what it may be for."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING

from tasks.ca.constraints import covers, read_constraints
from tasks.ca.load import RootReason
from tasks.ca.root import RENEW
from tasks.ca.signatures import is_issued_by, load_chain
from tasks.core.problems import Problem, ProblemExit, Reason, problem
from tasks.probe.ingress_routes import covers_host
from tasks.probe.snapshot import read_condition
from tasks.probe.tls import dns_names, issuer_name
from tasks.trace.context import Broken, Found, TraceContext, broken

if TYPE_CHECKING:
    from cryptography.x509 import Certificate


class CertificateReason(Reason):
    NO_TLS = "no TLS: {error}"
    CERTIFICATE_FOR_OTHER_NAMES = "the certificate is for {names}"
    CERTIFICATE_EXPIRED = "the certificate expired on {date} UTC"
    CERTIFICATE_NOT_YET_VALID = "the certificate is not valid until {date} UTC"
    CERTIFICATE_OF_OTHER_ISSUER = "the certificate was issued by {issuer}, not by {cluster}'s intermediate{missing}"
    CHAIN_BROKEN = "the chain does not lead to the root: {error}"
    NAME_OUTSIDE_CONSTRAINT = "outside of what the {authority} may sign for: {permitted}"
    OTHER_NAME_OUTSIDE_CONSTRAINT = ("the certificate also names it, and it is outside of what the {authority} may "
                                     "sign for: {permitted}")
    CONSTRAINT_VIOLATED = "{error}"


class DefaultCertificateReason(Reason):
    """Why Traefik has no certificate for the name, and serves its own."""

    NO_INGRESS = "Traefik serves its default certificate: it has none for this name"
    NO_TLS_SECTION = "Traefik serves its default certificate: the Ingress {ingress} has no `tls` for this host"
    NO_CERTIFICATE = ("Traefik serves its default certificate: nothing creates the secret {secret} of the Ingress "
                      "{ingress}")
    CERTIFICATE_NOT_READY = ("Traefik serves its default certificate: the Certificate {certificate} is not ready: "
                             "{message}")
    NO_SECRET = "Traefik serves its default certificate: the secret {secret} does not exist. Does cert-manager run?"
    SECRET_FOR_OTHER_NAMES = "Traefik serves its default certificate: the secret {secret} is for {names}"


def certificate(trace: TraceContext) -> Found:
    """The certificate is for this name, valid now, and issued by this cluster's intermediate and our root."""
    host = trace.url.host
    leaf = load_served(trace)
    if trace.served.by_traefik:
        why, command = explain_default_certificate(trace)
        raise Broken(host, why, command)
    if not any(covers_host(name, host) for name in dns_names(leaf)):
        raise broken(host, trace.fix(f"edit ingress {trace.route.name}" if trace.route else "get ingresses"),
                     CertificateReason.CERTIFICATE_FOR_OTHER_NAMES, names=", ".join(dns_names(leaf)) or "no name")
    now = datetime.now(timezone.utc)
    if leaf.not_valid_after_utc < now:
        raise broken(host, reissue_command(trace), CertificateReason.CERTIFICATE_EXPIRED,
                     date=f"{leaf.not_valid_after_utc:%Y-%m-%d %H:%M}")
    if leaf.not_valid_before_utc > now:
        raise broken(host, reissue_command(trace), CertificateReason.CERTIFICATE_NOT_YET_VALID,
                     date=f"{leaf.not_valid_before_utc:%Y-%m-%d %H:%M}")
    chain = load_chain(trace.snapshot.chain)
    if not chain or not is_issued_by(leaf, chain[0]):
        raise broken(host, trace.inv("configure"), CertificateReason.CERTIFICATE_OF_OTHER_ISSUER,
                     issuer=issuer_name(leaf), cluster=trace.cluster.name,
                     missing="" if chain else ", which is missing")
    if trace.served.code and not trace.served.breaks_a_constraint:
        raise broken(host, trace.inv("configure"), CertificateReason.CHAIN_BROKEN, error=trace.served.error)
    return Found(host, f"issued by {issuer_name(leaf)}, valid until {leaf.not_valid_after_utc:%Y-%m-%d}")


def load_served(trace: TraceContext) -> Certificate:
    try:
        _ = trace.root  # what is served is verified against it
        return trace.served.leaf
    except ProblemExit as error:
        missing = error.problem.reason == RootReason.ROOT_MISSING
        raise Broken(trace.url.host, error.problem, "inv cert" if missing else RENEW) from None
    except OSError as error:
        raise broken(trace.url.host, trace.traefik_log, CertificateReason.NO_TLS, error=error) from None


def explain_default_certificate(trace: TraceContext) -> tuple[Problem, str]:
    """What is missing for the name's certificate, and what to type."""
    route = trace.route
    if route is None:
        return problem(DefaultCertificateReason.NO_INGRESS), trace.kubectl("get certificates -A")
    if route.secret is None:
        return (problem(DefaultCertificateReason.NO_TLS_SECTION, ingress=route.name),
                trace.fix(f"edit ingress {route.name}"))
    found = next((entry for entry in trace.snapshot.all("Certificate")
                  if entry["spec"].get("secretName") == route.secret
                  and entry["metadata"]["namespace"] == route.namespace), None)
    if found is None:
        return (problem(DefaultCertificateReason.NO_CERTIFICATE, secret=route.secret, ingress=route.name),
                trace.fix(f"annotate ingress {route.name} cert-manager.io/cluster-issuer=root-ca"))
    ready, message = read_condition(found, "Ready")
    name = found["metadata"]["name"]
    if not ready:
        return (problem(DefaultCertificateReason.CERTIFICATE_NOT_READY, certificate=name, message=message),
                trace.in_namespace(f"describe certificate {name}"))
    secret = trace.snapshot.leaves.get((route.namespace, route.secret))
    if secret is None:
        return (problem(DefaultCertificateReason.NO_SECRET, secret=route.secret),
                trace.kubectl("-n cert-manager get pods"))
    names = ", ".join(name for leaf in load_chain(secret)[:1] for name in dns_names(leaf))
    return (problem(DefaultCertificateReason.SECRET_FOR_OTHER_NAMES, secret=route.secret, names=names),
            reissue_command(trace))


def reissue_command(trace: TraceContext) -> str:
    """Delete the secret: cert-manager creates a new one."""
    secret = trace.route.secret if trace.route else None
    return trace.in_namespace(f"delete secret {secret}" if secret else "get certificates")


def name_constraint(trace: TraceContext) -> Found:
    """All names of the certificate are inside of what intermediate and root may sign for."""
    authorities = {"intermediate": load_chain(trace.snapshot.chain)[0], "root": trace.root.certificate}
    permitted = {name: read_constraints(authority).permitted for name, authority in authorities.items()}
    for authority, domains in permitted.items():
        for name in (trace.url.host, *dns_names(trace.served.leaf)):
            if not covers(domains, name.removeprefix("*.")):
                raise explain_violation(trace, name, authority, domains or ())
    if trace.served.code:
        raise broken(trace.url.host, reissue_command(trace), CertificateReason.CONSTRAINT_VIOLATED,
                     error=trace.served.error)
    return Found(trace.url.host, "; ".join(
        f"{authority} for {', '.join(domains or ('every name',))}" for authority, domains in permitted.items()))


def explain_violation(trace: TraceContext, name: str, authority: str, domains: tuple[str, ...]) -> Broken:
    permitted, route = ", ".join(domains), trace.route
    if name == trace.url.host:
        return broken(name, trace.inv("configure"), CertificateReason.NAME_OUTSIDE_CONSTRAINT, authority=authority,
                      permitted=permitted)
    command = trace.fix(f"edit ingress {route.name}") if route and name in route.names else reissue_command(trace)
    return broken(name, command, CertificateReason.OTHER_NAME_OUTSIDE_CONSTRAINT, authority=authority,
                  permitted=permitted)
