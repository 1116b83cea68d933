"""The stores of JDKs, with the real java and keytool."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import ca
import pytest
from conftest import Project
from invoke import Context
from recording import Fakes

from tasks.core import system_files
from tasks.core.shell import Shell
from tasks.trust import java

REAL = Path(os.path.realpath(shutil.which("keytool") or "/nowhere/bin/keytool")).parents[1]

pytestmark = pytest.mark.skipif(not (REAL / "bin" / "javac").exists(), reason="no JDK is installed")


@pytest.fixture
def linux(tmp_path: Path, fakes: Fakes) -> Project:
    """A project with its root, a home folder with a space and a quote in its name, and no JDK."""
    project = Project(tmp_path / "project", tmp_path / "Ann's home", fakes)
    fakes.add("uname")
    fakes.answer("^uname", "Linux\n")
    project.env(TRUST_STORES="")
    assert project.inv("cert").returncode == 0
    fakes.forget()
    return project


KINDS = {
    "JKS": ("-storetype", "JKS"),  # JDK 17 and earlier
    "PKCS12": ("-storetype", "PKCS12", "-J-Dkeystore.pkcs12.certProtectionAlgorithm=NONE",
               "-J-Dkeystore.pkcs12.macAlgorithm=NONE"),  # later ones, readable without the password
    "LOCKED": ("-storetype", "JKS"),
}


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of each kind with one root of others."""
    folder = tmp_path_factory.mktemp("stores")
    (folder / "another.pem").write_bytes(ca.authority("example.org").pem)
    for kind, words in KINDS.items():
        keytool(folder / kind, "-importcert", "-noprompt", "-alias", "another", "-file",
                str(folder / "another.pem"), *words, password="something else" if kind == "LOCKED" else "changeit")
    return folder


def jdk(fakes: Fakes, home: Path, original: Path, cacerts: str = "lib/security/cacerts") -> Path:
    """A folder that looks like a JDK: recorders that run the real programs, and its own store."""
    store = home / cacerts
    store.parent.mkdir(parents=True)
    shutil.copy(original, store)
    programs = store.parents[2] / "bin"
    programs.mkdir()
    for name in ("java", "keytool"):
        fakes.add_spies(name, real=str(REAL / "bin" / name), folder=programs)
    return store


def keytool(store: Path, *words: str, password: str = "changeit") -> str:
    done = subprocess.run(
        [str(REAL / "bin" / "keytool"), *words, "-keystore", str(store), "-storepass", password],
        capture_output=True, text=True, timeout=60,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def inv(project: Project, task: str, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return project.inv(*words, task, "--stores", "java", environment=environment)


def changes(project: Project) -> list[list[str]]:
    return [words for words in project.fakes.calls("keytool") if words[1] in ("-importcert", "-delete")]


@pytest.mark.process
def test_every_jdk_takes_the_root_is_proved_and_is_afterwards_as_before(linux: Project, originals: Path) -> None:
    stores = [jdk(linux.fakes, linux.root / "opt/it's a jdk", originals / "PKCS12"),
              jdk(linux.fakes, linux.root / "chosen", originals / "JKS", "jre/lib/security/cacerts")]
    chosen = {"JAVA_HOME": str(linux.root / "chosen")}
    before = [keytool(store, "-list") for store in stores]

    refused = inv(linux, "trust-verify", **chosen)
    assert refused.returncode == 1
    assert refused.stdout.count("a certificate issued by the root is rejected") == len(stores)
    assert changes(linux) == []

    done = inv(linux, "trust", **chosen)
    assert done.returncode == 0, done.stderr
    root = linux.home / ".local-ca-certs" / "internal-ca.crt"
    [label] = {words[4] for words in changes(linux)}
    assert label.startswith("dev-cluster-tasks-")
    assert len(changes(linux)) == len(stores)
    for words in changes(linux):
        assert words == ["keytool", "-importcert", "-noprompt", "-alias", label, "-file", str(root), "-keystore",
                         words[8], "-storepass", "changeit"]
    proved = inv(linux, "trust-verify", **chosen)
    assert proved.returncode == 0, proved.stdout
    assert " ".join(proved.stdout.split()).count("this store ignores name constraints on roots") == len(stores)

    linux.fakes.forget()
    content = [store.read_bytes() for store in stores]
    again = inv(linux, "trust", **chosen)
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("already there") == len(stores)
    assert changes(linux) == []
    assert [store.read_bytes() for store in stores] == content

    assert inv(linux, "untrust", **chosen).returncode == 0
    assert [keytool(store, "-list") for store in stores] == before
    assert inv(linux, "untrust", **chosen).stdout == ""


def test_each_store_is_found_once_and_the_systems_own_is_left_to_the_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, home, outside = tmp_path / "machine", tmp_path / "Ann's home", tmp_path / "outside"
    monkeypatch.setattr(system_files, "ROOT", root)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("JAVA_HOME", str(root / "chosen"))
    stores = [folder / "lib/security/cacerts" for folder in (
        root / "usr/lib/jvm/jdk-17", root / "opt/jdk", root / "Library/Java/JavaVirtualMachines/a/Contents/Home",
        root / "on path", home / ".sdkman/candidates/java/17-tem", home / ".jdks/openjdk-21",
        home / "Library/Java/JavaVirtualMachines/a/Contents/Home",
    )] + [root / "chosen/jre/lib/security/cacerts"]
    for store in [*stores, outside / "lib/security/cacerts"]:
        store.parent.mkdir(parents=True)
        store.touch()
    (home / ".sdkman/candidates/java/17-tem").rename(home / ".sdkman/candidates/java/current")
    (home / ".sdkman/candidates/java/17-tem").symlink_to("current")
    for number, generated in enumerate(java.GENERATED):
        for file in (root / generated, root / f"usr/lib/jvm/system-{number}/lib/security/cacerts"):
            file.parent.mkdir(parents=True)
        (root / generated).touch()
        file.symlink_to(root / generated)
    for folder in (root / "on path", outside):
        (folder / "bin").mkdir()
        (folder / "bin" / "java").touch(mode=0o755)

    def found(folder: Path) -> set[Path]:
        places = java.find_places(Shell(Context(), {"PATH": str(folder / "bin")}))
        assert len(places) == len(set(places))
        return {Path(place).resolve() for place in places}

    assert found(root / "on path") == {store.resolve() for store in stores}
    assert len(java.find_places(Shell(Context(), {"PATH": str(root / "on path/bin")}))) == len(stores)
    assert found(outside) == {store.resolve() for store in stores if "on path" not in str(store)}


@pytest.mark.process
def test_a_java_without_a_compiler_is_asked_for_the_entry_that_signed_the_leaf(
    linux: Project, originals: Path
) -> None:
    store = jdk(linux.fakes, linux.root / "opt/jre", originals / "PKCS12")
    linux.fakes.answer("^java ", stderr="error: Module jdk.compiler not found\n", exit=1)
    assert inv(linux, "trust-verify").returncode == 1
    assert inv(linux, "trust").returncode == 0
    assert inv(linux, "trust-verify").returncode == 0
    linux.fakes.forget()
    assert inv(linux, "trust").returncode == 0
    assert changes(linux) == []
    [entry] = [line.split(",")[0] for line in keytool(store, "-list").splitlines() if line.startswith("dev-cluster")]
    keytool(store, "-delete", "-alias", entry)
    other = linux.folder / "other.pem"
    other.write_bytes(ca.authority("k3d.internal").pem)
    keytool(store, "-importcert", "-noprompt", "-alias", "dev-cluster-tasks-another", "-file", str(other))
    assert inv(linux, "trust-verify").returncode == 1


@pytest.mark.process
def test_another_password_is_told_and_stops_no_other_store(linux: Project, originals: Path) -> None:
    locked = jdk(linux.fakes, linux.root / "opt/locked", originals / "LOCKED")
    other = jdk(linux.fakes, linux.root / "opt/other", originals / "PKCS12")
    before = locked.read_bytes()
    done = inv(linux, "trust")
    assert done.returncode == 1
    assert f"{locked} is not changeit. Change it back with keytool" in done.stderr
    assert locked.read_bytes() == before
    assert "dev-cluster-tasks-" in keytool(other, "-list")


@pytest.mark.process
@pytest.mark.parametrize(("task", "command"), [("trust", "keytool -importcert"), ("untrust", "keytool -delete")])
def test_what_fails_is_told_and_the_next_run_finishes_it(
    linux: Project, originals: Path, task: str, command: str
) -> None:
    store = jdk(linux.fakes, linux.root / "opt/jdk", originals / "PKCS12")
    if task == "untrust":
        assert inv(linux, "trust").returncode == 0
    linux.fakes.answer(f"^{command}", stderr="the disk is full\n", exit=1, before=f"^{command}")
    failed = inv(linux, task)
    assert failed.returncode == 1
    assert "  | the disk is full" in failed.stderr
    assert inv(linux, task).returncode == 0
    assert ("dev-cluster-tasks-" in keytool(store, "-list")) == (task == "trust")


@pytest.mark.process
def test_a_dry_run_shows_the_command_and_changes_nothing(linux: Project, originals: Path) -> None:
    store = jdk(linux.fakes, linux.root / "opt/jdk", originals / "PKCS12")
    dry = inv(linux, "trust", "--dry")
    assert dry.returncode == 0, dry.stderr
    assert "keytool" in dry.stdout and "-importcert -noprompt -alias dev-cluster-tasks-" in dry.stdout
    assert store.read_bytes() == (originals / "PKCS12").read_bytes()


@pytest.mark.process
@pytest.mark.parametrize(("writable", "start"), [(True, []), (False, ["sudo"])])
def test_root_is_asked_for_only_where_the_user_may_not_write(
    linux: Project, originals: Path, monkeypatch: pytest.MonkeyPatch, writable: bool, start: list[str]
) -> None:
    store = jdk(linux.fakes, linux.root / "opt/jdk", originals / "PKCS12")
    linux.fakes.add("sudo")
    linux.fakes.answer("^keytool")
    for key, value in linux.environment().items():
        monkeypatch.setenv(key, value)
    monkeypatch.setattr(os, "geteuid", lambda: 501)
    monkeypatch.setattr(os, "access", lambda file, mode: writable)
    root = ca.root_in(linux.home / ".local-ca-certs" / "internal-ca.crt")
    java.install(Shell(Context(), {}), str(store), [root])
    program = str(store.parents[2] / "bin" / "keytool") if start else "keytool"
    assert linux.fakes.calls()[-1] == [
        *start, program, "-importcert", "-noprompt", "-alias", root.label, "-file",
        str(root.files.certificate), "-keystore",
        str(store), "-storepass", "changeit"]
