"""Download the pinned versions of k3d, kind, helm and kubectl, and verify the vendors' checksums."""

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
    needed,
    parse_version,
    read_version,
    require,
)

# The URLs of the program and of its SHA-256 checksum.
DOWNLOADS = {
    "k3d": ("{source}/{version}/k3d-{platform}", "{source}/{version}/checksums.txt"),
    "kind": ("{source}/{version}/kind-{platform}", "{source}/{version}/kind-{platform}.sha256sum"),
    "helm": ("{source}/helm-{version}-{platform}.tar.gz", "{source}/helm-{version}-{platform}.tar.gz.sha256sum"),
    "kubectl": ("{source}/{version}/bin/{folder}/kubectl", "{source}/{version}/bin/{folder}/kubectl.sha256"),
}


SYSTEMS = {"Linux": "linux", "Darwin": "darwin"}


MACHINES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}

CURL = ("curl", "--fail", "--silent", "--show-error", "--location", "--proto", "=https", "--retry", "2",
        "--connect-timeout", "20")


def downloads(settings: Settings) -> list[str]:
    return [tool for tool in needed(settings) if tool in DOWNLOADS]


def pinned_version(settings: Settings, tool: str) -> str:
    """The version in .env or .default.env, with the `v` that all vendors have in their URLs."""
    chosen: str = getattr(settings, f"{tool}_version")
    return f"v{chosen.removeprefix('v')}"


def is_pinned(settings: Settings, tool: str, version: str) -> bool:
    """Whether this is the pinned version; build metadata, such as `+g3d8990f`, does not count."""
    return version.removeprefix("v").partition("+")[0] == (
        pinned_version(settings, tool).removeprefix("v").partition("+")[0])


def is_outdated(shell: Shell, settings: Settings, tool: str) -> bool:
    """Whether these tasks installed it, in another version than the pinned one."""
    installed_here = shell.find(tool) == str(own_tools() / tool)
    return installed_here and not is_pinned(settings, tool, read_version(shell, tool))


def offer_install(shell: Shell, settings: Settings, yes: bool) -> None:
    """Install what is missing or too old, if the user agrees: on a terminal, or beforehand with `yes`."""
    missing = [tool for tool in downloads(settings) if find_problem(shell, tool)]
    if not missing or not (yes or (sys.stdin.isatty() and not shell.dry)):
        return
    brew = [tool for tool in missing if is_for_brew(shell, tool)]
    own = [f"{tool} {pinned_version(settings, tool)}" for tool in missing if tool not in brew]
    plan = [f"{', '.join(names)} {how}" for names, how in ((brew, "with brew"), (own, "into .tools/bin")) if names]
    if yes or confirm(f"Install {' and '.join(plan)}? [Y/n] ", otherwise=True):
        install_missing(shell, settings)


def install_missing(shell: Shell, settings: Settings) -> None:
    """Install what is missing or too old, and update the programs in .tools/bin to the pinned versions."""
    tools = downloads(settings)
    wanted = [tool for tool in tools if find_any_problem(shell, tool) or is_outdated(shell, settings, tool)]
    for tool in tools:
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
    """Whether Homebrew installs it: not if it is in .tools/bin, which comes first in the PATH."""
    return is_macos(shell) and bool(shell.find("brew")) and not (own_tools() / tool).exists()


def detect_platform(shell: Shell) -> tuple[str, str]:
    """This machine's operating system and processor, in the vendors' terms."""
    system, machine = (shell.look("uname", flag).stdout.strip() for flag in ("-s", "-m"))
    if system not in SYSTEMS or machine not in MACHINES:
        raise Exit(f"inv tools --install has no builds for {system} on {machine}. Install by hand:\n" + "\n".join(
            f"  {tool}: {INSTALL_HINTS[tool].split()[-1]}" for tool in DOWNLOADS))
    return SYSTEMS[system], MACHINES[machine]


@contextmanager
def download_folder(shell: Shell) -> Iterator[Path]:
    """A folder for this run, on the same disk as .tools/bin. Files that an interrupted run left there are removed."""
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
    """Download the pinned version to .tools/bin; it replaces the old one only after it is verified and runs."""
    version, source = pinned_version(settings, tool), getattr(settings, f"{tool}_source")
    chosen = settings.from_environment(f"{tool.upper()}_VERSION", f"{tool.upper()}_SOURCE")
    with shell.step("", f"{tool}{chosen}") as this:
        if parse_version(version) < OLDEST_VERSIONS.get(tool, ()):
            oldest = format_version(OLDEST_VERSIONS[tool])
            raise Exit(f"{tool.upper()}_VERSION={version} is too old: {oldest} or newer is needed.")
        url, checksums_url = (
            url.format(source=source, version=version, platform=f"{system}-{machine}", folder=f"{system}/{machine}")
            for url in DOWNLOADS[tool])
        file, checksums = folder / tool / Path(url).name, folder / tool / "checksums"
        if not shell.dry:
            file.parent.mkdir(parents=True)
        hint = (f"Check that this version exists for {system} on {machine}. In .env, {tool.upper()}_VERSION sets "
                f"another version, {tool.upper()}_SOURCE a mirror, and HTTPS_PROXY a proxy.")
        for target, source_url in ((file, url), (checksums, checksums_url)):
            shell.change(*CURL, "--output", str(target), source_url, hint=hint)
        shell.note(f"verify the checksum of {file.name}, and move {tool} to {own_tools()}")
        if shell.dry:
            return
        verify_checksum(file, url, checksums, checksums_url)
        program = unpack(file, f"{system}-{machine}/{tool}") if file.name.endswith(".tar.gz") else file
        program.chmod(0o755)
        reported = read_version(shell, tool, str(program))
        if not is_pinned(settings, tool, reported):
            raise Exit(f"{url}: the checksum is correct, but the program reports "
                       f"{f'version {reported}' if reported else 'no version'}. Nothing was installed.")
        own_tools().mkdir(parents=True, exist_ok=True)
        program.replace(own_tools() / tool)
        this.outcome = f"{version} installed in .tools/bin"


def verify_checksum(file: Path, url: str, checksums: Path, checksums_url: str) -> None:
    """Exit if the file does not match its checksum."""
    expected = checksum_of(file.name, checksums.read_text(encoding="utf-8", errors="replace"))
    if not expected:
        raise Exit(f"{checksums_url} has no checksum for {file.name}. Nothing was installed. Check the source in .env.")
    actual = hashlib.sha256(file.read_bytes()).hexdigest()
    if actual != expected:
        raise Exit(f"{file.name} has the wrong checksum. Nothing was installed.\n"
                   f"  expected {expected} (from {checksums_url})\n"
                   f"  actual   {actual} (from {url})\n"
                   "A proxy or mirror may have changed or truncated it. Run the task again, or use another source.")


def checksum_of(name: str, text: str) -> str:
    """The SHA-256 of a file in the output of `sha256sum`; empty if it is not there.

    k3d has a folder before the name (`_dist/`), kubectl has no name.
    """
    for line in text.splitlines():
        digest, _, path = line.strip().partition(" ")
        if re.fullmatch(r"[0-9A-Fa-f]{64}", digest) and Path(path.strip().lstrip("*")).name in ("", name):
            return digest.lower()
    return ""


def unpack(archive: Path, member: str) -> Path:
    """Extract one file from the archive to the same folder."""
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
        raise Exit(f"{archive.name} has the correct checksum, but {member} cannot be extracted ({error}). "
                   "Nothing was installed.") from None
    return target
