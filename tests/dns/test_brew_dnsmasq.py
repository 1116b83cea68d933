"""Names on a simulated Mac: installed, verified and removed again."""

from __future__ import annotations

import getpass
import os
import re
import shlex
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import dns.message
import dns.query
import pytest
from conftest import Project
from invoke import Context
from machine import HOMEBREWS_OWN, ROOT, USER, Machine, as_root

from tasks.core.configuration import load
from tasks.core.shell import Shell
from tasks.core.system_files import seal
from tasks.core.templates import render
from tasks.dns import brew_dnsmasq


@pytest.fixture
def mac(project: Project) -> Machine:
    return Machine(project, "Darwin")


# --- names on macOS ---------------------------------------------------------------------------------------------------

DNSMASQ = seal("""\
# For all cluster domains. Without these two lines, dnsmasq answers the whole local network.
listen-address=127.0.0.1
bind-interfaces
""")


def names(mac: Machine) -> str:
    """The file with the names of one domain."""
    return seal(f"""\
# used by the copy in {mac.project.folder}
# This name and all names below it resolve to this machine. Other names resolve as before.
address=/k3d.internal/127.0.0.1
# Without this line, queries for types other than A would be sent to the Internet.
local=/k3d.internal/
""")


def names_file(mac: Machine, domain: str = "k3d.internal") -> Path:
    return mac.ours.with_name(f"dev-cluster-tasks-{domain}.conf")


def resolver(mac: Machine) -> str:
    return seal(f"# used by the copy in {mac.project.folder}\nnameserver 127.0.0.1\n")


START, RESTART, STOP = (["brew", "services", verb, "dnsmasq"] for verb in ("start", "restart", "stop"))
ASK = ["dscacheutil", "-q", "host", "-a", "name", "proof.cl0.k3d.internal"]


def include(mac: Machine) -> str:
    """What is added to dnsmasq's main file."""
    return f"# written by dev-cluster-tasks\nconf-dir={mac.ours.parent}/,*.conf\n"


def write_resolver(mac: Machine, *domains: str) -> list[list[str]]:
    """The commands, run as root, that bring these files to /etc/resolver where it is missing."""
    return [["mkdir", "-p", "-m", "0755", str(mac.resolvers)], *(mac.put(mac.resolvers / domain) for domain in domains)]


@pytest.mark.parametrize("user", [USER, ROOT], ids=["user", "root"])
def test_dnsmasq_is_installed_started_configured_and_proved_and_a_second_run_changes_nothing(
    mac: Machine, user: int
) -> None:
    sudo = as_root if user else lambda *commands: [*commands]
    run = mac.good("dnsmasq-brew", user=user)
    assert run.changes == [
        ["brew", "install", "dnsmasq"], *sudo(START, RESTART, *write_resolver(mac, "k3d.internal"))]
    assert run.commands[-1] == ASK
    assert mac.main.read_text() == HOMEBREWS_OWN + include(mac)
    assert (mac.ours.read_text(), names_file(mac).read_text()) == (DNSMASQ, names(mac))
    assert [(file.name, file.read_text()) for file in mac.resolvers.iterdir()] == [("k3d.internal", resolver(mac))]
    for outcome in ("dnsmasq: installed and started", "dnsmasq's configuration: written, and dnsmasq restarted",
                    "resolver for k3d.internal: macOS resolves its names"):
        assert f"✓ {outcome} " in run.stdout

    before = mac.files()
    again = mac.good("dnsmasq-brew", user=user)
    assert (again.changes, mac.files(), "root" in again.stdout) == ([], before, False)
    assert again.commands[-1] == ASK
    for outcome in ("dnsmasq: already installed and running", "dnsmasq's configuration: already there",
                    "resolver for k3d.internal: macOS resolves its names, nothing to change"):
        assert f"✓ {outcome} " in again.stdout


def test_what_needs_root_is_told_as_one_list_before_anything_is_changed(mac: Machine) -> None:
    told, _, done = mac.good("dnsmasq-brew").stdout.partition("\n\n")
    heading, *commands = told.splitlines()
    assert heading == "The following commands need root; sudo may prompt for your password:"
    assert [shlex.split(line, comments=True) for line in commands] == as_root(
        START, RESTART, *write_resolver(mac, "k3d.internal"))
    assert commands[0].endswith("  # start dnsmasq on port 53")
    assert done.startswith("✓ dnsmasq: ") and "root" not in done
    assert "root" not in mac.good("dns-remove", user=ROOT).stdout


def test_install_and_configure_are_tasks_of_their_own(mac: Machine) -> None:
    mac.fakes.answer("^brew list", "dnsmasq 2.92\n")
    install = mac.good("dnsmasq-brew-install")
    assert install.changes == as_root(START)
    assert "✓ dnsmasq: started " in install.stdout
    assert mac.good("dnsmasq-brew-configure").changes == as_root(RESTART, *write_resolver(mac, "k3d.internal"))


@pytest.mark.parametrize(
    ("before", "after", "removed"),
    [
        (None, "{ours}{line}\n", ""),
        ("", "{ours}{line}\n", ""),
        ("port=53", "port=53\n{ours}{line}\n", "port=53\n"),
        ("#{line}\n", "#{line}\n{ours}{line}\n", "#{line}\n"),
        ("{line}\nport=53\n", "{line}\nport=53\n", "{line}\nport=53\n"),
        ("  {line}  \n", "  {line}  \n", "  {line}  \n"),
        ("{line}-mine\n", "{line}-mine\n{ours}{line}\n", "{line}-mine\n"),
    ],
    ids=["no file", "empty", "no last newline", "as a comment", "there", "there with spaces", "another one"],
)
def test_the_line_that_includes_our_folder_is_there_once_and_goes_where_it_is_ours(
    tmp_path: Path, before: str | None, after: str, removed: str
) -> None:
    main, shell = tmp_path / "etc" / "dnsmasq.conf", Shell(Context(), {})
    words = {"line": f"conf-dir={tmp_path}/etc/dnsmasq.d/,*.conf", "ours": "# written by dev-cluster-tasks\n"}
    if before is not None:
        main.parent.mkdir()
        main.write_text(before.format(**words))
    changed = brew_dnsmasq.include_folder(shell, tmp_path)
    assert main.read_text() == after.format(**words)
    assert changed == (before != after)
    assert not brew_dnsmasq.include_folder(shell, tmp_path)
    assert main.read_text() == after.format(**words)
    for _ in range(2):
        brew_dnsmasq.exclude_folder(shell, tmp_path)
        assert main.read_text() == removed.format(**words)


def test_the_resolver_can_be_read_by_all_whatever_the_umask(mac: Machine) -> None:
    umask = os.umask(0o077)
    try:
        mac.good("dnsmasq-brew-configure")
    finally:
        os.umask(umask)
    assert mac.resolvers.stat().st_mode & 0o777 == 0o755
    assert (mac.resolvers / "k3d.internal").stat().st_mode & 0o777 == 0o644


def test_without_a_subdomain_each_cluster_has_its_names_and_the_tld_stays_free(mac: Machine) -> None:
    mac.project.env(K3D_SUBDOMAIN="", K3D_PORT_END="11")
    before = mac.tree()
    run = mac.good("dnsmasq-brew-configure")
    assert run.changes == as_root(RESTART, *write_resolver(mac, "cl0.internal", "cl1.internal"))
    assert {file.name: file.read_text() for file in mac.resolvers.iterdir()} == {
        "cl0.internal": resolver(mac), "cl1.internal": resolver(mac)
    }
    for domain in ("cl0.internal", "cl1.internal"):
        assert re.findall("^(?:address|local)=.*", names_file(mac, domain).read_text(), re.MULTILINE) == [
            f"address=/{domain}/127.0.0.1", f"local=/{domain}/"]
    removed = mac.good("dns-remove")
    told = removed.stdout.partition("\n\n")[0].splitlines()[1:]
    assert as_root(*([*map(str, words)] for words in (
        ["rm", mac.resolvers / "cl0.internal"], ["rm", mac.resolvers / "cl1.internal"], ["rmdir", mac.resolvers], STOP,
    ))) == [shlex.split(line, comments=True) for line in told] == [
        words for words in removed.changes if words[0] == "sudo"]
    assert mac.tree() == before


def test_one_more_cluster_adds_its_file_alone(mac: Machine) -> None:
    mac.fakes.answer("^dscacheutil", "ip_address: 127.0.0.1\n")
    mac.project.env(K3D_SUBDOMAIN="", K3D_PORT_END="10")
    mac.good("dnsmasq-brew-configure")
    mac.project.env(K3D_SUBDOMAIN="", K3D_PORT_END="11")
    run = mac.good("dnsmasq-brew-configure")
    assert run.changes == as_root(RESTART, mac.put(mac.resolvers / "cl1.internal"))


def test_another_tld_takes_the_place_of_the_former_one(mac: Machine) -> None:
    mac.good("dnsmasq-brew-configure")
    mac.project.env(TLD="test")
    run = mac.good("dnsmasq-brew-configure")
    assert run.changes == [["rm", str(names_file(mac))], *as_root(
        RESTART, mac.put(mac.resolvers / "k3d.test"), ["rm", str(mac.resolvers / "k3d.internal")])]
    assert [file.name for file in mac.resolvers.iterdir()] == ["k3d.test"]
    assert {*mac.ours.parent.iterdir()} == {mac.ours, names_file(mac, "k3d.test")}


# --- the task dns, there and back -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("main", "verb"),
    [(HOMEBREWS_OWN, STOP), (HOMEBREWS_OWN + "address=/lab.example/10.0.0.1\n", RESTART)], ids=["alone", "others"],
)
def test_what_dns_does_dns_remove_undoes_and_dnsmasq_goes_on_for_others_only(
    mac: Machine, main: str, verb: list[str]
) -> None:
    mac.main.write_text(main)
    before = mac.tree()
    run = mac.good("dns")
    assert run.changes == [
        ["brew", "install", "dnsmasq"], *as_root(START, RESTART, *write_resolver(mac, "k3d.internal"))]
    assert "✓ this machine's resolver: resolves names below k3d.internal, other names as before " in run.stdout
    settled = mac.files()
    assert (mac.good("dns").changes, mac.files()) == ([], settled)

    removed = mac.good("dns-remove")
    assert removed.changes == [
        *as_root(["rm", str(mac.resolvers / "k3d.internal")], ["rmdir", str(mac.resolvers)]),
        ["rm", str(names_file(mac))], *as_root(verb), ["rm", str(mac.ours)],
    ]
    assert mac.tree() == before
    assert mac.good("dns-remove").changes == []


def test_a_file_of_others_keeps_its_folder_and_dnsmasq(mac: Machine) -> None:
    kept = (mac.resolvers / "lab.example", mac.ours.parent / "lab.conf")
    mac.resolvers.mkdir()
    for file in kept:
        file.write_text("# mine\nport=53\n")
    before = mac.tree()
    mac.good("dns")
    removed = mac.good("dns-remove")
    assert removed.changes == [*as_root(["rm", str(mac.resolvers / "k3d.internal")]), ["rm", str(names_file(mac))],
                               *as_root(RESTART), ["rm", str(mac.ours)]]
    assert mac.tree() == before
    assert "✓ dnsmasq from Homebrew: still running, for other names " in removed.stdout


COMMANDS = {
    "dns": ("brew install", "sudo brew services start", "sudo brew services restart", "sudo mkdir", "sudo install"),
    "dns-remove": ("sudo rm ", "sudo rmdir", "sudo brew services stop", "rm "),
}


@pytest.mark.parametrize(("task", "fails"), [(task, fails) for task, all_ in COMMANDS.items() for fails in all_])
def test_whichever_command_fails_a_second_run_converges(mac: Machine, task: str, fails: str) -> None:
    before = mac.tree()
    if task == "dns-remove":
        mac.good("dns")
    mac.fakes.answer(f"^{fails}", stderr="it failed this once\n", exit=1, before=f"^{fails}")
    failed = mac.inv(task)
    assert failed.exit == 1 and "it failed this once" in failed.stderr
    if task == "dns":
        assert mac.tree() == before, "undone"
        mac.good("dns")
        assert mac.good("dns-verify").exit == 0
    mac.good("dns-remove")
    assert mac.tree() == before


def test_where_macos_does_not_resolve_what_was_done_is_undone_and_the_reason_told(mac: Machine) -> None:
    mac.fakes.answer("^dscacheutil", "")
    before = mac.tree()
    run = mac.inv("dns")
    assert (run.exit, mac.tree()) == (1, before)
    assert ("  brew-dnsmasq: macOS does not resolve proof.cl0.k3d.internal, although everything is configured."
            in run.stderr)
    assert "  systemd-resolved: systemd-resolved is not running\n" in run.stderr


def test_names_that_are_found_already_are_left_to_whoever_leads_them_here(mac: Machine) -> None:
    run = mac.good("dns", INTERNET="proof.k3d.internal=127.0.0.1")
    assert run.changes == []
    assert "✓ names below k3d.internal: already resolved, not by these tasks " in run.stdout


def test_the_chosen_method_alone_is_tried_also_where_names_are_found_already(mac: Machine) -> None:
    mac.project.env(DNS_METHOD="network-manager")
    run = mac.inv("dns")
    assert (run.exit, run.changes) == (1, [])
    assert "  network-manager: NetworkManager is not running\n" in run.stderr and "brew" not in run.stderr
    mac.project.env(DNS_METHOD="brew-dnsmasq")
    assert mac.good("dns", INTERNET="proof.k3d.internal=127.0.0.1").changes


def test_the_printed_scripts_do_roots_part_and_bring_the_files_along(mac: Machine) -> None:
    mac.fakes.answer("^brew list", "dnsmasq 2.92\n")
    file = mac.resolvers / "k3d.internal"
    mkdir, install = write_resolver(mac, "k3d.internal")
    scripts = {
        "dns": [START, RESTART, mkdir, [*install[:3], "/dev/stdin", str(file)]],
        "dns-remove": [["rm", str(file)], ["rmdir", str(mac.resolvers)], STOP],
    }
    for task, commands in scripts.items():
        before = mac.tree()
        printed = mac.good(task, "--print-sudo")
        assert (printed.changes, mac.tree()) == ([], before)
        subprocess.run(["sh", "-n"], input=printed.stdout, text=True, check=True)
        mac.fakes.forget()
        path = mac.project.environment({"PATH": f"{mac.fakes.bin}:/usr/bin:/bin"})
        subprocess.run(["sh"], input=printed.stdout, text=True, check=True, env=path)
        assert mac.fakes.calls() == commands
        assert (file.read_text() == resolver(mac)) if task == "dns" else not mac.resolvers.exists()
        assert mac.good(task).changes == (as_root(RESTART) if task == "dns" else [
            ["rm", str(names_file(mac))], *as_root(STOP), ["rm", str(mac.ours)]])


# --- files of others --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["dnsmasq-brew-configure", "dns"])
def test_files_of_others_are_refused_before_they_are_changed(mac: Machine, task: str) -> None:
    mac.resolvers.mkdir()
    mac.fakes.answer("^brew list", "dnsmasq 2.92\n")
    mac.fakes.answer("^pgrep", "1\n")
    foreign = mac.resolvers / "k3d.internal"
    foreign.write_text("nameserver 10.0.0.1\n")
    mac.ours.write_text("address=/k3d.internal/10.0.0.1\n")
    before = mac.files()
    run = mac.inv(task)
    assert run.exit == 1 and not run.changes and mac.files() == before
    assert (f"{mac.ours} exists but was not created by these tasks.\n"
            f"{foreign} exists but was not created by these tasks.\n"
            "Check them, move them away, then run this task again.\n") in run.stderr
    assert mac.good("dns-remove").changes == [] and mac.files() == before


@pytest.mark.parametrize("which", ["shared", "names", "resolver"])
def test_a_file_that_somebody_has_changed_is_neither_overwritten_nor_removed(mac: Machine, which: str) -> None:
    mac.good("dns")
    file = {"shared": mac.ours, "names": names_file(mac), "resolver": mac.resolvers / "k3d.internal"}[which]
    file.write_text(file.read_text() + "# changed\n")
    before = mac.files()
    for task in ("dns", "dnsmasq-brew-configure", "dns-remove"):
        run = mac.inv(task)
        assert run.exit == 1 and not run.changes and mac.files() == before
        assert (f"{file} was changed after these tasks created it.\nCheck it, move it away, then run this task again."
                ) in run.stderr


def test_what_the_original_wrote_for_the_whole_tld_is_removed(mac: Machine) -> None:
    mac.resolvers.mkdir()
    (mac.resolvers / "internal").write_text("nameserver 127.0.0.1\n")
    (mac.ours.parent / "internal.conf").write_text("address=/internal/127.0.0.1\n")
    run = mac.good("dnsmasq-brew-configure")
    assert run.changes == [
        *as_root(["rm", str(mac.resolvers / "internal")]), ["rm", str(mac.ours.parent / "internal.conf")],
        *as_root(RESTART, mac.put(mac.resolvers / "k3d.internal")),
    ]
    assert {*mac.ours.parent.iterdir()} == {mac.ours, names_file(mac)}
    assert list(mac.resolvers.iterdir()) == [mac.resolvers / "k3d.internal"]
    assert "of the original Taskfile, which covers all of .internal\n" in run.stdout


def test_a_file_for_the_tld_that_holds_more_is_someones_and_stays(mac: Machine) -> None:
    mac.resolvers.mkdir()
    kept = {mac.resolvers / "internal": "nameserver 127.0.0.1\nport 5353\n",
            mac.resolvers / "example": "nameserver 127.0.0.1\n",
            mac.ours.parent / "internal.conf": "address=/internal/127.0.0.1\naddress=/x.internal/10.0.0.1\n",
            mac.ours.parent / "example.conf": "address=/example/127.0.0.1\n"}
    for file, text in kept.items():
        file.write_text(text)
    run = mac.good("dnsmasq-brew-configure")
    assert not any("rm" in words for words in run.changes)
    assert {file: file.read_text() for file in kept} == kept


# --- what goes wrong --------------------------------------------------------------------------------------------------


def test_a_restart_that_was_refused_is_done_by_the_next_run(mac: Machine) -> None:
    restart = "^sudo brew services restart"
    mac.fakes.answer(restart, stderr="sudo: a password is required\n", exit=1, before=restart)
    refused = mac.inv("dnsmasq-brew-configure")
    assert refused.exit == 1 and refused.changes == as_root(RESTART)
    error, _, left = refused.stderr.partition("\n\n")
    assert error.splitlines() == [
        "dnsmasq's configuration: sudo exited with code 1.",
        "  sudo brew services restart dnsmasq",
        "  | sudo: a password is required",
        "Fix the cause and run the task again; tasks are safe to repeat. Use --echo to see the full output.",
    ]
    heading, *commands = left.splitlines()
    assert heading.startswith("The remaining steps need root. Ask an administrator")
    assert [shlex.split(line, comments=True) for line in commands] == [RESTART, *write_resolver(mac, "k3d.internal")]
    again = mac.good("dnsmasq-brew-configure")
    assert again.changes == as_root(RESTART, *write_resolver(mac, "k3d.internal"))
    assert not mac.good("dnsmasq-brew-configure").changes


def test_a_resolver_that_was_refused_is_written_by_the_next_run(mac: Machine) -> None:
    mac.fakes.answer("^sudo install", exit=1, before="^sudo install")
    assert mac.inv("dnsmasq-brew-configure").exit == 1
    again = mac.good("dnsmasq-brew-configure")
    assert again.changes == as_root(mac.put(mac.resolvers / "k3d.internal"))


def test_a_mac_that_ignores_the_resolver_ends_in_advice(mac: Machine) -> None:
    mac.fakes.answer("^dscacheutil", "")
    run = mac.inv("dnsmasq-brew-configure")
    assert run.exit == 1
    assert (mac.resolvers / "k3d.internal").read_text() == resolver(mac)
    assert run.commands.count(ASK) > 2, "asked again for a while, since macOS takes a moment"
    assert run.stderr.splitlines() == [
        "macOS does not resolve proof.cl0.k3d.internal, although everything is configured. Check in this order:",
        "  1. sudo dscacheutil -flushcache; sudo killall -HUP mDNSResponder",
        "  2. scutil --dns: is there a resolver for k3d.internal? A VPN may have its own.",
        "  3. dig @127.0.0.1 proof.cl0.k3d.internal: does dnsmasq answer 127.0.0.1?",
        "  4. Some versions of macOS 26 ignore /etc/resolver for a TLD that is not a public one. Without",
        "     DNS_METHOD in .env, inv dns then writes the names to /etc/hosts.",
    ]


def test_an_answer_that_leads_elsewhere_is_no_proof(mac: Machine) -> None:
    mac.fakes.answer("^dscacheutil", "name: proof.cl0.k3d.internal\nip_address: 10.127.0.0\n")
    assert mac.inv("dnsmasq-brew-configure").exit == 1


def test_a_homebrew_that_says_nothing_is_told(mac: Machine) -> None:
    mac.fakes.answer("^brew --prefix", exit=1)
    run = mac.inv("dnsmasq-brew-configure")
    assert run.exit == 1 and not run.changes
    assert run.stderr == "brew --prefix printed nothing. To check the Homebrew installation: brew doctor\n"


@pytest.mark.parametrize("task", ["dnsmasq-brew", "dnsmasq-brew-install", "dnsmasq-brew-configure"])
def test_the_tasks_for_homebrew_say_so_where_it_is_not(project: Project, task: str) -> None:
    machine = Machine(project, "Darwin")
    (machine.fakes.bin / "brew").unlink()
    before = machine.files()
    for system, why in (("Darwin", "brew is not installed: https://brew.sh"),
                        ("Linux", "only on macOS, because no other system reads /etc/resolver")):
        machine.fakes.answer("^uname", f"{system}\n")
        run = machine.inv(task)
        assert run.exit == 1 and run.commands == [["uname", "-s"]]
        assert run.stderr == f"dnsmasq-brew: {why}.\nFor a method that works on this machine: inv dns\n"
    assert machine.files() == before


def test_a_rehearsal_prints_what_the_run_then_does_and_changes_nothing(mac: Machine) -> None:
    (mac.ours.parent / "internal.conf").write_text("address=/internal/127.0.0.1\n")
    for task in ("dnsmasq-brew", "dns-remove"):
        before = mac.files()
        dry = mac.good("--dry", task)
        assert not dry.changes and mac.files() == before
        assert (mac.project.folder / ".work").exists() == (task == "dns-remove")
        printed = [line for line in dry.stdout.splitlines() if not line.startswith("#")]
        assert printed == [shlex.join(words) for words in mac.good(task).changes]
        verb = "append {} to" if task == "dnsmasq-brew" else "remove {} from"
        assert f"# {verb.format(f'conf-dir={mac.ours.parent}/,*.conf')} {mac.main}\n" in dry.stdout
        assert f"# write {mac.ours}\n" in dry.stdout


# --- a real dnsmasq ---------------------------------------------------------------------------------------------------

needs_dnsmasq = pytest.mark.skipif(not shutil.which("dnsmasq"), reason="dnsmasq is not installed")


@needs_dnsmasq
@pytest.mark.parametrize("subdomain", ["k3d", ""])
def test_dnsmasq_accepts_what_is_written(project: Project, tmp_path: Path, subdomain: str) -> None:
    settings = load(project.folder, {"K3D_SUBDOMAIN": subdomain})
    file = tmp_path / "dev-cluster-tasks.conf"
    for text in (render("dns/brew.conf", domains=settings.owned_domains), ""):  # the second before it is removed
        file.write_text(seal(text))
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
