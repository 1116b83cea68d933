"""What these tasks changed on this machine outside of clusters: names, trust, packages, folders."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tasks import dns, trust
from tasks.core import setting_types, system_files
from tasks.core.settings import Settings
from tasks.core.shell import Shell
from tasks.core.well_known import DOCKER_GROUP
from tasks.dns import windows_hosts
from tasks.dns.domain_files import Leaving, describe
from tasks.tools import colima, packages
from tasks.uninstall.removal import Removal, do_nothing


def find_names(shell: Shell, settings: Settings, all_copies: bool) -> Iterator[Removal]:
    leaving = Leaving(settings, all_copies)
    for name, method in dns.METHODS.items():
        files = leaving.sort(method.list_domain_files(shell))
        affected = method.list_files(shell) if files.is_last else files.changed
        if affected:
            yield Removal(f"names: {name} ({', '.join(map(str, affected))})",
                          partial(dns.remove_method, leaving=leaving, method=method), describe_edits(*affected))
        for line in describe(files.kept):
            yield Removal(f"names: {name}, {line}", do_nothing, foreign=True)
    windows = windows_hosts.find_file(shell)
    if windows and windows_hosts.own_block(shell, windows):
        yield Removal(f"names: Windows' hosts file ({windows})", windows_hosts.remove)


def find_roots(shell: Shell, settings: Settings, all_copies: bool) -> Iterator[Removal]:
    for store, place in trust.list_places(shell, list(trust.KINDS)):
        own, foreign = trust.sort_entries(shell, settings, store, place)
        entries = [*own, *(foreign if all_copies else [])]
        kept = [entry for entry in entries if describe_edits(Path(entry))]
        removed = [entry for entry in entries if entry not in kept]
        if removed:
            yield Removal(f"trust: {', '.join(trust.name_entry(place, entry) for entry in removed)}",
                          partial(trust.remove_from, store=store, place=place, names=removed))
        for entry in kept:
            yield Removal(f"trust: {trust.name_entry(place, entry)}", do_nothing, describe_edits(Path(entry)))
        for entry in [] if all_copies else foreign:
            yield Removal(f"trust: {trust.describe_entry(shell, store, place, entry)}", do_nothing, foreign=True)


def describe_edits(*files: Path) -> str:
    changed = [file for file in files if system_files.state(file) == "changed"]
    return "".join(f"{file} was changed after these tasks created it. Check it, remove it, then run this task again:\n"
                   + "".join(f"    | {line}\n" for line in file.read_text(errors="replace").splitlines()[:20])
                   for file in changed)


def find_packages(shell: Shell, wanted: bool) -> Iterator[Removal]:
    """Kept unless asked for, because other programs may use Docker by now."""
    record = packages.read_record(packages.record_file())
    member = [f"{record.user} in the group {DOCKER_GROUP}"] if record.user else []
    why_kept = "" if wanted else "other programs may use it. To remove it too: inv uninstall --tools"
    for installed, remove in (([*record.packages, *member], packages.remove),
                              (colima.list_installed(shell), colima.remove)):
        if installed:
            yield Removal(f"installed by inv up: {', '.join(installed)}", remove, why_kept, last=True,
                          foreign=not wanted)


def find_folders(needed: bool) -> Iterator[Removal]:
    """`needed`: clusters may be left, and the programs in .tools are needed to find them."""
    work, tools = setting_types.PROJECT / ".work", setting_types.PROJECT / ".tools"
    if work.exists():
        yield Removal(str(work), partial(delete_folder, folder=work), last=True)
    if tools.exists():
        yield Removal(str(tools), partial(delete_folder, folder=tools),
                      why_kept="its programs are needed to find the clusters" if needed else "", last=True)


def delete_folder(shell: Shell, folder: Path) -> None:
    with shell.step("", str(folder)) as this:
        shell.note(f"remove {folder}")
        if not shell.dry:
            shutil.rmtree(folder)
        this.outcome = "removed"
