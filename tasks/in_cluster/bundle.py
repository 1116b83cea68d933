"""trust-manager and its Bundle: public CAs, our root and the company's CAs, for labelled namespaces."""

from __future__ import annotations

import time
from datetime import datetime, timezone

from tasks.ca.root import Roots
from tasks.core.ca_bundle import read_ca_bundle
from tasks.core.settings import Cluster, Settings
from tasks.core.shell import Shell
from tasks.core.templates import short_hash
from tasks.core.well_known import CERT_MANAGER, ISSUER, MANAGER, TRUST_BUNDLE
from tasks.in_cluster import charts
from tasks.in_cluster.apply import apply_admitted, render_manifest
from tasks.probe.objects import Object, get_object, list_objects
from tasks.probe.pod_trust import FILE_BY, OwnedPods, group_by_owner, is_running, mounted_config_maps

IN_PODS_SECONDS = 100
"""The kubelet updates the volumes of a pod every 60 to 90 s: syncFrequency, plus a random half of it at most."""


def configure(shell: Shell, cluster: Cluster, roots: Roots) -> None:
    """Install the chart, and apply the Bundle with these roots."""
    hand_webhook_to_helm(shell, cluster)
    charts.install(shell, cluster, "trust-manager")
    settings = cluster.settings
    with shell.step(cluster.name, f"trust bundle {TRUST_BUNDLE}") as this:
        values = load_bundle_sources(settings, roots)
        apply_admitted(shell, cluster, "trust-manager", render_manifest(cluster, "in_cluster/root-ca.yaml", **values),
                       render_manifest(cluster, "in_cluster/bundle.yaml", **values))
        shell.wait("the Bundle", settings.timeout_ready, *cluster.kubectl, "wait", f"bundle/{TRUST_BUNDLE}",
                   "--for=condition=Synced", f"--timeout={settings.timeout_ready}s")
        this.outcome = "synced"


def wait_for_pods(shell: Shell, cluster: Cluster, roots: Roots) -> None:
    """Wait until pods that mount the bundle have its latest content, which the kubelet reports nowhere.

    If both roots have the same key, the former one verifies everything, and there is no need to wait.
    """
    if roots.retiring is None or roots.share_one_key:
        return
    pods = [] if shell.dry else list_objects(shell, cluster, "pods")
    if not any(mounts_bundle(pod) for pod in pods):
        return
    changed = find_last_change(shell, cluster)
    if with_file := group_by_owner(pod for pod in pods if has_older_file(pod, changed)):
        restart_with_file(shell, cluster, with_file)
    with shell.step(cluster.name, "both roots in pods") as this:
        since = time.time() - changed
        ready = time.monotonic() + IN_PODS_SECONDS - min(max(since, 0), IN_PODS_SECONDS)
        shell.until("the kubelet", IN_PODS_SECONDS + 10, lambda: time.monotonic() >= ready)
        this.outcome = f"updated: the kubelet needs up to {IN_PODS_SECONDS} s"


def restart_with_file(shell: Shell, cluster: Cluster, pods: list[OwnedPods]) -> None:
    """Restart these pods: a running container does not get the new content of a single file.

    Deployments and the like replace their pods one by one. Other pods are left running, and reported.
    """
    seconds = cluster.settings.timeout_ready
    with shell.step(cluster.name, "pods with the bundle as the system's CA file") as this:
        restarted = [owned.owner for owned in pods if owned.owner.is_restarted_by_rollout]
        for owner in restarted:
            shell.change(*cluster.kubectl, "-n", owner.namespace, "rollout", "restart", owner.reference)
        for owner in restarted:
            shell.wait(f"{owner.title} to restart", seconds, *cluster.kubectl, "-n", owner.namespace, "rollout",
                       "status", owner.reference, f"--timeout={seconds}s")
        this.outcome = f"restarted: {', '.join(owner.title for owner in restarted)}" if restarted else "not restarted"
        if left := [owned for owned in pods if owned.owner not in restarted]:
            this.warn("\n".join([this.outcome, "    These pods trust the new root only after a restart:",
                                 *(f"    {owned.restart_command(cluster)}" for owned in left)]))


def has_older_file(pod: Object, changed: float) -> bool:
    """Whether it is running with the bundle as the system's CA file since before this time."""
    return (is_running(pod) and FILE_BY in (pod["metadata"].get("annotations") or {})
            and parse_time(pod["metadata"]["creationTimestamp"]) <= changed)


def mounts_bundle(pod: Object) -> bool:
    """Whether one of its volumes is the bundle's ConfigMap, or a projection of it."""
    return any(TRUST_BUNDLE in mounted_config_maps(volume) for volume in pod["spec"].get("volumes", []))


def find_last_change(shell: Shell, cluster: Cluster) -> float:
    """When these tasks last changed the bundle's roots, in seconds since 1970; now, if that is unknown."""
    sources = get_object(shell, cluster, "configmap", ISSUER, CERT_MANAGER, "--show-managed-fields")
    changes = [entry["time"] for entry in sources["metadata"].get("managedFields", [])
               if entry.get("manager") == MANAGER and "time" in entry]
    return max(map(parse_time, changes), default=time.time())


def parse_time(timestamp: str) -> float:
    """A time of the API, such as 2026-01-31T12:00:00Z, in seconds since 1970."""
    return datetime.strptime(timestamp, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc).timestamp()


def load_bundle_sources(settings: Settings, roots: Roots) -> dict[str, str]:
    """The certificates that the bundle has besides the public CAs, as PEM, and a hash of them."""
    root = "".join(dict.fromkeys(root.pem for root in roots if root))
    company = load_company_certificates(settings)
    return {"root_pem": root, "company_pem": company, "sources_hash": short_hash(root + company)}


def load_company_certificates(settings: Settings) -> str:
    """The company's certificates as PEM, without the comments in any encoding that its file may have."""
    from cryptography.hazmat.primitives.serialization import Encoding

    files = [settings.additional_ca_bundle_file, settings.acme_ca_file if settings.acme else None]
    certificates = [certificate for file in files if file for certificate in read_ca_bundle(file)]
    return "".join(certificate.public_bytes(Encoding.PEM).decode() for certificate in certificates)


def hand_webhook_to_helm(shell: Shell, cluster: Cluster) -> None:
    """Delete the webhook certificate that cert-manager created for a trust-manager of the original Taskfile.

    Here Helm creates it, and Helm refuses to adopt a secret that it did not create.
    """
    kubectl = (*cluster.kubectl, "-n", CERT_MANAGER)
    # The key in this secret is not fetched, and a tab keeps the fields apart even if one is empty.
    found = shell.look(*kubectl, "get", "secret", "trust-manager-tls", "--ignore-not-found", "-o",
                       r'jsonpath={.metadata.name}{"\t"}{.metadata.labels.app\.kubernetes\.io/managed-by}').stdout
    name, _, owner = found.strip("\n").partition("\t")
    if name and owner != "Helm":
        shell.change(*kubectl, "delete", "certificate", "trust-manager", "--ignore-not-found")
        shell.change(*kubectl, "delete", "secret", "trust-manager-tls")
