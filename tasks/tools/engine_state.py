"""Why no Docker engine answers: there is none, it is stopped, it is another one, or the user may not use it."""

from __future__ import annotations

import getpass

from invoke.runners import Result

from tasks.core import system_files
from tasks.core.operating_system import is_macos
from tasks.core.problems import Problem, Reason, problem
from tasks.core.shell import Shell


class EngineReason(Reason):
    ENGINE_NOT_ANSWERING = "docker is installed, but its engine does not answer ({error}): start Docker"
    ENGINE_STOPPED = "docker is installed, but its engine is not running: {command}"
    ENGINE_FORBIDDEN = ("docker is installed, but {user} may not use its engine: sudo usermod -aG docker {user}, then "
                        "log in again. Members of the group docker can become root on this machine")
    ROOTLESS_STOPPED = "docker uses a rootless engine ({endpoint}), which is not running: systemctl --user start docker"
    OTHER_ENGINE_STOPPED = ("docker uses the engine of {place} ({endpoint}), which does not answer: start it, or "
                            "choose another one of: docker context ls")
    DESKTOP_NOT_INTEGRATED = ("Docker Desktop is not turned on for this WSL distribution: in its settings, open "
                              "Resources, WSL integration")
    ONLY_PODMAN = ("docker is not installed, but podman is: install its docker command (package podman-docker), or a "
                   "Docker engine beside it ({hint})")


START_COMMANDS = {"colima": "colima start", "desktop-linux": "docker desktop start", "orbstack": "orb start"}
"""Of products that have a context of their own."""


def explain_silence(shell: Shell, answer: Result) -> Problem:
    """Why `docker version` got no answer from an engine."""
    said = f"{answer.stdout}\n{answer.stderr}"
    error = (answer.stderr.strip() or "no answer").splitlines()[-1]
    if "could not be found in this WSL" in said:
        return problem(EngineReason.DESKTOP_NOT_INTEGRATED)
    if "permission denied" in said.lower():
        return problem(EngineReason.ENGINE_FORBIDDEN, user=getpass.getuser())
    place, endpoint = find_endpoint(shell)
    if "/run/user/" in endpoint:
        return problem(EngineReason.ROOTLESS_STOPPED, endpoint=endpoint)
    if place in START_COMMANDS:
        return problem(EngineReason.ENGINE_STOPPED, command=START_COMMANDS[place])
    if place:
        return problem(EngineReason.OTHER_ENGINE_STOPPED, place=place, endpoint=endpoint)
    if command := start_command(shell):
        return problem(EngineReason.ENGINE_STOPPED, command=as_root(command))
    return problem(EngineReason.ENGINE_NOT_ANSWERING, error=error)


def find_endpoint(shell: Shell) -> tuple[str, str]:
    """Where the engine's address comes from, and the address; both empty for the engine of this machine.

    https://docs.docker.com/engine/manage-resources/contexts/
    """
    if host := shell.environment.get("DOCKER_HOST"):
        return "DOCKER_HOST", host
    context = shell.look("docker", "context", "show").stdout.strip()
    if context in ("", "default"):
        return "", ""
    shown = shell.look("docker", "context", "inspect", context, "--format", "{{.Endpoints.docker.Host}}")
    return context, shown.stdout.strip()


def start_command(shell: Shell) -> tuple[str, ...]:
    """How root starts the installed engine of this Linux; empty if it has no service."""
    if is_macos(shell):
        return ()
    command = service_command()
    installed = (shell.look("systemctl", "cat", "docker").ok if command[0] == "systemctl"
                 else (system_files.ROOT / "etc/init.d/docker").exists())
    return command if installed else ()


def as_root(command: tuple[str, ...]) -> str:
    return f"sudo {' '.join(command)}"


def service_command() -> tuple[str, ...]:
    """With systemd, also at each start of the machine. A container, or WSL without it, has at most init scripts."""
    has_systemd = (system_files.ROOT / "run/systemd/system").is_dir()
    return ("systemctl", "enable", "--now", "docker") if has_systemd else ("service", "docker", "start")
