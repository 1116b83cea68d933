"""The company CA in a podman machine."""

from __future__ import annotations

import hashlib
import shlex
from pathlib import Path

import ca
import pytest
from conftest import Project

ANCHOR = "/etc/pki/ca-trust/source/anchors/dev-clusters-additional-ca.crt"
UPLOAD = "/tmp/dev-clusters-additional-ca.crt"


@pytest.fixture
def bundle(project: Project) -> Path:
    """A company's CA, set in .env, in a file whose name a shell would misread without quotes."""
    file = project.home / "it's $our company's CA.pem"
    file.write_bytes(ca.authority(excluded=[]).pem)
    escaped = str(file).replace("'", "\\'")
    project.env(ADDITIONAL_CA_BUNDLE_FILE=f"'{escaped}'")
    project.fakes.add("podman")
    return file


def checksum(machine: str) -> list[str]:
    return ["podman", "machine", "ssh", machine, "sha256sum", ANCHOR]


def prepare(machine: str, bundle: Path) -> list[list[str]]:
    """The user of a rootless machine may write only to /tmp; sudo works in both kinds of machine."""
    ssh = ["podman", "machine", "ssh", machine, "sudo"]
    return [
        ["podman", "machine", "cp", str(bundle), f"{machine}:{UPLOAD}"],
        [*ssh, "install", "-o", "root", "-g", "root", "-m", "0644", UPLOAD, ANCHOR],
        [*ssh, "update-ca-trust"],
        [*ssh, "rm", "-f", UPLOAD],
    ]


@pytest.mark.parametrize(
    ("words", "machine"),
    [([], "podman-machine-default"), (["--"], "podman-machine-default"), (["--", "My_machine-2.x"], "My_machine-2.x")],
)
def test_the_bundle_is_installed_in_the_podman_machine_as_root(
    project: Project, bundle: Path, words: list[str], machine: str
) -> None:
    project.fakes.answer("sha256sum", exit=1)
    done = project.inv("podman-machine-prepare", *words)
    assert done.returncode == 0, done.stderr
    assert project.fakes.calls() == [checksum(machine), *prepare(machine, bundle)]
    assert f"✓ podman machine {machine}: now trusts the CA " in done.stdout


def test_a_machine_with_this_bundle_is_not_changed_and_one_with_an_older_bundle_is(
    project: Project, bundle: Path
) -> None:
    project.fakes.answer("sha256sum", f"{hashlib.sha256(bundle.read_bytes()).hexdigest()}  {ANCHOR}\n")
    done = project.inv("podman-machine-prepare")
    assert done.returncode == 0 and "podman machine podman-machine-default: already trusts the CA " in done.stdout
    assert project.fakes.calls() == [checksum("podman-machine-default")]

    project.fakes.forget()
    bundle.write_bytes(bundle.read_bytes() * 2)
    assert project.inv("podman-machine-prepare").returncode == 0
    assert project.fakes.calls()[1:] == prepare("podman-machine-default", bundle)


@pytest.mark.parametrize(
    "words", [["-v"], [""], ["a:b; touch pwned"], ["one", "two"]], ids=["option", "empty", "signs", "two"]
)
def test_an_invalid_machine_name_is_refused(project: Project, bundle: Path, words: list[str]) -> None:
    done = project.inv("podman-machine-prepare", "--", *words)
    assert done.returncode == 1
    assert done.stderr == f"Give the name of one machine after --, not: {' '.join(words)}\n"
    assert not project.fakes.calls()


def test_without_a_bundle_there_is_nothing_to_install(project: Project) -> None:
    project.fakes.add("podman")
    done = project.inv("podman-machine-prepare")
    assert done.returncode == 1
    assert done.stderr == ("ADDITIONAL_CA_BUNDLE_FILE is not set. "
                           "Set it in .env to the path of your company's CA bundle.\n")
    assert not project.fakes.calls()


def test_the_error_for_a_stopped_machine_says_how_to_start_it(project: Project, bundle: Path) -> None:
    project.fakes.answer("^podman", stderr="Error: VM is not running\n", exit=125)
    done = project.inv("podman-machine-prepare", "--", "work")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "podman machine work: podman exited with code 125.",
        f"  {shlex.join(prepare('work', bundle)[0])}",
        "  | Error: VM is not running",
        "If it is not running, start it: podman machine start work",
    ]
    assert project.fakes.calls() == [checksum("work"), prepare("work", bundle)[0]]


def test_a_dry_run_prints_the_commands_and_runs_none(project: Project, bundle: Path) -> None:
    project.fakes.answer("sha256sum", exit=1)
    done = project.inv("--dry", "podman-machine-prepare")
    assert done.returncode == 0
    assert [line for line in done.stdout.splitlines() if not line.startswith("#")] == [
        shlex.join(words) for words in prepare("podman-machine-default", bundle)
    ]
    assert project.fakes.calls() == [checksum("podman-machine-default")]


def test_the_error_without_podman_says_how_to_install_it(project: Project, bundle: Path) -> None:
    (project.fakes.bin / "podman").unlink()
    done = project.inv("podman-machine-prepare", environment={"PATH": str(project.fakes.bin)})
    assert done.returncode == 1
    assert done.stderr == (
        "This task cannot run yet:\n  podman is not installed: brew install podman, or https://podman.io/docs/installation\n"
    )
