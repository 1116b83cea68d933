"""With CERTIFICATES=acme: the certificate that Traefik serves for every name without one of its own."""

from __future__ import annotations

from invoke import Exit

from tasks import providers
from tasks.acme import certificate
from tasks.acme.order import require_usable
from tasks.core.problems import Problem, Reason, describe, problem
from tasks.core.settings import Cluster
from tasks.core.shell import Shell
from tasks.core.templates import render
from tasks.core.well_known import KUBE_SYSTEM, MANAGER
from tasks.core.work_files import work_folder
from tasks.in_cluster.apply import apply, apply_private, render_manifest, wait_for_kind
from tasks.in_cluster.traefik import SECONDS_OF_OTHERS
from tasks.probe import tls
from tasks.probe.issued import read_secret_certificate
from tasks.probe.limits import find_traefik_limit
from tasks.probe.objects import list_objects

SECRET = "acme-certificate"
STORES = "tlsstores.traefik.io"


class StoreReason(Reason):
    OTHER_STORE = ("the TLSStore {namespace}/default, which these tasks did not create, decides which certificate "
                   "Traefik serves by default. It was left as it is")


def configure(shell: Shell, cluster: Cluster) -> None:
    """Apply it and wait until Traefik serves it. With CERTIFICATES=own-ca remove it."""
    if not cluster.settings.acme:
        remove(shell, cluster)
        return
    with shell.step(cluster.name, f"certificate for *.{cluster.domain} in Traefik") as this:
        if shell.dry:
            return shell.note(f"apply the certificate of *.{cluster.domain} as the Secret {KUBE_SYSTEM}/{SECRET}, and "
                              "the TLSStore default that names it")
        wanted = require_usable(cluster)
        if limit := find_traefik_limit(shell, cluster):
            return this.warn(f"not applied: {describe(limit)}")
        wait_for_kind(shell, cluster, STORES, "Traefik's TLSStores")
        changed = apply_secret(shell, cluster, wanted)
        if other := find_other_store(shell, cluster):
            return this.warn(describe(other))
        changed |= apply(shell, cluster, render_manifest(cluster, "in_cluster/tls-store.yaml", name=SECRET))
        served = wait_until_served(shell, cluster, wanted)
        this.outcome = (f"{'served' if changed else 'already served'}, valid until {wanted.expires:%Y-%m-%d}" if served
                        else "applied; the cluster does not answer on this machine, so it was not verified")


def wait_until_served(shell: Shell, cluster: Cluster, wanted: certificate.AcmeCertificate) -> bool:
    """Exit if Traefik does not serve it in time. False for a cluster of somebody else that does not answer here."""
    managed = providers.of(cluster).MANAGES_LIFE
    try:
        shell.until("Traefik to serve it", cluster.settings.timeout_ready if managed else SECONDS_OF_OTHERS,
                    lambda: is_served(cluster, wanted))
    except Exit:
        if managed or tls.is_answering(cluster):
            raise
        return False
    return True


def apply_secret(shell: Shell, cluster: Cluster, wanted: certificate.AcmeCertificate) -> bool:
    """False if the cluster has this certificate."""
    if read_secret_certificate(shell, cluster, KUBE_SYSTEM, SECRET) == wanted.chain.encode():
        return False
    apply_private(shell, cluster, work_folder(cluster) / f"{SECRET}.yaml",
                  render("in_cluster/acme-certificate.yaml", name=SECRET, certificate=wanted))
    return True


def find_other_store(shell: Shell, cluster: Cluster) -> Problem | None:
    """Someone else's default TLSStore: Traefik takes one of all namespaces."""
    for store in list_objects(shell, cluster, STORES):
        metadata = store["metadata"]
        if metadata["name"] == "default" and (
                metadata.get("labels", {}).get("app.kubernetes.io/managed-by") != MANAGER):
            return problem(StoreReason.OTHER_STORE, namespace=metadata["namespace"])
    return None


def is_served(cluster: Cluster, wanted: certificate.AcmeCertificate) -> bool:
    """Whether the cluster's HTTPS port serves it for a name that nobody uses."""
    return tls.is_served(cluster, f"proof.{cluster.domain}", wanted.leaf)


def remove(shell: Shell, cluster: Cluster) -> None:
    """Delete the Secret and the TLSStore of these tasks, if they are there."""
    kubectl = (*cluster.kubectl, "-n", KUBE_SYSTEM)
    if not shell.look(*kubectl, "get", "secret", SECRET, "--ignore-not-found", "-o", "name").stdout.strip():
        return
    with shell.step(cluster.name, "certificate of the ACME server") as this:
        ours = ("-l", f"app.kubernetes.io/managed-by={MANAGER}", "--field-selector", "metadata.name=default")
        shell.change(*kubectl, "delete", STORES, *ours)
        shell.change(*kubectl, "delete", "secret", SECRET)
        this.outcome = "removed: CERTIFICATES=own-ca"
