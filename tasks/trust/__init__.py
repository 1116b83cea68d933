"""Trust stores of this machine: which exist, and the tasks. A module for each kind, with the verbs of `Store`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

from invoke import Context, Exit, task

from tasks.ca.load import load_known_roots, load_retiring, load_root, load_roots_to_trust
from tasks.ca.probe_leaves import Leaf, ProbeLeaves, issue_probe_leaves
from tasks.ca.root import RootCA, RootFiles
from tasks.core import settings as configuration
from tasks.core.invoke_patches import PlainTask
from tasks.core.progress import say
from tasks.core.settings import Settings
from tasks.core.shell import Shell
from tasks.core.sudo import PRINT_SUDO, with_sudo_plan
from tasks.core.table import Row, show
from tasks.trust import entries, java, linux_system, macos_keychain, nss, windows


class Store(Protocol):
    """A kind of trust store. A `place` is one of that kind: a keychain, a folder, a database, a file."""

    ENFORCES_CONSTRAINTS: bool
    """Whether those who read it refuse what is outside of a root's own name constraint."""

    def places(self, shell: Shell) -> list[str]:
        """Those on this machine; none on a system that knows no such kind."""

    def missing(self, shell: Shell, certificate: Path) -> str:
        """What is missing here to write to it, and what to do instead; empty when all is there."""

    def accepts(self, shell: Shell, place: str, leaf: Leaf) -> bool:
        """Whether a program that reads this place accepts the leaf for its name: nothing is changed."""

    def install(self, shell: Shell, place: str, roots: list[RootCA]) -> None:
        """Have it trust these roots, at once. Exit when that failed."""

    def found(self, shell: Shell, place: str, roots: list[RootCA]) -> list[str]:
        """The entries in it that these tasks made, for whichever root; `roots` are those that are at hand."""

    def entry(self, shell: Shell, place: str, root: RootCA) -> str:
        """The one of those that holds this very root; empty when there is none."""

    def certificate(self, shell: Shell, place: str, entry: str) -> str:
        """The certificate of one of those in PEM, perhaps with more text; empty where the store does not tell."""

    def remove(self, shell: Shell, place: str, entries: list[str]) -> None:
        """Take those entries out, at once. Exit when that failed."""


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

    In the system's, in those of Firefox, Chrome and Java, and below WSL in that of Windows.
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
        raise Exit(f"{len(red)} of {len(rows)} trust stores are not as they should be. Fix that with: inv trust")


@task(klass=PlainTask, help={
    **STORES_HELP, **PRINT_SUDO, "all-copies": "also the roots of other copies of this folder, and former ones"})
def untrust(context: Context, stores: str = "", print_sudo: bool = False, all_copies: bool = False) -> None:
    """Remove the root CA from this machine's trust stores

    The roots of other copies of this folder stay, and are listed.
    """
    shell, settings = open_shell(context)
    kinds = chosen_kinds(settings, stores or ",".join(KINDS))
    others = [] if all_copies or print_sudo else [*describe_others(shell, settings, kinds)]
    with_sudo_plan(shell, lambda shell: remove(shell, settings, kinds, all_copies), print_sudo)
    if others:
        lines = "".join(f"  {line}\n" for line in others)
        say(f"These roots belong to other copies, or are former roots of this one, and stay:\n{lines}"
            "To remove them too: inv untrust --all-copies")


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
    with ExitStack() as stack:
        roots = [(root, stack.enter_context(issue_probe_leaves(root, settings)))
                 for root in load_roots_to_trust(settings)]
        by_entry, failures = load_retiring(settings) is not None, []
        for store, place in list_places(shell, chosen_kinds(settings) if kinds is None else kinds):
            try:
                install_in(shell, store, place, roots, by_entry)
            except Exit as error:
                failures.append(str(error.message))
    if failures:
        raise Exit("\n\n".join(failures))


def install_in(
    shell: Shell, store: Store, place: str, roots: list[tuple[RootCA, ProbeLeaves]], by_entry: bool = False
) -> None:
    """Have one store trust the roots. `by_entry`: another root of the same key may be why the store accepts a leaf."""
    with shell.step("", f"trust in {place}" + (", also the former root" if len(roots) > 1 else "")) as this:
        wanted = [(root, leaves) for root, leaves in roots if not (
            store.accepts(shell, place, leaves.permitted) and (not by_entry or store.entry(shell, place, root)))]
        if not wanted:
            this.skip("already there")
            return
        missing = store.missing(shell, wanted[0][0].files.certificate)
        if missing:
            this.warn(f"left out: {missing}")
            return
        store.install(shell, place, [root for root, _ in wanted])
        if not shell.dry and not all(store.accepts(shell, place, leaves.permitted) for _, leaves in wanted):
            raise Exit(f"The root was added to {place}, but a certificate that it signed is still rejected.\n"
                       f"To see what is accepted: inv trust-verify")
        this.outcome = "the root is trusted now"


def verify(shell: Shell, store: Store, place: str, root: RootCA, leaves: ProbeLeaves) -> Row:
    if not store.accepts(shell, place, leaves.permitted):
        why = store.missing(shell, root.files.certificate) or "a certificate issued by the root is rejected"
        return Row(place, leaves.permitted.name, "red", why, code="root-not-trusted")
    if not store.accepts(shell, place, leaves.outside):
        return Row(place, leaves.permitted.name, "green", f"accepted; one for {leaves.outside.name} is rejected")
    if store.ENFORCES_CONSTRAINTS:
        return Row(place, leaves.outside.name, "red", "accepted, although the root may not sign for it",
                   code="constraint-not-enforced")
    return Row(place, leaves.permitted.name, "green",
               "accepted (this store ignores name constraints on roots; it enforces those on cluster intermediates)")


def trust_rows(shell: Shell, settings: Settings, root: RootCA) -> list[Row]:
    """For each store whether it trusts the root, for a table of other things."""
    with issue_probe_leaves(root, settings) as leaves:
        return [
            Row("this machine's trust store", place, "green", "trusted")
            if store.accepts(shell, place, leaves.permitted)
            else Row("this machine's trust store", place, "yellow", "not trusted", "inv trust", "root-not-trusted")
            for store, place in list_places(shell, chosen_kinds(settings))
        ]


def own_roots(settings: Settings) -> list[RootCA]:
    """The root of this TLD in this CERT_FOLDER, and during a renewal the former one."""
    own = {RootFiles.of(settings, retiring).certificate for retiring in (False, True)}
    return [root for root in load_known_roots(settings) if root.files.certificate in own]


def sort_entries(shell: Shell, settings: Settings, store: Store, place: str) -> tuple[list[str], list[str]]:
    """The entries in a place that belong to this copy, and those of other copies or former roots."""
    own = [entry for root in own_roots(settings) if (entry := store.entry(shell, place, root))]
    found = store.found(shell, place, load_known_roots(settings))
    # An empty database that these tasks created belongs to no copy.
    own += [entry for entry in found if entry == nss.MADE]
    return list(dict.fromkeys(own)), [entry for entry in found if entry not in own]


def describe_others(shell: Shell, settings: Settings, kinds: list[str]) -> Iterator[str]:
    """A line for each entry of another copy."""
    for store, place in list_places(shell, kinds):
        for entry in sort_entries(shell, settings, store, place)[1]:
            yield describe_entry(shell, store, place, entry)


def describe_entry(shell: Shell, store: Store, place: str, entry: str) -> str:
    whose = entries.describe(store.certificate(shell, place, entry))
    return in_place(place, entry) + (f" ({whose})" if whose else "")


def in_place(place: str, entry: str) -> str:
    return entry if place in entry else f"{entry} in {place}"


def remove(shell: Shell, settings: Settings, kinds: list[str], all_copies: bool = False) -> None:
    """Remove what this copy, or any, has added; continue past a failure, and Exit with those at the end."""
    remove_entries(shell, ((store, place, [*own, *(others if all_copies else [])])
                           for store, place in list_places(shell, kinds)
                           for own, others in [sort_entries(shell, settings, store, place)]))


def remove_root(shell: Shell, root: RootCA) -> None:
    """Remove this very root from all stores of every kind, as above."""
    remove_entries(shell, ((store, place, [entry] if (entry := store.entry(shell, place, root)) else [])
                           for store, place in list_places(shell, list(KINDS))), "former root")


def remove_entries(shell: Shell, found: Iterable[tuple[Store, str, list[str]]], what: str = "root") -> None:
    failures = []
    for store, place, of_place in found:
        try:
            if of_place:
                remove_from(shell, store, place, of_place, what)
        except Exit as error:
            failures.append(str(error.message))
    if failures:
        raise Exit("\n\n".join(failures))


def remove_from(shell: Shell, store: Store, place: str, of_place: list[str], what: str = "root") -> None:
    with shell.step("", f"{what if len(of_place) == 1 else f'{len(of_place)} roots'} in {place}") as this:
        store.remove(shell, place, of_place)
        this.outcome = "removed"
