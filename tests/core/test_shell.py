"""How commands run: tools that are missing or too old, what .env adds, Ctrl-C, and --dry, which only looks."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Project
from hypothesis import example, given, settings
from hypothesis import strategies as st
from invoke import Context
from invoke.runners import Result
from pretend import World, world_of

from tasks.core.shell import CommandFailed, Shell


@pytest.fixture
def world(project: Project) -> Iterator[World]:
    with world_of(project) as world:
        yield world


# --- required tools ---------------------------------------------------------------------------------------------------


def test_all_missing_tools_are_named_at_once_each_with_the_way_to_get_it(project: Project) -> None:
    done = project.inv("k3d-cluster-setup", "--n", "1", environment={"PATH": str(project.fakes.bin)})
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "This task cannot run yet:",
        "  docker is not installed: https://docs.docker.com/get-started/get-docker/ "
        "(or Colima, or podman with the docker command)",
        "  k3d is not installed: inv tools --install, brew install k3d, or https://k3d.io/stable/#installation",
        "  helm is not installed: inv tools --install, brew install helm, or https://helm.sh/docs/intro/install/",
        "  kubectl is not installed: inv tools --install, brew install kubectl, or https://kubernetes.io/docs/tasks/tools/",
        "  openssl is not installed: brew install openssl, or your system's package openssl",
    ]


def test_tools_that_are_too_old_and_an_engine_that_does_not_answer_are_named_at_once(world: World) -> None:
    world.tools(k3d="v5.7.0", helm="v3.13.9+g1")
    world.fakes.answer("^docker version", stderr="a warning\nCannot connect to the Docker daemon\n", exit=1)
    done = world.inv("k3d-cluster-setup", "--n", "1")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "This task cannot run yet:",
        "  docker is installed, but its engine does not answer (Cannot connect to the Docker daemon): start Docker",
        "  k3d 5.7.1 or newer is needed, but this is k3d version v5.7.0: "
        "inv tools --install, brew install k3d, or https://k3d.io/stable/#installation",
        "  helm 3.14.0 or newer is needed, but this is v3.13.9+g1: "
        "inv tools --install, brew install helm, or https://helm.sh/docs/intro/install/",
    ]
    assert world.changes() == []


@pytest.mark.parametrize(("k3d", "helm"), [("v5.7.1", "v3.14.0+g3fc9f4b"), ("v6.0.0-rc.1", "v4.0.1+g12500dd")])
def test_the_oldest_tools_and_the_next_major_versions_are_good_enough(world: World, k3d: str, helm: str) -> None:
    world.tools(k3d=k3d, helm=helm)
    assert "cl1 does not exist" in world.inv("k3d-cluster-configure", "--n", "1").stderr


# --- the environment --------------------------------------------------------------------------------------------------


def test_the_tools_speak_english_whatever_the_user_speaks_because_what_they_say_is_read(world: World) -> None:
    world.inv("k3d-cluster-configure", "--n", "1", LANGUAGE="nl:de", LANG="nl_NL.UTF-8")
    environments = world.fakes.environments()
    assert {environment["LANGUAGE"] for environment in environments} == {"en"}
    assert {environment["LANG"] for environment in environments} == {"nl_NL.UTF-8"}, "what they read and write is kept"


def test_keys_of_env_that_are_not_ours_reach_the_tools_and_the_users_environment_wins(world: World) -> None:
    world.env(DOCKER_HOST="tcp://chosen", HTTPS_PROXY="http://in-env-file")
    world.inv("k3d-cluster-configure", "--n", "1", HTTPS_PROXY="http://in-environment")
    environments = world.fakes.environments()
    assert environments
    for environment in environments:
        assert environment["DOCKER_HOST"] == "tcp://chosen"
        assert environment["HTTPS_PROXY"] == "http://in-environment"


UNWANTED = {
    "KUBECTL_EXTERNAL_DIFF": "meld", "KUBECTL_INTERACTIVE_DELETE": "true", "HELM_NAMESPACE": "production",
    "HELM_KUBECONTEXT": "production", "HELM_KUBETOKEN": "of-production", "HELM_KUBEAPISERVER": "https://production",
    "HELM_DEBUG": "true", "HELM_DRIVER": "configmap", "DOCKER_DEFAULT_PLATFORM": "linux/s390x", "LOG_LEVEL": "trace",
    "PAGER": "less", "SYSTEMD_PAGER": "less", "LESS": "-X", "BASH_ENV": "/nowhere/functions", "SYSTEMD_COLORS": "1",
    "LC_ALL": "nl_NL.UTF-8", "CLICOLOR_FORCE": "1",
}
CHOSEN = {
    "DOCKER_CONTEXT": "colima", "DOCKER_CONFIG": "/logins", "HELM_REGISTRY_CONFIG": "/logins",
    "HELM_CACHE_HOME": "/cache", "HELM_PLUGINS": "/plugins", "KUBECONFIG": "/kube", "K3D_FIX_DNS": "1",
    "KUBECTL_PORT_FORWARD_WEBSOCKETS": "false", "SSH_AUTH_SOCK": "/agent",
}


@pytest.mark.parametrize("in_file", [False, True])
def test_what_would_change_the_answers_of_programs_does_not_reach_them_and_what_is_chosen_does(
    world: World, in_file: bool
) -> None:
    users = {**UNWANTED, **CHOSEN, "KUBERC": "/kuberc", "KUBECTL_KUBERC": "true", "DOCKER_CLI_HINTS": "true"}
    if in_file:
        world.env(**{key: value for key, value in users.items() if key not in ("K3D_FIX_DNS", "KUBECONFIG")})
        users = {key: users[key] for key in ("K3D_FIX_DNS", "KUBECONFIG")}
    world.network(there=True)
    world.cluster_list(world.cluster(1))
    done = world.inv("k3d-cluster-configure", "--n", "1", **users)
    assert done.returncode == 0, done.stderr
    environments = world.fakes.environments()
    assert world.fakes.environments("kubectl") and world.fakes.environments("helm")
    for environment in environments:
        assert not UNWANTED.keys() & environment.keys()
        assert CHOSEN.items() <= environment.items()
        assert (environment["KUBERC"], environment["KUBECTL_KUBERC"], environment["DOCKER_CLI_HINTS"]) == (
            "off", "false", "false")
        assert (environment["LC_CTYPE"], environment["LC_MESSAGES"]) == ("nl_NL.UTF-8", "C")


@pytest.mark.process
def test_neither_a_command_nor_one_in_the_background_gets_what_programs_must_not_see(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HELM_NAMESPACE", "production")
    monkeypatch.setenv("BASH_FUNC_env%%", "() { echo a function of the user; }")
    shell = Shell(Context(), {})
    assert "LANGUAGE=en" in shell.look("env").stdout
    assert "HELM_NAMESPACE" not in shell.look("env").stdout
    with shell.background("sh", "-c", "env; exec sleep 100") as said:
        shell.until("it to print", 10, lambda: "LANGUAGE=en" in said())
        assert "HELM_NAMESPACE" not in said()


# --- standard input ---------------------------------------------------------------------------------------------------


@pytest.mark.process
def test_a_command_that_asks_gets_no_answer_and_ends_at_once() -> None:
    shell = Shell(Context(), {})
    started = time.monotonic()
    assert shell.look("cat", seconds=20).ok
    assert shell.change("cat").ok
    assert not shell.look("bash", "-c", "read -p 'Are you sure? '", seconds=20).ok
    assert time.monotonic() - started < 10


@pytest.mark.process
def test_a_command_that_takes_too_long_is_ended_itself_and_not_only_its_shell() -> None:
    started = time.monotonic()
    assert not Shell(Context(), {}).look("sleep", "30.4711", seconds=1).ok
    assert time.monotonic() - started < 15


# --- quoting ----------------------------------------------------------------------------------------------------------


@pytest.mark.process
@settings(deadline=None)
@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), max_size=10))
@example(["it's", '"$HOME"', "$(id)", "`id`", "*", "", "-n", "a\nb", "a\r\nb", "\\", "!", "~", "é", ";", "#"])
def test_words_arrive_as_they_are_through_a_real_shell(words: list[str]) -> None:
    """What the tests' own runner, which asks no shell, cannot prove."""
    assert Shell(Context(), {}).look("printf", r"%s\0", *words, "").stdout.split("\0")[:-2] == words


# --- Ctrl-C -----------------------------------------------------------------------------------------------------------


@pytest.mark.process
@pytest.mark.parametrize("all_processes", [True, False])
def test_ctrl_c_ends_a_run_that_waits_in_several_places(world: World, all_processes: bool) -> None:
    world.network(there=True)
    world.cluster_list(world.cluster(1))
    world.fakes.answer("^kubectl .*get helmchartconfigs", exit=1)
    running = world.project.start("k3d-cluster-configure", "--n", "1")
    while not any("helmchartconfigs" in words for words in world.fakes.calls()):
        assert running.poll() is None, running.communicate()
        time.sleep(0.05)
    (os.killpg if all_processes else os.kill)(running.pid, signal.SIGINT)
    stdout, stderr = running.communicate(timeout=60)
    assert running.returncode == 1
    assert stderr == ""
    assert "Traefik's access log: interrupted" in stdout
    assert "cl1 is ready" not in stdout


# --- --dry ------------------------------------------------------------------------------------------------------------


def printed(stdout: str) -> Counter[str]:
    """The commands in what --dry prints; all other lines are comments."""
    return Counter(line for line in stdout.splitlines() if line and not line.startswith("#"))


def contents(*folders: Path) -> dict[Path, tuple[int, bytes]]:
    files = (file for folder in folders for file in folder.rglob("*") if "__pycache__" not in file.parts)
    return {file: (file.stat().st_mode, file.read_bytes() if file.is_file() else b"") for file in files}


def test_a_dry_run_changes_nothing_and_names_what_only_a_run_can_know(world: World) -> None:
    before = contents(world.project.folder, world.project.home)
    done = world.inv("--dry", "k3d-cluster-setup", "--n", "1", "k3d-cluster-delete", "--n", "1")
    assert done.returncode == 0, done.stderr
    assert f"-p '<gateway of dev-clusters>:{world.http(1)}:80@loadbalancer'" in done.stdout
    assert contents(world.project.folder, world.project.home) == before
    assert world.changes() == []
    assert not world.fakes.calls("docker", "run"), "that may pull an image"


def test_a_dry_run_prints_word_for_word_what_the_run_then_executes(world: World) -> None:
    world.fakes.add_spies("openssl")
    world.network(there=True)
    connected = "^docker network inspect .*Labels"
    world.fakes.answer(connected, "dev-cluster-tasks 2\n")
    world.fakes.answer(connected, "dev-cluster-tasks 0\n", after="^k3d cluster delete")
    world.fakes.answer("^kubectl .*get secrets .*status in", "secret/broken-off\n")
    world.fakes.answer("^kubectl .*get-contexts", "k3d-cl1\n")
    world.cluster_list(world.cluster(1), after="^k3d cluster create")
    world.cluster_list(after="^k3d cluster delete")
    for task in (["k3d-cluster-setup", "--n", "1", "--", "--agents", "1", "a b's $HOME"],
                 ["k3d-cluster-delete", "--n", "1"]):
        before = len(world.changes())
        dry = world.inv("--dry", *task)
        assert len(world.changes()) == before
        assert task[0] == "k3d-cluster-delete" or not world.fakes.calls("docker", "run"), "that may pull an image"
        assert world.inv(*task).returncode == 0
        executed = world.changes()[before:]
        assert len(executed) >= 3
        assert printed(dry.stdout) == Counter(map(shlex.join, executed))


# --- waiting ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("said", "code"), [
    ("error: unknown flag: --request-timeout\nSee 'kubectl get --help' for usage.\n", 1),
    ("Error: unknown command \"get\" for \"kubectl\"\n", 1),
    ("unknown shorthand flag: 'x' in -x\n", 125),
    ("Usage: kubectl-wrapper\n", 64),
])
def test_a_check_that_ends_with_a_usage_error_ends_the_wait_at_once_with_that_error(
    world: World, said: str, code: int
) -> None:
    world.network(there=True)
    world.cluster_list(world.cluster(1))
    world.fakes.answer("^kubectl .*get helmchartconfigs", stderr=said, exit=code)
    started = time.monotonic()
    done = world.inv("k3d-cluster-configure", "--n", "1")
    assert time.monotonic() - started < 60
    assert done.returncode == 1
    assert len([words for words in world.fakes.calls("kubectl") if "helmchartconfigs" in words]) == 1
    assert f"kubectl exited with code {code}." in done.stderr
    assert f"  | {said.splitlines()[0]}" in done.stderr
    assert "This was to wait for k3s' HelmChartConfig." in done.stderr
    assert "timed out" not in done.stderr


@pytest.mark.process
def test_a_wait_for_a_program_that_is_gone_ends_at_once_and_a_check_that_only_fails_does_not() -> None:
    shell = Shell(Context(), {})
    with pytest.raises(CommandFailed, match="exited with code 127"):
        shell.until("it to answer", 60, lambda: shell.look("no-such-program").ok)
    assert not shell.look("no-such-program").ok, "outside a wait, a check never fails"
    waited = iter(range(3))
    shell.until("it", 60, lambda: not shell.look("bash", "-c", "echo unknown >&2; exit 1").ok and next(waited) == 2)


# --- looks that go on -------------------------------------------------------------------------------------------------


@pytest.mark.process
def test_a_look_in_the_background_ends_with_the_children_of_a_wrapper_script(tmp_path: Path) -> None:
    """kubectl of asdf, mise or snap is a script that starts the real one."""
    wrapper = tmp_path / "kubectl"
    wrapper.write_text("#!/bin/sh\nsleep 1000 &\necho child $!\nwait\n")
    wrapper.chmod(0o755)
    with Shell(Context(), {}).background(str(wrapper)) as said:
        while not said():
            time.sleep(0.05)
        child = said().split()[1]

    def state() -> str:
        return subprocess.run(["ps", "-o", "stat=", "-p", child], capture_output=True, text=True).stdout.strip()[:1]

    Shell(Context(), {}).until("it to end", 10, lambda: state() in ("", "Z"))


# --- what a killed run left behind ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("line", "is_it"), [
    ("certbot certonly --cert-name=cl1.dev.example.com --domain=*.cl1.dev.example.com", True),
    ("/x/bin/python3 /x/bin/certbot certonly --domain=cl1.dev.example.com --domain=other.example.com", True),
    ("/snap/certbot/1/bin/python3 -s /snap/certbot/1/bin/certbot certonly --domain=cl1.dev.example.com", True),
    ("certbot certonly --domain=cl10dev.example.com", False),
    ("certbot certonly --domain=cl1.dev.example.com.au", False),
    ("certbot renew --domain=cl1.dev.example.com", False),
    ("less notes about certbot certonly cl1.dev.example.com", False),
    ("bash -c pgrep -u 0 -f -- '^certbot certonly .*cl1.dev.example.com( |$)'", False),
])
def test_a_command_that_a_killed_run_left_behind_is_recognized(world: World, line: str, is_it: bool) -> None:
    world.fakes.answer("^pgrep", exit=1)

    class Seen(Shell):
        def look(self, *words: str, seconds: float = 0) -> Result:
            found = subprocess.run(["grep", "-E", words[-1]], input=line, capture_output=True, text=True)
            asked.append(found.returncode == 0)
            return Result(exited=1)

    asked: list[bool] = []
    Seen(Context(), {"PATH": str(world.fakes.bin)}).until_ended("certbot", "certonly", part="cl1.dev.example.com")
    assert asked == [is_it]


def test_without_pgrep_nothing_is_waited_for(world: World) -> None:
    (world.fakes.bin / "pgrep").unlink()
    done = world.inv("k3d-cluster-setup", "--n", "1")
    assert done.returncode == 0, done.stderr
