"""What a cluster's issuer holds, and what it issued."""

from __future__ import annotations

import base64

from invoke.runners import Result

from tasks.core.settings import Cluster
from tasks.core.shell import Shell, fail
from tasks.core.well_known import CERT_MANAGER, ISSUER

CHAIN_QUERY = ("-n", CERT_MANAGER, "get", "secret", ISSUER, "--ignore-not-found", "-o", r"jsonpath={.data.tls\.crt}")


def require_chain(shell: Shell, cluster: Cluster) -> bytes:
    """The certificates in the issuer's secret, as PEM; empty when there is none. Exit when nothing answers."""
    found = query_chain(shell, cluster)
    if not found.ok and not shell.dry:  # to take that for "none" would replace a valid intermediate
        fail((*cluster.kubectl, *CHAIN_QUERY), found)
    return base64.b64decode(found.stdout) if found.ok else b""


def read_chain(shell: Shell, cluster: Cluster) -> bytes | None:
    """The same for those who only look: None when the cluster does not answer."""
    found = query_chain(shell, cluster)
    return base64.b64decode(found.stdout) if found.ok else None


def query_chain(shell: Shell, cluster: Cluster) -> Result:
    """Ask for the certificates alone, not for the secret's key."""
    return shell.look(*cluster.kubectl, *CHAIN_QUERY)


def list_leaves(shell: Shell, cluster: Cluster) -> dict[tuple[str, str], bytes]:
    """The certificates that our issuer issued, by namespace and name of their secret.

    cert-manager leaves the secret of a deleted Certificate behind; such a one is not ours to reissue.
    """
    wanted = r"{.metadata.namespace} {.spec.secretName} {.spec.issuerRef.kind}/{.spec.issuerRef.name}"
    alive = {(row[0], row[1]) for row in list_columns(shell, cluster, "certificates", wanted)
             if row[2:] == [f"ClusterIssuer/{ISSUER}"]}
    columns = r"{.metadata.namespace} {.metadata.name} {.data.tls\.crt}"
    secrets = list_columns(shell, cluster, "secrets", columns, "--field-selector", "type=kubernetes.io/tls")
    return {(row[0], row[1]): base64.b64decode(row[2]) for row in secrets
            if len(row) == 3 and (row[0], row[1]) in alive}


def list_columns(shell: Shell, cluster: Cluster, kind: str, columns: str, *selector: str) -> list[list[str]]:
    """These columns of all objects of a kind, in all namespaces; nothing where the kind is not known yet."""
    every = "jsonpath={range .items[*]}" + columns + r'{"\n"}{end}'
    return [line.split() for line in
            shell.look(*cluster.kubectl, "get", kind, "-A", *selector, "-o", every).stdout.splitlines()]


def read_secret_certificate(shell: Shell, cluster: Cluster, namespace: str, name: str) -> bytes:
    """The certificates in a TLS secret, as PEM, not its key; empty if there is no such secret."""
    result = shell.look(*cluster.kubectl, "-n", namespace, "get", "secret", name, "--ignore-not-found", "-o",
                        r"jsonpath={.data.tls\.crt}")
    return base64.b64decode(result.stdout) if result.ok else b""
