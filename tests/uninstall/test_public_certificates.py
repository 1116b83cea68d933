"""What an uninstall does with the certificates of an ACME server."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Project

SERVER = "acme.example.com_directory"


@pytest.fixture
def acme(project: Project) -> Path:
    """The folder with the files of lego and certbot for cluster 1, and an account."""
    project.fakes.add("docker", "k3d", "kubectl", "pgrep", "uname", "systemctl", "nmcli")
    project.fakes.answer("^uname", "Linux\n")
    project.fakes.answer("^k3d cluster list", "[]")
    project.fakes.answer("^docker", exit=1)
    project.fakes.answer("^pgrep", exit=1)
    folder = project.home / ".local-ca-certs" / "acme"
    put(folder, ".dev-cluster-tasks", "accounts/me/account.json", *files_of("cl1.k3d.internal"))
    return folder


def files_of(domain: str) -> list[str]:
    return [f"certificates/{domain}.crt", f"certificates/{domain}.key", f"certificates/{domain}.issuer.crt",
            f"certbot/live/{domain}/fullchain.pem", f"certbot/archive/{domain}/privkey1.pem",
            f"certbot/renewal/{domain}.conf"]


def put(folder: Path, *names: str) -> None:
    for name in names:
        file = folder / SERVER / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()


def left(folder: Path) -> list[str]:
    return sorted(str(file.relative_to(folder / SERVER)) for file in folder.rglob("*") if file.is_file())


def test_they_and_the_accounts_are_removed_unless_the_ca_is_kept(project: Project, acme: Path) -> None:
    before = left(acme)
    project.inv("uninstall", "--yes", "--keep-ca", "--keep-clusters")
    assert left(acme) == before
    shown = project.inv("--dry", "uninstall", "--keep-clusters").stdout
    assert f"certificates of an ACME server, with their keys: {acme}" in shown and left(acme) == before
    assert project.inv("uninstall", "--yes", "--keep-clusters").returncode == 0
    assert not acme.exists()


def test_those_of_another_copy_are_shown_and_kept_with_the_account(project: Project, acme: Path) -> None:
    theirs = files_of("cl1.other.example")
    put(acme, *theirs)
    run = project.inv("uninstall", "--yes", "--keep-clusters")
    assert run.returncode == 0 and "cl1.other.example.crt" in run.stdout
    assert left(acme) == sorted([*theirs, "accounts/me/account.json", ".dev-cluster-tasks"])


def test_a_folder_of_somebody_else_and_names_in_the_path_of_ours_are_left_alone(project: Project, acme: Path) -> None:
    theirs = project.home / "cl0.k3d.internal-certs" / "acme"
    put(theirs, ".dev-cluster-tasks", "certificates/cl0.other.example.crt", "certificates/cl0.other.example.key")
    for folder in (acme, theirs):
        (folder / "acme.sh").mkdir()
        (folder / "acme.sh" / "www.key").touch()
    project.env(CERT_FOLDER=str(theirs.parent))
    assert project.inv("uninstall", "--yes", "--keep-clusters").returncode == 0
    assert (theirs / SERVER / "certificates/cl0.other.example.key").exists() and (theirs / "acme.sh/www.key").exists()
    project.env()
    assert project.inv("uninstall", "--yes", "--keep-clusters").returncode == 0
    assert [file.name for file in acme.rglob("*") if file.is_file()] == ["www.key"]
