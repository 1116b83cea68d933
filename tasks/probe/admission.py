"""Which kinds of admission policies a cluster's API has."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from tasks import providers
from tasks.core.settings import Cluster
from tasks.core.shell import Shell, fail

GROUP = "admissionregistration.k8s.io"

FIRST_WITH_MUTATING = (1, 36)
"""The first Kubernetes that has MutatingAdmissionPolicy without being asked to.

https://kubernetes.io/docs/reference/access-authn-authz/mutating-admission-policy/
"""

ON_REQUEST = (1, 34)
"""The first one that has it, as v1beta1, when its API server is started with the words below."""

REQUEST = ("feature-gates=MutatingAdmissionPolicy=true", f"runtime-config={GROUP}/v1beta1=true")
"""What the API server of these needs: it is off in them."""


@dataclass(frozen=True)
class PolicyKinds:
    """The version of the API in which each kind of policy is there; empty where it is not."""

    mutating: str
    validating: str


def find_policy_kinds(shell: Shell, cluster: Cluster) -> PolicyKinds:
    """Ask the API; under --dry, of a cluster that is not there yet, what its image brings."""
    words = (*cluster.kubectl, "api-resources", f"--api-group={GROUP}", "--no-headers")
    found = shell.look(*words)
    if not found.ok:
        if shell.dry:
            return expected_kinds(providers.node_image(cluster))
        fail(words, found)
    versions = dict(re.findall(rf"^(\S+)\s.*\b{re.escape(GROUP)}/(v1|v1beta1)\s", found.stdout, re.MULTILINE))
    return PolicyKinds(versions.get("mutatingadmissionpolicies", ""), versions.get("validatingadmissionpolicies", ""))


def expected_kinds(node_image: str) -> PolicyKinds:
    """What a cluster has that setup creates of this image."""
    version = image_version(node_image)
    if version is None or version >= FIRST_WITH_MUTATING:
        return PolicyKinds("v1", "v1")
    return PolicyKinds("v1beta1" if version >= ON_REQUEST else "", "v1" if version >= (1, 30) else "")


def image_version(node_image: str) -> tuple[int, int] | None:
    """Kubernetes' version by the tag of a node's image, such as `v1.35.2-k3s1`; None where the tag is another one."""
    found = re.search(r":v(\d+)\.(\d+)\.\d+([-+]k3s\d+)?(@|$)", node_image)
    return (int(found[1]), int(found[2])) if found else None


def needs_request(node_image: str) -> bool:
    version = image_version(node_image)
    return version is not None and ON_REQUEST <= version < FIRST_WITH_MUTATING


def server_version(shell: Shell, cluster: Cluster) -> str:
    """Kubernetes' version, such as v1.33.1+k3s1; empty where it does not answer."""
    try:
        return str(json.loads(shell.look(*cluster.kubectl, "get", "--raw=/version").stdout)["gitVersion"])
    except (ValueError, KeyError, TypeError):
        return ""
