"""Reading .env and .default.env: what is not understood is reported with its line and never shown."""

from __future__ import annotations

import io
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

# Keys that start like ours, but are read by k3d itself: https://k3d.io/stable/faq/faq/
K3D_OWN_KEYS = re.compile(r"K3D_(FIX|IMAGE|HELPER|DEBUG|LOG)_")


def read_env_file(file: Path, problems: list[str]) -> dict[str, str]:
    """The keys and values of one file; what cannot be read is added to the problems."""
    from dotenv import dotenv_values
    from dotenv.parser import parse_stream

    try:
        content = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"{file.name}: cannot be read: {error}")
        return {}
    if "\0" in content:
        problems.append(f"{file.name}: cannot be read: it contains NUL characters. Is it UTF-8?")
        return {}
    good = []
    for line in parse_stream(io.StringIO(content)):
        original = line.original.string
        # The parser counts the blank lines above as a part of this one.
        blank = original[: len(original) - len(original.lstrip())].count("\n")
        where = f"{file.name}, line {line.original.line + blank}"
        if line.error or "=" in (line.key or ""):
            problems.append(f"{where}: expected KEY=value")  # not shown: it may hold a password
        elif line.key is not None and line.value is None:
            problems.append(f"{where}: {line.key} has no value. For an empty one write {line.key}=")
        else:
            good.append(original)
    return {key: value for key, value in dotenv_values(stream=io.StringIO("".join(good))).items() if value is not None}


def unknown_keys(chosen: Mapping[str, str], known: Collection[str]) -> Iterator[str]:
    """Keys of .env that can only be meant for these tasks, and keys of others that are spelt almost like one."""
    for key in chosen:
        if key in known or K3D_OWN_KEYS.match(key):
            continue
        from difflib import get_close_matches

        ours = key.startswith(("K3D_", "CERT_"))
        near = get_close_matches(key, known, n=1, cutoff=0.6 if ours else 0.9)
        if ours or near:
            hint = f"Did you mean {near[0]}?" if near else "See .default.env for all settings."
            yield f".env: Unknown setting {key}. {hint}"
