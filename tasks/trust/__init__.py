"""Trust stores of this machine. One module each, with the same verbs; a new one is a file and a line here."""

from __future__ import annotations

from pathlib import Path

from tasks.shell import Shell, is_macos
from tasks.trust import by_hand, macos_keychain


def ensure(shell: Shell, certificate: Path) -> None:
    """Let this machine trust the root, or say how that is done by hand."""
    with shell.step("", "trust on this machine") as this:
        store = macos_keychain if is_macos(shell) else by_hand
        this.outcome, this.warned = store.install(shell, certificate)


def is_trusted(shell: Shell, certificate: Path) -> bool:
    store = macos_keychain if is_macos(shell) else by_hand
    return store.verify(shell, certificate)


def command(shell: Shell, certificate: Path) -> str:
    """What to type so that this machine trusts the root."""
    return "inv cert" if is_macos(shell) else by_hand.command(certificate)
