"""The system's packages that these tasks installed, and a file that lists them so that they can be removed."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from tasks.core import system_files
from tasks.core.shell import Shell
from tasks.core.templates import render
from tasks.core.well_known import DOCKER_GROUP, MANAGER


class Family(NamedTuple):
    """A family of distributions: its package manager, Docker's packages, and how it installs and removes."""

    manager: str
    packages: tuple[str, ...]
    install: tuple[str, ...]
    remove: tuple[str, ...]
    before: tuple[tuple[str, ...], ...] = ()
    """What has to run before an installation."""


# The first whose package manager exists is used.
FAMILIES = (
    # Debian, Ubuntu. From Debian 13 on, the command is in docker-cli, which docker.io recommends.
    Family("apt-get", ("docker.io",), ("install", "--yes", "--option", "APT::Install-Recommends=true"),
           ("remove", "--yes"), before=(("apt-get", "update"),)),
    # Fedora: https://packages.fedoraproject.org/pkgs/moby-engine/
    Family("dnf", ("moby-engine", "docker-cli"), ("install", "--assumeyes"), ("remove", "--assumeyes")),
    # Arch: https://wiki.archlinux.org/title/Docker
    Family("pacman", ("docker",), ("-S", "--needed", "--noconfirm"), ("-R", "--noconfirm")),
    # openSUSE: https://en.opensuse.org/Docker
    Family("zypper", ("docker",), ("--non-interactive", "install"), ("--non-interactive", "remove")),
)


def find_family(shell: Shell) -> Family | None:
    return next((family for family in FAMILIES if shell.find(family.manager)), None)


class Record(NamedTuple):
    """What these tasks installed on this machine."""

    packages: tuple[str, ...] = ()
    user: str = ""
    """Who became a member of the group."""


def record_file() -> Path:
    return system_files.ROOT / "etc" / MANAGER / "packages"


def read_record(file: Path) -> Record:
    if not system_files.own_files(file):
        return Record()
    lines = [line.split() for line in file.read_text(encoding="utf-8").splitlines()]
    return Record(tuple(words[1] for words in lines if words[:1] == ["package"]),
                  next((words[1] for words in lines if words[:1] == ["member"]), ""))


def render_record(record: Record) -> str:
    return render("tools/packages", packages=record.packages, user=record.user)


def add_to_record(shell: Shell, new: Record) -> None:
    """List this before it is done, so that it can be undone even after an interruption."""
    listed = read_record(record_file())
    every = tuple(dict.fromkeys([*listed.packages, *new.packages]))
    text = render_record(Record(every, new.user or listed.user))
    system_files.install(shell, record_file(), text, why="list what is installed, to remove it later")


def install(shell: Shell, names: tuple[str, ...]) -> None:
    """Install packages, after `find_family` found a family."""
    family = find_family(shell)
    assert family
    with shell.step("", f"packages {', '.join(names)}") as this:
        for command in family.before:
            shell.sudo(*command, why="read which packages there are")
        shell.sudo(family.manager, *family.install, *names, why="install them")
        this.outcome = f"installed with {family.manager}"


def remove(shell: Shell) -> None:
    """Remove what these tasks installed; Docker's images and volumes stay."""
    record, family = read_record(record_file()), find_family(shell)
    with shell.step("", "packages") as this:
        if record.user:
            shell.sudo("gpasswd", "--delete", record.user, DOCKER_GROUP, why="end the membership")
        if family and record.packages:
            shell.sudo(family.manager, *family.remove, *record.packages, why="remove what was installed")
        system_files.remove(shell, record_file(), why="they are no longer installed")
        if record_file().parent.is_dir() and {*record_file().parent.iterdir()} <= {record_file()}:
            shell.sudo("rmdir", str(record_file().parent), why="leave no empty folder")
        this.outcome = "removed. Docker's images and volumes stay in /var/lib/docker"
