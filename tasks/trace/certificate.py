"""The hops of HTTPS: the certificate that is served for the name, and the name constraints on it."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING

from tasks.acme.certificate import find_usable
from tasks.ca.constraints import covers, read_constraints
from tasks.ca.load import RootReason
from tasks.ca.names import dns_names, issuer_name
from tasks.ca.root import RENEW
from tasks.ca.signatures import is_issued_by, load_chain
from tasks.core.problems import ProblemExit, Reason
from tasks.core.well_known import ISSUER
from tasks.probe.routes import Route, covers_host
from tasks.trace.certificate_commands import OWN_ISSUER, is_owned, reissue_command, use_own_issuer_command
from tasks.trace.commands import patch_command
from tasks.trace.context import HopFailure, HopResult, TraceContext, unknown
from tasks.trace.issuance import explain_default_certificate

if TYPE_CHECKING:
    from cryptography.x509 import Certificate


class CertificateReason(Reason):
    NO_TLS = "no TLS: {error}"
    CERTIFICATE_FOR_OTHER_NAMES = "the certificate is for {names}"
    CERTIFICATE_EXPIRED = "the certificate expired on {date} UTC"
    CERTIFICATE_NOT_YET_VALID = "the certificate is not valid until {date} UTC. Is this machine's clock correct?"
    CERTIFICATE_OF_OTHER_ISSUER = "the certificate was issued by {issuer}, not by {cluster}'s intermediate{missing}"
    OTHER_ISSUER_CHOSEN = ("the certificate was issued by the {kind} {name}, which this machine does not trust. This "
                           "cluster has {own}")
    ACME_CERTIFICATE_NOT_SERVED = ("Traefik serves its own certificate, not the one of the ACME server for *.{domain}")
    ACME_CERTIFICATE_REPLACED = ("the certificate was issued by {issuer} and is valid until {date}, but this machine "
                                 "has another one")
    STAGING = ("the certificate was issued by {issuer}, a staging server, which no program trusts. Set ACME_SERVER in "
               ".env to that of production")
    CHAIN_UNTRUSTED = ("this machine does not trust it: {error}. For a server that is not public, set ACME_CA_FILE in "
                       ".env")
    PUBLIC_CA = "issued by a public CA, which has none of these"
    CHAIN_BROKEN = "the chain does not verify against the root: {error}"
    NAME_OUTSIDE_CONSTRAINT = "outside the name constraint of the {authority}, which permits {permitted}"
    OTHER_NAME_OUTSIDE_CONSTRAINT = ("the certificate also covers this name, which is outside the name constraint of "
                                     "the {authority}: it permits {permitted}")
    CONSTRAINT_VIOLATED = "{error}"


def check_certificate(trace: TraceContext) -> HopResult:
    """The certificate covers the name, is valid now, and was issued by the cluster's intermediate under our root."""
    host = trace.url.host
    leaf = load_served(trace)
    if trace.served.by_traefik and trace.cluster.settings.acme and not (trace.route and trace.route.secret):
        raise HopFailure(host, trace.inv_command("configure"), CertificateReason.ACME_CERTIFICATE_NOT_SERVED,
                         domain=trace.cluster.domain)
    if trace.served.by_traefik:
        why, command = explain_default_certificate(trace)
        raise HopFailure(host, trace.example_command or command, why)
    if not any(covers_host(name, host) for name in dns_names(leaf)):
        raise HopFailure(host, trace.example_command, CertificateReason.CERTIFICATE_FOR_OTHER_NAMES,
                         names=", ".join(dns_names(leaf)) or "no name")
    now = datetime.now(timezone.utc)
    if leaf.not_valid_after_utc < now:
        raise HopFailure(host, RENEW if is_default(trace) else reissue_command(trace),
                         CertificateReason.CERTIFICATE_EXPIRED,
                         date=f"{leaf.not_valid_after_utc:%Y-%m-%d %H:%M}")
    if leaf.not_valid_before_utc > now:
        raise HopFailure(host, "", CertificateReason.CERTIFICATE_NOT_YET_VALID,
                         date=f"{leaf.not_valid_before_utc:%Y-%m-%d %H:%M}")
    if is_default(trace):
        return check_acme_certificate(trace, leaf)
    chain = load_chain(trace.snapshot.chain)
    if not chain or not is_issued_by(leaf, chain[0]):
        raise explain_other_issuer(trace, leaf, missing="" if chain else ", which is missing")
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
        raise HopFailure(trace.url.host, "", CertificateReason.NO_TLS, error=error) from None


def explain_other_issuer(trace: TraceContext, leaf: Certificate, missing: str) -> HopFailure:
    """The Ingress names another issuer, or our intermediate was replaced since."""
    host, route, certificate = trace.url.host, trace.route, trace.find_certificate()
    reference = (certificate or {"spec": {}})["spec"].get("issuerRef") or {}
    if route and certificate and reference and (reference.get("kind"), reference["name"]) != ("ClusterIssuer", ISSUER):
        command = use_own_issuer_command(trace, route) if is_owned(certificate, route) else ""
        return HopFailure(host, trace.example_command or command, CertificateReason.OTHER_ISSUER_CHOSEN,
                          kind=reference.get("kind", "Issuer"), name=reference["name"], own=OWN_ISSUER)
    return HopFailure(host, trace.inv_command("configure"), CertificateReason.CERTIFICATE_OF_OTHER_ISSUER,
                      issuer=issuer_name(leaf), cluster=trace.cluster.name, missing=missing)


def is_default(trace: TraceContext) -> bool:
    """Whether it is the certificate of the ACME server that Traefik serves by default: no other one is for the name."""
    return trace.cluster.settings.acme and not (trace.route and trace.route.secret)


def check_acme_certificate(trace: TraceContext, leaf: Certificate) -> HopResult:
    """It is the one on this machine, which programs trust."""
    host, issuer, date = trace.url.host, issuer_name(leaf), f"{leaf.not_valid_after_utc:%Y-%m-%d}"
    found = find_usable(trace.cluster)
    if found is None or found.leaf != leaf:
        raise HopFailure(host, trace.inv_command("configure"), CertificateReason.ACME_CERTIFICATE_REPLACED,
                         issuer=issuer, date=date)
    if found.is_staging:
        raise HopFailure(host, "", CertificateReason.STAGING, issuer=issuer)
    if trace.served.code:
        raise HopFailure(host, "", CertificateReason.CHAIN_UNTRUSTED, error=trace.served.error)
    return HopResult(host, f"issued by {issuer}, valid until {date}")


def check_name_constraints(trace: TraceContext) -> HopResult:
    """All names in the certificate are within the name constraints of intermediate and root."""
    if is_default(trace):
        return unknown(trace.url.host, CertificateReason.PUBLIC_CA)
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
    command = remove_host_command(trace, route, name) if route and name in route.tls_hosts else reissue_command(trace)
    return HopFailure(name, command, CertificateReason.OTHER_NAME_OUTSIDE_CONSTRAINT, authority=authority,
                      permitted=permitted)


def remove_host_command(trace: TraceContext, route: Route, name: str) -> str:
    """Remove the name from `tls`, so that the certificate is issued without it."""
    tls = [{**entry, "hosts": [host for host in entry.get("hosts") or [] if host != name]}
           for entry in route.source["spec"]["tls"]]
    return patch_command(trace.cluster, route, {"spec": {"tls": [entry for entry in tls if entry["hosts"]]}})
