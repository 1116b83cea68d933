"""Trust stores on this machine, and their tasks. One module for each kind, with the functions of `Store`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

from invoke import Context, Exit, task

from tasks.ca.load import load_known_roots, load_retiring, load_root, load_roots_to_trust
from tasks.ca.probe_leaves import Leaf, ProbeLeaves, issue_probe_leaves
from tasks.ca.root import RootCA, RootFiles
from tasks.core import configuration
from tasks.core.invoke_patches import PlainTask
from tasks.core.progress import say
from tasks.core.settings import Settings
from tasks.core.shell import Shell
from tasks.core.sudo import PRINT_SUDO, with_sudo_plan
from tasks.core.table import Row, show
from tasks.core.well_known import ISSUER
from tasks.trust import entries, java, linux_system, macos_keychain, nss, windows


class Store(Protocol):
    """A kind of trust store. A `place` is one store of that kind: a keychain, a folder, a database, a file."""

    ENFORCES_CONSTRAINTS: bool
    """Whether programs that use it enforce the name constraints of a root."""

    def find_places(self, shell: Shell) -> list[str]:
        """The stores of this kind on this machine; empty if the system has no such kind."""

    def check_tools(self, shell: Shell, certificate: Path) -> str:
        """Which program is missing to change it, and what to do; empty if nothing is missing."""

    def accepts(self, shell: Shell, place: str, leaf: Leaf) -> bool:
        """Whether a program that uses this place accepts the leaf for its name. Changes nothing."""

    def install(self, shell: Shell, place: str, roots: list[RootCA]) -> None:
        """Add these roots with one update. Exit if that fails."""

    def list_entries(self, shell: Shell, place: str, roots: list[RootCA]) -> list[str]:
        """The entries that these tasks created, for any root. `roots`: those whose files are present."""

    def find_entry(self, shell: Shell, place: str, root: RootCA) -> str:
        """The entry with exactly this root; empty if there is none."""

    def read_certificate(self, shell: Shell, place: str, entry: str) -> str:
        """The certificate of an entry in PEM, perhaps with more text; empty if the store cannot export it."""

    def remove(self, shell: Shell, place: str, entries: list[str]) -> None:
        """Remove those entries with one update. Exit if that fails."""


KINDS: dict[str, tuple[Store, ...]] = {
    "system": (macos_keychain, linux_system),
    "nss": (nss,),
    "java": (java,),
    "windows": (windows,),
}


STORES_HELP = {"stores": f"some of {','.join(KINDS)}; default: TRUST_STORES"}


@task(klass=PlainTask, help={**STORES_HELP, **PRINT_SUDO})
def trust(context: Context, stores: str = "", print_sudo: bool = False) -> None:
    """Install the root CA in this machine's trust stores

    Those of the system, Firefox, Chrome and Java, and with WSL that of Windows.
    """
    shell, settings = open_shell(context)
    kinds = chosen_kinds(settings, stores)
    if settings.acme and not kinds:
        say("With CERTIFICATES=acme no trust store needs the root CA. To install it anyway, for Ingresses with the "
            f"issuer {ISSUER}: inv trust --stores {','.join(KINDS)}")
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
        raise Exit("None of the selected trust stores exists on this machine.")
    show(rows, "store", "certificate for")
    red = [row for row in rows if row.state == "red"]
    if red:
        raise Exit(f"{len(red)} of {len(rows)} trust stores are wrong. To fix that: inv trust")


@task(klass=PlainTask, help={
    **STORES_HELP, **PRINT_SUDO, "all-copies": "also the roots of other copies of this folder, and former ones"})
def untrust(context: Context, stores: str = "", print_sudo: bool = False, all_copies: bool = False) -> None:
    """Remove the root CA from this machine's trust stores

    The roots of other copies of this folder are kept, and listed.
    """
    shell, settings = open_shell(context)
    kinds = chosen_kinds(settings, stores or ",".join(KINDS))
    kept = [] if all_copies or print_sudo else [*describe_foreign_entries(shell, settings, kinds)]
    with_sudo_plan(shell, lambda shell: remove(shell, settings, kinds, all_copies), print_sudo)
    if kept:
        lines = "".join(f"  {line}\n" for line in kept)
        say(f"Kept, because they belong to other copies of this folder or are former roots of this one:\n{lines}"
            "To remove them too: inv untrust --all-copies")


def open_shell(context: Context) -> tuple[Shell, Settings]:
    settings = configuration.load()
    return Shell(context, settings.environment), settings


def chosen_kinds(settings: Settings, stores: str = "") -> list[str]:
    """The kinds that the user selected; with CERTIFICATES=acme none by default. Exit if one does not exist."""
    default = [] if settings.acme else list(settings.trust_stores)
    kinds = [kind.strip() for kind in stores.split(",")] if stores else default
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        raise Exit(f"--stores: there is no trust store {', '.join(map(repr, unknown))}. There are: {', '.join(KINDS)}")
    return kinds


def list_places(shell: Shell, kinds: list[str]) -> Iterator[tuple[Store, str]]:
    for kind in kinds:
        for store in KINDS[kind]:
            for place in store.find_places(shell):
                yield store, place


def install(shell: Shell, settings: Settings, kinds: list[str] | None = None) -> None:
    """Add the root to each store that does not trust it yet. Exit at the end with the stores for which that failed.

    During a renewal, the former root is added too.
    """
    certificate = RootFiles.of(settings).certificate
    if shell.dry and not certificate.exists():  # a real run would have created it
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
    """Add the roots to one store. `by_entry`: check entries too, because a root with the same key may be trusted."""
    with shell.step("", f"trust in {place}" + (", also the former root" if len(roots) > 1 else "")) as this:
        missing = [(root, leaves) for root, leaves in roots if not (
            store.accepts(shell, place, leaves.permitted) and (not by_entry or store.find_entry(shell, place, root)))]
        if not missing:
            this.skip("already there")
            return
        problem = store.check_tools(shell, missing[0][0].files.certificate)
        if problem:
            this.warn(f"skipped: {problem}")
            return
        store.install(shell, place, [root for root, _ in missing])
        if not shell.dry and not all(store.accepts(shell, place, leaves.permitted) for _, leaves in missing):
            raise Exit(f"The root was added to {place}, but a certificate that it signed is still rejected.\n"
                       f"To see what is accepted: inv trust-verify")
        this.outcome = "the root is trusted now"


def verify(shell: Shell, store: Store, place: str, root: RootCA, leaves: ProbeLeaves) -> Row:
    if not store.accepts(shell, place, leaves.permitted):
        reason = store.check_tools(shell, root.files.certificate) or "a certificate issued by the root is rejected"
        return Row(place, leaves.permitted.name, "red", reason, code="root-not-trusted")
    if not store.accepts(shell, place, leaves.outside):
        return Row(place, leaves.permitted.name, "green", f"accepted; one for {leaves.outside.name} is rejected")
    if store.ENFORCES_CONSTRAINTS:
        return Row(place, leaves.outside.name, "red", "accepted, although the root may not sign for it",
                   code="constraint-not-enforced")
    return Row(place, leaves.permitted.name, "green",
               "accepted (this store ignores name constraints on roots; it enforces those on cluster intermediates)")


def trust_rows(shell: Shell, settings: Settings, root: RootCA) -> list[Row]:
    """Rows for a larger table: whether each store trusts the root."""
    with issue_probe_leaves(root, settings) as leaves:
        return [
            Row("this machine's trust store", place, "green", "trusted")
            if store.accepts(shell, place, leaves.permitted)
            else Row("this machine's trust store", place, "yellow", "not trusted", "inv trust", "root-not-trusted")
            for store, place in list_places(shell, chosen_kinds(settings))
        ]


def load_own_roots(settings: Settings) -> list[RootCA]:
    """The root of this TLD in this CERT_FOLDER, and during a renewal the former one."""
    own = {RootFiles.of(settings, retiring).certificate for retiring in (False, True)}
    return [root for root in load_known_roots(settings) if root.files.certificate in own]


def sort_entries(shell: Shell, settings: Settings, store: Store, place: str) -> tuple[list[str], list[str]]:
    """The entries in a place that belong to this copy, and those of other copies or former roots."""
    own = [entry for root in load_own_roots(settings) if (entry := store.find_entry(shell, place, root))]
    found = store.list_entries(shell, place, load_known_roots(settings))
    # An empty database that these tasks created does not belong to one copy.
    own += [entry for entry in found if entry == nss.MADE]
    return list(dict.fromkeys(own)), [entry for entry in found if entry not in own]


def describe_foreign_entries(shell: Shell, settings: Settings, kinds: list[str]) -> Iterator[str]:
    """One line for each entry of another copy or a former root."""
    for store, place in list_places(shell, kinds):
        for entry in sort_entries(shell, settings, store, place)[1]:
            yield describe_entry(shell, store, place, entry)


def describe_entry(shell: Shell, store: Store, place: str, entry: str) -> str:
    description = entries.describe(store.read_certificate(shell, place, entry))
    return name_entry(place, entry) + (f" ({description})" if description else "")


def name_entry(place: str, entry: str) -> str:
    return entry if place in entry else f"{entry} in {place}"


def remove(shell: Shell, settings: Settings, kinds: list[str], all_copies: bool = False) -> None:
    """Remove the roots of this copy, or of all. Continue after a failure, and Exit with all failures at the end."""
    remove_entries(shell, ((store, place, [*own, *(others if all_copies else [])])
                           for store, place in list_places(shell, kinds)
                           for own, others in [sort_entries(shell, settings, store, place)]))


def remove_root(shell: Shell, root: RootCA) -> None:
    """Remove exactly this root from all stores of every kind, as above."""
    remove_entries(shell, ((store, place, [entry] if (entry := store.find_entry(shell, place, root)) else [])
                           for store, place in list_places(shell, list(KINDS))), "former root")


def remove_entries(shell: Shell, found: Iterable[tuple[Store, str, list[str]]], what: str = "root") -> None:
    failures = []
    for store, place, names in found:
        try:
            if names:
                remove_from(shell, store, place, names, what)
        except Exit as error:
            failures.append(str(error.message))
    if failures:
        raise Exit("\n\n".join(failures))


def remove_from(shell: Shell, store: Store, place: str, names: list[str], what: str = "root") -> None:
    with shell.step("", f"{what if len(names) == 1 else f'{len(names)} roots'} in {place}") as this:
        store.remove(shell, place, names)
        this.outcome = "removed"
