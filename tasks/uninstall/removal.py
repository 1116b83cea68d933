"""One thing that these tasks created, and how it is removed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tasks.core.shell import Shell


@dataclass(frozen=True)
class Removal:
    """One thing that these tasks created, and how to remove it."""

    what: str
    run: Callable[[Shell], object]
    why_kept: str = ""
    """Why it is kept instead; empty if it is removed."""
    last: bool = False
    """Removed only if everything before it was removed, because it is needed to find the rest."""
    foreign: bool = False
    """Belongs to another copy: shown, but not removed."""


def do_nothing(shell: Shell) -> None:
    """For what is kept."""
