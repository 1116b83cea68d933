"""A Docker engine for a machine that has none; one that is there, in whatever state, is recognized and left alone."""

from __future__ import annotations

import getpass
import grp
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import Project
from machine import USER, become
from recording import Call

from tasks.tools import engine

ME, GID = getpass.getuser(), 990
NOT_RUNNING = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?\n"
FORBIDDEN = "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock\n"


class RunAgain(SystemExit):
    """`inv` becomes another program."""


class Bare:
    """A Linux with nothing but a package manager; it knows what was installed, started, and who is a member."""

    def __init__(self, project: Project) -> None:
        self.project, self.fakes, self.root = project, project.fakes, project.root
        self.became: list[str] = []
        self.members: list[str] = []
        self.groups: list[int] = []
        (self.root / "etc").mkdir()
        self.fakes.add("uname", "sudo", "usermod", "gpasswd", "systemctl", "service", "openssl", "curl")
        self.fakes.add_spies("mkdir", "install", "rm", "rmdir")
        self.fakes.answer("^uname", "Linux\n")
        self.fakes.behave("sudo", become)
        self.fakes.behave("usermod", lambda call: self.members.append(call.words[-1]))
        self.fakes.answer("^systemctl cat docker", exit=1)
        project.patches += [(os, "execvp", self.become), (grp, "getgrnam", self.group),
                            (os, "getgroups", lambda: self.groups)]

    def become(self, program: str, words: list[str]) -> None:
        self.became = words
        raise RunAgain(0)

    def group(self, name: str) -> Any:
        return SimpleNamespace(gr_gid=GID, gr_mem=self.members)

    def with_manager(self, manager: str) -> Bare:
        def install(call: Call) -> None:
            if any(word.startswith(("docker", "moby")) for word in call.words):
                self.with_docker()

        self.fakes.add(manager)
        self.fakes.behave(manager, install)
        return self

    def with_docker(self, started: str = "^(systemctl enable|service docker start)") -> Bare:
        """Its command, and a service that somebody has to start."""
        self.fakes.add("docker")
        self.fakes.answer("^docker version", stderr=NOT_RUNNING, exit=1)
        self.fakes.answer("^docker version", stderr=FORBIDDEN, exit=1, after=started)
        self.fakes.answer("^docker context show", "default\n")
        self.fakes.answer("^systemctl cat docker", "[Unit]\n")
        return self

    def with_systemd(self) -> Bare:
        (self.root / "run/systemd/system").mkdir(parents=True)
        return self

    def up(self, *flags: str, user: int = USER) -> Any:
        return self.project.inv("up", *flags, user=user, environment={"PATH": str(self.fakes.bin)})

    def changes(self) -> list[list[str]]:
        """As root, without the file that lists what was installed."""
        return [words[1:] for words in self.fakes.calls("sudo") if words[1] not in ("install", "mkdir", "rmdir", "rm")]

    @property
    def record(self) -> Path:
        return self.root / "etc/dev-cluster-tasks/packages"


@pytest.fixture
def bare(project: Project) -> Bare:
    return Bare(project)


# --- nothing there ----------------------------------------------------------------------------------------------------

ANSWERS = "\n  {packages}, installed with {manager}\n  Docker's engine started, now and with this machine\n"


@pytest.mark.parametrize(("manager", "installs", "packages", "removes"), [
    ("apt-get", [["apt-get", "update"], ["apt-get", "install", "--yes", "--option", "APT::Install-Recommends=true",
                                         "docker.io"]], "docker.io", ["apt-get", "remove", "--yes"]),
    ("dnf", [["dnf", "install", "--assumeyes", "moby-engine", "docker-cli"]], "moby-engine, docker-cli",
     ["dnf", "remove", "--assumeyes"]),
    ("pacman", [["pacman", "-S", "--needed", "--noconfirm", "docker"]], "docker", ["pacman", "-R", "--noconfirm"]),
    ("zypper", [["zypper", "--non-interactive", "install", "docker"]], "docker",
     ["zypper", "--non-interactive", "remove"]),
])
@pytest.mark.parametrize("systemd", [True, False], ids=["systemd", "no systemd, as in a container or WSL"])
def test_each_family_installs_its_packages_starts_the_engine_and_goes_on_as_a_member_of_its_group(
    bare: Bare, manager: str, installs: list[list[str]], packages: str, removes: list[str], systemd: bool
) -> None:
    if systemd:
        bare.with_systemd()
    run = bare.with_manager(manager).up("--yes", "--n", "1-2")
    starts = ["systemctl", "enable", "--now", "docker"] if systemd else ["service", "docker", "start"]
    joins = ["usermod", "--append", "--groups", "docker", ME]
    assert bare.changes() == [*installs, starts, joins]
    assert ANSWERS.format(packages=packages, manager=manager) in run.stdout
    assert f"  {ME} as a member of the group docker, whose members can become root on this machine\n" in run.stdout
    assert bare.became[:3] == ["sg", "docker", "-c"]
    assert shlex.split(bare.became[3]) == [sys.executable, "-m", "invoke", "up", "--yes", "--n", "1-2"]

    bare.groups.append(GID)
    bare.became = []
    bare.fakes.answer("^docker version", "28.0.0\n")
    bare.fakes.forget()
    again = bare.up("--yes")
    assert (bare.changes(), bare.became) == ([], []) and again.returncode == 1

    kept = bare.project.inv("uninstall", "--yes", user=USER)
    assert f"installed by inv up: {packages}, {ME} in the group docker: other programs may use it." in kept.stdout
    bare.fakes.forget()
    gone = bare.project.inv("uninstall", "--yes", "--tools", user=USER)
    assert gone.returncode == 0, gone.stderr
    assert bare.changes() == [["gpasswd", "--delete", ME, "docker"], [*removes, *packages.split(", ")]]
    assert not bare.record.parent.exists()


def test_root_needs_no_group(bare: Bare) -> None:
    bare.with_manager("apt-get").with_systemd().up("--yes", user=0)
    assert [words for words in bare.fakes.calls() if words[0] in ("usermod", "sudo")] == [] and not bare.became
    assert bare.fakes.calls("systemctl", "enable", "--now", "docker")


def test_openssl_and_curl_come_with_it(bare: Bare) -> None:
    for tool in ("openssl", "curl"):
        (bare.fakes.bin / tool).unlink()
    bare.with_manager("apt-get").up("--yes")
    assert bare.changes()[1][-3:] == ["docker.io", "openssl", "curl"]
    assert "package docker.io\npackage openssl\npackage curl\nmember " in bare.record.read_text()


@pytest.mark.parametrize("answer", ["n", ""])
def test_on_a_terminal_it_asks_and_without_one_it_only_says_what_is_missing(
    bare: Bare, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    bare.with_manager("apt-get")
    assert "docker is not installed: https://docs.docker.com/get-started/get-docker/" in bare.up().stderr
    assert bare.changes() == []
    asked: list[str] = []

    def ask(question: str, otherwise: bool) -> bool:
        asked.append(question)
        return otherwise if not answer else answer == "y"

    bare.project.patches += [(engine, "confirm", ask), (engine, "sys", SimpleNamespace(
        stdin=SimpleNamespace(isatty=lambda: True), stdout=sys.stdout, executable=sys.executable, argv=["inv", "up"]))]
    bare.up()
    assert asked[0].startswith("This machine needs:\n  docker.io, installed with apt-get\n")
    assert bool(bare.changes()) == (answer == "")


def test_without_root_the_commands_are_for_an_administrator(bare: Bare) -> None:
    run = bare.with_manager("apt-get").up("--yes", "--no-root")
    assert bare.changes() == [] and run.returncode == 1
    left = run.stderr.partition("then run this task again:\n")[2]
    assert [shlex.split(line, comments=True)[0] for line in left.splitlines()] == [
        "mkdir", "install", "apt-get", "apt-get", "service", "usermod"]


def test_a_failed_installation_is_listed_all_the_same(bare: Bare) -> None:
    bare.with_manager("apt-get").fakes.answer("^apt-get install", stderr="E: Unable to fetch\n", exit=100)
    run = bare.up("--yes")
    assert run.returncode == 1 and "E: Unable to fetch" in run.stderr
    assert "package docker.io" in bare.record.read_text()


def test_a_linux_with_another_package_manager_is_told_where_to_get_docker(bare: Bare) -> None:
    run = bare.up("--yes")
    assert bare.changes() == [] and "docker is not installed: https://docs.docker.com/" in run.stderr


# --- macOS ------------------------------------------------------------------------------------------------------------


START = ["colima", "start", "--cpu", "2", "--memory", "4"]


@pytest.fixture
def mac(bare: Bare) -> Bare:
    """With Homebrew, and none of its packages."""
    bare.fakes.answer("^uname", "Darwin\n")
    bare.fakes.add("brew", "colima")
    bare.fakes.answer("^brew --prefix", f"{bare.root / 'homebrew'}\n")
    for name in ("colima", "docker"):
        bare.fakes.answer(f"^brew list --versions {name}", exit=1, before=f"^brew install .*{name}")
    return bare


def changes_of_colima(mac: Bare) -> list[list[str]]:
    looks = (["brew", "list"], ["brew", "--prefix"], ["colima", "status"])
    return [words for words in mac.fakes.calls() if words[0] in ("brew", "colima") and words[:2] not in looks]


def test_a_mac_gets_colima_with_its_size_told_and_gives_it_back_when_asked(mac: Bare) -> None:
    run = mac.up("--yes")
    assert changes_of_colima(mac) == [["brew", "install", "colima", "docker"], START]
    assert "2 processors and 4 GiB of memory, which is enough for one cluster" in run.stdout

    kept = mac.project.inv("uninstall", "--yes", user=USER)
    assert "installed by inv up: colima, docker: other programs may use it." in kept.stdout
    mac.fakes.answer("^brew list")
    gone = mac.project.inv("uninstall", "--yes", "--tools", user=USER)
    assert gone.returncode == 0, gone.stderr
    assert changes_of_colima(mac)[2:] == [["colima", "stop"], ["brew", "uninstall", "colima", "docker"]]
    assert "Docker's images and volumes stay in ~/.colima" in gone.stdout
    assert [*(mac.root / "homebrew/etc").iterdir()] == []
    assert "installed by inv up" not in mac.project.inv("uninstall", "--yes", "--tools", user=USER).stdout


def test_a_colima_that_was_there_before_is_not_removed(mac: Bare) -> None:
    mac.fakes.answer("^brew list --versions colima", "colima 0.8.1\n")
    mac.up("--yes")
    assert changes_of_colima(mac) == [["brew", "install", "docker"], START]
    mac.fakes.answer("^brew list")
    mac.project.inv("uninstall", "--yes", "--tools", user=USER)
    assert changes_of_colima(mac)[2:] == [["brew", "uninstall", "docker"]]


def test_a_mac_without_homebrew_is_told_where_to_get_docker(mac: Bare) -> None:
    (mac.fakes.bin / "brew").unlink()
    run = mac.up("--yes")
    assert changes_of_colima(mac) == [] and "docker is not installed: https://docs.docker.com/" in run.stderr


# --- an engine that is there ------------------------------------------------------------------------------------------


def other_context(bare: Bare, context: str, endpoint: str) -> None:
    bare.with_docker(started="^never")
    bare.fakes.answer("^docker context show", f"{context}\n")
    bare.fakes.answer(f"^docker context inspect {context}", f"{endpoint}\n")


def desktop(bare: Bare) -> None:
    bare.fakes.add("docker")
    bare.fakes.answer("^docker", "\nThe command 'docker' could not be found in this WSL 2 distro.\n", exit=1)


STATES: list[tuple[Callable[[Bare], object], str]] = [
    (lambda bare: other_context(bare, "rootless", "unix:///run/user/1000/docker.sock"),
     "docker uses a rootless engine (unix:///run/user/1000/docker.sock), which is not running: "
     "systemctl --user start docker"),
    (lambda bare: other_context(bare, "colima", "unix:///home/me/.colima/default/docker.sock"),
     "docker is installed, but its engine is not running: colima start"),
    (lambda bare: other_context(bare, "build-server", "ssh://me@build.example"),
     "docker uses the engine of build-server (ssh://me@build.example), which does not answer: start it, or choose "
     "another one of: docker context ls"),
    (lambda bare: bare.with_docker("^never").project.env(DOCKER_HOST="tcp://192.0.2.1:2375"),
     "docker uses the engine of DOCKER_HOST (tcp://192.0.2.1:2375), which does not answer"),
    (desktop, "Docker Desktop is not turned on for this WSL distribution: in its settings, open Resources, WSL "
              "integration"),
    (lambda bare: bare.fakes.add("podman"), "docker is not installed, but podman is: install its docker command "
                                            "(package podman-docker), or a Docker engine beside it"),
]


@pytest.mark.parametrize(("there", "told"), STATES, ids=[told[:60] for _, told in STATES])
def test_an_engine_in_another_state_is_told_and_nothing_is_installed_over_it(
    bare: Bare, there: Callable[[Bare], object], told: str
) -> None:
    bare.with_manager("apt-get")
    there(bare)
    run = bare.up("--yes")
    assert (run.returncode, bare.changes()) == (1, []) and told in run.stderr


def test_a_stopped_engine_is_started_and_a_user_who_may_not_use_it_is_let_in(bare: Bare) -> None:
    bare.with_systemd().with_docker()
    assert "its engine is not running: sudo systemctl enable --now docker" in bare.up().stderr
    bare.up("--yes")
    assert bare.changes() == [["systemctl", "enable", "--now", "docker"],
                              ["usermod", "--append", "--groups", "docker", ME]]
    assert bare.became[0] == "sg"


def test_a_member_since_a_moment_ago_goes_on_without_another_change(bare: Bare) -> None:
    bare.with_docker(started="^uname")
    bare.members.append(ME)
    assert f"docker is installed, but {ME} may not use its engine: sudo usermod -aG docker {ME}, then log in" in (
        bare.up().stderr)
    bare.up("--yes")
    assert bare.changes() == [] and bare.became[:2] == ["sg", "docker"]
