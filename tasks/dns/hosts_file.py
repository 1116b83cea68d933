"""Where no resolver can be set up: a block in the hosts file with the names that exist, one by one.

Each copy of this folder has a block of its own. See edit_hosts for how the file is written.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from invoke import Exit

from tasks import providers
from tasks.core import copies, system_files
from tasks.core.addresses import address_of_name, list_proofs
from tasks.core.copies import path_to_text, text_to_path
from tasks.core.settings import Settings
from tasks.core.shell import Shell
from tasks.dns import edit_hosts
from tasks.dns.domain_files import DomainFile, Leaving, describe_outcome
from tasks.dns.edit_hosts import blocks
from tasks.engine.clusters import own_clusters
from tasks.probe.example_page import example_host
from tasks.probe.host_names import query_host_names

PROOF = "proof."

NO_WILDCARD = """\
    A hosts file has no wildcard, so only the names of existing Ingresses resolve. After you create one: inv dns
    To have that done while you work: inv dns --watch"""


def hosts_file() -> Path:
    return system_files.ROOT / "etc/hosts"


@dataclass(frozen=True)
class HostsBlock(DomainFile):
    """The block of one copy. Its domains are those of the names that prove them."""

    copy: Path
    names: tuple[str, ...]
    text: str
    edited: bool

    @property
    def other_copies(self) -> list[Path]:
        return [] if self.names_this_copy else [self.copy]

    @property
    def names_this_copy(self) -> bool:
        return self.copy == copies.this_copy()

    @property
    def is_edited(self) -> bool:
        return self.edited


def read_blocks(file: Path) -> list[HostsBlock]:
    content = file.read_bytes() if file.is_file() else b""
    found = []
    for block in blocks.find_blocks(content):
        names = tuple(names_in(block))
        domains = tuple(name.removeprefix(PROOF) for name in names if name.startswith(PROOF))
        found.append(HostsBlock(file, domains, text_to_path(block.copy), names, block.body, block.edited))
    return found


def names_in(block: blocks.Block) -> list[str]:
    return [line.split()[1] for line in block.body.splitlines() if len(line.split()) > 1]


def text_of(settings: Settings, names: list[str]) -> str:
    return "".join(f"{address_of_name(settings, name)} {name}\n" for name in names)


def own_block(file: Path) -> HostsBlock | None:
    return next((block for block in read_blocks(file) if block.names_this_copy), None)


def check_available(shell: Shell) -> str:
    file = hosts_file()
    if file.is_symlink():
        return (f"{file} is a symbolic link to {file.readlink()}, which the system generates. "
                "On NixOS, add the names to networking.hosts")
    if not file.is_file():
        return f"{file} is not a file"
    if os.statvfs(file).f_flag & os.ST_RDONLY:
        return f"{file} is mounted read-only"
    return describe_edit(own_block(file))


def describe_edit(block: HostsBlock | None) -> str:
    return (f"in {block.path}, the lines from `# BEGIN {blocks.OWNER} in {path_to_text(block.copy)}` to `# END` were "
            "edited. Move your lines out of them, or delete all of them") if block and block.edited else ""


def install(shell: Shell, settings: Settings) -> None:
    file = hosts_file()
    with shell.step("", str(file)) as this, shell.one_at_a_time("file", file):
        block = own_block(file)
        names = list_names(shell, settings, [*block.names] if block else [])
        if is_current(block, text_of(settings, names)):
            this.skip(f"already has {len(names)} names")
            return
        how = write(shell, file, copies.this_copy(), text_of(settings, names),
                    why=f"resolve {len(names)} names of the clusters")
        if not shell.dry and not is_current(own_block(file), text_of(settings, names)):
            raise Exit(f"{file} does not have the names that were just written. Another program writes it too. "
                       "Run this task again.")
        this.warn(f"{len(names)} names written{how}\n{NO_WILDCARD}")


def list_names(shell: Shell, settings: Settings, known: list[str]) -> list[str]:
    """The base domain, a name that proves it, the examples of all clusters, and what the running clusters route.

    A cluster that is stopped or does not answer keeps its names that are known.
    """
    clusters = list(map(settings.cluster, settings.numbers))
    names = {*settings.owned_domains, *list_proofs(settings), *map(example_host, clusters)}
    try:
        found = providers.list_clusters(shell, settings)
    except Exit:  # the engine is not running, or a program is missing
        found = {}
        existing = clusters
    else:
        existing = own_clusters(settings, found)
    for cluster in existing:
        running = cluster.name in found and found[cluster.name].running
        routed = query_host_names(shell, cluster) if running else None
        names |= {name for name in known if f".{name}".endswith(f".{cluster.domain}")} if routed is None else routed
    return sorted(names)


def is_outdated(shell: Shell, settings: Settings) -> bool:
    """Whether this copy has a block, and its names differ from those of the clusters."""
    block = own_block(hosts_file())
    return block is not None and not is_current(
        block, text_of(settings, list_names(shell, settings, [*block.names])))


def is_current(block: HostsBlock | None, text: str) -> bool:
    return block is not None and not block.edited and block.text == text


def write(shell: Shell, file: Path, copy: Path, text: str, why: str) -> str:
    """Write the block of a copy as root, or remove it if there is no text. Returns how, if not in the usual way."""
    words = [sys.executable, "-IB", str(Path(edit_hosts.__file__).parent), str(file), path_to_text(copy)]
    if text:
        words.append(str(system_files.stage(shell, file, text, sealed=False)))
    said = shell.sudo(*words, why=why).stdout.strip()
    return said.removeprefix("written")


def list_domain_files(shell: Shell) -> list[DomainFile]:
    return [*read_blocks(hosts_file())]


def list_files(shell: Shell) -> list[Path]:
    return [hosts_file()] if read_blocks(hosts_file()) else []


def remove(shell: Shell, leaving: Leaving) -> None:
    file = hosts_file()
    files = leaving.sort(read_blocks(file))
    if not files.removed:
        return
    with shell.step("", str(file)) as this, shell.one_at_a_time("file", file):
        for block in files.removed:
            assert isinstance(block, HostsBlock)
            if edited := describe_edit(block):
                raise Exit(f"{edited[0].upper()}{edited[1:]}, then run this task again.")
            write(shell, file, block.copy, "", why="remove the names of the clusters")
        this.outcome = describe_outcome(files)
