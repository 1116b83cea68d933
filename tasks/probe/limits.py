"""Known reasons why a route does not work that these tasks do not change: most of clusters that others have set up."""

from __future__ import annotations

import re

from tasks import providers
from tasks.acme.certificate import find_usable
from tasks.core.problems import Problem, Reason, problem
from tasks.core.settings import Cluster
from tasks.core.shell import Shell
from tasks.core.well_known import COREDNS_IMPORT, KUBE_SYSTEM
from tasks.probe.objects import list_objects
from tasks.probe.requests import (
    CERTIFICATE_REFUSED,
    CONNECTION_REFUSED,
    NAME_NOT_FOUND,
    REQUEST_TIMED_OUT,
    Answer,
)

COREDNS_OBJECTS = ("deployment.apps/coredns", "configmap/coredns")
"""What holds the rules for names in pods."""

SERVER_BLOCK = re.compile(r"^\s*\.(?::53)?\s*\{[ \t]*\n", re.MULTILINE)
"""The first line of the block of a Corefile that answers for all names."""


class Limit(Reason):
    """Why something does not work there. It is shown as skipped, not as an error."""

    COREDNS_MISSING = "{context} has no {missing} in kube-system, so cluster names do not resolve in its pods"
    COREDNS_NOT_ALLOWED = ("the user of {context} may not change {object} in kube-system, so cluster names do not "
                           "resolve in its pods")
    COREDNS_WITHOUT_BLOCK = ("the Corefile of {context} has no server block .:53, so cluster names do not resolve in "
                             "its pods. To change that, add this line to the block that answers pods: {line}")
    TRAEFIK_ELSEWHERE = ("{cluster} has a Traefik in the namespace {namespace}, which these tasks did not install, and "
                         "their names need one in kube-system")
    NO_ROUTE_TO_HOST = "pods of {source} do not reach this machine, so names of other clusters do not resolve in them"
    NOT_AT_ADDRESS = "{target} does not answer pods of other clusters at {address}"
    NOT_PUBLISHED_FOR_PODS = "{target} does not publish its ports where pods of other clusters reach this machine"
    STAGING = ("{target} serves a certificate of a staging server, which no program trusts. To get one that all trust: "
               "ACME_SERVER in .env, and inv k3d-cluster-configure --n {n}")
    NOT_AT_FRONT_DOOR = "names of {target} resolve to {address}, and the front door is not there"
    NOT_BEHIND_FRONT_DOOR = "the front door does not reach {target} from the engine's network"


def find_coredns_limit(shell: Shell, cluster: Cluster) -> Problem | None:
    """Why these tasks cannot add their rules to its CoreDNS."""
    if providers.of(cluster).MANAGES_LIFE:
        return None
    kubectl = (*cluster.kubectl, "-n", KUBE_SYSTEM)
    found = shell.look(*kubectl, "get", *COREDNS_OBJECTS, "--ignore-not-found", "-o", "name")
    if not found.ok:  # its API does not answer, which other steps report
        return None
    if missing := [name for name in COREDNS_OBJECTS if name not in found.stdout.split()]:
        return problem(Limit.COREDNS_MISSING, context=cluster.context, missing=" and ".join(missing))
    for name in COREDNS_OBJECTS:
        if shell.look(*kubectl, "auth", "can-i", "patch", name).stdout.strip() == "no":
            return problem(Limit.COREDNS_NOT_ALLOWED, context=cluster.context, object=name)
    corefile = shell.look(*kubectl, "get", "configmap/coredns", "-o", "jsonpath={.data.Corefile}").stdout
    if corefile and COREDNS_IMPORT not in corefile and not SERVER_BLOCK.search(corefile):
        return problem(Limit.COREDNS_WITHOUT_BLOCK, context=cluster.context, line=COREDNS_IMPORT)
    return None


def find_traefik_limit(shell: Shell, cluster: Cluster) -> Problem | None:
    """Whose Traefik it has instead of one that these tasks work with. A new cluster of k3s has its own."""
    if providers.of(cluster).MAKES_K3S:
        return None
    found = [entry["metadata"].get("namespace", "") for entry in
             list_objects(shell, cluster, "deployments,daemonsets", "-l", "app.kubernetes.io/name=traefik")]
    if not found or KUBE_SYSTEM in found:
        return None
    return problem(Limit.TRAEFIK_ELSEWHERE, cluster=cluster.name, namespace=found[0])


def find_limit(
    shell: Shell, source: Cluster | None, target: Cluster, answer: Answer, front_door: bool = False
) -> Problem | None:
    """Which limit explains that a request to `target` failed; `source` is None for this machine."""
    if answer.code in CERTIFICATE_REFUSED and has_staging_certificate(target):
        return problem(Limit.STAGING, target=target.name, n=target.number)
    if source and answer.code in NAME_NOT_FOUND and (why := find_coredns_limit(shell, source)):
        return why
    if answer.code not in NAME_NOT_FOUND and (why := find_traefik_limit(shell, target)):
        return why
    if front_door and source != target and not providers.of(target).MANAGES_LIFE:
        return problem(Limit.NOT_BEHIND_FRONT_DOOR, target=target.context)
    if source is None or source == target:
        return None
    if not providers.of(source).MANAGES_LIFE and answer.code in NAME_NOT_FOUND:
        return problem(Limit.NO_ROUTE_TO_HOST, source=source.context)
    if not providers.of(target).MANAGES_LIFE and answer.code in (*CONNECTION_REFUSED, *REQUEST_TIMED_OUT):
        if target.is_elsewhere:
            return problem(Limit.NOT_AT_ADDRESS, target=target.context, address=target.address)
        return problem(Limit.NOT_PUBLISHED_FOR_PODS, target=target.context)
    return None


def has_staging_certificate(cluster: Cluster) -> bool:
    found = find_usable(cluster) if cluster.settings.acme else None
    return bool(found and found.is_staging)
