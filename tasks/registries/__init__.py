"""Registries on this machine: a cache of each upstream, and one to push to, for all clusters on a network.

docs/images.md explains them. Everything here is an addition: without it, nodes pull from the registries themselves, so
what does not work is only reported.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from invoke import Exit

from tasks.core import copies, locks
from tasks.core.problems import Problem, describe
from tasks.core.progress import Step
from tasks.core.settings import Settings
from tasks.core.shell import Shell
from tasks.registries import containers, contents, mirrors
from tasks.registries.containers import Registry, RegistryReason

SECONDS = 20
"""A registry answers a second after its start."""


def ensure(shell: Shell, settings: Settings) -> None:
    """Create the registries that are missing or changed. The network exists."""
    registries = mirrors.list_registries(settings)
    if not registries:
        return
    with change(shell, settings) as this:
        add_user(shell, settings)
        existing, faults = containers.find(shell, settings), [*containers.find_faults(shell, registries)]
        containers.remove(shell, [registry.name for registry, _ in faults if registry.name in existing])
        failures = shell.side_by_side([partial(start, shell, *fault) for fault in faults])
        created = [registry.host for (registry, _), failed in zip(faults, failures, strict=True) if not failed]
        this.outcome = f"created {', '.join(created)}" if created else "already running"
        if conflicts := mirrors.list_conflicts(settings):
            this.outcome += f"; none for {', '.join(conflicts)}, which K3D_REGISTRY_CONFIG has a mirror for"
        if any(failures):
            this.warn("\n".join([f"{', '.join(created) or 'none'} created. Clusters work without these:",
                                 *(f"    {failed}" for failed in failures if failed)]))


@contextmanager
def change(shell: Shell, settings: Settings) -> Iterator[Step]:
    """A step that changes them, one at a time for all copies of these tasks."""
    with (shell.one_at_a_time("registries", settings.k3d_network),
          shell.step("", f"registries on {settings.k3d_network}") as this):
        yield this


def start(shell: Shell, registry: Registry, why: Problem) -> str:
    """Create it, and wait until it answers. Returns why it does not."""
    if why.reason is RegistryReason.PORT_TAKEN:
        return f"{describe(why)}. Set another LOCAL_REGISTRY_PORT in .env."
    try:
        containers.create(shell, registry)
        shell.until(f"the registry {registry.host} to answer", SECONDS,
                    lambda: not [*containers.find_faults(shell, [registry])], hint="To find out why: inv doctor")
    except Exit as error:
        return f"{registry.host}: {error.message}"
    return ""


def complete(shell: Shell, settings: Settings) -> None:
    """Have the caches fetch what is missing from the images in them, so that clusters can be created offline."""
    caches = [registry for registry in mirrors.list_registries(settings) if registry.upstream]
    existing = containers.find(shell, settings)
    running = [existing[cache.name] for cache in caches if cache.name in existing]
    used = [container for container in running if contents.read(shell, container).manifests]
    if not used or shell.dry:
        return
    with shell.one_at_a_time("registries", settings.k3d_network), shell.step("", "images for work offline") as this:
        results = shell.side_by_side([partial(contents.complete, shell, container) for container in used])
        images = sum(result.images for result in results)
        this.outcome = f"{images} kept by the caches, {contents.format_size(sum(result.bytes for result in results))}"
        if errors := [result.error for result in results if result.error]:
            this.warn("\n".join([f"{this.outcome}; incomplete:", *(f"    {error}" for error in errors)]))


def leave_network(shell: Shell, settings: Settings) -> None:
    """Remove the containers after the last cluster, so that the network can be removed. What they keep stays."""
    if existing := [*containers.find(shell, settings)]:
        with change(shell, settings) as this:
            containers.remove(shell, existing)
            this.outcome = "stopped with the last cluster; their images are kept"


def empty(shell: Shell, settings: Settings) -> None:
    """Delete what the caches keep, and start them again. Pushed images stay."""
    with change(shell, settings) as this:
        existing, volumes = containers.find(shell, settings), containers.find_volumes(shell, settings)
        caches = [name for name in volumes if name != containers.local_name(settings)]
        containers.remove(shell, [name for name in existing if name in caches])
        containers.remove_volumes(shell, caches)
        this.outcome = "caches emptied" if caches else "there is no cache"
    if existing:
        ensure(shell, settings)


def delete(shell: Shell, settings: Settings) -> None:
    """Remove the containers and everything they keep."""
    with change(shell, settings) as this:
        containers.remove(shell, [*containers.find(shell, settings)])
        containers.remove_volumes(shell, containers.find_volumes(shell, settings))
        if not shell.dry:
            users_file(settings).unlink(missing_ok=True)
        this.outcome = "deleted, with their images"


# --- copies of these tasks that share them ----------------------------------------------------------------------------


def users_file(settings: Settings) -> Path:
    return locks.folder() / f"registries-{settings.k3d_network}"


def list_users(settings: Settings) -> list[Path]:
    return [copy for copy in copies.read_users(users_file(settings)) if copies.exists(copy)]


def add_user(shell: Shell, settings: Settings) -> None:
    write_users(shell, settings, [*dict.fromkeys([*list_users(settings), copies.this_copy()])])


def remove_user(shell: Shell, settings: Settings) -> None:
    """This copy no longer uses them."""
    with change(shell, settings) as this:
        write_users(shell, settings, list_others(settings))
        this.outcome = "kept for the other copies of these tasks"


def is_user(settings: Settings) -> bool:
    return copies.this_copy() in list_users(settings)


def list_others(settings: Settings) -> list[Path]:
    return [copy for copy in list_users(settings) if copy != copies.this_copy()]


def write_users(shell: Shell, settings: Settings, users: list[Path]) -> None:
    if users != list_users(settings) and not shell.dry:
        users_file(settings).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        users_file(settings).write_text("".join(f"{copies.used_by_line(copy)}\n" for copy in users), encoding="utf-8")
