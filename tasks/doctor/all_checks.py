"""Every check of the doctor, in the order in which they run. To add a file of checks: a line here."""

from __future__ import annotations

from functools import partial

from tasks.doctor import (
    acme,
    bugs,
    ca,
    clusters,
    dns,
    front_door,
    images,
    in_cluster,
    ingresses,
    keycloak,
    machine,
    pod_trust,
    registries,
    routes,
    workloads,
)
from tasks.doctor.check import Checks, Finding, Machine, run_checks

OF_MACHINE = Checks([*machine.CHECKS, *ca.CHECKS, *acme.CHECKS, *dns.CHECKS, *front_door.CHECKS, *registries.CHECKS,
                     *bugs.MACHINE])
OF_CLUSTER = Checks(clusters.CHECKS)
OF_RUNNING = Checks([*clusters.RUNNING, *in_cluster.CHECKS, *acme.RUNNING, *pod_trust.CHECKS, *ingresses.CHECKS,
                     *workloads.CHECKS, *keycloak.CHECKS, *images.CHECKS, *registries.RUNNING, *bugs.CLUSTER,
                     *routes.CHECKS])

THIS_MACHINE = "this machine"


def run_all_checks(machine: Machine) -> list[Finding]:
    """Run the checks of this machine, then those of the clusters, several clusters side by side."""
    findings = run_checks(machine.shell, OF_MACHINE, THIS_MACHINE, machine, {})
    known = {finding.check.id: finding.state for finding in findings}
    of_clusters = machine.shell.side_by_side([
        partial(run_checks, machine.shell, Checks([*OF_CLUSTER, *(OF_RUNNING if view.existing.running else [])]),
                view.cluster.name, view, known) for view in machine.views])
    return [*findings, *(finding for findings_of_cluster in of_clusters for finding in findings_of_cluster)]
