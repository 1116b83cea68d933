"""Reading .env and .default.env: what is not understood is reported with its line and never shown.

One rule for `$` in every value: $NAME and ${NAME} are replaced, and a name that is not set is refused. Between single
quotes `$` stays what it is. python-dotenv only splits the file: its own replacing ignores quotes and $NAME, and makes
nothing of a name that is not set.
"""

from __future__ import annotations

import io
import re
from collections import ChainMap
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dotenv.parser import Binding

# Keys that start like ours, but are read by k3d itself: https://k3d.io/stable/faq/faq/
K3D_OWN_KEYS = re.compile(r"K3D_(FIX|IMAGE|HELPER|DEBUG|LOG)_")

# $NAME, ${NAME}, ${NAME:-otherwise}; and what begins like one and is none.
REFERENCE = re.compile(r"\$(?:([A-Za-z_]\w*)|\{([A-Za-z_]\w*)(?::-([^}]*))?\}|\{)", re.ASCII)

SECRET = re.compile("PROXY|PASS|PWD|TOKEN|SECRET|KEY|AUTH|CRED|LOGIN", re.IGNORECASE)


def read_env_file(file: Path, problems: list[str], environment: Mapping[str, str]) -> dict[str, str]:
    """The keys and values of one file; what cannot be read is added to the problems.

    A name after `$` is looked up in the environment, and then in the lines above, in the order in which they win.
    """
    try:
        content = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        problems.append(f"{file.name}: cannot be read: {error}")
        return {}
    except UnicodeDecodeError as error:
        problems.append(f"{file.name}: cannot be read: {error}. Save it as UTF-8.")
        return {}
    if "\0" in content:
        problems.append(f"{file.name}: cannot be read: it contains NUL characters. Is it UTF-8?")
        return {}
    values: dict[str, str] = {}
    names = ChainMap(dict(environment), values)
    for line in split_lines(content):
        original = line.original.string
        # The parser counts the blank lines above as a part of this one.
        blank = original[: len(original) - len(original.lstrip())].count("\n")
        where = f"{file.name}, line {line.original.line + blank}"
        if line.error or "=" in (line.key or ""):
            problems.append(f"{where}: expected KEY=value")  # not shown: it may hold a password
        elif line.key is not None and line.value is None:
            problems.append(f"{where}: {line.key} has no value. For an empty one write {line.key}=")
        elif line.key is not None and line.value is not None:
            literal = original.partition("=")[2].lstrip().startswith("'")
            try:
                values[line.key] = line.value if literal else expand(line.value, names)
            except KeyError as unset:
                problems.append(f"{where}: {line.key} contains {describe_unset(line.key, line.value, unset.args[0])}. "
                                "For a literal $, put the value in single quotes")
    return values


@lru_cache(maxsize=8)
def split_lines(content: str) -> tuple[Binding, ...]:
    """Kept, because every task of a command line reads the same files."""
    from dotenv.parser import parse_stream

    return (*parse_stream(io.StringIO(content)),)


def expand(value: str, names: Mapping[str, str]) -> str:
    """The value with the values of the names in it, and of a leading ~; KeyError for a name that is not set."""
    def replacement(found: re.Match[str]) -> str:
        name, otherwise = found[1] or found[2] or "", found[3]
        if otherwise is not None:
            return names.get(name, otherwise)
        return names[name]

    expanded = REFERENCE.sub(replacement, value)
    home = names.get("HOME")
    return home + expanded[1:] if home and re.match("~(/|$)", value) else expanded


def describe_unset(key: str, value: str, name: str) -> str:
    """What could not be replaced; not by its name where that may be a part of a password."""
    if not name:
        return "${ without a name and a }"
    return "a $ before a name that is not set" if SECRET.search(key) or "@" in value else f"${name}, which is not set"


def find_unexpanded(value: str) -> str:
    """The first $NAME in it that nothing has replaced; empty where there is none."""
    found = REFERENCE.search(value)
    return found[0] if found else ""


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
