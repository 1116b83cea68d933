"""The programs that the tasks run: which are needed, which are there, and how to get those that are not."""

from __future__ import annotations

import hashlib
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from invoke import Context, Exit, task

from tasks import host
from tasks import settings as configuration
from tasks.names import PlainTask
from tasks.progress import agreed
from tasks.settings import Settings
from tasks.shell import OWN_TOOLS, Shell
from tasks.table import Row, show

INSTALL = {
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
OLDEST = {"k3d": (5, 7, 1), "helm": (3, 14, 0)}
VERSION_OF = {
    "docker": ("docker", "version", "--format", "{{.Server.Version}}"),
    "k3d": ("k3d", "version"),
    "helm": ("helm", "version", "--short"),
    "kubectl": ("kubectl", "version", "--client"),
    "openssl": ("openssl", "version"),
}

# Where the vendors keep the program, and the SHA-256 of it.
ADDRESSES = {
    "k3d": ("{source}/{version}/k3d-{platform}", "{source}/{version}/checksums.txt"),
    "helm": ("{source}/helm-{version}-{platform}.tar.gz", "{source}/helm-{version}-{platform}.tar.gz.sha256sum"),
    "kubectl": ("{source}/{version}/bin/{folder}/kubectl", "{source}/{version}/bin/{folder}/kubectl.sha256"),
}
SYSTEMS = {"Linux": "linux", "Darwin": "darwin"}
MACHINES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}

CURL = ("curl", "--fail", "--silent", "--show-error", "--location", "--proto", "=https", "--retry", "2",
        "--connect-timeout", "20")


@task(klass=PlainTask, help={"install": "get k3d, helm and kubectl where they are missing or too old"})
def tools(context: Context, install: bool = False) -> None:
    """Show the needed programs; --install gets them"""
    settings = configuration.load()
    shell = Shell(context, settings.environment)
    if install:
        get(shell, settings)
    rows = [row_of(shell, settings, tool) for tool in VERSION_OF]
    show(rows, "needed", "found")
    unusable = [tool for tool, row in zip(VERSION_OF, rows, strict=True) if row.state == "red"]
    if unusable and not shell.dry:
        raise Exit(f"Not ready to be used: {', '.join(unusable)}.")


def row_of(shell: Shell, settings: Settings, tool: str) -> Row:
    needed = f"{tool} {dotted(OLDEST[tool])} or newer" if tool in OLDEST else tool
    path, wrong = shell.find(tool), closer_look(shell, tool)
    found = f"{version(shell, tool)} {path}".strip() if path else ""
    if wrong:
        return Row(needed, found, "red", wrong)
    if is_outdated(shell, settings, tool):
        return Row(needed, found, "yellow", f"{pinned(settings, tool)} is pinned", "inv tools --install")
    note = f"pinned: {pinned(settings, tool)}" if tool in ADDRESSES else ""
    return Row(needed, found, "green", "its engine answers" if tool == "docker" else note)


# --- what is there ----------------------------------------------------------------------------------------------------


def require(shell: Shell, *tools: str) -> None:
    """Exit names every tool that is missing or too old, with the way to get it."""
    problems = [wrong for tool in tools if (wrong := problem(shell, tool))]
    if problems:
        raise Exit("Before this can run:\n" + "\n".join(f"  {problem}" for problem in problems))


def problem(shell: Shell, tool: str) -> str:
    """Why this tool cannot be used, and the way to get it; empty where it can."""
    if not shell.find(tool):
        return f"{tool} is not installed: {INSTALL[tool]}"
    if tool in OLDEST:
        said = next(iter(shell.look(*VERSION_OF[tool]).stdout.splitlines()), "")
        if numbers(said) < OLDEST[tool]:
            return (f"{tool} {dotted(OLDEST[tool])} or newer is needed, and this is {said or 'unknown'}: "
                    f"{INSTALL[tool]}")
    if tool == "docker":
        engine = shell.look(*VERSION_OF[tool])
        if not engine.ok:
            said = (engine.stderr.strip() or "no answer").splitlines()[-1]
            return f"docker is installed, but its engine does not answer ({said}): start Docker"
    return ""


def closer_look(shell: Shell, tool: str) -> str:
    """The problem, and also that a tool is there but does not run, as a wrapper of asdf or mise for none."""
    silent = "" if version(shell, tool) else (
        f"{tool} does not say its version (try: {shlex.join(VERSION_OF[tool])}): {INSTALL[tool]}")
    return problem(shell, tool) or silent


def version(shell: Shell, tool: str, program: str = "") -> str:
    """What the tool, or the one in this file, calls its version; empty when it does not answer."""
    said = shell.look(program or tool, *VERSION_OF[tool][1:])
    found = re.search(r"(LibreSSL )?v?\d+\.\d+\S*", said.stdout) if said.ok else None
    return found[0] if found else ""


def numbers(text: str) -> tuple[int, ...]:
    found = re.search(r"v?(\d+)\.(\d+)(?:\.(\d+))?", text)
    return tuple(int(part or 0) for part in found.groups()) if found else (0, 0, 0)


def dotted(numbers: tuple[int, ...]) -> str:
    return ".".join(map(str, numbers))


def pinned(settings: Settings, tool: str) -> str:
    """The version in .env or .default.env, with the `v` that all three vendors have in their addresses."""
    chosen: str = getattr(settings, f"{tool}_version")
    return f"v{chosen.removeprefix('v')}"


def is_pinned(settings: Settings, tool: str, version: str) -> bool:
    return version.removeprefix("v").partition("+")[0] == pinned(settings, tool).removeprefix("v").partition("+")[0]


def is_outdated(shell: Shell, settings: Settings, tool: str) -> bool:
    """Whether it is one that these tasks have installed, in another version than the pinned one."""
    ours = shell.find(tool) == str(OWN_TOOLS / tool)
    return ours and not is_pinned(settings, tool, version(shell, tool))


# --- getting what is not ----------------------------------------------------------------------------------------------


def offer(shell: Shell, settings: Settings, yes: bool) -> None:
    """Get what is missing or too old when the user, asked on a terminal, or beforehand with `yes`, wants that."""
    lacking = [tool for tool in ADDRESSES if problem(shell, tool)]
    if not lacking or not (yes or (sys.stdin.isatty() and not shell.dry)):
        return
    brew = [tool for tool in lacking if is_for_brew(shell, tool)]
    own = [f"{tool} {pinned(settings, tool)}" for tool in lacking if tool not in brew]
    ways = [f"{', '.join(names)} {how}" for names, how in ((brew, "with brew"), (own, "into .tools/bin")) if names]
    if yes or agreed(f"Install {' and '.join(ways)}? [Y/n] ", otherwise=True):
        get(shell, settings)


def get(shell: Shell, settings: Settings) -> None:
    """Install those of k3d, helm and kubectl that are missing or too old, and ours that are not the pinned ones."""
    wanted = [tool for tool in ADDRESSES if closer_look(shell, tool) or is_outdated(shell, settings, tool)]
    for tool in ADDRESSES:
        if tool not in wanted:
            with shell.step("", tool) as this:
                this.skip("already there")
    brew = [tool for tool in wanted if is_for_brew(shell, tool)]
    own = [tool for tool in wanted if tool not in brew]
    if brew:
        with shell.step("", "Homebrew") as this:
            shell.change("brew", "install", *brew)
            this.outcome = f"{', '.join(brew)} installed"
    if own:
        require(shell, "curl")
        system, machine = platform(shell)
        with download_folder(shell) as folder:
            shell.side_by_side([partial(download, shell, settings, tool, system, machine, folder) for tool in own])


def is_for_brew(shell: Shell, tool: str) -> bool:
    """Not where one of ours is: that would win over Homebrew's."""
    return host.is_macos(shell) and bool(shell.find("brew")) and not (OWN_TOOLS / tool).exists()


def platform(shell: Shell) -> tuple[str, str]:
    """This machine's system and processor, as the vendors call them."""
    system, machine = (shell.look("uname", flag).stdout.strip() for flag in ("-s", "-m"))
    if system not in SYSTEMS or machine not in MACHINES:
        raise Exit(f"inv tools --install knows no builds for {system} on {machine}. By hand:\n" + "\n".join(
            f"  {tool}: {INSTALL[tool].split()[-1]}" for tool in ADDRESSES))
    return SYSTEMS[system], MACHINES[machine]


@contextmanager
def download_folder(shell: Shell) -> Iterator[Path]:
    """A folder on the disk of .tools/bin, for this run alone; what a killed run has left there goes first."""
    folder = OWN_TOOLS.parent / "download"
    with shell.one_at_a_time():
        try:
            if not shell.dry:
                shutil.rmtree(folder, ignore_errors=True)
            yield folder
        finally:
            if not shell.dry:
                shutil.rmtree(folder, ignore_errors=True)


def download(shell: Shell, settings: Settings, tool: str, system: str, machine: str, folder: Path) -> None:
    """Bring the pinned version to .tools/bin. What was there stays until the new one is whole, checked and answers."""
    wanted, source = pinned(settings, tool), getattr(settings, f"{tool}_source")
    with shell.step("", tool) as this:
        if numbers(wanted) < OLDEST.get(tool, ()):
            raise Exit(f"{tool.upper()}_VERSION={wanted} is too old: {dotted(OLDEST[tool])} or newer is needed.")
        address, checksums_address = (
            address.format(source=source, version=wanted, platform=f"{system}-{machine}", folder=f"{system}/{machine}")
            for address in ADDRESSES[tool])
        file, checksums = folder / tool / Path(address).name, folder / tool / "checksums"
        if not shell.dry:
            file.parent.mkdir(parents=True)
        for target, url in ((file, address), (checksums, checksums_address)):
            shell.change(*CURL, "--output", str(target), url,
                         hint=f"Is there such a version for {system} on {machine}? {tool.upper()}_VERSION and "
                              f"{tool.upper()}_SOURCE in .env choose another one or a mirror, HTTPS_PROXY a proxy.")
        shell.note(f"compare the checksum of {file.name}, and move {tool} to {OWN_TOOLS}")
        if shell.dry:
            return
        verify(file, address, checksums, checksums_address)
        program = unpack(file, f"{system}-{machine}/{tool}") if file.name.endswith(".tar.gz") else file
        program.chmod(0o755)
        answer = version(shell, tool, str(program))
        if not is_pinned(settings, tool, answer):
            raise Exit(f"{address}: the checksum is right, but asked for its version, the program says "
                       f"{answer or 'nothing'}. Nothing was installed.")
        OWN_TOOLS.mkdir(parents=True, exist_ok=True)
        program.replace(OWN_TOOLS / tool)
        this.outcome = f"{wanted} installed in .tools/bin"


def verify(file: Path, address: str, checksums: Path, checksums_address: str) -> None:
    """Exit when the file is not the one of the checksum."""
    expected = checksum_of(file.name, checksums.read_text(encoding="utf-8", errors="replace"))
    if not expected:
        raise Exit(f"{checksums_address} has no checksum of {file.name}. Nothing was installed. "
                   "Is the source what it should be?")
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    if found != expected:
        raise Exit(f"{file.name} has the wrong checksum. Nothing was installed.\n"
                   f"  expected {expected} (from {checksums_address})\n"
                   f"  found    {found} (from {address})\n"
                   "A proxy or a mirror may have changed or not finished it. Run this again, or choose another source.")


def checksum_of(name: str, text: str) -> str:
    """The SHA-256 of that file in lines of `sha256sum`; empty when there is none.

    k3d has a folder before the name (`_dist/`), kubectl no name.
    """
    for line in text.splitlines():
        digest, _, named = line.strip().partition(" ")
        if re.fullmatch(r"[0-9A-Fa-f]{64}", digest) and Path(named.strip().lstrip("*")).name in ("", name):
            return digest.lower()
    return ""


def unpack(archive: Path, member: str) -> Path:
    """Take one file out of the archive, and lay it beside it."""
    import tarfile
    import zlib

    target = archive.with_name(Path(member).name)
    try:
        with tarfile.open(archive) as opened, target.open("wb") as file:
            content = opened.extractfile(member)
            if content is None:
                raise KeyError(member)
            shutil.copyfileobj(content, file)
    except (KeyError, EOFError, tarfile.TarError, zlib.error) as error:
        raise Exit(f"{archive.name} has the right checksum, but {member} cannot be read from it ({error}). "
                   "Nothing was installed.") from None
    return target
