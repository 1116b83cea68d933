"""A copy of the project for each test, a home folder of its own, and recording executables first on the PATH."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parent.parent
PARTS = ("tasks.py", "tasks", "templates", ".default.env")


class Fakes:
    """Recording executables: see fakes/recorder.py."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "bin"
        self.bin.mkdir(parents=True)
        self.rules: list[dict[str, object]] = []
        (folder / "log").touch()
        self._write_rules()

    def add(self, *tools: str) -> None:
        """Put recorders with these names on the PATH."""
        for tool in tools:
            recorder = self.bin / tool
            body = (SOURCE / "tests" / "fakes" / "recorder.py").read_text()
            recorder.write_text(f"#!{sys.executable} -SE\n{body}")
            recorder.chmod(0o755)

    def add_spies(self, *tools: str) -> None:
        """Put recorders on the PATH that write down the words and then run the real program."""
        self.add(*tools)
        for tool in tools:
            real = shutil.which(tool)
            assert real, f"{tool} is not installed"
            with (self.bin / tool).open("a") as recorder:
                recorder.write(f"os.execv({real!r}, [{real!r}, *sys.argv[1:]])\n")

    def answer(
        self, match: str, stdout: str = "", *, stderr: str = "", exit: int = 0, after: str = "", before: str = "",
        kill: bool = False,
    ) -> None:
        """Answer so to commands that match; a later rule wins over an earlier one."""
        self.rules.append(
            {"match": match, "stdout": stdout, "stderr": stderr, "exit": exit, "after": after, "before": before,
             "kill": kill}
        )
        self._write_rules()

    def _write_rules(self) -> None:
        (self.folder / "rules.json").write_text(json.dumps(self.rules))

    def _log(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in (self.folder / "log").read_text().splitlines()]

    def calls(self, *start: str) -> list[list[str]]:
        """The commands received, as lists of words, that begin with these words."""
        received: list[list[str]] = [entry["words"] for entry in self._log()]  # type: ignore[misc]
        return [words for words in received if words[: len(start)] == list(start)]

    def environments(self, *start: str) -> list[dict[str, str]]:
        """The environment that came with each of these commands."""
        return [entry["environment"] for entry in self._log() if entry["words"][: len(start)] == list(start)]  # type: ignore[index,misc]

    def forget(self) -> None:
        (self.folder / "log").write_text("")


# `inv`, on a machine whose system's files lie in a folder of the test.
INV = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tasks.core import system_files as host
host.ROOT = Path(sys.argv[2])
from invoke.main import program
program.run(["inv", *sys.argv[3:]])
"""


class Project:
    """A copy of the project, and `inv` in it as a user calls it."""

    def __init__(self, folder: Path, home: Path, fakes: Fakes) -> None:
        self.folder, self.home, self.fakes = folder, home, fakes
        self.root = folder.parent / "machine"
        folder.mkdir(parents=True)
        home.mkdir(parents=True)
        self.root.mkdir()
        for part in PARTS:
            source = SOURCE / part
            if source.is_dir():
                shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, folder / part)

    def env(self, **settings: str) -> None:
        """Write .env."""
        (self.folder / ".env").write_text("".join(f"{key}={value}\n" for key, value in settings.items()))

    def environment(self, extra: dict[str, str] | None = None) -> dict[str, str]:
        kept = {key: os.environ[key] for key in ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH") if key in os.environ}
        path = f"{self.fakes.bin}{os.pathsep}{kept['PATH']}"
        return {**kept, "HOME": str(self.home), "FAKES": str(self.fakes.folder), "PATH": path, **(extra or {})}

    def inv(
        self, *words: str, environment: dict[str, str] | None = None, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run `inv` with these words; a traceback fails the test at once."""
        done = subprocess.run(
            [sys.executable, "-c", INV, str(self.folder), str(self.root), *words],
            cwd=cwd or self.folder,
            env=self.environment(environment),
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=600,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done


@pytest.fixture
def fakes(tmp_path: Path) -> Fakes:
    return Fakes(tmp_path / "fakes")


@pytest.fixture
def project(tmp_path: Path, fakes: Fakes) -> Iterator[Project]:
    """In a folder with a space and a quote in its name, because users have such folders."""
    yield Project(tmp_path / "it's a project", tmp_path / "home", fakes)
