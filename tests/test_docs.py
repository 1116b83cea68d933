"""The pages: generated parts are as the code is now, and links, files, commands and pictures are right."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import SOURCE
from invoke import Program

from docs import generate
from tasks import ns
from tasks.core.settings import READERS

PAGES = [*sorted(SOURCE.glob("*.md")), *sorted((SOURCE / "docs").glob("*.md"))]
PICTURES = sorted((SOURCE / "docs" / "pictures").glob("*.svg"))


def by_name(file: Path) -> str:
    return str(file.relative_to(SOURCE))


def anchors(page: Path) -> set[str]:
    """What GitHub makes of the headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands() -> Iterator[tuple[str, str]]:
    """Every command line of a page that starts with `inv`, in a block of shell commands or in the text."""
    for page in PAGES:
        text = page.read_text()
        blocks = "\n".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL))
        in_text = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
        for line in [*blocks.splitlines(), *in_text]:
            if found := re.match(r"\s*inv ((?:--dry |--echo )?[a-z][^#$;|&)]+)", line):
                yield by_name(page), found[1].strip()


@pytest.mark.parametrize("name", generate.PAGES)
def test_a_generated_page_is_what_the_code_says(name: str) -> None:
    committed = (SOURCE / "docs" / name).read_text()
    assert committed == generate.page(name), "write it again with: python -m docs.generate"
    assert committed.startswith("<!-- ") and "python -m docs.generate -->" in committed.splitlines()[0]


def test_the_settings_page_has_every_setting_and_no_other() -> None:
    tables = (SOURCE / "docs" / "settings.md").read_text()
    rows = re.findall(r"^\| (`[A-Z].*?) \|", tables, re.MULTILINE)
    assert sorted(key for row in rows for key in re.findall(r"`(\w+)`", row)) == sorted(READERS)


def test_the_task_page_has_every_task() -> None:
    listed = re.findall(r"^### `inv ([a-z0-9-]+)`$", (SOURCE / "docs" / "tasks.md").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(ns.task_names)


@pytest.mark.parametrize(("page", "command"), sorted(set(commands())))
def test_invoke_accepts_every_command_of_the_pages(page: str, command: str) -> None:
    program = Program(namespace=ns)
    program.create_config()
    program.parse_core(["inv", *shlex.split(command)])
    program.parse_collection()
    program.parse_tasks()
    assert program.tasks


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_every_link_within_the_repository_leads_to_a_file_and_heading(page: Path) -> None:
    text = page.read_text()
    for link in [*re.findall(r"\]\(([^)\s]+)\)", text), *re.findall(r'(?:src|srcset|href)="([^"]+)"', text)]:
        if "://" not in link:
            file, _, anchor = link.partition("#")
            target = page.parent / file if file else page
            assert target.exists(), link
            assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_every_file_that_a_page_names_is_there(page: Path) -> None:
    for path in re.findall(r"`((?:tasks|templates|tests|docs|benchmarks|\.github|\.ci)/[\w./-]*)`", page.read_text()):
        assert (SOURCE / path).exists(), path


def test_every_file_that_the_code_names_is_there() -> None:
    files = [file for folder in ("tasks", "tests", "templates", "docs", "benchmarks")
             for file in (SOURCE / folder).rglob("*") if file.suffix in {".py", ".yaml"}]
    names = {(by_name(file), name) for file in files
             for name in re.findall(r"(?<![\w/.-])(?:tasks|tests)/[\w/-]+\.py", file.read_text())}
    assert [(file, name) for file, name in sorted(names) if not (SOURCE / name).exists()] == []


@pytest.mark.parametrize("picture", PICTURES, ids=by_name)
def test_a_picture_needs_no_network_and_shows_no_strange_path(picture: Path) -> None:
    text = picture.read_text()
    assert "@font-face" not in text and "url(http" not in text and "<image" not in text
    assert not re.search(r"/(?:root|work|tmp|Users)/|/home/(?!dev\b)", text)


def test_both_pictures_of_the_routes_differ_in_their_colors_alone() -> None:
    light, dark = (re.sub(r"#[0-9a-f]{6}", "COLOR", (SOURCE / f"docs/pictures/routes-{name}.svg").read_text())
                   for name in ("light", "dark"))
    assert light == dark


def test_imports_point_down_the_list_of_folders_and_every_folder_is_in_it() -> None:
    listed = (SOURCE / "docs" / "customizing.md").read_text().partition("## Where things are")[2].split("```")[1]
    rooms = ["__init__", "stories", *re.findall(r"^tasks/(\w+)/ ", listed, re.MULTILINE)]
    stories = {*re.findall(r"(\w+)\.py", listed)} - {"tasks", "__init__"}
    assert set(rooms[2:]) == {file.parent.name for file in (SOURCE / "tasks").glob("*/__init__.py")}
    assert stories == {file.stem for file in (SOURCE / "tasks").glob("*.py")} - {"__init__"}
    for file in (SOURCE / "tasks").rglob("*.py"):
        room = file.relative_to(SOURCE / "tasks").with_suffix("").parts[0]
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and re.match(r"tasks(\.|$)", node.module or ""):
                modules = [(node.module or "").split(".")[1]] if "." in (node.module or "") else [
                    alias.name for alias in node.names]
                for module in modules:
                    source, target = ("stories" if name in stories else name for name in (room, module))
                    assert rooms.index(source) <= rooms.index(target), f"{file.name} imports {module}"
