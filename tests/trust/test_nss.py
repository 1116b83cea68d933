"""Firefox' and Chrome's databases, with the real certutil of NSS."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import ca
import pytest
from conftest import Project
from invoke import Context
from recording import Fakes

from tasks.core.shell import Shell
from tasks.trust import nss as nss_module

pytestmark = pytest.mark.skipif(not shutil.which("certutil"), reason="certutil of NSS is not installed")

CLASSIC, XDG = ".pki/nssdb", ".local/share/pki/nssdb"
FIREFOX = ".mozilla/firefox/ab12.default-release"

# Each kind of place where browsers keep a database.
FOLDERS = (
    CLASSIC, XDG, "snap/chromium/current/.pki/nssdb", ".var/app/com.google.Chrome/.pki/nssdb",
    ".var/app/org.chromium.Chromium/data/pki/nssdb", FIREFOX, ".config/mozilla/firefox/cd34.work",
    "snap/firefox/common/.mozilla/firefox/ef56.default", ".var/app/org.mozilla.firefox/.mozilla/firefox/gh78.default",
    "Library/Application Support/Firefox/Profiles/ij90.default",
)


@pytest.fixture
def linux(tmp_path: Path, fakes: Fakes) -> Project:
    """A project with its root, a home folder with a space and a quote in its name, and no browser on the PATH."""
    project = Project(tmp_path / "project", tmp_path / "Ann's home", fakes)
    fakes.add("uname")
    fakes.add_spies("certutil", "rm")
    fakes.answer("^uname", "Linux\n")
    project.env(TRUST_STORES="")
    assert project.inv("cert").returncode == 0
    fakes.forget()
    return project


def certutil(database: Path, *words: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("certutil")
    assert program
    return subprocess.run([program, "-d", f"sql:{database}", *words], capture_output=True, text=True, timeout=60)


def make(database: Path, password: str = "") -> Path:
    database.mkdir(parents=True)
    if password:
        (database.parent / "password").write_text(password)
    chosen = ["-f", str(database.parent / "password")] if password else ["--empty-password"]
    assert certutil(database, "-N", *chosen).returncode == 0
    return database


def content(database: Path) -> str:
    return certutil(database, "-L").stdout + certutil(database, "-K").stdout


def changes(project: Project) -> list[list[str]]:
    """The commands that changed something of the user's: adding to a throw-away copy is a look."""
    looks = ({"-L"}, {"-K"}, {"-V"}, {"-A", ",,"})
    return [words for words in project.fakes.calls()
            if words[0] != "uname" and not any(look <= set(words) for look in looks)]


def label(project: Project, database: Path) -> str:
    [entry] = [line.split()[0] for line in content(database).splitlines() if line.startswith("dev-cluster-tasks-")]
    return entry


def files(folder: Path) -> dict[Path, tuple[bytes, int]]:
    return {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in folder.rglob("*") if file.is_file()}


def nss(project: Project, task: str, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return project.inv(*words, task, "--stores", "nss", environment=environment)


def test_every_database_takes_the_root_is_proved_and_is_afterwards_as_before(linux: Project, tmp_path: Path) -> None:
    elsewhere = make(tmp_path / "profiles" / "own place")
    databases = [make(linux.home / CLASSIC), make(linux.home / FIREFOX), elsewhere]
    (linux.home / ".mozilla/firefox/profiles.ini").write_text(
        f"[General]\nVersion=2\n\n[Profile1]\nIsRelative=0\nPath={elsewhere}\n\n"
        "[Profile0]\nIsRelative=1\nPath=ab12.default-release\n"
    )
    (linux.home / ".mozilla/firefox/Crash Reports").mkdir()
    before = [content(database) for database in databases]

    refused = nss(linux, "trust-verify")
    assert refused.returncode == 1
    assert refused.stdout.count("a certificate issued by the root is rejected") == len(databases)
    assert changes(linux) == []

    done = nss(linux, "trust")
    assert done.returncode == 0, done.stderr
    root = linux.home / ".local-ca-certs" / "internal-ca.crt"
    name = label(linux, databases[0])
    assert sorted(changes(linux)) == sorted(
        ["certutil", "-d", f"sql:{database}", "-A", "-t", "C,,", "-n", name, "-i", str(root), "-f", "/dev/null"]
        for database in databases
    )
    proved = nss(linux, "trust-verify")
    assert proved.returncode == 0, proved.stdout
    assert proved.stdout.count("accepted; one for proof.example.com is rejected") == len(databases)

    linux.fakes.forget()
    state = files(linux.home)
    again = nss(linux, "trust")
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("already there") == len(databases)
    assert changes(linux) == []
    assert files(linux.home) == state

    assert nss(linux, "untrust").returncode == 0
    assert [content(database) for database in databases] == before
    assert nss(linux, "untrust").stdout == ""


def test_each_database_of_each_browser_is_found_once(linux: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(linux.home))
    for folder in FOLDERS:
        (linux.home / folder).mkdir(parents=True)
        (linux.home / folder / "cert9.db").touch()
    (linux.home / "snap/chromium/1234").symlink_to("current")
    (linux.home / ".mozilla/firefox/same").symlink_to("ab12.default-release")
    (linux.home / ".mozilla/firefox/Crash Reports").mkdir()
    places = [Path(place) for place in nss_module.find_places(Shell(Context(), {"PATH": str(linux.fakes.bin)}))]
    assert sorted(place.resolve() for place in places) == sorted(linux.home / folder for folder in FOLDERS)


# --- a browser that has no database yet -------------------------------------------------------------------------------


@pytest.mark.parametrize("browser", ["google-chrome", "brave-browser"])
def test_a_browser_without_a_database_gets_one_which_untrust_takes_away_again(linux: Project, browser: str) -> None:
    linux.fakes.add(browser)
    before = sorted(linux.home.rglob("*"))
    dry = nss(linux, "trust", "--dry")
    assert dry.returncode == 0, dry.stderr
    assert "certutil -d" in dry.stdout and "-N --empty-password" in dry.stdout
    assert sorted(linux.home.rglob("*")) == before

    assert nss(linux, "trust").returncode == 0
    database = linux.home / CLASSIC
    assert {folder.stat().st_mode & 0o777 for folder in (database, database.parent)} == {0o700}
    assert nss(linux, "trust-verify").returncode == 0
    linux.fakes.forget()
    assert nss(linux, "trust").returncode == 0
    assert changes(linux) == []

    assert nss(linux, "untrust").returncode == 0
    assert sorted(linux.home.rglob("*")) == before
    assert nss(linux, "untrust").stdout == ""


def another_root(database: Path) -> None:
    (database.parent / "another.pem").write_bytes(ca.authority("example.org").pem)
    added = certutil(database, "-A", "-t", "C,,", "-n", "another", "-i", str(database.parent / "another.pem"))
    assert added.returncode == 0


def a_file(database: Path) -> None:
    (database / "cert8.db").write_text("of others")


def a_module(database: Path) -> None:
    with (database / "pkcs11.txt").open("a") as modules:
        modules.write("library=/usr/lib/opensc-pkcs11.so\nname=my card\n\n")


def a_key(database: Path) -> None:
    """A key and its certificate, as someone has who proves to servers who they are."""
    (database.parent / "noise").write_bytes(bytes(range(64)))
    made = certutil(database, "-S", "-x", "-n", "me", "-s", "CN=me", "-t", ",,", "-k", "ec", "-q", "nistp256",
                    "-z", str(database.parent / "noise"))
    assert made.returncode == 0, made.stderr
    assert certutil(database, "-D", "-n", "me").returncode == 0


@pytest.mark.parametrize("theirs", [another_root, a_file, a_module, a_key])
def test_a_database_that_others_use_by_now_stays_without_our_root(
    linux: Project, theirs: Callable[[Path], None]
) -> None:
    linux.fakes.add("chromium")
    assert nss(linux, "trust").returncode == 0
    database = linux.home / CLASSIC
    theirs(database)
    linux.fakes.forget()
    assert nss(linux, "untrust").returncode == 0
    [command] = changes(linux)
    assert command[3:5] == ["-D", "-n"]
    assert "dev-cluster-tasks" not in certutil(database, "-L").stdout
    linux.fakes.forget()
    assert nss(linux, "untrust").returncode == 0
    assert changes(linux) == []


@pytest.mark.parametrize(
    ("there", "system", "made"),
    [("", "Linux", True), (CLASSIC, "Linux", True), (".pki", "Linux", True), (XDG, "Linux", False),
     ("", "Darwin", False)],
    ids=["nothing", "an empty folder", "only .pki", "the newer folder", "macOS"],
)
def test_a_database_is_made_only_where_the_browser_would_look_for_it(
    linux: Project, there: str, system: str, made: bool
) -> None:
    """Chrome takes the older of its two folders where it is there: making it would hide the newer one."""
    linux.fakes.add("chromium")
    linux.fakes.answer("^uname", f"{system}\n")
    if there:
        (linux.home / there).mkdir(parents=True)
    assert nss(linux, "trust").returncode == 0
    assert (linux.home / CLASSIC / "cert9.db").exists() == made
    assert nss(linux, "untrust").returncode == 0
    assert (linux.home / ".pki").exists() == (".pki" in there)


# --- what can be in the way -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("manager", "package"),
    [("apt-get", "libnss3-tools"), ("dnf", "nss-tools"), ("pacman", "nss"), ("brew", "nss"),
     ("zypper", "mozilla-nss-tools"), ("", "libnss3-tools")],
)
def test_without_certutil_the_package_is_named_and_nothing_is_changed(
    linux: Project, manager: str, package: str
) -> None:
    make(linux.home / FIREFOX)
    (linux.fakes.bin / "certutil").unlink()
    if manager:
        linux.fakes.add(manager)
    state = files(linux.home)
    done = nss(linux, "trust", PATH=str(linux.fakes.bin))
    assert done.returncode == 0, done.stderr
    assert f"skipped: certutil is not installed. It is in the package {package} " in done.stdout
    red = nss(linux, "trust-verify", PATH=str(linux.fakes.bin))
    assert red.returncode == 1
    assert f"It is in the package {package}" in " ".join(red.stdout.split())
    assert nss(linux, "untrust", PATH=str(linux.fakes.bin)).returncode == 0
    assert files(linux.home) == state


def test_a_primary_password_is_never_asked_for_and_stops_nothing_else(linux: Project) -> None:
    """certutil would leave the root there without trust, so it is not even called; the user can do it."""
    locked, other = make(linux.home / FIREFOX, "secret"), make(linux.home / CLASSIC)
    before = content(locked)
    done = nss(linux, "trust")
    assert done.returncode == 1
    assert f"{locked} has a primary password, which only you can enter" in done.stderr
    assert content(locked) == before
    assert "dev-cluster-tasks-" in content(other)

    by_hand = shlex.split(done.stderr.strip().splitlines()[-1])
    password = ["-f", str(locked.parent / "password")]
    assert subprocess.run([*by_hand, *password], capture_output=True).returncode == 0
    assert nss(linux, "trust-verify").returncode == 0
    assert nss(linux, "trust").returncode == 0
    assert nss(linux, "untrust").returncode == 0
    assert content(locked) == before


@pytest.mark.parametrize(
    ("task", "command"),
    [("trust", "certutil .* -N "), ("trust", "certutil .* -A -t C"), ("untrust", "certutil .* -D "),
     ("untrust", "rm ")],
)
def test_what_fails_is_told_and_the_next_run_finishes_it(linux: Project, task: str, command: str) -> None:
    linux.fakes.add("chromium")
    before = sorted(linux.home.rglob("*"))
    if task == "untrust":
        assert nss(linux, "trust").returncode == 0
    linux.fakes.answer(f"^{command}", stderr="the disk is full\n", exit=1, before=f"^{command}")
    failed = nss(linux, task)
    assert failed.returncode == 1
    assert "  | the disk is full" in failed.stderr
    assert nss(linux, task).returncode == 0
    if task == "trust":
        assert nss(linux, "trust-verify").returncode == 0
        assert nss(linux, "untrust").returncode == 0
    assert sorted(linux.home.rglob("*")) == before


@pytest.mark.parametrize("listed", [
    b"\xff\xfe no section\nPath=/", b"[Profile0]\nPath=/a\0b\n", b"[Profile0]\nPath=/" + 5000 * b"a" + b"\n"])
def test_a_broken_list_of_profiles_hides_no_other_profile(linux: Project, listed: bytes) -> None:
    database = make(linux.home / FIREFOX)
    (linux.home / ".mozilla/firefox/profiles.ini").write_bytes(listed)
    (linux.home / ".mozilla/firefox/folder/cert9.db").mkdir(parents=True)
    assert nss(linux, "trust").returncode == 0
    assert "dev-cluster-tasks-" in content(database)
