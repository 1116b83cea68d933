"""The task `doctor`: checks of this machine and of every cluster, each with its likely cause and what to do.

A check is a function in one of the files here, below a line with its id, level, cause and fix.
"""

from __future__ import annotations

import sys
from contextlib import nullcontext, redirect_stdout

from invoke import Context, Exit, task

from tasks.core import configuration
from tasks.core.invoke_patches import PlainTask
from tasks.core.shell import Shell
from tasks.core.table import JSON_HELP, print_json


@task(klass=PlainTask, help={
    **JSON_HELP,
    "fix": "apply the safe fixes, then check again",
    "checks": "list all checks without running them",
})
def doctor(context: Context, fix: bool = False, json: bool = False, checks: bool = False) -> None:
    """Find out what does not work, and how to fix it

    The exit code is 0 if all checks passed, 1 if there are only warnings, and 2 if there is an error.
    """
    # Imported here, because `inv --list` would load all checks for one line.
    from tasks.doctor import report
    from tasks.doctor.all_checks import run_all_checks
    from tasks.doctor.check import ERROR
    from tasks.doctor.fixes import apply_fixes
    from tasks.doctor.inspection import inspect_machine

    if checks:
        report.list_checks(json)
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
        print_json([report.finding_to_json(finding) for finding in findings])
    else:
        report.print_findings(findings, machine.views)
    states = {finding.state for finding in findings if finding.is_wrong}
    if states:
        raise Exit(code=2 if ERROR in states else 1)
