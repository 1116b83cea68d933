"""Record the terminal pictures of the docs from real output: docs/pictures/up.svg, trace.svg and doctor.svg.

    pip install -e '.[docs]'
    LAPTOP_IMAGE=<image with systemd> python docs/pictures/record.py

With LAPTOP_IMAGE, the image that the tests use, everything runs in a throw-away Linux laptop that shares this machine's
network and Docker engine (Linux only), so no trust store or resolver of this machine changes. With --here it runs on
this machine. Both create cluster 0 with the present settings and remove it again, so neither a cluster with that name
nor its ports may be in use before.
"""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import shlex
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
import time
from itertools import groupby
from pathlib import Path

import pyte
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.style import Style
from rich.text import Text

PICTURES = Path(__file__).resolve().parent
SOURCE = PICTURES.parent.parent
COLUMNS, ROWS = 120, 300

# A picture must look the same without a network: no web font, only fonts that systems have.
FONTS = "ui-monospace, 'SF Mono', Menlo, Consolas, 'DejaVu Sans Mono', 'Liberation Mono', monospace"
SVG_FORMAT = re.sub(r"@font-face \{\{.*?\}\}\n", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL).replace(
    "Fira Code, monospace", FONTS)

TRACE = "inv trace https://example-nginx.cl0.k3d.internal:10443/"
BREAK = "kubectl --context k3d-cl0 -n kube-system scale deployment/traefik --replicas=0"


class Here:
    """Commands run in this folder, with the present Python environment."""

    def words(self, command: str, terminal: bool = False) -> list[str]:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        return ["bash", "-c", f"cd {shlex.quote(str(SOURCE))} && PATH={shlex.quote(path)} && {command}"]

    def run(self, command: str) -> None:
        subprocess.run(self.words(command), check=True, stdin=subprocess.DEVNULL)

    def close(self) -> None:
        pass


class Laptop(Here):
    """Commands run as a user with sudo in a container with systemd, on this machine's network and Docker engine."""

    folder = "/home/dev/clusters"

    def __init__(self, image: str) -> None:
        words = ["docker", "run", "-d", "--privileged", "--network", "host", "--tmpfs", "/run", "--tmpfs", "/tmp",
                 "-v", "/sys/fs/cgroup:/sys/fs/cgroup", "-v", "/var/run/docker.sock:/var/run/docker.sock",
                 image, "/sbin/init", "systemd.mask=systemd-sysctl.service"]
        self.id = subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()
        try:
            self.install()
        except BaseException:
            self.close()
            raise

    def install(self) -> None:
        group = Path("/var/run/docker.sock").stat().st_gid
        self.as_root(f"groupadd -og {group} engine; usermod -aG engine dev")
        for tool in ("docker", "k3d", "helm", "kubectl"):
            self.copy(Path(shutil.which(tool) or tool).resolve(), f"/usr/local/bin/{tool}")
        for value in self.settings().values():
            if value.startswith("/") and Path(value).is_dir():  # such as a folder of charts
                self.as_root(f"mkdir -p {shlex.quote(value)}")
                self.copy(Path(value), value)
        with tempfile.TemporaryDirectory() as temporary:
            tracked = subprocess.run(["git", "ls-files", "-z"], cwd=SOURCE, check=True, capture_output=True, text=True)
            for name in filter(None, tracked.stdout.split("\0")):
                if (SOURCE / name).is_file():
                    (Path(temporary) / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(SOURCE / name, Path(temporary) / name)
            wheels = Path(temporary) / ".wheels"
            version = self.as_root("python3 -c 'import sys; print(\"%d.%d\" % sys.version_info[:2])'").strip()
            subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--dest", str(wheels),
                            "--only-binary=:all:", "--python-version", version, *dependencies(), "setuptools>=77",
                            "wheel"], check=True)
            self.as_root(f"mkdir -p {self.folder}")
            self.copy(Path(temporary), self.folder)
        self.as_root(f"chown -R dev: {self.folder}")
        self.use_resolved()
        self.run("python3 -m venv .venv && .venv/bin/pip install -q --no-index --find-links .wheels -e .")

    def use_resolved(self) -> None:
        """Docker mounts its own /etc/resolv.conf; a laptop has the one of systemd-resolved."""
        servers = self.as_root("awk '/^nameserver/ {print $2}' /etc/resolv.conf").split()
        card = self.as_root("ip -4 -o route show default | awk '{print $5; exit}'").strip()
        deadline = time.monotonic() + 30
        while "running" not in self.as_root("systemctl is-active systemd-resolved | sed s/^active/running/ || true"):
            assert time.monotonic() < deadline, "systemd-resolved does not start"
            time.sleep(0.2)
        self.as_root("umount /etc/resolv.conf; ln -sf /run/systemd/resolve/stub-resolv.conf /etc/resolv.conf; "
                     f"resolvectl dns {card} {' '.join(servers)} && resolvectl default-route {card} yes")

    def as_root(self, command: str) -> str:
        return subprocess.run(["docker", "exec", self.id, "bash", "-c", command], check=True, stdout=subprocess.PIPE,
                              text=True).stdout

    def copy(self, source: Path, target: str) -> None:
        what = f"{source}/." if source.is_dir() else str(source)  # what is in the folder
        subprocess.run(["docker", "cp", what, f"{self.id}:{target}"], check=True, capture_output=True)

    @staticmethod
    def settings() -> dict[str, str]:
        keys = re.findall(r"^([A-Z0-9_]+)=", (SOURCE / ".default.env").read_text(), re.MULTILINE)
        return {key: os.environ[key] for key in keys if key in os.environ}

    def words(self, command: str, terminal: bool = False) -> list[str]:
        environment = [word for key, value in self.settings().items() for word in ("-e", f"{key}={value}")]
        options = ["-it", "-e", "TERM=xterm-256color"] if terminal else []
        return ["docker", "exec", *options, *environment, "--user", "dev", "--workdir", self.folder, self.id,
                "bash", "-lc", f"PATH=$PWD/.venv/bin:$PATH && {command}"]

    def close(self) -> None:
        subprocess.run(["docker", "rm", "--force", "--volumes", self.id], check=True, capture_output=True)


def dependencies() -> list[str]:
    from importlib.metadata import requires

    return [line for line in requires("dev-cluster-tasks") or [] if "extra ==" not in line]


def show(where: Here, command: str, expected: int) -> list[Text]:
    """The lines that a terminal shows after this command, with every cursor movement of a progress display done.

    :raises SystemExit: when the command exits with another code than expected.
    """
    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.ByteStream(screen)
    child, terminal = pty.fork()
    if child == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        words = where.words(command, terminal=True)
        os.execvp(words[0], words)
    while True:
        try:
            data = os.read(terminal, 65536)
        except OSError:  # Linux: the other end was closed
            break
        if not data:
            break
        stream.feed(data)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    lines = [line(screen, row) for row in range(ROWS)]
    while lines and not lines[-1].plain.strip():
        lines.pop()
    if code != expected:
        sys.exit("\n".join([*(text.plain for text in lines), f"{command} exited with code {code}, not {expected}."]))
    return lines


def line(screen: pyte.Screen, row: int) -> Text:
    text = Text()
    chars = [screen.buffer[row][column] for column in range(COLUMNS)]
    for style, run in groupby(chars, lambda char: Style(color=color(char.fg), bold=char.bold, italic=char.italics)):
        text.append("".join(char.data for char in run), style)
    text.rstrip()
    return text


def color(name: str) -> str | None:
    """rich's name for a color of pyte."""
    if name == "default":
        return None
    if re.fullmatch("[0-9a-f]{6}", name):
        return f"#{name}"
    return name.replace("brown", "yellow").replace("bright", "bright_")


def save(name: str, command: str, lines: list[Text]) -> None:
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(Text.assemble(("$ ", "bold green"), (command, "bold")))
    for text in lines:
        console.print(text, soft_wrap=True)
    svg = console.export_svg(title=command, code_format=SVG_FORMAT, unique_id=name)
    (PICTURES / f"{name}.svg").write_text("\n".join(row.rstrip() for row in svg.splitlines()) + "\n")
    print(f"docs/pictures/{name}.svg")


def main() -> None:
    image = os.environ.get("LAPTOP_IMAGE", "")
    if not image and "--here" not in sys.argv:
        sys.exit("Set LAPTOP_IMAGE to the image of a Linux with systemd, or record on this machine with --here.")
    where = Here() if "--here" in sys.argv else Laptop(image)
    try:
        up = show(where, "inv up", expected=0)
        trace = show(where, TRACE, expected=0)
        where.run(BREAK)
        time.sleep(5)  # Traefik's pod takes a moment to go
        doctor = show(where, "inv doctor", expected=2)
        save("up", "inv up", up)
        save("trace", TRACE, trace)
        save("doctor", "inv doctor", doctor)
    finally:
        try:
            where.run("inv uninstall --yes")
        finally:
            where.close()


if __name__ == "__main__":
    main()
