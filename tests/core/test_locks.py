"""One command at a time for what copies of the project share: who waits, who is told, and what is left behind."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import SOURCE

from tasks.core import locks

HOLDER = """
import sys, time
sys.path.insert(0, sys.argv[1])
from tasks.core import locks
with locks.hold("cluster", "cl1", "inv a", time.sleep):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@contextmanager
def other_process() -> Iterator[subprocess.Popen[str]]:
    """Holds the lock of cluster cl1 until its standard input ends."""
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(SOURCE)], text=True,
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout and process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.process
def test_the_second_is_told_who_is_first_and_from_which_folder(capsys: pytest.CaptureFixture[str]) -> None:
    with other_process() as first:
        def give_way(_: float) -> None:
            if first.stdin and not first.stdin.closed:
                first.stdin.close()

        with locks.hold("cluster", "cl1", "inv b", give_way):
            pass
    assert capsys.readouterr().out == (f"cluster cl1 is in use by `inv a` (process {first.pid}, in {SOURCE}). "
                                       "Waiting for it to finish.\n")


@pytest.mark.process
def test_the_lock_of_a_killed_process_is_free_at_once_and_its_file_goes(home: Path) -> None:
    with other_process() as first:
        first.kill()
        first.wait()
        assert [*locks.folder().iterdir()], "a killed process removes nothing"
        with locks.hold("cluster", "cl1", "inv b", refuse_to_wait):
            pass
    assert [*locks.folder().iterdir()] == []


@pytest.mark.process
def test_uninstall_removes_what_the_killed_have_left_and_no_lock_in_use() -> None:
    with other_process() as first:
        locks.remove_leftovers()
        assert locks.lock_file("cluster", "cl1").exists()
        first.kill()
        first.wait()
        locks.remove_leftovers()
    assert not locks.folder().exists()


def test_whatever_is_removed_meanwhile_two_never_hold_one_lock(capsys: pytest.CaptureFixture[str]) -> None:
    holding, together = 0, 0

    def work() -> None:
        nonlocal holding, together
        for _ in range(30):
            with locks.hold("network", "dev-clusters", "inv a", lambda _: time.sleep(0.0005)):
                holding += 1
                time.sleep(0.0005)
                together += holding > 1
                holding -= 1

    with ThreadPoolExecutor(6) as pool:
        for done in [pool.submit(work) for _ in range(5)]:
            pool.submit(locks.remove_leftovers)
            done.result()
    assert together == 0 and [*locks.folder().glob("*")] == []
    assert capsys.readouterr().out == "", "steps of one command wait for each other in silence"


def test_one_file_has_one_lock_whatever_path_leads_to_it(home: Path) -> None:
    (home / "link").symlink_to(home)
    assert locks.lock_file("kubeconfig", home / "config") == locks.lock_file("kubeconfig", home / "link/config")
    assert locks.lock_file("kubeconfig", home / "config") != locks.lock_file("kubeconfig", home / "other")
    with (locks.hold("kubeconfig", home / "config", "inv a", refuse_to_wait),
          locks.hold("CA folder", home, "inv a", refuse_to_wait)):
        assert len([*locks.folder().iterdir()]) == 2
        assert locks.folder().stat().st_mode & 0o777 == 0o700


def refuse_to_wait(_: float) -> None:
    pytest.fail("there is nothing to wait for")
