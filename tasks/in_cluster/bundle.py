"""trust-manager and the bundle `default-ca-bundle`: public CAs, our root and the company's, for labelled namespaces."""

from __future__ import annotations

from tasks.cert import load_root
from tasks.in_cluster import charts
from tasks.render import apply_admitted, manifest, short_hash
from tasks.settings import Cluster
from tasks.shell import Shell


def configure(shell: Shell, cluster: Cluster) -> None:
    from cryptography.hazmat.primitives.serialization import Encoding

    charts.install(shell, cluster, "trust-manager")
    settings = cluster.settings
    with shell.step(cluster.name, "trust bundle default-ca-bundle") as this:
        root = load_root(settings).public_bytes(Encoding.PEM).decode()
        company = settings.additional_ca_bundle_file.read_text() if settings.additional_ca_bundle_file else ""
        sources = {"root_pem": root, "company_pem": company, "sources_hash": short_hash(root + company)}
        apply_admitted(shell, cluster, "trust-manager", manifest(cluster, "in_cluster/root-ca.yaml", **sources),
                       manifest(cluster, "in_cluster/bundle.yaml", **sources))
        shell.wait("the Bundle", settings.timeout_ready, *cluster.kubectl, "wait", "bundle/default-ca-bundle",
                   "--for=condition=Synced", f"--timeout={settings.timeout_ready}s")
        this.outcome = "synced"
