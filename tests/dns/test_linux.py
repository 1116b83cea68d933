"""Names on Linux: systemd-resolved with a dnsmasq of our own, NetworkManager's dnsmasq, and the choice between them.

The machine is a file tree. Its daemons know what they read when they were told to, and its resolver answers by that.
"""

from __future__ import annotations

import shlex
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import dns.message
import dns.query
import dns.rcode
import pytest
from conftest import Project
from inside import Patch, resolver
from invoke import Context
from machine import Clock, become, hosts_lines, known_internet
from recording import Answer, Call

from tasks.core import shell, system_files
from tasks.core.configuration import load
from tasks.core.settings import Settings
from tasks.core.shell import Shell
from tasks.core.templates import render
from tasks.dns import resolver as resolver_of_tasks
from tasks.dns import systemd_resolved
from tasks.dns.domain_files import text_of_names
from tasks.dns.resolver import ask, other_names


class Daemons:
    """What they have read: <machine>/run/<daemon>; what the resolver then answers; and how systemctl and nmcli do it.

    `deaf` daemons answer nothing, a resolver that `loses` forgets the Internet, `busy` ports are taken.
    """

    def __init__(self, root: Path, resolved: str) -> None:
        self.root, self.resolved = root, resolved

    def read(self, daemon: str, *patterns: str) -> None:
        shutil.rmtree(self.root / "run" / daemon, ignore_errors=True)
        for file in [file for pattern in patterns for file in self.root.glob(pattern)]:
            (self.root / "run" / daemon).mkdir(parents=True, exist_ok=True)
            shutil.copy(file, self.root / "run" / daemon)

    def told(self, call: Call) -> Answer | None:
        """systemctl and nmcli."""
        match call.words[1:]:
            case ["is-active", "--quiet", unit]:
                return Answer(exit=0 if (self.root / "run/dnsmasq").exists() else 3)
            case ["restart", "systemd-resolved"]:
                self.read("resolved", self.resolved)
            case ["daemon-reload"]:
                self.read("units", "etc/systemd/system/*.service")
            case ["enable" | "restart" as verb, unit]:
                if not (self.root / "run/units" / unit).exists():
                    return Answer(stderr=f"Unit {unit} not found.\n", exit=1)
                if verb == "enable":
                    self.read("enabled", f"etc/systemd/system/{unit}")
                else:
                    self.read("dnsmasq", "etc/dev-cluster-tasks/dnsmasq.conf",
                              "etc/dev-cluster-tasks/dnsmasq.d/*.conf")
            case ["disable", "--now", _]:
                for daemon in ("enabled", "dnsmasq", "units"):  # systemd drops what is neither wanted nor running
                    self.read(daemon)
            case ["general", "reload", "conf"]:
                self.read("networkmanager-mode", "etc/NetworkManager/conf.d/*.conf")
                if not (self.root / "run/networkmanager-mode").exists():  # it ends the dnsmasq that it ran
                    self.read("networkmanager-names")
            case ["general", "reload", "dns-full"]:
                self.read("networkmanager-names", "etc/NetworkManager/dnsmasq.d/*.conf")
        return None

    def lines(self, daemon: str, start: str) -> list[str]:
        files = sorted((self.root / "run" / daemon).glob("*"))
        return [line[len(start):] for file in files for line in file.read_text().splitlines() if line.startswith(start)]

    def dnsmasq(self, daemon: str, name: str) -> list[str]:
        pairs = [line.split("/") for line in self.lines(daemon, "address=/")]
        return [address for domain, address in pairs if f".{name}".endswith(f".{domain}")]

    def patches(self, environment: dict[str, str]) -> list[Patch]:
        """The resolver, and a clock that goes on 4 s with every look at it."""
        deaf, loses, busy = (environment.get(key, "") for key in ("DEAF", "LOSES", "BUSY"))
        internet = known_internet(environment)

        def known(name: str) -> list[str]:
            found: list[str] = []
            routes = [route for line in self.lines("resolved", "Domains=") for route in line.split()]
            if "resolved" not in deaf and any(f".{name}".endswith(route.replace("~", ".")) for route in routes):
                asked = {f"127.0.0.1:{port}" for port in self.lines("dnsmasq", "port=")}
                if set(self.lines("resolved", "DNS=")) == asked:
                    found = self.dnsmasq("dnsmasq", name)
            manages = self.lines("networkmanager-mode", "dns=") == ["dnsmasq"]
            if manages and "networkmanager" not in deaf:
                found += self.dnsmasq("networkmanager-names", name)
            if f"127.0.0.1 {name}" in hosts_lines(self.root):
                found.append("127.0.0.1")
            if name in internet and not (loses and (routes or manages)):
                found.append(internet[name])
            return found

        def ask(name: str, port: int, address: str) -> bool:
            return [str(port)] == self.lines("dnsmasq", "port=") and bool(self.dnsmasq("dnsmasq", name))

        def is_free(port: int) -> bool:
            return str(port) not in busy.split() + self.lines("dnsmasq", "port=")

        return [resolver(known), (shell, "time", Clock()), (resolver_of_tasks, "ask", ask),
                (systemd_resolved, "is_free", is_free)]


def sudo(call: Call) -> Answer:
    if call.environment.get("FAIL_AT") == str(1 + sum(line.startswith("sudo ") for line in call.earlier)):
        return Answer(stderr="it failed this once\n", exit=1)
    return become(call)


USER, ROOT = 1000, 0
STUB = "# of systemd-resolved\nnameserver 127.0.0.53\noptions edns0\n"
GENERATED = "# Generated by NetworkManager\nnameserver 192.0.2.53\n"
SERVICE = "dev-cluster-tasks-dns.service"


@dataclass
class Run:
    """What a run said, how it ended, and the commands that it ran which do more than look."""

    exit: int
    stdout: str
    stderr: str
    changes: list[list[str]]


class Machine:
    """The project on a pretended Linux."""

    def __init__(self, project: Project) -> None:
        self.project, self.fakes, self.root = project, project.fakes, project.root
        self.etc = self.root / "etc"
        for folder in ("systemd/system", "NetworkManager/conf.d", "NetworkManager/dnsmasq.d"):
            (self.etc / folder).mkdir(parents=True)
        (self.root / "run").mkdir()
        self.fakes.add("uname", "systemctl", "nmcli", "docker", "sudo", "dnsmasq")
        self.fakes.behave("sudo", sudo)
        self.fakes.add_spies("mkdir", "install", "rm", "rmdir")
        self.fakes.answer("^uname", "Linux\n")
        self.fakes.answer("^systemctl is-active --quiet (?!dev-cluster-tasks)", exit=3)
        self.fakes.answer("^docker", exit=1)
        self.systemd(252)

    def systemd(self, version: int) -> None:
        self.version = version
        self.fakes.answer("^systemctl --version", f"systemd {version} ({version}.1-1)\n+PAM +AUDIT\n")
        folder = "dns-delegate.d/*.dns-delegate" if version >= 258 else "resolved.conf.d/*.conf"
        self.daemons = Daemons(self.root, f"etc/systemd/{folder}")
        for tool in ("systemctl", "nmcli"):
            self.fakes.add(tool)
            self.fakes.behave(tool, self.daemons.told)

    def with_resolved(self, version: int = 252) -> Machine:
        self.systemd(version)
        (self.etc / "resolv.conf").write_text(STUB)
        self.fakes.answer("^systemctl is-active --quiet systemd-resolved", exit=0)
        return self

    def with_network_manager(self) -> Machine:
        (self.etc / "resolv.conf").write_text(GENERATED)
        self.fakes.answer("^systemctl is-active --quiet NetworkManager", exit=0)
        return self

    def with_both(self) -> Machine:
        """NetworkManager hands over to systemd-resolved, and writes where it is."""
        self.with_resolved().with_network_manager()
        (self.etc / "resolv.conf").write_text("# Generated by NetworkManager\nnameserver 127.0.0.53\n")
        return self

    def inv(self, *words: str, user: int = USER, **environment: str) -> Run:
        before = len(self.fakes.calls())
        done = self.project.inv(*words, user=user, environment={"PATH": str(self.fakes.bin), **environment},
                                patches=self.daemons.patches(environment))
        # What sudo was asked to run is recorded once more by what it runs.
        received = [[], *self.fakes.calls()[before:]]
        commands = [words for asked, words in pairwise(received) if asked != ["sudo", *words]]
        looks = ("uname", "docker", "systemctl is-active", "systemctl --version")
        return Run(done.returncode, done.stdout, done.stderr,
                   [words for words in commands if not " ".join(words).startswith(looks)])

    def good(self, *words: str, user: int = USER, **environment: str) -> Run:
        run = self.inv(*words, user=user, **environment)
        assert run.exit == 0, run.stderr
        return run

    def files(self) -> dict[str, str]:
        """Every file and folder of the machine, and what its daemons have read."""
        return {str(path.relative_to(self.root)): path.read_text() if path.is_file() else "" for path in
                sorted(self.root.rglob("*"))}

    def copy(self, file: Path) -> str:
        return str(self.project.folder / ".work" / f"host{file}")

    def folder(self, path: str) -> list[str]:
        return ["mkdir", "-p", "-m", "0755", str(self.etc / path)]

    def file(self, path: str) -> list[str]:
        return ["install", "-m", "0644", self.copy(self.etc / path), str(self.etc / path)]


@pytest.fixture
def machine(project: Project) -> Machine:
    return Machine(project)


def as_root(*commands: list[str]) -> list[list[str]]:
    return [["sudo", *words] for words in commands]


UNIT, OWN = f"systemd/system/{SERVICE}", "dev-cluster-tasks/dnsmasq.conf"
SERVED = "dev-cluster-tasks/dnsmasq.d/dev-cluster-tasks-k3d.internal.conf"
DROP_IN = "systemd/resolved.conf.d/dev-cluster-tasks-k3d.internal.conf"
DELEGATE = "systemd/dns-delegate.d/dev-cluster-tasks-k3d.internal.dns-delegate"
MODE = "NetworkManager/conf.d/dev-cluster-tasks.conf"
NAMES = "NetworkManager/dnsmasq.d/dev-cluster-tasks-k3d.internal.conf"
RESTART_RESOLVED = ["systemctl", "restart", "systemd-resolved"]
DAEMON_RELOAD = ["systemctl", "daemon-reload"]
RELOADS = [["nmcli", "general", "reload", what] for what in ("conf", "dns-full")]


# --- each way, whole --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("user", "version", "leads", "section"), [
    (USER, 257, DROP_IN, "Resolve"), (USER, 258, DELEGATE, "Delegate"), (ROOT, 252, DROP_IN, "Resolve"),
])
def test_systemd_resolved_asks_a_dnsmasq_of_our_own_and_all_of_it_goes_again(
    machine: Machine, user: int, version: int, leads: str, section: str
) -> None:
    machine.with_resolved(version)
    before, sudo = machine.files(), as_root if user else lambda *commands: [*commands]
    run = machine.good("dns", user=user)
    assert run.changes == sudo(
        machine.file(UNIT), machine.folder("dev-cluster-tasks/dnsmasq.d"), machine.file(SERVED), machine.file(OWN),
        DAEMON_RELOAD,
        ["systemctl", "enable", SERVICE], ["systemctl", "restart", SERVICE],
        machine.folder(str(Path(leads).parent)), machine.file(leads), RESTART_RESOLVED,
    )
    lines = (machine.etc / leads).read_text().splitlines()
    assert lines[1] == f"# used by the copy in {machine.project.folder}"
    assert lines[3:] == [f"[{section}]", "DNS=127.0.0.1:5399", "Domains=~k3d.internal"]
    assert f"ExecStart={machine.fakes.bin}/dnsmasq --keep-in-foreground --conf-file={machine.etc / OWN}\n" in (
        machine.etc / UNIT).read_text()
    assert all((machine.etc / file).stat().st_mode & 0o777 == 0o644 for file in (OWN, UNIT, SERVED, leads))
    assert "✓ this machine's resolver: resolves names below k3d.internal, other names as before " in run.stdout
    assert ("The following commands need root; sudo may prompt for your password:" in run.stdout) == bool(user)

    settled = machine.files()
    again = machine.good("dns", user=user)
    assert (again.changes, machine.files()) == ([], settled)
    assert "already answers" in again.stdout and "already uses it" in again.stdout

    removed = machine.good("dns-remove", user=user)
    assert removed.changes == sudo(
        ["rm", str(machine.etc / leads)], ["rmdir", str((machine.etc / leads).parent)], RESTART_RESOLVED,
        ["systemctl", "disable", "--now", SERVICE], ["rm", str(machine.etc / SERVED)], ["rm", str(machine.etc / OWN)],
        ["rmdir", str((machine.etc / SERVED).parent)], ["rmdir", str(machine.etc / "dev-cluster-tasks")],
        ["rm", str(machine.etc / UNIT)], DAEMON_RELOAD,
    )
    assert machine.files() == before
    assert machine.good("dns-remove", user=user).changes == []


def test_network_manager_runs_a_dnsmasq_and_all_of_it_goes_again(machine: Machine) -> None:
    machine.with_network_manager()
    before = machine.files()
    run = machine.good("dns")
    assert run.changes == as_root(machine.file(NAMES), machine.file(MODE), *RELOADS)
    assert (machine.etc / MODE).read_text().splitlines()[2:] == ["[main]", "dns=dnsmasq"]
    assert {"address=/k3d.internal/127.0.0.1", "local=/k3d.internal/"} < set(
        (machine.etc / NAMES).read_text().splitlines())
    settled = machine.files()
    assert (machine.good("dns").changes, machine.files()) == ([], settled)
    assert machine.good("dns-remove").changes == as_root(
        ["rm", str(machine.etc / MODE)], RELOADS[0], ["rm", str(machine.etc / NAMES)], RELOADS[1])
    assert machine.files() == before
    assert machine.good("dns-remove").changes == []


@pytest.mark.parametrize("way", ["with_resolved", "with_network_manager"])
def test_another_tld_takes_the_place_of_the_former_one(machine: Machine, way: str) -> None:
    getattr(machine, way)()
    before = machine.files()
    machine.good("dns")
    machine.project.env(TLD="test")
    machine.good("dns")
    verified = machine.good("dns-verify")
    assert "proof.k3d.test" in verified.stdout
    assert "k3d.internal" not in "".join(machine.files().values())
    machine.good("dns-remove")
    assert machine.files() == before


def test_without_a_subdomain_each_clusters_own_domain_leads_here_and_never_the_whole_tld(machine: Machine) -> None:
    machine.with_resolved().project.env(K3D_SUBDOMAIN="", K3D_PORT_END="11")
    machine.good("dns")
    drop_ins = {file.name: file.read_text() for file in (machine.etc / DROP_IN).parent.iterdir()}
    assert {*drop_ins} == {f"dev-cluster-tasks-cl{number}.internal.conf" for number in (0, 1)}
    assert all(text.endswith(f"\nDomains=~cl{number}.internal\n") for number, text in enumerate(
        drop_ins[name] for name in sorted(drop_ins)))
    assert not any("=/internal/" in file.read_text() for file in (machine.etc / SERVED).parent.iterdir())


# --- the choice -------------------------------------------------------------------------------------------------------

OFFER = """\
Alternative without installing anything: public DNS resolves every name below 127.0.0.1.nip.io to 127.0.0.1.
    It needs the Internet, and some routers filter such answers. In .env: TLD=127.0.0.1.nip.io, then: inv up
"""


@pytest.mark.parametrize(("way", "resolv_conf", "dnsmasq", "resolved", "manager"), [
    ("", "", True, "systemd-resolved is not running", "NetworkManager is not running"),
    ("with_resolved", "nameserver 192.0.2.53\n", True,
     "/etc/resolv.conf does not point to systemd-resolved (nameserver 127.0.0.53)", "NetworkManager is not running"),
    ("with_resolved", STUB + "nameserver 192.0.2.53\n", True,
     "/etc/resolv.conf does not point to systemd-resolved (nameserver 127.0.0.53)", "NetworkManager is not running"),
    ("with_resolved", STUB, False, systemd_resolved.DNSMASQ_PACKAGE, "NetworkManager is not running"),
    ("with_network_manager", "nameserver 192.0.2.53\n", True, "systemd-resolved is not running",
     "NetworkManager does not write /etc/resolv.conf"),
    ("with_network_manager", GENERATED, False, "systemd-resolved is not running", systemd_resolved.DNSMASQ_PACKAGE),
])
def test_where_no_way_can_be_used_each_says_why_and_public_dns_is_offered_if_it_answers_but_not_chosen(
    machine: Machine, way: str, resolv_conf: str, dnsmasq: bool, resolved: str, manager: str
) -> None:
    if way:
        getattr(machine, way)()
    if resolv_conf:
        (machine.etc / "resolv.conf").write_text(resolv_conf)
    if not dnsmasq:
        (machine.fakes.bin / "dnsmasq").unlink()
    before = machine.files()
    run = machine.inv("dns")
    assert (run.exit, run.changes, machine.files()) == (1, [], before)
    assert run.stderr == (
        "No method resolves names below k3d.internal on this machine:\n"
        "  brew-dnsmasq: only on macOS, because no other system reads /etc/resolver\n"
        f"  systemd-resolved: {resolved}\n"
        f"  network-manager: {manager}\n"
        f"  hosts-file: {machine.etc / 'hosts'} is not a file\n"
    )
    answered = machine.inv("dns", INTERNET="proof.127.0.0.1.nip.io=127.0.0.1")
    assert answered.stderr == run.stderr + OFFER
    assert not (machine.project.folder / ".env").exists()


@pytest.mark.parametrize(("globally", "usable"), [("yes", False), ("opportunistic", True), ("no", True)])
def test_a_resolver_that_asks_over_tls_only_is_passed_over_before_anything_is_changed(
    machine: Machine, globally: str, usable: bool
) -> None:
    machine.with_resolved().fakes.add("resolvectl")
    machine.fakes.answer("^resolvectl dnsovertls$", f"Global: {globally}\nLink 2 (eth0): yes\n")
    before = machine.files()
    run = machine.inv("dns")
    assert (run.exit == 0) == usable
    if not usable:
        assert machine.files() == before
        assert [words for words in run.changes if words[0] != "resolvectl"] == []
        assert f"  systemd-resolved: {systemd_resolved.REQUIRES_TLS}\n" in run.stderr


def test_the_chosen_method_alone_is_tried(machine: Machine) -> None:
    machine.with_network_manager().project.env(DNS_METHOD="systemd-resolved")
    run = machine.inv("dns")
    assert (run.exit, run.changes) == (1, [])
    assert run.stderr.endswith("  systemd-resolved: systemd-resolved is not running\n")
    assert "network-manager" not in run.stderr


def test_an_unknown_method_is_refused_with_those_that_there_are(machine: Machine) -> None:
    machine.with_resolved().project.env(DNS_METHOD="resolvconf")
    run = machine.inv("dns")
    assert (run.exit, run.changes) == (1, [])
    assert ("DNS_METHOD='resolvconf' is invalid: expected one of brew-dnsmasq, systemd-resolved, network-manager, "
            "hosts-file, or nothing\n") in run.stderr


@pytest.mark.parametrize(("first", "then", "gone"), [
    ("systemd-resolved", "network-manager", OWN), ("network-manager", "systemd-resolved", NAMES),
])
def test_a_newly_chosen_method_replaces_the_former_one_and_is_proved_without_it(
    machine: Machine, first: str, then: str, gone: str
) -> None:
    machine.with_both().project.env(DNS_METHOD=first)
    before = machine.files()
    machine.good("dns")
    machine.project.env(DNS_METHOD=then)
    machine.good("dns")
    assert not (machine.etc / gone).exists()
    machine.good("dns-verify")
    machine.good("dns-remove")
    assert machine.files() == before

    machine.project.env(DNS_METHOD=first)
    machine.good("dns")
    machine.project.env(DNS_METHOD=then)
    unproved = machine.inv("dns", DEAF="resolved" if then == "systemd-resolved" else "networkmanager")
    assert unproved.exit == 1 and "to resolve the cluster names" in unproved.stderr, unproved.stdout


def test_a_way_that_does_not_prove_itself_is_undone_and_the_next_is_taken_and_kept(machine: Machine) -> None:
    machine.with_both()
    run = machine.good("dns", DEAF="resolved")
    assert not any((machine.etc / file).exists() for file in (OWN, UNIT, SERVED, DROP_IN))
    assert (machine.etc / NAMES).exists() and not (machine.root / "run/dnsmasq").exists()
    assert "✗ this machine's resolver: failed" in run.stdout
    settled = machine.files()
    assert (machine.good("dns", DEAF="resolved").changes, machine.files()) == ([], settled)


def test_a_method_with_a_wildcard_replaces_the_hosts_file_as_soon_as_it_works(machine: Machine) -> None:
    machine.with_resolved()
    (machine.etc / "hosts").write_text("127.0.0.1 localhost\n")
    for _ in range(2):
        assert "✗ this machine's resolver: failed" in machine.inv("dns", DEAF="resolved").stdout
        assert "127.0.0.1 proof.k3d.internal\n" in (machine.etc / "hosts").read_text()
    machine.good("dns")
    assert (machine.etc / "hosts").read_text() == "127.0.0.1 localhost\n"


def test_names_that_are_found_already_are_left_to_whoever_leads_them_here(machine: Machine) -> None:
    before = machine.with_resolved().files()
    run = machine.good("dns", INTERNET="proof.k3d.internal=127.0.0.1")
    assert (run.changes, machine.files()) == ([], before)
    assert "✓ names below k3d.internal: already resolved, not by these tasks " in run.stdout


@pytest.mark.parametrize("way", ["with_resolved", "with_network_manager"])
def test_what_takes_other_names_away_is_undone(machine: Machine, way: str) -> None:
    getattr(machine, way)()
    before = machine.files()
    run = machine.inv("dns", LOSES="others")
    assert (run.exit, machine.files()) == (1, before)
    assert ("timed out after 15 s waiting for other names to resolve as before: example.com on this machine"
            in run.stderr)


def test_what_takes_other_names_away_from_containers_is_undone(machine: Machine) -> None:
    before = machine.with_resolved().files()
    machine.fakes.answer("^docker image inspect")
    machine.fakes.answer("^docker run .* http://example.com/", "0.003141", exit=28)
    machine.fakes.answer("^docker run .* http://not-ours.internal/", "0.000000", exit=6)
    machine.good("dns")
    machine.good("dns-remove")
    machine.fakes.forget()
    machine.fakes.answer("^docker run .* http://example.com/", "0.000000", exit=28,
                         after="^sudo systemctl restart systemd-resolved")
    run = machine.inv("dns")
    assert (run.exit, machine.files()) == (1, before)
    assert ("timed out after 15 s waiting for other names to resolve as before: example.com in a container, "
            in run.stderr)


def test_no_container_is_asked_for_names_on_a_machine_without_docker(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that is missing ends the wait in which other names are asked for."""
    monkeypatch.setattr(Shell, "find", lambda self, program: "")
    monkeypatch.setattr(Shell, "look", lambda self, *words, **options: pytest.fail(" ".join(words)))
    other_names(Shell(Context(), {}), settings)


def test_a_port_that_somebody_else_has_is_left_to_them(machine: Machine) -> None:
    machine.with_resolved()
    machine.good("dns", BUSY="5399 5400")
    assert "port=5401\n" in (machine.etc / OWN).read_text()
    assert "DNS=127.0.0.1:5401\n" in (machine.etc / DROP_IN).read_text()
    assert machine.good("dns").changes == []
    shutil.rmtree(machine.root / "run/dnsmasq")  # as after a start of the machine where another program came first
    machine.good("dns", BUSY="5401")
    assert "DNS=127.0.0.1:5399\n" in (machine.etc / DROP_IN).read_text()


def test_verify_shows_each_answer_and_fails_when_one_is_wrong(machine: Machine) -> None:
    machine.with_resolved()
    bare = machine.inv("dns-verify")
    assert bare.exit == 1 and bare.stderr.strip().endswith("To fix that: inv dns")
    assert "1 of 2 answers" in bare.stderr and "no answer" in bare.stdout
    machine.good("dns")
    assert "127.0.0.1" in machine.good("dns-verify").stdout
    stolen = machine.inv("dns-verify", INTERNET="not-ours.internal=127.0.0.1")
    assert stolen.exit == 1 and "1 of 3 answers" in stolen.stderr


# --- what others have written, and those who may not -----------------------------------------------------------------


@pytest.mark.parametrize(("way", "file"), [
    ("with_resolved", OWN), ("with_resolved", UNIT), ("with_resolved", SERVED), ("with_resolved", DROP_IN),
    ("with_network_manager", MODE), ("with_network_manager", NAMES),
])
def test_files_that_are_not_as_we_wrote_them_are_neither_overwritten_nor_removed(
    machine: Machine, way: str, file: str
) -> None:
    getattr(machine, way)()
    path = machine.etc / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("# mine\n")
    before = machine.files()
    foreign = machine.inv("dns")
    assert (foreign.exit, foreign.changes, machine.files()) == (1, [], before)
    assert f"{path} exists but was not created by these tasks.\nCheck it, move it away" in foreign.stderr
    assert machine.good("dns-remove").changes == []

    path.unlink()
    machine.good("dns")
    path.write_text(path.read_text() + "# changed\n")
    settled = machine.files()
    machine.project.env(TLD="test")  # so that every file is to be written
    for task in ("dns", "dns-remove"):
        changed = machine.inv(task)
        assert (changed.exit, changed.changes, machine.files()) == (1, [], settled)
        assert f"{path} was changed after these tasks created it.\nCheck it, move it away" in changed.stderr


@pytest.mark.parametrize("way", ["with_resolved", "with_network_manager"])
def test_without_admin_rights_nothing_changes_and_the_commands_are_left_to_someone_who_may(
    machine: Machine, way: str
) -> None:
    getattr(machine, way)()
    before = machine.files()
    script = machine.good("dns", "--print-sudo").stdout.splitlines()
    machine.fakes.answer("^sudo", stderr="dev is not in the sudoers file.\n", exit=1)
    run = machine.inv("dns")
    assert (run.exit, len(run.changes), machine.files()) == (1, 1, before)
    told = run.stderr.split("then run this task again:\n")[1].splitlines()
    announced = [line.removeprefix("  sudo ") for line in run.stdout.splitlines() if line.startswith("  sudo ")]
    assert [line.strip() for line in told] == announced
    commands = [line.split("  #")[0].strip() for line in announced]
    assert [line for line in script if line in commands] == [line for line in commands if line[:8] != "install "]


@pytest.mark.parametrize("way", ["with_resolved", "with_network_manager"])
def test_the_printed_scripts_do_what_the_tasks_do(machine: Machine, way: str) -> None:
    getattr(machine, way)()
    before = machine.files()
    machine.good("dns")
    settled = machine.files()
    machine.good("dns-remove")
    for task, result in (("dns", settled), ("dns-remove", before)):
        printed = machine.good(task, "--print-sudo")
        assert printed.changes == []
        subprocess.run(["sh", "-n"], input=printed.stdout, text=True, check=True)
        subprocess.run(["sh"], input=printed.stdout, text=True, check=True, env=machine.project.environment())
        assert machine.files() == result
        assert machine.good(task).changes == []


@pytest.mark.parametrize(("way", "subdomain"), [
    ("with_resolved", "k3d"), ("with_network_manager", "k3d"), ("with_resolved", "")])
def test_a_rehearsal_prints_what_a_run_then_does(machine: Machine, way: str, subdomain: str) -> None:
    getattr(machine, way)().project.env(K3D_SUBDOMAIN=subdomain, K3D_PORT_END="11")
    for task in ("dns", "dns-remove"):
        before = machine.files()
        dry = machine.good("--dry", task)
        assert (dry.changes, machine.files()) == ([], before)
        assert not (machine.project.folder / ".work").exists() or task == "dns-remove"
        run = machine.good(task)
        assert [line for line in dry.stdout.splitlines() if not line.startswith("#")] == [
            shlex.join(words) for words in run.changes]


FAILURES = [("with_resolved", "dns", 10), ("with_resolved", "dns-remove", 10),
            ("with_network_manager", "dns", 4), ("with_network_manager", "dns-remove", 4)]


@pytest.mark.parametrize(("way", "task", "number"), [
    (way, task, number) for way, task, count in FAILURES for number in range(1, count + 1)
])
def test_whichever_command_fails_a_second_run_converges(machine: Machine, way: str, task: str, number: int) -> None:
    getattr(machine, way)()
    before = machine.files()
    if task == "dns-remove":
        machine.good("dns")
    machine.fakes.forget()
    failed = machine.inv(task, FAIL_AT=str(number))
    assert failed.exit == 1 and "it failed this once" in failed.stderr, failed.stderr
    if task == "dns":
        assert machine.files() == before  # undone
        machine.good("dns", "dns-verify", "dns-remove")
    else:
        machine.good("dns-remove")
    assert machine.files() == before


# --- the real dnsmasq -------------------------------------------------------------------------------------------------


@pytest.fixture
def dnsmasq() -> str:
    found = shutil.which("dnsmasq", path="/usr/local/sbin:/usr/sbin:/opt/homebrew/sbin:/usr/bin")
    return found or pytest.skip("dnsmasq is not installed")


@pytest.mark.parametrize("template", ["own.conf", "names.conf", "brew.conf"])
def test_dnsmasq_accepts_each_file_that_is_written_for_it(
    tmp_path: Path, settings: Settings, dnsmasq: str, template: str
) -> None:
    file = tmp_path / "dnsmasq.conf"
    values = {"domain": "k3d.internal", "used_by": ["# used by the copy in /srv"], "folder": tmp_path / "d",
              "address": "127.0.0.1", "elsewhere": {"cl3.k3d.internal": "192.0.2.10"}, "place": "this machine"}
    file.write_text(system_files.seal(render(f"dns/{template}", **values, port=5399)))
    (tmp_path / "d").mkdir()
    subprocess.run([dnsmasq, "--test", f"--conf-file={file}"], check=True, capture_output=True)


@pytest.fixture
def port() -> int:
    return next(port for port in reversed(systemd_resolved.PORTS) if systemd_resolved.is_free(port))


@pytest.fixture
def own_dnsmasq(tmp_path: Path, settings: Settings, dnsmasq: str, port: int) -> Iterator[int]:
    """A dnsmasq with the configuration that is written for it; only its pid file lies elsewhere."""
    text = render("dns/own.conf", folder=tmp_path / "names", port=port)
    file = tmp_path / "dnsmasq.conf"
    (tmp_path / "names").mkdir()
    for domain in settings.owned_domains:
        (tmp_path / "names" / f"{domain}.conf").write_text(text_of_names(settings, domain))
    file.write_text(text.replace("/run/dev-cluster-tasks-dns/pid", str(tmp_path / "pid")))
    with subprocess.Popen([dnsmasq, "--keep-in-foreground", f"--conf-file={file}"], stderr=subprocess.PIPE) as process:
        try:
            Shell(Context(), {}).until("dnsmasq to answer", 10, lambda: ask("proof.k3d.internal", port), pause=0.02)
            yield port
        finally:
            process.kill()


def test_our_dnsmasq_answers_for_our_names_only_and_on_this_machine_only(own_dnsmasq: int) -> None:
    def reply(name: str, kind: str = "A") -> dns.message.Message:
        return dns.query.udp(dns.message.make_query(name, kind), "127.0.0.1", timeout=5, port=own_dnsmasq)

    for name in ("k3d.internal", "cl0.k3d.internal", "a.b.cl3.k3d.internal"):
        assert ask(name, own_dnsmasq)
    other_type = reply("cl0.k3d.internal", "AAAA")
    assert (other_type.rcode(), other_type.answer) == (dns.rcode.NOERROR, [])
    for name in ("example.com", "evilk3d.internal", "internal", "localhost"):
        assert not ask(name, own_dnsmasq)
        assert not reply(name).answer and reply(name).rcode() != dns.rcode.NXDOMAIN  # the next server is asked
    assert not systemd_resolved.is_free(own_dnsmasq)
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with socket.socket(socket.AF_INET, kind) as other:
            other.bind(("127.0.0.2", own_dnsmasq))


@pytest.mark.parametrize("elsewhere", ["3=192.0.2.10"])
def test_names_of_a_cluster_elsewhere_have_its_address(own_dnsmasq: int) -> None:
    for name in ("cl3.k3d.internal", "a.b.cl3.k3d.internal"):
        assert ask(name, own_dnsmasq, address="192.0.2.10")
        other_type = dns.query.udp(dns.message.make_query(name, "AAAA"), "127.0.0.1", timeout=5, port=own_dnsmasq)
        assert (other_type.rcode(), other_type.answer) == (dns.rcode.NOERROR, [])
    for name in ("k3d.internal", "cl0.k3d.internal", "acl3.k3d.internal"):
        assert ask(name, own_dnsmasq)


def test_nobody_on_a_port_is_no_answer(port: int) -> None:
    assert not ask("proof.k3d.internal", port)


@pytest.fixture
def elsewhere() -> str:
    return "127.0.0.1"


@pytest.fixture
def settings(project: Project, elsewhere: str) -> Settings:
    return load(project.folder, {"CLUSTER_ADDRESS": elsewhere})
