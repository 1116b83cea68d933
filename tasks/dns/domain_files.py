"""The files that have this machine resolve a domain: one for each, which names the copies of this folder that use it.

So copies work beside each other: each adds and takes away its own domains. One that two copies share stays until the
last of them leaves. A file of an earlier version names nobody, and goes with the copy that has its domain.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tasks.core import copies, system_files
from tasks.core.settings import Settings
from tasks.core.shell import Shell
from tasks.core.templates import render
from tasks.core.well_known import MANAGER


@dataclass(frozen=True)
class DomainFile:
    path: Path
    domains: tuple[str, ...]
    """One; several in a file of an earlier version, which had one file for all."""

    @property
    def other_copies(self) -> list[Path]:
        return [copy for copy in copies.read_users(self.path) if copy != copies.this_copy()]

    @property
    def copies_in_use(self) -> list[Path]:
        """Those of the other copies that are still on this machine."""
        return [copy for copy in self.other_copies if copies.exists(copy)]

    @property
    def names_this_copy(self) -> bool:
        return copies.this_copy() in copies.read_users(self.path)

    @property
    def users(self) -> str:
        """Who uses it, for people to read."""
        others = [f"the copy in {copy}" + ("" if copies.exists(copy) else ", which is gone")
                  for copy in self.other_copies]
        return "; ".join(others) or "an earlier version of these tasks"


@dataclass(frozen=True)
class Sorted:
    """What becomes of the files of one method when a copy leaves."""

    removed: list[DomainFile] = field(default_factory=list)
    released: list[DomainFile] = field(default_factory=list)
    """Of this copy and of another one, which goes on using it."""
    kept: list[DomainFile] = field(default_factory=list)
    """Only of others."""

    @property
    def changed(self) -> list[Path]:
        return [file.path for file in (*self.removed, *self.released)]

    @property
    def is_last(self) -> bool:
        """Whether nothing is left afterwards that needs what all domains share."""
        return not self.released and not self.kept


@dataclass(frozen=True)
class Leaving:
    """This copy leaves; `all_copies`: so do all others."""

    settings: Settings
    all_copies: bool = False

    def sort(self, files: Iterable[DomainFile]) -> Sorted:
        result = Sorted()
        for file in files:
            if self.all_copies:
                result.removed.append(file)
            elif file.copies_in_use:
                (result.released if file.names_this_copy else result.kept).append(file)
            elif file.names_this_copy or set(file.domains) <= {*self.settings.owned_domains}:
                result.removed.append(file)
            else:
                result.kept.append(file)
        return result


def former_domains(settings: Settings, files: Iterable[DomainFile]) -> Sorted:
    """What of these files this copy has used for domains that it does not have any more."""
    mine = [file for file in files if file.names_this_copy and not {*file.domains} & {*settings.owned_domains}]
    return Leaving(settings).sort(mine)


def find(folder: Path, ending: str, prefix: str = f"{MANAGER}-") -> list[DomainFile]:
    """The files in this folder that these tasks wrote, for whichever copy."""
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    named = [file for file in files if file.name.startswith(prefix) and file.name.endswith(ending) and file.is_file()]
    return [DomainFile(file, (file.name.removeprefix(prefix).removesuffix(ending),))
            for file in system_files.own_files(*named)]


def of_earlier_version(file: Path, domain: str = r"^(?:# )?address=/([^/\s]+)/") -> list[DomainFile]:
    """This file, where an earlier version has written the domains of all clusters into it; `domain` finds them."""
    if not system_files.own_files(file):
        return []
    found = re.findall(domain, file.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
    return [DomainFile(file, tuple(found))] if found else []


def domains_to_take_over(settings: Settings, earlier: Iterable[DomainFile], there: Iterable[DomainFile]) -> list[str]:
    """Domains that only an earlier version's file has, and that may be another copy's: they get a file of their own."""
    known = {*settings.owned_domains}.union(*(file.domains for file in there))
    return [domain for file in earlier for domain in file.domains if domain not in known]


def text_for_this_copy(template: str, domain: str, *files: Path, **values: object) -> str:
    """What the file for a domain is to hold, so that this copy uses it too; `files` are where it may lie now."""
    users = {copies.this_copy()}.union(*(DomainFile(file, (domain,)).copies_in_use for file in files))
    return render(template, domain=domain, used_by=[*map(copies.used_by_line, sorted(users))], **values)


def text_for_nobody(template: str, domain: str, **values: object) -> str:
    """The same where it is not known which copy uses it."""
    return render(template, domain=domain, used_by=[], **values)


def text_without_this_copy(file: Path) -> str:
    return body(file).replace(f"{copies.used_by_line(copies.this_copy())}\n", "")


def text_without_effect(file: Path) -> str:
    """With all of it a comment, so that it is still known whose it is."""
    return "".join(line if line.startswith("#") else f"# {line}" for line in body(file).splitlines(keepends=True))


def body(file: Path) -> str:
    """The text below the line that `system_files.seal` adds."""
    return file.read_text(encoding="utf-8").partition("\n")[2]


def install_all(shell: Shell, texts: Mapping[Path, str], why: str) -> bool:
    """Bring these texts to their files as root, in this order; False when all are there already.

    Folders come first and once, also in a rehearsal, in which none of them is there afterwards.
    """
    system_files.refuse_foreign(*texts)
    wanted = {file: text for file, text in texts.items() if not system_files.holds(file, text)}
    missing = [folder for folder in dict.fromkeys(file.parent for file in wanted) if not folder.is_dir()]
    for folder in missing:
        if not any(other != folder and other.is_relative_to(folder) for other in missing):
            shell.sudo("mkdir", "-p", "-m", "0755", str(folder), why=why)
    for file, text in wanted.items():
        # Not cp: sudo keeps a umask of 077, and then the next run could not read what is there.
        shell.sudo("install", "-m", "0644", str(system_files.stage(shell, file, text)), str(file), why=why)
    return bool(wanted)


def remove_folder_if_empty(
    shell: Shell, folder: Path, removed: Iterable[Path], why: str = "leave no empty folder"
) -> None:
    """Remove a folder that holds nothing but these files, which are gone, or in a rehearsal would be."""
    if folder.is_dir() and {*folder.iterdir()} <= {*removed}:
        shell.sudo("rmdir", str(folder), why=why)


def describe(files: Iterable[DomainFile]) -> list[str]:
    """A line for each domain that is another copy's."""
    return list(dict.fromkeys(f"{', '.join(file.domains)}: {file.users}" for file in files))


def outcome(files: Sorted) -> str:
    """What leaving has come to, for the line of the step."""
    if files.is_last:
        return "removed, names are asked for as before"
    gone = ", ".join(dict.fromkeys(domain for file in files.removed for domain in file.domains))
    stays = "; ".join(describe(files.released))
    return "; ".join([*([f"{gone} removed"] if gone else []), *([f"{stays} still needs it"] if stays else []),
                      *(["names of other copies stay"] if files.kept else [])])
