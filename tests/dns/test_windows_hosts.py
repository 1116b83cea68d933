"""Windows beside WSL: the names in its own hosts file, which a PowerShell of an administrator replaces."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
from conftest import Project
from machine import Machine
from recording import Answer, Call

from tasks.dns.edit_hosts.blocks import find_blocks

BEFORE = b"# Copyright (c) 1993-2009 Microsoft Corp.\r\n#\r\n127.0.0.1 localhost\r\n10.0.0.7 m\xfcller"


class Windows:
    """What its programs do: one writes the hosts file, if the user consents and nobody wrote it since."""

    consents, written_by_others = True, False

    def __init__(self, hosts: Path) -> None:
        self.hosts = hosts
        hosts.parent.mkdir(parents=True)
        hosts.write_bytes(BEFORE)

    def wslpath(self, call: Call) -> Answer:
        path = call.words[2]
        if call.words[1] == "-u":
            assert path == r"C:\Windows\System32\drivers\etc\hosts"
            return Answer(f"{self.hosts}\n")
        return Answer("\\\\wsl.localhost\\Ubuntu" + path.replace("/", "\\") + "\r\n")

    def powershell(self, call: Call) -> Answer:
        command = re.fullmatch(
            r"exit \(Start-Process powershell\.exe -Verb RunAs -Wait -PassThru -ErrorAction Stop -WindowStyle Hidden "
            r"-ArgumentList '-NoProfile -ExecutionPolicy Bypass -File \"(?P<script>[^\"]+)\" -New \"(?P<new>[^\"]+)\" "
            r"-Sha256 (?P<sha256>[0-9a-f]{64})'\)\.ExitCode", call.words[-1])
        assert command and call.words[1:-1] == ["-NoProfile", "-NonInteractive", "-Command"]
        if not self.consents:
            return Answer(stderr="Start-Process : The operation was canceled by the user.\r\n", exit=1)
        script, new = (Path(command[name].replace("''", "'").replace("\\", "/").removeprefix("//wsl.localhost/Ubuntu"))
                       for name in ("script", "new"))
        assert "[IO.File]::Replace" in script.read_text()
        if self.written_by_others:
            self.hosts.write_bytes(self.hosts.read_bytes() + b"\r\n10.0.0.8 other\r\n")
        if hashlib.sha256(self.hosts.read_bytes()).hexdigest() != command["sha256"]:
            return Answer(exit=3)
        self.hosts.write_bytes(new.read_bytes())
        return Answer()


@pytest.fixture
def machine(project: Project) -> Machine:
    machine = Machine(project, "Linux")
    (machine.root / "etc/hosts").write_bytes(b"127.0.0.1 localhost\n")
    machine.fakes.answer("^uname -r", "6.6.87.2-microsoft-standard-WSL2\n")
    return machine


@pytest.fixture
def windows(machine: Machine) -> Windows:
    windows = Windows(machine.root / "mnt/c/Windows/System32/drivers/etc/hosts")
    machine.fakes.add("wslpath", "powershell.exe")
    machine.fakes.behave("wslpath", windows.wslpath)
    machine.fakes.behave("powershell.exe", windows.powershell)
    return windows


def test_windows_gets_the_names_after_consent_and_its_file_back_byte_for_byte(
    machine: Machine, windows: Windows
) -> None:
    said = machine.good("dns").stdout
    block, = find_blocks(windows.hosts.read_bytes())
    assert windows.hosts.read_bytes().startswith(BEFORE + b"\r\n# BEGIN dev-cluster-tasks in //wsl.localhost/Ubuntu/")
    assert "127.0.0.1 example-nginx.cl0.k3d.internal\n" in block.body and not block.edited
    shown = said.index("Windows asks whether this may change your device: answer Yes.")
    assert shown < said.index("! Windows' hosts file: 12 names written")
    settled = windows.hosts.read_bytes()
    again = machine.good("dns")
    assert again.changes == [] and windows.hosts.read_bytes() == settled
    assert len(machine.fakes.calls("powershell.exe")) == 1, "Windows asks for consent each time"
    machine.good("dns-remove")
    assert windows.hosts.read_bytes() == BEFORE
    assert machine.good("dns-remove").changes == []


def test_uninstall_shows_it_and_removes_it(machine: Machine, windows: Windows) -> None:
    machine.good("dns")
    assert f"names: Windows' hosts file ({windows.hosts})" in machine.good("uninstall", "--yes").stdout
    assert windows.hosts.read_bytes() == BEFORE


def test_a_no_leaves_it_as_it_is_and_linux_resolves_the_names(machine: Machine, windows: Windows) -> None:
    windows.consents = False
    run = machine.good("dns")
    assert "! Windows' hosts file: not changed. If you answered No, try again with: inv dns" in run.stdout
    assert "The operation was canceled by the user." in run.stdout
    assert windows.hosts.read_bytes() == BEFORE
    windows.consents = True
    machine.good("dns")
    windows.consents = False
    assert "The operation was canceled by the user." in machine.inv("dns-remove").stderr


def test_what_another_program_of_windows_writes_meanwhile_is_kept(machine: Machine, windows: Windows) -> None:
    windows.written_by_others = True
    assert "not changed. Another program wrote it at the same time. Try again with: inv dns" in machine.good(
        "dns").stdout
    assert windows.hosts.read_bytes() == BEFORE + b"\r\n10.0.0.8 other\r\n"


def test_without_interop_the_line_for_an_administrator_is_printed(machine: Machine, windows: Windows) -> None:
    (machine.fakes.bin / "powershell.exe").unlink()
    said = machine.good("dns").stdout
    line = next(line for line in said.splitlines() if line.startswith("    powershell.exe "))
    script = r"\\wsl.localhost\Ubuntu" + str(machine.project.folder).replace("/", "\\") + r"\.work\windows-hosts.ps1"
    assert f'-File "{script}"' in line and windows.hosts.read_bytes() == BEFORE


def test_an_edited_block_is_left_and_told(machine: Machine, windows: Windows) -> None:
    machine.good("dns")
    windows.hosts.write_bytes(windows.hosts.read_bytes().replace(b"# END", b"10.0.0.9 mine\r\n# END"))
    edited = windows.hosts.read_bytes()
    assert "were edited. Move your lines out of them" in machine.good("dns").stdout
    assert machine.inv("dns-remove").exit == 1 and windows.hosts.read_bytes() == edited


@pytest.mark.parametrize("why", ["a container", "no Windows drive", "public names", "dry"])
def test_nothing_is_asked_of_windows_where_it_cannot_or_need_not_be(
    machine: Machine, windows: Windows, why: str
) -> None:
    match why:
        case "a container":
            (machine.fakes.bin / "wslpath").unlink()
        case "no Windows drive":
            windows.hosts.unlink()
        case "public names":
            machine.project.env(TLD="127.0.0.1.nip.io")
    run = machine.good(*(["--dry"] if why == "dry" else []), "dns")
    assert not machine.fakes.calls("powershell.exe") and ("Windows" in run.stdout) == (why == "dry")
    assert why == "no Windows drive" or windows.hosts.read_bytes() == BEFORE
