"""trust-manager and the bundle `default-ca-bundle`: public CAs, our root and the company's, for labelled namespaces."""

from __future__ import annotations

import time
from datetime import datetime, timezone

from tasks.ca.root import Roots
from tasks.core.ca_bundle import read_ca_bundle
from tasks.core.settings import Cluster, Settings
from tasks.core.shell import Shell
from tasks.core.templates import short_hash
from tasks.core.well_known import CERT_MANAGER, MANAGER, TRUST_BUNDLE
from tasks.in_cluster import charts
from tasks.in_cluster.apply import apply_admitted, manifest

IN_PODS_SECONDS = 100
"""The kubelet looks at each pod's volumes every 60 to 90 s: syncFrequency, and half of it by chance."""


def configure(shell: Shell, cluster: Cluster, roots: Roots) -> None:
    """Install the chart, and apply the Bundle with these roots."""
    hand_webhook_to_helm(shell, cluster)
    charts.install(shell, cluster, "trust-manager")
    settings = cluster.settings
    with shell.step(cluster.name, "trust bundle default-ca-bundle") as this:
        values = bundle_sources(settings, roots)
        apply_admitted(shell, cluster, "trust-manager", manifest(cluster, "in_cluster/root-ca.yaml", **values),
                       manifest(cluster, "in_cluster/bundle.yaml", **values))
        shell.wait("the Bundle", settings.timeout_ready, *cluster.kubectl, "wait", "bundle/default-ca-bundle",
                   "--for=condition=Synced", f"--timeout={settings.timeout_ready}s")
        this.outcome = "synced"


def wait_for_pods(shell: Shell, cluster: Cluster, roots: Roots) -> None:
    """Wait until pods that mount the bundle have its last change: the kubelet reports that to nobody.

    Where both roots have one key, the former one is enough for them.
    """
    if roots.retiring is None or roots.have_one_key:
        return
    kubectl = (*cluster.kubectl, "get")
    volumes = shell.look(*kubectl, "pods", "-A", "-o", "jsonpath={.items[*].spec.volumes[*].configMap.name} "
                         "{.items[*].spec.volumes[*].projected.sources[*].configMap.name}").stdout.split()
    if TRUST_BUNDLE not in volumes or shell.dry:
        return
    with shell.step(cluster.name, "both roots in pods") as this:
        changed = shell.look(*kubectl, "configmap", "root-ca", "-n", CERT_MANAGER, "--show-managed-fields", "-o",
                             f'jsonpath={{.metadata.managedFields[?(@.manager=="{MANAGER}")].time}}').stdout.split()
        since = time.time() - max(map(unix_time, changed), default=time.time())
        ready = time.monotonic() + IN_PODS_SECONDS - min(max(since, 0), IN_PODS_SECONDS)
        shell.until("the kubelet", IN_PODS_SECONDS + 10, lambda: time.monotonic() >= ready)
        this.outcome = f"seen: the kubelet brings them within {IN_PODS_SECONDS} s"


def unix_time(timestamp: str) -> float:
    """A time of the API, such as 2026-01-31T12:00:00Z, in seconds since 1970."""
    return datetime.strptime(timestamp, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc).timestamp()


def bundle_sources(settings: Settings, roots: Roots) -> dict[str, str]:
    """What the bundle holds besides the public CAs, as PEM, and a hash that changes with it."""
    root = "".join(dict.fromkeys(root.pem for root in roots if root))
    company = company_pem(settings)
    return {"root_pem": root, "company_pem": company, "sources_hash": short_hash(root + company)}


def company_pem(settings: Settings) -> str:
    """The company's certificates alone: its file may have remarks between them, in any encoding."""
    from cryptography.hazmat.primitives.serialization import Encoding

    file = settings.additional_ca_bundle_file
    found = read_ca_bundle(file) if file else []
    return "".join(certificate.public_bytes(Encoding.PEM).decode() for certificate in found)


def hand_webhook_to_helm(shell: Shell, cluster: Cluster) -> None:
    """Remove the webhook certificate that cert-manager has made for a trust-manager of the original Taskfile.

    Ours comes from Helm, which refuses to take over a secret that it did not make.
    """
    kubectl = (*cluster.kubectl, "-n", CERT_MANAGER)
    owner = shell.look(*kubectl, "get", "secret", "trust-manager-tls", "--ignore-not-found", "-o",
                       r"jsonpath={.metadata.name} {.metadata.labels.app\.kubernetes\.io/managed-by}").stdout.split()
    if owner and owner[-1] != "Helm":
        shell.change(*kubectl, "delete", "certificate", "trust-manager", "--ignore-not-found")
        shell.change(*kubectl, "delete", "secret", "trust-manager-tls")
