"""This machine: trust and names on a pretended Mac, what is said on Linux, and the podman machine."""

from __future__ import annotations

import getpass
import hashlib
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import ca
import dns.message
import dns.query
import pytest
from conftest import Fakes, Project
from invoke import Context, Exit

from tasks import dns as names
from tasks.dns import brew_dnsmasq
from tasks.render import render
from tasks.settings import load
from tasks.shell import Shell
from tasks.trust import by_hand

# `inv`, but as a chosen user, with a chosen /etc/resolver, and with a clock that goes on 4 s with every look at it.
INV = """
import os, sys
from pathlib import Path
from invoke import Program
from tasks import ns, shell
from tasks.dns import brew_dnsmasq

class Clock:
    now = 0
    def monotonic(self):
        self.now += 4
        return self.now
    def sleep(self, seconds):
        pass

user, resolvers = sys.argv[1:3]
os.geteuid = lambda: int(user)
brew_dnsmasq.RESOLVERS = Path(resolvers)
shell.time = Clock()
Program(namespace=ns, binary="inv").run(["inv", *sys.argv[3:]])
"""

USER, ROOT = 501, 0

KEYCHAIN = "/Library/Keychains/System.keychain"

HOMEBREWS_OWN = "# Configuration file for dnsmasq.\n#conf-dir=/etc/dnsmasq.d/,*.conf\n"


@dataclass
class Run:
    """What a run said, how it ended, and the commands that it ran."""

    exit: int
    stdout: str
    stderr: str
    commands: list[list[str]]

    @property
    def changes(self) -> list[list[str]]:
        """The commands that do more than look."""
        looks = (["uname"], ["brew", "--prefix"], ["brew", "list"], ["pgrep"], ["dscacheutil"],
                 ["security", "verify-cert"])
        return [words for words in self.commands if not any(words[: len(look)] == look for look in looks)]


class Machine:
    """The project on a pretended machine of one system or another."""

    def __init__(self, project: Project, folder: Path, system: str) -> None:
        self.project, self.fakes = project, project.fakes
        self.resolvers = folder / "etc" / "resolver"
        self.prefix = folder / "home brew"
        self.main = self.prefix / "etc" / "dnsmasq.conf"
        self.ours = self.prefix / "etc" / "dnsmasq.d" / "dev-cluster-tasks.conf"
        self.certificate = project.home / ".local-ca-certs" / "internal-ca.crt"
        self.resolvers.parent.mkdir()
        self.ours.parent.mkdir(parents=True)
        self.main.write_text(HOMEBREWS_OWN)
        self.fakes.add("uname", "brew", "pgrep", "dscacheutil", "security", "sudo")
        with (self.fakes.bin / "sudo").open("a") as sudo:
            sudo.write("os.execvp(sys.argv[1], sys.argv[1:])\n")
        self.fakes.add_spies("mkdir", "install", "rm")
        self.fakes.answer("^uname", f"{system}\n")
        self.fakes.answer("^brew --prefix", f"{self.prefix}\n")
        self.fakes.answer("^brew list", exit=1, before="^brew install")
        self.fakes.answer("^pgrep", exit=1, before="^brew services start")
        self.fakes.answer("^dscacheutil", "name: proof.cl0.k3d.internal\nip_address: 127.0.0.1\n", after="^install ")
        self.fakes.answer("^security verify-cert", exit=1, before="^security add-trusted-cert")

    def inv(self, *words: str, user: int = USER, **environment: str) -> Run:
        before = len(self.fakes.calls())
        done = subprocess.run(
            [sys.executable, "-c", INV, str(user), str(self.resolvers), *words], cwd=self.project.folder,
            env=self.project.environment(environment), capture_output=True, text=True, stdin=subprocess.DEVNULL,
        )
        assert "Traceback" not in done.stderr, done.stderr
        # What sudo was asked to run is recorded once more by what it runs.
        received = [[], *self.fakes.calls()[before:]]
        commands = [words for asked, words in pairwise(received) if asked != ["sudo", *words]]
        return Run(done.returncode, done.stdout, done.stderr, commands)

    def files(self) -> dict[Path, tuple[bytes, int]]:
        """Everything that a task may write on this machine: bytes, and the time of the last change."""
        places = [file for folder in (self.prefix, self.resolvers, self.project.home) for file in folder.rglob("*")]
        return {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in places if file.is_file()}


@pytest.fixture
def mac(project: Project, tmp_path: Path) -> Machine:
    return Machine(project, tmp_path, "Darwin")


@pytest.fixture
def linux(project: Project, tmp_path: Path) -> Machine:
    return Machine(project, tmp_path, "Linux")


# --- names on macOS ---------------------------------------------------------------------------------------------------

DNSMASQ = """\
# written by dev-cluster-tasks
# These names lead to this machine; the rest is asked as before.
address=/k3d.internal/127.0.0.1
# Without this line, types other than A would be asked on the Internet.
local=/k3d.internal/
# Without these two, dnsmasq answers the whole local network.
listen-address=127.0.0.1
bind-interfaces
"""
RESOLVER = "# written by dev-cluster-tasks\nnameserver 127.0.0.1\n"

START, RESTART = (["brew", "services", verb, "dnsmasq"] for verb in ("start", "restart"))
ASK = ["dscacheutil", "-q", "host", "-a", "name", "proof.cl0.k3d.internal"]
LOOK_FOR_DNSMASQ = [["uname", "-s"], ["brew", "list", "--versions", "dnsmasq"]]


def write_resolver(mac: Machine, *domains: str) -> list[list[str]]:
    """The commands, run as root, that bring these files to /etc/resolver."""
    copies = [str(mac.project.folder / ".work" / "resolver" / domain) for domain in domains]
    return [["mkdir", "-p", "-m", "0755", str(mac.resolvers)], ["install", "-m", "0644", *copies, str(mac.resolvers)]]


@pytest.mark.parametrize(("user", "sudo"), [(USER, ["sudo"]), (ROOT, [])], ids=["user", "root"])
def test_dnsmasq_is_installed_started_configured_and_proved_and_a_second_run_changes_nothing(
    mac: Machine, user: int, sudo: list[str]
) -> None:
    run = mac.inv("dnsmasq-brew", user=user)
    assert run.exit == 0, run.stderr
    assert run.commands == [
        *LOOK_FOR_DNSMASQ, ["brew", "install", "dnsmasq"], ["pgrep", "-x", "dnsmasq"], [*sudo, *START],
        ["brew", "--prefix"], [*sudo, *RESTART],
        *([*sudo, *words] for words in write_resolver(mac, "k3d.internal")), ASK,
    ]
    assert mac.main.read_text() == f"{HOMEBREWS_OWN}conf-dir={mac.ours.parent}/,*.conf\n"
    assert mac.ours.read_text() == DNSMASQ
    assert list(mac.resolvers.iterdir()) == [mac.resolvers / "k3d.internal"]
    assert (mac.resolvers / "k3d.internal").read_text() == RESOLVER
    assert ("root is needed to start dnsmasq on port 53: sudo brew services start dnsmasq" in run.stdout) == bool(sudo)
    for outcome in ("dnsmasq: installed and started", "dnsmasq's configuration: written, and dnsmasq restarted",
                    "resolver for k3d.internal: macOS resolves its names"):
        assert f"✓ {outcome} " in run.stdout

    before = mac.files()
    again = mac.inv("dnsmasq-brew", user=user)
    assert again.exit == 0, again.stderr
    assert again.commands == [*LOOK_FOR_DNSMASQ, ["pgrep", "-x", "dnsmasq"], ["brew", "--prefix"], ASK]
    assert mac.files() == before
    for outcome in ("dnsmasq: already installed and running", "dnsmasq's configuration: already there",
                    "resolver for k3d.internal: macOS resolves its names, nothing to change"):
        assert f"✓ {outcome} " in again.stdout


def test_install_and_configure_are_tasks_of_their_own(mac: Machine) -> None:
    mac.fakes.answer("^brew list", "dnsmasq 2.92\n")
    install = mac.inv("dnsmasq-brew-install")
    assert install.commands == [*LOOK_FOR_DNSMASQ, ["pgrep", "-x", "dnsmasq"], ["sudo", *START]]
    assert "✓ dnsmasq: started " in install.stdout
    configure = mac.inv("dnsmasq-brew-configure")
    assert configure.changes == [
        ["sudo", *RESTART], *(["sudo", *words] for words in write_resolver(mac, "k3d.internal"))
    ]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, "{line}\n"),
        ("", "{line}\n"),
        ("port=53", "port=53\n{line}\n"),
        ("#{line}\n", "#{line}\n{line}\n"),
        ("{line}\nport=53\n", "{line}\nport=53\n"),
        ("  {line}  \n", "  {line}  \n"),
        ("{line}-mine\n", "{line}-mine\n{line}\n"),
    ],
    ids=["no file", "empty", "no last newline", "as a comment", "there", "there with spaces", "another one"],
)
def test_the_line_that_includes_our_folder_is_there_once(tmp_path: Path, before: str | None, after: str) -> None:
    main, folder = tmp_path / "dnsmasq.conf", tmp_path / "dnsmasq.d"
    line = f"conf-dir={folder}/,*.conf"
    if before is not None:
        main.write_text(before.format(line=line))
    changed = brew_dnsmasq.include_folder(Shell(Context(), {}), main, folder)
    assert main.read_text() == after.format(line=line)
    assert changed == (before != after)
    assert not brew_dnsmasq.include_folder(Shell(Context(), {}), main, folder)
    assert main.read_text() == after.format(line=line)


def test_the_resolver_can_be_read_by_all_whatever_the_umask(mac: Machine) -> None:
    umask = os.umask(0o077)
    try:
        assert mac.inv("dnsmasq-brew-configure").exit == 0
    finally:
        os.umask(umask)
    assert mac.resolvers.stat().st_mode & 0o777 == 0o755
    assert (mac.resolvers / "k3d.internal").stat().st_mode & 0o777 == 0o644


def test_without_a_subdomain_each_cluster_has_its_names_and_the_tld_stays_free(mac: Machine) -> None:
    mac.project.env(K3D_SUBDOMAIN="", K3D_PORT_END="11")
    mac.fakes.answer("^dscacheutil .* proof.cl0.internal$", "ip_address: 127.0.0.1\n")
    run = mac.inv("dnsmasq-brew-configure")
    assert run.exit == 0, run.stderr
    assert run.changes == [
        ["sudo", *RESTART], *(["sudo", *words] for words in write_resolver(mac, "cl0.internal", "cl1.internal"))
    ]
    assert {file.name: file.read_text() for file in mac.resolvers.iterdir()} == {
        "cl0.internal": RESOLVER, "cl1.internal": RESOLVER
    }
    assert re.findall("^(?:address|local)=.*", mac.ours.read_text(), re.MULTILINE) == [
        "address=/cl0.internal/127.0.0.1", "local=/cl0.internal/",
        "address=/cl1.internal/127.0.0.1", "local=/cl1.internal/",
    ]


def test_one_more_cluster_adds_its_file_alone(mac: Machine) -> None:
    mac.fakes.answer("^dscacheutil", "ip_address: 127.0.0.1\n")
    mac.project.env(K3D_SUBDOMAIN="", K3D_PORT_END="10")
    mac.inv("dnsmasq-brew-configure")
    mac.project.env(K3D_SUBDOMAIN="", K3D_PORT_END="11")
    run = mac.inv("dnsmasq-brew-configure")
    assert run.changes == [["sudo", *RESTART], *(["sudo", *words] for words in write_resolver(mac, "cl1.internal"))]


# --- files of others --------------------------------------------------------------------------------------------------


def test_files_of_others_are_refused_before_anything_is_changed(mac: Machine) -> None:
    mac.resolvers.mkdir()
    foreign = mac.resolvers / "k3d.internal"
    foreign.write_text("nameserver 10.0.0.1\n")
    mac.ours.write_text("address=/k3d.internal/10.0.0.1\n")
    before = mac.files()
    run = mac.inv("dnsmasq-brew-configure")
    assert run.exit == 1 and not run.changes
    assert run.stderr == f"Not written by these tasks: {mac.ours}, {foreign}. Move that away, then run this again.\n"
    assert mac.files() == before


def test_what_the_original_wrote_for_the_whole_tld_is_removed(mac: Machine) -> None:
    mac.resolvers.mkdir()
    (mac.resolvers / "internal").write_text("nameserver 127.0.0.1\n")
    (mac.ours.parent / "internal.conf").write_text("address=/internal/127.0.0.1\n")
    run = mac.inv("dnsmasq-brew-configure")
    assert run.exit == 0, run.stderr
    assert run.changes == [
        ["rm", str(mac.ours.parent / "internal.conf")], ["sudo", *RESTART],
        *(["sudo", *words] for words in write_resolver(mac, "k3d.internal")),
        ["sudo", "rm", str(mac.resolvers / "internal")],
    ]
    assert list(mac.ours.parent.iterdir()) == [mac.ours]
    assert list(mac.resolvers.iterdir()) == [mac.resolvers / "k3d.internal"]
    assert "which takes all of .internal: sudo rm " in run.stdout


def test_a_file_for_the_tld_that_holds_more_is_someones_and_stays(mac: Machine) -> None:
    mac.resolvers.mkdir()
    kept = {mac.resolvers / "internal": "nameserver 127.0.0.1\nport 5353\n",
            mac.resolvers / "example": "nameserver 127.0.0.1\n",
            mac.ours.parent / "internal.conf": "address=/internal/127.0.0.1\naddress=/x.internal/10.0.0.1\n",
            mac.ours.parent / "example.conf": "address=/example/127.0.0.1\n"}
    for file, text in kept.items():
        file.write_text(text)
    run = mac.inv("dnsmasq-brew-configure")
    assert run.exit == 0 and not any("rm" in words for words in run.changes)
    assert {file: file.read_text() for file in kept} == kept


# --- what goes wrong --------------------------------------------------------------------------------------------------


def test_a_restart_that_was_refused_is_done_by_the_next_run(mac: Machine) -> None:
    restart = "^sudo brew services restart"
    mac.fakes.answer(restart, stderr="sudo: a password is required\n", exit=1, before=restart)
    refused = mac.inv("dnsmasq-brew-configure")
    assert refused.exit == 1
    assert refused.changes == [["sudo", *RESTART]]
    assert refused.stderr.splitlines() == [
        "dnsmasq's configuration: sudo ended with 1.",
        "  sudo brew services restart dnsmasq",
        "  | sudo: a password is required",
        "Was a question refused? Run this task again to be asked once more.",
    ]
    again = mac.inv("dnsmasq-brew-configure")
    assert again.exit == 0, again.stderr
    assert again.changes == [["sudo", *RESTART], *(["sudo", *words] for words in write_resolver(mac, "k3d.internal"))]
    assert not mac.inv("dnsmasq-brew-configure").changes


def test_a_resolver_that_was_refused_is_written_by_the_next_run(mac: Machine) -> None:
    mac.fakes.answer("^sudo install", exit=1, before="^sudo install")
    assert mac.inv("dnsmasq-brew-configure").exit == 1
    again = mac.inv("dnsmasq-brew-configure")
    assert again.changes == [["sudo", *words] for words in write_resolver(mac, "k3d.internal")]


def test_a_mac_that_ignores_the_resolver_ends_in_advice(mac: Machine) -> None:
    mac.fakes.answer("^dscacheutil", "")
    run = mac.inv("dnsmasq-brew-configure")
    assert run.exit == 1
    assert (mac.resolvers / "k3d.internal").read_text() == RESOLVER
    assert run.commands.count(ASK) > 2, "asked again for a while, since macOS takes a moment"
    assert run.stderr.splitlines() == [
        "macOS does not resolve proof.cl0.k3d.internal, though everything is in place. In this order:",
        "  1. sudo dscacheutil -flushcache; sudo killall -HUP mDNSResponder",
        "  2. scutil --dns: is there a resolver for k3d.internal? A VPN may have its own.",
        "  3. dig @127.0.0.1 proof.cl0.k3d.internal: does dnsmasq answer 127.0.0.1?",
        "  4. Some versions of macOS 26 ignore /etc/resolver for a TLD that is not a public one. Then set in .env",
        "     a TLD below a public one, such as TLD=127.0.0.1.nip.io, which needs no resolver here.",
    ]


def test_an_answer_that_leads_elsewhere_is_no_proof(mac: Machine) -> None:
    mac.fakes.answer("^dscacheutil", "name: proof.cl0.k3d.internal\nip_address: 10.127.0.0\n")
    assert mac.inv("dnsmasq-brew-configure").exit == 1


def test_a_homebrew_that_says_nothing_is_told(mac: Machine) -> None:
    mac.fakes.answer("^brew --prefix", exit=1)
    run = mac.inv("dnsmasq-brew-configure")
    assert run.exit == 1 and not run.changes
    assert run.stderr == "brew --prefix said nothing. Is Homebrew whole? Try: brew doctor\n"


def test_a_mac_without_homebrew_is_told_where_to_get_it(mac: Machine) -> None:
    (mac.fakes.bin / "brew").unlink()
    run = mac.inv("dnsmasq-brew", PATH=f"{mac.fakes.bin}:/usr/bin:/bin")
    assert run.exit == 1 and not run.changes
    assert run.stderr == "Before this can run:\n  brew is not installed: https://brew.sh\n"


def test_a_rehearsal_prints_what_the_run_then_does_and_changes_nothing(mac: Machine) -> None:
    (mac.ours.parent / "internal.conf").write_text("address=/internal/127.0.0.1\n")
    before = mac.files()
    dry = mac.inv("--dry", "dnsmasq-brew")
    assert dry.exit == 0 and not dry.changes
    assert mac.files() == before and not (mac.project.folder / ".work").exists()
    printed = [line for line in dry.stdout.splitlines() if not line.startswith("#")]
    assert printed == [shlex.join(words) for words in mac.inv("dnsmasq-brew").changes]
    assert f"# append conf-dir={mac.ours.parent}/,*.conf to {mac.main}" in dry.stdout
    assert f"# write {mac.ours}" in dry.stdout


# --- a real dnsmasq ---------------------------------------------------------------------------------------------------

needs_dnsmasq = pytest.mark.skipif(not shutil.which("dnsmasq"), reason="dnsmasq is not installed")


@needs_dnsmasq
@pytest.mark.parametrize("subdomain", ["k3d", ""])
def test_dnsmasq_accepts_what_is_written(project: Project, tmp_path: Path, subdomain: str) -> None:
    settings = load(project.folder, {"K3D_SUBDOMAIN": subdomain})
    file = tmp_path / "dev-cluster-tasks.conf"
    file.write_text(render("dnsmasq.conf", domains=settings.owned_domains))
    said = subprocess.run(["dnsmasq", "--test", "-C", str(file)], capture_output=True, text=True)
    assert said.stderr == "dnsmasq: syntax check OK.\n"


@pytest.fixture
def dnsmasq(mac: Machine) -> Iterator[int]:
    """The port of a dnsmasq that has read what was written, and nothing else."""
    mac.inv("dnsmasq-brew-configure", user=ROOT)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with subprocess.Popen(
        ["dnsmasq", "--keep-in-foreground", "--log-facility=-", "-C", str(mac.main), f"--port={port}",
         "--no-resolv", "--no-hosts", "--pid-file=", f"--user={getpass.getuser()}"],
        stderr=subprocess.PIPE, text=True,
    ) as server:
        assert server.stderr and "started" in server.stderr.readline()
        yield port
        server.terminate()


@needs_dnsmasq
def test_dnsmasq_answers_for_our_names_and_for_no_others(dnsmasq: int) -> None:
    def ask(name: str, kind: str) -> tuple[str, list[str]]:
        reply = dns.query.udp(dns.message.make_query(name, kind), "127.0.0.1", port=dnsmasq, timeout=10)
        return dns.rcode.to_text(reply.rcode()), [str(record) for answer in reply.answer for record in answer]

    for ours in ("k3d.internal", "cl0.k3d.internal", "a.b.cl7.k3d.internal", "APP.CL1.K3D.INTERNAL"):
        assert ask(ours, "A") == ("NOERROR", ["127.0.0.1"])
    for kind in ("AAAA", "HTTPS", "TXT"):
        assert ask("app.cl1.k3d.internal", kind) == ("NOERROR", []), "empty, and nobody else is asked"
    for other in ("host.docker.internal", "metadata.google.internal", "internal", "evilk3d.internal", "example.com"):
        assert ask(other, "A") == ("REFUSED", []), "there is nobody to ask, and no answer of its own"


# --- trust on macOS ---------------------------------------------------------------------------------------------------


def verify_cert(mac: Machine) -> list[str]:
    return ["security", "verify-cert", "-l", "-L", "-q", "-c", str(mac.certificate)]


def add_trusted_cert(mac: Machine) -> list[str]:
    return ["security", "add-trusted-cert", "-d", "-r", "trustRoot", "-k", KEYCHAIN, str(mac.certificate)]


@pytest.mark.parametrize(("user", "sudo"), [(USER, ["sudo"]), (ROOT, [])], ids=["user", "root"])
def test_the_root_is_trusted_by_the_system_keychain_and_once(mac: Machine, user: int, sudo: list[str]) -> None:
    run = mac.inv("cert", user=user)
    assert run.exit == 0, run.stderr
    assert run.commands == [["uname", "-s"], verify_cert(mac), [*sudo, *add_trusted_cert(mac)], verify_cert(mac)]
    assert "✓ trust on this machine: now in the system keychain " in run.stdout
    why = "root is needed to trust the root in the system keychain: sudo security add-trusted-cert "
    assert (why in run.stdout) == bool(sudo)

    before = mac.files()
    again = mac.inv("cert", user=user)
    assert again.exit == 0 and again.commands == [["uname", "-s"], verify_cert(mac)]
    assert "✓ trust on this machine: already there " in again.stdout
    assert mac.files() == before


@pytest.mark.parametrize(
    "said",
    ["sudo: a password is required",
     "SecTrustSettingsSetTrustSettings: The authorization was canceled by the user."],
    ids=["sudo", "security"],
)
def test_a_refused_question_fails_the_run_and_the_next_one_asks_again(mac: Machine, said: str) -> None:
    mac.fakes.answer("^sudo security", stderr=f"{said}\n", exit=1, before="^sudo security")
    run = mac.inv("cert")
    assert run.exit == 1
    assert run.stderr.splitlines() == [
        "trust on this machine: sudo ended with 1.",
        f"  {shlex.join(['sudo', *add_trusted_cert(mac)])}",
        f"  | {said}",
        "Was a question refused? Run this task again to be asked once more.",
        "The root is not trusted on this machine yet. Try again with: inv cert",
    ]
    root = mac.files()
    assert mac.certificate in root, "the root itself is made"
    again = mac.inv("cert")
    assert again.exit == 0, again.stderr
    assert again.changes == [["sudo", *add_trusted_cert(mac)]]
    assert mac.files() == root


def test_a_keychain_that_takes_the_root_without_trusting_it_is_told(mac: Machine) -> None:
    mac.fakes.answer("^security verify-cert", exit=1)
    run = mac.inv("cert")
    assert run.exit == 1
    assert run.stderr == (
        f"macOS took {mac.certificate}, and still does not trust it. Look at it in Keychain Access, System.\n"
    )


def test_a_rehearsal_prints_the_trust_step_only_where_it_is_needed(mac: Machine) -> None:
    command = shlex.join(["sudo", *add_trusted_cert(mac)])
    dry = mac.inv("--dry", "cert")
    assert dry.exit == 0 and not dry.changes and command in dry.stdout.splitlines()
    mac.inv("cert")
    before = mac.files()
    dry = mac.inv("--dry", "cert")
    assert dry.exit == 0 and not dry.changes and "add-trusted-cert" not in dry.stdout
    assert mac.files() == before


# --- Linux ------------------------------------------------------------------------------------------------------------


def test_on_linux_cert_says_what_to_type_and_does_nothing_as_root(linux: Machine) -> None:
    run = linux.inv("cert")
    assert run.exit == 0, run.stderr
    assert run.commands == [["uname", "-s"]]
    said = re.search(r"! trust on this machine: not yet. To add the root to the system's store, type:\n    (.*\S)\s+\d",
                     run.stdout)
    assert said and said[1] == by_hand.command(linux.certificate)


def test_on_linux_a_root_that_openssl_trusts_is_already_there(linux: Machine) -> None:
    linux.inv("cert")
    run = linux.inv("cert", SSL_CERT_FILE=str(linux.certificate))
    assert run.exit == 0 and "✓ trust on this machine: already there " in run.stdout


@pytest.mark.parametrize(
    ("there", "command"),
    [
        ("usr/local/share/ca-certificates", "update-ca-certificates"),
        ("etc/pki/ca-trust/source/anchors", "update-ca-trust"),
        ("etc/ca-certificates/trust-source/anchors", "update-ca-trust"),
        ("etc/pki/trust/anchors", "update-ca-certificates"),
    ],
    ids=["Debian", "Fedora", "Arch", "openSUSE"],
)
def test_each_distribution_has_its_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: str, command: str
) -> None:
    folders = {f"{tmp_path}{folder}": update for folder, update in by_hand.FOLDERS.items()}
    monkeypatch.setattr(by_hand, "FOLDERS", folders)
    certificate = Path("/home/it's me/internal-ca.crt")
    assert by_hand.command(certificate) == f"add {certificate} to the trust store of your system"
    (tmp_path / there).mkdir(parents=True)
    assert shlex.split(by_hand.command(certificate)) == [
        "sudo", "cp", str(certificate), f"{tmp_path}/{there}/dev-clusters-internal-ca.crt", "&&", "sudo", command
    ]


@pytest.mark.parametrize("task", ["dnsmasq-brew", "dnsmasq-brew-configure"])
def test_the_tasks_for_macos_say_so_elsewhere(linux: Machine, task: str) -> None:
    before = linux.files()
    run = linux.inv(task)
    assert run.exit == 1 and run.commands == [["uname", "-s"]]
    assert run.stderr == ("The dnsmasq-brew tasks are for macOS: no other system reads /etc/resolver.\n"
                          "What to type on this one is in the last rows of: inv k3d-cluster-examples --n 0\n")
    assert linux.files() == before


@pytest.fixture
def here(fakes: Fakes, project: Project, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """A shell of this process whose commands are the recorders, and little else."""
    monkeypatch.setenv("PATH", f"{fakes.bin}:/usr/bin:/bin")
    monkeypatch.setenv("FAKES", str(fakes.folder))
    fakes.add("uname")
    return Shell(Context(), {})


def test_on_linux_up_says_what_to_type_for_the_first_name(
    here: Shell, fakes: Fakes, project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    fakes.answer("^uname", "Linux\n")
    cluster = load(project.folder, {"TLD": "invalid"}).cluster(0)
    names.ensure(here, cluster, "app.cl0.k3d.invalid")
    assert re.sub(r"\s+\d+\.\d s\n", "\n", capsys.readouterr().out) == (
        "! names on this machine: not yet. For this one name, type:\n"
        '    echo "127.0.0.1 app.cl0.k3d.invalid" | sudo tee -a /etc/hosts\n'
        "    For all names: a resolver on 127.0.0.1, for k3d.invalid only\n"
    )
    names.ensure(here, cluster, "localhost")
    assert "✓ names on this machine: already resolved " in capsys.readouterr().out


def test_on_a_mac_without_homebrew_up_is_told_where_to_get_it(here: Shell, fakes: Fakes, project: Project) -> None:
    fakes.answer("^uname", "Darwin\n")
    with pytest.raises(Exit, match=r"brew is not installed: https://brew\.sh"):
        names.ensure(here, load(project.folder, {}).cluster(0), "app.cl0.k3d.internal")


# --- the podman machine -----------------------------------------------------------------------------------------------

ANCHOR = "/etc/pki/ca-trust/source/anchors/dev-clusters-additional-ca.crt"
UPLOAD = "/tmp/dev-clusters-additional-ca.crt"


@pytest.fixture
def bundle(project: Project) -> Path:
    """A company's CA, set in .env, in a file with a name that a shell would trip over."""
    file = project.home / "it's $our company's CA.pem"
    file.write_bytes(ca.authority(excluded=[]).pem)
    project.env(ADDITIONAL_CA_BUNDLE_FILE=f'"{file}"')
    project.fakes.add("podman")
    return file


def checksum(machine: str) -> list[str]:
    return ["podman", "machine", "ssh", machine, "sha256sum", ANCHOR]


def prepare(machine: str, bundle: Path) -> list[list[str]]:
    """The user of a rootless machine may write to /tmp alone; with sudo both kinds of machine are the same."""
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
def test_the_podman_machine_gets_the_bundle_as_root(
    project: Project, bundle: Path, words: list[str], machine: str
) -> None:
    project.fakes.answer("sha256sum", exit=1)
    done = project.inv("podman-machine-prepare", *words)
    assert done.returncode == 0, done.stderr
    assert project.fakes.calls() == [checksum(machine), *prepare(machine, bundle)]
    assert f"✓ podman machine {machine}: trusts it now " in done.stdout


def test_a_podman_machine_that_has_the_bundle_is_left_alone_and_one_with_an_older_one_is_not(
    project: Project, bundle: Path
) -> None:
    project.fakes.answer("sha256sum", f"{hashlib.sha256(bundle.read_bytes()).hexdigest()}  {ANCHOR}\n")
    done = project.inv("podman-machine-prepare")
    assert done.returncode == 0 and "podman machine podman-machine-default: already trusts it " in done.stdout
    assert project.fakes.calls() == [checksum("podman-machine-default")]

    project.fakes.forget()
    bundle.write_bytes(bundle.read_bytes() * 2)
    assert project.inv("podman-machine-prepare").returncode == 0
    assert project.fakes.calls()[1:] == prepare("podman-machine-default", bundle)


@pytest.mark.parametrize(
    "words", [["-v"], [""], ["a:b; touch pwned"], ["one", "two"]], ids=["option", "empty", "signs", "two"]
)
def test_what_is_no_machines_name_is_refused(project: Project, bundle: Path, words: list[str]) -> None:
    done = project.inv("podman-machine-prepare", "--", *words)
    assert done.returncode == 1
    assert done.stderr == f"One machine's name goes behind --, and this was: {' '.join(words)}\n"
    assert not project.fakes.calls()


def test_without_a_bundle_there_is_nothing_to_bring(project: Project) -> None:
    project.fakes.add("podman")
    done = project.inv("podman-machine-prepare")
    assert done.returncode == 1
    assert done.stderr == "ADDITIONAL_CA_BUNDLE_FILE is not set. Name your company's CA bundle in .env.\n"
    assert not project.fakes.calls()


def test_a_podman_machine_that_does_not_answer_ends_in_advice(project: Project, bundle: Path) -> None:
    project.fakes.answer("^podman", stderr="Error: VM is not running\n", exit=125)
    done = project.inv("podman-machine-prepare", "--", "work")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "podman machine work: podman ended with 125.",
        f"  {shlex.join(prepare('work', bundle)[0])}",
        "  | Error: VM is not running",
        "Does it run? podman machine start work",
    ]
    assert project.fakes.calls() == [checksum("work"), prepare("work", bundle)[0]]


def test_a_rehearsal_for_podman_prints_its_commands_and_runs_none(project: Project, bundle: Path) -> None:
    project.fakes.answer("sha256sum", exit=1)
    done = project.inv("--dry", "podman-machine-prepare")
    assert done.returncode == 0
    assert [line for line in done.stdout.splitlines() if not line.startswith("#")] == [
        shlex.join(words) for words in prepare("podman-machine-default", bundle)
    ]
    assert project.fakes.calls() == [checksum("podman-machine-default")]


def test_without_podman_the_way_to_get_it_is_told(project: Project, bundle: Path) -> None:
    (project.fakes.bin / "podman").unlink()
    done = project.inv("podman-machine-prepare", environment={"PATH": str(project.fakes.bin)})
    assert done.returncode == 1
    assert done.stderr == (
        "Before this can run:\n  podman is not installed: brew install podman, or https://podman.io/docs/installation\n"
    )
