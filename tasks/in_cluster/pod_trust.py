"""Pods in namespaces with `trust: enabled` trust the bundle, with nothing in their manifest: by admission policies.

A policy that fails does so silently, so the API is asked for a pod that is never made, and what comes back is checked.
"""

from __future__ import annotations

import json
import re
from functools import partial
from typing import Any

from tasks.core.problems import Problem, Reason, describe, problem
from tasks.core.settings import Cluster, Settings
from tasks.core.shell import Shell
from tasks.core.well_known import MANAGER, TRUST_BUNDLE
from tasks.in_cluster import policies
from tasks.in_cluster.apply import Manifest, apply, dry_run, render_manifest
from tasks.probe.admission import FIRST_WITH_MUTATING, ON_REQUEST, find_policy_kinds, server_version
from tasks.probe.pod_trust import SYSTEM_NAMESPACES, TRUSTED_BY, VOLUME

OFF, VARIABLES, SYSTEM_FILE = "off", "variables", "system-file"
"""The values of POD_TRUST."""

KIND = "mutatingadmissionpolicy"

POLICIES = ("pod-trust", "pod-trust-debug", "pod-trust-system-file")
"""Each is a template in templates/in_cluster/: a policy, and a binding of the same name."""

NAMESPACE = MANAGER
"""Where pods are asked for that are never made."""

FOLDER = "/dev-cluster-trust"
"""In the root folder, so that no mount of a pod lies above it: below a read-only one no container would start."""

FILE = "/etc/ssl/certs/ca-certificates.crt"
"""What programs on Debian, Ubuntu, Alpine, and Go everywhere read by themselves."""

JAVA = (f"-Djavax.net.ssl.trustStore={FOLDER}/bundle.p12 -Djavax.net.ssl.trustStoreType=PKCS12 "
        "-Djavax.net.ssl.trustStorePassword=changeit")

# What reads which: docs/pod-trust.md. CURL_CA_BUNDLE is for images that set it themselves.
READ_AS_PEM = ("SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "GIT_SSL_CAINFO",
               "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", "PERL_LWP_SSL_CA_FILE")
VARIABLE_VALUES = {**dict.fromkeys(READ_AS_PEM, f"{FOLDER}/bundle.pem"), "JAVA_TOOL_OPTIONS": JAVA}


class PodTrustReason(Reason):
    """Why pods get no trust by themselves."""

    KUBERNETES_TOO_OLD = ("Kubernetes {version} has no MutatingAdmissionPolicy, so pods do not trust the bundle by "
                          "themselves: each manifest has to mount it, as templates/examples/curl.yaml does here")
    API_NOT_ENABLED = ("Kubernetes {version} has MutatingAdmissionPolicy, but this cluster was created without it, so "
                       "pods do not trust the bundle by themselves: each manifest has to mount it, as "
                       "templates/examples/curl.yaml does here")
    PROBE_REJECTED = "the API rejects a probe pod: {error}"
    VARIABLES_MISSING = "a probe pod does not get {missing}"
    SYSTEM_FILE_MISSING = f"a probe pod does not get the file {FILE}"


def configure(shell: Shell, cluster: Cluster) -> None:
    """Apply the policies, and verify them; with POD_TRUST=off remove them."""
    with shell.step(cluster.name, "pod trust") as this:
        version = find_policy_kinds(shell, cluster).mutating
        if cluster.settings.pod_trust == OFF:
            if version:
                remove(shell, cluster)
            return this.skip("off (POD_TRUST)")
        if not version:
            return this.warn(f"{describe(why_unavailable(shell, cluster))}. {remedy(cluster)}")
        apply(shell, cluster, render_manifest(cluster, "in_cluster/pod-trust-namespace.yaml"))
        wrong = policies.apply_verified(shell, cluster, KIND, render_policies(cluster, version),
                                        partial(find_problem, shell, cluster), PodTrustReason.PROBE_REJECTED)
        if wrong:
            return this.warn(f"applied, not verified: {describe(wrong)}")
        this.outcome = "verified with a probe pod"


def is_in_place(shell: Shell, cluster: Cluster) -> bool:
    """Whether new pods of this cluster get trust."""
    said = shell.look(*cluster.kubectl, "get", "mutatingadmissionpolicybindings", POLICIES[0], "-o", "name")
    return bool(said.stdout.strip())


def render_policies(cluster: Cluster, version: str) -> list[Manifest]:
    """The policies for an API that has them in this version."""
    values = policy_values(cluster.settings, version)
    return [render_manifest(cluster, f"in_cluster/{name}.yaml", **values) for name in POLICIES]


def policy_values(settings: Settings, version: str) -> dict[str, Any]:
    """What the templates of the policies ask for."""
    by_label = {} if settings.pod_trust == SYSTEM_FILE else {"trust-system-file": "enabled"}
    return {"api_version": version, "volume": VOLUME, "folder": FOLDER, "system_file": FILE, "bundle": TRUST_BUNDLE,
            "variables": VARIABLE_VALUES, "system_namespaces": SYSTEM_NAMESPACES,
            "system_file_labels": {"trust": "enabled", **by_label}}


# --- the probe --------------------------------------------------------------------------------------------------------


def find_problem(shell: Shell, cluster: Cluster) -> Problem | None:
    """What a probe pod lacks that it should get, asked by a server-side dry run; None when nothing."""
    said = dry_run(shell, cluster, render_manifest(cluster, "in_cluster/probe-pod.yaml"))
    try:
        pod = json.loads(said.stdout)
    except ValueError:
        error = (said.stderr.strip() or "no answer").splitlines()[-1]
        return problem(PodTrustReason.PROBE_REJECTED, error=error)
    containers = pod["spec"].get("initContainers", []) + pod["spec"]["containers"]
    given = [{entry["name"]: entry.get("value") for entry in container.get("env", [])} for container in containers]
    missing = [name for name, value in VARIABLE_VALUES.items() if any(values.get(name) != value for values in given)]
    if missing or TRUSTED_BY not in pod["metadata"].get("annotations", {}):
        return problem(PodTrustReason.VARIABLES_MISSING, missing=", ".join(missing) or f"the annotation {TRUSTED_BY}")
    mounts = [{entry["mountPath"] for entry in container.get("volumeMounts", [])} for container in containers]
    if not all(FILE in paths for paths in mounts):
        return problem(PodTrustReason.SYSTEM_FILE_MISSING)
    return None


# --- where it cannot be ----------------------------------------------------------------------------------------------


def why_unavailable(shell: Shell, cluster: Cluster) -> Problem:
    version = server_version(shell, cluster)
    found = re.match(r"v(\d+)\.(\d+)", version)
    enabled_by_setup = found and ON_REQUEST <= (int(found[1]), int(found[2])) < FIRST_WITH_MUTATING
    return problem(PodTrustReason.API_NOT_ENABLED if enabled_by_setup else PodTrustReason.KUBERNETES_TOO_OLD,
                   version=version or "of this cluster")


def remedy(cluster: Cluster) -> str:
    oldest = ".".join(map(str, ON_REQUEST))
    return (f"With a K3S_IMAGE of Kubernetes {oldest} or newer in .env, a new cluster has it: inv k3d-cluster-delete "
            f"--n {cluster.number} k3d-cluster-setup --n {cluster.number}. POD_TRUST=off hides this message")


def remove(shell: Shell, cluster: Cluster) -> None:
    """Remove the policies, and the namespace of the probe pod."""
    policies.remove(shell, cluster, KIND)
    manager = shell.look(*cluster.kubectl, "get", "namespace", NAMESPACE, "--ignore-not-found", "-o",
                         r"jsonpath={.metadata.labels.app\.kubernetes\.io/managed-by}").stdout.strip()
    if manager == MANAGER:
        shell.change(*cluster.kubectl, "delete", "namespace", NAMESPACE, "--wait=false")
