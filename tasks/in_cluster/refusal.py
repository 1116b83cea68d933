"""Who asks the issuer root-ca for a host outside the cluster's domain is refused at once, with the reason."""

from __future__ import annotations

from functools import partial

from invoke.runners import Result

from tasks.core.problems import Problem, Reason, describe, problem
from tasks.core.settings import Cluster
from tasks.core.shell import Shell
from tasks.in_cluster import policies
from tasks.in_cluster.apply import dry_run, render_manifest
from tasks.probe.admission import find_policy_kinds, server_version

KIND = "validatingadmissionpolicy"

POLICY = "hosts-of-root-ca"
"""A template in templates/in_cluster/: the policy, and a binding of the same name."""

OUTSIDE = "probe.invalid"
"""A host of no cluster: https://datatracker.ietf.org/doc/html/rfc6761#section-6.4"""


class RefusalReason(Reason):
    """Why hosts outside the domain are not refused as they should be."""

    KUBERNETES_TOO_OLD = ("Kubernetes {version} has no ValidatingAdmissionPolicy, so nothing refuses a host outside "
                          "{domain}; inv doctor finds it later")
    HOST_ACCEPTED = "a probe Ingress with the host {host}, which is not below {domain}, is accepted"
    HOST_REFUSED = "a probe Ingress with the host {host} is refused: {error}"
    PROBE_REJECTED = "something else rejects a probe Ingress: {error}"


def configure(shell: Shell, cluster: Cluster) -> None:
    with shell.step(cluster.name, "hosts of root-ca") as this:
        if not find_policy_kinds(shell, cluster).validating:
            return this.warn(describe(problem(
                RefusalReason.KUBERNETES_TOO_OLD, domain=cluster.domain,
                version=server_version(shell, cluster) or "of this cluster")))
        wanted = [render_manifest(cluster, f"in_cluster/{POLICY}.yaml")]
        wrong = policies.apply_verified(shell, cluster, KIND, wanted, partial(find_problem, shell, cluster),
                                        RefusalReason.PROBE_REJECTED)
        if wrong:
            return this.warn(f"applied, not verified: {describe(wrong)}")
        this.outcome = f"verified: those outside {cluster.domain} are denied"


def find_problem(shell: Shell, cluster: Cluster) -> Problem | None:
    """What is wrong with the refusal, asked by server-side dry runs of two Ingresses; None when nothing."""
    inside = f"probe.{cluster.domain}"
    foreign, own = shell.side_by_side([partial(ask, shell, cluster, host) for host in (OUTSIDE, inside)])
    if foreign.ok:
        return problem(RefusalReason.HOST_ACCEPTED, host=OUTSIDE, domain=cluster.domain)
    if POLICY in own.stderr:
        return problem(RefusalReason.HOST_REFUSED, host=inside, error=own.stderr.strip().splitlines()[-1])
    if POLICY not in foreign.stderr:
        return problem(RefusalReason.PROBE_REJECTED, error=(foreign.stderr.strip() or "no answer").splitlines()[-1])
    return None


def ask(shell: Shell, cluster: Cluster, host: str) -> Result:
    """What the API answers to an Ingress with a certificate of root-ca for this host."""
    return dry_run(shell, cluster, render_manifest(cluster, "in_cluster/probe-ingress.yaml", host=host))
