"""The task `tools`: the programs that these tasks need, and how to install them."""

from __future__ import annotations

from invoke import Context, Exit, task

from tasks.core import configuration
from tasks.core.invoke_patches import PlainTask
from tasks.core.problems import describe
from tasks.core.settings import Settings
from tasks.core.shell import Shell
from tasks.core.table import Row, show
from tasks.tools.install import DOWNLOADS, install_missing, is_outdated, pinned_version
from tasks.tools.required import OLDEST_VERSIONS, find_any_problem, format_version, needed, read_version


@task(klass=PlainTask, help={"install": "install what makes clusters, helm and kubectl if they are missing or too old"})
def tools(context: Context, install: bool = False) -> None:
    """Show the required tools; --install downloads them"""
    settings = configuration.load()
    shell = Shell(context, settings.environment)
    if install:
        install_missing(shell, settings)
    rows = [tool_row(shell, settings, tool) for tool in needed(settings)]
    show(rows, "needed", "installed")
    unusable = [tool for tool, row in zip(needed(settings), rows, strict=True) if row.state == "red"]
    if unusable and not shell.dry:
        raise Exit(f"Cannot be used: {', '.join(unusable)}.")


def tool_row(shell: Shell, settings: Settings, tool: str) -> Row:
    needed = f"{tool} {format_version(OLDEST_VERSIONS[tool])} or newer" if tool in OLDEST_VERSIONS else tool
    path, problem = shell.find(tool), find_any_problem(shell, tool)
    installed = f"{read_version(shell, tool)} {path}".strip() if path else ""
    if problem:
        return Row(needed, installed, "red", describe(problem), code=problem.code)
    chosen = settings.from_environment(f"{tool.upper()}_VERSION")
    if is_outdated(shell, settings, tool):
        return Row(needed, installed, "yellow", f"{pinned_version(settings, tool)} is pinned{chosen}",
                   "inv tools --install", "tool-outdated")
    note = f"pinned: {pinned_version(settings, tool)}{chosen}" if tool in DOWNLOADS else ""
    return Row(needed, installed, "green", "its engine answers" if tool == "docker" else note)
