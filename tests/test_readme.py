"""What the README says is there."""

from __future__ import annotations

import re

import pytest
from conftest import SOURCE, Project

from tasks.core.settings import READERS

README = (SOURCE / "README.md").read_text()


def test_the_readme_explains_every_setting_and_no_other() -> None:
    rows = re.findall(r"^\| ((?:`[A-Z0-9_]+`(?:, )?)+) \|", README, re.MULTILINE)
    assert sorted(key for row in rows for key in re.findall(r"`([A-Z0-9_]+)`", row)) == sorted(READERS)


@pytest.mark.parametrize("command", sorted(set(re.findall(r"inv (?:--dry |--echo )?([a-z0-9-]+)", README))))
def test_every_task_that_the_readme_names_is_there(project: Project, command: str) -> None:
    if command.startswith("--"):
        assert command in project.inv("--help").stdout
    else:
        assert project.inv("--help", command).returncode == 0


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:tasks|templates|tests)/[\w./]+)`", README))))
def test_every_file_that_the_readme_names_is_there(path: str) -> None:
    assert (SOURCE / path).exists()
