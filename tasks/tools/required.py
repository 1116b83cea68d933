"""The programs that the tasks run: which are needed, which are there, and how to get those that are not."""

from __future__ import annotations

import re
import shlex

from invoke import Exit

from tasks.core.problems import Problem, Reason, describe, problem
from tasks.core.shell import Shell

INSTALL_HINTS = {
    "docker": "https://docs.docker.com/get-started/get-docker/ (or colima, podman with docker's command line)",
    "k3d": "inv tools --install, brew install k3d, or https://k3d.io/stable/#installation",
    "helm": "inv tools --install, brew install helm, or https://helm.sh/docs/intro/install/",
    "kubectl": "inv tools --install, brew install kubectl, or https://kubernetes.io/docs/tasks/tools/",
    "openssl": "brew install openssl, or your system's package openssl",
    "brew": "https://brew.sh",
    "curl": "your system's package curl",
    "podman": "brew install podman, or https://podman.io/docs/installation",
}

# k3d 5.7.0 wrote to coredns-custom, which is ours to add to: https://github.com/k3d-io/k3d/releases/tag/v5.7.1
# Helm 3.13 brought `helm upgrade --labels`.
OLDEST_VERSIONS = {"k3d": (5, 7, 1), "helm": (3, 14, 0)}


VERSION_COMMANDS = {
    "docker": ("docker", "version", "--format", "{{.Server.Version}}"),
    "k3d": ("k3d", "version"),
    "helm": ("helm", "version", "--short"),
    "kubectl": ("kubectl", "version", "--client"),
    "openssl": ("openssl", "version"),
}


def require(shell: Shell, *tools: str) -> None:
    """Exit names every tool that is missing or too old, with the way to get it."""
    problems = [wrong for tool in tools if (wrong := find_problem(shell, tool))]
    if problems:
        raise Exit("Before this can run:\n" + "\n".join(f"  {describe(wrong)}" for wrong in problems))


class ToolReason(Reason):
    TOOL_MISSING = "{tool} is not installed: {hint}"
    TOOL_TOO_OLD = "{tool} {oldest} or newer is needed, and this is {version}: {hint}"
    TOOL_SILENT = "{tool} does not report its version (try: {command}): {hint}"
    ENGINE_NOT_ANSWERING = "docker is installed, but its engine does not answer ({error}): start Docker"


def find_problem(shell: Shell, tool: str) -> Problem | None:
    """Why this tool cannot be used, with the way to get it; None where it can."""
    if not shell.find(tool):
        return problem(ToolReason.TOOL_MISSING, tool=tool, hint=INSTALL_HINTS[tool])
    if tool in OLDEST_VERSIONS:
        said = next(iter(shell.look(*VERSION_COMMANDS[tool]).stdout.splitlines()), "")
        if parse_version(said) < OLDEST_VERSIONS[tool]:
            return problem(ToolReason.TOOL_TOO_OLD, tool=tool, oldest=format_version(OLDEST_VERSIONS[tool]),
                           version=said or "unknown", hint=INSTALL_HINTS[tool])
    if tool == "docker":
        engine = shell.look(*VERSION_COMMANDS[tool])
        if not engine.ok:
            said = (engine.stderr.strip() or "no answer").splitlines()[-1]
            return problem(ToolReason.ENGINE_NOT_ANSWERING, error=said)
    return None


def find_any_problem(shell: Shell, tool: str) -> Problem | None:
    """The problem, and also that a tool is there but does not run, as an asdf or mise wrapper without a version."""
    if wrong := find_problem(shell, tool):
        return wrong
    if read_version(shell, tool):
        return None
    return problem(ToolReason.TOOL_SILENT, tool=tool, command=shlex.join(VERSION_COMMANDS[tool]),
                   hint=INSTALL_HINTS[tool])


def read_version(shell: Shell, tool: str, program: str = "") -> str:
    """What the tool, or the one in this file, calls its version; empty when it does not answer."""
    said = shell.look(program or tool, *VERSION_COMMANDS[tool][1:])
    found = re.search(r"(LibreSSL )?v?\d+\.\d+\S*", said.stdout) if said.ok else None
    return found[0] if found else ""


def parse_version(text: str) -> tuple[int, ...]:
    found = re.search(r"v?(\d+)\.(\d+)(?:\.(\d+))?", text)
    return tuple(int(part or 0) for part in found.groups()) if found else (0, 0, 0)


def format_version(numbers: tuple[int, ...]) -> str:
    return ".".join(map(str, numbers))
