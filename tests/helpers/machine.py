"""The project on a pretended machine of one system or another: a file tree, and recorders for its programs."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from conftest import Project
from inside import resolver
from recording import Answer, Call

from tasks.core import shell


class Clock:
    """One that goes on 4 s with every look at it."""

    now = 0

    def monotonic(self) -> int:
        self.now += 4
        return self.now

    def sleep(self, seconds: float) -> None:
        pass


def known_internet(environment: dict[str, str]) -> dict[str, str]:
    """The names that the test's Internet knows."""
    return dict(entry.split("=") for entry in environment.get("INTERNET", "example.com=192.0.2.10").split())


def hosts_lines(root: Path) -> list[str]:
    """The lines of the hosts file, which the resolver reads for each name."""
    file = root / "etc/hosts"
    return file.read_text(errors="replace").splitlines() if file.is_file() else []


USER, ROOT = 501, 0

HOMEBREWS_OWN = "# Configuration file for dnsmasq.\n#conf-dir=/etc/dnsmasq.d/,*.conf\n"

LOOKS = ("uname", "brew --prefix", "brew list", "pgrep", "dscacheutil", "docker", "security verify-cert",
         "security find-certificate", "wslpath", "powershell.exe -NoProfile -NonInteractive -ExecutionPolicy",
         "certutil.exe -user -store")


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
        return [words for words in self.commands if not " ".join(words).startswith(LOOKS)]


class Machine:
    """A Mac with Homebrew, or a bare Linux."""

    def __init__(self, project: Project, system: str) -> None:
        self.project, self.fakes, self.root = project, project.fakes, project.root
        self.resolvers = self.root / "etc" / "resolver"
        self.prefix = self.root / "home brew"
        self.main = self.prefix / "etc" / "dnsmasq.conf"
        self.ours = self.prefix / "etc" / "dnsmasq.d" / "dev-cluster-tasks.conf"
        self.certificate = project.home / ".local-ca-certs" / "internal-ca.crt"
        self.resolvers.parent.mkdir()
        self.fakes.add("uname", "sudo", "docker")
        self.fakes.behave("sudo", become)
        self.fakes.add_spies("mkdir", "install", "rm", "rmdir")
        self.fakes.link("bash", "openssl")
        self.fakes.answer("^uname", f"{system}\n")
        self.fakes.answer("^docker", exit=1)
        if system == "Darwin":
            self.with_homebrew()

    def with_homebrew(self) -> None:
        self.ours.parent.mkdir(parents=True)
        self.main.write_text(HOMEBREWS_OWN)
        self.fakes.add("brew", "pgrep", "dscacheutil", "security")
        self.fakes.answer("^brew --prefix", f"{self.prefix}\n")
        self.fakes.answer("^brew list", exit=1, before="^brew install")
        self.fakes.answer("^pgrep", exit=1, before="^brew services start")
        self.fakes.answer("^dscacheutil", "name: proof.cl0.k3d.internal\nip_address: 127.0.0.1\n", after="^install ")
        self.fakes.answer("^security verify-cert", exit=1, before="^security add-trusted-cert")
        self.fakes.answer("^security verify-cert .* -n proof.example.com ", exit=1)

    def inv(self, *words: str, user: int = USER, **environment: str) -> Run:
        before = len(self.fakes.calls())
        internet = known_internet(environment)

        def known(name: str) -> list[str]:
            listed = [line.split()[0] for line in hosts_lines(self.root) if line.split()[1:] == [name]]
            if listed:
                return listed
            led = [file for file in (self.root / "etc/resolver").glob("*") if f".{name}".endswith(f".{file.name}")]
            here = any("nameserver 127.0.0.1" in file.read_text() for file in led)
            return ["127.0.0.1"] if here else [internet[name]] if name in internet else []

        done = self.project.inv(*words, user=user, environment={"PATH": str(self.fakes.bin), **environment},
                                patches=[(shell, "time", Clock()), resolver(known)])
        # What sudo was asked to run is recorded once more by what it runs.
        received = [[], *self.fakes.calls()[before:]]
        commands = [words for asked, words in pairwise(received) if asked != ["sudo", *words]]
        return Run(done.returncode, done.stdout, done.stderr, commands)

    def good(self, *words: str, user: int = USER, **environment: str) -> Run:
        run = self.inv(*words, user=user, **environment)
        assert run.exit == 0, run.stdout + run.stderr
        return run

    def copy(self, file: Path) -> str:
        """Where a file is rendered to, from where root brings it to its place."""
        return f"{self.project.folder}/.work/host{file}"

    def put(self, file: Path) -> list[str]:
        """The command that brings a file to its place."""
        return ["install", "-m", "0644", self.copy(file), str(file)]

    def files(self) -> dict[Path, tuple[bytes, int]]:
        """Everything that a task may write on this machine: bytes, and the time of the last change."""
        places = [file for folder in (self.root, self.project.home) for file in folder.rglob("*")]
        return {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in places if file.is_file()}

    def tree(self) -> dict[str, bytes]:
        """Every file and folder of the system, with its bytes."""
        return {str(file.relative_to(self.root)): file.read_bytes() if file.is_file() else b""
                for file in self.root.rglob("*")}


def become(call: Call) -> Answer:
    """What sudo does."""
    return Answer(run=call.words[1:])


def as_root(*commands: list[str]) -> list[list[str]]:
    return [["sudo", *words] for words in commands]
