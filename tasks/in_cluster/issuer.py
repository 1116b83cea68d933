"""cert-manager, the ClusterIssuer `root-ca` with its intermediate, and leaves that a former intermediate issued."""

from __future__ import annotations

from tasks.ca.intermediate import (
    IntermediateReason,
    discard_intermediate,
    find_reason_to_replace,
    intermediate_folder,
    make_intermediate,
)
from tasks.ca.names import dns_names
from tasks.ca.root import RootFiles, Roots
from tasks.ca.signatures import leaf_belongs_to, load_chain
from tasks.core.problems import describe, problem
from tasks.core.settings import Cluster
from tasks.core.shell import Shell
from tasks.core.templates import render
from tasks.core.well_known import ISSUER
from tasks.in_cluster import charts
from tasks.in_cluster.apply import apply_admitted, apply_private, render_manifest
from tasks.probe import tls
from tasks.probe.issued import list_leaves, require_chain


def configure(shell: Shell, cluster: Cluster, roots: Roots) -> None:
    """Install the chart, and apply the issuer with an intermediate of the current root."""
    charts.install(shell, cluster, "cert-manager")
    chain = ensure_intermediate(shell, cluster, roots)
    with shell.step(cluster.name, f"issuer {ISSUER}") as this:
        apply_admitted(shell, cluster, "cert-manager-webhook", render_manifest(cluster, "in_cluster/issuer.yaml"))
        shell.wait("the issuer", cluster.settings.timeout_ready, *cluster.kubectl, "wait", f"clusterissuer/{ISSUER}",
                   "--for=condition=Ready", f"--timeout={cluster.settings.timeout_ready}s")
        this.outcome = "ready"
    reissue_leaves(shell, cluster, chain)


def ensure_intermediate(shell: Shell, cluster: Cluster, roots: Roots) -> bytes:
    """Keep a valid intermediate, otherwise replace it. Returns its chain, which is empty for a new one under --dry."""
    with shell.step(cluster.name, "intermediate certificate") as this:
        discard_intermediate(shell, cluster)  # an interrupted run may have left its key
        present = require_chain(shell, cluster)
        reason = (find_reason_to_replace(present, roots.current, cluster) if roots.current
                  else problem(IntermediateReason.INTERMEDIATE_MISSING))
        if reason is None:
            this.skip("kept")
            return present
        created = make_intermediate(shell, cluster, RootFiles.of(cluster.settings))
        apply_private(shell, cluster, intermediate_folder(cluster) / "issuer-secret.yaml",
                      render("in_cluster/issuer-secret.yaml", intermediate=created))
        this.outcome = f"created; the cluster had {describe(reason)}"
        return created.chain.encode()


def reissue_leaves(shell: Shell, cluster: Cluster, chain: bytes) -> None:
    """Have cert-manager reissue the leaves of a former intermediate, which it does not do by itself.

    It reissues a leaf if the secret names another issuer. Until then the secret stays, and Traefik serves it.
    https://cert-manager.io/docs/usage/certificate/#issuance-triggers
    """
    stale = {place: leaf for place, leaf in list_leaves(shell, cluster).items() if not leaf_belongs_to(leaf, chain)}
    if not stale:
        return
    with shell.step(cluster.name, "certificates of a former issuer") as this:
        for namespace, name in stale:
            shell.change(*cluster.kubectl, "-n", namespace, "annotate", "secret", name, "--overwrite",
                         "cert-manager.io/issuer-name=an-earlier-one")
        shell.until("cert-manager to reissue them", cluster.settings.timeout_ready,
                    lambda: are_reissued(shell, cluster, [*stale], chain))
        shell.until("Traefik to serve them", cluster.settings.timeout_ready,
                    lambda: not any(is_served(cluster, leaf) for leaf in stale.values()))
        this.outcome = "reissued: " + ", ".join("/".join(leaf) for leaf in stale)


def are_reissued(shell: Shell, cluster: Cluster, places: list[tuple[str, str]], chain: bytes) -> bool:
    found = list_leaves(shell, cluster)
    return all(place in found and leaf_belongs_to(found[place], chain) for place in places)


def is_served(cluster: Cluster, leaf_pem: bytes) -> bool:
    """Whether the cluster's HTTPS port serves this certificate for one of its names."""
    leaf = load_chain(leaf_pem)[0]
    return any(tls.is_served(cluster, name.replace("*", "proof"), leaf) for name in dns_names(leaf))
