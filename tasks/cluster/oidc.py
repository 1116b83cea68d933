"""The example with OpenID Connect: Keycloak in one cluster, and applications whose users sign in there."""

from __future__ import annotations

from collections.abc import Iterator

from invoke import Exit

from tasks.ca.load import load_roots
from tasks.cluster import examples
from tasks.core.problems import ProblemExit, Reason, describe, problem
from tasks.core.progress import per_cluster
from tasks.core.settings import Cluster
from tasks.core.shell import Shell
from tasks.core.templates import render, short_hash
from tasks.front_door.proof import find_cluster_problem
from tasks.in_cluster import bundle, pod_trust
from tasks.in_cluster.apply import Manifest, apply, render_manifest
from tasks.probe.admission import find_policy_kinds
from tasks.probe.example_page import url_of
from tasks.probe.issuer import DOCUMENT
from tasks.probe.objects import list_objects
from tasks.probe.services import explain_unready_pods

NAMESPACE = "oidc-example"
REALM = USER = PASSWORD = "dev"


class OidcReason(Reason):
    """Why this example cannot work."""

    POD_TRUST_OFF = "POD_TRUST=off: the pods of this example would not trust the issuer's certificate"
    POD_TRUST_MISSING = "{cluster} gives its pods no trust, which this example needs"
    NO_FRONT_DOOR = "OIDC_ISSUER_PORT=false, but {error}"


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


def install(shell: Shell, clusters: list[Cluster]) -> None:
    """Install Keycloak in the first cluster and an application in each, and wait until they have started."""
    install_keycloak(shell, clusters[0])
    per_cluster(clusters, lambda cluster: install_app(shell, cluster, clusters[0]), at_once=not shell.dry)


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
        if not cluster.settings.acme:
            examples.wait_for_certificate(shell, cluster, NAMESPACE, f"{name}-cert")
