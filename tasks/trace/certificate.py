"""The certificate that is served for the name, and what it may be for."""

from __future__ import annotations

from datetime import datetime, timezone

from invoke import Exit

from tasks.ca.constraints import covers, permitted_domains
from tasks.ca.root import load_root
from tasks.ca.signatures import is_issued_by
from tasks.probe.ingress_routes import covers_host
from tasks.probe.snapshot import read_condition
from tasks.probe.tls import ServedCertificate, dns_names, issuer_name
from tasks.trace.context import Broken, Found, TraceContext


def certificate(walk: TraceContext) -> Found:
    """What is served for the name is for it, in time, and of this cluster's intermediate and our root."""
    host, chain = walk.address.host, walk.seen.chain
    try:
        load_root(walk.cluster.settings)
        leaf = walk.served.leaf
    except Exit as error:
        raise Broken(host, str(error.message).splitlines()[0], "inv cert") from None
    except OSError as error:
        raise Broken(host, f"no TLS: {error}", walk.kubectl("-n kube-system logs deployment/traefik --tail=20")
                     ) from None
    if walk.served.by_traefik:
        raise Broken(host, *explain_default_certificate(walk))
    if not any(covers_host(name, host) for name in dns_names(walk.served.leaf)):
        raise Broken(host, f"the certificate is for {', '.join(dns_names(walk.served.leaf)) or 'no name'}",
                     walk.mend(f"edit ingress {walk.route.name}" if walk.route else "get ingresses"))
    now = datetime.now(timezone.utc)
    if not leaf.not_valid_before_utc <= now <= leaf.not_valid_after_utc:
        ended = leaf.not_valid_after_utc < now
        raise Broken(host, f"the certificate ended on {leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC" if ended else
                     f"the certificate begins on {leaf.not_valid_before_utc:%Y-%m-%d %H:%M} UTC", reissue_command(walk))
    if not is_issued_by(to_pem(walk.served), chain):
        missing = "" if chain else ", which is missing"
        raise Broken(host, f"the certificate is signed by {issuer_name(leaf)}, and not by {walk.cluster.name}'s "
                     f"intermediate{missing}", walk.inv("configure"))
    if walk.served.code and not walk.served.breaks_a_constraint:
        raise Broken(host, f"the chain does not lead to the root: {walk.served.error}", walk.inv("configure"))
    return Found(host, f"signed by {issuer_name(leaf)}, until {leaf.not_valid_after_utc:%Y-%m-%d}")


def explain_default_certificate(walk: TraceContext) -> tuple[str, str]:
    """Why Traefik has no certificate for the name and serves its own: what is missing for it, and what to type."""
    from cryptography import x509

    own, route = "Traefik serves its own default certificate: ", walk.route
    if route is None:
        return f"{own}it has none for this name", walk.kubectl("get certificates -A")
    if route.secret is None:
        return f"{own}the Ingress {route.name} has no `tls` for this host", walk.mend(f"edit ingress {route.name}")
    found = next((entry for entry in walk.seen.all("Certificate") if entry["spec"].get("secretName") == route.secret
                  and entry["metadata"]["namespace"] == route.namespace), None)
    if found is None:
        return (f"{own}nothing makes the secret {route.secret} of the Ingress {route.name}",
                walk.mend(f"annotate ingress {route.name} cert-manager.io/cluster-issuer=root-ca"))
    ready, message = read_condition(found, "Ready")
    name = found["metadata"]["name"]
    if not ready:
        return f"{own}the Certificate {name} is not ready: {message}", walk.in_namespace(f"describe certificate {name}")
    secret = walk.seen.leaves.get((route.namespace, route.secret))
    if secret is None:
        return (f"{own}there is no secret {route.secret}. Does cert-manager run?",
                walk.kubectl("-n cert-manager get pods"))
    names = ", ".join(dns_names(x509.load_pem_x509_certificate(secret)))
    return f"{own}the secret {route.secret} is for {names}", reissue_command(walk)


def reissue_command(walk: TraceContext) -> str:
    """The secret goes, and cert-manager makes a new one."""
    secret = walk.route.secret if walk.route else None
    return walk.in_namespace(f"delete secret {secret}" if secret else "get certificates")


def to_pem(found: ServedCertificate) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return found.leaf.public_bytes(Encoding.PEM)


def name_constraint(walk: TraceContext) -> Found:
    """All names of the certificate are inside of what intermediate and root may sign for."""
    from cryptography import x509

    chain = {"intermediate": x509.load_pem_x509_certificates(walk.seen.chain)[0],
             "root": load_root(walk.cluster.settings)}
    permitted = {whose: permitted_domains(authority) for whose, authority in chain.items()}
    for whose, domains in permitted.items():
        for name in (walk.address.host, *dns_names(walk.served.leaf)):
            if not covers(domains, name.removeprefix("*.")):
                allowed = f"outside of what the {whose} may sign for: {', '.join(domains or ())}"
                if name == walk.address.host:
                    raise Broken(name, allowed, walk.inv("configure"))
                raise Broken(name, f"the certificate names it too, and it is {allowed}",
                             walk.mend(f"edit ingress {walk.route.name}") if walk.route and name in walk.route.names
                             else reissue_command(walk))
    if walk.served.code:
        raise Broken(walk.address.host, walk.served.error, reissue_command(walk))
    return Found(walk.address.host, "; ".join(
        f"{whose} for {', '.join(domains or ('every name',))}" for whose, domains in permitted.items()))
