"""Download the pinned k3d, helm and kubectl, checked against the vendors' checksums."""

from __future__ import annotations

import hashlib
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from invoke import Exit

from tasks.core.operating_system import is_macos
from tasks.core.progress import confirm
from tasks.core.settings import Settings
from tasks.core.shell import Shell, own_tools
from tasks.tools.required import (
    INSTALL_HINTS,
    OLDEST_VERSIONS,
    find_any_problem,
    find_problem,
    format_version,
    parse_version,
    read_version,
    require,
)

# Where the vendors keep the program, and the SHA-256 of it.
DOWNLOADS = {
    "k3d": ("{source}/{version}/k3d-{platform}", "{source}/{version}/checksums.txt"),
    "helm": ("{source}/helm-{version}-{platform}.tar.gz", "{source}/helm-{version}-{platform}.tar.gz.sha256sum"),
    "kubectl": ("{source}/{version}/bin/{folder}/kubectl", "{source}/{version}/bin/{folder}/kubectl.sha256"),
}


SYSTEMS = {"Linux": "linux", "Darwin": "darwin"}


MACHINES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}

CURL = ("curl", "--fail", "--silent", "--show-error", "--location", "--proto", "=https", "--retry", "2",
        "--connect-timeout", "20")


def pinned_version(settings: Settings, tool: str) -> str:
    """The version in .env or .default.env, with the `v` that all three vendors have in their addresses."""
    chosen: str = getattr(settings, f"{tool}_version")
    return f"v{chosen.removeprefix('v')}"


def is_pinned(settings: Settings, tool: str, version: str) -> bool:
    wanted, its = (text.removeprefix("v").partition("+")[0] for text in (pinned_version(settings, tool), version))
    return its == wanted


def is_outdated(shell: Shell, settings: Settings, tool: str) -> bool:
    """Whether it is one that these tasks have installed, in another version than the pinned one."""
    ours = shell.find(tool) == str(own_tools() / tool)
    return ours and not is_pinned(settings, tool, read_version(shell, tool))


def offer_install(shell: Shell, settings: Settings, yes: bool) -> None:
    """Get what is missing or too old when the user, asked on a terminal, or beforehand with `yes`, wants that."""
    lacking = [tool for tool in DOWNLOADS if find_problem(shell, tool)]
    if not lacking or not (yes or (sys.stdin.isatty() and not shell.dry)):
        return
    brew = [tool for tool in lacking if is_for_brew(shell, tool)]
    own = [f"{tool} {pinned_version(settings, tool)}" for tool in lacking if tool not in brew]
    ways = [f"{', '.join(names)} {how}" for names, how in ((brew, "with brew"), (own, "into .tools/bin")) if names]
    if yes or confirm(f"Install {' and '.join(ways)}? [Y/n] ", otherwise=True):
        install_missing(shell, settings)


def install_missing(shell: Shell, settings: Settings) -> None:
    """Install those of k3d, helm and kubectl that are missing or too old, and ours that are not the pinned ones."""
    wanted = [tool for tool in DOWNLOADS if find_any_problem(shell, tool) or is_outdated(shell, settings, tool)]
    for tool in DOWNLOADS:
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
        system, machine = detect_platform(shell)
        with download_folder(shell) as folder:
            shell.side_by_side([partial(download, shell, settings, tool, system, machine, folder) for tool in own])


def is_for_brew(shell: Shell, tool: str) -> bool:
    """Not where one of ours is: that would win over Homebrew's."""
    return is_macos(shell) and bool(shell.find("brew")) and not (own_tools() / tool).exists()


def detect_platform(shell: Shell) -> tuple[str, str]:
    """This machine's system and processor, as the vendors call them."""
    system, machine = (shell.look("uname", flag).stdout.strip() for flag in ("-s", "-m"))
    if system not in SYSTEMS or machine not in MACHINES:
        raise Exit(f"inv tools --install knows no builds for {system} on {machine}. By hand:\n" + "\n".join(
            f"  {tool}: {INSTALL_HINTS[tool].split()[-1]}" for tool in DOWNLOADS))
    return SYSTEMS[system], MACHINES[machine]


@contextmanager
def download_folder(shell: Shell) -> Iterator[Path]:
    """A folder on the disk of .tools/bin, for this run alone; what a killed run has left there goes first."""
    folder = own_tools().parent / "download"
    with shell.one_at_a_time("folder", own_tools().parent):
        try:
            if not shell.dry:
                shutil.rmtree(folder, ignore_errors=True)
            yield folder
        finally:
            if not shell.dry:
                shutil.rmtree(folder, ignore_errors=True)


def download(shell: Shell, settings: Settings, tool: str, system: str, machine: str, folder: Path) -> None:
    """Bring the pinned version to .tools/bin. What was there stays until the new one is whole, checked and answers."""
    wanted, source = pinned_version(settings, tool), getattr(settings, f"{tool}_source")
    with shell.step("", tool) as this:
        if parse_version(wanted) < OLDEST_VERSIONS.get(tool, ()):
            oldest = format_version(OLDEST_VERSIONS[tool])
            raise Exit(f"{tool.upper()}_VERSION={wanted} is too old: {oldest} or newer is needed.")
        address, checksums_address = (
            address.format(source=source, version=wanted, platform=f"{system}-{machine}", folder=f"{system}/{machine}")
            for address in DOWNLOADS[tool])
        file, checksums = folder / tool / Path(address).name, folder / tool / "checksums"
        if not shell.dry:
            file.parent.mkdir(parents=True)
        for target, url in ((file, address), (checksums, checksums_address)):
            shell.change(*CURL, "--output", str(target), url,
                         hint=f"Is there such a version for {system} on {machine}? {tool.upper()}_VERSION and "
                              f"{tool.upper()}_SOURCE in .env choose another one or a mirror, HTTPS_PROXY a proxy.")
        shell.note(f"compare the checksum of {file.name}, and move {tool} to {own_tools()}")
        if shell.dry:
            return
        verify_checksum(file, address, checksums, checksums_address)
        program = unpack(file, f"{system}-{machine}/{tool}") if file.name.endswith(".tar.gz") else file
        program.chmod(0o755)
        answer = read_version(shell, tool, str(program))
        if not is_pinned(settings, tool, answer):
            raise Exit(f"{address}: the checksum is right, but asked for its version, the program says "
                       f"{answer or 'nothing'}. Nothing was installed.")
        own_tools().mkdir(parents=True, exist_ok=True)
        program.replace(own_tools() / tool)
        this.outcome = f"{wanted} installed in .tools/bin"


def verify_checksum(file: Path, address: str, checksums: Path, checksums_address: str) -> None:
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
