"""cert-manager, the ClusterIssuer `root-ca` with its intermediate, and leaves that an earlier one has signed."""

from __future__ import annotations

import base64

from invoke.runners import Result

from tasks.ca import (
    discard_intermediate,
    intermediate_folder,
    leaf_is_of,
    load_root,
    make_intermediate,
    why_not_kept,
)
from tasks.in_cluster import charts
from tasks.in_cluster.charts import NAMESPACE
from tasks.render import apply_admitted, apply_private, manifest, render
from tasks.served import handshake
from tasks.settings import Cluster
from tasks.shell import Shell, fail
from tasks.ways import trusting_all

SECRET = "root-ca"
CHAIN = ("-n", NAMESPACE, "get", "secret", SECRET, "--ignore-not-found", "-o", r"jsonpath={.data.tls\.crt}")


def configure(shell: Shell, cluster: Cluster) -> None:
    charts.install(shell, cluster, "cert-manager")
    present = intermediate(shell, cluster)
    with shell.step(cluster.name, "issuer root-ca") as this:
        wanted = manifest(cluster, "in_cluster/issuer.yaml")
        apply_admitted(shell, cluster, "cert-manager-webhook", wanted)
        shell.wait("the issuer", cluster.settings.timeout_ready, *cluster.kubectl, "wait", "clusterissuer/root-ca",
                   "--for=condition=Ready", f"--timeout={cluster.settings.timeout_ready}s")
        this.outcome = "ready"
    renew_leaves(shell, cluster, present)


def intermediate(shell: Shell, cluster: Cluster) -> bytes:
    """Keep the intermediate while it is good, else replace it. Returns its chain; under --dry a new one's is empty."""
    with shell.step(cluster.name, "intermediate certificate") as this:
        discard_intermediate(shell, cluster)  # a killed run may have left its key
        present = chain(shell, cluster)
        reason = why_not_kept(present, load_root(cluster.settings), cluster) if present else "there was none"
        if not reason:
            this.skip("kept")
            return present
        made = make_intermediate(shell, cluster)
        apply_private(shell, cluster, intermediate_folder(cluster) / "issuer-secret.yaml",
                      render("in_cluster/issuer-secret.yaml", intermediate=made))
        this.outcome = f"made, {reason}"
        return made.chain.encode()


def chain(shell: Shell, cluster: Cluster) -> bytes:
    """The certificates in the issuer's secret, as PEM; empty when there is none. Exit when the cluster does not say."""
    found = look_for_chain(shell, cluster)
    if not found.ok and not shell.dry:  # to take that for "none" would replace an intermediate that is good
        fail((*cluster.kubectl, *CHAIN), found)
    return base64.b64decode(found.stdout) if found.ok else b""


def chain_seen(shell: Shell, cluster: Cluster) -> bytes:
    """The same for those who only look: empty when the cluster does not say."""
    found = look_for_chain(shell, cluster)
    return base64.b64decode(found.stdout) if found.ok else b""


def look_for_chain(shell: Shell, cluster: Cluster) -> Result:
    """The secret's key is not asked for."""
    return shell.look(*cluster.kubectl, *CHAIN)


def renew_leaves(shell: Shell, cluster: Cluster, present: bytes) -> None:
    """Have cert-manager make those leaves again that an earlier intermediate signed: it does not do so by itself.

    The secrets stay until then, and so does what is served: a leaf whose secret names another issuer is made again.
    https://cert-manager.io/docs/usage/certificate/#issuance-triggers
    """
    stale = {place: leaf for place, leaf in leaves(shell, cluster).items() if not leaf_is_of(leaf, present)}
    if not stale:
        return
    with shell.step(cluster.name, "certificates of an earlier issuer") as this:
        for namespace, name in stale:
            shell.change(*cluster.kubectl, "-n", namespace, "annotate", "secret", name, "--overwrite",
                         "cert-manager.io/issuer-name=an-earlier-one")
        shell.until("cert-manager to make them again", cluster.settings.timeout_ready,
                    lambda: renewed(shell, cluster, [*stale], present))
        shell.until("Traefik to serve them", cluster.settings.timeout_ready,
                    lambda: not any(is_served(cluster, leaf) for leaf in stale.values()))
        this.outcome = "made again: " + ", ".join("/".join(leaf) for leaf in stale)


def renewed(shell: Shell, cluster: Cluster, places: list[tuple[str, str]], present: bytes) -> bool:
    found = leaves(shell, cluster)
    return all(place in found and leaf_is_of(found[place], present) for place in places)


def is_served(cluster: Cluster, leaf_pem: bytes) -> bool:
    """Whether the cluster's HTTPS port shows this certificate to whoever asks for one of its names."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    leaf = x509.load_pem_x509_certificates(leaf_pem)[0]
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName)
    return leaf.public_bytes(Encoding.DER) in {shown(cluster, name.replace("*", "proof")) for name in names}


def shown(cluster: Cluster, name: str) -> bytes:
    """The certificate that the cluster's HTTPS port shows for a name, in DER; empty when nothing answers."""
    try:
        return handshake(cluster, name, trusting_all(cluster))
    except OSError:
        return b""


def leaves(shell: Shell, cluster: Cluster) -> dict[tuple[str, str], bytes]:
    """The certificates of our issuer, by namespace and name of their secret.

    cert-manager leaves the secret of a deleted Certificate behind; such a one is not ours to renew.
    """
    wanted = r"{.metadata.namespace} {.spec.secretName} {.spec.issuerRef.kind}/{.spec.issuerRef.name}"
    alive = {(row[0], row[1]) for row in rows(shell, cluster, "certificates", wanted)
             if row[2:] == [f"ClusterIssuer/{SECRET}"]}
    columns = r"{.metadata.namespace} {.metadata.name} {.data.tls\.crt}"
    secrets = rows(shell, cluster, "secrets", columns, "--field-selector", "type=kubernetes.io/tls")
    return {(row[0], row[1]): base64.b64decode(row[2]) for row in secrets
            if len(row) == 3 and (row[0], row[1]) in alive}


def rows(shell: Shell, cluster: Cluster, kind: str, columns: str, *selector: str) -> list[list[str]]:
    """These columns of all objects of a kind, in all namespaces; nothing where the kind is not known yet."""
    every = "jsonpath={range .items[*]}" + columns + r'{"\n"}{end}'
    return [line.split() for line in
            shell.look(*cluster.kubectl, "get", kind, "-A", *selector, "-o", every).stdout.splitlines()]
