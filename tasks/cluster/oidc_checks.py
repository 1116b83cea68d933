"""The checks of the example with OpenID Connect: its issuer from everywhere, and a login at each application."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import partial

from tasks import providers
from tasks.cluster import examples
from tasks.cluster.oidc import NAMESPACE, PASSWORD, USER, app_url, issuer_url
from tasks.core.problems import Problem, Reason, describe, problem
from tasks.core.progress import say
from tasks.core.settings import Cluster
from tasks.core.shell import Shell
from tasks.core.table import Row
from tasks.engine.clusters import own_clusters
from tasks.probe.browser import Browser
from tasks.probe.connections import HOST, explain_failure
from tasks.probe.issuer import DOCUMENT, IssuerReason, judge_document
from tasks.probe.login import LoginReason, sign_in
from tasks.probe.objects import list_objects
from tasks.probe.requests import request_from_pod

ISSUER_OPTION = "--oidc-issuer-url="
"""Of oauth2-proxy."""


class OidcCheckReason(Reason):
    WAITS_FOR_ISSUER = "the application's pod waits for the issuer: {log}"
    FORMER_ISSUER = "Keycloak of an earlier run in {cluster}, which no application uses"


def check_and_report(shell: Shell, clusters: list[Cluster]) -> None:
    """Print a table of the checks, and the URLs to open; Exit if a check failed. Keycloak is in the first cluster."""
    examples.report(check(shell, clusters))
    for cluster in clusters:
        say(f"Open {app_url(cluster)}/")
    say(f"and sign in as {USER} with the password {PASSWORD}.")


def check(shell: Shell, clusters: list[Cluster]) -> list[Row]:
    """Check the issuer from everywhere, a login at each application, and pods without the bundle."""
    first = clusters[0]
    issuer = issuer_url(first)
    of_host = patiently(partial(check_from_host, first))
    document = Browser(first).open(f"{issuer}{DOCUMENT}").body
    jobs: list[Callable[[], list[Row]]] = [
        *(partial(patiently, partial(check_from_pod, shell, cluster, first, document)) for cluster in clusters),
        *(partial(patiently, partial(check_login, shell, cluster, first)) for cluster in clusters),
        *(partial(examples.check_without_bundle, shell, cluster, issuer) for cluster in clusters
          if not cluster.settings.acme),  # every pod trusts a public CA
        partial(find_former_issuers, shell, clusters)]
    return [*of_host, *(row for rows in shell.side_by_side(jobs) for row in rows)]


def patiently(one: Callable[[], Row]) -> list[Row]:
    """Check again while it is red: Traefik needs a moment to serve what was just applied."""
    deadline = time.monotonic() + examples.PATIENCE_SECONDS
    while (row := one()).state == "red" and time.monotonic() < deadline:
        time.sleep(1)
    return [row]


def judged(source: str, target: str, wrong: Problem | None, note: str, command: str = "") -> Row:
    if wrong:
        return Row(source, target, "red", describe(wrong), command, wrong.code)
    return Row(source, target, "green", note)


def check_from_host(first: Cluster) -> Row:
    """The document, as this machine gets it, is the one of an issuer with exactly this URL."""
    issuer = issuer_url(first)
    page = Browser(first).open(f"{issuer}{DOCUMENT}")
    wrong = (problem(LoginReason.NO_ANSWER, url=issuer, error=page.error) if page.error
             else judge_document(issuer, page.status, page.body))
    return judged(HOST, issuer, wrong, "issuer of this URL, certificate verified")


def check_from_pod(shell: Shell, cluster: Cluster, first: Cluster, document: str) -> Row:
    """A pod gets the same document, byte by byte."""
    issuer, command, wrong = issuer_url(first), "", None
    answer, = request_from_pod(shell, cluster, f"{issuer}{DOCUMENT}")
    if answer.error:
        wrong, command = explain_failure(cluster, first, answer, not cluster.settings.oidc_issuer_port)
    else:
        wrong = judge_document(issuer, answer.status, answer.body)
        if not wrong and document and answer.body != document:
            wrong = problem(IssuerReason.DOCUMENT_DIFFERS)
    return judged(f"pod in {cluster.name}", issuer, wrong, "the same document, certificate verified", command)


def check_login(shell: Shell, cluster: Cluster, first: Cluster) -> Row:
    """Signing in works, and the application has a token of this issuer."""
    wrong = sign_in(cluster, app_url(cluster), issuer_url(first), USER, PASSWORD)
    if wrong and wrong.reason is LoginReason.NOT_SENT_TO_ISSUER:
        log = shell.look(*cluster.kubectl, "-n", NAMESPACE, "logs", "deployment/app", "-c", "issuer", "--tail=1")
        if log.stdout.strip():
            wrong = problem(OidcCheckReason.WAITS_FOR_ISSUER, log=log.stdout.strip())
    return judged("a login", app_url(cluster), wrong, f"signed in as {USER}, by a token of this issuer")


def find_former_issuers(shell: Shell, clusters: list[Cluster]) -> list[Row]:
    """Another cluster's Keycloak, from a run in which that was named first, which no application uses any more."""
    found = providers.list_clusters(shell, clusters[0].settings)
    running = [cluster for cluster in own_clusters(clusters[0].settings, found) if found[cluster.name].running]
    options = ("--field-selector", f"metadata.namespace={NAMESPACE}")
    deployments = {cluster.name: list_objects(shell, cluster, "deployments", *options) for cluster in running}
    used = json.dumps([*deployments.values()])
    rows = []
    for cluster in running:
        names = [entry["metadata"]["name"] for entry in deployments[cluster.name]]
        if cluster != clusters[0] and "keycloak" in names and f'{ISSUER_OPTION}{issuer_url(cluster)}"' not in used:
            why = problem(OidcCheckReason.FORMER_ISSUER, cluster=cluster.name)
            command = cluster.to_type("-n", NAMESPACE, "delete", "deployment,service,ingress,configmap", "-l",
                                      "app=keycloak")
            rows.append(Row("-", issuer_url(cluster), "yellow", describe(why), command, why.code))
    return rows
