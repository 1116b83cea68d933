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
from tasks.ca.load import read_certificate
from tasks.ca.root import RootFiles
from tasks.cluster import lifecycle
from tasks.core import locks, setting_types, system_files
from tasks.core import settings as configuration
from tasks.core.invoke_patches import PlainTask
from tasks.core.progress import confirm, say
from tasks.core.settings import Cluster, Settings
from tasks.core.shell import Shell
from tasks.core.sudo import PRINT_SUDO, with_sudo_plan
from tasks.dns.domain_files import Leaving, describe
from tasks.engine import network
from tasks.engine.clusters import K3dCluster, list_clusters


@dataclass(frozen=True)
class Undo:
    """One thing of ours: what it is, and how it goes."""

    what: str
    go: Callable[[Shell], object]
    left: str = ""
    """Why it is left as it is instead."""
    last: bool = False
    """Goes only when all before it has gone, which is found by it."""
    of_others: bool = False
    """Is another copy's: shown, and not for this run to remove."""


@task(klass=PlainTask, help={
    **PRINT_SUDO,
    "yes": "do not ask",
    "keep-ca": "leave the certificate authority's files",
    "keep-clusters": "leave the clusters, their network and their kubeconfig entries",
    "all-copies": "also names and roots that other copies of this folder use; never their clusters or CA files",
})
def uninstall(context: Context, yes: bool = False, keep_ca: bool = False, keep_clusters: bool = False,
              print_sudo: bool = False, all_copies: bool = False) -> None:
    """Undo everything these tasks changed on this machine

    Shows what that is, asks, and says what is left. What other copies of this folder did stays, and is listed.
    """
    settings = configuration.load()
    shell = Shell(context, settings.environment)
    found = [] if keep_clusters else [*clusters(shell, settings)]
    every = [*found, *names(shell, settings, all_copies), *roots(shell, settings, all_copies),
             *([] if keep_ca else authority(settings)), *own_folders(needed=any(item.left for item in found))]
    plan = [item for item in every if not item.of_others]
    undo, left = [item for item in plan if not item.left], [item for item in plan if item.left]
    if not print_sudo:
        show(undo, left, [item for item in every if item.of_others], all_copies)
    if undo and not (yes or shell.dry or print_sudo):
        ask()
    failures = [f"{item.what}: {item.left}" for item in left]
    held = any(item.left and not item.last for item in plan)
    failures += with_sudo_plan(shell, lambda shell: carry_out(shell, undo, held), print_sudo) or []
    if failures:
        raise Exit("Left on this machine:\n" + "\n".join(f"  {failure}" for failure in failures))


def show(undo: list[Undo], left: list[Undo], others: list[Undo], all_copies: bool) -> None:
    if not undo and not left:
        say("There is nothing of this copy on this machine." if others else
            "There is nothing of these tasks on this machine.")
    if undo:
        say("This goes:\n" + "\n".join(f"  {item.what}" for item in undo))
    if left:
        say("This stays:\n" + "\n".join(f"  {item.what}: {item.left}" for item in left))
    if others:
        say("This is another copy's, or was left by one, and stays:\n" + "\n".join(
            f"  {item.what}" + (f": {item.left}" if item.left else "") for item in others))
    if any(not item.left for item in others) and not all_copies:
        say("To remove its names and roots too: inv uninstall --all-copies")


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
    kept = set()
    for number in sorted(int(name.removeprefix(settings.k3d_cluster_name_prefix)) for name in ours):
        cluster = Cluster(settings, number)
        if cluster.name in there and has_other_ports(settings, number, there[cluster.name]):
            yield Undo(f"cluster {cluster.name}", nothing,
                       f"it publishes other ports than these settings say, so another copy may have made it. If it is "
                       f"yours: inv k3d-cluster-delete --n {number}", of_others=True)
            kept.add(cluster.name)
            continue
        what = f"cluster {cluster.name}" if cluster.name in there else f"kubeconfig entry {cluster.context}"
        yield Undo(what, partial(lifecycle.delete, cluster=cluster))
    others = [found for name, found in there.items() if not is_ours(settings, name) or name in kept]
    if network.is_managed(shell, settings) and not any(settings.k3d_network in found.networks for found in others):
        yield Undo(f"Docker network {settings.k3d_network}", partial(network.remove, settings=settings))


def has_other_ports(settings: Settings, number: int, found: K3dCluster) -> bool:
    """Whether a cluster with one of our names was made with other settings: perhaps by a copy with the same prefix."""
    published = {*found.ports.get("80/tcp", ()), *found.ports.get("443/tcp", ())}
    return bool(published) and not published & {str(settings.port(number, scheme)) for scheme in ("http", "https")}


def is_ours(settings: Settings, name: str) -> bool:
    return re.fullmatch(rf"{re.escape(settings.k3d_cluster_name_prefix)}(0|[1-9]\d*)", name) is not None


def contexts(shell: Shell, settings: Settings) -> list[str]:
    """The clusters that have an entry in a kubeconfig of ours."""
    folder = settings.k3d_kubeconfig_target_dir
    files = sorted(folder.iterdir()) if folder and folder.is_dir() else [settings.kubeconfig_file]
    return [name.removeprefix("k3d-") for file in files if file.is_file() for name in shell.look(
        "kubectl", "--kubeconfig", str(file), "config", "get-contexts", "-o", "name").stdout.split()
        if name.startswith("k3d-")]


def names(shell: Shell, settings: Settings, all_copies: bool) -> Iterator[Undo]:
    leaving = Leaving(settings, all_copies)
    for way, method in dns.METHODS.items():
        files = leaving.sort(method.domains(shell))
        gone = method.found(shell) if files.is_last else files.changed
        if gone:
            yield Undo(f"names: {way} ({', '.join(map(str, gone))})", partial(method.remove, leaving=leaving),
                       why_left(*gone))
        for line in describe(files.kept):
            yield Undo(f"names: {way}, {line}", nothing, of_others=True)


def roots(shell: Shell, settings: Settings, all_copies: bool) -> Iterator[Undo]:
    for store, place in trust.list_places(shell, list(trust.KINDS)):
        own, others = trust.sort_entries(shell, settings, store, place)
        entries = [*own, *(others if all_copies else [])]
        kept = [entry for entry in entries if why_left(Path(entry))]
        gone = [entry for entry in entries if entry not in kept]
        if gone:
            yield Undo(f"trust: {', '.join(trust.in_place(place, entry) for entry in gone)}",
                       partial(trust.remove_from, store=store, place=place, of_place=gone))
        for entry in kept:
            yield Undo(f"trust: {trust.in_place(place, entry)}", nothing, why_left(Path(entry)))
        for entry in [] if all_copies else others:
            yield Undo(f"trust: {trust.describe_entry(shell, store, place, entry)}", nothing, of_others=True)


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
            yield Undo(str(key), nothing, "the key of another TLD, which only its own copy removes", of_others=True)


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
