"""Rendered files in .work/, kept for inspection."""

from __future__ import annotations

from pathlib import Path

from tasks.core import setting_types
from tasks.core.settings import Cluster
from tasks.core.shell import Shell


def write_file(shell: Shell, file: Path, text: str, private: bool = False) -> Path:
    """Write a file of ours, 0600 in a 0700 folder where it is private. Under --dry only say so."""
    if shell.dry:
        shell.note(f"write {file}")
        return file
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    file.unlink(missing_ok=True)
    file.touch(mode=0o600 if private else 0o644)
    file.write_text(text, encoding="utf-8")
    return file


def work_file(name: str) -> Path:
    """Where a rendered file lies that is not a cluster's."""
    return setting_types.PROJECT / ".work" / name


def work_folder(cluster: Cluster) -> Path:
    """Where a cluster's rendered manifests lie, to be looked at. Nothing is read back from there."""
    return setting_types.PROJECT / ".work" / cluster.name
