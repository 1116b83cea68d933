"""The files with which this machine resolves a domain: one for each domain, which lists the copies that use it.

So several copies of this folder work on one machine: each adds and removes only its own domains. A domain that two
copies share is kept until the last of them is removed. A file of an earlier version lists no copy, and is removed with
the copy that has its domain.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from tasks.core import copies, system_files
from tasks.core.addresses import address_of_name, list_own_addresses
from tasks.core.by_number import THIS_MACHINE
from tasks.core.settings import Settings
from tasks.core.shell import Shell
from tasks.core.templates import render
from tasks.core.well_known import MANAGER

NAMES = "dns/names.conf"


@dataclass(frozen=True)
class DomainFile:
    path: Path
    domains: tuple[str, ...]
    """One; several in a file of an earlier version, which wrote one file for all domains."""

    @property
    def other_copies(self) -> list[Path]:
        return [copy for copy in copies.read_users(self.path) if copy != copies.this_copy()]

    @property
    def copies_in_use(self) -> list[Path]:
        """The other copies that still exist on this machine."""
        return [copy for copy in self.other_copies if copies.exists(copy)]

    @property
    def names_this_copy(self) -> bool:
        return copies.this_copy() in copies.read_users(self.path)

    @property
    def is_edited(self) -> bool:
        return system_files.state(self.path) == "changed"

    @property
    def users(self) -> str:
        """The copies that use it, for a message."""
        others = [f"the copy in {copy}" + ("" if copies.exists(copy) else ", which no longer exists")
                  for copy in self.other_copies]
        return "; ".join(others) or "an earlier version of these tasks"


@dataclass(frozen=True)
class Sorted:
    """What happens to the files of one method when a copy is removed."""

    removed: list[DomainFile] = field(default_factory=list)
    released: list[DomainFile] = field(default_factory=list)
    """Used by this copy and by another one, which keeps it."""
    kept: list[DomainFile] = field(default_factory=list)
    """Used only by other copies."""

    @property
    def changed(self) -> list[Path]:
        return [file.path for file in (*self.removed, *self.released)]

    @property
    def is_last(self) -> bool:
        """Whether no remaining file needs what all domains share."""
        return not self.released and not self.kept


@dataclass(frozen=True)
class Leaving:
    """This copy is removed; with `all_copies`, all other copies too."""

    settings: Settings
    all_copies: bool = False

    def sort(self, files: Iterable[DomainFile]) -> Sorted:
        result, owned = Sorted(), {*self.settings.owned_domains}
        for file in files:
            if self.all_copies:
                result.removed.append(file)
            elif file.copies_in_use:
                (result.released if file.names_this_copy else result.kept).append(file)
            elif file.names_this_copy or set(file.domains) <= owned or (file.is_edited and owned & set(file.domains)):
                result.removed.append(file)  # an edited one is reported instead
            else:
                result.kept.append(file)
        return result


def one_copy_at_a_time(shell: Shell) -> AbstractContextManager[None]:
    """Copies share the files of a domain and the resolver, which each of them changes, restarts and then queries."""
    return shell.one_at_a_time("DNS", "configuration")


def former_domains(settings: Settings, files: Iterable[DomainFile]) -> Sorted:
    """The files that this copy used for domains that it no longer has."""
    mine = [file for file in files if file.names_this_copy and not {*file.domains} & {*settings.owned_domains}]
    return Leaving(settings).sort(mine)


def find(folder: Path, ending: str, prefix: str = f"{MANAGER}-") -> list[DomainFile]:
    """The files in this folder that any copy of these tasks wrote."""
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    named = [file for file in files if file.name.startswith(prefix) and file.name.endswith(ending) and file.is_file()]
    return [DomainFile(file, (file.name.removeprefix(prefix).removesuffix(ending),))
            for file in system_files.own_files(*named)]


def of_earlier_version(file: Path, domain: str = r"^(?:# )?address=/([^/\s]+)/") -> list[DomainFile]:
    """This file, if an earlier version wrote the domains of all clusters into it. `domain` matches them."""
    if not system_files.own_files(file):
        return []
    found = re.findall(domain, file.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
    return [DomainFile(file, tuple(found))] if found else []


def domains_to_take_over(settings: Settings, earlier: Iterable[DomainFile], there: Iterable[DomainFile]) -> list[str]:
    """Domains that only a file of an earlier version has, perhaps for another copy. Each is moved to its own file."""
    known = {*settings.owned_domains}.union(*(file.domains for file in there))
    return [domain for file in earlier for domain in file.domains if domain not in known]


def text_for_this_copy(template: str, domain: str, *files: Path, **values: object) -> str:
    """The text of the file for a domain, with this copy added to its users. `files`: where it may be now."""
    users = {copies.this_copy()}.union(*(DomainFile(file, (domain,)).copies_in_use for file in files))
    return render(template, domain=domain, used_by=[*map(copies.used_by_line, sorted(users))], **values)


def text_for_unknown_copy(template: str, domain: str, **values: object) -> str:
    """The same if it is unknown which copy uses it."""
    return render(template, domain=domain, used_by=[], **values)


def text_of_names(settings: Settings, domain: str, *files: Path) -> str:
    """dnsmasq's file for a domain, in which a cluster elsewhere has lines of its own."""
    address = address_of_name(settings, domain)
    return text_for_this_copy(
        NAMES, domain, *files, address=address, place="this machine" if address == THIS_MACHINE else address,
        elsewhere={name: other for name, other in list_own_addresses(settings).items() if name.endswith(f".{domain}")})


def text_of_unknown_names(domain: str) -> str:
    """The same if it is unknown which copy uses it."""
    return text_for_unknown_copy(NAMES, domain, address=THIS_MACHINE, place="this machine", elsewhere={})


def text_without_this_copy(file: Path) -> str:
    return body(file).replace(f"{copies.used_by_line(copies.this_copy())}\n", "")


def text_without_effect(file: Path) -> str:
    """Everything commented out, so that the file can still be recognized."""
    return "".join(line if line.startswith("#") else f"# {line}" for line in body(file).splitlines(keepends=True))


def body(file: Path) -> str:
    """The text below the line that `system_files.seal` adds."""
    return file.read_text(encoding="utf-8").partition("\n")[2]


def install_all(shell: Shell, texts: Mapping[Path, str], why: str) -> bool:
    """Write these texts to their files as root, in this order. False if all files already have them.

    Each folder is created first and only once, also in a dry run, which creates none.
    """
    system_files.refuse_foreign(*texts)
    wanted = {file: text for file, text in texts.items() if not system_files.holds(file, text)}
    missing = [folder for folder in dict.fromkeys(file.parent for file in wanted) if not folder.is_dir()]
    for folder in missing:
        if not any(other != folder and other.is_relative_to(folder) for other in missing):
            shell.sudo("mkdir", "-p", "-m", "0755", str(folder), why=why)
    for file, text in wanted.items():
        # Not cp, because sudo keeps a umask of 077, and the next run could not read the file.
        shell.sudo("install", "-m", "0644", str(system_files.stage(shell, file, text)), str(file), why=why)
    return bool(wanted)


def remove_folder_if_empty(
    shell: Shell, folder: Path, removed: Iterable[Path], why: str = "leave no empty folder"
) -> None:
    """Remove a folder that contains only these files, which were removed, or would be in a dry run."""
    if folder.is_dir() and {*folder.iterdir()} <= {*removed}:
        shell.sudo("rmdir", str(folder), why=why)


def describe(files: Iterable[DomainFile]) -> list[str]:
    """One line for each domain, with the copies that use it."""
    return list(dict.fromkeys(f"{', '.join(file.domains)}: {file.users}" for file in files))


def describe_outcome(files: Sorted) -> str:
    """What was removed and kept, for the line of the step."""
    if files.is_last:
        return "removed, names resolve as before"
    gone = ", ".join(dict.fromkeys(domain for file in files.removed for domain in file.domains))
    kept = "; ".join(describe(files.released))
    return "; ".join([*([f"{gone} removed"] if gone else []), *([f"{kept} still needs it"] if kept else []),
                      *(["names of other copies are kept"] if files.kept else [])])
