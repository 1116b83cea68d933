"""Trust stores of this machine: which exist, and the tasks. A module for each kind, with the verbs of `Store`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

from invoke import Context, Exit, task

from tasks.ca.load import load_known_roots, load_retiring, load_root, load_roots_to_trust
from tasks.ca.probe_leaves import Leaf, ProbeLeaves, issue_probe_leaves
from tasks.ca.root import RootCA, RootFiles
from tasks.core import settings as configuration
from tasks.core.invoke_patches import PlainTask
from tasks.core.settings import Settings
from tasks.core.shell import Shell
from tasks.core.sudo import PRINT_SUDO, with_sudo_plan
from tasks.core.table import Row, show
from tasks.trust import java, linux_system, macos_keychain, nss, windows


class Store(Protocol):
    """A kind of trust store. A `place` is one of that kind: a keychain, a folder, a database, a file."""

    ENFORCES_CONSTRAINTS: bool
    """Whether those who read it refuse what is outside of a root's own name constraint."""

    def places(self, shell: Shell) -> list[str]:
        """Those on this machine; none on a system that knows no such kind."""

    def missing(self, shell: Shell, certificate: Path) -> str:
        """What is missing here to write to it, and what to do instead; empty when all is there."""

    def accepts(self, shell: Shell, place: str, leaf: Leaf) -> bool:
        """Whether a program that reads this place accepts the leaf for its name: a look."""

    def install(self, shell: Shell, place: str, root: RootCA) -> None:
        """Have it trust the root. Exit when that failed."""

    def found(self, shell: Shell, place: str, roots: list[RootCA]) -> list[str]:
        """The entries in it that these tasks made, for whichever root; `roots` are those that are at hand."""

    def entry(self, shell: Shell, place: str, root: RootCA) -> str:
        """The one of those that holds this very root; empty when there is none."""

    def remove(self, shell: Shell, place: str, entry: str) -> None:
        """Take one of those entries out. Exit when that failed."""


KINDS: dict[str, tuple[Store, ...]] = {
    "system": (macos_keychain, linux_system),
    "nss": (nss,),
    "java": (java,),
    "windows": (windows,),
}


STORES_HELP = {"stores": f"some of {','.join(KINDS)}; else TRUST_STORES"}


@task(klass=PlainTask, help={**STORES_HELP, **PRINT_SUDO})
def trust(context: Context, stores: str = "", print_sudo: bool = False) -> None:
    """Install the root CA in this machine's trust stores

    The system's, Firefox' and Chrome's, Java's, and that of Windows below WSL.
    """
    shell, settings = open_shell(context)
    kinds = chosen_kinds(settings, stores)
    if print_sudo:
        load_root(settings)
    with_sudo_plan(shell, lambda shell: install(shell, settings, kinds), print_sudo)


@task(klass=PlainTask, help=STORES_HELP)
def trust_verify(context: Context, stores: str = "") -> None:
    """Test what each trust store accepts and rejects

    It must accept what the root may sign for, and nothing else.
    """
    shell, settings = open_shell(context)
    root = load_root(settings)
    with issue_probe_leaves(root, settings) as leaves:
        places = list_places(shell, chosen_kinds(settings, stores))
        rows = [verify(shell, store, place, root, leaves) for store, place in places]
    if not rows:
        raise Exit("There is no such trust store on this machine.")
    show(rows, "store", "certificate for")
    red = [row for row in rows if row.state == "red"]
    if red:
        raise Exit(f"{len(red)} of {len(rows)} trust stores are not as they should be. Mend that with: inv trust")


@task(klass=PlainTask, help={**STORES_HELP, **PRINT_SUDO})
def untrust(context: Context, stores: str = "", print_sudo: bool = False) -> None:
    """Remove the root CA from this machine's trust stores"""
    shell, settings = open_shell(context)
    kinds = chosen_kinds(settings, stores or ",".join(KINDS))
    with_sudo_plan(shell, lambda shell: remove(shell, settings, kinds), print_sudo)


def open_shell(context: Context) -> tuple[Shell, Settings]:
    settings = configuration.load()
    return Shell(context, settings.environment), settings


def chosen_kinds(settings: Settings, stores: str = "") -> list[str]:
    """The kinds that the user named; Exit when there is no such one."""
    kinds = [kind.strip() for kind in stores.split(",")] if stores else list(settings.trust_stores)
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        raise Exit(f"--stores: there is no trust store {', '.join(map(repr, unknown))}. There are: {', '.join(KINDS)}")
    return kinds


def list_places(shell: Shell, kinds: list[str]) -> Iterator[tuple[Store, str]]:
    for kind in kinds:
        for store in KINDS[kind]:
            for place in store.places(shell):
                yield store, place


def install(shell: Shell, settings: Settings, kinds: list[str] | None = None) -> None:
    """Have each store trust the root that does not do so yet; Exit at the end names those where that failed.

    While the root is renewed, the one before it is trusted too.
    """
    certificate = RootFiles.of(settings).certificate
    if shell.dry and not certificate.exists():  # a run would have made it by now
        shell.note(f"trust {certificate} in: {', '.join(chosen_kinds(settings) if kinds is None else kinds)}")
        return
    failures, two = [], load_retiring(settings) is not None
    for root in load_roots_to_trust(settings):
        with issue_probe_leaves(root, settings) as leaves:
            for store, place in list_places(shell, chosen_kinds(settings) if kinds is None else kinds):
                try:
                    install_in(shell, store, place, root, leaves, by_entry=two)
                except Exit as error:
                    failures.append(str(error.message))
    if failures:
        raise Exit("\n\n".join(failures))


def install_in(
    shell: Shell, store: Store, place: str, root: RootCA, leaves: ProbeLeaves, by_entry: bool = False
) -> None:
    """Have one store trust a root. `by_entry`: another root of the same key may be why the store accepts its leaf."""
    which = ", the root before this one" if root.files.retiring else ""
    with shell.step("", f"trust in {place}{which}") as this:
        if store.accepts(shell, place, leaves.permitted) and (not by_entry or store.entry(shell, place, root)):
            this.skip("already there")
            return
        missing = store.missing(shell, root.files.certificate)
        if missing:
            this.warn(f"left out: {missing}")
            return
        store.install(shell, place, root)
        if not shell.dry and not store.accepts(shell, place, leaves.permitted):
            raise Exit(f"The root is in {place} now, and a certificate of it is refused there all the same.\n"
                       f"Look at it with: inv trust-verify")
        this.outcome = "the root is trusted now"


def verify(shell: Shell, store: Store, place: str, root: RootCA, leaves: ProbeLeaves) -> Row:
    if not store.accepts(shell, place, leaves.permitted):
        why = store.missing(shell, root.files.certificate) or "a certificate of the root is refused"
        return Row(place, leaves.permitted.name, "red", why)
    if not store.accepts(shell, place, leaves.outside):
        return Row(place, leaves.permitted.name, "green", f"accepted; one for {leaves.outside.name} is refused")
    if store.ENFORCES_CONSTRAINTS:
        return Row(place, leaves.outside.name, "red", "accepted, though the root may not sign for it")
    return Row(place, leaves.permitted.name, "green",
               "accepted. Does not look at a root's name constraint, only at the clusters' intermediates'")


def trust_rows(shell: Shell, settings: Settings, root: RootCA) -> list[Row]:
    """For each store whether it trusts the root, for a table of other things."""
    with issue_probe_leaves(root, settings) as leaves:
        return [
            Row("this machine's trust store", place, "green", "trusted")
            if store.accepts(shell, place, leaves.permitted)
            else Row("this machine's trust store", place, "yellow", "not trusted", "inv trust", "root-not-trusted")
            for store, place in list_places(shell, chosen_kinds(settings))
        ]


def remove(shell: Shell, settings: Settings, kinds: list[str]) -> None:
    """Remove all that these tasks have put there, keep going past a failure, and Exit with those at the end."""
    at_hand = load_known_roots(settings)
    remove_entries(shell, ((store, place, entry) for store, place in list_places(shell, kinds)
                           for entry in store.found(shell, place, at_hand)))


def remove_root(shell: Shell, root: RootCA) -> None:
    """Remove this very root from all stores, of whichever kind, as above."""
    found = ((store, place, store.entry(shell, place, root)) for store, place in list_places(shell, list(KINDS)))
    remove_entries(shell, ((store, place, entry) for store, place, entry in found if entry), "old root")


def remove_entries(shell: Shell, entries: Iterable[tuple[Store, str, str]], what: str = "root") -> None:
    failures = []
    for store, place, entry in entries:
        try:
            remove_from(shell, store, place, entry, what)
        except Exit as error:
            failures.append(str(error.message))
    if failures:
        raise Exit("\n\n".join(failures))


def remove_from(shell: Shell, store: Store, place: str, entry: str, what: str = "root") -> None:
    with shell.step("", f"{what} in {place}") as this:
        store.remove(shell, place, entry)
        this.outcome = "removed"
