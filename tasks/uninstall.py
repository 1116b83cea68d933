"""Undo what these tasks have done to this machine. What is ours is found where it lies: there is no list of it."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from invoke import Context, Exit, task

from tasks import dns, trust
from tasks.ca.constraints import has_our_form
from tasks.ca.load import load_known_roots, read_certificate
from tasks.ca.root import RootFiles
from tasks.cluster import lifecycle
from tasks.core import locks, setting_types, system_files
from tasks.core import settings as configuration
from tasks.core.invoke_patches import PlainTask
from tasks.core.progress import confirm, say
from tasks.core.settings import Cluster, Settings
from tasks.core.shell import Shell
from tasks.core.sudo import PRINT_SUDO, with_sudo_plan
from tasks.engine import network
from tasks.engine.clusters import list_clusters


@dataclass(frozen=True)
class Undo:
    """One thing of ours: what it is, and how it goes."""

    what: str
    go: Callable[[Shell], object]
    left: str = ""
    """Why it is left as it is instead."""
    last: bool = False
    """Goes only when all before it has gone, which is found by it."""


@task(klass=PlainTask, help={
    **PRINT_SUDO,
    "yes": "do not ask",
    "keep-ca": "leave the certificate authority's files",
    "keep-clusters": "leave the clusters, their network and their kubeconfig entries",
})
def uninstall(context: Context, yes: bool = False, keep_ca: bool = False, keep_clusters: bool = False,
              print_sudo: bool = False) -> None:
    """Undo everything these tasks changed on this machine

    Shows what that is, asks, and says what is left.
    """
    settings = configuration.load()
    shell = Shell(context, settings.environment)
    found = [] if keep_clusters else [*clusters(shell, settings)]
    plan = [*found, *names(shell), *roots(shell, settings), *([] if keep_ca else authority(settings)),
            *own_folders(needed=any(item.left for item in found))]
    undo, left = [item for item in plan if not item.left], [item for item in plan if item.left]
    if not print_sudo:
        show(undo, left)
    if undo and not (yes or shell.dry or print_sudo):
        ask()
    failures = [f"{item.what}: {item.left}" for item in left]
    held = any(item.left and not item.last for item in plan)
    failures += with_sudo_plan(shell, lambda shell: carry_out(shell, undo, held), print_sudo) or []
    if failures:
        raise Exit("Left on this machine:\n" + "\n".join(f"  {failure}" for failure in failures))


def show(undo: list[Undo], left: list[Undo]) -> None:
    if not undo and not left:
        say("There is nothing of these tasks on this machine.")
    if undo:
        say("This goes:\n" + "\n".join(f"  {item.what}" for item in undo))
    if left:
        say("This stays:\n" + "\n".join(f"  {item.what}: {item.left}" for item in left))


def ask() -> None:
    if not sys.stdin.isatty():
        raise Exit("Nothing was changed. Without a terminal to ask on, say --yes.")
    if not confirm("Go on? [y/N] ", otherwise=False):
        raise Exit("Nothing was changed.")


def carry_out(shell: Shell, undo: list[Undo], held: bool) -> list[str]:
    """Undo all of it, past what fails; gives what is left, and why. `held`: something before the last stays anyway."""
    failures: list[str] = []
    for item in undo:
        if (failures or held) and item.last:
            failures.append(f"{item.what}: by it the rest is found")
            continue
        try:
            item.go(shell)
        except Exit as error:
            failures.append(f"{item.what}: {error.message}")
    if not (shell.dry or failures or held):
        shutil.rmtree(setting_types.PROJECT / ".work", ignore_errors=True)
        locks.remove_leftovers()
    return failures


# --- what is ours, kind by kind ---------------------------------------------------------------------------------------


def clusters(shell: Shell, settings: Settings) -> Iterator[Undo]:
    """Those whose names begin with this folder's prefix, their entries in the kubeconfig, and then the network."""
    if not shell.find("docker"):
        return
    if not shell.find("k3d"):
        nodes = shell.look("docker", "ps", "--all", "--filter", "label=app=k3d", "--format", '{{.Label "k3d.cluster"}}')
        for name in sorted({name for name in nodes.stdout.split() if is_ours(settings, name)}):
            yield Undo(f"cluster {name}", nothing, "k3d, which deletes it, is not installed: inv tools --install")
        return
    try:
        there = list_clusters(shell)
    except Exit as error:
        yield Undo("clusters", nothing, f"they cannot be seen ({error.message})")
        return
    ours = {name for name in (*there, *contexts(shell, settings)) if is_ours(settings, name)}
    for number in sorted(int(name.removeprefix(settings.k3d_cluster_name_prefix)) for name in ours):
        cluster = Cluster(settings, number)
        what = f"cluster {cluster.name}" if cluster.name in there else f"kubeconfig entry {cluster.context}"
        yield Undo(what, partial(lifecycle.delete, cluster=cluster))
    others = [found for name, found in there.items() if not is_ours(settings, name)]
    if network.is_managed(shell, settings) and not any(settings.k3d_network in found.networks for found in others):
        yield Undo(f"Docker network {settings.k3d_network}", partial(network.remove, settings=settings))


def is_ours(settings: Settings, name: str) -> bool:
    return re.fullmatch(rf"{re.escape(settings.k3d_cluster_name_prefix)}(0|[1-9]\d*)", name) is not None


def contexts(shell: Shell, settings: Settings) -> list[str]:
    """The clusters that have an entry in a kubeconfig of ours."""
    folder = settings.k3d_kubeconfig_target_dir
    files = sorted(folder.iterdir()) if folder and folder.is_dir() else [settings.kubeconfig_file]
    return [name.removeprefix("k3d-") for file in files if file.is_file() for name in shell.look(
        "kubectl", "--kubeconfig", str(file), "config", "get-contexts", "-o", "name").stdout.split()
        if name.startswith("k3d-")]


def names(shell: Shell) -> Iterator[Undo]:
    for way, method in dns.METHODS.items():
        files = method.found(shell)
        if files:
            yield Undo(f"names: {way} ({', '.join(map(str, files))})", method.remove, why_left(*files))


def roots(shell: Shell, settings: Settings) -> Iterator[Undo]:
    at_hand = load_known_roots(settings)
    for store, place in trust.list_places(shell, list(trust.KINDS)):
        for entry in store.found(shell, place, at_hand):
            remove = partial(trust.remove_from, store=store, place=place, entry=entry)
            yield Undo(f"trust: {entry}" + ("" if place in entry else f" in {place}"), remove, why_left(Path(entry)))


def why_left(*files: Path) -> str:
    changed = [file for file in files if system_files.state(file) == "changed"]
    return "".join(f"somebody has changed {file} since. Look at it, remove it, and run this again:\n"
                   + "".join(f"    | {line}\n" for line in file.read_text(errors="replace").splitlines()[:20])
                   for file in changed)


def authority(settings: Settings) -> Iterator[Undo]:
    for files in (RootFiles.of(settings, retiring=True), RootFiles.of(settings)):
        rest = [] if files.retiring else [files.unfinished]
        ours = [file for file in (files.key, files.request, files.certificate, *rest) if file.exists()]
        if ours and is_of_others(files):
            yield Undo(", ".join(map(str, ours)), nothing,
                       "these tasks make no such root, so it may be someone's: remove it yourself", last=True)
        elif ours:
            yield Undo(f"certificate authority, with its key: {', '.join(map(str, ours))}",
                       partial(delete_authority, files=files, ours=ours), last=True)
    for key in sorted(settings.cert_folder.glob("*-ca.key")):
        if key != RootFiles.of(settings).key:
            yield Undo(str(key), nothing, "it is of another TLD than this folder's", last=True)


def is_of_others(files: RootFiles) -> bool:
    """Whether the root is made other than these tasks do it, or nothing tells that they did."""
    if not files.certificate.exists():
        return not files.unfinished.is_dir()  # as a run leaves it that was broken off
    try:
        return not has_our_form(read_certificate(files.certificate))
    except (OSError, ValueError):
        return True


def delete_authority(shell: Shell, files: RootFiles, ours: list[Path]) -> None:
    with shell.step("", "certificate authority") as this:
        for file in ours:
            shell.note(f"remove {file}")
            if not shell.dry:
                shutil.rmtree(file) if file == files.unfinished else file.unlink()
        if not (shell.dry or files.folder.is_symlink() or any(files.folder.iterdir())):
            files.folder.rmdir()
        this.outcome = "removed"


def own_folders(needed: bool) -> Iterator[Undo]:
    """`needed`: there may be clusters left, which are found with the programs in .tools."""
    work, tools = setting_types.PROJECT / ".work", setting_types.PROJECT / ".tools"
    if work.exists():
        yield Undo(str(work), partial(delete_folder, folder=work), last=True)
    if tools.exists():
        yield Undo(str(tools), partial(delete_folder, folder=tools),
                   left="by its programs the clusters are found" if needed else "", last=True)


def delete_folder(shell: Shell, folder: Path) -> None:
    with shell.step("", str(folder)) as this:
        shell.note(f"remove {folder}")
        if not shell.dry:
            shutil.rmtree(folder)
        this.outcome = "removed"


def nothing(shell: Shell) -> None:
    """For what is left as it is."""
