"""Workloads that prove it, and the checks that can fail."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from invoke import Exit

from tasks import trust
from tasks.core.progress import per_cluster
from tasks.core.settings import Cluster
from tasks.core.shell import Shell
from tasks.core.table import Row, show
from tasks.dns.resolver import resolves
from tasks.engine.clusters import list_clusters
from tasks.in_cluster import bundle
from tasks.in_cluster.apply import apply, manifest
from tasks.probe.connections import examples_missing, judge
from tasks.probe.example_page import example_host, example_url
from tasks.probe.requests import Answer, ask_from_host, curl_in_pod

WORKLOADS = {"nginx": "examples", "curl": "examples", "curl-no-bundle": "examples", "netshoot": "default"}

# What has just been applied takes Traefik a moment; what still fails after this is wrong.
PATIENCE_SECONDS = 20

CURL_CANNOT_VERIFY = 60
"""curl's exit code when the certificate is not to be trusted: https://curl.se/libcurl/c/libcurl-errors.html"""


def prove(shell: Shell, clusters: list[Cluster]) -> None:
    """Install the examples, print a table of what works, and Exit with 1 when something does not."""
    per_cluster(clusters, lambda cluster: install(shell, cluster), at_once=not shell.dry)
    if shell.dry:
        return
    rows = [row for found in shell.side_by_side(checks(shell, clusters)) for row in found]
    show(rows)
    red = [row for row in rows if row.state == "red"]
    if red:
        raise Exit(f"{len(red)} of {len(rows)} checks failed:\n" +
                   "\n".join(f"  {row.source} to {row.target}: {row.note}" for row in red))


def install(shell: Shell, cluster: Cluster) -> None:
    seconds = cluster.settings.timeout_ready
    with shell.one_at_a_time("cluster", cluster.name), shell.step(cluster.name, "examples") as this:
        if not shell.dry and not shell.look(*cluster.kubectl, "get", "clusterissuer", "root-ca").ok:
            raise Exit(f"{cluster.name} does not answer, or has no issuer root-ca. "
                       f"Bring it up with: inv k3d-cluster-setup --n {cluster.number}")
        sources_hash = bundle.bundle_sources(shell, cluster.settings)["sources_hash"]
        manifests = [manifest(cluster, f"examples/{name}.yaml", host=example_host(cluster), sources_hash=sources_hash)
                     for name in ("namespace", *WORKLOADS)]
        this.outcome = "applied" if apply(shell, cluster, *manifests) else "already there"
        for name, namespace in WORKLOADS.items():
            shell.wait(f"{name} to run", seconds, *cluster.kubectl, "-n", namespace, "rollout", "status",
                       f"deployment/{name}", f"--timeout={seconds}s")
        certificate = (*cluster.kubectl, "-n", "examples")
        shell.until("cert-manager to see the Ingress", seconds,
                    lambda: shell.look(*certificate, "get", "certificate", "example-nginx-cert").ok)
        shell.wait("the certificate", seconds, *certificate, "wait", "certificate/example-nginx-cert",
                   "--for=condition=Ready", f"--timeout={seconds}s")


def checks(shell: Shell, clusters: list[Cluster]) -> list[Callable[[], list[Row]]]:
    """Jobs that each give a few rows: from the host, from pods, and between every two running clusters."""
    settings = clusters[0].settings
    running = {name for name, found in list_clusters(shell).items() if found.running}
    others = [cluster for number in settings.numbers
              if (cluster := settings.cluster(number)).name in running and cluster not in clusters]
    jobs: list[Callable[[], list[Row]]] = []
    for cluster in clusters:
        jobs += [partial(from_host, cluster), partial(from_pod, shell, cluster, cluster),
                 partial(without_bundle, shell, cluster)]
        jobs += [partial(from_pod, shell, cluster, other) for other in clusters if other != cluster]
    for other in others:
        jobs.append(partial(both_ways, shell, clusters, other))
    jobs.append(partial(this_machine, shell, clusters))
    return jobs


def until_green(check: Callable[[], Row]) -> Row:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (row := check()).state == "red" and time.monotonic() < deadline:
        time.sleep(1)
    return row


def from_host(cluster: Cluster) -> list[Row]:
    def check(scheme: str) -> Row:
        return judge("this machine", cluster, scheme, ask_from_host(cluster, scheme))

    return [until_green(partial(check, scheme)) for scheme in ("http", "https")]


def from_pod(shell: Shell, source: Cluster, target: Cluster) -> list[Row]:
    """Ask for the same URL from the pod `curl`, which has the bundle."""

    def check(scheme: str) -> Row:
        said = curl_in_pod(shell, source, "curl", example_url(target, scheme))
        error = "" if said.ok else (said.stderr.strip() or f"curl ended with {said.exited}").splitlines()[0]
        return judge(f"pod in {source.name}", target, scheme, Answer(body=said.stdout, error=error))

    return [until_green(partial(check, scheme)) for scheme in ("http", "https")]


def without_bundle(shell: Shell, cluster: Cluster) -> list[Row]:
    """Without the bundle the certificate must be refused, and for that reason."""

    def check() -> Row:
        said = curl_in_pod(shell, cluster, "curl-no-bundle", example_url(cluster, "https"))
        source, target = f"pod in {cluster.name} without bundle", example_url(cluster, "https")
        if said.exited == CURL_CANNOT_VERIFY:
            return Row(source, target, "green", "refused, as it must be")
        why = "accepted a certificate that it must refuse" if said.ok else said.stderr.strip()
        return Row(source, target, "red", why or f"curl ended with {said.exited}")

    return [until_green(check)]


def both_ways(shell: Shell, clusters: list[Cluster], other: Cluster) -> list[Row]:
    """Between the clusters asked for and another one that runs."""
    if not shell.look(*other.kubectl, "-n", "examples", "get", "deployment", "nginx", "curl").ok:
        return [Row("", other.name, "grey", examples_missing(other))]
    return [row for cluster in clusters
            for row in from_pod(shell, cluster, other) + from_pod(shell, other, cluster)]


def this_machine(shell: Shell, clusters: list[Cluster]) -> list[Row]:
    """What a browser here still needs, besides the clusters."""
    rows = []
    for cluster in clusters:
        name = example_host(cluster)
        good = resolves(name)
        rows.append(Row("this machine's resolver", name, "green" if good else "yellow",
                        "127.0.0.1" if good else "not resolved", "" if good else "inv dns"))
    return rows + trust.trust_rows(shell, clusters[0].settings)
