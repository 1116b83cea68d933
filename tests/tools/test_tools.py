"""The programs that the tasks need: the table, and the download of k3d, helm and kubectl from an HTTPS server."""

from __future__ import annotations

import hashlib
import http.server
import io
import os
import pty
import shutil
import signal
import ssl
import stat
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ca
import pytest
from conftest import SOURCE, Project
from pretend import serving

K3D, HELM, KUBECTL = "v5.8.3", "v4.3.1", "v1.37.1"
SAYS = {"k3d": f"k3d version {K3D}\nk3s version v1.31.5-k3s1 (default)", "helm": f"{HELM}+g3d8990f",
        "kubectl": f"Client Version: {KUBECTL}\nKustomize Version: v5.8.0"}


def program(says: str) -> bytes:
    return f"#!/bin/sh\ncat <<'END'\n{says}\nEND\n".encode()


def archive(name: str, content: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as opened:
        for member in ("LICENSE", name):
            entry = tarfile.TarInfo(f"{member}")
            entry.size = len(content)
            opened.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class Vendor(http.server.ThreadingHTTPServer):
    """Serves files over HTTPS at the paths of the three vendors, and records the requests."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Download)
        root = ca.authority(excluded=[])
        leaf = ca.leaf(root, "127.0.0.1")
        (folder / "leaf.pem").write_bytes(leaf.key_pem() + leaf.pem)
        (folder / "root.pem").write_bytes(root.pem)
        self.root = folder / "root.pem"
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(folder / "leaf.pem")
        self.socket = tls.wrap_socket(self.socket, server_side=True)
        self.address = f"https://127.0.0.1:{self.server_address[1]}"
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.cut: set[str] = set()
        self.moved: dict[str, str] = {}
        self.publish("linux", "amd64")

    def publish(self, system: str, machine: str) -> None:
        k3d, kubectl = program(SAYS["k3d"]), program(SAYS["kubectl"])
        helm, helm_file = archive(f"{system}-{machine}/helm", program(SAYS["helm"])), f"helm-{HELM}-{system}-{machine}"
        others = f"{sha256(b'x')}  _dist/k3d-{system}-386\n"
        self.files |= {
            f"/k3d/{K3D}/k3d-{system}-{machine}": k3d,
            f"/k3d/{K3D}/checksums.txt": f"{others}{sha256(k3d)}  _dist/k3d-{system}-{machine}\n".encode(),
            f"/helm/{helm_file}.tar.gz": helm,
            f"/helm/{helm_file}.tar.gz.sha256sum": f"{sha256(helm)}  {helm_file}.tar.gz\n".encode(),
            f"/kubectl/{KUBECTL}/bin/{system}/{machine}/kubectl": kubectl,
            f"/kubectl/{KUBECTL}/bin/{system}/{machine}/kubectl.sha256": sha256(kubectl).encode(),
        }


class Download(http.server.BaseHTTPRequestHandler):
    server: Vendor

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        content = self.server.files.get(self.path)
        if self.path in self.server.moved:
            self.send_response(302)
            self.send_header("Location", self.server.moved[self.path])
            self.end_headers()
        elif content is None:
            self.send_error(404)
        else:
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[:len(content) // 2] if self.path in self.server.cut else content)

    def log_message(self, *_: object) -> None:
        pass


class Laptop:
    """A machine with docker and openssl, without k3d, helm and kubectl."""

    def __init__(self, project: Project, vendor: Vendor, folder: Path) -> None:
        self.project, self.fakes, self.vendor = project, project.fakes, vendor
        self.own = project.folder / ".tools"
        self.system = system = folder / "system"
        system.mkdir()
        for tool in ("bash", "cat", "curl", "sh"):
            (system / tool).symlink_to(shutil.which(tool) or pytest.fail(f"{tool} is not installed"))
        self.environment = {"PATH": f"{self.fakes.bin}{os.pathsep}{system}", "CURL_CA_BUNDLE": str(vendor.root)}
        self.fakes.add("docker", "openssl", "uname")
        self.fakes.answer("^docker version", "28.0.0\n")
        self.fakes.answer("^openssl version", "LibreSSL 3.3.6\n")
        self.platform("Linux", "x86_64")
        self.env()

    def env(self, **settings: str) -> None:
        sources = {f"{tool.upper()}_SOURCE": f"{self.vendor.address}/{tool}" for tool in SAYS}
        self.project.env(**{**sources, **settings})

    def platform(self, system: str, machine: str) -> None:
        self.fakes.answer("^uname -s", f"{system}\n")
        self.fakes.answer("^uname -m", f"{machine}\n")

    def has(self, **versions: str) -> None:
        """These tools are on the PATH, in these versions."""
        self.fakes.add(*versions)
        for tool, version in versions.items():
            self.fakes.answer(f"^{tool} version", f"{version}\n")

    def has_own(self, tool: str, version: str) -> Path:
        """An earlier run has installed this one."""
        file = self.own / "bin" / tool
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(program(version))
        file.chmod(0o755)
        return file

    def inv(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.project.inv(*words, environment=self.environment)


@pytest.fixture
def laptop(project: Project, tmp_path: Path) -> Iterator[Laptop]:
    with serving(Vendor(tmp_path)) as vendor:
        yield Laptop(project, vendor, tmp_path)


def rows(stdout: str) -> dict[str, list[str]]:
    """The table: for each tool its sign and what follows its name."""
    lines = [line.split() for line in stdout.splitlines() if line[:1] in "✓✗!-"]
    return {words[1]: [words[0], *words[2:]] for words in lines if {*words[1:2]} & {"docker", "openssl", *SAYS}}


# --- the table --------------------------------------------------------------------------------------------------------


def test_the_table_says_what_is_needed_what_was_found_and_what_to_do(laptop: Laptop) -> None:
    laptop.has(k3d="k3d version v5.7.0", kubectl="Client Version: v1.30.1")
    laptop.fakes.answer("^docker version", stderr="Cannot connect to the Docker daemon\n", exit=1)
    done = laptop.inv("tools")
    bin, table = laptop.fakes.bin, rows(done.stdout)
    assert (done.returncode, done.stderr) == (1, "Cannot be used: docker, k3d, helm.\n")
    assert {tool: row[0] for tool, row in table.items()} == {
        "docker": "✗", "k3d": "✗", "helm": "✗", "kubectl": "✓", "openssl": "✓"}
    assert " ".join(table["k3d"]).startswith(f"✗ 5.7.1 or newer v5.7.0 {bin}/k3d k3d 5.7.1 or newer is needed, but ")
    assert "its engine does not answer (Cannot connect to the Docker daemon): start Docker" in done.stdout
    assert " ".join(table["helm"]).startswith("✗ 3.14.0 or newer helm is not installed: inv tools --install, brew ")
    assert table["kubectl"] == ["✓", "v1.30.1", f"{bin}/kubectl", "pinned:", KUBECTL]
    assert table["openssl"] == ["✓", "LibreSSL", "3.3.6", f"{bin}/openssl"]
    assert laptop.vendor.asked == []


def test_everything_in_its_place_ends_well_and_one_of_ours_in_another_version_is_pointed_out(laptop: Laptop) -> None:
    laptop.has(helm=SAYS["helm"], kubectl=SAYS["kubectl"])
    laptop.has_own("k3d", "k3d version v5.7.9")
    done = laptop.inv("tools")
    assert done.returncode == 0, done.stderr
    assert " ".join(rows(done.stdout)["k3d"]) == (
        f"! 5.7.1 or newer v5.7.9 {laptop.own}/bin/k3d {K3D} is pinned")
    assert done.stdout.endswith("For what is yellow, type:\n  inv tools --install\n\n")


def test_a_tool_that_does_not_run_is_no_tool_and_is_replaced(laptop: Laptop) -> None:
    """Such as a wrapper of asdf or mise without a version."""
    laptop.has(k3d=SAYS["k3d"], helm=SAYS["helm"], kubectl="")
    laptop.fakes.answer("^kubectl", stderr="No version is set for kubectl\n", exit=126)
    done = laptop.inv("tools")
    assert (done.returncode, done.stderr) == (1, "Cannot be used: kubectl.\n")
    assert "kubectl does not report its version (try: kubectl version --client): inv tools --install, " in done.stdout
    done = laptop.inv("tools", "--install")
    assert done.returncode == 0, done.stderr
    assert installed(laptop) == ["kubectl"]


# --- installing them --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("system", "machine", "build"), [
    ("Linux", "x86_64", ("linux", "amd64")), ("Linux", "aarch64", ("linux", "arm64")),
    ("Darwin", "arm64", ("darwin", "arm64")),
])
def test_tools_that_are_missing_or_too_old_are_installed_and_win(
    laptop: Laptop, system: str, machine: str, build: tuple[str, str]
) -> None:
    laptop.platform(system, machine)
    laptop.vendor.publish(*build)
    laptop.has(k3d="k3d version v5.6.0")
    (laptop.own / "download" / "k3d").mkdir(parents=True)
    (laptop.own / "download" / "k3d" / f"k3d-{build[0]}-{build[1]}").write_text("half a program of a killed run")
    done = laptop.inv("tools", "--install")
    assert done.returncode == 0, done.stdout + done.stderr
    for tool, version in (("k3d", K3D), ("helm", f"{HELM}+g3d8990f"), ("kubectl", KUBECTL)):
        file = laptop.own / "bin" / tool
        assert file.read_bytes() == program(SAYS[tool])
        assert stat.S_IMODE(file.stat().st_mode) == 0o755
        assert f"{version} {file}" in " ".join(rows(done.stdout)[tool])
    assert list(laptop.own.iterdir()) == [laptop.own / "bin"]

    laptop.vendor.asked.clear()
    again = laptop.inv("tools", "--install")
    assert again.returncode == 0
    assert laptop.vendor.asked == []
    assert [f"✓ {tool}: already there " in again.stdout for tool in SAYS] == [True] * 3


def test_one_of_ours_follows_the_pinned_version_and_tools_of_the_machine_stay(laptop: Laptop) -> None:
    laptop.has(helm="v3.14.0", kubectl="Client Version: v1.30.0")
    file = laptop.has_own("k3d", "k3d version v5.9.0")
    assert laptop.inv("tools", "--install").returncode == 0
    assert file.read_bytes() == program(SAYS["k3d"])
    assert list(file.parent.iterdir()) == [file]


FILE, SUMS = f"/k3d/{K3D}/k3d-linux-amd64", f"/k3d/{K3D}/checksums.txt"


def change_the_file(vendor: Vendor) -> None:
    vendor.files[FILE] += b"\n"


def cut_the_connection(vendor: Vendor) -> None:
    vendor.cut.add(FILE)


def take_the_file_away(vendor: Vendor) -> None:
    del vendor.files[FILE]


def take_the_checksums_away(vendor: Vendor) -> None:
    del vendor.files[SUMS]


def leave_our_line_out(vendor: Vendor) -> None:
    vendor.files[SUMS] = f"{sha256(b'x')}  _dist/k3d-linux-arm64\n".encode()


def serve_a_login_page(vendor: Vendor) -> None:
    vendor.files[FILE] = vendor.files[SUMS] = b"<html>\xff Sign in</html>"


def leave_https(vendor: Vendor) -> None:
    vendor.moved[FILE] = "http://127.0.0.1:9/k3d"


def serve_another_version(vendor: Vendor) -> None:
    vendor.files[FILE] = program("k3d version v5.8.2")
    vendor.files[SUMS] = f"{sha256(vendor.files[FILE])}  _dist/k3d-linux-amd64\n".encode()


def serve_what_does_not_run(vendor: Vendor) -> None:
    vendor.files[FILE] = b"\x7fELF for another processor"
    vendor.files[SUMS] = f"{sha256(vendor.files[FILE])}  _dist/k3d-linux-amd64\n".encode()


@pytest.mark.parametrize(("trouble", "told"), [
    (change_the_file, ["k3d-linux-amd64 has the wrong checksum. Nothing was installed.\n"
                       "  expected {right} (from {sums})\n  actual   {wrong} (from {file})\n"]),
    (cut_the_connection, ["k3d: curl exited with code 18.", "{file}"]),
    (take_the_file_away, ["k3d: curl exited with code 22.", "404",
                          "Check that this version exists for linux on amd64."]),
    (take_the_checksums_away, ["k3d: curl exited with code 22.", "{sums}"]),
    (leave_our_line_out, ["{sums} has no checksum for k3d-linux-amd64. Nothing was installed."]),
    (serve_a_login_page, ["{sums} has no checksum for k3d-linux-amd64."]),
    (leave_https, ["k3d: curl exited with code 1."]),
    (serve_another_version, ["{file}: the checksum is correct, but the program reports version v5.8.2."]),
    (serve_what_does_not_run, ["{file}: the checksum is correct, but the program reports no version."]),
])
def test_what_is_not_the_whole_right_program_replaces_nothing_and_is_told(
    laptop: Laptop, trouble: Any, told: list[str]
) -> None:
    laptop.has(helm=SAYS["helm"], kubectl=SAYS["kubectl"])
    file, right = laptop.has_own("k3d", "k3d version v5.7.9"), sha256(laptop.vendor.files[FILE])
    trouble(laptop.vendor)
    done = laptop.inv("tools", "--install")
    assert done.returncode == 1
    places = {"file": laptop.vendor.address + FILE, "sums": laptop.vendor.address + SUMS, "right": right,
              "wrong": sha256(laptop.vendor.files.get(FILE, b""))}
    for sentence in told:
        assert sentence.format(**places) in done.stderr
    assert file.read_bytes() == program("k3d version v5.7.9")
    assert [*laptop.own.rglob("*")] == [file.parent, file]


def test_a_program_that_fails_leaves_the_others_installed(laptop: Laptop) -> None:
    change_the_file(laptop.vendor)
    done = laptop.inv("tools", "--install")
    assert done.returncode == 1
    assert "k3d-linux-amd64 has the wrong checksum" in done.stderr
    assert sorted(file.name for file in (laptop.own / "bin").iterdir()) == ["helm", "kubectl"]


@pytest.mark.parametrize("content", [b"no archive", archive("elsewhere/helm", b"")], ids=["none", "no helm"])
def test_an_archive_of_another_form_is_told(laptop: Laptop, content: bytes) -> None:
    laptop.has(k3d=SAYS["k3d"], kubectl=SAYS["kubectl"])
    name = f"helm-{HELM}-linux-amd64.tar.gz"
    laptop.vendor.files |= {f"/helm/{name}": content, f"/helm/{name}.sha256sum": f"{sha256(content)} *{name}".encode()}
    done = laptop.inv("tools", "--install")
    assert done.returncode == 1
    assert f"{name} has the correct checksum, but linux-amd64/helm cannot be extracted" in done.stderr
    assert not [*laptop.own.rglob("*")]


@pytest.mark.parametrize("place", [".tools", ".tools/bin", ".tools/download"])
def test_a_file_where_the_folder_belongs_is_named(laptop: Laptop, place: str) -> None:
    file = laptop.project.folder / place
    file.parent.mkdir(exist_ok=True)
    file.write_text("mine")
    done = laptop.inv("tools", "--install")
    assert done.returncode == 1
    assert str(file) in done.stderr
    assert file.read_text() == "mine"


def test_without_curl_nothing_is_begun(laptop: Laptop) -> None:
    (laptop.system / "curl").unlink()
    done = laptop.inv("tools", "--install")
    assert (done.returncode, done.stderr) == (
        1, "This task cannot run yet:\n  curl is not installed: your system's package curl\n")
    assert not laptop.own.exists()


def test_a_version_may_be_written_without_its_v(laptop: Laptop) -> None:
    laptop.env(K3D_VERSION="5.8.3")
    assert laptop.inv("tools", "--install").returncode == 0
    assert installed(laptop) == ["helm", "k3d", "kubectl"]


def test_a_machine_without_builds_and_a_pinned_version_that_is_too_old_are_told(laptop: Laptop) -> None:
    laptop.has(helm=SAYS["helm"], kubectl=SAYS["kubectl"])
    laptop.platform("Linux", "riscv64")
    done = laptop.inv("tools", "--install")
    assert done.returncode == 1
    assert done.stderr.startswith("inv tools --install has no builds for Linux on riscv64. Install by hand:\n"
                                  "  k3d: https://k3d.io/stable/#installation\n")
    laptop.platform("Linux", "x86_64")
    laptop.env(K3D_VERSION="v5.7.0")
    done = laptop.inv("tools", "--install")
    assert (done.returncode, done.stderr) == (1, "K3D_VERSION=v5.7.0 is too old: 5.7.1 or newer is needed.\n")
    assert laptop.vendor.asked == []


def test_on_macos_homebrew_gets_what_is_missing_but_not_what_lies_in_tools_bin(laptop: Laptop) -> None:
    laptop.platform("Darwin", "arm64")
    laptop.vendor.publish("darwin", "arm64")
    file = laptop.has_own("k3d", "k3d version v5.7.9")
    laptop.has(brew="5.0.0", helm=SAYS["helm"], kubectl=SAYS["kubectl"])
    for tool in ("helm", "kubectl"):
        (laptop.fakes.bin / tool).unlink()
    laptop.fakes.behave("brew", lambda call: laptop.fakes.add(*call.words[2:]))
    done = laptop.inv("tools", "--install")
    assert done.returncode == 0, done.stdout + done.stderr
    assert laptop.fakes.calls("brew") == [["brew", "install", "helm", "kubectl"]]
    assert sorted(laptop.vendor.asked) == [f"/k3d/{K3D}/checksums.txt", f"/k3d/{K3D}/k3d-darwin-arm64"]
    assert file.read_bytes() == program(SAYS["k3d"])
    assert laptop.inv("tools", "--install").returncode == 0
    assert len(laptop.fakes.calls("brew")) == 1


def test_a_dry_run_prints_the_downloads_and_touches_nothing(laptop: Laptop) -> None:
    before = {*laptop.project.folder.rglob("*")}
    done = laptop.inv("--dry", "tools", "--install")
    assert done.returncode == 0, done.stderr
    curls = [line for line in done.stdout.splitlines() if line.startswith("curl ")]
    assert [line.rsplit(" ", 1)[1].removeprefix(laptop.vendor.address) for line in curls] == [*laptop.vendor.files]
    options = "curl --fail --silent --show-error --location --proto =https --retry 2 --connect-timeout 20 --output "
    assert all(line.startswith(options) for line in curls)
    assert laptop.vendor.asked == []
    assert {path for path in laptop.project.folder.rglob("*") if "__pycache__" not in path.parts} == before


# --- the question of `inv up` -----------------------------------------------------------------------------------------

OFFER = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from invoke import Context
from tasks.core import setting_types
setting_types.PROJECT = Path(sys.argv[2])
from tasks.core.configuration import load
from tasks.core.shell import Shell
from tasks.tools.install import offer_install
settings = load()
offer_install(Shell(Context(), settings.environment), settings, yes=sys.argv[3:] == ["yes"])
print("went on")
"""
QUESTION = f"Install k3d {K3D}, helm {HELM} into .tools/bin? [Y/n] "


def offering(laptop: Laptop, *words: str, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", OFFER, str(SOURCE), str(laptop.project.folder), *words]
    return subprocess.Popen(command, stdin=stdin, text=True, cwd=laptop.project.folder,
                            env=laptop.project.for_process(laptop.environment),
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def installed(laptop: Laptop) -> list[str]:
    return sorted(file.name for file in (laptop.own / "bin").glob("*"))


@pytest.mark.process
@pytest.mark.parametrize(("typed", "expected"), [
    ("\n", ["helm", "k3d"]), ("Y\n", ["helm", "k3d"]), ("n\n", []), ("what?\n", []), ("\x04", []),
], ids=["enter", "Y", "n", "anything else", "Ctrl-D"])
def test_on_a_terminal_the_user_is_asked_once(laptop: Laptop, typed: str, expected: list[str]) -> None:
    laptop.has(kubectl=SAYS["kubectl"])
    ours, theirs = pty.openpty()
    os.write(ours, typed.encode())
    stdout, stderr = offering(laptop, stdin=theirs).communicate(timeout=60)
    os.close(ours)
    os.close(theirs)
    assert stdout.startswith(QUESTION), stderr
    assert stdout.endswith("went on\n")
    assert installed(laptop) == expected


@pytest.mark.process
def test_ctrl_c_at_the_question_ends_the_run(laptop: Laptop) -> None:
    laptop.has(kubectl=SAYS["kubectl"])
    ours, theirs = pty.openpty()
    running = offering(laptop, stdin=theirs)
    assert running.stdout
    assert running.stdout.read(len(QUESTION)) == QUESTION
    for _ in range(100):  # one that comes just before the read is heard only after it
        if running.poll() is None:
            running.send_signal(signal.SIGINT)
            time.sleep(0.1)
    stdout, stderr = running.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)
    assert "went on" not in stdout
    assert "KeyboardInterrupt" in stderr, "Invoke ends then without a traceback"
    assert installed(laptop) == []


@pytest.mark.process
@pytest.mark.parametrize(("words", "expected"), [((), []), (("yes",), ["helm", "k3d"])])
def test_without_a_terminal_nobody_is_asked_and_only_yes_installs(
    laptop: Laptop, words: tuple[str, ...], expected: list[str]
) -> None:
    laptop.has(kubectl=SAYS["kubectl"])
    stdout, stderr = offering(laptop, *words).communicate(timeout=60)
    assert (stdout.endswith("went on\n"), stderr) == (True, "")
    assert "[Y/n]" not in stdout
    assert installed(laptop) == expected


@pytest.mark.process
def test_where_nothing_is_missing_nothing_is_offered(laptop: Laptop) -> None:
    laptop.has(k3d=SAYS["k3d"], helm=SAYS["helm"], kubectl=SAYS["kubectl"])
    ours, theirs = pty.openpty()
    stdout, _ = offering(laptop, stdin=theirs).communicate(timeout=60)
    os.close(ours)
    os.close(theirs)
    assert stdout == "went on\n"
