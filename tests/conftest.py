"""A folder of the project for each test, a home folder of its own, and recorders instead of programs."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MACHINE = dict(os.environ)
"""What surrounds the one who runs the tests. Only tests with real clusters and laptops get it, see below."""

for name in [name for name in os.environ if name.startswith("INVOKE_")]:
    del os.environ[name]  # Invoke looks at them when it is imported
os.environ["TZ"] = "UTC"
time.tzset()
os.umask(0o022)

import pytest  # noqa: E402
from inside import Patch, inv  # noqa: E402
from recording import Fakes, own_folder  # noqa: E402

SOURCE = Path(__file__).resolve().parent.parent
ENGINE_LOCK = Path(tempfile.gettempdir(), "dev-cluster-tasks-engine.lock")
PARTS = ("tasks.py", "tasks", "templates", ".default.env")


class Project:
    """A folder with the settings of a project, and `inv` for it, by the code and templates that lie in SOURCE.

    `inv` runs in this process, `process` and `start` in one of its own.
    """

    def __init__(self, folder: Path, home: Path, fakes: Fakes) -> None:
        self.folder, self.home, self.fakes = folder, home, fakes
        self.root = folder.parent / "machine"
        folder.mkdir(parents=True)
        home.mkdir(parents=True)
        self.root.mkdir()
        self.patches: list[Patch] = []
        self.bring()

    @property
    def source(self) -> Path:
        return SOURCE

    def bring(self) -> None:
        shutil.copy(SOURCE / ".default.env", self.folder)

    def env(self, **settings: str) -> None:
        """Write .env."""
        (self.folder / ".env").write_text("".join(f"{key}={value}\n" for key, value in settings.items()))

    def environment(self, extra: dict[str, str] | None = None) -> dict[str, str]:
        path = f"{self.fakes.bin}{os.pathsep}{own_folder() / 'programs'}"
        return {"LANG": "C.UTF-8", "HOME": str(self.home), "FAKES": self.fakes.address, "PATH": path, **(extra or {})}

    def inv(
        self, *words: str, environment: dict[str, str] | None = None, cwd: Path | None = None, user: int = 0,
        patches: list[Patch] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run `inv` with these words; a traceback fails the test at once."""
        return inv(self.fakes, words, self.folder, self.root, self.environment(environment), cwd or self.folder, user,
                   [*self.patches, *(patches or [])])

    def command(self, *words: str) -> list[str]:
        """`inv` as a process."""
        bootstrap = SOURCE / "tests" / "helpers" / "fakes" / "inv.py"
        return [sys.executable, str(bootstrap), str(self.source), str(self.folder), str(self.root), *words]

    def start(self, *words: str, environment: dict[str, str] | None = None, **options: Any) -> subprocess.Popen[str]:
        """`inv` in a process group of its own, which it leads."""
        piped: dict[str, Any] = {
            "stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE,
            "start_new_session": True}
        return subprocess.Popen(self.command(*words), cwd=self.folder, env=self.for_process(environment), text=True,
                                **{**piped, **options})

    def process(
        self, *words: str, environment: dict[str, str] | None = None, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """The same, and its end."""
        with self.start(*words, environment=environment, **options) as running:
            stdout, stderr = running.communicate(timeout=600)
        assert "Traceback" not in (stderr or ""), stderr
        return subprocess.CompletedProcess(running.args, running.returncode, stdout, stderr)

    def for_process(self, extra: dict[str, str] | None = None) -> dict[str, str]:
        """The environment, and what Python itself may need to start."""
        kept = {key: MACHINE[key] for key in ("LD_LIBRARY_PATH",) if key in MACHINE}
        return {**kept, **self.environment(extra)}


class ProcessProject(Project):
    """A copy of the whole project, and `inv` in it as a user calls it, with the machine's programs."""

    @property
    def source(self) -> Path:
        return self.folder

    def bring(self) -> None:
        for part in PARTS:
            source = SOURCE / part
            if source.is_dir():
                shutil.copytree(source, self.folder / part)
            else:
                shutil.copy(source, self.folder / part)

    def environment(self, extra: dict[str, str] | None = None) -> dict[str, str]:
        kept = {key: MACHINE[key] for key in ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH") if key in MACHINE}
        path = f"{self.fakes.bin}{os.pathsep}{kept['PATH']}"
        return {**kept, "HOME": str(self.home), "FAKES": self.fakes.address, "PATH": path, **(extra or {})}

    def inv(
        self, *words: str, environment: dict[str, str] | None = None, cwd: Path | None = None, user: int = 0,
        patches: list[Patch] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        return self.process(*words, environment=environment, **({"cwd": cwd} if cwd else {}))


# --- sealed from the machine ------------------------------------------------------------------------------------------


def is_real(item: pytest.Item) -> bool:
    """Whether it works with the machine's engine and programs, as they are."""
    return any(item.get_closest_marker(name) for name in ("cluster", "laptop"))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The real tests of a file share its clusters, so they run in order and in one worker. Each file has its own.

    One that fails is run once more, and shown as R: clusters on a busy machine may be late.
    """
    for item in items:
        if is_real(item):
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
            item.add_marker(pytest.mark.flaky(reruns=1, reruns_delay=10))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Files with real tests run beside each other, but some tests run alone."""
    if not is_real(item):
        return (yield)
    with ENGINE_LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX if item.get_closest_marker("alone") else fcntl.LOCK_SH)
        return (yield)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """The environment of a test, also while its fixtures are made."""
    kept = {name: value for name, value in os.environ.items() if name.startswith("PYTEST_")}
    os.environ.clear()
    os.environ.update({**(MACHINE if is_real(item) else sealed()), **kept})
    if is_real(item) and item.config.getoption("loadgroup", False) and not item.nodeid.endswith(f"@{item.path.stem}"):
        # Without a word, with a pytest that is too new: https://github.com/pytest-dev/pytest-xdist/issues/1386
        pytest.fail("pytest-xdist ignores groups, so tests would take each other's clusters. "
                    "Install the versions that pyproject.toml names.")


def sealed() -> dict[str, str]:
    kept: dict[str, str] = {name: MACHINE[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in MACHINE}
    return {**kept, "HOME": str(own_folder() / "home"), "LANG": "C.UTF-8", "TMPDIR": tempfile.gettempdir()}


@pytest.fixture
def fakes(tmp_path: Path) -> Fakes:
    return Fakes(tmp_path / "fakes")


@pytest.fixture
def project(tmp_path: Path, fakes: Fakes) -> Iterator[Project]:
    """In a folder with a space and a quote in its name, because users have such folders."""
    yield Project(tmp_path / "it's a project", tmp_path / "home", fakes)
