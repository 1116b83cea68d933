"""Checks of pod trust: the policies that give it, the namespaces that ask for it, and the pods that go without."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from tasks.core.problems import Problem
from tasks.doctor.check import ERROR, WARNING, Checks, ClusterView
from tasks.doctor.fixes import CONFIGURE
from tasks.in_cluster import pod_trust, refusal
from tasks.in_cluster.apply import Manifest, needs_apply, render_manifest
from tasks.probe import tls_clients
from tasks.probe.admission import find_policy_kinds
from tasks.probe.objects import Object
from tasks.probe.pod_trust import (
    FILE_BY,
    FILE_LABEL,
    SYSTEM_NAMESPACES,
    TRUST_LABEL,
    TRUSTED_BY,
    containers,
    list_untrusting,
    mounted_config_maps,
)

CHECKS = Checks()


check = CHECKS.check

PAGE = "docs/pod-trust.md"

NOT_ENABLED = ("", "disabled", "false", "no", "none", "off")
"""Values of the labels that say on purpose that there is to be none."""


def is_off(view: ClusterView) -> bool:
    return view.settings.pod_trust == pod_trust.OFF


@check("pod-trust-kubernetes", WARNING, "K3S_IMAGE is old, or the cluster was created by an earlier version.",
       "K3S_IMAGE of Kubernetes 1.34 or newer in .env, then a new cluster: inv k3d-cluster-delete --n {n} "
       "k3d-cluster-setup --n {n} (all that is in the cluster is lost); or POD_TRUST=off in .env", needs=["api"],
       link="https://kubernetes.io/docs/reference/access-authn-authz/mutating-admission-policy/")
def kubernetes(view: ClusterView) -> Iterator[Problem]:
    """Kubernetes has the admission policies by which pods trust the root by themselves"""
    if not is_off(view) and not find_policy_kinds(view.shell, view.cluster).mutating:
        yield pod_trust.why_unavailable(view.shell, view.cluster)


def differences(view: ClusterView, kind: str, names: tuple[str, ...], wanted: list[Manifest]) -> Iterator[str]:
    """What is missing of these policies and their bindings, or differs from the templates."""
    complete = True
    for name in names:
        binding = view.snapshot.one(f"{kind}Binding", name)
        if view.snapshot.one(kind, name) is None:
            complete = False
            yield f"the {kind} {name} is missing"
        elif binding is None or binding["spec"].get("policyName") != name:
            complete = False
            yield f"the {kind} {name} has no binding, so it applies to nothing"
    if complete and needs_apply(view.shell, view.cluster, *wanted):
        yield f"the {kind} {', '.join(names)} or its binding is not what its template says"


@check("pod-trust", ERROR, "Someone has removed or changed it, or POD_TRUST was changed.", CONFIGURE, needs=["bundle"])
def policies(view: ClusterView) -> Iterator[str | Problem]:
    """New pods trust the root: the policies are in place, and a probe pod gets what it should"""
    kind, version = "MutatingAdmissionPolicy", find_policy_kinds(view.shell, view.cluster).mutating
    if is_off(view):
        for name in pod_trust.POLICIES:
            if view.snapshot.one(kind, name):
                yield f"the {kind} {name} is there, but POD_TRUST=off"
    elif version:
        wanted = pod_trust.render_policies(view.cluster, version)
        found = [*differences(view, kind, pod_trust.POLICIES, wanted)]
        yield from found
        if not found and (wrong := pod_trust.find_problem(view.shell, view.cluster)):
            yield wrong


@check("hosts-policy", ERROR, "Someone has removed or changed it.", CONFIGURE, needs=["api"])
def refusing(view: ClusterView) -> Iterator[str | Problem]:
    """A host outside the cluster's domain is denied to whoever asks root-ca for it: a probe Ingress shows that"""
    if not find_policy_kinds(view.shell, view.cluster).validating:
        return
    wanted = [render_manifest(view.cluster, f"in_cluster/{refusal.POLICY}.yaml")]
    found = [*differences(view, "ValidatingAdmissionPolicy", (refusal.POLICY,), wanted)]
    yield from found
    if not found and (wrong := refusal.find_problem(view.shell, view.cluster)):
        yield wrong


@check("namespace-label", WARNING, "A misspelling: only `trust=enabled` brings the bundle and trust, and only with it "
       "`trust-system-file=enabled` the system's file.",
       "kubectl --context {context} label namespace NAMESPACE trust=enabled --overwrite", needs=["api"])
def labels(view: ClusterView) -> Iterator[str]:
    """No namespace has a label that only looks like the one for trust"""
    for namespace in view.snapshot.all("Namespace"):
        name, given = namespace["metadata"]["name"], namespace["metadata"].get("labels") or {}
        for key, value in given.items():
            if key in (TRUST_LABEL, FILE_LABEL):
                if value != "enabled" and value.lower() not in NOT_ENABLED:
                    yield f"{name} has the label {key}={value}, which does nothing; {key}=enabled does"
            elif value.lower().startswith(("enable", "true")) and (
                    meant := difflib.get_close_matches(key.lower(), (TRUST_LABEL, FILE_LABEL), 1, 0.8)):
                yield f"{name} has the label {key}={value}, which does nothing; {meant[0]}=enabled does"
        if given.get(FILE_LABEL) == "enabled" and given.get(TRUST_LABEL) != "enabled":
            yield f"{name} has the label {FILE_LABEL}=enabled, which does nothing without {TRUST_LABEL}=enabled"
        if given.get(TRUST_LABEL) == "enabled" and name in SYSTEM_NAMESPACES:
            yield f"{name} has the label {TRUST_LABEL}=enabled, but pods of Kubernetes itself are never changed"


@check("pod-trust-pods", WARNING, "They were created before pod trust, or before the label of their namespace.",
       "Restart them, each with its command.", needs=["pod-trust"])
def untrusting(view: ClusterView) -> Iterator[str]:
    """Every pod in a namespace with the label trust=enabled trusts the root, unless it opts out"""
    for found in list_untrusting(view.snapshot):
        yield f"{found.owner.title} has pods without trust: {found.restart_command(view.cluster)}"


@check("pod-trust-lost", WARNING, "The label trust=enabled was removed from their namespace, and trust-manager deleted "
       "the bundle.", "Set the label again, or create these pods anew, which then do without.", needs=["bundle"])
def lost(view: ClusterView) -> Iterator[str]:
    """Every pod that was given the bundle would find it again after a restart"""
    for pod in view.snapshot.all("Pod"):
        namespace = pod["metadata"].get("namespace", "")
        labels = (view.snapshot.one("Namespace", namespace) or {"metadata": {}})["metadata"].get("labels") or {}
        if is_given(pod) and namespace not in view.snapshot.with_bundle and labels.get(TRUST_LABEL) != "enabled":
            yield (f"{namespace}/{pod['metadata']['name']} mounts the ConfigMap default-ca-bundle, which is gone: it "
                   "will not start after a restart of the cluster")


@check("pod-trust-hidden", WARNING, "A variable in `env` wins over one by envFrom, and pod trust cannot see into a "
       "ConfigMap.", f"Set it in `env`, or name it in the annotation dev-cluster-tasks/trust-except: see {PAGE}",
       needs=["pod-trust"])
def hidden(view: ClusterView) -> Iterator[str]:
    """No variable that a pod has from a ConfigMap is replaced by pod trust"""
    for pod in view.snapshot.all("Pod"):
        metadata = pod["metadata"]
        if not is_given(pod):
            continue
        for container in containers(pod):
            ours = {entry["name"] for entry in container.get("env") or []
                    if entry.get("value") == pod_trust.VARIABLE_VALUES.get(entry["name"], "")}
            for source in container.get("envFrom") or []:
                name, prefix = (source.get("configMapRef") or {}).get("name", ""), source.get("prefix", "")
                found = view.snapshot.one("ConfigMap", name, metadata["namespace"]) or {}
                for key in sorted(ours & {f"{prefix}{key}" for key in found.get("data") or {}}):
                    yield (f"{metadata['namespace']}/{metadata['name']}: {key} of the ConfigMap {name} is replaced in "
                           f"the container {container['name']}")


@check("pod-trust-client", WARNING, "GnuTLS, and libcurl in other programs than curl, read no variable.",
       f"kubectl --context {{context}} label namespace NAMESPACE {FILE_LABEL}=enabled, then restart its pods: {PAGE}",
       needs=["pod-trust"])
def reads_no_variable(view: ClusterView) -> Iterator[str]:
    """No program that runs in a pod with the variables alone needs the system's file"""
    given = [pod for pod in view.snapshot.all("Pod")
             if is_given(pod) and FILE_BY not in pod["metadata"]["annotations"]]
    for pod, client in tls_clients.find_clients(view.shell, view.existing.workers, given):
        if not client.variables:
            name = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
            yield f"{name}: {client.sentence}"


def is_given(pod: Object) -> bool:
    """Whether a policy, and not the pod's own manifest, mounts the bundle."""
    return (TRUSTED_BY in (pod["metadata"].get("annotations") or {})
            and any("default-ca-bundle" in mounted_config_maps(volume) for volume in pod["spec"].get("volumes") or []))
