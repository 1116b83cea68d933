"""What the doctor prints: findings, and the list of all checks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tasks.core.browser_ports import describe_blocked
from tasks.core.progress import say
from tasks.core.table import SIGNS, Cell, print_json, print_table
from tasks.doctor.all_checks import OF_CLUSTER, OF_MACHINE, OF_RUNNING, THIS_MACHINE
from tasks.doctor.check import ERROR, Check, ClusterView, Finding, count


def print_findings(findings: list[Finding], views: list[ClusterView]) -> None:
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
        if view.existing.state == "stopped":
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
