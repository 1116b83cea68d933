"""The programs that the tasks run: the required versions, and how to install what is missing."""

from __future__ import annotations

import re
import shlex

from invoke import Exit

from tasks.core.by_number import PROGRAMS
from tasks.core.problems import Problem, Reason, describe, problem
from tasks.core.settings import Settings
from tasks.core.shell import Shell
from tasks.tools.engine_state import EngineReason, explain_silence

INSTALL_HINTS = {
    "docker": "https://docs.docker.com/get-started/get-docker/ (or Colima, or podman with the docker command)",
    "k3d": "inv tools --install, brew install k3d, or https://k3d.io/stable/#installation",
    "kind": "inv tools --install, brew install kind, or https://kind.sigs.k8s.io/docs/user/quick-start/#installation",
    "helm": "inv tools --install, brew install helm, or https://helm.sh/docs/intro/install/",
    "kubectl": "inv tools --install, brew install kubectl, or https://kubernetes.io/docs/tasks/tools/",
    "openssl": "brew install openssl, or your system's package openssl",
    "brew": "https://brew.sh",
    "curl": "your system's package curl",
    "podman": "brew install podman, or https://podman.io/docs/installation",
}

# k3d 5.7.0 overwrote coredns-custom, where the rules of these tasks are: https://github.com/k3d-io/k3d/releases/tag/v5.7.1
# kind 0.27.0 supports nodes with containerd 2: https://github.com/kubernetes-sigs/kind/releases/tag/v0.27.0
# Helm 3.13 introduced `helm upgrade --labels`.
OLDEST_VERSIONS = {"k3d": (5, 7, 1), "kind": (0, 27, 0), "helm": (3, 14, 0)}


VERSION_COMMANDS = {
    "docker": ("docker", "version", "--format", "{{.Server.Version}}"),
    "k3d": ("k3d", "version"),
    "kind": ("kind", "version"),
    "helm": ("helm", "version", "--short"),
    "kubectl": ("kubectl", "version", "--client"),
    "openssl": ("openssl", "version"),
}


def needed(settings: Settings) -> list[str]:
    """The programs of VERSION_COMMANDS, without those that create clusters and that the settings do not name."""
    return [tool for tool in VERSION_COMMANDS if tool not in PROGRAMS or tool in settings.providers]


def require(shell: Shell, *tools: str) -> None:
    """Exit names every tool that is missing or too old, and how to install it."""
    problems = [wrong for tool in tools if (wrong := find_problem(shell, tool))]
    if problems:
        raise Exit("This task cannot run yet:\n" + "\n".join(f"  {describe(wrong)}" for wrong in problems))


class ToolReason(Reason):
    TOOL_MISSING = "{tool} is not installed: {hint}"
    TOOL_TOO_OLD = "{tool} {oldest} or newer is needed, but this is {version}: {hint}"
    TOOL_SILENT = "{tool} does not report its version (try: {command}): {hint}"


def find_problem(shell: Shell, tool: str) -> Problem | None:
    """Why this tool cannot be used, and how to install it; None if it can."""
    if not shell.find(tool):
        if tool == "docker" and shell.find("podman"):
            return problem(EngineReason.ONLY_PODMAN, hint=INSTALL_HINTS[tool])
        return problem(ToolReason.TOOL_MISSING, tool=tool, hint=INSTALL_HINTS[tool])
    if tool in OLDEST_VERSIONS:
        version = next(iter(shell.look(*VERSION_COMMANDS[tool]).stdout.splitlines()), "")
        if parse_version(version) < OLDEST_VERSIONS[tool]:
            return problem(ToolReason.TOOL_TOO_OLD, tool=tool, oldest=format_version(OLDEST_VERSIONS[tool]),
                           version=version or "an unknown version", hint=INSTALL_HINTS[tool])
    if tool == "docker":
        engine = shell.look(*VERSION_COMMANDS[tool])
        if not engine.ok:
            return explain_silence(shell, engine)
    return None


def find_any_problem(shell: Shell, tool: str) -> Problem | None:
    """The same, and also that a tool does not run, as a wrapper of asdf or mise without a version."""
    if wrong := find_problem(shell, tool):
        return wrong
    if read_version(shell, tool):
        return None
    return problem(ToolReason.TOOL_SILENT, tool=tool, command=shlex.join(VERSION_COMMANDS[tool]),
                   hint=INSTALL_HINTS[tool])


def read_version(shell: Shell, tool: str, program: str = "") -> str:
    """The version that the tool, or this program, reports; empty if it reports none."""
    result = shell.look(program or tool, *VERSION_COMMANDS[tool][1:])
    version = re.search(r"(LibreSSL )?v?\d+\.\d+\S*", result.stdout) if result.ok else None
    return version[0] if version else ""


def parse_version(text: str) -> tuple[int, ...]:
    """The first version in a text, as numbers; zeros if there is none."""
    version = re.search(r"v?(\d+)\.(\d+)(?:\.(\d+))?", text)
    return tuple(int(part or 0) for part in version.groups()) if version else (0, 0, 0)


def format_version(numbers: tuple[int, ...]) -> str:
    return ".".join(map(str, numbers))
