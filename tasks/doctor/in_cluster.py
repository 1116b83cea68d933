"""Checks of what these tasks install in a cluster, in the order of installation."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timezone

from tasks.ca.intermediate import IntermediateReason, find_reason_to_replace
from tasks.ca.signatures import leaf_belongs_to
from tasks.core.problems import Problem, describe
from tasks.core.well_known import CERT_MANAGER, ISSUER, KUBE_SYSTEM, TRUST_BUNDLE
from tasks.doctor.check import ERROR, WARNING, Checks, ClusterView, Observation
from tasks.doctor.fixes import CONFIGURE, REINSTALL, scale_up
from tasks.in_cluster import bundle, coredns
from tasks.probe import cluster_dns, limits
from tasks.probe.snapshot import read_condition

CHECKS = Checks()


check = CHECKS.check

RULES_KEY = "dev-clusters.override"

NOT_RUNNING = ("It was never installed, it was removed or scaled down, or its pods fail: "
               "kubectl --context {context} -n cert-manager get pods")


def check_deployments(view: ClusterView, namespace: str, *names: str) -> Iterator[str]:
    """What is wrong with these Deployments."""
    for name in names:
        deployment = view.snapshot.one("Deployment", name, namespace)
        if deployment is None:
            yield f"the Deployment {namespace}/{name} is missing"
        elif deployment["spec"].get("replicas", 1) == 0:
            yield f"the Deployment {namespace}/{name} is scaled to 0"
        else:
            available, message = read_condition(deployment, "Available")
            if not available:
                yield f"the Deployment {namespace}/{name} has no ready pod: {message}"


@check("cert-manager", ERROR, NOT_RUNNING, REINSTALL, needs=["api"])
def cert_manager(view: ClusterView) -> Iterator[str]:
    """cert-manager is running"""
    yield from check_deployments(view, CERT_MANAGER, "cert-manager", "cert-manager-cainjector", "cert-manager-webhook")


@check("trust-manager", ERROR, NOT_RUNNING, REINSTALL, needs=["api"])
def trust_manager(view: ClusterView) -> Iterator[str]:
    """trust-manager is running"""
    yield from check_deployments(view, CERT_MANAGER, "trust-manager")


@check("webhooks", ERROR, "The Service, or the labels of its pods, were changed.", REINSTALL,
       needs=["cert-manager", "trust-manager"])
def webhooks(view: ClusterView) -> Iterator[str]:
    """The webhooks of cert-manager and trust-manager have a ready pod; without it, their objects cannot be changed"""
    for service in ("cert-manager-webhook", "trust-manager"):
        if not view.snapshot.ready_endpoints(service, CERT_MANAGER):
            yield f"the Service cert-manager/{service} has no ready pod"


@check("root-key", ERROR, "The original Taskfile puts it there.", CONFIGURE, needs=["api", "ca"])
def root_key(view: ClusterView) -> Iterator[str]:
    """The root's key is not in the cluster"""
    problem = find_reason_to_replace(view.snapshot.chain, view.machine.usable_root, view.cluster)
    if problem and problem.reason == IntermediateReason.INTERMEDIATE_IS_ROOT:
        yield ("the secret cert-manager/root-ca contains the root and its key: anyone who can read it can sign for all "
               "clusters")


@check("intermediate", ERROR, "The root or the domain was changed, or the intermediate expires soon.", CONFIGURE,
       needs=["root-key"])
def intermediate(view: ClusterView) -> Iterator[Observation]:
    """The cluster's intermediate is issued by the root, for its domain, and valid for at least 30 more days"""
    problem = find_reason_to_replace(view.snapshot.chain, view.machine.usable_root, view.cluster)
    if problem:
        yield Observation(problem.code, f"the intermediate must be replaced: the cluster has {describe(problem)}")


@check("issuer", ERROR, "It was removed or changed.", CONFIGURE, needs=["cert-manager", "webhooks", "intermediate"])
def issuer(view: ClusterView) -> Iterator[str]:
    """The ClusterIssuer root-ca is ready"""
    found = view.snapshot.one("ClusterIssuer", ISSUER)
    if found is None:
        yield "there is no ClusterIssuer root-ca"
        return
    ready, message = read_condition(found, "Ready")
    if not ready:
        yield f"the ClusterIssuer root-ca is not ready: {message}"


@check("leaves", ERROR, "The intermediate was replaced, and cert-manager does not reissue its leaves by itself.",
       CONFIGURE, needs=["issuer"])
def leaves(view: ClusterView) -> Iterator[str]:
    """Every certificate in use is issued by the current intermediate"""
    for (namespace, name), leaf in view.snapshot.leaves.items():
        if not leaf_belongs_to(leaf, view.snapshot.chain):
            yield f"the certificate in the secret {namespace}/{name} was issued by an earlier intermediate"


@check("certificates", WARNING, "Its secret is used twice, a name is not allowed, or it was only just requested: "
       "kubectl --context {context} describe certificates -A",
       "kubectl --context {context} get certificates,certificaterequests -A",
       needs=["issuer"], link="https://cert-manager.io/docs/troubleshooting/")
def certificates(view: ClusterView) -> Iterator[str]:
    """Every Certificate is ready, and none is overdue for renewal"""
    for certificate in view.snapshot.all("Certificate"):
        name = f"{certificate['metadata']['namespace']}/{certificate['metadata']['name']}"
        ready, message = read_condition(certificate, "Ready")
        renewal = certificate.get("status", {}).get("renewalTime")
        if not ready:
            yield f"{name} is not ready: {message}"
        elif renewal and datetime.fromisoformat(renewal.replace("Z", "+00:00")) < datetime.now(timezone.utc):
            yield f"{name} should have been renewed on {renewal[:10]}"


@check("bundle", ERROR, "It was removed or changed, or the root or the company's CA was replaced.", CONFIGURE,
       needs=["trust-manager", "webhooks", "ca"])
def trust_bundle(view: ClusterView) -> Iterator[str]:
    """The Bundle default-ca-bundle contains the current root, and is synced to its namespaces"""
    found = view.snapshot.one("Bundle", TRUST_BUNDLE)
    if found is None:
        yield "there is no Bundle default-ca-bundle"
        return
    synced, message = read_condition(found, "Synced")
    if not synced:
        yield f"the Bundle default-ca-bundle is not synced: {message}"
    expected = bundle.load_bundle_sources(view.settings, view.machine.roots)
    for key in ("root", "company"):
        if view.snapshot.data(ISSUER, CERT_MANAGER, f"{key}.pem") != expected[f"{key}_pem"]:
            yield f"{key}.pem in the ConfigMap cert-manager/root-ca differs from the certificates on this machine"


@check("traefik", ERROR, "It was scaled down, or it cannot start: kubectl --context {context} -n kube-system logs "
       "deploy/traefik", scale_up("traefik"), needs=["api"])
def traefik_runs(view: ClusterView) -> Iterator[str | Problem]:
    """Traefik is running"""
    if limit := limits.find_traefik_limit(view.shell, view.cluster):
        yield limit
        return
    yield from check_deployments(view, KUBE_SYSTEM, "traefik")


@check("traefik-log", WARNING, "The HelmChartConfig traefik was removed or changed.", CONFIGURE, needs=["traefik"])
def access_log(view: ClusterView) -> Iterator[str]:
    """Traefik writes its access log"""
    deployment = view.snapshot.one("Deployment", "traefik", KUBE_SYSTEM) or {}
    containers = deployment.get("spec", {}).get("template", {}).get("spec", {}).get("containers", [])
    if not any("--accesslog=true" in container.get("args", []) for container in containers):
        yield "the access log is off"


@check("traefik-internal", ERROR, "It was removed or changed, or the ports in the settings were changed.", CONFIGURE,
       needs=["traefik"])
def internal_service(view: ClusterView) -> Iterator[str]:
    """The Service traefik-internal points to Traefik, on the ports that a browser uses, and on 80 and 443"""
    found = view.snapshot.one("Service", "traefik-internal", KUBE_SYSTEM)
    if found is None:
        yield "there is no Service kube-system/traefik-internal"
        return
    ports = {port["port"] for port in found["spec"].get("ports", [])}
    missing = {80, 443, view.cluster.http_port, view.cluster.https_port} - ports
    if missing:
        yield f"the Service kube-system/traefik-internal lacks the ports {', '.join(map(str, sorted(missing)))}"
    if not view.snapshot.ready_endpoints("traefik-internal", KUBE_SYSTEM):
        yield "the Service kube-system/traefik-internal has no ready pod"


@check("coredns", ERROR, "It was scaled down, or a key in coredns-custom prevents it from starting: kubectl --context "
       "{context} -n kube-system logs deploy/coredns", scale_up("coredns"), needs=["api"])
def coredns_runs(view: ClusterView) -> Iterator[str | Problem]:
    """CoreDNS is running"""
    if limit := limits.find_coredns_limit(view.shell, view.cluster):
        yield limit
        return
    yield from check_deployments(view, KUBE_SYSTEM, "coredns")


@check("coredns-rules", ERROR, "It was edited, or the settings or this machine's address changed.", CONFIGURE,
       needs=["api"])
def rules(view: ClusterView) -> Iterator[str | Problem]:
    """dev-clusters.override in coredns-custom matches the settings"""
    if limit := limits.find_coredns_limit(view.shell, view.cluster):
        yield limit
        return
    text = view.snapshot.data("coredns-custom", KUBE_SYSTEM, RULES_KEY)
    if text != coredns.render_rules(view.cluster, view.host):
        state = "does not match the settings and this machine's address" if text else "is missing"
        yield f"dev-clusters.override in kube-system/coredns-custom {state}"


@check("coredns-original", ERROR, "The original Taskfile put it there.", CONFIGURE, needs=["api"])
def rules_of_the_original(view: ClusterView) -> Iterator[str]:
    """coredns-custom has no rules of the original Taskfile, which cause a loop"""
    key = f"{view.settings.base_domain}.server"
    if view.snapshot.data("coredns-custom", KUBE_SYSTEM, key):
        yield f"{key} in kube-system/coredns-custom answers for all names below {view.settings.base_domain}"


@check("coredns-others", WARNING, "Another tool, or you, added it to coredns-custom.",
       "kubectl --context {context} -n kube-system edit configmap coredns-custom", needs=["api"],
       link="https://github.com/k3s-io/k3s/issues/5312")
def other_rules(view: ClusterView) -> Iterator[str]:
    """No other key in coredns-custom conflicts with the rules of these tasks"""
    known_keys = {RULES_KEY, f"{view.settings.base_domain}.server"}
    custom = (view.snapshot.one("ConfigMap", "coredns-custom", KUBE_SYSTEM) or {}).get("data") or {}
    for key, text in custom.items():
        if key in known_keys:
            continue
        if key.endswith(".override") and re.search(r"^\s*(hosts|kubernetes|reload|cache)\b", text, re.MULTILINE):
            yield f"{key} repeats a plugin that k3s configures, so CoreDNS will not start again"
        if key.endswith(".server") and re.search(rf"\b{re.escape(view.settings.base_domain)}[.:\s{{]", text):
            yield (f"{key} is a server block for {view.settings.base_domain}, which takes precedence over the cluster's"
                   " rules")


@check("coredns-answers", ERROR, "It has not loaded its rules yet (up to two minutes), or other rules take precedence.",
       CONFIGURE, needs=["coredns", "coredns-rules", "coredns-original", "traefik-internal"])
def coredns_answers(view: ClusterView) -> Iterator[str]:
    """CoreDNS resolves names for pods to Traefik, to other clusters and to this machine"""
    service = view.snapshot.one("Service", "traefik-internal", KUBE_SYSTEM) or {"spec": {}}
    expected = cluster_dns.expected_answers(view.cluster, service["spec"].get("clusterIP", ""), view.host)
    answers = cluster_dns.resolve_in_cluster(view.shell, view.cluster, list(expected))
    for name, address in expected.items():
        if answers.get(name) != address:
            yield f"{name}: {answers.get(name, 'no answer')}, expected {address}"
