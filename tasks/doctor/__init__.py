"""Why does it not work: checks of this machine and of every cluster, each with its cause and what to do.

A check is a function in one of the files here, below a line with its id, level, cause and fix.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import nullcontext, redirect_stdout
from functools import partial
from typing import Any

from invoke import Context, Exit, task

from tasks.core import settings as configuration
from tasks.core.invoke_patches import PlainTask
from tasks.core.progress import describe_os_error, say
from tasks.core.settings import Cluster, Settings
from tasks.core.shell import Shell
from tasks.core.table import JSON_HELP, SIGNS, Cell, print_json, print_table
from tasks.doctor import bugs, ca, clusters, dns, in_cluster, machine, workloads
from tasks.doctor.check import ERROR, Checks, ClusterView, Finding, Machine, examine
from tasks.engine import network
from tasks.engine.clusters import list_clusters, own_clusters
from tasks.probe.snapshot import ClusterSnapshot, take_snapshot, without_nulls

OF_MACHINE = Checks([*machine.CHECKS, *ca.CHECKS, *dns.CHECKS, *bugs.MACHINE])


OF_CLUSTER = Checks(clusters.CHECKS)


OF_RUNNING = Checks([*clusters.RUNNING, *in_cluster.CHECKS, *workloads.CHECKS, *bugs.CLUSTER])

THIS_MACHINE = "this machine"


@task(klass=PlainTask, help={
    **JSON_HELP,
    "fix": "do what is safe of what is offered, and look again",
    "checks": "list all checks, and look at nothing",
})
def doctor(context: Context, fix: bool = False, json: bool = False, checks: bool = False) -> None:
    """Find out why it does not work, and what to do

    Ends with 0 when all is well, 1 with warnings alone, 2 with an error.
    """
    if checks:
        list_checks()
        return
    settings = configuration.load()
    shell = Shell(context, settings.environment)
    machine = inspect_machine(shell, settings)
    findings = [*examine_all(machine)]
    with redirect_stdout(sys.stderr) if json else nullcontext():
        mended = fix and apply_fixes(findings)
    if mended:
        machine = inspect_machine(shell, settings)
        findings = [*examine_all(machine)]
    if json:
        print_json([as_json(finding) for finding in findings])
    else:
        show(findings, machine.patients)
    states = {finding.state for finding in findings if finding.is_wrong}
    if states:
        raise Exit(code=2 if ERROR in states else 1)


# --- looking ----------------------------------------------------------------------------------------------------------


def examine_all(machine: Machine) -> Iterator[Finding]:
    """Run the checks of the machine, then those of each cluster, several clusters side by side."""
    of_machine = examine(machine.shell, OF_MACHINE, THIS_MACHINE, machine, {})
    yield from of_machine
    known = {finding.check.id: finding.state for finding in of_machine}
    checked = machine.shell.side_by_side([
        partial(examine, machine.shell, Checks([*OF_CLUSTER, *(OF_RUNNING if patient.found.running else [])]),
                patient.cluster.name, patient, known) for patient in machine.patients])
    for findings in checked:
        yield from findings


def inspect_machine(shell: Shell, settings: Settings) -> Machine:
    subject = Machine(shell, settings)
    subject.engine = read_docker_info(shell)
    if subject.engine:
        subject.found = list_clusters(shell)
        subject.patients = shell.side_by_side([
            lambda cluster=cluster: inspect_cluster(subject, cluster)  # type: ignore[misc]
            for cluster in own_clusters(settings, subject.found)])
    return subject


def read_docker_info(shell: Shell) -> dict[str, Any]:
    """What `docker info` tells; empty when no engine answers."""
    import json

    said = shell.look("docker", "info", "--format", "{{json .}}")
    try:
        told = without_nulls(json.loads(said.stdout))
    except ValueError:
        return {}
    return told if isinstance(told, dict) and told.get("ServerVersion") else {}


def inspect_cluster(subject: Machine, cluster: Cluster) -> ClusterView:
    found = subject.found[cluster.name]
    if not found.running:
        return ClusterView(subject, cluster, found, ClusterSnapshot(cluster, f"it is {found.state}"))
    seen, (host, reached) = subject.shell.side_by_side([
        lambda: take_snapshot(subject.shell, cluster), lambda: network.host_address(subject.shell, cluster)])
    return ClusterView(subject, cluster, found, seen, host, reached)


# --- mending ----------------------------------------------------------------------------------------------------------


def apply_fixes(findings: list[Finding]) -> bool:
    """Do each safe fix once, in the order of the checks. What fails is told; whether there was anything to do."""
    todo = {(finding.where, finding.check.fix): finding for finding in findings
            if finding.is_wrong and finding.check.fix.go}
    for (where, fix), finding in todo.items():
        say(f"{where}: {finding.check.id}: {finding.fix}")
        try:
            assert fix.go
            fix.go(finding.subject)
        except Exit as error:
            say(str(error.message))
        except OSError as error:
            say(describe_os_error(error))
    return bool(todo)


# --- showing ----------------------------------------------------------------------------------------------------------


def show(findings: list[Finding], patients: list[ClusterView]) -> None:
    """What is wrong, why, and what to do; of what is well only how much."""
    wrong = [finding for finding in findings if finding.is_wrong]
    if wrong:
        print_table(["", "where", "check", "found, why, and what to do"],
                    [cells for findings in group_findings(wrong) for cells in table_lines(findings)])
    skipped = sum(finding.state == "grey" for finding in findings)
    good = sum(finding.state == "green" for finding in findings)
    errors = sum(finding.state == ERROR for finding in wrong)
    say(f"{good} checks are good, {errors} found an error, {len(wrong) - errors} a warning"
        + (f", {skipped} were not asked because of another" if skipped else "") + "."
        + (" What is safe of this is done by: inv doctor --fix" if any(f.check.fix.go for f in wrong) else ""))
    for patient in patients:
        if patient.found.state == "stopped":
            say(f"{patient.cluster.name} is stopped, and was looked at from outside only. "
                f"inv k3d-cluster-start --n {patient.cluster.number}")


def group_findings(wrong: list[Finding]) -> list[list[Finding]]:
    """Those of one check in one place; and where it says the same of several clusters, those too."""
    places: dict[tuple[str, str], list[Finding]] = {}
    for finding in wrong:
        places.setdefault((finding.check.id, finding.where), []).append(finding)
    groups: dict[tuple[str, ...], list[Finding]] = {}
    for (id, _), findings in places.items():
        groups.setdefault((id, *(finding.what for finding in findings)), []).extend(findings)
    return list(groups.values())


def table_lines(findings: list[Finding]) -> Iterator[list[str | Cell]]:
    first, state = findings[0], findings[0].state
    places = ", ".join(dict.fromkeys(finding.where for finding in findings))
    for number, what in enumerate(dict.fromkeys(finding.what for finding in findings)):
        begin: list[str | Cell] = ["", "", ""] if number else [Cell(SIGNS[state], state), places, first.check.id]
        yield [*begin, Cell(what, state)]
    for cause in dict.fromkeys(finding.cause for finding in findings):
        yield ["", "", "", cause]
    for fix in dict.fromkeys(finding.fix for finding in findings):
        yield ["", "", "", f"→ {fix}"]


def as_json(finding: Finding) -> dict[str, Any]:
    check = finding.check
    return {"id": check.id, "where": finding.where, "looks_at": check.looks_at, "state": finding.state,
            "found": finding.what, "cause": finding.cause, "fix": finding.fix, "safe": check.fix.go is not None,
            "link": check.link}


def list_checks() -> None:
    every = [*OF_MACHINE, *OF_CLUSTER, *OF_RUNNING]
    print_table(["check", "level", "looks at", "mended by --fix"], [
        [check.id, "error" if check.level == ERROR else "warning", check.looks_at, "yes" if check.fix.go else ""]
        for check in every])
    say(f"{len(every)} checks")
