"""Example workloads, and the checks that they work."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from invoke import Exit

from tasks import front_door, providers, trust
from tasks.ca.load import load_root, load_roots
from tasks.cluster.setup import keep_for_offline
from tasks.core.problems import describe
from tasks.core.progress import per_cluster
from tasks.core.settings import Cluster
from tasks.core.shell import Shell
from tasks.core.table import Row, show
from tasks.core.well_known import ISSUER
from tasks.dns.resolver import resolves
from tasks.engine.clusters import own_clusters
from tasks.in_cluster import bundle, pod_trust
from tasks.in_cluster.apply import apply, render_manifest
from tasks.probe import pulls
from tasks.probe.connections import Connection, all_connections, probe
from tasks.probe.example_page import example_host, example_url
from tasks.probe.limits import find_limit
from tasks.probe.requests import CERTIFICATE_REFUSED, Answer, curl_in_pod

WORKLOADS = {"nginx": "examples", "curl": "examples", "curl-no-bundle": "examples", "netshoot": "default"}

# Traefik needs a moment to serve what was just applied. A check that still fails after this time has failed.
PATIENCE_SECONDS = 20


def install_and_check(shell: Shell, clusters: list[Cluster]) -> bool:
    """Install the examples and check every connection; Exit if a check failed.

    Returns whether they were also checked through the front door.
    """
    per_cluster(clusters, lambda cluster: install(shell, cluster), at_once=not shell.dry)
    keep_for_offline(shell, clusters[0].settings)
    through_front_door = front_door.refresh(shell, clusters[0].settings)
    if shell.dry:
        return through_front_door
    report(check(shell, clusters, through_front_door))
    return through_front_door


def report(rows: list[Row]) -> None:
    """Print the results as a table, and Exit if a check failed."""
    show(rows)
    red = [row for row in rows if row.state == "red"]
    if red:
        raise Exit(f"{len(red)} of {len(rows)} checks failed:\n" +
                   "\n".join(f"  {row.source} to {row.target}: {row.note}" for row in red))


def install(shell: Shell, cluster: Cluster) -> None:
    seconds = cluster.settings.timeout_ready
    images = cluster.settings.from_environment("IMAGE_NGINX", "IMAGE_CURL", "IMAGE_NETSHOOT")
    with shell.one_at_a_time("cluster", cluster.name), shell.step(cluster.name, f"examples{images}") as this:
        require_issuer(shell, cluster)
        roots = load_roots(cluster.settings, missing_ok=shell.dry)
        values = {"host": example_host(cluster), "pod_trust": pod_trust.is_in_place(shell, cluster),
                  "sources_hash": bundle.load_bundle_sources(cluster.settings, roots)["sources_hash"]}
        manifests = [render_manifest(cluster, f"examples/{name}.yaml", **values) for name in ("namespace", *WORKLOADS)]
        if values["pod_trust"]:
            remove_overridden_client(shell, cluster)
        this.outcome = "applied" if apply(shell, cluster, *manifests) else "already installed"
        with pulls.shown(shell, cluster):
            for name, namespace in WORKLOADS.items():
                shell.wait(f"{name} to start", seconds, *cluster.kubectl, "-n", namespace, "rollout", "status",
                           f"deployment/{name}", f"--timeout={seconds}s")
        if not cluster.settings.acme:
            wait_for_certificate(shell, cluster, "examples", "example-nginx-cert")


def require_issuer(shell: Shell, cluster: Cluster) -> None:
    if not shell.dry and not shell.look(*cluster.kubectl, "get", "clusterissuer", ISSUER).ok:
        raise Exit(f"{cluster.name} does not answer, or has no issuer {ISSUER}. "
                   f"Set it up with: inv k3d-cluster-setup --n {cluster.number}")


def wait_for_certificate(shell: Shell, cluster: Cluster, namespace: str, name: str) -> None:
    """Wait for the Certificate that cert-manager creates for an Ingress, and until it is issued."""
    seconds, kubectl = cluster.settings.timeout_ready, (*cluster.kubectl, "-n", namespace)
    shell.until("cert-manager to create a Certificate for the Ingress", seconds,
                lambda: shell.look(*kubectl, "get", "certificate", name).ok)
    shell.wait("the certificate", seconds, *kubectl, "wait", f"certificate/{name}", "--for=condition=Ready",
               f"--timeout={seconds}s")


def remove_overridden_client(shell: Shell, cluster: Cluster) -> None:
    """Delete the client `curl` if someone set a variable in it: that wins over pod trust, and `apply` would keep it."""
    kubectl = (*cluster.kubectl, "-n", "examples")
    variables = shell.look(*kubectl, "get", "deployment", "curl", "--ignore-not-found", "-o",
                           "jsonpath={.spec.template.spec.containers[*].env[*].name}").stdout.split()
    if variables:
        shell.change(*kubectl, "delete", "deployment", "curl")


# --- checks -----------------------------------------------------------------------------------------------------------


def check(shell: Shell, clusters: list[Cluster], through_front_door: bool) -> list[Row]:
    """Check every connection from and to these clusters, pods without the bundle, and this machine."""
    found = providers.list_clusters(shell, clusters[0].settings)
    others = [cluster for cluster in own_clusters(clusters[0].settings, found)
              if found[cluster.name].running and cluster not in clusters]
    connections = [connection for connection in all_connections([*clusters, *others], through_front_door)
                   if connection.source in clusters or connection.target in clusters]
    jobs: list[Callable[[], list[Row]]] = [
        partial(check_connections, shell, connections),
        *(partial(check_without_bundle, shell, cluster, example_url(cluster, "https")) for cluster in clusters
          if not cluster.settings.acme),  # every pod trusts a public CA
        partial(check_this_machine, shell, clusters),
    ]
    return [row for rows in shell.side_by_side(jobs) for row in rows]


def check_connections(shell: Shell, connections: list[Connection]) -> list[Row]:
    """Check each connection, and retry the red ones for PATIENCE_SECONDS. A cluster without examples is one row."""
    rows, deadline = probe(shell, connections), time.monotonic() + PATIENCE_SECONDS
    while (red := [connection for connection, row in rows.items() if row.state == "red"]
           ) and time.monotonic() < deadline:
        time.sleep(1)
        rows |= probe(shell, red)
    skipped = {row.note: row.code for row in rows.values() if row.state == "grey"}
    return ([row for row in rows.values() if row.state != "grey"]
            + [Row("", "", "grey", note, code=code) for note, code in skipped.items()])


def check_without_bundle(shell: Shell, cluster: Cluster, target: str) -> list[Row]:
    """Check that a pod without the bundle rejects the certificate of this URL, because it does not trust it."""
    source = f"pod in {cluster.name} without bundle"
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (tried := curl_in_pod(shell, cluster, "curl-no-bundle", target)).exited not in CERTIFICATE_REFUSED:
        answer = Answer(code=tried.exited)
        if not tried.ok and (limit := find_limit(shell, cluster, cluster, answer)):
            return [Row(source, target, "grey", describe(limit), code=limit.code)]
        if time.monotonic() >= deadline:
            why = ("accepted a certificate that it must reject" if tried.ok
                   else tried.stderr.strip() or f"curl exited with code {tried.exited}")
            return [Row(source, target, "red", why, code="certificate-not-rejected")]
        time.sleep(1)
    return [Row(source, target, "green", "rejected, as expected")]


def check_this_machine(shell: Shell, clusters: list[Cluster]) -> list[Row]:
    """Check whether this machine resolves the names, and which of its trust stores trust the root."""
    rows = []
    for cluster in clusters:
        name = example_host(cluster)
        good = resolves(name, cluster.address)
        rows.append(Row("this machine's resolver", name, "green" if good else "yellow",
                        cluster.address if good else "not resolved", "" if good else "inv dns"))
    settings = clusters[0].settings
    return rows + trust.trust_rows(shell, settings, load_root(settings))
