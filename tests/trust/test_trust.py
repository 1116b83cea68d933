"""The system's trust store: macOS' keychain, the families of Linux, Windows below WSL, and a shell's variables."""

from __future__ import annotations

import http.server
import re
import shlex
import shutil
import ssl
import subprocess
import warnings
from pathlib import Path

import ca
import pytest
from conftest import Project
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from machine import ROOT, USER, Machine, Run, as_root
from pretend import Page, serving
from recording import Call

from tasks.ca.root import RootCA
from tasks.trust import entries
from tasks.trust.linux_system import FAMILIES, Family

KEYCHAIN = "/Library/Keychains/System.keychain"

REFUSED = "sudo: a password is required"
LEFT = "The remaining steps need root. Ask an administrator to run these commands, then run this task again:"


@pytest.fixture
def mac(project: Project) -> Machine:
    return Machine(project, "Darwin")


@pytest.fixture
def linux(project: Project) -> Machine:
    """With a root, and no trust store yet."""
    machine = Machine(project, "Linux")
    machine.good("cert", TRUST_STORES="")
    return machine


def root_of(machine: Machine) -> RootCA:
    return ca.root_in(machine.certificate)


def commands(text: str) -> list[list[str]]:
    """The commands in lines of shell, with or without a comment behind them."""
    return [shlex.split(line, comments=True) for line in text.splitlines()]


# --- macOS ------------------------------------------------------------------------------------------------------------


def add_trusted_cert(mac: Machine) -> list[str]:
    return ["security", "add-trusted-cert", "-d", "-r", "trustRoot", "-k", KEYCHAIN, str(mac.certificate)]


def proofs(run: Run) -> list[list[str]]:
    """The questions whether a leaf is accepted, without the leaf's file."""
    return [words[:-1] for words in run.commands if words[:2] == ["security", "verify-cert"]]


def proof(name: str) -> list[str]:
    return ["security", "verify-cert", "-L", "-q", "-p", "ssl", "-n", name, "-c"]


@pytest.mark.parametrize("user", [USER, ROOT], ids=["user", "root"])
def test_the_root_is_trusted_by_the_system_keychain_and_once(mac: Machine, user: int) -> None:
    run = mac.good("cert", user=user)
    assert run.changes == (as_root(add_trusted_cert(mac)) if user else [add_trusted_cert(mac)])
    assert proofs(run)[-2:] == [proof("proof.cl0.k3d.internal")] * 2, "before and after"
    assert f"✓ trust in {KEYCHAIN}: the root is trusted now " in run.stdout
    told = "The following commands need root; sudo may prompt for your password:\n  sudo security add-trusted-cert "
    assert (told in run.stdout) == bool(user)

    before = mac.files()
    again = mac.good("cert", user=user)
    assert (again.changes, mac.files()) == ([], before)
    assert f"✓ trust in {KEYCHAIN}: already there " in again.stdout and "root, and" not in again.stdout
    assert mac.good("trust", user=user).changes == []


@pytest.mark.parametrize(
    ("said", "left"),
    [(REFUSED, True), ("SecTrustSettingsSetTrustSettings: The authorization was canceled by the user.", False)],
    ids=["sudo", "security"],
)
def test_a_refused_question_fails_the_run_and_the_next_one_asks_again(mac: Machine, said: str, left: bool) -> None:
    mac.fakes.answer("^sudo security", stderr=f"{said}\n", exit=1, before="^sudo security")
    run = mac.inv("cert")
    assert run.exit == 1
    told = run.stderr.splitlines()
    assert told[:5] == [
        f"trust in {KEYCHAIN}: sudo exited with code 1.",
        f"  {shlex.join(['sudo', *add_trusted_cert(mac)])}",
        f"  | {said}",
        "Fix the cause and run the task again; tasks are safe to repeat. Use --echo to see the full output.",
        "The root is not trusted by macOS yet. Try again with: inv trust",
    ]
    assert told[5:7] == (["", LEFT] if left else [])
    assert commands("\n".join(told[7:])) == ([add_trusted_cert(mac)] if left else [])
    root = mac.files()
    assert mac.certificate in root, "the root itself is made"
    assert mac.good("trust").changes == as_root(add_trusted_cert(mac))
    assert mac.files() == root


def test_a_keychain_that_takes_the_root_without_trusting_it_is_told(mac: Machine) -> None:
    mac.fakes.answer("^security verify-cert", exit=1)
    run = mac.inv("cert")
    assert run.exit == 1
    assert run.stderr == (f"The root was added to {KEYCHAIN}, but a certificate that it signed is still rejected.\n"
                          "To see what is accepted: inv trust-verify\n")


def test_the_keychain_is_proved_with_a_name_that_it_must_refuse(mac: Machine) -> None:
    mac.good("cert", TRUST_STORES="")
    bare = mac.inv("trust-verify")
    assert bare.exit == 1 and bare.stderr == (
        "1 of 1 trust stores are wrong. To fix that: inv trust\n")
    mac.good("trust")
    proved = mac.good("trust-verify")
    assert "accepted; one for proof.example.com is rejected" in proved.stdout
    assert proofs(proved) == [proof("proof.cl0.k3d.internal"), proof("proof.example.com")]
    mac.fakes.answer("^security verify-cert")
    loose = mac.inv("trust-verify")
    assert loose.exit == 1 and "accepted, although the root may not sign for it" in loose.stdout


def test_the_keychain_loses_this_copys_root_and_its_trust_settings_first_and_others_when_they_are_named(
    mac: Machine
) -> None:
    """Also one of another TLD in the same folder, and one whose folder is another one; entries of others never."""
    mac.good("cert")
    mac.good("cert", TLD="test")
    own, other = [mac.certificate.with_name(f"{tld}-ca.crt") for tld in ("internal", "test")]
    elsewhere = ca.authority("k3d.internal")
    find = ["security", "find-certificate", "-a", "-Z", KEYCHAIN]
    listed = [f"SHA-1 hash: {sha1_of(file)}\n" for file in (own, other)]
    foreign = ca.authority("corp.example", excluded=[], pathlen=None).pem.decode()
    mac.fakes.answer("^security find-certificate -a -p", foreign + elsewhere.pem.decode())
    mac.fakes.answer(f"^{shlex.join(find)}$", "SHA-1 hash: AB12\n" + "".join(listed))
    mac.fakes.answer("^security verify-cert")
    run = mac.good("untrust")
    assert run.changes == as_root(["security", "remove-trusted-cert", "-d", str(own)],
                                  ["security", "delete-certificate", "-Z", sha1_of(own), KEYCHAIN])
    label = f"dev-cluster-tasks-{elsewhere.certificate.fingerprint(SHA256()).hex()[:12]}"
    assert ("Kept, because they belong to other copies of this folder or are former roots of this one:\n"
            f"  {other} in {KEYCHAIN} (for k3d.test)\n"
            f"  {label} in {KEYCHAIN} (for k3d.internal)\n"
            "To remove them too: inv untrust --all-copies\n") in run.stdout

    every = mac.good("untrust", "--all-copies")
    file, sha1 = mac.project.folder / f".work/{label}.crt", elsewhere.certificate.fingerprint(SHA1()).hex().upper()
    assert every.changes == as_root(*(command for path, print in (
        (own, sha1_of(own)), (other, sha1_of(other)), (file, sha1)) for command in (
        ["security", "remove-trusted-cert", "-d", str(path)],
        ["security", "delete-certificate", "-Z", print, KEYCHAIN])))
    assert "Kept" not in every.stdout and not file.exists()


def sha1_of(file: Path) -> str:
    return ca.root_in(file).sha1.upper()


def test_a_root_of_others_beside_ours_keeps_its_place_in_the_keychain(mac: Machine) -> None:
    """Its file and key lie where ours do, and it is named in the same way."""
    mac.good("cert", TRUST_STORES="")
    others = ca.authority("corp.example", excluded=[], pathlen=None)
    file = mac.certificate.with_name("corp.example-ca.crt")
    file.write_bytes(others.pem)
    file.with_suffix(".key").write_bytes(others.key_pem())
    mac.fakes.answer("^security find-certificate", ca.root_in(file).sha1.upper())
    assert mac.good("untrust").changes == []


@pytest.mark.parametrize("fails", ["remove-trusted-cert", "delete-certificate"])
def test_an_untrust_of_the_keychain_that_was_broken_off_is_gone_on_with(mac: Machine, fails: str) -> None:
    mac.good("cert")
    mac.fakes.answer("^security find-certificate", root_of(mac).sha1.upper(), before="^security delete-certificate")
    mac.fakes.answer("^security verify-cert", exit=1, after="^security remove-trusted-cert")
    once = f"^sudo security {fails}"
    mac.fakes.answer(once, stderr="it failed this once\n", exit=1, before=once)
    failed = mac.inv("untrust")
    assert failed.exit == 1 and "  | it failed this once" in failed.stderr
    verbs = [words[2] for words in mac.good("untrust").changes]
    assert verbs == ["remove-trusted-cert", "delete-certificate"][fails == "delete-certificate":]
    assert mac.good("untrust").changes == []


def test_a_rehearsal_prints_the_trust_step_only_where_it_is_needed(mac: Machine) -> None:
    command = shlex.join(["sudo", *add_trusted_cert(mac)])
    fresh = mac.good("--dry", "cert")
    assert not fresh.changes and "# trust " in fresh.stdout and command not in fresh.stdout, "there is no root to prove"
    mac.good("cert", TRUST_STORES="")
    dry = mac.good("--dry", "cert")
    assert not dry.changes and command in dry.stdout.splitlines()
    mac.good("cert")
    before = mac.files()
    dry = mac.good("--dry", "cert")
    assert not dry.changes and "add-trusted-cert" not in dry.stdout
    assert mac.files() == before


# --- Linux ------------------------------------------------------------------------------------------------------------

OTHERS = ca.authority("example.org", excluded=[])
"""What the distribution trusts."""


def become(machine: Machine, family: Family) -> Path:
    """Make the machine one of this family, and return the folder of its anchors."""
    anchors, bundle = machine.root / family.anchors, machine.root / family.bundle
    shipped = machine.root / "usr/share/ca-certificates.pem"
    for folder in (anchors, bundle.parent, shipped.parent):
        folder.mkdir(parents=True)
    for file in (shipped, bundle):
        file.write_bytes(OTHERS.pem)
    machine.fakes.add(family.update[0])

    def update(_: Call) -> None:
        """What the family's program does: the roots of the distribution, then every anchor, in one file."""
        bundle.parent.mkdir(parents=True, exist_ok=True)
        files = [shipped, *sorted(anchors.glob(f"*.{family.ending}"))]
        bundle.write_text("".join(file.read_text() for file in files))

    machine.fakes.behave(family.update[0], update)
    return anchors


families = pytest.mark.parametrize("family", FAMILIES, ids=["Fedora", "Arch", "openSUSE", "Debian"])
DEBIAN = FAMILIES[3]


@families
@pytest.mark.parametrize("user", [USER, ROOT], ids=["user", "root"])
def test_each_family_takes_the_root_up_proves_it_and_is_afterwards_as_before(
    linux: Machine, family: Family, user: int
) -> None:
    anchors = become(linux, family)
    before, sudo = linux.tree(), as_root if user else lambda *commands: [*commands]
    ours = anchors / f"dev-cluster-tasks-{root_of(linux).sha256[:12]}.{family.ending}"
    assert linux.inv("trust-verify").exit == 1

    run = linux.good("trust", user=user)
    assert run.changes == sudo(linux.put(ours), [*family.update])
    assert f"✓ trust in {anchors}: the root is trusted now " in run.stdout
    assert ours.stat().st_mode & 0o777 == 0o644
    assert "accepted; one for proof.example.com is rejected" in linux.good("trust-verify").stdout
    settled = linux.files()
    assert (linux.good("trust", user=user).changes, linux.files()) == ([], settled)

    assert linux.good("untrust", user=user).changes == sudo(["rm", str(ours)], [*family.update])
    assert linux.tree() == before
    assert linux.good("untrust", user=user).changes == []


def test_a_system_of_no_known_family_has_no_such_store(linux: Machine) -> None:
    assert linux.good("trust").changes == []
    run = linux.inv("trust-verify")
    assert run.exit == 1 and run.stderr == "None of the selected trust stores exists on this machine.\n"


@pytest.mark.parametrize(("family", "tool", "package"), [
    *((family, family.update[0], "ca-certificates") for family in FAMILIES), (DEBIAN, "openssl", "openssl"),
])
def test_without_a_program_that_is_needed_nothing_is_changed_and_its_package_is_named(
    linux: Machine, family: Family, tool: str, package: str
) -> None:
    anchors = become(linux, family)
    (linux.fakes.bin / tool).unlink()
    before = linux.tree()
    run = linux.good("trust")
    assert (run.changes, linux.tree()) == ([], before)
    why = f"{tool} is not installed. It is in the package {package} "
    assert f"! trust in {anchors}: skipped: {why}" in run.stdout


def test_a_refusal_of_sudo_ends_with_the_very_commands_that_are_left(linux: Machine) -> None:
    anchors = become(linux, DEBIAN)
    before = linux.tree()
    linux.fakes.answer("^sudo", stderr=f"{REFUSED}\n", exit=1)
    run = linux.inv("trust")
    assert (run.exit, linux.tree()) == (1, before)
    install = linux.put(anchors / f"{root_of(linux).label}.crt")
    assert run.changes == as_root(install), "nothing is asked again"
    error, left = run.stderr.split(f"\n\n{LEFT}\n")
    assert f"  | {REFUSED}" in error
    for command in commands(left):
        subprocess.run(command, check=True, env=linux.project.environment({"PATH": str(linux.fakes.bin)}))
    assert linux.good("trust-verify").changes == [] == linux.good("trust").changes


@pytest.mark.parametrize("task", ["trust", "cert", "untrust"])
def test_the_printed_script_does_what_the_task_does_and_printing_changes_nothing(linux: Machine, task: str) -> None:
    become(linux, DEBIAN)
    bare = linux.tree()
    linux.good("trust")
    trusted = linux.tree()
    if task != "untrust":
        linux.good("untrust")
    before, result = (trusted, bare) if task == "untrust" else (bare, trusted)
    printed = linux.good(task, "--print-sudo")
    assert (printed.changes, linux.tree()) == ([], before)
    assert printed.stdout.startswith("#!/bin/sh\nset -eu\n")
    subprocess.run(["sh", "-n"], input=printed.stdout, text=True, check=True)
    path = f"{linux.fakes.bin}:/usr/bin:/bin"
    subprocess.run(["sh"], input=printed.stdout, text=True, check=True, env=linux.project.environment({"PATH": path}))
    assert linux.tree() == result
    assert linux.good(task, "--print-sudo").stdout == "#!/bin/sh\nset -eu\n"


def test_an_anchor_that_somebody_has_changed_is_neither_overwritten_nor_removed(linux: Machine) -> None:
    anchors = become(linux, DEBIAN)
    linux.good("trust")
    ours = anchors / f"{root_of(linux).label}.crt"
    ours.write_text(ours.read_text() + "# mine\n")
    shutil.copy(linux.root / "usr/share/ca-certificates.pem", linux.root / DEBIAN.bundle)
    before = linux.tree()
    for task in ("trust", "untrust"):
        run = linux.inv(task)
        assert (run.exit, run.changes, linux.tree()) == (1, [], before)
        assert f"{ours} was changed after these tasks created it.\nCheck it, move it away" in run.stderr


def test_anchors_of_others_stay_whatever_they_are_called(linux: Machine) -> None:
    anchors = become(linux, DEBIAN)
    for name in ("company.crt", "dev-cluster-tasks-mine.crt"):
        (anchors / name).write_bytes(ca.authority("example.net").pem)
    assert linux.good("untrust").changes == []
    linux.good("trust")
    linux.good("untrust")
    assert sorted(file.name for file in anchors.iterdir()) == ["company.crt", "dev-cluster-tasks-mine.crt"]


def test_roots_of_former_days_and_of_other_copies_are_shown_and_go_with_all_copies_in_one_update(
    linux: Machine
) -> None:
    """Their files are gone from CERT_FOLDER, or lie in another one: ours are known by their first line."""
    anchors = become(linux, DEBIAN)
    before = linux.tree()
    linux.good("trust")
    former = root_of(linux).label
    for file in linux.certificate.parent.iterdir():
        file.unlink()
    elsewhere = linux.project.home / "it's our certs"
    linux.good("cert", CERT_FOLDER=str(elsewhere), TLD="test")
    other = ca.root_in(elsewhere / "test-ca.crt").label
    linux.good("cert")
    both = linux.tree()
    run = linux.good("untrust")
    assert {file.stem for file in anchors.iterdir()} == {former, other}
    lines = {f"  {anchors}/{former}.crt (for k3d.internal, from {linux.certificate})",
             f"  {anchors}/{other}.crt (for k3d.test, from {elsewhere}/test-ca.crt)"}
    told = run.stdout.splitlines()
    assert {*told[-3:-1]} == lines and told[-1] == "To remove them too: inv untrust --all-copies"
    again = linux.good("untrust")
    assert again.changes == [] and {*again.stdout.splitlines()[1:3]} == lines
    linux.good("trust")
    assert linux.tree() == both
    every = linux.good("untrust", "--all-copies")
    assert [words[1] for words in every.changes] == ["rm", "rm", "rm", "update-ca-certificates"]
    assert linux.tree() == before


@pytest.mark.parametrize("number", [1, 2, 3])
def test_several_roots_of_which_one_cannot_be_removed_go_without_it_and_with_the_next_run(
    linux: Machine, number: int
) -> None:
    anchors = become(linux, DEBIAN)
    before = linux.tree()
    for tld in ("internal", "test", "example"):
        linux.good("cert", TLD=tld, CERT_FOLDER=str(linux.project.home / tld))
    labels = sorted(anchors.iterdir())
    fails = f"^sudo rm {labels[number - 1]}" if number < 3 else "^sudo update-ca-certificates"
    linux.fakes.forget()
    linux.fakes.answer(fails, stderr="it failed this once\n", exit=1, before=fails)
    failed = linux.inv("untrust", "--all-copies")
    assert failed.exit == 1 and "  | it failed this once" in failed.stderr
    assert len([*anchors.iterdir()]) == (1 if number < 3 else 0)
    for file in (linux.project.home / "test").iterdir():  # what is left is known by its form
        file.unlink()
    linux.good("untrust", "--all-copies")
    assert linux.tree() == before
    assert linux.good("untrust", "--all-copies").changes == []


def test_two_roots_of_a_renewal_are_taken_up_with_one_update(linux: Machine) -> None:
    anchors = become(linux, DEBIAN)
    folder = linux.certificate.parent
    for ending in ("key", "csr", "crt"):
        (folder / f"internal-ca.{ending}").rename(folder / f"internal-ca.retiring.{ending}")
    linux.good("cert", TRUST_STORES="")
    run = linux.good("trust")
    assert [words[1] for words in run.changes] == ["install", "install", "update-ca-certificates"]
    assert f"✓ trust in {anchors}, also the former root: the root is trusted now " in run.stdout
    removed = linux.good("untrust")
    assert [words[1] for words in removed.changes] == ["rm", "rm", "update-ca-certificates"]


def test_a_root_that_somebody_else_has_put_there_too_is_theirs(linux: Machine) -> None:
    """Without an end it would be taken for ours of a broken-off run, and said to be removed."""
    anchors = become(linux, DEBIAN)
    linux.good("trust")
    (anchors / "company").mkdir()
    (anchors / "mine.crt").write_text(root_of(linux).pem)
    (anchors / "dev-cluster-tasks-gone").symlink_to("nowhere")
    linux.good("untrust")
    again = linux.good("untrust")
    assert (again.changes, again.stdout) == ([], "")
    assert sorted(file.name for file in anchors.iterdir()) == ["company", "dev-cluster-tasks-gone", "mine.crt"]


@pytest.mark.parametrize("task", ["trust", "untrust"])
@pytest.mark.parametrize("number", [0, 1])
def test_whichever_command_fails_a_second_run_converges(linux: Machine, task: str, number: int) -> None:
    """The second of them leaves an anchor without its place in the bundle, or the other way around."""
    become(linux, DEBIAN)
    before = linux.tree()
    if task == "untrust":
        linux.good("trust")
    fails = f"^sudo {('install' if task == 'trust' else 'rm', 'update-ca-certificates')[number]}"
    linux.fakes.forget()
    linux.fakes.answer(fails, stderr="it failed this once\n", exit=1, before=fails)
    failed = linux.inv(task)
    assert failed.exit == 1 and "  | it failed this once" in failed.stderr
    again = linux.good(task)
    assert again.changes[-1] == ["sudo", "update-ca-certificates", "--fresh"]
    if task == "trust":
        linux.good("trust-verify")
        linux.good("untrust")
    assert linux.tree() == before


# --- which stores -----------------------------------------------------------------------------------------------------


def test_the_stores_are_chosen_by_the_flag_and_else_by_the_setting(linux: Machine) -> None:
    anchors = become(linux, DEBIAN)
    before = linux.tree()
    linux.project.env(TRUST_STORES="")
    assert linux.good("trust").commands == linux.good("cert").commands == []
    assert linux.inv("trust-verify").stderr == "None of the selected trust stores exists on this machine.\n"
    assert linux.good("trust", "--stores", "nss,java").changes == [] and linux.tree() == before
    assert len(linux.good("trust", "--stores", "system").changes) == 2
    linux.project.env(TRUST_STORES="nss")
    assert str(anchors) in linux.good("untrust").stdout, "by itself it looks everywhere"
    assert linux.tree() == before


@pytest.mark.parametrize("task", ["trust", "trust-verify", "untrust"])
def test_an_unknown_store_is_refused_with_those_that_there_are(linux: Machine, task: str) -> None:
    become(linux, DEBIAN)
    named = linux.inv(task, "--stores", "system,keychain")
    known = "There are: system, nss, java, windows\n"
    assert (named.exit, named.commands) == (1, [])
    assert named.stderr == f"--stores: there is no trust store 'keychain'. {known}"
    set_to = linux.inv(task, TRUST_STORES="opera")
    assert (set_to.exit, set_to.commands) == (1, [])
    assert "TRUST_STORES='opera' is invalid: expected any of system, nss, java, windows" in set_to.stderr


def test_without_a_root_there_is_nothing_to_trust_and_cert_is_named(project: Project) -> None:
    machine = Machine(project, "Linux")
    become(machine, DEBIAN)
    for task in ("trust", "trust-verify", "trust-env"):
        run = machine.inv(task)
        assert run.exit == 1 and "inv cert" in run.stderr and not run.changes
    assert machine.good("untrust").changes == []


# --- Windows below WSL ------------------------------------------------------------------------------------------------

WINDOWS = "Windows, for you (CurrentUser\\Root)"


@pytest.fixture
def wsl(linux: Machine) -> Machine:
    """Linux inside of Windows, from where programs of Windows can be run."""
    linux.fakes.add("wslpath", "certutil.exe", "powershell.exe")
    linux.fakes.answer("^uname -r", "5.15.167.4-microsoft-standard-WSL2\n")
    linux.fakes.answer("^wslpath -w .*/internal-ca.crt", "\\\\wsl.localhost\\Ubuntu\\internal-ca.crt\r\n")
    linux.fakes.answer("^wslpath -w .*/permitted.crt", "C:\\permitted.crt\r\n")
    linux.fakes.answer("^wslpath -w .*/outside.crt", "C:\\outside.crt\r\n")
    linux.fakes.answer("^wslpath -w .*/windows-verify.ps1", "C:\\windows-verify.ps1\r\n")
    linux.fakes.answer("^powershell.exe", exit=1)
    linux.fakes.answer("^powershell.exe .*permitted", after="^certutil.exe -user -addstore")
    linux.fakes.answer("^certutil.exe -user -store", exit=1, before="^certutil.exe -user -addstore")
    return linux


ADD = ["certutil.exe", "-user", "-addstore", "Root", "\\\\wsl.localhost\\Ubuntu\\internal-ca.crt"]


def asked(leaf: str) -> list[str]:
    return ["powershell.exe", "-NoProfile", "-NonInteractive", "-ExecutionPolicy", "Bypass",
            "-File", "C:\\windows-verify.ps1", f"C:\\{leaf}.crt"]


def test_windows_takes_the_root_for_its_user_is_asked_for_proof_and_gives_it_back(wsl: Machine) -> None:
    run = wsl.good("trust")
    assert run.changes == [ADD], "no root is needed"
    assert [words for words in run.commands if words[0] == "powershell.exe"][-1] == asked("permitted")
    assert run.stdout.startswith("Windows may ask for confirmation in a separate window: answer Yes. The same in "
                                 f"PowerShell:\n    {' '.join(ADD[:-1])} '{ADD[-1]}'\n")
    assert f"✓ trust in {WINDOWS}: the root is trusted now " in run.stdout
    assert wsl.good("trust").changes == []
    proved = wsl.good("trust-verify")
    assert "accepted; one for proof.example.com is rejected" in proved.stdout
    shown = [words for words in proved.commands if words[0] == "powershell.exe"]
    assert shown == [asked("permitted"), asked("outside")]

    sha1 = root_of(wsl).sha1
    removed = wsl.good("untrust")
    assert ["certutil.exe", "-user", "-store", "Root", sha1] in removed.commands
    assert removed.changes == [["certutil.exe", "-user", "-delstore", "Root", sha1]]
    wsl.fakes.answer("^certutil.exe -user -store", exit=1)
    assert wsl.good("untrust").changes == []


@pytest.mark.parametrize(("task", "verb", "hint"), [
    ("trust", "-addstore", "If you answered No, try again with: inv trust\n"),
    ("untrust", "-delstore", "If you answered No, try again with: inv untrust\n"),
])
def test_a_no_in_the_window_of_windows_is_told(wsl: Machine, task: str, verb: str, hint: str) -> None:
    wsl.fakes.answer("^certutil.exe -user -store")
    wsl.fakes.answer(f"^certutil.exe -user {verb}", "CertUtil: The operation was canceled by the user.\r\n", exit=1)
    run = wsl.inv(task)
    assert run.stdout.startswith("Windows may ask for confirmation in a separate window: answer Yes.")
    assert run.exit == 1 and run.stderr.endswith(
        f"  | CertUtil: The operation was canceled by the user.\n{hint}")


@pytest.mark.parametrize("gone", ["certutil.exe", "powershell.exe"])
def test_where_windows_programs_do_not_run_the_line_to_type_there_is_told(wsl: Machine, gone: str) -> None:
    (wsl.fakes.bin / gone).unlink()
    run = wsl.good("trust")
    assert run.changes == []
    assert f"! trust in {WINDOWS}: skipped: Windows programs cannot run here " in run.stdout
    line_to_type = f"    {' '.join(ADD[:-1])} '{ADD[-1]}'\n"
    assert re.search(rf"In PowerShell on Windows, run: +[0-9.]+ s\n{re.escape(line_to_type)}", run.stdout)
    red = wsl.inv("trust-verify")
    assert red.exit == 1 and "-addstore Root" in red.stdout
    assert wsl.good("untrust").changes == []


def test_on_a_linux_of_its_own_there_is_no_windows(wsl: Machine) -> None:
    wsl.fakes.answer("^uname -r", "6.1.0-28-amd64\n")
    assert wsl.good("trust", "--stores", "windows").changes == []
    assert wsl.inv("trust-verify", "--stores", "windows").exit == 1


def test_in_a_container_below_wsl_there_is_no_windows(wsl: Machine) -> None:
    (wsl.fakes.bin / "wslpath").unlink()
    assert "Windows" not in wsl.good("trust", "--stores", "windows").stdout
    assert wsl.inv("trust-verify", "--stores", "windows").exit == 1


def test_without_admin_rights_the_other_stores_are_served_and_the_commands_are_left(wsl: Machine) -> None:
    anchors = become(wsl, DEBIAN)
    wsl.fakes.answer("^sudo", stderr=f"{REFUSED}\n", exit=1)
    run = wsl.inv("trust")
    install = wsl.put(anchors / f"{root_of(wsl).label}.crt")
    assert (run.exit, run.changes) == (1, [*as_root(install), ADD])
    assert commands(run.stderr.split(f"\n\n{LEFT}\n")[1]) == [install, [*DEBIAN.update]]


def test_a_file_in_the_way_of_one_store_is_told_and_stops_no_other(wsl: Machine) -> None:
    become(wsl, DEBIAN)
    work = wsl.project.folder / ".work"
    shutil.rmtree(work, ignore_errors=True)
    work.touch()
    run = wsl.inv("trust")
    assert (run.exit, run.changes) == (1, [ADD])
    assert f"{work}" in run.stderr and "Check its owner, permissions and free disk space" in run.stderr


def test_a_quote_in_the_path_is_written_as_powershell_reads_it(wsl: Machine) -> None:
    wsl.fakes.answer("^wslpath -w .*/internal-ca.crt", "C:\\it's me\\root.crt\r\n")
    assert "    certutil.exe -user -addstore Root 'C:\\it''s me\\root.crt'\n" in wsl.good("trust").stdout


# --- variables for one shell ------------------------------------------------------------------------------------------

CLIENTS = """
openssl verify -purpose sslserver -verify_hostname "$1" "$2" > /dev/null 2>&1 && echo openssl
curl --silent --noproxy '*' --resolve "$1:$3:127.0.0.1" --output /dev/null "https://$1:$3/" && echo curl
"""


def trusting(linux: Machine, issuer: ca.Signed, name: str, variables: str) -> list[str]:
    """The programs that accept a server of this name in a shell that has read these lines."""
    leaf, both = ca.leaf(issuer, name), linux.project.home / "leaf.pem"
    both.write_bytes(leaf.key_pem() + leaf.pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(both)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    with serving(server):
        words = ["sh", "-c", f'eval "$VARIABLES"\n{CLIENTS}', "sh", name, str(both), str(server.server_address[1])]
        said = subprocess.run(words, env=linux.project.environment({"VARIABLES": variables}), capture_output=True,
                              text=True, timeout=60)
    return said.stdout.split()


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_the_variables_have_real_clients_trust_the_root_beside_all_that_they_trusted(linux: Machine) -> None:
    become(linux, DEBIAN)
    linux.fakes.link("curl")
    company = ca.authority("example.net", excluded=[])
    own = linux.project.home / "it's our company's CA.pem"
    own.write_bytes(company.pem)
    linux.project.env(ADDITIONAL_CA_BUNDLE_FILE=f'"{own}"')
    ours = ca.read(linux.certificate.read_bytes(), linux.certificate.with_suffix(".key").read_bytes())
    before = linux.tree()

    run = linux.good("trust-env")
    assert (run.changes, linux.tree()) == ([], before)
    both = ["openssl", "curl"]
    for issuer, name in ((ours, "app.cl3.k3d.internal"), (OTHERS, "www.example.org"), (company, "git.example.net")):
        assert trusting(linux, issuer, name, "") == []
        assert trusting(linux, issuer, name, run.stdout) == both
    for issuer, name in ((ours, "www.example.com"), (ca.authority("example.edu"), "www.example.edu")):
        assert trusting(linux, issuer, name, run.stdout) == []

    bundle = linux.project.folder / ".work" / "ca-bundle.pem"
    variables = dict(line.removeprefix("export ").split("=", 1) for line in run.stdout.splitlines())
    assert {name: shlex.split(value) for name, value in variables.items()} == {
        "SSL_CERT_FILE": [str(bundle)], "REQUESTS_CA_BUNDLE": [str(bundle)], "CURL_CA_BUNDLE": [str(bundle)],
        "NODE_EXTRA_CA_CERTS": [str(linux.certificate)],
    }
    assert linux.good("trust-env").stdout == run.stdout
    for signed in (OTHERS, company, ours):
        assert bundle.read_bytes().count(signed.pem) == 1


# --- what is in a store of others -------------------------------------------------------------------------------------


def test_an_old_root_of_the_system_is_no_cause_for_a_warning(tmp_path: Path) -> None:
    """The bundles of distributions hold roots with serial number 0, of which `cryptography` warns."""
    file = tmp_path / "old.crt"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-keyout", "/dev/null", "-subj", "/CN=old", "-set_serial", "0", "-out", str(file)],
                   check=True, capture_output=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not entries.has_form_of_our_root(file.read_text().strip())
        assert entries.has_form_of_our_root(ca.authority("k3d.internal").pem.decode().strip())
