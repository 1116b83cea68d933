"""Remove what these tasks changed on this machine.

Files and roots are found by their markers, clusters by their names and ports; no list of them is kept.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from invoke import Context, Exit, task

from tasks import dns, front_door, providers, registries, trust
from tasks.ca.constraints import has_our_form
from tasks.ca.load import read_certificate
from tasks.ca.root import RootFiles
from tasks.cluster import lifecycle
from tasks.core import locks, setting_types, system_files
from tasks.core import settings as configuration
from tasks.core.by_number import MAKERS
from tasks.core.invoke_patches import PlainTask
from tasks.core.progress import confirm, say
from tasks.core.settings import Cluster, Settings
from tasks.core.shell import Shell
from tasks.core.sudo import PRINT_SUDO, with_sudo_plan
from tasks.core.well_known import DOCKER_GROUP
from tasks.dns import windows_hosts
from tasks.dns.domain_files import Leaving, describe
from tasks.engine import network
from tasks.engine.clusters import ExistingCluster
from tasks.front_door import container
from tasks.providers import other_makers
from tasks.registries import containers
from tasks.tools import packages


@dataclass(frozen=True)
class Removal:
    """One thing that these tasks created, and how to remove it."""

    what: str
    run: Callable[[Shell], object]
    why_kept: str = ""
    """Why it is kept instead; empty if it is removed."""
    last: bool = False
    """Removed only if everything before it was removed, because it is needed to find the rest."""
    foreign: bool = False
    """Belongs to another copy: shown, but not removed."""


@task(klass=PlainTask, help={
    **PRINT_SUDO,
    "yes": "do not ask",
    "keep-ca": "keep the files of the certificate authority",
    "tools": "also the packages that inv up installed, such as Docker's engine",
    "keep-clusters": "keep the clusters, their network, front door, registries and kubeconfig entries",
    "all-copies": "also names and roots that other copies of this folder use; never their clusters or CA files",
})
def uninstall(context: Context, yes: bool = False, keep_ca: bool = False, keep_clusters: bool = False,
              print_sudo: bool = False, all_copies: bool = False, tools: bool = False) -> None:
    """Undo everything these tasks changed on this machine

    Shows what that is, and asks. What other copies of this folder created is kept, and listed.
    """
    settings = configuration.load()
    shell = Shell(context, settings.environment)
    clusters = [] if keep_clusters else [*find_clusters(shell, settings)]
    every = [*clusters, *find_names(shell, settings, all_copies), *find_roots(shell, settings, all_copies),
             *([] if keep_ca else find_authority(settings)),
             *find_packages(tools), *find_folders(needed=any(item.why_kept for item in clusters))]
    plan = [item for item in every if not item.foreign]
    removals, kept = [item for item in plan if not item.why_kept], [item for item in plan if item.why_kept]
    if not print_sudo:
        show_plan(removals, kept, [item for item in every if item.foreign], all_copies)
    if removals and not (yes or shell.dry or print_sudo):
        ask_to_continue()
    failures = [f"{item.what}: {item.why_kept}" for item in kept]
    incomplete = any(not item.last for item in kept)
    failures += with_sudo_plan(shell, lambda shell: run_removals(shell, removals, incomplete), print_sudo) or []
    if failures:
        raise Exit("Left on this machine:\n" + "\n".join(f"  {failure}" for failure in failures))


def show_plan(removals: list[Removal], kept: list[Removal], foreign: list[Removal], all_copies: bool) -> None:
    if not removals and not kept:
        say("Nothing that this copy of the tasks created is on this machine." if foreign else
            "Nothing that these tasks created is on this machine.")
    if removals:
        say("This will be removed:\n" + "\n".join(f"  {item.what}" for item in removals))
    if kept:
        say("This will be kept:\n" + "\n".join(f"  {item.what}: {item.why_kept}" for item in kept))
    if foreign:
        say("This belongs to another copy, or was left behind by one, and will be kept:\n" + "\n".join(
            f"  {item.what}" + (f": {item.why_kept}" if item.why_kept else "") for item in foreign))
    if any(not item.why_kept for item in foreign) and not all_copies:
        say("To remove the names and roots of other copies too: inv uninstall --all-copies")


def ask_to_continue() -> None:
    if not sys.stdin.isatty():
        raise Exit("Nothing was changed. Without a terminal, confirm with --yes.")
    if not confirm("Continue? [y/N] ", otherwise=False):
        raise Exit("Nothing was changed.")


def run_removals(shell: Shell, removals: list[Removal], incomplete: bool) -> list[str]:
    """Remove everything, and continue after a failure. Return what is left, and why.

    `incomplete`: something that is needed to find the rest must be kept anyway.
    """
    failures: list[str] = []
    for item in removals:
        if (failures or incomplete) and item.last:
            failures.append(f"{item.what}: needed to find the rest")
            continue
        try:
            item.run(shell)
        except Exit as error:
            failures.append(f"{item.what}: {error.message}")
    if not (shell.dry or failures or incomplete):
        shutil.rmtree(setting_types.PROJECT / ".work", ignore_errors=True)
        locks.remove_leftovers()
    return failures


# --- what these tasks created -----------------------------------------------------------------------------------------


def find_clusters(shell: Shell, settings: Settings) -> Iterator[Removal]:
    """The front door, the clusters with the prefix of these settings, their kubeconfig entries, and the network."""
    if not shell.find("docker"):
        return
    yield from find_front_door(shell, settings)
    if missing := [tool for tool in providers.needed_tools(settings) if not shell.find(tool)]:
        for name in find_names_by_label(shell, settings):
            yield Removal(f"cluster {name}", do_nothing,
                          f"{' and '.join(missing)} is needed to delete it, and not installed: inv tools --install")
        return
    try:
        existing = providers.list_clusters(shell, settings)
    except Exit as error:
        yield Removal("clusters", do_nothing, f"cannot be listed ({error.message})")
        return
    ours = {name for name in (*existing, *list_contexts(shell, settings)) if is_ours(settings, name)}
    kept = set()
    for number in sorted(number_of(settings, name) for name in ours):
        cluster = Cluster(settings, number)
        if cluster.name in existing and has_other_ports(settings, number, existing[cluster.name]):
            yield Removal(f"cluster {cluster.name}", do_nothing,
                       f"its ports differ from these settings, so another copy may have created it. If it is "
                       f"yours: inv k3d-cluster-delete --n {number}", foreign=True)
            kept.add(cluster.name)
            continue
        what = f"cluster {cluster.name}" if cluster.name in existing else f"kubeconfig entry {cluster.context}"
        if not providers.of(cluster).MANAGES_LIFE:
            what = f"what these tasks installed in {cluster.context}; the cluster stays"
            if not existing[cluster.name].running:
                yield Removal(what, do_nothing, f"{cluster.context} does not answer")
                continue
        yield Removal(what, partial(lifecycle.delete, cluster=cluster))
    for sentence in other_makers.find_all(shell, settings):
        yield Removal("cluster", do_nothing, sentence)
    others = [found for name, found in existing.items() if not is_ours(settings, name) or name in kept]
    is_last = not any(settings.k3d_network in found.networks for found in others)
    yield from find_registries(shell, settings, is_last)
    if network.is_managed(shell, settings) and is_last:
        yield Removal(f"Docker network {settings.k3d_network}", partial(network.remove, settings=settings))


def find_registries(shell: Shell, settings: Settings, is_last: bool) -> Iterator[Removal]:
    """The registries, and what they keep unless other clusters or copies on this network use it."""
    existing, volumes = [*containers.find(shell, settings)], containers.find_volumes(shell, settings)
    names, others = ", ".join(sorted({*existing, *volumes})), registries.list_others(settings)
    if not names:
        return
    if is_last and not others:
        yield Removal(f"registries, with their images: {names}", partial(registries.delete, settings=settings))
        return
    users = ", ".join(f"the copy in {copy}" for copy in others) or f"other clusters on {settings.k3d_network}"
    yield Removal(f"images of the registries {names}", do_nothing, f"still used by {users}", foreign=True)
    if is_last and existing:
        yield Removal(f"containers of the registries {names}", partial(registries.leave_network, settings=settings))
    if registries.is_user(settings):
        yield Removal(f"this copy's use of the registries on {settings.k3d_network}",
                      partial(registries.remove_user, settings=settings))


def find_front_door(shell: Shell, settings: Settings) -> Iterator[Removal]:
    found = container.find(shell, settings)
    if found and found.of_this_copy:
        yield Removal(f"front door {found.name}", partial(front_door.remove, settings=settings))
    elif found and found.by_these_tasks:
        yield Removal(f"front door {found.name}, created by the copy in {found.copy}", do_nothing, foreign=True)


def find_names_by_label(shell: Shell, settings: Settings) -> list[str]:
    """The clusters with our names, by the containers of their nodes."""
    names = [name for maker in MAKERS if maker in settings.providers for name in other_makers.list_names(shell, maker)]
    return sorted({name for name in names if is_ours(settings, name)})


def has_other_ports(settings: Settings, number: int, found: ExistingCluster) -> bool:
    """Whether a cluster with one of our names has other ports. Perhaps a copy with the same prefix created it."""
    published = {*found.ports.get("80/tcp", ()), *found.ports.get("443/tcp", ())}
    return bool(published) and not published & {str(settings.port(number, scheme)) for scheme in ("http", "https")}


def is_ours(settings: Settings, name: str) -> bool:
    return re.fullmatch(rf"{re.escape(settings.k3d_cluster_name_prefix)}(0|[1-9]\d*)", name) is not None


def number_of(settings: Settings, name: str) -> int:
    return int(name.removeprefix(settings.k3d_cluster_name_prefix))


def list_contexts(shell: Shell, settings: Settings) -> list[str]:
    """The clusters with an entry in a kubeconfig of these settings."""
    folder = settings.k3d_kubeconfig_target_dir
    files = sorted(folder.iterdir()) if folder and folder.is_dir() else [settings.kubeconfig_file]
    contexts = [name for file in files if file.is_file() for name in shell.look(
        "kubectl", "--kubeconfig", str(file), "config", "get-contexts", "-o", "name").stdout.split()]
    names = [name for context in contexts if is_ours(settings, name := context.partition("-")[2])]
    return [name for name in names if Cluster(settings, number_of(settings, name)).context in contexts]


def find_names(shell: Shell, settings: Settings, all_copies: bool) -> Iterator[Removal]:
    leaving = Leaving(settings, all_copies)
    for name, method in dns.METHODS.items():
        files = leaving.sort(method.list_domain_files(shell))
        affected = method.list_files(shell) if files.is_last else files.changed
        if affected:
            yield Removal(f"names: {name} ({', '.join(map(str, affected))})", partial(method.remove, leaving=leaving),
                          describe_edits(*affected))
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


def find_authority(settings: Settings) -> Iterator[Removal]:
    for files in (RootFiles.of(settings, retiring=True), RootFiles.of(settings)):
        rest = [] if files.retiring else [files.unfinished]
        existing = [file for file in (files.key, files.request, files.certificate, *rest) if file.exists()]
        if existing and is_foreign(files):
            yield Removal(", ".join(map(str, existing)), do_nothing,
                       "not created by these tasks. Remove it yourself if nobody needs it", last=True)
        elif existing:
            yield Removal(f"certificate authority, with its key: {', '.join(map(str, existing))}",
                       partial(delete_authority, files=files, existing=existing), last=True)
    for key in sorted(settings.cert_folder.glob("*-ca.key")):
        if key != RootFiles.of(settings).key:
            yield Removal(str(key), do_nothing,
                          "the key of another TLD, which only the copy that uses it removes", foreign=True)


def is_foreign(files: RootFiles) -> bool:
    """Whether the root differs from those that these tasks create, or nothing shows that they created it."""
    if not files.certificate.exists():
        return not files.unfinished.is_dir()  # left by an interrupted run
    try:
        return not has_our_form(read_certificate(files.certificate))
    except (OSError, ValueError):
        return True


def delete_authority(shell: Shell, files: RootFiles, existing: list[Path]) -> None:
    with shell.step("", "certificate authority") as this:
        for file in existing:
            shell.note(f"remove {file}")
            if not shell.dry:
                shutil.rmtree(file) if file == files.unfinished else file.unlink()
        if not (shell.dry or files.folder.is_symlink() or any(files.folder.iterdir())):
            files.folder.rmdir()
        this.outcome = "removed"


def find_packages(wanted: bool) -> Iterator[Removal]:
    """Kept unless asked for, because other programs may use Docker by now."""
    record = packages.read_record()
    installed = [*record.packages, *([f"{record.user} in the group {DOCKER_GROUP}"] if record.user else [])]
    if installed:
        why_kept = "" if wanted else "other programs may use it. To remove it too: inv uninstall --tools"
        yield Removal(f"installed by inv up: {', '.join(installed)}", packages.remove, why_kept, last=True,
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


def do_nothing(shell: Shell) -> None:
    """For what is kept."""
