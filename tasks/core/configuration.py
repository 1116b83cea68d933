"""Read the settings: .default.env, then .env, then the environment, checked as a whole."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from invoke import Exit

from tasks.core import setting_types
from tasks.core.env_files import find_unexpanded, read_env_file, unknown_keys
from tasks.core.setting_checks import check_together
from tasks.core.settings import ENVIRONMENT, LATER, READERS, Refused, Settings


def load(project: Path | None = None, environment: Mapping[str, str] = os.environ) -> Settings:
    """Read and check everything; Exit lists all that is wrong at once, each with its place, key and value."""
    project = project or setting_types.PROJECT
    problems: list[str] = []
    names = {**os.environ, **environment}
    defaults = read_env_file(project / ".default.env", problems, names)
    env = project / ".env"
    chosen = read_env_file(env, problems, names) if env.exists() or env.is_symlink() else {}
    problems += unknown_keys(chosen, READERS)
    try:
        Path.home()
    except RuntimeError:
        problems.append("the environment: HOME is not set, and the system has no home folder for this user. Set HOME.")

    sources = {ENVIRONMENT: environment, ".env": chosen, ".default.env": defaults}
    values: dict[str, Any] = {}
    places: dict[str, str] = {}
    invalid: set[str] = set()
    for key, reader in READERS.items():
        given = [(place, source[key]) for place, source in sources.items() if key in source]
        if not given:
            problems.append(f".default.env: {key} is missing. Every setting needs its default there.")
        for place, raw in given:
            try:
                values[key.lower()], places[key] = reader(raw), place
                break
            except ValueError as error:
                shown = re.sub("://[^/]*@", "://***@", raw)  # without a password
                problem = f"{place}: {key}={shown!r} is invalid: expected {error}"
                if key in LATER:
                    values[key.lower()] = Refused(place, problem)
                    break
                problems.append(problem)
                invalid.add(key)  # the next place's value stands in, so that the rest is checked in the same run

    others = {key: value for key, value in {**defaults, **chosen}.items()
              if key not in READERS and key not in environment}
    problems += kubeconfig_problems({ENVIRONMENT: environment, ".env": others})
    settings = None
    if len(values) == len(READERS):
        settings = Settings(**values, environment=others, places=places)
        problems += check_together(settings, places, invalid)
    if problems or settings is None:
        problems += [value.problem for value in values.values() if isinstance(value, Refused)]
        raise Exit("Invalid settings:\n" + "\n".join(f"  {problem}" for problem in problems))
    if settings.tld.split(".")[-1] == "local":
        print("TLD=local is reserved for mDNS (RFC 6762), so many systems do not look it up in DNS. "
              "Use internal or test instead.", file=sys.stderr)
    return settings


def kubeconfig_problems(sources: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    """KUBECONFIG is not a key of ours, but a folder that it names would be created, such as one called $HOME."""
    for place, source in sources.items():
        if "KUBECONFIG" in source:
            for entry in source["KUBECONFIG"].split(os.pathsep):
                if (name := find_unexpanded(entry)) and not Path(entry).exists():
                    yield f"{place}: KUBECONFIG={source['KUBECONFIG']!r} is invalid: nothing has replaced {name} in it"
