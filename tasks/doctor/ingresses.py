"""Checks of the user's Ingresses: their hosts, certificates, classes, issuers and Services."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from tasks.ca.constraints import covers
from tasks.core.well_known import ISSUER
from tasks.doctor.check import ERROR, WARNING, Checks, ClusterView
from tasks.probe.snapshot import Object

CHECKS = Checks()


check = CHECKS.check

ISSUER_ANNOTATION = "cert-manager.io/cluster-issuer"


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
        read_annotation(found, "cert-manager.io/issuer") == ISSUER
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
