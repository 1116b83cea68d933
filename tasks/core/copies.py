"""Copies of this folder on one machine. A file outside of them lists the copies that use it."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes

from tasks.core import setting_types

USED_BY = "# used by the copy in "

READABLE = "/ !\"#$&'()*+,:;<=>?@[]^`{|}"
"""Written unchanged in a path; line breaks and what is not ASCII are written as in a URL."""


def this_copy() -> Path:
    return setting_types.PROJECT


def path_to_text(path: Path) -> str:
    return quote(os.fsencode(path), safe=READABLE)


def text_to_path(text: str) -> Path:
    return Path(os.fsdecode(unquote_to_bytes(text)))


def used_by_line(copy: Path) -> str:
    return f"{USED_BY}{path_to_text(copy)}"


def read_users(file: Path) -> list[Path]:
    """The folders of the copies that a file lists; empty if it cannot be read or was written by an earlier version."""
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    return [text_to_path(line.removeprefix(USED_BY)) for line in lines if line.startswith(USED_BY)]


def exists(copy: Path) -> bool:
    """Whether that copy still exists; one in a folder that only another user may read counts as existing."""
    try:
        return (copy / "tasks.py").exists()
    except PermissionError:
        return True
