"""The README is one page, and its two commands are there in the form that CI runs."""

from __future__ import annotations

import re

from conftest import SOURCE

README = (SOURCE / "README.md").read_text()
INSTALL = "python3 -m venv .venv && .venv/bin/pip install -q -e"


def test_the_readme_is_one_page() -> None:
    assert len(README.splitlines()) <= 140


def test_the_readme_has_one_command_to_start_and_one_to_test() -> None:
    assert [line for line in README.splitlines() if line.startswith("python3 -m venv")] == [
        f"{INSTALL} . && .venv/bin/inv up", f"{INSTALL} '.[test]' && .venv/bin/pytest"]


def test_the_readme_explains_how_to_publish_an_application() -> None:
    manifest = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)[0]
    assert "kind: Ingress" in manifest and "cert-manager.io/cluster-issuer: root-ca" in manifest
    assert "trust=enabled" in README
