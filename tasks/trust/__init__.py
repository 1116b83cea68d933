"""Trust stores of this machine. One module each, with the verbs of `Store`; a new one is a file and a line here."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from tasks.shell import Shell, is_macos
from tasks.trust import by_hand, macos_keychain


class Store(Protocol):
    def install(self, shell: Shell, certificate: Path) -> str:
        """Trust the root, and say what was done. Exit when that failed."""

    def verify(self, shell: Shell, certificate: Path) -> bool:
        """Whether what reads this store accepts the root."""

    def command(self, certificate: Path) -> str:
        """What to type so that this store takes the root."""


def store_of(shell: Shell) -> Store:
    return macos_keychain if is_macos(shell) else by_hand


def ensure(shell: Shell, certificate: Path) -> None:
    """Let this machine trust the root, or say how that is done by hand."""
    store = store_of(shell)
    with shell.step("", "trust on this machine") as this:
        if store.verify(shell, certificate):
            return this.skip("already there")
        this.outcome = store.install(shell, certificate)
        this.warned = store is by_hand
