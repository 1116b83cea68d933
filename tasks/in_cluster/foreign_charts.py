"""Charts that somebody else has installed: whose they are, and whether they will do."""

from __future__ import annotations

from typing import NamedTuple

from tasks.core.settings import Cluster
from tasks.core.shell import Shell
from tasks.core.well_known import CERT_MANAGER, KUBE_SYSTEM
from tasks.probe.objects import Object, get_object, list_objects
from tasks.tools.required import format_version, parse_version

NAMESPACES = {"cert-manager": CERT_MANAGER, "trust-manager": CERT_MANAGER, "traefik": KUBE_SYSTEM}

CRDS = {
    "cert-manager": ("clusterissuers.cert-manager.io", "v1"),
    "trust-manager": ("bundles.trust.cert-manager.io", "v1alpha1"),
}
"""Of these charts, a kind that is applied here, and the version of its API."""

# Older ones of cert-manager are out of support: https://cert-manager.io/docs/releases/
# The Bundle uses profiles of PKCS#12: https://cert-manager.io/docs/trust/trust-manager/api-reference/
OLDEST = {"cert-manager": (1, 12, 0), "trust-manager": (0, 11, 0)}


class Foreign(NamedTuple):
    """A chart's Deployment that is not of a Helm release of these tasks."""

    owner: str
    """Who manages it, for people."""
    namespace: str
    version: str


def find(shell: Shell, cluster: Cluster, name: str) -> Foreign | None:
    """The one that somebody else has installed, in whichever namespace."""
    deployments = list_objects(shell, cluster, "deployments", "-l", f"app.kubernetes.io/name={name}")
    return next((read(found, name) for found in deployments if find_owner(found, name)), None)


def read(deployment: Object, name: str) -> Foreign:
    metadata = deployment["metadata"]
    containers = deployment["spec"].get("template", {}).get("spec", {}).get("containers", [])
    tag = next((str(container.get("image", "")).partition("@")[0].rpartition(":")[2] for container in containers), "")
    version = (metadata.get("labels") or {}).get("app.kubernetes.io/version") or tag
    return Foreign(find_owner(deployment, name), metadata.get("namespace", ""), version)


def find_owner(deployment: Object, name: str) -> str:
    """Who manages a Deployment; empty if it is of the Helm release that these tasks install, or would take over."""
    metadata = deployment["metadata"]
    labels, notes = metadata.get("labels") or {}, metadata.get("annotations") or {}
    for kind, group in (("HelmRelease", "helm.toolkit.fluxcd.io"), ("Kustomization", "kustomize.toolkit.fluxcd.io")):
        if owner := labels.get(f"{group}/name"):
            return f"Flux ({kind} {labels.get(f'{group}/namespace', '?')}/{owner})"
    tracked = notes.get("argocd.argoproj.io/tracking-id", "").partition(":")[0]
    if application := tracked or labels.get("argocd.argoproj.io/instance") or notes.get("argocd.argoproj.io/instance"):
        return f"Argo CD (Application {application})"
    release, namespace = (notes.get(f"meta.helm.sh/release-{key}", "") for key in ("name", "namespace"))
    if release:
        return "" if (release, namespace) == (name, NAMESPACES[name]) else f"Helm (release {namespace}/{release})"
    manager = labels.get("app.kubernetes.io/managed-by", "")
    return manager if manager and manager != "Helm" else "kubectl or another program"


def find_obstacle(shell: Shell, cluster: Cluster, name: str, found: Foreign) -> str:
    """Why these tasks cannot work with it; empty if they can."""
    if found.namespace != NAMESPACES[name]:
        return f"it is in the namespace {found.namespace}, and {NAMESPACES[name]} is needed"
    if name not in CRDS:
        return ""
    if parse_version(found.version) < OLDEST[name]:
        return f"{format_version(OLDEST[name])} or newer is needed"
    crd, version = CRDS[name]
    versions = get_object(shell, cluster, "crd", crd, CERT_MANAGER)["spec"].get("versions", [])
    if not any(entry.get("name") == version and entry.get("served") for entry in versions):
        return f"the CRD {crd} with version {version} is missing"
    return ""
