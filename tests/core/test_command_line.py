"""How tasks are called and listed. This pins what core/invoke_patches.py and core/task_list.py bend in Invoke."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import shutil
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from conftest import ProcessProject, Project
from hypothesis import given
from hypothesis import strategies as st
from invoke import Exit
from recording import Fakes

from tasks.cluster.selection import cluster_numbers


def listed(project: Project) -> set[str]:
    """The clusters that a delete, the shortest of the cluster tasks, has asked k3d to delete."""
    return {words[3] for words in project.fakes.calls("k3d", "cluster", "delete")}


@pytest.fixture
def copy(tmp_path: Path, fakes: Fakes) -> ProcessProject:
    return ProcessProject(tmp_path / "it's a project", tmp_path / "home", fakes)


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
        (["k3d-cluster-delete", "1"], {"cl1"}),
        (["k3d-cluster-delete", "1,3"], {"cl1", "cl3"}),
        (["k3d-cluster-delete", "1-3"], {"cl1", "cl2", "cl3"}),
        (["k3d_cluster_delete", "1"], {"cl1"}),
        (["k3d-cluster-delete-4"], {"cl4"}),
        (["k3d_cluster_delete_4"], {"cl4"}),
        (["k3d-cluster-delete-4", "k3d-cluster-delete-5"], {"cl4", "cl5"}),
        (["k3d-cluster-delete", "--n", "1", "k3d-cluster-delete", "--n", "2"], {"cl1", "cl2"}),
        (["k3d-cluster-delete", "1", "k3d-cluster-delete", "2"], {"cl1", "cl2"}),
        (["k3d-cluster-delete-1", "k3d_cluster_delete", "2,3", "k3d-cluster-delete", "-n", "5"],
         {"cl1", "cl2", "cl3", "cl5"}),
        (["k3d-cluster-delete", "--all"], {f"cl{number}" for number in range(10)}),
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


def test_a_number_behind_a_name_may_be_as_long_as_the_ports_allow(clusters: Project) -> None:
    clusters.env(K3D_PORT_END="29")
    done = clusters.inv("k3d-cluster-delete-12")
    assert done.returncode == 0, done.stderr
    assert "cl12" in done.stdout + done.stderr


def test_flags_may_follow_a_number_in_any_spelling(clusters: Project) -> None:
    for words in (["k3d-cluster-delete", "1"], ["k3d-cluster-delete-1"], ["k3d-cluster-delete", "--n", "1"]):
        done = clusters.inv(*words, "--all")
        assert (done.returncode, done.stderr) == (1, "Use either --n or --all, not both.\n")


# --- the list ---------------------------------------------------------------------------------------------------------

GROUPS = {
    "Start here": "up tools status",
    "This machine":
        "cert cert-renew trust trust-verify trust-env untrust dns dns-verify dns-remove dnsmasq-brew "
        "dnsmasq-brew-install dnsmasq-brew-configure podman-machine-prepare uninstall",
    "Clusters":
        "k3d-cluster-setup k3d-cluster-configure k3d-cluster-examples k3d-cluster-list k3d-cluster-stop "
        "k3d-cluster-start k3d-cluster-restart k3d-cluster-delete adopt "
        "front-door front-door-remove images",
    "When something does not work": "doctor trace matrix",
}


def groups(text: str) -> dict[str, str]:
    """The titles of a list, each with the names below it."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line.startswith("  ") and found:
            found[list(found)[-1]].append(line.split()[0])
        elif line and not line.endswith(("TASK", "and so on")):
            found[line] = []
    return {title: " ".join(names) for title, names in found.items()}


@pytest.mark.parametrize("words", [[], ["--list"], ["-l"], ["--dry"], ["--echo", "--list"]])
def test_the_list_shows_every_task_in_its_group_and_order(project: Project, words: list[str]) -> None:
    done = project.inv(*words)
    assert (done.returncode, done.stderr) == (0, "")
    assert groups(done.stdout) == GROUPS
    assert len(done.stdout.splitlines()) <= 45
    assert max(map(len, done.stdout.splitlines())) < 80, "no description is wrapped"
    assert "\nTo see the flags of a task: inv --help TASK\n" in done.stdout
    assert done.stdout.endswith("k3d-cluster-setup is also cluster-setup, and so on\n")


def test_the_formats_and_depth_of_a_list_are_those_of_invoke(project: Project) -> None:
    listed = json.loads(project.inv("--list", "--list-format", "json").stdout)
    assert sorted(task["name"] for task in listed["tasks"]) == sorted(" ".join(GROUPS.values()).split())
    for words in (["-F", "nested"], ["--list-depth", "1"]):
        assert project.inv("--list", *words).stdout.startswith("Available tasks (")


@pytest.mark.process
def test_tasks_that_a_team_adds_are_listed_too(copy: ProcessProject) -> None:
    with (copy.folder / "tasks" / "__init__.py").open("a") as file:
        file.write("""

from invoke import Collection, task


@task(aliases=["s"])
def seed(context):
    "Fill the database"


@task
def lint(context, count=1):
    pass


ns.add_task(seed)
ns.add_collection(Collection("team", lint))
""")
    found = groups(copy.inv("--list").stdout)
    assert found == {**GROUPS, "Other tasks": "seed team.lint"}
    assert "  seed (s)                 Fill the database\n" in copy.inv("--list").stdout
    assert copy.inv("--list", "team").stdout.startswith("Available 'team' tasks:\n\n  .lint")
    assert copy.inv("team.lint", "--count", "x").stderr == "'x' is not a number.\n"


@pytest.mark.parametrize("columns", [10, 45, 60, 200])
@pytest.mark.process
def test_the_list_and_a_tasks_flags_are_whole_in_any_terminal(copy: ProcessProject, columns: int) -> None:
    for words, expected in ((["--list"], "Set everything up"), (["--help", "uninstall"], "--keep-clusters")):
        text = in_terminal(copy, columns, *words)
        assert expected in " ".join(text.split()) and "Traceback" not in text
        if columns > 45:
            flags = text[max(text.find("Options:"), 0) :]  # what comes before is the task's own text
            assert max(map(len, flags.splitlines()[2:])) <= columns


def in_terminal(copy: ProcessProject, columns: int, *words: str) -> str:
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen([sys.executable, "-m", "invoke", *words], cwd=copy.folder, stdin=follower,
                               stdout=follower, stderr=follower, env=copy.environment())
    os.close(follower)
    text = b""
    try:
        while part := os.read(leader, 65536):
            text += part
    except OSError:  # how a terminal says that its other end is closed
        pass
    os.close(leader)
    assert process.wait() == 0, text.decode()
    return text.decode()


@pytest.mark.parametrize("start", [["inv"], ["invoke"], [sys.executable, "-m", "invoke"]], ids=["inv", "invoke", "-m"])
@pytest.mark.process
def test_however_invoke_is_started_it_is_bent_alike(copy: ProcessProject, start: list[str]) -> None:
    bin = str(Path(sys.executable).parent)
    environment = copy.environment()
    environment["PATH"] = f"{bin}{os.pathsep}{environment['PATH']}"

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*start, *words], cwd=copy.folder, capture_output=True, text=True, env=environment)

    assert groups(run().stdout) == GROUPS
    assert run("--help", "dnsmasq_brew").stdout.startswith("Usage: ")
    refused = run("k3d-cluster-setup", "--n")
    assert (refused.returncode, refused.stderr) == (1, "--n needs a value. For example: --n 1\n")


@pytest.mark.process
def test_a_list_whose_reader_has_gone_ends_quietly(copy: ProcessProject) -> None:
    for unbuffered in ("", "1"):
        process = subprocess.Popen(
            [sys.executable, "-m", "invoke", "--list"], cwd=copy.folder, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, env=copy.environment({"PYTHONUNBUFFERED": unbuffered}))
        assert process.stdout and process.stderr
        process.stdout.close()
        assert (process.stderr.read(), process.wait()) == ("", 141)


@pytest.mark.process
def test_the_list_works_from_a_sub_folder_and_with_a_broken_env(copy: ProcessProject) -> None:
    (copy.folder / ".env").write_bytes(b"\xff\xfe not = text\nK3D_PORT_START=abc\n")
    done = subprocess.run([sys.executable, "-m", "invoke", "--list"], cwd=copy.folder / "templates" / "examples",
                          env=copy.environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "k3d-cluster-setup" in done.stdout


def test_help_and_completion_know_the_long_flag(project: Project) -> None:
    assert "-n STRING, --n STRING" in project.inv("--help", "k3d-cluster-setup").stdout
    offered = project.inv("--complete", "--", "inv k3d-cluster-setup --").stdout.split()
    assert "--n" in offered


@pytest.mark.parametrize(("typed", "offered"), [
    ("k3d-cluster-configure-1 --re", "--all --n --reinstall"),
    ("k3d_cluster_configure 1 --re", "--all --n --reinstall"),
    ("k3d-cluster-configure nonsense --re", "--all --n --reinstall"),
    ("k3d-cluster-setup --n", ""),
])
def test_completion_reads_a_line_as_a_run_does(project: Project, typed: str, offered: str) -> None:
    done = project.inv("--complete", "--", f"inv {typed}")
    assert (done.returncode, done.stderr) == (0, "")
    assert " ".join(done.stdout.split()) == offered


def test_completion_offers_every_task_and_each_shell_has_its_script(project: Project) -> None:
    names = " ".join(GROUPS.values()).split()
    neutral = [name.removeprefix("k3d-") for name in names if name.startswith("k3d-")]
    assert sorted(project.inv("--complete", "--", "inv ").stdout.split()) == sorted([*names, *neutral])
    for shell in ("bash", "zsh", "fish"):
        assert "--complete" in project.inv("--print-completion-script", shell).stdout


@pytest.mark.process
def test_the_list_imports_nothing_heavy(copy: ProcessProject) -> None:
    code = (
        "import sys; sys.argv = ['inv', '--list']\n"
        "from invoke import Program\n"
        "Program(binary='inv').run(exit=False)\n"
        "heavy = {'jinja2', 'cryptography', 'rich', 'dns', 'dotenv'} & set(sys.modules)\n"
        "sys.exit(f'imported: {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=copy.folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.process
def test_modules_are_compiled_once_unless_python_was_told_otherwise(copy: ProcessProject) -> None:
    for cache in [*(copy.folder / "tasks").rglob("__pycache__")]:
        shutil.rmtree(cache)
    for setting, written in (("1", False), ("", True)):
        subprocess.run([sys.executable, "-m", "invoke", "--list"], cwd=copy.folder, capture_output=True, check=True,
                       env=copy.environment({"PYTHONDONTWRITEBYTECODE": setting}))
        assert any((copy.folder / "tasks").rglob("*.pyc")) == written


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
    assert f"{URL} breaks here:\n  host name, app.cl9.k3d.internal: the cluster cl9 does not exist\n" in done.stderr
    assert done.stdout.startswith("[\n") == ("--json" in words)


@pytest.mark.parametrize("words", [["trace"], ["trace", "--json"], ["trace", "--dry"], ["--dry", "trace"],
                                   ["trace", ""]])
def test_a_url_that_is_left_out_is_asked_for_with_an_example(clusters: Project, words: list[str]) -> None:
    done = clusters.inv(*words)
    assert done.returncode == 1
    assert done.stderr == "A URL is required. For example: inv trace https://example-nginx.cl0.k3d.internal:10443/\n"
    assert done.stdout == ""


# --- a line that cannot be meant --------------------------------------------------------------------------------------

SETUP, STOP, ALL_TASKS = "k3d-cluster-setup", "k3d-cluster-stop", "To see all tasks: inv --list"
ALL_FLAGS = "To see all of them: inv --help"


@pytest.mark.parametrize(("line", "said"), [
    ("nonsense", f"There is no task 'nonsense'. {ALL_TASKS}"),
    ("docter", "There is no task 'docter'. Did you mean doctor?"),
    ("Status", "There is no task 'Status'. Did you mean status?"),
    ("verify", "There is no task 'verify'. Did you mean trust-verify or dns-verify?"),
    ("k3d_cluster_setpu", f"There is no task 'k3d_cluster_setpu'. Did you mean {SETUP}, {STOP} or k3d-cluster-list?"),
    ("status-1", "There is no task 'status-1'. Did you mean status?"),
    ("status docter", "There is no task 'docter'. Did you mean doctor?"),
    ("status nonsense", f"status takes no arguments, and there is no task 'nonsense'. {ALL_TASKS}"),
    ("status 1", f"status takes no arguments, and there is no task '1'. {ALL_TASKS}"),
    (f"trace {URL} nonsense", f"trace takes only one argument, and there is no task 'nonsense'. {ALL_TASKS}"),
    (f"{SETUP} xyz", "'xyz' is neither a cluster number (1, 1,2 or 1-3) nor a task."),
    (f"{SETUP} k3d-cluster-example 1",
     "'k3d-cluster-example' is neither a cluster number (1, 1,2 or 1-3) nor a task. Did you mean "
     f"k3d-cluster-examples, k3d-cluster-delete or {SETUP}?"),
    (f"{SETUP} 1 2", f"{SETUP} takes its clusters in one word, such as 1,2 or 1-3, and '2' is a second one."),
    (f"{SETUP}-1 2", f"{SETUP} takes its clusters in one word, such as 1,2 or 1-3, and '2' is a second one."),
    (f"{SETUP} 1 --n 2", "--n was given twice. For several clusters type: --n 1,2 or --n 1-3"),
    (f"{SETUP}-1 -n2", "-n was given twice. For several clusters type: --n 1,2 or --n 1-3"),
    ("trust --stores nss --stores java", "--stores was given twice. Give it once."),
    (f"{SETUP} --n", "--n needs a value. For example: --n 1"),
    (f"{SETUP} -n", "--n needs a value. For example: --n 1"),
    (f"{SETUP} --n --dry", "--n needs a value. For example: --n 1"),
    (f"{STOP} --n --all", "--n needs a value. For example: --n 1"),
    (f"{SETUP} --n k3d-cluster-list", "Specify the cluster: --n 1, --n 1,2 or --n 1-3 (got 'k3d-cluster-list')."),
    (SETUP, "Specify the cluster: --n 1, --n 1,2 or --n 1-3 (got '')."),
    ("trust --stores", "--stores needs a value. To see its flags: inv --help trust"),
    ("trust --config", "--config needs a value. To see its flags: inv --help trust"),
    (f"{SETUP} --nn 1", f"{SETUP} has no flag --nn. Did you mean --n? To see its flags: inv --help {SETUP}"),
    (f"{SETUP} --nn=1", f"{SETUP} has no flag --nn. Did you mean --n? To see its flags: inv --help {SETUP}"),
    (f"{STOP} --al", f"{STOP} has no flag --al. Did you mean --all? To see its flags: inv --help {STOP}"),
    (f"{STOP} -x", f"{STOP} has no flag -x. To see its flags: inv --help {STOP}"),
    (f"{STOP} all", f"'all' is a flag of {STOP}. Type: inv {STOP} --all"),
    ("--n 1", f"inv has no flag --n. Flags of a task go after its name. {ALL_FLAGS}"),
    ("--lsit", f"inv has no flag --lsit. Did you mean --list? {ALL_FLAGS}"),
    ("--help nonsense", f"There is no task 'nonsense'. {ALL_TASKS}"),
    ("--help docter", "There is no task 'docter'. Did you mean doctor?"),
    ("--list Clusters", f"There is no namespace 'Clusters'. {ALL_TASKS}"),
    ("--list --format json", f"inv has no flag --format. Did you mean --list-format? {ALL_FLAGS}"),
    ("--list -F xml", "There is no list format 'xml'. Choose flat, nested or json."),
    ("status --command-timeout soon", "'soon' is not a number."),
])
def test_what_is_wrong_is_one_sentence_that_says_what_to_type(clusters: Project, line: str, said: str) -> None:
    done = clusters.inv(*line.split())
    assert done.returncode == 1
    assert (done.stdout, done.stderr) == ("", f"{said}\n")
    assert not clusters.fakes.calls("k3d", "cluster", "create")


@pytest.mark.parametrize("name", ["dnsmasq_brew", "dnsmasq-brew", "k3d_cluster_setup_1", "k3d-cluster-setup-1"])
def test_help_knows_a_task_by_every_spelling_of_its_name(project: Project, name: str) -> None:
    for words in (["--help", name], [name, "--help"]):
        done = project.inv(*words)
        assert done.returncode == 0 and done.stdout.startswith("Usage: ")


def test_the_originals_spelling_runs_the_task(project: Project) -> None:
    project.fakes.add("uname")
    project.fakes.answer("^uname", "Linux\n")
    assert project.inv("dnsmasq_brew").stderr == project.inv("dnsmasq-brew").stderr
    assert "dnsmasq-brew" in project.inv("dnsmasq_brew").stderr
