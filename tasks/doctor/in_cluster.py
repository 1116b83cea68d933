"""Checks of what these tasks bring into a cluster, in the order in which it is built."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timezone

from tasks.ca.intermediate import IntermediateReason, find_reason_to_replace
from tasks.ca.signatures import leaf_belongs_to
from tasks.core.problems import Problem
from tasks.doctor.check import ERROR, WARNING, Checks, ClusterView
from tasks.doctor.fixes import CONFIGURE, REINSTALL, wake
from tasks.in_cluster import bundle, coredns
from tasks.probe import cluster_dns
from tasks.probe.snapshot import read_condition

CHECKS = Checks()


check = CHECKS.check


def troubled(view: ClusterView, namespace: str, *deployments: str) -> Iterator[str]:
    """What is wrong with these Deployments, each in a sentence."""
    for name in deployments:
        found = view.snapshot.one("Deployment", name, namespace)
        if found is None:
            yield f"the Deployment {namespace}/{name} is missing"
        elif found["spec"].get("replicas", 1) == 0:
            yield f"the Deployment {namespace}/{name} is scaled to 0"
        elif not read_condition(found, "Available")[0]:
            yield f"the Deployment {namespace}/{name} has no pod that is ready: {read_condition(found, 'Available')[1]}"


@check("cert-manager", ERROR, "It was never installed, was removed or scaled down, or its pods fail: kubectl "
       "-n cert-manager get pods", REINSTALL, needs=["api"])
def cert_manager(view: ClusterView) -> Iterator[str]:
    """cert-manager runs"""
    yield from troubled(view, "cert-manager", "cert-manager", "cert-manager-cainjector", "cert-manager-webhook")


@check("trust-manager", ERROR, "It was never installed, was removed or scaled down, or its pods fail: kubectl "
       "-n cert-manager get pods", REINSTALL, needs=["api"])
def trust_manager(view: ClusterView) -> Iterator[str]:
    """trust-manager runs"""
    yield from troubled(view, "cert-manager", "trust-manager")


@check("webhooks", ERROR, "The Service or its pods' labels were changed.", REINSTALL,
       needs=["cert-manager", "trust-manager"])
def webhooks(view: ClusterView) -> Iterator[str]:
    """The webhooks of both have a pod behind them, without which nothing of theirs can be changed"""
    for service in ("cert-manager-webhook", "trust-manager"):
        if not view.snapshot.ready_endpoints(service, "cert-manager"):
            yield f"the Service cert-manager/{service} leads to no pod"


@check("root-key", ERROR, "The original Taskfile puts it there.", CONFIGURE, needs=["api", "ca"])
def root_key(view: ClusterView) -> Iterator[str]:
    """The root's own key is not in the cluster"""
    why = find_reason_to_replace(view.snapshot.chain, view.machine.usable_root, view.cluster)
    if why and why.reason == IntermediateReason.INTERMEDIATE_IS_ROOT:
        yield "the secret cert-manager/root-ca holds the root and its key: whoever reads it can sign for all clusters"


@check("intermediate", ERROR, "The root or the domain was changed, or time has passed.", CONFIGURE,
       needs=["root-key"])
def intermediate(view: ClusterView) -> Iterator[Problem]:
    """The cluster's intermediate is of the root, for its domain, and good for another 30 days"""
    why = find_reason_to_replace(view.snapshot.chain, view.machine.usable_root, view.cluster)
    if why:
        yield why


@check("issuer", ERROR, "It was removed or changed.", CONFIGURE, needs=["cert-manager", "webhooks", "intermediate"])
def issuer(view: ClusterView) -> Iterator[str]:
    """The ClusterIssuer root-ca is ready"""
    found = view.snapshot.one("ClusterIssuer", "root-ca")
    if found is None:
        yield "there is no ClusterIssuer root-ca"
    elif not read_condition(found, "Ready")[0]:
        yield f"the ClusterIssuer root-ca is not ready: {read_condition(found, 'Ready')[1]}"


@check("leaves", ERROR, "The intermediate was replaced, and cert-manager does not make its leaves again by itself.",
       CONFIGURE, needs=["issuer"])
def leaves(view: ClusterView) -> Iterator[str]:
    """Every certificate in use is signed by the present intermediate"""
    for (namespace, name), leaf in view.snapshot.leaves.items():
        if not leaf_belongs_to(leaf, view.snapshot.chain):
            yield f"the secret {namespace}/{name} is of an earlier intermediate"


@check("certificates", WARNING, "Its secret is used twice, a name is not allowed, or it has just been asked for: "
       "kubectl describe certificate", "kubectl --context {context} get certificates,certificaterequests -A",
       needs=["issuer"], link="https://cert-manager.io/docs/troubleshooting/")
def certificates(view: ClusterView) -> Iterator[str]:
    """Every Certificate is ready, and none is overdue"""
    for found in view.snapshot.all("Certificate"):
        name = f"{found['metadata']['namespace']}/{found['metadata']['name']}"
        ready, message = read_condition(found, "Ready")
        renewal = found.get("status", {}).get("renewalTime")
        if not ready:
            yield f"{name} is not ready: {message}"
        elif renewal and datetime.fromisoformat(renewal.replace("Z", "+00:00")) < datetime.now(timezone.utc):
            yield f"{name} should have been renewed on {renewal[:10]}"


@check("bundle", ERROR, "It was removed or changed, or the root or the company's CA is another one now.", CONFIGURE,
       needs=["trust-manager", "webhooks", "ca"])
def trust_bundle(view: ClusterView) -> Iterator[str]:
    """The Bundle default-ca-bundle is made of the present root, and brought to its namespaces"""
    found = view.snapshot.one("Bundle", "default-ca-bundle")
    if found is None:
        yield "there is no Bundle default-ca-bundle"
        return
    if not read_condition(found, "Synced")[0]:
        yield f"the Bundle default-ca-bundle is not synced: {read_condition(found, 'Synced')[1]}"
    wanted = bundle.load_bundle_sources(view.settings, view.machine.roots)
    for key in ("root", "company"):
        if view.snapshot.data("root-ca", "cert-manager", f"{key}.pem") != wanted[f"{key}_pem"]:
            yield f"{key}.pem in the ConfigMap cert-manager/root-ca is not what it should be"


@check("traefik", ERROR, "Somebody has scaled it down, or it cannot start: kubectl -n kube-system logs deploy/traefik",
       wake("traefik"), needs=["api"])
def traefik_runs(view: ClusterView) -> Iterator[str]:
    """Traefik runs"""
    yield from troubled(view, "kube-system", "traefik")


@check("traefik-log", WARNING, "The HelmChartConfig traefik was removed or changed.", CONFIGURE, needs=["traefik"])
def access_log(view: ClusterView) -> Iterator[str]:
    """Traefik writes its access log"""
    found = view.snapshot.one("Deployment", "traefik", "kube-system") or {}
    containers = found.get("spec", {}).get("template", {}).get("spec", {}).get("containers", [])
    if not any("--accesslog=true" in container.get("args", []) for container in containers):
        yield "the access log is off"


@check("traefik-internal", ERROR, "It was removed or changed, or the ports in the settings were.", CONFIGURE,
       needs=["traefik"])
def internal_service(view: ClusterView) -> Iterator[str]:
    """The Service traefik-internal leads to Traefik, on the ports that a browser uses, and on 80 and 443"""
    found = view.snapshot.one("Service", "traefik-internal", "kube-system")
    if found is None:
        yield "there is no Service kube-system/traefik-internal"
        return
    ports = {port["port"] for port in found["spec"].get("ports", [])}
    missing = {80, 443, view.cluster.http_port, view.cluster.https_port} - ports
    if missing:
        yield f"the Service kube-system/traefik-internal lacks the ports {', '.join(map(str, sorted(missing)))}"
    if not view.snapshot.ready_endpoints("traefik-internal", "kube-system"):
        yield "the Service kube-system/traefik-internal leads to no pod"


@check("coredns", ERROR, "Somebody has scaled it down, or a key in coredns-custom keeps it from starting: kubectl "
       "-n kube-system logs deploy/coredns", wake("coredns"), needs=["api"])
def coredns_runs(view: ClusterView) -> Iterator[str]:
    """CoreDNS runs"""
    yield from troubled(view, "kube-system", "coredns")


@check("coredns-rules", ERROR, "Somebody has changed it, or the settings or this host's address were.", CONFIGURE,
       needs=["api"])
def rules(view: ClusterView) -> Iterator[str]:
    """dev-clusters.override in coredns-custom is what the settings say"""
    found = view.snapshot.data("coredns-custom", "kube-system", "dev-clusters.override")
    if found != coredns.render_rules(view.cluster, view.host):
        yield ("dev-clusters.override in kube-system/coredns-custom "
               + ("is not what the settings and this host's address say" if found else "is missing"))


@check("coredns-original", ERROR, "The original Taskfile has put it there.", CONFIGURE, needs=["api"])
def rules_of_the_original(view: ClusterView) -> Iterator[str]:
    """coredns-custom has no rules of the original Taskfile, which loop"""
    key = f"{view.settings.base_domain}.server"
    if view.snapshot.data("coredns-custom", "kube-system", key):
        yield f"{key} in kube-system/coredns-custom takes all names below {view.settings.base_domain}"


@check("coredns-others", WARNING, "Another tool, or you, added to coredns-custom.",
       "kubectl --context {context} -n kube-system edit configmap coredns-custom", needs=["api"],
       link="https://github.com/k3s-io/k3s/issues/5312")
def rules_of_others(view: ClusterView) -> Iterator[str]:
    """No other key of coredns-custom stands in the way"""
    ours = {"dev-clusters.override", f"{view.settings.base_domain}.server"}
    custom = (view.snapshot.one("ConfigMap", "coredns-custom", "kube-system") or {}).get("data") or {}
    for key, text in custom.items():
        if key in ours:
            continue
        if key.endswith(".override") and re.search(r"^\s*(hosts|kubernetes|reload|cache)\b", text, re.MULTILINE):
            yield f"{key} repeats a plugin that k3s has, and CoreDNS will not start with it again"
        if key.endswith(".server") and re.search(rf"\b{re.escape(view.settings.base_domain)}[.:\s{{]", text):
            yield f"{key} is a server block for {view.settings.base_domain}, which wins over our rules"


@check("coredns-answers", ERROR, "It has not read its rules yet (up to two minutes), or other rules win.", CONFIGURE,
       needs=["coredns", "coredns-rules", "coredns-original", "traefik-internal"])
def answers(view: ClusterView) -> Iterator[str]:
    """CoreDNS leads pods to Traefik, to other clusters and to this host"""
    service = view.snapshot.one("Service", "traefik-internal", "kube-system") or {"spec": {}}
    wanted = cluster_dns.expected_answers(view.cluster, service["spec"].get("clusterIP", ""), view.host)
    got = cluster_dns.resolve_in_cluster(view.shell, view.cluster, list(wanted))
    for name, address in wanted.items():
        if got.get(name) != address:
            yield f"{name}: {got.get(name, 'no answer')}, and it should be {address}"
