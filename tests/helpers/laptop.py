"""A Linux laptop: a container with systemd as PID 1, systemd-resolved, dnsmasq, sudo for a user `dev`, and certutil.

LAPTOP_IMAGE names its image. The name server of its "Internet" runs in it too, on the address of its network card.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from conftest import PARTS, SOURCE

PROJECT = "/srv/project"

# An address that nobody has (RFC 5737), for example.com; all other names are unknown there.
INTERNET = ["--address=/example.com/192.0.2.10", "--address=/other.internal/192.0.2.11", "--local=/#/"]


def why_not() -> str:
    """Why there can be no laptop here; empty when there can."""
    if not os.environ.get("LAPTOP_IMAGE"):
        return "LAPTOP_IMAGE names no image of a Linux with systemd"
    image = subprocess.run(["docker", "image", "inspect", os.environ["LAPTOP_IMAGE"]], capture_output=True)
    return "" if image.returncode == 0 else "no Docker engine with that image answers"


class Laptop:
    def __init__(self, folder: Path) -> None:
        words = ["docker", "run", "-d", "--privileged", "--tmpfs", "/run", "--tmpfs", "/tmp",
                 "-v", "/sys/fs/cgroup:/sys/fs/cgroup", os.environ["LAPTOP_IMAGE"]]
        self.id = subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()
        self.begin()
        self.install_project(folder)

    def begin(self) -> None:
        """What a boot does before a user comes: the network card gets its name server, as by DHCP."""
        self.until(lambda: self.run("systemctl is-active systemd-resolved", check=False) == "active")
        # Docker mounts this file, also after a restart.
        self.run("umount /etc/resolv.conf; ln -sf /run/systemd/resolve/stub-resolv.conf /etc/resolv.conf")
        self.run("systemctl restart systemd-resolved")
        card = self.run("ip -4 -o addr show eth0").split()[3].split("/")[0]
        self.run(f"dnsmasq --port=53 --listen-address={card} --bind-interfaces --no-resolv --no-hosts "
                 + " ".join(INTERNET))
        self.run(f"resolvectl dns eth0 {card} && resolvectl default-route eth0 yes")
        self.until(lambda: "192.0.2.10" in self.run("getent ahostsv4 example.com", check=False))

    def install_project(self, folder: Path) -> None:
        """A fresh copy of the project, installed as the README says, from wheels instead of the Internet."""
        wheels = folder / "wheels"
        version = self.run("python3 -c 'import sys; print(\"%d.%d\" % sys.version_info[:2])'")
        needed = [line for line in importlib.metadata.requires("dev-cluster-tasks") or [] if "extra ==" not in line]
        subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--dest", str(wheels),
                        "--only-binary=:all:", "--python-version", version, *needed, "setuptools>=77", "wheel"],
                       check=True)
        copy = folder / "project"
        copy.mkdir()
        for part in (*PARTS, "pyproject.toml", "README.md", "LICENSE"):
            source = SOURCE / part
            if source.is_dir():
                shutil.copytree(source, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, copy / part)
        self.copy(copy, PROJECT)
        self.copy(wheels, "/srv/wheels")
        self.run(f"chown -R dev: {PROJECT}")
        self.dev("mkdir -p ~/.cache")  # every home has one, and uninstall leaves it
        self.dev("python3 -m venv .venv && .venv/bin/pip install -q --no-index --find-links /srv/wheels -e .")

    def copy(self, source: Path, target: str) -> None:
        subprocess.run(["docker", "cp", f"{source}/.", f"{self.id}:{target}"], check=True, capture_output=True)

    def run(self, command: str, user: str = "root", check: bool = True) -> str:
        """What a shell command of this user says."""
        done = subprocess.run(["docker", "exec", "--user", user, "--workdir", "/", self.id, "bash", "-lc", command],
                              capture_output=True, text=True, timeout=300)
        assert not check or done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return (done.stdout + (done.stderr if not check else "")).strip()

    def dev(self, command: str, check: bool = True) -> str:
        """The same as the user `dev` in the project's folder."""
        return self.run(f"cd {PROJECT} && {command}", user="dev", check=check)

    def inv(self, words: str, check: bool = True) -> str:
        said = self.dev(f".venv/bin/inv {words} 2>&1", check)
        assert "Traceback" not in said, said
        return said

    def files(self) -> dict[str, str]:
        """All where these tasks may write: a file's hash, a link's target, a folder's mode, what a database lists."""
        places = "etc usr/local home var/lib/systemd srv/project/.work srv/project/.tools"
        said = self.run(f"cd /; find {places} -xdev -type d -printf '%p %m\\n' 2>/dev/null; find {places} -xdev "
                        "\\( -type f -o -type l \\) ! -name '*.db' -printf '%p %l ' -exec sh -c "
                        "'test -L \"$1\" && echo || sha256sum < \"$1\"' _ {} \\; 2>/dev/null", check=False)
        found = dict(re.split(r"(?<! ) ", line, maxsplit=1) for line in said.splitlines() if " " in line)
        for database in self.run("find /home -name cert9.db -printf '%h\\n'").splitlines():
            found[database] = self.run(f"certutil -L -d sql:{database}; certutil -K -d sql:{database}", check=False)
        return found

    @classmethod
    def without_systemd(cls, folder: Path, *options: str) -> Laptop:
        """The same as a plain container: nothing runs in it, and Docker mounts its hosts file."""
        laptop = cls.__new__(cls)
        words = ["docker", "run", "-d", "--init", "--privileged", "--entrypoint", "sleep", *options,
                 os.environ["LAPTOP_IMAGE"], "infinity"]
        laptop.id = subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()
        laptop.install_project(folder)
        return laptop

    def restart(self) -> None:
        subprocess.run(["docker", "restart", self.id], check=True, capture_output=True)
        self.begin()

    def remove(self) -> None:
        subprocess.run(["docker", "rm", "--force", "--volumes", self.id], check=True, capture_output=True)

    @staticmethod
    def until(good: Callable[[], bool], seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while not good():
            assert time.monotonic() < deadline, "waited in vain"
            time.sleep(0.2)
