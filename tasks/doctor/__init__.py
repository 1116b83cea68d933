"""The task `doctor`: checks of this machine and of every cluster, each with its likely cause and what to do.

A check is a function in one of the files here, below a line with its id, level, cause and fix.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import nullcontext, redirect_stdout
from functools import partial
from typing import Any

from invoke import Context, Exit, task

from tasks.ca.load import load_root
from tasks.core import settings as configuration
from tasks.core.browser_ports import describe_blocked
from tasks.core.invoke_patches import PlainTask
from tasks.core.problems import ProblemExit
from tasks.core.progress import describe_os_error, say
from tasks.core.settings import Cluster, Settings
from tasks.core.shell import Shell
from tasks.core.table import JSON_HELP, SIGNS, Cell, print_json, print_table
from tasks.doctor import bugs, ca, clusters, dns, in_cluster, machine, pod_trust, routes, workloads
from tasks.doctor.check import ERROR, Check, Checks, ClusterView, Finding, Machine, count, run_checks
from tasks.engine import network
from tasks.engine.clusters import list_clusters, own_clusters
from tasks.probe.objects import without_nulls
from tasks.probe.snapshot import ClusterSnapshot, take_snapshot

OF_MACHINE = Checks([*machine.CHECKS, *ca.CHECKS, *dns.CHECKS, *bugs.MACHINE])

OF_CLUSTER = Checks(clusters.CHECKS)

OF_RUNNING = Checks([*clusters.RUNNING, *in_cluster.CHECKS, *pod_trust.CHECKS, *workloads.CHECKS, *bugs.CLUSTER,
                     *routes.CHECKS])

THIS_MACHINE = "this machine"


@task(klass=PlainTask, help={
    **JSON_HELP,
    "fix": "apply the safe fixes, then check again",
    "checks": "list all checks without running them",
})
def doctor(context: Context, fix: bool = False, json: bool = False, checks: bool = False) -> None:
    """Find out what does not work, and how to fix it

    The exit code is 0 if all checks passed, 1 if there are only warnings, and 2 if there is an error.
    """
    if checks:
        list_checks(json)
        return
    settings = configuration.load()
    shell = Shell(context, settings.environment)
    machine = inspect_machine(shell, settings)
    findings = run_all_checks(machine)
    with redirect_stdout(sys.stderr) if json else nullcontext():
        fixed = fix and apply_fixes(findings)
    if fixed:
        machine = inspect_machine(shell, settings)
        findings = run_all_checks(machine)
    if json:
        print_json([finding_to_json(finding) for finding in findings])
    else:
        show(findings, machine.views)
    states = {finding.state for finding in findings if finding.is_wrong}
    if states:
        raise Exit(code=2 if ERROR in states else 1)


# --- checking ---------------------------------------------------------------------------------------------------------


def run_all_checks(machine: Machine) -> list[Finding]:
    """Run the checks of this machine, then those of the clusters, several clusters side by side."""
    findings = run_checks(machine.shell, OF_MACHINE, THIS_MACHINE, machine, {})
    known = {finding.check.id: finding.state for finding in findings}
    of_clusters = machine.shell.side_by_side([
        partial(run_checks, machine.shell, Checks([*OF_CLUSTER, *(OF_RUNNING if view.k3d_cluster.running else [])]),
                view.cluster.name, view, known) for view in machine.views])
    return [*findings, *(finding for findings_of_cluster in of_clusters for finding in findings_of_cluster)]


def inspect_machine(shell: Shell, settings: Settings) -> Machine:
    subject = Machine(shell, settings)
    try:
        subject.root = load_root(settings)
    except ProblemExit as error:
        subject.root_problem = error.problem
    subject.engine = read_docker_info(shell)
    if subject.engine:
        subject.clusters = list_clusters(shell)
        subject.subnets = network.list_subnets(shell, settings)
        subject.views = shell.side_by_side([
            lambda cluster=cluster: inspect_cluster(subject, cluster)  # type: ignore[misc]
            for cluster in own_clusters(settings, subject.clusters)])
    return subject


def read_docker_info(shell: Shell) -> dict[str, Any]:
    """What `docker info` reports; empty if no engine answers."""
    import json

    result = shell.look("docker", "info", "--format", "{{json .}}")
    try:
        info = without_nulls(json.loads(result.stdout))
    except ValueError:
        return {}
    return info if isinstance(info, dict) and info.get("ServerVersion") else {}


def inspect_cluster(subject: Machine, cluster: Cluster) -> ClusterView:
    k3d_cluster = subject.clusters[cluster.name]
    if not k3d_cluster.running:
        return ClusterView(subject, cluster, k3d_cluster, ClusterSnapshot(cluster, f"it is {k3d_cluster.state}"))
    snapshot, (host, reached) = subject.shell.side_by_side([
        lambda: take_snapshot(subject.shell, cluster), lambda: network.host_address(subject.shell, cluster)])
    return ClusterView(subject, cluster, k3d_cluster, snapshot, host, reached)


# --- fixing -----------------------------------------------------------------------------------------------------------


def apply_fixes(findings: list[Finding]) -> bool:
    """Apply each safe fix once, in the order of the checks, and report failures. Return whether there was one."""
    todo = {(finding.where, finding.check.fix): finding for finding in findings
            if finding.is_wrong and finding.check.fix.run}
    for (where, fix), finding in todo.items():
        say(f"{where}: {finding.check.id}: {finding.fix}")
        try:
            assert fix.run
            fix.run(finding.subject)
        except Exit as error:
            say(str(error.message))
        except OSError as error:
            say(describe_os_error(error))
    return bool(todo)


# --- showing ----------------------------------------------------------------------------------------------------------


def show(findings: list[Finding], views: list[ClusterView]) -> None:
    """Print what is wrong, why, and what to do; of the checks that passed only the number."""
    wrong = [finding for finding in findings if finding.is_wrong]
    if wrong:
        print_table(["", "where", "check", "what is wrong, likely cause, what to do"],
                    [cells for findings in group_findings(wrong) for cells in table_lines(findings)])
    skipped = sum(finding.state == "grey" for finding in findings)
    good = sum(finding.state == "green" for finding in findings)
    errors = sum(finding.state == ERROR for finding in wrong)
    say(f"{good} checks passed, {count(errors, 'error')}, {count(len(wrong) - errors, 'warning')}"
        + (f", {skipped} skipped" if skipped else "") + "."
        + (" Apply the safe fixes with: inv doctor --fix" if any(f.check.fix.run for f in wrong) else ""))
    for line in describe_blocked(view.cluster for view in views):
        say(line)
    for view in views:
        if view.k3d_cluster.state == "stopped":
            say(f"{view.cluster.name} is stopped, so only its containers were checked. Start it with: "
                f"inv k3d-cluster-start --n {view.cluster.number}")


def group_findings(wrong: list[Finding]) -> list[list[Finding]]:
    """Group the findings of a check: those of one place, and those of several places with the same messages."""
    places: dict[tuple[str, str], list[Finding]] = {}
    for finding in wrong:
        places.setdefault((finding.check.id, finding.where), []).append(finding)
    groups: dict[tuple[str, ...], list[Finding]] = {}
    for (id, _), findings in places.items():
        groups.setdefault((id, *(finding.message for finding in findings)), []).extend(findings)
    return list(groups.values())


def table_lines(findings: list[Finding]) -> Iterator[list[str | Cell]]:
    first, state = findings[0], findings[0].state
    places = ", ".join(dict.fromkeys(finding.where for finding in findings))
    for number, message in enumerate(dict.fromkeys(finding.message for finding in findings)):
        begin: list[str | Cell] = ["", "", ""] if number else [Cell(SIGNS[state], state), places, first.check.id]
        yield [*begin, Cell(message, state)]
    for cause in dict.fromkeys(finding.cause for finding in findings):
        yield ["", "", "", cause]
    for fix in dict.fromkeys(finding.fix for finding in findings):
        yield ["", "", "", f"→ {fix}"]


def finding_to_json(finding: Finding) -> dict[str, Any]:
    check = finding.check
    return {"id": check.id, "code": finding.code, "where": finding.where, "requirement": check.requirement,
            "state": finding.state, "message": finding.message, "cause": finding.cause, "fix": finding.fix,
            "safe": check.fix.run is not None, "link": check.link}


def check_to_json(check: Check, of: str) -> dict[str, Any]:
    return {"id": check.id, "of": of, "level": level_name(check), "requirement": check.requirement,
            "cause": check.cause, "fix": check.fix.text, "safe": check.fix.run is not None, "needs": check.needs,
            "link": check.link}


def level_name(check: Check) -> str:
    return "error" if check.level == ERROR else "warning"


def list_checks(json: bool) -> None:
    parts = {THIS_MACHINE: OF_MACHINE, "every cluster": OF_CLUSTER, "running clusters": OF_RUNNING}
    if json:
        print_json([check_to_json(check, of) for of, checks in parts.items() for check in checks])
        return
    checks = [check for checks in parts.values() for check in checks]
    print_table(["check", "level", "what must be true", "--fix"], [
        [check.id, level_name(check), check.requirement, "yes" if check.fix.run else ""] for check in checks])
    say(f"{len(checks)} checks")
