"""How this machine resolves the cluster names. One module for each method, with the functions of `Method`."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from invoke import Context, Exit, task

from tasks.core import configuration
from tasks.core.addresses import list_proofs
from tasks.core.by_number import THIS_MACHINE
from tasks.core.invoke_patches import PlainTask
from tasks.core.progress import say
from tasks.core.settings import Settings
from tasks.core.shell import Shell
from tasks.core.sudo import PRINT_SUDO, with_sudo_plan
from tasks.core.table import Row, show
from tasks.dns import brew_dnsmasq, follow, hosts_file, network_manager, systemd_resolved, windows_hosts
from tasks.dns.domain_files import DomainFile, Leaving, describe, one_copy_at_a_time
from tasks.dns.resolver import addresses, other_names, resolves, resolves_all


class Method(Protocol):
    """How this machine can resolve the cluster domains, and only those."""

    def check_available(self, shell: Shell) -> str:
        """Why it cannot be used here; empty if it can."""

    def install(self, shell: Shell, settings: Settings) -> None:
        """Set up what is missing for the owned domains. Exit if that fails."""

    def list_domain_files(self, shell: Shell) -> list[DomainFile]:
        """Its files for single domains, written by any copy of these tasks, even if they were edited later."""

    def list_files(self, shell: Shell) -> list[Path]:
        """Those, and the files that all domains share."""

    def remove(self, shell: Shell, leaving: Leaving) -> None:
        """Remove the domains of the copy that leaves, and with the last copy also what all domains share.

        Exit before any change if one of the files was edited.
        """


METHODS: dict[str, Method] = {
    "brew-dnsmasq": brew_dnsmasq,
    "systemd-resolved": systemd_resolved,
    "network-manager": network_manager,
    "hosts-file": hosts_file,
}

PUBLIC_DOMAIN = "127.0.0.1.nip.io"

KEEP_HOSTS_FILE = "If one of them works later, it replaces the hosts file, unless .env has DNS_METHOD=hosts-file."

WITHOUT_RESOLVER = f"""\
Alternative without installing anything: public DNS resolves every name below {PUBLIC_DOMAIN} to 127.0.0.1.
    It needs the Internet, and some routers filter such answers. In .env: TLD={PUBLIC_DOMAIN}, then: inv up"""


@task(klass=PlainTask, help={
    **PRINT_SUDO,
    "watch": "where the names are in the hosts file: keep them up to date until Ctrl-C",
})
def dns(context: Context, print_sudo: bool = False, watch: bool = False) -> None:
    """Make this machine resolve the cluster names

    With the first method that works here, or with DNS_METHOD. The last one writes names to the hosts file, which has no
    wildcard: --watch updates them when an Ingress, IngressRoute or HTTPRoute changes.
    """
    if watch and print_sudo:
        raise Exit("--print-sudo changes nothing, so there is nothing to --watch: choose one of them.")
    shell, settings = open_shell(context)
    with_sudo_plan(shell, lambda shell: install(shell, settings), print_sudo)
    if watch and not shell.dry:
        follow.watch(shell, settings)


@task(klass=PlainTask)
def dns_verify(context: Context) -> None:
    """Test how this machine resolves the cluster names

    And whether other names resolve as before.
    """
    shell, settings = open_shell(context)
    rows = verify(shell, settings)
    show(rows, "resolver", "name")
    red = [row for row in rows if row.state == "red"]
    if red:
        raise Exit(f"{len(red)} of {len(rows)} answers are wrong. To fix that: inv dns")


@task(klass=PlainTask, help={**PRINT_SUDO, "all-copies": "also the names that other copies of this folder use"})
def dns_remove(context: Context, print_sudo: bool = False, all_copies: bool = False) -> None:
    """Remove the DNS configuration that inv dns created

    Names that other copies of this folder use are kept, and listed.
    """
    shell, settings = open_shell(context)
    leaving = Leaving(settings, all_copies)
    kept = [line for method in METHODS.values()
            for line in describe(leaving.sort(method.list_domain_files(shell)).kept)]
    with_sudo_plan(shell, lambda shell: remove(shell, leaving), print_sudo)
    if kept and not print_sudo:
        lines = "".join(f"  {line}\n" for line in dict.fromkeys(kept))
        say(f"Kept, because other copies of this folder use them:\n{lines}"
            "To remove them too: inv dns-remove --all-copies")


def open_shell(context: Context) -> tuple[Shell, Settings]:
    settings = configuration.load()
    return Shell(context, settings.environment), settings


def install(shell: Shell, settings: Settings) -> None:
    """Make this machine resolve the names, and Windows beside it if this is WSL. Exit if no method works here."""
    with one_copy_at_a_time(shell):
        try:
            install_here(shell, settings)
        finally:
            windows_hosts.install(shell, settings)


def install_here(shell: Shell, settings: Settings) -> None:
    """Use the first method that is available and is then proved to work. Exit with the reason why each was skipped."""
    own, foreign = find_methods_in_use(shell, settings)
    if not is_covered(shell, settings) and not settings.dns_method and resolves_all(settings):
        with shell.step("", f"names below {', '.join(settings.owned_domains)}") as this:
            this.skip("already resolved, not by these tasks")
            return
    reasons: list[str] = []
    # First what is in use: a second run keeps it, even if a method before it in the list failed in the first run.
    # The hosts file is always the last: a method with a wildcard replaces it as soon as one works.
    in_use = [name for name in (*own, *foreign) if name != "hosts-file"]
    for name in [settings.dns_method] if settings.dns_method else dict.fromkeys([*in_use, *METHODS]):
        reason = METHODS[name].check_available(shell)
        if not reason:
            for other in own:
                if other != name:  # removed first, or the names would resolve even if the new method does not work
                    METHODS[other].remove(shell, Leaving(settings))
            reason = try_method(shell, settings, METHODS[name])
        if not reason:
            if name == "hosts-file" and name not in own and reasons:
                say("\n".join(["No method with a wildcard works here:", *reasons, KEEP_HOSTS_FILE]))
            return
        reasons.append(f"  {name}: {reason}")
    if resolves(f"proof.{PUBLIC_DOMAIN}"):
        reasons.append(WITHOUT_RESOLVER)
    raise Exit("\n".join([f"No method resolves names below {', '.join(settings.owned_domains)} on this machine:",
                          *reasons]))


def find_methods_in_use(shell: Shell, settings: Settings) -> tuple[list[str], list[str]]:
    """Those with files that would be removed with this copy, and those with files of other copies."""
    own, foreign = [], []
    for name, method in METHODS.items():
        files = Leaving(settings).sort(method.list_domain_files(shell))
        if files.changed or (files.is_last and method.list_files(shell)):
            own.append(name)
        if files.kept:
            foreign.append(name)
    return own, foreign


def list_other_copies(shell: Shell) -> set[Path]:
    """The folders of other copies that have names on this machine and still exist."""
    return {copy for method in METHODS.values()
            for file in method.list_domain_files(shell) for copy in file.copies_in_use}


def is_covered(shell: Shell, settings: Settings) -> bool:
    """Whether one of our names resolves because of a file of these tasks, perhaps of another copy."""
    served = {domain for method in METHODS.values()
              for file in method.list_domain_files(shell) for domain in file.domains}
    return any(f".{own}".endswith(f".{domain}") for own in settings.owned_domains for domain in served)


def try_method(shell: Shell, settings: Settings, method: Method) -> str:
    """Install it and prove that it works, else remove it again. Return why it failed; empty if it works."""
    before = other_names(shell, settings)
    try:
        method.install(shell, settings)
        with shell.step("", "this machine's resolver") as this:
            shell.until("it to resolve the cluster names", 15,
                        lambda: resolves_all(settings), hint="")
            # After a restart, a resolver may need a moment until it knows its servers again.
            shell.until(f"other names to resolve as before: {', '.join(sorted(before))}", 15,
                        lambda: before <= other_names(shell, settings), hint="")
            this.outcome = f"resolves names below {', '.join(settings.owned_domains)}, other names as before"
    except Exit as error:
        if shell.root_refused:
            raise
        method.remove(shell, Leaving(settings))
        return str(error.message)
    return ""


def remove(shell: Shell, leaving: Leaving) -> None:
    """Remove the files of every method. Continue after a failure, and Exit with all failures at the end."""
    failures = []
    for method in METHODS.values():
        try:
            remove_method(shell, leaving, method)
        except Exit as error:
            failures.append(str(error.message))
    try:
        windows_hosts.remove(shell)
    except Exit as error:
        failures.append(str(error.message))
    if failures:
        raise Exit("\n\n".join(failures))


def remove_method(shell: Shell, leaving: Leaving, method: Method) -> None:
    """Remove the files of one method. Exit if that fails."""
    with one_copy_at_a_time(shell):
        method.remove(shell, leaving)


def verify(shell: Shell, settings: Settings) -> list[Row]:
    """What the system's resolver answers for cluster names and for other names."""
    rows = []
    for name, address in list_proofs(settings).items():
        got = ", ".join(sorted(addresses(name))) or "no answer"
        note = got if got == address or address == THIS_MACHINE else f"{got} instead of {address}"
        rows.append(Row("this machine", name, "green" if got == address else "red", note))
    for file, names in follow.list_written(shell):
        rows.append(Row("this machine", "other cluster names", "grey",
                        f"{file} has {len(names)} names, and no wildcard for others", code="no-wildcard"))
    return rows + verify_others(shell, settings)


def verify_others(shell: Shell, settings: Settings) -> list[Row]:
    """Whether other names do not resolve to 127.0.0.1."""
    rows = []
    # Below 127.0.0.1.nip.io, public DNS resolves every name to 127.0.0.1.
    siblings = [f"not-ours.{settings.tld}"] if any(method.list_files(shell) for method in METHODS.values()) else []
    for name in ("example.com", *siblings):
        stolen = resolves(name)
        rows.append(Row("this machine", name, "red" if stolen else "green",
                        "resolves to 127.0.0.1, although it is not a cluster name" if stolen
                        else "does not resolve to 127.0.0.1"))
    return rows
