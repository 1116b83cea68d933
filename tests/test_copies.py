"""Copies of the folder side by side on one machine: names and roots come and go in any order, and none is left.

Here the tasks' functions run in this process, on a file tree. What is root's is done to it as it is asked for.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import ca
import pytest
from conftest import SOURCE
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from invoke import Config, Context, Exit
from invoke.runners import Result

from tasks import dns, trust
from tasks.core import locks, setting_types, system_files
from tasks.core.configuration import load
from tasks.core.settings import Settings
from tasks.core.shell import Shell
from tasks.dns import brew_dnsmasq, domain_files, resolver, systemd_resolved
from tasks.dns.domain_files import Leaving
from tasks.dns.resolver import ask
from tasks.doctor import ca as doctor_ca
from tasks.doctor import check as doctor_check
from tasks.trust import linux_system

is_free = systemd_resolved.is_free

class Tree(Shell):
    """A machine that is a file tree: files are put and removed for real, services are written down."""

    def __init__(self, root: Path, method: str, version: int = 252) -> None:
        super().__init__(Context(Config()), {})
        self.root, self.method, self.version = root, method, version
        self.commands: list[tuple[str, ...]] = []
        self.fail_at = 0

    def find(self, program: str) -> str:
        return f"/usr/bin/{program}"

    def look(self, *words: str, seconds: float = 0) -> Result:
        said = {"uname": "Darwin" if self.method == "brew-dnsmasq" else "Linux", "brew": str(self.root / "brew"),
                "dscacheutil": "ip_address: 127.0.0.1", "systemctl": f"systemd {self.version} (x)"}.get(words[0], "")
        good = words[0] != "docker" and not (words[:2] == ("systemctl", "is-active") and {
            "systemd-resolved": self.method != "systemd-resolved",
            "NetworkManager": self.method != "network-manager"}.get(words[-1], False))
        return Result(stdout=f"{said}\n", exited=0 if good else 1)

    def change(self, *words: str, hint: object = "") -> Result:
        return self.sudo(*words, why="")

    def sudo(self, *words: str, why: str) -> Result:
        self.commands.append(words)
        if len(self.commands) == abs(self.fail_at):
            raise Exit("it failed this once") if self.fail_at > 0 else KeyboardInterrupt  # as a kill: nothing is undone
        if words[0] in ("install", "mkdir", "rm", "rmdir"):
            subprocess.run(words, check=True)
        return Result()


# The second and third share a base domain.
DOMAINS: dict[str, dict[str, Any]] = {
    "a": {"tld": "internal", "k3d_subdomain": "k3d"},
    "b": {"tld": "test", "k3d_subdomain": "k3d"},
    "c": {"tld": "test", "k3d_subdomain": "k3d"},
    "d": {"tld": "internal", "k3d_subdomain": "", "k3d_port_end": 11},
}


@dataclass
class Computer:
    root: Path
    shell: Tree
    settings: dict[str, Settings]
    monkeypatch: pytest.MonkeyPatch
    using: set[str] = field(default_factory=set)

    def be(self, copy: str) -> Settings:
        """The tasks run in this copy from now on."""
        self.monkeypatch.setattr(setting_types, "PROJECT", self.root.parent / copy)
        return self.settings[copy]

    def served(self) -> set[str]:
        """The domains that this machine's dnsmasq answers, and that it is asked for."""
        def active(file: Path) -> bool:
            lines = file.read_text().splitlines()
            return any(line.startswith(("address=", "nameserver ", "Domains=")) for line in lines)

        files = [file for file in dns.METHODS[self.shell.method].list_domain_files(self.shell) if active(file.path)]
        folders = {file.path.parent.name for file in files}
        each = [{domain for file in files if file.path.parent.name == folder for domain in file.domains}
                for folder in folders]
        assert all(domains == each[0] for domains in each), each
        return each[0] if each else set()

    def files(self) -> dict[str, str]:
        return {str(path.relative_to(self.root)): path.read_text() if path.is_file() else ""
                for path in sorted(self.root.rglob("*"))}

    def install(self, *some: str) -> None:
        for copy in some:
            dns.install(self.shell, self.be(copy))

    def remove(self, copy: str, all_copies: bool = False) -> None:
        dns.remove(self.shell, Leaving(self.be(copy), all_copies))


ComputerFactory = Callable[..., Computer]


@pytest.fixture
def computer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ComputerFactory:
    defaults = load(SOURCE, {})
    number = iter(range(1_000_000))

    def make(method: str, version: int = 252) -> Computer:
        here = tmp_path / str(next(number))
        root = here / "machine"
        for folder in ("etc/systemd/system", "etc/NetworkManager/conf.d", "etc/NetworkManager/dnsmasq.d", "brew/etc"):
            (root / folder).mkdir(parents=True)
        (root / "brew/etc/dnsmasq.d").mkdir()
        (root / "brew/etc/dnsmasq.conf").write_text("# of Homebrew\n")
        (root / "etc/resolv.conf").write_text({"systemd-resolved": "nameserver 127.0.0.53\n"}.get(
            method, "# Generated by NetworkManager\n"))
        for copy in DOMAINS:
            (here / copy).mkdir()
            (here / copy / "tasks.py").touch()
        monkeypatch.setattr(system_files, "ROOT", root)
        made = Computer(root, Tree(root, method, version), {
            copy: replace(defaults, **values) for copy, values in DOMAINS.items()}, monkeypatch)

        def resolves(name: str, address: str = "") -> bool:
            return any(name.endswith(f".{domain}") for domain in made.served())

        for module in (dns, resolver):
            monkeypatch.setattr(module, "resolves", resolves)
        monkeypatch.setattr(dns, "other_names", lambda *_: set())
        monkeypatch.setattr(systemd_resolved, "answers_all", lambda settings, port: True)
        monkeypatch.setattr(systemd_resolved, "is_free", lambda port: port != 5399)
        return made

    return make


WAYS = [("systemd-resolved", 252), ("systemd-resolved", 258), ("network-manager", 0), ("brew-dnsmasq", 0)]
ways = pytest.mark.parametrize(("method", "version"), WAYS)
STEPS = st.lists(st.tuples(st.sampled_from(["install", "remove", "change"]), st.sampled_from(sorted(DOMAINS)),
                           st.integers(-12, 12)), max_size=8)


@ways
@hypothesis_settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_in_any_order_each_copy_has_its_names_while_it_is_there_and_nothing_is_left_at_the_end(
    computer: ComputerFactory, method: str, version: int, steps: list[tuple[str, str, int]]
) -> None:
    """Also where a command fails or the run is killed, and the same is done again; and where a copy changes its TLD."""
    machine = computer(method, version)
    before = machine.files()
    using: set[str] = set()
    for verb, copy, fails in steps:
        if verb == "change":
            settings = machine.settings[copy]
            machine.settings[copy] = replace(settings, tld="test" if settings.tld == "internal" else "internal")
        do = machine.remove if verb == "remove" else machine.install
        machine.shell.commands, machine.shell.fail_at = [], fails
        try:
            do(copy)
        except (Exit, KeyboardInterrupt):
            machine.shell.fail_at = 0
            do(copy)
        machine.shell.fail_at = 0
        (using.discard if verb == "remove" else using.add)(copy)
        wanted = {domain for user in using for domain in machine.settings[user].owned_domains}
        assert machine.served() == wanted
    for copy in sorted(using):
        machine.remove(copy)
    assert machine.files() == before


@ways
def test_a_domain_of_two_copies_stays_until_the_second_leaves_and_that_is_said(
    computer: ComputerFactory, method: str, version: int, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = computer(method, version)
    before = machine.files()
    machine.install("b", "c")
    capsys.readouterr()
    machine.remove("b")
    assert f"k3d.test: the copy in {machine.root.parent / 'c'} still needs it" in capsys.readouterr().out
    assert machine.served() == {"k3d.test"}
    machine.remove("b")  # has nothing there any more
    assert capsys.readouterr().out == "" and machine.served() == {"k3d.test"}
    machine.remove("c")
    assert machine.files() == before


@ways
def test_a_copy_that_is_gone_leaves_names_that_only_all_copies_removes(
    computer: ComputerFactory, method: str, version: int
) -> None:
    machine = computer(method, version)
    before = machine.files()
    machine.install("a", "b", "c")
    shutil.rmtree(machine.root.parent / "a")
    machine.remove("b")
    leaving = Leaving(machine.be("b"))
    kept = [line for file in dns.METHODS.values()
            for line in domain_files.describe(leaving.sort(file.list_domain_files(machine.shell)).kept)]
    assert {*kept} == {f"k3d.internal: the copy in {machine.root.parent / 'a'}, which no longer exists",
                       f"k3d.test: the copy in {machine.root.parent / 'c'}"}
    machine.remove("b", all_copies=True)
    assert machine.files() == before


@ways
def test_a_copy_that_was_moved_goes_on_with_its_names(computer: ComputerFactory, method: str, version: int) -> None:
    machine = computer(method, version)
    before = machine.files()
    machine.install("b")
    (machine.root.parent / "b").rename(machine.root.parent / "it's moved\n now")
    machine.settings["it's moved\n now"] = machine.settings["b"]
    machine.install("it's moved\n now")
    assert {*dns.list_other_copies(machine.shell)} == set()
    machine.remove("it's moved\n now")
    assert machine.files() == before


@ways
def test_a_copy_waits_while_another_one_changes_dns(
    computer: ComputerFactory, method: str, version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = computer(method, version)
    for change in (machine.install, machine.remove):
        other, before = ExitStack(), len(machine.shell.commands)
        waited: list[int] = []

        def wait(_: float, other: ExitStack = other, waited: list[int] = waited) -> None:
            waited.append(len(machine.shell.commands))
            other.close()

        monkeypatch.setattr(machine.shell, "pause", wait)
        other.enter_context(locks.hold("DNS", "configuration", "inv dns", wait))
        change("a")
        assert waited[:1] == [before] and len(machine.shell.commands) > before


def test_a_port_that_was_taken_meanwhile_is_changed_for_all_copies(
    computer: ComputerFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = computer("systemd-resolved", 252)
    machine.install("a", "b")
    real = machine.shell.look

    def stopped(*words: str, seconds: float = 0) -> Result:
        return Result(exited=3) if words[-1] == systemd_resolved.SERVICE else real(*words)

    monkeypatch.setattr(machine.shell, "look", stopped)
    monkeypatch.setattr(systemd_resolved, "is_free", lambda port: port > 5400)
    machine.install("a")
    routes = [file.path.read_text() for file in systemd_resolved.find_routes()]
    assert len(routes) == 2 and all("\nDNS=127.0.0.1:5401\n" in text for text in routes)


# --- files of an earlier version, which had one file for all domains --------------------------------------------------

EARLIER = {
    "etc/dev-cluster-tasks/dnsmasq.conf": "address=/{domain}/127.0.0.1\nlocal=/{domain}/\nport=5400\nno-resolv\n",
    "etc/systemd/system/dev-cluster-tasks-dns.service": "[Unit]\n",
    "etc/systemd/resolved.conf.d/dev-cluster-tasks.conf": "[Resolve]\nDNS=127.0.0.1:5400\nDomains=~{domain} \n",
    "etc/systemd/dns-delegate.d/dev-cluster-tasks.dns-delegate": "[Delegate]\nDNS=127.0.0.1:5400\nDomains=~{domain} \n",
    "etc/NetworkManager/dnsmasq.d/dev-cluster-tasks.conf": "address=/{domain}/127.0.0.1\nlocal=/{domain}/\n",
    "etc/NetworkManager/conf.d/dev-cluster-tasks.conf": "[main]\ndns=dnsmasq\n",
    "brew/etc/dnsmasq.d/dev-cluster-tasks.conf": "address=/{domain}/127.0.0.1\nlisten-address=127.0.0.1\n",
    "etc/resolver/{domain}": "nameserver 127.0.0.1\n",
}


def write_earlier(machine: Computer, domain: str) -> None:
    kinds = {"systemd-resolved": ("resolved.conf.d" if machine.shell.version < 258 else "dns-delegate.d", "system/",
                                  "etc/dev-cluster"),
             "network-manager": ("NetworkManager",), "brew-dnsmasq": ("brew", "resolver")}[machine.shell.method]
    for name, text in EARLIER.items():
        if any(kind in name for kind in kinds):
            file = machine.root / name.format(domain=domain)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(system_files.seal(text.format(domain=domain)))


@ways
@pytest.mark.parametrize("fails", range(-14, 15))
def test_what_an_earlier_version_wrote_is_taken_over_with_the_names_of_another_copy_in_it(
    computer: ComputerFactory, method: str, version: int, fails: int
) -> None:
    machine = computer(method, version)
    before = machine.files()
    write_earlier(machine, "k3d.internal")
    assert machine.served() == {"k3d.internal"}
    machine.shell.fail_at = fails
    try:
        machine.install("b")
    except (Exit, KeyboardInterrupt):
        machine.shell.fail_at = 0
        machine.install("b")
    machine.shell.fail_at = 0
    assert machine.served() == {"k3d.internal", "k3d.test"}
    machine.remove("b")
    assert machine.served() == {"k3d.internal"}
    machine.remove("a")
    assert machine.files() == before


@ways
@pytest.mark.parametrize("again", [False, True])
def test_what_an_earlier_version_wrote_for_this_copy_goes(
    computer: ComputerFactory, method: str, version: int, again: bool
) -> None:
    machine = computer(method, version)
    before = machine.files()
    write_earlier(machine, "k3d.internal")
    if again:
        machine.install("a")
        assert machine.served() == {"k3d.internal"}
        assert all(len(file.domains) == 1 and file.names_this_copy
                   for file in dns.METHODS[method].list_domain_files(machine.shell))
    machine.remove("b")
    assert machine.served() == {"k3d.internal"}
    machine.remove("a")
    assert machine.files() == before


# --- the real dnsmasq -------------------------------------------------------------------------------------------------


def test_one_dnsmasq_answers_for_two_copies_and_after_one_has_left_for_the_other(
    computer: ComputerFactory, tmp_path: Path
) -> None:
    program = shutil.which("dnsmasq", path="/usr/local/sbin:/usr/sbin:/usr/bin")
    if not program:
        pytest.skip("dnsmasq is not installed")
    machine = computer("systemd-resolved", 252)
    port = next(port for port in reversed(systemd_resolved.PORTS) if is_free(port))
    answers = []
    for copy, do in (("a", machine.install), ("b", machine.install), ("a", machine.remove)):
        do(copy)
        text = systemd_resolved.configuration().read_text()
        own = tmp_path / "dnsmasq.conf"
        own.write_text(text.replace("/run/dev-cluster-tasks-dns/pid", str(tmp_path / "pid")).replace(
            "port=5400", f"port={port}"))
        with subprocess.Popen([program, "--keep-in-foreground", f"--conf-file={own}"]) as process:
            try:
                Shell(Context(), {}).until("dnsmasq to answer", 10, lambda: not is_free(port), pause=0.02)
                answers.append([ask(name, port) for name in ("x.k3d.internal", "x.k3d.test", "x.example.com")])
            finally:
                process.kill()
    assert answers == [[True, False, False], [True, True, False], [False, True, False]]


def test_homebrews_dnsmasq_takes_the_files_of_two_copies(computer: ComputerFactory, tmp_path: Path) -> None:
    program = shutil.which("dnsmasq", path="/usr/local/sbin:/usr/sbin:/usr/bin")
    if not program:
        pytest.skip("dnsmasq is not installed")
    machine = computer("brew-dnsmasq")
    machine.install("a", "b")
    main = machine.root / "brew/etc/dnsmasq.conf"
    subprocess.run([program, "--test", f"--conf-file={main}"], check=True, capture_output=True)
    assert brew_dnsmasq.shared_file(machine.root / "brew").exists()


# --- what the doctor calls left behind --------------------------------------------------------------------------------


@pytest.fixture
def stores(computer: ComputerFactory, monkeypatch: pytest.MonkeyPatch) -> Computer:
    """A Debian with two copies, `a` and `b`, for the same domain, each with a root in a folder of its own."""
    machine = computer("network-manager")
    for folder in ("usr/local/share/ca-certificates", "etc/ssl/certs"):
        (machine.root / folder).mkdir(parents=True)
    (machine.root / "etc/ssl/certs/ca-certificates.crt").touch()
    monkeypatch.setenv("HOME", str(machine.root.parent))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    for copy in ("a", "b"):
        machine.settings[copy] = replace(machine.settings["a"], cert_folder=machine.root.parent / copy / "certs")
        new_root(machine, copy)
    return machine


def new_root(machine: Computer, copy: str) -> None:
    """Made by hand anew, and trusted by the system's store."""
    settings = machine.be(copy)
    root = ca.authority("k3d.internal")
    ca.put(settings.cert_folder, root.pem, root.key_pem())
    (place,) = linux_system.find_places(machine.shell)
    linux_system.install(machine.shell, place, trust.load_own_roots(settings))


def left_behind(machine: Computer, copy: str) -> list[str]:
    return [*doctor_ca.left_behind(doctor_check.Machine(machine.shell, machine.be(copy)))]


def test_a_root_of_another_copy_is_not_called_left_behind_though_it_is_for_the_same_domain(stores: Computer) -> None:
    anchors = stores.root / "usr/local/share/ca-certificates"
    assert len([*anchors.iterdir()]) == 2
    assert left_behind(stores, "a") == left_behind(stores, "b") == []
    former = trust.load_own_roots(stores.be("a"))[0].label
    new_root(stores, "a")
    assert left_behind(stores, "a") == [f"{anchors}/{former}.crt"] and left_behind(stores, "b") == []
    shutil.rmtree(stores.root.parent / "b")
    theirs = [file for file in anchors.iterdir() if "/b/certs/" in file.read_text()]
    assert sorted(left_behind(stores, "a")) == sorted([f"{anchors}/{former}.crt", *map(str, theirs)])


@pytest.mark.parametrize(("domain", "neighbour", "left"), [
    ("k3d.internal", False, True), ("k3d.internal", True, False), ("k3d.test", False, False),
])
def test_a_store_that_tells_the_certificate_alone_names_a_root_as_left_only_where_it_cannot_be_anothers(
    stores: Computer, domain: str, neighbour: bool, left: bool
) -> None:
    """As an earlier version wrote it to the system's store, and as Firefox and Java have it."""
    anchors = stores.root / "usr/local/share/ca-certificates"
    for file in anchors.iterdir():
        if "/b/certs/" in file.read_text():
            file.unlink()
    if neighbour:
        stores.install("b")
    file = anchors / "dev-cluster-tasks-0123456789ab.crt"
    file.write_text(system_files.seal(ca.authority(domain).pem.decode()))
    assert left_behind(stores, "a") == ([str(file)] if left else [])
