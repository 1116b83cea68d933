"""What a cluster's issuer holds, and what it issued."""

from __future__ import annotations

import base64

from invoke.runners import Result

from tasks.core.settings import Cluster
from tasks.core.shell import Shell, fail
from tasks.core.well_known import CERT_MANAGER, ISSUER
from tasks.probe.objects import Object, list_objects

CHAIN_QUERY = ("-n", CERT_MANAGER, "get", "secret", ISSUER, "--ignore-not-found", "-o", r"jsonpath={.data.tls\.crt}")


def require_chain(shell: Shell, cluster: Cluster) -> bytes:
    """The certificates in the issuer's secret, as PEM; empty if there are none. Exit if the API does not answer."""
    found = query_chain(shell, cluster)
    if not found.ok and not shell.dry:  # treating that as "none" would replace a valid intermediate
        fail((*cluster.kubectl, *CHAIN_QUERY), found)
    return base64.b64decode(found.stdout) if found.ok else b""


def read_chain(shell: Shell, cluster: Cluster) -> bytes | None:
    """The same for checks, which change nothing: None if the API does not answer."""
    found = query_chain(shell, cluster)
    return base64.b64decode(found.stdout) if found.ok else None


def query_chain(shell: Shell, cluster: Cluster) -> Result:
    """Query the certificates, but not the secret's key."""
    return shell.look(*cluster.kubectl, *CHAIN_QUERY)


def list_leaves(shell: Shell, cluster: Cluster) -> dict[tuple[str, str], bytes]:
    """The certificates that our issuer issued, by namespace and name of their secret.

    cert-manager keeps the secret of a deleted Certificate; such a secret cannot be reissued and is left out.
    """
    wanted = {(certificate["metadata"]["namespace"], certificate["spec"].get("secretName"))
              for certificate in list_objects(shell, cluster, "certificates") if is_ours(certificate)}
    secrets = list_fields(shell, cluster, "secrets", ".metadata.namespace", ".metadata.name", r".data.tls\.crt",
                          options=("--field-selector", "type=kubernetes.io/tls"))
    return {(namespace, name): base64.b64decode(pem) for namespace, name, pem in secrets
            if pem and (namespace, name) in wanted}


def is_ours(certificate: Object) -> bool:
    """Whether our ClusterIssuer issues this Certificate."""
    issuer = certificate["spec"].get("issuerRef", {})
    return bool(issuer.get("kind") == "ClusterIssuer" and issuer.get("name") == ISSUER)


def list_fields(
    shell: Shell, cluster: Cluster, kind: str, *fields: str, options: tuple[str, ...] = ()
) -> list[list[str]]:
    """These fields of all objects of a kind in all namespaces; none if the kind does not exist yet.

    For objects that hold a private key or are large: only these fields are fetched, not the whole JSON. They are
    separated by tabs, which no field contains, so that an empty field does not shift the ones after it.
    """
    columns = r'{"\t"}'.join(f"{{{field}}}" for field in fields)
    found = shell.look(*cluster.kubectl, "get", kind, "-A", *options, "-o",
                       f'jsonpath={{range .items[*]}}{columns}{{"\\n"}}{{end}}')
    return [line.split("\t") for line in found.stdout.splitlines()]


def read_secret_certificate(shell: Shell, cluster: Cluster, namespace: str, name: str) -> bytes:
    """The certificates in a TLS secret, as PEM, not its key; empty if there is no such secret."""
    result = shell.look(*cluster.kubectl, "-n", namespace, "get", "secret", name, "--ignore-not-found", "-o",
                        r"jsonpath={.data.tls\.crt}")
    return base64.b64decode(result.stdout) if result.ok else b""
