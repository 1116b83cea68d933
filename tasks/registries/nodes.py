"""The mirrors in nodes that exist already, such as those of clusters that were created before the caches.

containerd reads `<folder>/<registry>/hosts.toml` at each pull, so nothing is restarted. A registry for which a node has
a file that these tasks did not write is left alone: it is the user's mirror.
"""

from __future__ import annotations

import shutil

from tasks.core.settings import Settings
from tasks.core.shell import Shell
from tasks.core.templates import render
from tasks.core.well_known import MARKER
from tasks.core.work_files import work_file, write_file
from tasks.registries.containers import Registry
from tasks.registries.mirrors import list_registries

FILE = "hosts.toml"

EVERY_REGISTRY = "_default"
"""The folder of the mirrors for every registry that has no folder of its own."""


def configure(shell: Shell, settings: Settings, where: str, nodes: list[str], folder: str) -> None:
    """Give these nodes the mirrors that they lack. `folder`: where their containerd reads them."""
    registries = list_registries(settings)
    if not registries:
        return
    with shell.step(where, "registries of the nodes") as this:
        this.outcome = "already known"
        for node in nodes:
            if missing := find_missing(shell, registries, node, folder):
                copy(shell, missing, node, folder)
                this.outcome = f"added {', '.join(registry.host for registry in missing)}"


def find_missing(shell: Shell, registries: list[Registry], node: str, folder: str) -> list[Registry]:
    """The registries that this node does not ask first, although no mirror of the user stands against it."""
    files = read_files(shell, node, folder)
    return [registry for registry in registries
            if registry.endpoint not in files.get(registry.host, "")
            and (registry.host not in files or MARKER in files[registry.host])
            and not (registry.upstream and registry.host not in files and EVERY_REGISTRY in files)]


def read_files(shell: Shell, node: str, folder: str) -> dict[str, str]:
    """The text of each registry's file."""
    files: dict[str, str] = {}
    for line in shell.look("docker", "exec", node, "grep", "-rH", "", folder).stdout.splitlines():
        path, found, text = line.removeprefix(f"{folder}/").partition(f"/{FILE}:")
        if found and line.startswith(folder):
            files[path] = f"{files.get(path, '')}{text}\n"
    return files


def copy(shell: Shell, registries: list[Registry], node: str, folder: str) -> None:
    staged = work_file(f"{node}/certs.d")
    if not shell.dry:
        shutil.rmtree(staged, ignore_errors=True)
    for registry in registries:
        write_file(shell, staged / registry.host / FILE, render("registries/hosts.toml", registry=registry))
    shell.change("docker", "cp", f"{staged}/.", f"{node}:{folder}")
