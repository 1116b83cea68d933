"""How this machine resolves the clusters' names. A module for each way, with the verbs of `Method`."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from invoke import Context, Exit, task

from tasks.core import settings as configuration
from tasks.core.invoke_patches import PlainTask
from tasks.core.progress import say
from tasks.core.settings import Settings
from tasks.core.shell import Shell
from tasks.core.sudo import PRINT_SUDO, with_sudo_plan
from tasks.core.table import Row, show
from tasks.dns import brew_dnsmasq, network_manager, systemd_resolved
from tasks.dns.domain_files import DomainFile, Leaving, describe
from tasks.dns.resolver import addresses, other_names, resolves


class Method(Protocol):
    """A way to have this machine resolve our domains, and only those."""

    def unavailable(self, shell: Shell) -> str:
        """Why it cannot be used here; empty when it can."""

    def install(self, shell: Shell, settings: Settings) -> None:
        """Set it up for the owned domains, as far as it is not. Exit when that failed."""

    def domains(self, shell: Shell) -> list[DomainFile]:
        """The files that it has on this machine for a domain, of whichever copy of these tasks, also changed ones."""

    def found(self, shell: Shell) -> list[Path]:
        """Those, and the files that all domains share."""

    def remove(self, shell: Shell, leaving: Leaving) -> None:
        """Undo it for who leaves, and what all domains share with the last of them.

        Exit, before anything is done, when somebody has changed one of the files.
        """


METHODS: dict[str, Method] = {
    "brew-dnsmasq": brew_dnsmasq,
    "systemd-resolved": systemd_resolved,
    "network-manager": network_manager,
}

WITHOUT_RESOLVER = """\
Without any of these: public DNS leads every name below 127.0.0.1.nip.io to this machine, and nothing is installed.
    Some routers filter such answers, and it needs the Internet. In .env: TLD=127.0.0.1.nip.io, then: inv up"""


@task(klass=PlainTask, help=PRINT_SUDO)
def dns(context: Context, print_sudo: bool = False) -> None:
    """Make this machine resolve the cluster names

    In the first way that works here, or in that of DNS_METHOD.
    """
    shell, settings = open_shell(context)
    with_sudo_plan(shell, lambda shell: install(shell, settings), print_sudo)


@task(klass=PlainTask)
def dns_verify(context: Context) -> None:
    """Test how this machine resolves the cluster names

    And whether names of others are left alone.
    """
    shell, settings = open_shell(context)
    rows = verify(shell, settings)
    show(rows, "asked", "name")
    red = [row for row in rows if row.state == "red"]
    if red:
        raise Exit(f"{len(red)} of {len(rows)} answers are not as they should be. Fix that with: inv dns")


@task(klass=PlainTask, help={**PRINT_SUDO, "all-copies": "also the names that other copies of this folder use"})
def dns_remove(context: Context, print_sudo: bool = False, all_copies: bool = False) -> None:
    """Remove the DNS configuration that inv dns created

    Names that other copies of this folder use stay, and are listed.
    """
    shell, settings = open_shell(context)
    leaving = Leaving(settings, all_copies)
    stay = [line for method in METHODS.values() for line in describe(leaving.sort(method.domains(shell)).kept)]
    with_sudo_plan(shell, lambda shell: remove(shell, leaving), print_sudo)
    if stay and not print_sudo:
        lines = "".join(f"  {line}\n" for line in dict.fromkeys(stay))
        say(f"These names of other copies of this folder stay:\n{lines}"
            "To remove them too: inv dns-remove --all-copies")


def open_shell(context: Context) -> tuple[Shell, Settings]:
    settings = configuration.load()
    return Shell(context, settings.environment), settings


def install(shell: Shell, settings: Settings) -> None:
    """Use the first way that is available and then proves to work; Exit says why each was passed over."""
    ours, theirs = methods_in_use(shell, settings)
    if not covered(shell, settings) and not settings.dns_method and all(map(resolves, settings.proof_names)):
        with shell.step("", f"names below {', '.join(settings.owned_domains)}") as this:
            this.skip("resolved already, and not by these tasks")
            return
    reasons = []
    # First what is in use, so that a second run keeps it, also where an earlier one of the list has failed.
    for name in [settings.dns_method] if settings.dns_method else dict.fromkeys([*ours, *theirs, *METHODS]):
        why = METHODS[name].unavailable(shell)
        if not why:
            for other in ours:
                if other != name:  # before the proof, which it would pass for this one
                    METHODS[other].remove(shell, Leaving(settings))
            why = why_not(shell, settings, METHODS[name])
        if not why:
            return
        reasons.append(f"{name}: {why}")
    told = "\n".join(f"  {reason}" for reason in reasons)
    raise Exit(f"No way was found to have this machine resolve the names below {', '.join(settings.owned_domains)}:\n"
               f"{told}\n{WITHOUT_RESOLVER}")


def methods_in_use(shell: Shell, settings: Settings) -> tuple[list[str], list[str]]:
    """Those with files that would go with this copy, and those with files of others."""
    ours, theirs = [], []
    for name, method in METHODS.items():
        files = Leaving(settings).sort(method.domains(shell))
        if files.changed or (files.is_last and method.found(shell)):
            ours.append(name)
        if files.kept:
            theirs.append(name)
    return ours, theirs


def other_copies(shell: Shell) -> set[Path]:
    """The folders of the other copies that have names on this machine, and are still there."""
    return {copy for method in METHODS.values() for file in method.domains(shell) for copy in file.copies_in_use}


def covered(shell: Shell, settings: Settings) -> bool:
    """Whether a file of these tasks, perhaps of a copy with a wider base domain, is why one of our names resolves."""
    served = {domain for method in METHODS.values() for file in method.domains(shell) for domain in file.domains}
    return any(f".{own}".endswith(f".{domain}") for own in settings.owned_domains for domain in served)


def why_not(shell: Shell, settings: Settings, method: Method) -> str:
    """Install and prove it; where that fails undo it, and tell why. Empty when it works."""
    before = other_names(shell, settings)
    try:
        method.install(shell, settings)
        with shell.step("", "this machine's resolver") as this:
            shell.until("it to find our names", 15, lambda: all(map(resolves, settings.proof_names)), hint="")
            # After a restart a resolver may need a moment to know its servers again.
            shell.until(f"other names to be found as before: {', '.join(sorted(before))}", 15,
                        lambda: before <= other_names(shell, settings), hint="")
            this.outcome = f"finds names below {', '.join(settings.owned_domains)}, others as before"
    except Exit as error:
        if shell.root_refused:
            raise
        method.remove(shell, Leaving(settings))
        return str(error.message)
    return ""


def remove(shell: Shell, leaving: Leaving) -> None:
    """Undo every way; go on past one that fails, and Exit with what failed at the end."""
    failures = []
    for method in METHODS.values():
        try:
            method.remove(shell, leaving)
        except Exit as error:
            failures.append(str(error.message))
    if failures:
        raise Exit("\n\n".join(failures))


def verify(shell: Shell, settings: Settings) -> list[Row]:
    """What the system's resolver says about our names and about others."""
    rows = []
    for name in settings.proof_names:
        got = ", ".join(sorted(addresses(name))) or "no answer"
        rows.append(Row("this machine", name, "green" if got == "127.0.0.1" else "red", got))
    return rows + verify_others(shell, settings)


def verify_others(shell: Shell, settings: Settings) -> list[Row]:
    """Whether names that are not ours are left alone."""
    rows = []
    # Below 127.0.0.1.nip.io public DNS leads every name here, not only ours.
    beside = [f"not-ours.{settings.tld}"] if any(method.found(shell) for method in METHODS.values()) else []
    for name in ("example.com", *beside):
        stolen = resolves(name)
        rows.append(Row("this machine", name, "red" if stolen else "green",
                        "led to this machine, and it is not ours" if stolen else "left alone"))
    return rows
