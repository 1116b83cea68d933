"""Checks of the user's Ingresses: their hosts, certificates, classes, issuers and Services."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from tasks.ca.constraints import covers
from tasks.ca.names import dns_names
from tasks.ca.signatures import load_chain
from tasks.core.problems import Problem, Reason, problem
from tasks.core.well_known import ISSUER
from tasks.doctor.check import ERROR, WARNING, Checks, ClusterView
from tasks.probe.issued import read_secret_certificate
from tasks.probe.routes import class_of, covers_host, is_read_by_traefik, traefik_classes
from tasks.probe.snapshot import Object, read_condition

CHECKS = Checks()


check = CHECKS.check

ISSUER_ANNOTATION = "cert-manager.io/cluster-issuer"
NAMESPACED_ISSUER_ANNOTATION = "cert-manager.io/issuer"


USAGES_ANNOTATION = "cert-manager.io/usages"


def list_ingresses(view: ClusterView) -> Iterator[tuple[str, Object]]:
    """Each Ingress, after its namespace and name."""
    for ingress in view.snapshot.all("Ingress"):
        yield f"{ingress['metadata']['namespace']}/{ingress['metadata']['name']}", ingress


def list_paths(ingress: Object) -> Iterator[tuple[str, Object]]:
    """Each path, after the host of its rule."""
    for rule in ingress["spec"].get("rules") or []:
        for path in (rule.get("http") or {}).get("paths") or []:
            yield rule.get("host", "*"), path


def read_annotation(ingress: Object, key: str) -> str:
    return str((ingress["metadata"].get("annotations") or {}).get(key, ""))


@check("ingress-host", ERROR,
       "The intermediate may not sign for it. cert-manager issues the certificate anyway, and every client rejects it.",
       "Give the Ingress a host below the cluster's domain.", needs=["api"],
       link="https://datatracker.ietf.org/doc/html/rfc5280#section-4.2.1.10")
def hosts(view: ClusterView) -> Iterator[str]:
    """Every host with a certificate from root-ca is below the cluster's domain"""
    for found, hosts in requested_hosts(view):
        metadata = found["metadata"]
        what = f"{metadata['namespace']}/{metadata['name']}"
        kind = "" if found["kind"] == "Ingress" else f"{found['kind']} "
        for host in hosts:
            if not covers((view.cluster.domain,), host.lower().removeprefix("*.")):
                yield f"{kind}{what}: {host} is not below {view.cluster.domain}{describe_owner(found)}"


def requested_hosts(view: ClusterView) -> Iterator[tuple[Object, list[str]]]:
    """What asks root-ca for certificates, with the hosts; a Certificate of an Ingress or a Gateway is named by that."""
    for found in view.snapshot.objects:
        spec = found["spec"]
        if found["kind"] == "Ingress" and asks_root_ca(found):
            yield found, [host for entry in spec.get("tls") or [] for host in entry.get("hosts") or []]
        elif found["kind"] == "Gateway" and asks_root_ca(found):
            yield found, [listener["hostname"] for listener in spec.get("listeners") or [] if listener.get("hostname")
                          and (listener.get("tls") or {"mode": ""}).get("mode", "Terminate") == "Terminate"]
        elif (found["kind"] == "Certificate" and not found["metadata"].get("ownerReferences")
              and spec.get("issuerRef", {}).get("name") == ISSUER
              and spec["issuerRef"].get("kind") == "ClusterIssuer"):
            yield found, [*spec.get("dnsNames", []), *spec.get("ipAddresses", [])]


def asks_root_ca(found: Object) -> bool:
    return read_annotation(found, ISSUER_ANNOTATION) == ISSUER or (
        read_annotation(found, NAMESPACED_ISSUER_ANNOTATION) == ISSUER
        and read_annotation(found, "cert-manager.io/issuer-kind") == "ClusterIssuer")


def describe_owner(found: Object) -> str:
    """Who would have to change it, as far as it tells."""
    metadata = found["metadata"]
    labels = metadata.get("labels") or {}
    owners = [f"{owner['kind']} {owner['name']}" for owner in metadata.get("ownerReferences") or []]
    told = {
        "Helm release": read_annotation(found, "meta.helm.sh/release-name"),
        "Argo CD application": read_annotation(found, "argocd.argoproj.io/tracking-id").partition(":")[0],
        "Flux Kustomization": labels.get("kustomize.toolkit.fluxcd.io/name", ""),
        "": labels.get("app.kubernetes.io/managed-by", ""),
    }
    owners += [f"{kind} {name}".strip() for kind, name in told.items() if name]
    return f" (it belongs to {owners[0]})" if owners else ""


@check("ingress-usages", WARNING, "cert-manager omits \"server auth\" by default, and macOS and iOS require it.",
       'Annotate the Ingress with cert-manager.io/usages: "server auth,digital signature,key encipherment"',
       needs=["api"], link="https://support.apple.com/en-us/103769")
def usages(view: ClusterView) -> Iterator[str]:
    """Certificates of Ingresses have the usage "server auth", which macOS requires"""
    for name, ingress in list_ingresses(view):
        has_usage = "server auth" in read_annotation(ingress, USAGES_ANNOTATION)
        if read_annotation(ingress, ISSUER_ANNOTATION) == ISSUER and not has_usage:
            yield f"{name} has no annotation {USAGES_ANNOTATION} with \"server auth\""


@check("ingress-backend", WARNING, "The Service was renamed, its selector matches no pod, or its pods are not ready.",
       "kubectl --context {context} get ingress,service,pods -A", needs=["api"])
def backends(view: ClusterView) -> Iterator[str]:
    """Every Ingress points to a Service with ready pods"""
    for name, ingress in list_ingresses(view):
        namespace = ingress["metadata"]["namespace"]
        for service in {path.get("backend", {}).get("service", {}).get("name", "") for _, path in list_paths(ingress)}:
            if service and not view.snapshot.one("Service", service, namespace):
                yield f"{name}: there is no Service {namespace}/{service}"
            elif service and not view.snapshot.ready_endpoints(service, namespace):
                yield f"{name}: the Service {namespace}/{service} has no ready pod"


@check("ingress-twice", WARNING, "An Ingress was copied.", "Change the host or the path of one of them.", needs=["api"])
def twice(view: ClusterView) -> Iterator[str]:
    """No two Ingresses have the same host and path"""
    names_by_path = defaultdict(list)
    for name, ingress in list_ingresses(view):
        for host, path in list_paths(ingress):
            names_by_path[host, path.get("path", "/")].append(name)
    for (host, path), names in names_by_path.items():
        if len(names) > 1:
            yield f"{host}{path}: {', '.join(names)}"


class CertificateReason(Reason):
    SECRET_NAME_MISSING = "{ingress}: tls for {host} has no secretName, so cert-manager issues no certificate for it"
    SECRET_MISSING = "{ingress}: the secret {secret} for {host} does not exist"
    HOST_MISSING = "{ingress}: {host} is not in the certificate in the secret {secret}, which is for {names}"


@check("ingress-certificate", WARNING, "Several Ingresses share a secretName, or a host was added to `tls` of an "
       "Ingress whose certificate was made by hand. Traefik serves its default certificate for such a host.",
       "Give each Ingress a secretName of its own; the annotation cert-manager.io/cluster-issuer: root-ca issues the "
       "certificate.", needs=["leaves"], link="https://cert-manager.io/docs/usage/ingress/")
def certificates(view: ClusterView) -> Iterator[Problem]:
    """Every TLS host of an Ingress is in the certificate that is served for it"""
    served = {host for leaf in view.snapshot.leaves.values() for host in names_in(leaf)}
    for name, ingress in list_ingresses(view):
        for entry in ingress["spec"].get("tls") or [] if is_read_by_traefik(view.snapshot, ingress) else []:
            for host in entry.get("hosts") or []:
                # Traefik chooses among the certificates of all Ingresses by the name that the client asks for.
                if not any(covers_host(pattern, host) for pattern in served):
                    yield from explain_host(view, ingress, name, host, str(entry.get("secretName", "")))


def explain_host(view: ClusterView, ingress: Object, name: str, host: str, secret: str) -> Iterator[Problem]:
    namespace = ingress["metadata"]["namespace"]
    if not secret:
        if any(read_annotation(ingress, key) for key in (ISSUER_ANNOTATION, NAMESPACED_ISSUER_ANNOTATION)):
            yield problem(CertificateReason.SECRET_NAME_MISSING, ingress=name, host=host)
        return
    certificate = next((entry for entry in view.snapshot.all("Certificate") if entry["spec"].get("secretName") == secret
                        and entry["metadata"]["namespace"] == namespace), None)
    if certificate and not read_condition(certificate, "Ready")[0]:
        return  # the check `certificates` reports it
    pem = view.snapshot.leaves.get((namespace, secret)) or read_secret_certificate(
        view.shell, view.cluster, namespace, secret)
    names = names_in(pem)
    if not pem:
        yield problem(CertificateReason.SECRET_MISSING, ingress=name, secret=f"{namespace}/{secret}", host=host)
    elif not any(covers_host(pattern, host) for pattern in names):
        yield problem(CertificateReason.HOST_MISSING, ingress=name, secret=f"{namespace}/{secret}", host=host,
                      names=", ".join(names) or "no name")


def names_in(pem: bytes) -> list[str]:
    return [name for leaf in load_chain(pem)[:1] for name in dns_names(leaf)]


@check("ingress-class", WARNING, "The Ingress was written for a cluster with another ingress controller.",
       "Remove ingressClassName and the annotation kubernetes.io/ingress.class from the Ingress, or set a class that "
       "exists: kubectl --context {context} get ingressclasses", needs=["api"],
       link="https://kubernetes.io/docs/concepts/services-networking/ingress/#ingress-class")
def classes(view: ClusterView) -> Iterator[str]:
    """Every class that an Ingress names exists"""
    served = ", ".join(traefik_classes(view.snapshot)) or "traefik"
    for name, ingress in list_ingresses(view):
        found = class_of(ingress)
        if found and not view.snapshot.one("IngressClass", found) and not is_read_by_traefik(view.snapshot, ingress):
            yield f"{name} has the class {found}, which does not exist. Traefik serves the class {served}"


@check("ingress-issuer", WARNING, "The Ingress was written for a cluster with another issuer.",
       "Annotate the Ingress with cert-manager.io/cluster-issuer: root-ca", needs=["issuer"],
       link="https://cert-manager.io/docs/usage/ingress/#supported-annotations")
def issuers(view: ClusterView) -> Iterator[str]:
    """Every issuer that an Ingress names exists"""
    for name, ingress in list_ingresses(view):
        if read_annotation(ingress, "cert-manager.io/issuer-group") not in ("", "cert-manager.io"):
            continue
        kind, issuer = "ClusterIssuer", read_annotation(ingress, ISSUER_ANNOTATION)
        if not issuer:
            kind = read_annotation(ingress, "cert-manager.io/issuer-kind") or "Issuer"
            issuer = read_annotation(ingress, NAMESPACED_ISSUER_ANNOTATION)
        namespace = ingress["metadata"]["namespace"] if kind == "Issuer" else ""
        if issuer and not view.snapshot.one(kind, issuer, namespace):
            yield f"{name} names the {kind} {issuer}, which does not exist. This cluster has the ClusterIssuer {ISSUER}"
