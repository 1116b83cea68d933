"""How tasks are called. This pins what tasks/names.py bends in Invoke."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import SOURCE, ProcessProject, Project
from hypothesis import given
from hypothesis import strategies as st
from invoke import Exit
from recording import Fakes

from tasks.core.settings import cluster_numbers


def listed(project: Project) -> set[str]:
    """The clusters that a delete, the shortest of the cluster tasks, has asked k3d to delete."""
    return {words[3] for words in project.fakes.calls("k3d", "cluster", "delete")}


@pytest.fixture
def clusters(project: Project) -> Project:
    project.fakes.add("docker", "k3d", "kubectl", "pgrep")
    project.fakes.answer("^docker version", "28.0.0\n")
    project.fakes.answer("^pgrep", exit=1)
    project.fakes.answer("^k3d version", "k3d version v5.8.3\n")
    project.fakes.answer("^k3d cluster list", json.dumps([{"name": f"cl{n}", "nodes": []} for n in range(10)]))
    return project


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["k3d-cluster-delete", "--n", "1"], {"cl1"}),
        (["k3d-cluster-delete", "--n=1"], {"cl1"}),
        (["k3d-cluster-delete", "-n", "1"], {"cl1"}),
        (["k3d-cluster-delete", "-n1"], {"cl1"}),
        (["k3d-cluster-delete", "--n", "1,3"], {"cl1", "cl3"}),
        (["k3d-cluster-delete", "--n", "1-3"], {"cl1", "cl2", "cl3"}),
        (["k3d-cluster-delete-4"], {"cl4"}),
        (["k3d-cluster-delete-4", "k3d-cluster-delete-5"], {"cl4", "cl5"}),
        (["k3d-cluster-delete", "--n", "1", "k3d-cluster-delete", "--n", "2"], {"cl1", "cl2"}),
    ],
)
def test_every_spelling_of_a_cluster_number_means_that_cluster(
    clusters: Project, words: list[str], expected: set[str]
) -> None:
    done = clusters.inv(*words)
    assert done.returncode == 0, done.stderr
    assert listed(clusters) == expected


@pytest.mark.parametrize("number", ["", "a", "-1", "3-1", "1,,2", "１", "1;2", "99999999999"])
def test_what_is_no_cluster_number_is_refused_with_the_ways_to_say_one(clusters: Project, number: str) -> None:
    done = clusters.inv("k3d-cluster-delete", f"--n={number}")
    assert done.returncode == 1
    assert "--n 1, --n 1,2 or --n 1-3" in done.stderr
    assert not clusters.fakes.calls("k3d", "cluster", "delete")


def test_a_number_outside_the_ports_is_refused_when_the_task_runs(clusters: Project) -> None:
    clusters.env(K3D_PORT_END="12")
    done = clusters.inv("k3d-cluster-delete-7")
    assert done.returncode == 1
    assert "There is no cluster 7" in done.stderr and "K3D_PORT_END=12" in done.stderr


@given(st.lists(st.integers(0, 99), min_size=1, max_size=20))
def test_a_list_of_numbers_is_read_in_its_order_and_each_once(numbers: list[int]) -> None:
    assert cluster_numbers(",".join(map(str, numbers))) == list(dict.fromkeys(numbers))


@given(st.text())
def test_any_other_text_ends_in_a_clear_error(text: str) -> None:
    try:
        assert all(0 <= number <= 9999 for number in cluster_numbers(text))
    except Exit as error:
        assert "--n 1" in str(error.message)


def test_the_list_is_short_and_names_every_task(project: Project) -> None:
    done = project.inv("--list")
    assert len(done.stdout.splitlines()) <= 45
    for name in ("cert", "dnsmasq-brew", "dnsmasq-brew-install", "dnsmasq-brew-configure", "podman-machine-prepare",
                 "k3d-cluster-setup", "k3d-cluster-configure", "k3d-cluster-examples", "k3d-cluster-delete", "up"):
        assert f"  {name} " in done.stdout


@pytest.mark.process
def test_the_list_works_from_a_sub_folder_and_with_a_broken_env(tmp_path: Path, fakes: Fakes) -> None:
    copy = ProcessProject(tmp_path / "it's a project", tmp_path / "home", fakes)
    (copy.folder / ".env").write_bytes(b"\xff\xfe not = text\nK3D_PORT_START=abc\n")
    done = subprocess.run([sys.executable, "-m", "invoke", "--list"], cwd=copy.folder / "templates" / "examples",
                          env=copy.environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "k3d-cluster-setup" in done.stdout


def test_help_and_completion_know_the_long_flag(project: Project) -> None:
    assert "-n STRING, --n STRING" in project.inv("--help", "k3d-cluster-setup").stdout
    offered = project.inv("--complete", "--", "inv k3d-cluster-setup --").stdout.split()
    assert "--n" in offered


@pytest.mark.process
def test_the_list_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['inv', '--list']\n"
        "from invoke import Program\n"
        "Program(binary='inv').run(exit=False)\n"
        "heavy = {'jinja2', 'cryptography', 'rich', 'dns', 'dotenv'} & set(sys.modules)\n"
        "sys.exit(f'imported: {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=SOURCE, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# --- a bare word ------------------------------------------------------------------------------------------------------

URL = "https://app.cl9.k3d.internal:19443/?a=b&c"


@pytest.mark.parametrize("words", [
    ["trace", URL], ["trace", URL, "--json"], ["trace", "--json", URL], ["trace", "--url", URL],
    ["trace", f"--url={URL}"], ["trace", "-u", URL], ["--dry", "trace", URL], ["trace", "--dry", URL],
    ["trace", URL, "--dry"], ["trace", URL, "k3d-cluster-list"],
])
def test_a_url_is_a_bare_word_before_or_behind_flags_and_before_another_task(
    clusters: Project, words: list[str]
) -> None:
    clusters.fakes.answer("^k3d cluster list", "[]")
    done = clusters.inv(*words)
    assert done.returncode == 1
    assert f"{URL} is broken here:\n  host name, app.cl9.k3d.internal: there is no cluster cl9\n" in done.stderr
    assert done.stdout.startswith("[\n") == ("--json" in words)


@pytest.mark.parametrize("words", [["trace"], ["trace", "--json"], ["trace", "--dry"], ["--dry", "trace"],
                                   ["trace", ""]])
def test_a_url_that_is_left_out_is_asked_for_with_an_example(clusters: Project, words: list[str]) -> None:
    done = clusters.inv(*words)
    assert done.returncode == 1
    assert done.stderr == "Say which URL. For example: inv trace https://example-nginx.cl0.k3d.internal:10443/\n"
    assert done.stdout == ""


def test_a_second_bare_word_and_one_that_no_task_takes_are_refused_as_before(clusters: Project) -> None:
    for words in (["trace", URL, "nonsense"], ["k3d-cluster-list", "nonsense"], ["nonsense"]):
        done = clusters.inv(*words)
        assert done.returncode == 1 and done.stderr == "No idea what 'nonsense' is!\n"
    assert clusters.inv("trace", "--help").stdout.startswith("Usage: ")
