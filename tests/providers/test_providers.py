"""What makes clusters is known to its provider alone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from conftest import SOURCE

from tasks.core.by_number import PROGRAMS
from tasks.providers import PROVIDERS

# Settings and their fields, tasks, domains, files and links: names that do not depend on what makes the cluster.
TYPED = re.compile(r"\bK3D_[A-Z_]+|\bk3d_(?!cluster\b)\w+|\bk3d-cluster-[\w{]+|\bk3d_cluster_\w+|[\w.]*\.k3d\.internal"
                   r"|tasks/providers/\w+\.py|https://\S+")

# A word such as `kind` has other meanings too.
NAMED = re.compile(r"\bk3d\b|\bkind(\", \"| )(create|delete|get|load|export|cluster)\b|io\.x-k8s\.kind")

# Programs to download and their bugs, variables that a program reads itself, and values that settings may have.
OF_A_PROGRAM = {"core/by_number.py", "core/env_files.py", "core/setting_checks.py", "core/setting_types.py",
                "core/settings.py", "core/task_list.py", "core/tool_environment.py", "doctor/bugs.py",
                "tools/__init__.py", "tools/install.py", "tools/required.py"}

FILES = [file for file in sorted((SOURCE / "tasks").rglob("*.py"))
         if file.parent.name != "providers" and str(file.relative_to(SOURCE / "tasks")) not in OF_A_PROGRAM]


def test_the_settings_know_every_provider_that_makes_clusters() -> None:
    assert set(PROGRAMS) == set(PROVIDERS)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SOURCE)))
def test_no_provider_is_named_outside_of_its_module(file: Path) -> None:
    lines = enumerate(file.read_text().splitlines(), 1)
    assert [(number, line) for number, line in lines if NAMED.search(TYPED.sub("", line))] == []
