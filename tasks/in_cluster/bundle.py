"""trust-manager and the bundle `default-ca-bundle`: public CAs, our root and the company's, for labelled namespaces."""

from __future__ import annotations

from tasks.ca import RootFiles, load_root
from tasks.in_cluster import charts
from tasks.render import apply_admitted, manifest, short_hash
from tasks.settings import Cluster, Settings
from tasks.shell import Shell


def configure(shell: Shell, cluster: Cluster) -> None:
    hand_webhook_to_helm(shell, cluster)
    charts.install(shell, cluster, "trust-manager")
    settings = cluster.settings
    with shell.step(cluster.name, "trust bundle default-ca-bundle") as this:
        values = sources(shell, settings)
        apply_admitted(shell, cluster, "trust-manager", manifest(cluster, "in_cluster/root-ca.yaml", **values),
                       manifest(cluster, "in_cluster/bundle.yaml", **values))
        shell.wait("the Bundle", settings.timeout_ready, *cluster.kubectl, "wait", "bundle/default-ca-bundle",
                   "--for=condition=Synced", f"--timeout={settings.timeout_ready}s")
        this.outcome = "synced"


def sources(shell: Shell, settings: Settings) -> dict[str, str]:
    """What the bundle holds besides the public CAs, as PEM, and a hash that changes with it."""
    from cryptography.hazmat.primitives.serialization import Encoding

    there = not shell.dry or RootFiles(settings).certificate.exists()  # `inv --dry up` has made none
    root = load_root(settings).public_bytes(Encoding.PEM).decode() if there else ""
    company = company_pem(settings)
    return {"root_pem": root, "company_pem": company, "sources_hash": short_hash(root + company)}


def company_pem(settings: Settings) -> str:
    """The company's certificates alone: its file may have remarks between them, in any encoding."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    file = settings.additional_ca_bundle_file
    found = x509.load_pem_x509_certificates(file.read_bytes()) if file else []
    return "".join(certificate.public_bytes(Encoding.PEM).decode() for certificate in found)


def hand_webhook_to_helm(shell: Shell, cluster: Cluster) -> None:
    """Remove the webhook certificate that cert-manager has made for a trust-manager of the original Taskfile.

    Ours comes from Helm, which refuses to take over a secret that it did not make.
    """
    kubectl = (*cluster.kubectl, "-n", charts.NAMESPACE)
    owner = shell.look(*kubectl, "get", "secret", "trust-manager-tls", "--ignore-not-found", "-o",
                       r"jsonpath={.metadata.name} {.metadata.labels.app\.kubernetes\.io/managed-by}").stdout.split()
    if owner and owner[-1] != "Helm":
        shell.change(*kubectl, "delete", "certificate", "trust-manager", "--ignore-not-found")
        shell.change(*kubectl, "delete", "secret", "trust-manager-tls")
