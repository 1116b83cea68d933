"""Renovate moves every version in .default.env: renovate.json."""

from __future__ import annotations

import json
import re

import pytest
from conftest import SOURCE

MANAGERS = json.loads((SOURCE / "renovate.json").read_text())["customManagers"]
DEFAULTS = (SOURCE / ".default.env").read_text()
PINS = re.findall(r"^((?:\w+_VERSION|\w+_IMAGE|IMAGE_\w+)=.+)$", DEFAULTS, re.MULTILINE)


def in_python(pattern: str) -> str:
    """Renovate writes a named group as (?<name>...)."""
    return re.sub(r"\(\?<(?=\w)", "(?P<", pattern)


def matches(manager: dict[str, list[str]]) -> list[re.Match[str]]:
    return [match for pattern in manager["matchStrings"] for match in re.finditer(in_python(pattern), DEFAULTS)]


@pytest.mark.parametrize("pin", PINS, ids=lambda pin: pin.partition("=")[0])
def test_exactly_one_manager_finds_each_pin_with_its_version(pin: str) -> None:
    found = [match for manager in MANAGERS for match in matches(manager) if match[0].strip() == pin]
    assert len(found) == 1
    assert pin.endswith((f"={found[0]['currentValue']}", f":{found[0]['currentValue']}"))


def test_no_manager_finds_anything_else() -> None:
    assert sorted(match[0].strip() for manager in MANAGERS for match in matches(manager)) == sorted(PINS)


@pytest.mark.parametrize("manager", MANAGERS, ids=lambda manager: manager["description"])
def test_a_manager_has_what_renovate_needs_for_a_lookup(manager: dict[str, str]) -> None:
    assert manager["customType"] == "regex"
    assert {"managerFilePatterns", "datasourceTemplate", "versioningTemplate"} <= manager.keys()
    assert "depNameTemplate" in manager or "(?<depName>" in "".join(manager["matchStrings"])
    assert all(re.search(pattern.strip("/"), ".default.env") for pattern in manager["managerFilePatterns"])


def test_versions_that_regex_versioning_describes_are_the_pinned_ones() -> None:
    for manager in MANAGERS:
        kind, _, pattern = manager["versioningTemplate"].partition(":")
        if kind == "regex":
            assert all(re.fullmatch(in_python(pattern), match["currentValue"]) for match in matches(manager))
