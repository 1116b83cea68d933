"""The hops of HTTPS: the certificate that is served for the name, and the name constraints on it."""

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
from tasks.trace.context import HopFailure, HopResult, TraceContext

if TYPE_CHECKING:
    from cryptography.x509 import Certificate


class CertificateReason(Reason):
    NO_TLS = "no TLS: {error}"
    CERTIFICATE_FOR_OTHER_NAMES = "the certificate is for {names}"
    CERTIFICATE_EXPIRED = "the certificate expired on {date} UTC"
    CERTIFICATE_NOT_YET_VALID = "the certificate is not valid until {date} UTC"
    CERTIFICATE_OF_OTHER_ISSUER = "the certificate was issued by {issuer}, not by {cluster}'s intermediate{missing}"
    CHAIN_BROKEN = "the chain does not verify against the root: {error}"
    NAME_OUTSIDE_CONSTRAINT = "outside the name constraint of the {authority}, which permits {permitted}"
    OTHER_NAME_OUTSIDE_CONSTRAINT = ("the certificate also covers this name, which is outside the name constraint of "
                                     "the {authority}: it permits {permitted}")
    CONSTRAINT_VIOLATED = "{error}"


class DefaultCertificateReason(Reason):
    """Why Traefik has no certificate for the name, and serves its default certificate."""

    NO_INGRESS = "Traefik serves its default certificate: no Ingress has `tls` for this name"
    NO_TLS_SECTION = "Traefik serves its default certificate: the Ingress {ingress} has no `tls` for this host"
    NO_CERTIFICATE = ("Traefik serves its default certificate: nothing creates the secret {secret} of the Ingress "
                      "{ingress}")
    CERTIFICATE_NOT_READY = ("Traefik serves its default certificate: the Certificate {certificate} is not ready: "
                             "{message}")
    NO_SECRET = "Traefik serves its default certificate: the secret {secret} does not exist. Is cert-manager running?"
    SECRET_FOR_OTHER_NAMES = "Traefik serves its default certificate: the secret {secret} is for {names}"


def check_certificate(trace: TraceContext) -> HopResult:
    """The certificate covers the name, is valid now, and was issued by the cluster's intermediate under our root."""
    host = trace.url.host
    leaf = load_served(trace)
    if trace.served.by_traefik:
        why, command = explain_default_certificate(trace)
        raise HopFailure(host, command, why)
    if not any(covers_host(name, host) for name in dns_names(leaf)):
        command = trace.fix_command(f"edit ingress {trace.route.name}" if trace.route else "get ingresses")
        raise HopFailure(host, command,
                         CertificateReason.CERTIFICATE_FOR_OTHER_NAMES, names=", ".join(dns_names(leaf)) or "no name")
    now = datetime.now(timezone.utc)
    if leaf.not_valid_after_utc < now:
        raise HopFailure(host, reissue_command(trace), CertificateReason.CERTIFICATE_EXPIRED,
                         date=f"{leaf.not_valid_after_utc:%Y-%m-%d %H:%M}")
    if leaf.not_valid_before_utc > now:
        raise HopFailure(host, reissue_command(trace), CertificateReason.CERTIFICATE_NOT_YET_VALID,
                         date=f"{leaf.not_valid_before_utc:%Y-%m-%d %H:%M}")
    chain = load_chain(trace.snapshot.chain)
    if not chain or not is_issued_by(leaf, chain[0]):
        raise HopFailure(host, trace.inv_command("configure"), CertificateReason.CERTIFICATE_OF_OTHER_ISSUER,
                         issuer=issuer_name(leaf), cluster=trace.cluster.name,
                         missing="" if chain else ", which is missing")
    if trace.served.code and not trace.served.violates_constraint:
        raise HopFailure(host, trace.inv_command("configure"), CertificateReason.CHAIN_BROKEN, error=trace.served.error)
    return HopResult(host, f"issued by {issuer_name(leaf)}, valid until {leaf.not_valid_after_utc:%Y-%m-%d}")


def load_served(trace: TraceContext) -> Certificate:
    try:
        _ = trace.root  # the served certificate is verified against it
        return trace.served.leaf
    except ProblemExit as error:
        missing = error.problem.reason == RootReason.ROOT_MISSING
        raise HopFailure(trace.url.host, "inv cert" if missing else RENEW, error.problem) from None
    except OSError as error:
        raise HopFailure(trace.url.host, trace.log_command, CertificateReason.NO_TLS, error=error) from None


def explain_default_certificate(trace: TraceContext) -> tuple[Problem, str]:
    """Why there is no certificate for the name, and the command to run."""
    route = trace.route
    if route is None:
        return problem(DefaultCertificateReason.NO_INGRESS), trace.kubectl_command("get certificates -A")
    if route.secret is None:
        return (problem(DefaultCertificateReason.NO_TLS_SECTION, ingress=route.name),
                trace.fix_command(f"edit ingress {route.name}"))
    issued = next((entry for entry in trace.snapshot.all("Certificate")
                  if entry["spec"].get("secretName") == route.secret
                  and entry["metadata"]["namespace"] == route.namespace), None)
    if issued is None:
        return (problem(DefaultCertificateReason.NO_CERTIFICATE, secret=route.secret, ingress=route.name),
                trace.fix_command(f"annotate ingress {route.name} cert-manager.io/cluster-issuer=root-ca"))
    ready, message = read_condition(issued, "Ready")
    name = issued["metadata"]["name"]
    if not ready:
        return (problem(DefaultCertificateReason.CERTIFICATE_NOT_READY, certificate=name, message=message),
                trace.namespaced_command(f"describe certificate {name}"))
    secret = trace.snapshot.leaves.get((route.namespace, route.secret))
    if secret is None:
        return (problem(DefaultCertificateReason.NO_SECRET, secret=route.secret),
                trace.kubectl_command("-n cert-manager get pods"))
    names = ", ".join(name for leaf in load_chain(secret)[:1] for name in dns_names(leaf))
    return (problem(DefaultCertificateReason.SECRET_FOR_OTHER_NAMES, secret=route.secret, names=names),
            reissue_command(trace))


def reissue_command(trace: TraceContext) -> str:
    """Delete the secret, so that cert-manager issues the certificate again."""
    secret = trace.route.secret if trace.route else None
    return trace.namespaced_command(f"delete secret {secret}" if secret else "get certificates")


def check_name_constraints(trace: TraceContext) -> HopResult:
    """All names in the certificate are within the name constraints of intermediate and root."""
    authorities = {"intermediate": load_chain(trace.snapshot.chain)[0], "root": trace.root.certificate}
    permitted = {name: read_constraints(authority).permitted for name, authority in authorities.items()}
    for authority, domains in permitted.items():
        for name in (trace.url.host, *dns_names(trace.served.leaf)):
            if not covers(domains, name.removeprefix("*.")):
                raise explain_violation(trace, name, authority, domains or ())
    if trace.served.code:
        raise HopFailure(trace.url.host, reissue_command(trace), CertificateReason.CONSTRAINT_VIOLATED,
                         error=trace.served.error)
    return HopResult(trace.url.host, "; ".join(
        f"{authority} permits {', '.join(domains or ('every name',))}" for authority, domains in permitted.items()))


def explain_violation(trace: TraceContext, name: str, authority: str, domains: tuple[str, ...]) -> HopFailure:
    permitted, route = ", ".join(domains), trace.route
    if name == trace.url.host:
        return HopFailure(name, trace.inv_command("configure"), CertificateReason.NAME_OUTSIDE_CONSTRAINT,
                          authority=authority, permitted=permitted)
    command = (trace.fix_command(f"edit ingress {route.name}") if route and name in route.tls_hosts
               else reissue_command(trace))
    return HopFailure(name, command, CertificateReason.OTHER_NAME_OUTSIDE_CONSTRAINT, authority=authority,
                      permitted=permitted)
