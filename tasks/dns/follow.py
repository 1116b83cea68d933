"""The names in the hosts file follow the clusters: after a task that changed them, and during `inv dns --watch`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from invoke import Exit

from tasks import providers
from tasks.core.progress import say
from tasks.core.settings import Settings
from tasks.core.shell import Shell
from tasks.core.sudo import with_sudo_plan
from tasks.dns import hosts_file, windows_hosts
from tasks.engine.clusters import own_clusters
from tasks.probe.host_names import INGRESSES, OPTIONAL_KINDS

REOPEN_SECONDS = 60
"""How long to watch the same clusters; there may be new ones, or new kinds in them."""


def update_names(shell: Shell, settings: Settings) -> None:
    """Write the names again if they are in a hosts file. A failure is printed: the clusters work without them."""
    if shell.root_refused:
        return  # an administrator was asked to write them
    try:
        if hosts_file.is_outdated(shell, settings):
            with_sudo_plan(shell, lambda shell: hosts_file.install(shell, settings))
        if windows_hosts.is_outdated(shell, settings):
            windows_hosts.install(shell, settings)
    except Exit as error:
        say(str(error.message))


def list_written(shell: Shell) -> Iterator[tuple[str | Path, list[str]]]:
    """The hosts files that have a block of this copy, and the names in it."""
    if block := hosts_file.own_block(hosts_file.hosts_file()):
        yield block.path, [*block.names]
    windows = windows_hosts.find_file(shell)
    if windows and (windows_block := windows_hosts.own_block(shell, windows)):
        yield windows, hosts_file.names_in(windows_block)


def watch(shell: Shell, settings: Settings) -> None:
    """Update the names after each change of an Ingress, until Ctrl-C."""
    if not any(list_written(shell)):
        raise Exit("The names of this copy are not in a hosts file, so they need not be updated. "
                   "To see what resolves them: inv status")
    say("Watching the Ingresses, IngressRoutes and HTTPRoutes of the running clusters. Ctrl-C ends this.")
    with suppress(KeyboardInterrupt):
        while True:
            with watching(shell, settings) as has_changed:  # before the names are read, so that no change is missed
                update_names(shell, settings)
                deadline = time.monotonic() + REOPEN_SECONDS
                while not has_changed() and time.monotonic() < deadline:
                    shell.pause(0.5)


@contextmanager
def watching(shell: Shell, settings: Settings) -> Iterator[Callable[[], bool]]:
    """Follow the kinds with host names. Gives a function that returns whether one of them was changed."""
    found = providers.list_clusters(shell, settings)
    running = [cluster for cluster in own_clusters(settings, found) if found[cluster.name].running]
    with ExitStack() as open_watches:
        outputs = [open_watches.enter_context(shell.background(
            *cluster.kubectl, "get", kind, "-A", "--watch-only", "-o", "name"))
            for cluster in running for kind in (INGRESSES, *OPTIONAL_KINDS)]

        def has_changed() -> bool:
            return any(map(read, outputs))

        yield has_changed


def read(output: Callable[[], str]) -> str:
    """What a watch has printed. One that ended, perhaps because its kind does not exist, is opened again later."""
    try:
        return output()
    except OSError:
        return ""
