"""The example with OpenID Connect: Keycloak in one cluster, and applications whose users sign in there."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from functools import partial

from invoke import Exit

from tasks import providers
from tasks.ca.load import load_roots
from tasks.cluster import examples
from tasks.core.problems import Problem, ProblemExit, Reason, describe, problem
from tasks.core.progress import per_cluster, say
from tasks.core.settings import Cluster
from tasks.core.shell import Shell
from tasks.core.table import Row
from tasks.core.templates import render, short_hash
from tasks.engine.clusters import own_clusters
from tasks.front_door.proof import find_cluster_problem
from tasks.in_cluster import bundle, pod_trust
from tasks.in_cluster.apply import Manifest, apply, render_manifest
from tasks.probe.admission import find_policy_kinds
from tasks.probe.browser import Browser
from tasks.probe.connections import HOST, explain_failure
from tasks.probe.example_page import url_of
from tasks.probe.issuer import DOCUMENT, IssuerReason, judge_document
from tasks.probe.login import LoginReason, sign_in
from tasks.probe.objects import list_objects
from tasks.probe.requests import request_from_pod
from tasks.probe.services import explain_unready_pods

NAMESPACE = "oidc-example"
REALM = USER = PASSWORD = "dev"

ISSUER_OPTION = "--oidc-issuer-url="


class OidcReason(Reason):
    POD_TRUST_OFF = "POD_TRUST=off: the pods of this example would not trust the issuer's certificate"
    POD_TRUST_MISSING = "{cluster} gives its pods no trust, which this example needs"
    NO_FRONT_DOOR = "OIDC_ISSUER_PORT=false, but {error}"
    WAITS_FOR_ISSUER = "the application's pod waits for the issuer: {log}"
    FORMER_ISSUER = "Keycloak of an earlier run in {cluster}, which no application uses"


# --- URLs -------------------------------------------------------------------------------------------------------------


def base_url(cluster: Cluster, host: str) -> str:
    return url_of(cluster, "https", host, path="", front_door=not cluster.settings.oidc_issuer_port)


def keycloak_host(cluster: Cluster) -> str:
    return f"example-keycloak.{cluster.domain}"


def app_host(cluster: Cluster) -> str:
    return f"example-app.{cluster.domain}"


def issuer_url(cluster: Cluster) -> str:
    return f"{base_url(cluster, keycloak_host(cluster))}/realms/{REALM}"


def app_url(cluster: Cluster) -> str:
    return base_url(cluster, app_host(cluster))


# --- install ----------------------------------------------------------------------------------------------------------


def check_requirements(shell: Shell, clusters: list[Cluster]) -> None:
    """End at once where this example cannot work, before anything is installed.

    :raises ProblemExit: without pod trust, or where URLs without port lead nowhere.
    """
    first, numbers = clusters[0], ",".join(str(cluster.number) for cluster in clusters)
    if first.settings.pod_trust == pod_trust.OFF:
        raise ProblemExit(problem(OidcReason.POD_TRUST_OFF), "Set POD_TRUST=variables in .env, then run: "
                          f"inv k3d-cluster-configure --n {numbers}")
    for cluster in [] if shell.dry else clusters:
        examples.require_issuer(shell, cluster)
        if not pod_trust.is_in_place(shell, cluster):
            remedy = (f"Run: inv k3d-cluster-configure --n {cluster.number}"
                      if find_policy_kinds(shell, cluster).mutating else
                      f"{describe(pod_trust.why_unavailable(shell, cluster))}. {pod_trust.remedy(cluster)}.")
            raise ProblemExit(problem(OidcReason.POD_TRUST_MISSING, cluster=cluster.name), remedy)
    for cluster in [] if shell.dry or first.settings.oidc_issuer_port else clusters:
        if why := find_cluster_problem(cluster, keycloak_host(cluster)):
            raise ProblemExit(problem(OidcReason.NO_FRONT_DOOR, error=describe(why)),
                              "Start the front door with: inv front-door. Or set OIDC_ISSUER_PORT=true in .env.")


def install_and_check(shell: Shell, clusters: list[Cluster]) -> None:
    """Install Keycloak in the first cluster and an application in each; sign in to all; Exit if a check failed."""
    install_keycloak(shell, clusters[0])
    per_cluster(clusters, lambda cluster: install_app(shell, cluster, clusters[0]), at_once=not shell.dry)
    if shell.dry:
        return
    examples.report(check(shell, clusters))
    for cluster in clusters:
        say(f"Open {app_url(cluster)}/")
    say(f"and sign in as {USER} with the password {PASSWORD}.")


def install_keycloak(shell: Shell, cluster: Cluster) -> None:
    manifest = render_manifest(cluster, "examples/oidc/keycloak.yaml", **template_values(cluster, cluster))
    title = "Keycloak (a minute, once its image is pulled)"
    apply_and_wait(shell, cluster, title, "IMAGE_KEYCLOAK", manifest, "keycloak")


def install_app(shell: Shell, cluster: Cluster, first: Cluster) -> None:
    roots = load_roots(cluster.settings, missing_ok=shell.dry)
    sources_hash = bundle.load_bundle_sources(cluster.settings, roots)["sources_hash"]
    manifest = render_manifest(cluster, "examples/oidc/app.yaml", **template_values(cluster, first),
                               sources_hash=sources_hash)
    apply_and_wait(shell, cluster, "application behind oauth2-proxy", "IMAGE_OAUTH2_PROXY", manifest, "app")


def template_values(cluster: Cluster, first: Cluster) -> dict[str, str]:
    """What the templates ask for, in a cluster whose issuer is in the first one."""
    realm = render("examples/oidc/realm.json", realm=REALM, user=USER, password=PASSWORD,
                   redirect_uris=[*list_redirect_uris(cluster)])
    issuer = issuer_url(first)
    return {"namespace": NAMESPACE, "realm": realm, "realm_hash": short_hash(realm), "issuer": issuer,
            "document": f"{issuer}{DOCUMENT}", "keycloak_url": base_url(first, keycloak_host(first)),
            "keycloak_host": keycloak_host(first), "app_url": app_url(cluster), "app_host": app_host(cluster)}


def list_redirect_uris(cluster: Cluster) -> Iterator[str]:
    """The applications of all clusters that there may be, in both forms: Keycloak takes no `*` in a host."""
    for other in map(cluster.settings.cluster, cluster.settings.numbers):
        for through_front_door in (False, True):
            yield url_of(other, "https", app_host(other), "/oauth2/callback", through_front_door)


def apply_and_wait(shell: Shell, cluster: Cluster, title: str, image: str, manifest: Manifest, name: str) -> None:
    seconds = cluster.settings.timeout_ready
    with (shell.one_at_a_time("cluster", cluster.name),
          shell.step(cluster.name, f"{title}{cluster.settings.from_environment(image)}") as this):
        this.outcome = "applied" if apply(shell, cluster, manifest) else "already installed"
        try:
            shell.wait(f"{name} to start", seconds, *cluster.kubectl, "-n", NAMESPACE, "rollout", "status",
                       f"deployment/{name}", f"--timeout={seconds}s")
        except Exit as error:
            options = ("--field-selector", f"metadata.namespace={NAMESPACE}", "-l", f"app={name}")
            reason = explain_unready_pods(list_objects(shell, cluster, "pods", *options))
            raise Exit(f"{error.message}\n{reason}".rstrip()) from None
        examples.wait_for_certificate(shell, cluster, NAMESPACE, f"{name}-cert")


# --- checks -----------------------------------------------------------------------------------------------------------


def check(shell: Shell, clusters: list[Cluster]) -> list[Row]:
    """Check the issuer from everywhere, a login at each application, and pods without the bundle."""
    first = clusters[0]
    issuer = issuer_url(first)
    of_host = patiently(partial(check_from_host, first))
    document = Browser(first).open(f"{issuer}{DOCUMENT}").body
    jobs: list[Callable[[], list[Row]]] = [
        *(partial(check_each, partial(check_from_pod, shell, cluster, first, document)) for cluster in clusters),
        *(partial(check_each, partial(check_login, shell, cluster, first)) for cluster in clusters),
        *(partial(examples.check_without_bundle, shell, cluster, issuer) for cluster in clusters),
        partial(find_former_issuers, shell, clusters)]
    return [of_host, *(row for rows in shell.side_by_side(jobs) for row in rows)]


def check_each(one: Callable[[], Row]) -> list[Row]:
    return [patiently(one)]


def patiently(one: Callable[[], Row]) -> Row:
    """Check again while it is red: Traefik needs a moment to serve what was just applied."""
    deadline = time.monotonic() + examples.PATIENCE_SECONDS
    while (row := one()).state == "red" and time.monotonic() < deadline:
        time.sleep(1)
    return row


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
            wrong = problem(OidcReason.WAITS_FOR_ISSUER, log=log.stdout.strip())
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
            why = problem(OidcReason.FORMER_ISSUER, cluster=cluster.name)
            command = cluster.to_type("-n", NAMESPACE, "delete", "deployment,service,ingress,configmap", "-l",
                                      "app=keycloak")
            rows.append(Row("-", issuer_url(cluster), "yellow", describe(why), command, why.code))
    return rows
